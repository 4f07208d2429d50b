/* story.h - tests of the core that read as timed stories.
 *
 *   HELLO(story, A, .credit = 1);
 *   EXPECT(STATUS_CREATED, PUT(story, "feed", .in_s = 10));
 *   story_pass_s(story, 10);
 *   struct story_task task = story_take_task(story, A, "feed");
 *   EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
 *   EXPECT_RECORD(story, "feed", RECORD_WAITING, 70);
 *
 * After each act one turn of the caller that sched.h describes is made: time, work, seal, durable,
 * grant. The disk is a store in memory; it is as fast as thought unless the story holds it.
 * Sessions answer pings by themselves unless the story makes them silent. Time stands still but for
 * story_pass_s and its kin, which stop at each moment at which the core wants to be woken. Every
 * turn ends with sched_check.
 *
 * With EVERDUE_OUT_OF_MEMORY=all each story is told again and again: for each stack of callers of
 * an allocation in the core, that allocation fails, then all that follow, too, until the act is
 * over. An act that is answered NO_MEMORY is repeated, as peers do, and the story must end as it
 * always does. A number instead of `all` fails that one.
 */
#ifndef EVERDUE_STORY_H
#define EVERDUE_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "disk.h"
#include "sched.h"

/* Who acts. Each is one process with one uid, whatever its sessions are. */
enum story_who { A, B, C, D, CLIENT };
enum { STORY_WHO_COUNT = 5, STORY_TASKS_MAX = 512, STORY_TEXT_BYTES = 64 };

#define STORY_S(seconds) ((int64_t)((seconds)*1e6))

/* A task as a worker keeps it. */
struct story_task {
    char key[STORY_TEXT_BYTES];
    char payload[STORY_TEXT_BYTES];
    char memo[STORY_TEXT_BYTES];
    char group[STORY_TEXT_BYTES];
    bool has_payload;
    struct task task; /* its bytes are those above */
    uint64_t request;
};

struct story_peer {
    uint32_t session; /* the caller's number */
    bool is_silent;
    struct story_task tasks[STORY_TASKS_MAX];
    uint32_t first, end;
    uint64_t cancelled; /* the lease of the last CANCEL, 0: none */
    uint32_t pings, losses;
};

struct story {
    struct sched *sched;
    struct sched_settings settings;
    struct disk disk;
    struct store_batch *batch;
    bool is_in_flight, is_disk_held;
    uint64_t reserving;
    struct moment now;
    struct effects effects;
    struct story_peer peers[STORY_WHO_COUNT];
    uint32_t sessions;
    uint64_t requests;
    struct effect last[EFFECT_COUNT]; /* the last of each kind; request 0: none */
};

/* For cmocka: a story is a function that is given a `struct story *` as its state. */
struct story_plot {
    void (*tell)(void **state);
    bool needs_memory;
};
void story_tell(void **state);
int story_told(void **state);
/* It ends, and another begins. */
struct story *story_begin_anew(void **state);
#define STORY(name)                                                                                \
    {                                                                                              \
#name, story_tell, NULL, story_told, &(struct story_plot)                                  \
        {                                                                                          \
            name, false                                                                            \
        }                                                                                          \
    }
/* One that counts slices, or looks at the order of equals or the name of a worker that is gone:
 * that is another when memory is short. */
#define STORY_WITH_MEMORY(name)                                                                    \
    {                                                                                              \
#name, story_tell, NULL, story_told, &(struct story_plot)                                  \
        {                                                                                          \
            name, true                                                                             \
        }                                                                                          \
    }

/* One event at this moment, without a turn after it. */
enum status story_step(struct story *story, struct event *event);
/* The same, as it would come from somebody, and a turn. */
enum status story_act(struct story *story, enum story_who who, struct event event);

/* The core begins again with what is durable; nothing else is left. `story_settings` that were
 * changed hold from then on. */
void story_crash(struct story *story);
/* The same, and the disk is stuck from the first batch on: no number is reserved. */
void story_crash_and_hold_disk(struct story *story);

/* A batch that is sealed stays on its way until the disk goes on. */
void story_hold_disk(struct story *story);
void story_release_disk(struct story *story);

/* --- time ------------------------------------------------------------------------------------- */

/* The story begins at 0 s. */
int64_t story_at_us(double seconds);
void story_pass_us(struct story *story, int64_t us);
void story_pass_s(struct story *story, double seconds);
/* The wall clock only. */
void story_step_wall_s(struct story *story, double seconds);
/* The caller sleeps through it all and wakes so much too late. No turn is made. */
void story_stall_s(struct story *story, double seconds);
void story_turn(struct story *story);
/* The first turn after a stall. */
void story_turn_late(struct story *story, double stalled_s);
/* One slice of long work, and the disk takes what it changed: no more than that of a turn. */
void story_work(struct story *story, uint32_t budget);

/* --- sessions --------------------------------------------------------------------------------- */

struct story_hello {
    const char *queues; /* with commas between; NULL: q */
    uint32_t credit, lease_ms, heartbeat_ms, resume;
};
#define HELLO(story, who, ...) story_hello(story, who, &(struct story_hello){__VA_ARGS__})
void story_hello(struct story *story, enum story_who who, const struct story_hello *hello);
void story_be_silent(struct story *story, enum story_who who);
void story_break_connection(struct story *story, enum story_who who, double wait_s);
enum status story_goodbye(struct story *story, enum story_who who);
enum status story_set_credit(struct story *story, enum story_who who, uint32_t credit);

