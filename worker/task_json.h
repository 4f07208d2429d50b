/* task_json.h - a task as a line of JSON, and a result object as a struct everdue_result.
 *
 *   {"key":"a","queue":"feeds","lease":17,"due":"2026-11-22T15:00:00.000000Z","lateness_ms":3,
 *    "failures":0,"crashes":0,"payload":{"etag":"x"},"every_ms":300000,"deadline_ms":59990}
 *
 * (in one line). payload, memo and group are left out where the record has none; payload and memo
 * that are no JSON value come as payload_b64 and memo_b64. every_ms is 0 for none.
 */
#ifndef EVERDUE_WORKER_TASK_JSON_H
#define EVERDUE_WORKER_TASK_JSON_H

#include "text.h"

#include <everdue/worker.h>

enum { ANSWER_ERROR_BYTES = 192, ANSWER_NAME_BYTES = 48 };

/* Append the line, its newline included. `mono_us`: now, for deadline_ms. A JSON value that spans
 * lines has its line breaks replaced by blanks. A failed allocation shows in `out`. */
void task_json_write(struct text *out, const struct everdue_task *task, int64_t mono_us);

/* What one result object said. */
struct answer {
    struct everdue_result result; /* its bytes are borrowed from the line and from `scratch` */
    bool has_lease;
    uint64_t lease;
    bool has_outcome;
    int64_t touch_us;                /* EVERDUE_ABSENT unless the line only extends the lease */
    char error[ANSWER_ERROR_BYTES];  /* "", or what is wrong, the member named: the run failed */
    char unknown[ANSWER_NAME_BYTES]; /* "", or a member that was ignored */
    struct text scratch;
};

void answer_init(struct answer *answer);
void answer_release(struct answer *answer);

/* Read one object, forgetting the last. False: it is no JSON object (only `error` is set).
 * Otherwise all members are read, also behind one that is wrong, so that the lease is found. */
bool answer_read(struct answer *answer, const char *line, size_t count);

#endif
