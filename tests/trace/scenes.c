#include "scenes.h"

#include <stdio.h>

/* --- records ---------------------------------------------------------------------------------- */

void scene_put_each(struct story *story, const char *queue, const char *keys)
{
    for (; *keys; keys++) {
        char key[2] = {*keys, 0};
        PUT(story, key, .queue = queue);
    }
}

void scene_put_numbered(struct story *story, const char *name, int count)
{
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%s%d", name, i);
        EXPECT(STATUS_CREATED, PUT(story, key, .in_s = 500));
    }
}

void scene_make_waiting(struct story *story, const char *key)
{
    EXPECT(STATUS_CREATED, PUT(story, key, .in_s = 100, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_WAITING, 100);
}

void scene_make_ready(struct story *story, const char *key)
{
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_READY, 0);
}

struct story_task scene_make_leased(struct story *story, const char *key)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_LEASED, 0);
    return story_take_task(story, A, key);
}

void scene_make_parked(struct story *story, const char *key)
{
    struct story_task task = scene_make_leased(story, key);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK, .error = "broken"));
    EXPECT(STATUS_OK, story_goodbye(story, A));
    EXPECT_RECORD(story, key, RECORD_PARKED, 0);
}

struct story_task scene_make_one_of_each(struct story *story)
{
    HELLO(story, CLIENT, .queues = "", .heartbeat_ms = 600000);
    HELLO(story, A, .credit = 1);
    PUT(story, "parked");
    struct story_task task = story_take_task(story, A, "parked");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK, .error = "no"));
    PUT(story, "leased");
    task = story_take_task(story, A, "leased");
    PUT(story, "waiting", .due_s = 100);
    PUT(story, "ready");
    EXPECT_RECORD(story, "waiting", RECORD_WAITING, 100);
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
    EXPECT_RECORD(story, "leased", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "parked", RECORD_PARKED, 0);
    return task;
}

struct story_task scene_change_while_out(struct story *story)
{
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed", .payload = "old");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    assert_int_equal(story_view(story, "feed").state, task.task.state);
    return task;
}

void scene_expect_payload(struct story *story, const char *key, const char *payload)
{
    story_expect_text(story_view(story, key).payload, payload);
}

/* --- runs ------------------------------------------------------------------------------------- */

void scene_expect_tasks(struct story *story, enum story_who who, const char *keys)
{
    for (; *keys; keys++) {
        char key[2] = {*keys, 0};
        story_take_task(story, who, key);
    }
    story_expect_no_task(story, who);
}

struct story_task scene_next_run(struct story *story, const char *key)
{
    for (int i = 0; i < 100 && !story_task_count(story, A); i++)
        story_pass_us(story, story_view(story, key).due_us - story->now.wall_us);
    return story_take_task(story, A, key);
}

int64_t scene_fail(struct story *story, const char *key)
{
    struct story_task task = scene_next_run(story, key);
    EXPECT(STATUS_OK,
           REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .error = "503", .note = "tried"));
    return story_view(story, key).due_us - story->now.wall_us;
}

void scene_crash(struct story *story, const char *key)
{
    struct story_task task = scene_next_run(story, key);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
}

double scene_fail_for_s(struct story *story, const char *key)
{
    struct record_view view = story_view(story, key);
    if (view.due_us > story->now.wall_us)
        story_pass_us(story, view.due_us - story->now.wall_us);
    struct story_task task = story_take_task(story, A, key);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .error = "refused",
                             .cause = CAUSE_FAILED));
    return (double)(story_view(story, key).due_us - story->now.wall_us) / 1e6;
}

int64_t scene_lose(struct story *story, const char *key)
{
    struct story_task task = story_take_task(story, A, key);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    struct record_view view = story_view(story, key);
    return view.status == RECORD_WAITING ? view.due_us - story->now.wall_us : 0;
}

int64_t scene_lose_again(struct story *story, const char *key, int64_t wait_us)
{
    story_pass_us(story, wait_us);
    return scene_lose(story, key);
}

void scene_set_policy(struct story *story, const struct sched_policy *policy)
{
    assert_int_equal(sched_set_policy(story->sched, bytes_of("q"), policy), STATUS_OK);
}

/* --- restarts --------------------------------------------------------------------------------- */

void scene_crash_with_two_leases(struct story *story, struct story_task *a, struct story_task *b)
{
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 1);
    PUT(story, "first");
    PUT(story, "second");
    struct story_task one = story_take_any(story, A), two = story_take_any(story, B);
    *a = one;
    *b = two;
    PUT(story, "later", .due_s = 100);
    PUT(story, "due");
    story_crash(story);
}

struct story_task scene_restart_while_out(struct story *story)
{
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    PUT(story, "later", .in_s = 60);
    struct story_task task = story_take_task(story, A, "feed");
    story_crash(story);
    return task;
}

struct story_task scene_make_held(struct story *story, const char *key)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old"));
    struct story_task task = story_take_task(story, A, key);
    story_crash(story);
    EXPECT_RECORD(story, key, RECORD_LEASED, 0);
    return task;
}

void scene_come_back_with(struct story *story, const struct story_task *task)
{
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, task));
}

bool scene_is_in_grace(struct story *story)
{
    return story_numbers(story, "q").is_in_grace;
}

/* --- full sets -------------------------------------------------------------------------------- */

struct story_set scene_begin_set(struct story *story)
{
    struct story_set set;
    HELLO(story, CLIENT, .queues = "", .heartbeat_ms = 600000);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    return set;
}

void scene_make_set(struct story *story, struct story_set *set)
{
    PUT(story, "old", .in_s = 10);
    *set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, set, "new", .in_s = 10));
}

void scene_expect_untouched(struct story *story)
{
    assert_true(story_has(story, "old"));
    assert_false(story_has(story, "new"));
    assert_int_equal(story_numbers(story, "q").records, 1);
    assert_int_equal(story_numbers(story, "q").totals.created, 1);
}

void scene_expect_counts(struct story *story, const struct story_set *set,
                         const struct sync_counts *expected)
{
    struct sync_counts counts = story_sync_counts(story, set);
    assert_int_equal(counts.created, expected->created);
    assert_int_equal(counts.changed, expected->changed);
    assert_int_equal(counts.unchanged, expected->unchanged);
    assert_int_equal(counts.rejected, expected->rejected);
    assert_int_equal(counts.kept, expected->kept);
    assert_int_equal(counts.absent, expected->absent);
    assert_int_equal(counts.pruned, expected->pruned);
    assert_int_equal(counts.due_now, expected->due_now);
}
