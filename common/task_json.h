/* task_json.h - a task as JSON, for handlers and for those who take records by hand.
 *
 *   {"key":"a","queue":"feeds","lease":17,"due":"2026-11-22T15:00:00.000000Z","lateness_ms":3,
 *    "failures":0,"crashes":0,"payload":{"etag":"x"},"every_ms":300000,"deadline_ms":59990}
 *
 * (in one line). payload, memo and group are left out where the record has none; payload and memo
 * that are no JSON value come as payload_b64 and memo_b64, and a JSON value that spans lines has
 * its line breaks replaced by blanks. every_ms is 0 for none.
 */
#ifndef EVERDUE_TASK_JSON_H
#define EVERDUE_TASK_JSON_H

#include "everdue/worker.h"
#include "text.h"

/* Append the line for a handler, its newline included. `mono_us`: now, for deadline_ms. A failed
 * allocation shows in `text`. */
void task_json_write(struct text *text, const struct everdue_task *task, int64_t mono_us);

/* Append the object of a record that was taken by hand, without a newline: its lease is the text
 * that `report` takes, in place of the number. */
void task_json_write_taken(struct text *text, const struct everdue_task *task, const char *lease,
                           int64_t mono_us);

#endif
