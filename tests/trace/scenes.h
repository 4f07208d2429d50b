/* scenes.h - openings and acts that stories of several files share (story.h tells how they run).
 *
 * Records are of queue q unless a scene says otherwise; A is the worker, CLIENT the source.
 */
#ifndef EVERDUE_SCENES_H
#define EVERDUE_SCENES_H

#include "story.h"

/* --- records ---------------------------------------------------------------------------------- */

/* A record for each letter, due now. */
void scene_put_each(struct story *story, const char *queue, const char *keys);

/* "old0", "old1" and so on for the name "old", due in 500 s. */
void scene_put_numbered(struct story *story, const char *name, int count);

/* A record in that state, with the payload "old"; "seen" is the memo. It waits for 100 s; leased is
 * it by A; parked, it leaves A gone. */
void scene_make_waiting(struct story *story, const char *key);
void scene_make_ready(struct story *story, const char *key);
struct story_task scene_make_leased(struct story *story, const char *key);
void scene_make_parked(struct story *story, const char *key);

/* "waiting" (due at 100 s), "ready", "leased" (by A, whose task it returns) and "parked". */
struct story_task scene_make_one_of_each(struct story *story);

/* "feed" is out at A, who has no more credit, under a lease of 1 s; its payload "old" is to become
 * "new" when it comes back. */
struct story_task scene_change_while_out(struct story *story);

void scene_expect_payload(struct story *story, const char *key, const char *payload);

/* --- runs ------------------------------------------------------------------------------------- */

/* Exactly these tasks have come, in this order: a letter each. */
void scene_expect_tasks(struct story *story, enum story_who who, const char *keys);

/* Lets time pass until A is given the record. */
struct story_task scene_next_run(struct story *story, const char *key);

/* The next run fails, or crashes. Returns how long the record waits then. */
int64_t scene_fail(struct story *story, const char *key);
void scene_crash(struct story *story, const char *key);

/* Runs the record once, when it is due, to a failure. Returns how long it then waits. */
double scene_fail_for_s(struct story *story, const char *key);

/* Takes a record that has come and loses it; returns how long it waits then, 0: it is ready. The
 * second waits before that until it has come. */
int64_t scene_lose(struct story *story, const char *key);
int64_t scene_lose_again(struct story *story, const char *key, int64_t wait_us);

void scene_set_policy(struct story *story, const struct sched_policy *policy);

/* --- restarts --------------------------------------------------------------------------------- */

/* A and B hold a record each, "later" is due at 100 s and "due" now. Then the broker crashes. */
void scene_crash_with_two_leases(struct story *story, struct story_task *a, struct story_task *b);

/* A holds "feed", "later" is due in 60 s, and the broker begins again. */
struct story_task scene_restart_while_out(struct story *story);

/* Out at A when the broker ended: held until A is back, 5 s at most. */
struct story_task scene_make_held(struct story *story, const char *key);
void scene_come_back_with(struct story *story, const struct story_task *task);

bool scene_is_in_grace(struct story *story);

/* --- full sets -------------------------------------------------------------------------------- */

/* CLIENT says hello, works on no queue, and begins a set. */
struct story_set scene_begin_set(struct story *story);

/* "old" is there, a set is begun and has the line "new". */
void scene_make_set(struct story *story, struct story_set *set);

/* Of that set nothing is to be seen. */
void scene_expect_untouched(struct story *story);

/* What is not named is 0. */
#define EXPECT_COUNTS(story, set, ...)                                                             \
    scene_expect_counts(story, set, &(struct sync_counts){__VA_ARGS__})
void scene_expect_counts(struct story *story, const struct story_set *set,
                         const struct sync_counts *expected);

#endif