/* --- work ------------------------------------------------------------------------------------- */

/* The next task that came; fails the test when there is none, or it is of another key. */
struct story_task story_take_task(struct story *story, enum story_who who, const char *key);
/* Whatever its key is. */
struct story_task story_take_any(struct story *story, enum story_who who);
uint32_t story_task_count(const struct story *story, enum story_who who);
void story_expect_no_task(const struct story *story, enum story_who who);

struct story_result {
    enum outcome outcome;
    double due_s, in_s; /* 0: not named */
    const char *memo, *payload, *note, *error;
    bool has_rank;
    int64_t rank;
    enum cause cause;
    uint64_t state; /* another than the task's */
};
#define REPORT(story, who, task, ...)                                                              \
    story_report(story, who, task, &(struct story_result){__VA_ARGS__})
enum status story_report(struct story *story, enum story_who who, const struct story_task *task,
                         const struct story_result *result);
enum status story_touch(struct story *story, enum story_who who, const struct story_task *task,
                        uint32_t lease_ms);
enum status story_give_back(struct story *story, enum story_who who, const struct story_task *task);
enum status story_give_back_begun(struct story *story, enum story_who who,
                                  const struct story_task *task);
enum status story_undelivered(struct story *story, enum story_who who,
                              const struct story_task *task);
enum status story_resume(struct story *story, enum story_who who, const struct story_task *task);

struct story_take {
    uint32_t max; /* 0: 1 */
    uint32_t wait_ms, lease_ms;
    bool detached;
};
#define TAKE(story, who, ...) story_take(story, who, &(struct story_take){__VA_ARGS__})
enum status story_take(struct story *story, enum story_who who, const struct story_take *take);

/* --- records ---------------------------------------------------------------------------------- */

enum { ONCE = 1, NOT_ONCE = 2 };

/* What is 0 is not given. */
struct story_line {
    const char *queue; /* NULL: q */
    const char *key;
    double due_s, in_s, every_s;
    int64_t due_us; /* as it is */
    bool no_every;
    bool has_rank;
    int64_t rank;
    int once;
    const char *group, *payload, *memo;
};
#define PUT(story, name, ...) story_put(story, &(struct story_line){.key = name, __VA_ARGS__})
enum status story_put(struct story *story, const struct story_line *line);
enum status story_remove(struct story *story, const char *key);
enum status story_run_now(struct story *story, const char *key);
enum status story_kick(struct story *story, const char *key);
void story_kick_all(struct story *story);
enum status story_pause(struct story *story, const char *queue);
enum status story_unpause(struct story *story, const char *queue);
void story_drain(struct story *story, double wait_s);
void story_undrain(struct story *story);

struct record_view story_view(struct story *story, const char *key);
bool story_has(struct story *story, const char *key);
struct sched_numbers story_numbers(struct story *story, const char *queue);

/* A record of queue q is in that state, due so many seconds after the begin of the story. */
#define EXPECT_RECORD(story, key, status, due_s)                                                   \
    story_expect_record(story, key, status, due_s, __FILE__, __LINE__)
void story_expect_record(struct story *story, const char *key, enum record_status status,
                         double due_s, const char *file, int line);

#define EXPECT(status, call) story_expect(status, call, #call, __FILE__, __LINE__)
void story_expect(enum status expected, enum status got, const char *call, const char *file,
                  int line);
void story_expect_text(struct bytes got, const char *expected);

/* --- full sets -------------------------------------------------------------------------------- */

struct story_set {
    uint64_t generation;
    uint64_t count;
    uint32_t checksum;
};
struct story_commit {
    bool prune, dry_run;
    uint32_t prune_max_ppm; /* 0: all may go */
    uint64_t miscount;      /* lines that the source says it sent beside those */
    uint32_t bad_sum;
    bool unworked; /* no turn after it: the slices are still to come */
};
struct story_sync_options {
    const char *queue; /* NULL: q */
    double spread_s;
    bool due_take;
};
#define SYNC_BEGIN(story, who, set, ...)                                                           \
    story_sync_begin(story, who, set, &(struct story_sync_options){__VA_ARGS__})
enum status story_sync_begin(struct story *story, enum story_who who, struct story_set *set,
                             const struct story_sync_options *options);
#define SYNC_LINE(story, who, set, name, ...)                                                      \
    story_sync_line(story, who, set, &(struct story_line){.key = name, __VA_ARGS__})
enum status story_sync_line(struct story *story, enum story_who who, struct story_set *set,
                            const struct story_line *line);
#define SYNC_COMMIT(story, who, set, ...)                                                          \
    story_sync_commit(story, who, set, &(struct story_commit){__VA_ARGS__})
/* The status of the answer: that of the step, or of the effect that ends it. */
enum status story_sync_commit(struct story *story, enum story_who who, const struct story_set *set,
                              const struct story_commit *commit);
enum status story_sync_abort(struct story *story, enum story_who who, const struct story_set *set);
struct sync_counts story_sync_counts(struct story *story, const struct story_set *set);

#endif
