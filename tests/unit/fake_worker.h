/* fake_worker.h - the library's worker without a broker: hands out scripted tasks, keeps what
 * becomes of them. One session; a second everdue_worker_new hands out nothing. */
#ifndef EVERDUE_TESTS_FAKE_WORKER_H
#define EVERDUE_TESTS_FAKE_WORKER_H

#include <everdue/worker.h>

enum { FAKE_TEXT_BYTES = 2048, FAKE_ENDS_MAX = 128 };

struct fake_task {
    const char *key;
    const char *payload; /* NULL: absent */
    const char *memo;
    const char *group;
    uint64_t lease; /* 0: drawn */
    uint32_t failures;
    int64_t every_us;
    int64_t due_us;
    int64_t lateness_us;
    bool is_of_second; /* handed out by the second session */
};

enum fake_how { FAKE_REPORTED, FAKE_GIVEN_BACK };

struct fake_end {
    enum fake_how how;
    char key[FAKE_TEXT_BYTES];
    bool begun; /* of FAKE_GIVEN_BACK */
    enum everdue_outcome outcome;
    enum everdue_cause cause;
    int64_t next_us;
    int64_t in_us;
    bool has_rank;
    int64_t rank;
    bool stop;
    char note[FAKE_TEXT_BYTES]; /* "" where absent */
    char error[FAKE_TEXT_BYTES];
    char memo[FAKE_TEXT_BYTES];
    bool has_memo; /* an empty one clears that of the record */
    char payload[FAKE_TEXT_BYTES];
};

/* Forget all. */
void fake_worker_reset(void);

void fake_worker_add(const struct fake_task *task);

/* SIGTERM comes when so many tasks have ended (0: at once, when the first has been handed out). */
void fake_worker_stop_after(size_t ends);

/* SIGTERM comes when the last of the tasks has been handed out. */
void fake_worker_stop_when_empty(void);

/* This key's lease is cancelled as soon as somebody asks. */
void fake_worker_cancel(const char *key);

/* A report without next time is taken; the session stops only afterwards. */
void fake_worker_answer_later(void);

size_t fake_worker_end_count(void);

/* How the task with this key ended last; a test fails when it has not. */
const struct fake_end *fake_worker_end(const char *key);

/* Tasks that were never handed out. */
size_t fake_worker_left(void);

/* NULL: was not stopped. */
const char *fake_worker_stop_reason(void);

/* Lengths of everdue_worker_touch, added up. */
uint64_t fake_worker_touched_ms(void);

/* The most tasks that were out at a time. */
size_t fake_worker_out_max(void);

const struct everdue_worker_options *fake_worker_options(void);

#endif
