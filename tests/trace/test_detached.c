/* Leases of takes: bound to their session, or detached from it; and what a restart makes of them.
 */
#include "story.h"

/* --- bound ------------------------------------------------------------------------------------ */

static struct story_task take_feed(struct story *story, bool detached)
{
    HELLO(story, CLIENT);
    PUT(story, "feed");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .lease_ms = 30000, .detached = detached));
    struct story_task task = story_take_task(story, CLIENT, "feed");
    assert_int_equal(task.task.lease_ms, 30000);
    return task;
}

static void a_bound_lease_ends_with_its_session(void **state)
{
    struct story *story = *state;
    take_feed(story, false);
    story_break_connection(story, CLIENT, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void a_bound_lease_of_a_worker_ends_with_its_session(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A);
    story_take_task(story, A, "feed");
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void a_bound_lease_is_announced_like_any_other(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, false);
    PUT(story, "streamed");
    HELLO(story, CLIENT, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, CLIENT, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_take_task(story, CLIENT, "streamed"); /* it uses no credit still */
    HELLO(story, CLIENT);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void after_a_restart_a_bound_lease_uses_credit(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, false);
    story_crash(story);
    HELLO(story, CLIENT, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, CLIENT, &task));
    PUT(story, "streamed");
    story_expect_no_task(story, CLIENT);
    EXPECT(STATUS_OK, REPORT(story, CLIENT, &task, .in_s = 60));
    story_take_task(story, CLIENT, "streamed");
}

/* --- detached --------------------------------------------------------------------------------- */

static void a_detached_lease_outlives_goodbye_loss_and_the_same_process(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    story_break_connection(story, CLIENT, 0);
    HELLO(story, CLIENT);
    HELLO(story, CLIENT);
    story_goodbye(story, CLIENT);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void a_detached_lease_outlives_its_session(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A, .detached = true, .lease_ms = 30000);
    struct story_task task = story_take_task(story, A, "feed");
    story_goodbye(story, A);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, B, .credit = 0);
    EXPECT(STATUS_OK, story_touch(story, B, &task, 60000));
    story_pass_s(story, 59);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 64);
}

static void a_detached_lease_runs_out_and_counts_as_a_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    story_pass_s(story, 29.999999);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_pass_us(story, 1);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
    assert_int_equal(story->peers[CLIENT].cancelled, 0);
    EXPECT(STATUS_OK, REPORT(story, CLIENT, &task, .in_s = 60));
}

static void a_detached_lease_ends_by_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A, .detached = true, .lease_ms = 30000);
    story_take_task(story, A, "feed");
    story_goodbye(story, A);
    story_pass_s(story, 30);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void a_detached_lease_is_touched_and_given_back_by_anybody(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    HELLO(story, A);
    story_pass_s(story, 20);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 60000));
    story_pass_s(story, 50);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_give_back(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void a_detached_lease_that_is_announced_ends_with_its_session(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    HELLO(story, A, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

/* --- detached, and a restart ------------------------------------------------------------------ */

static void
after_a_restart_a_detached_lease_is_reported_while_nobody_else_has_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    story_crash(story);
    assert_false(story_numbers(story, "q").is_in_grace); /* nobody would come back */
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, REPORT(story, CLIENT, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

/* Leases are not written to disk, and nobody would come back for this one. */
static void
after_a_restart_a_detached_lease_is_stale_once_somebody_else_has_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    story_crash(story);
    HELLO(story, A, .credit = 1);
    struct story_task other = story_take_task(story, A, "feed");
    assert_int_equal(other.task.crashes, 0);
    HELLO(story, CLIENT);
    EXPECT(STATUS_STALE, REPORT(story, CLIENT, &task, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, A, &other, .in_s = 30));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
}

static struct story_task restart_with_a_grace(struct story *story)
{
    struct story_task task = take_feed(story, true);
    HELLO(story, A, .credit = 1);
    story_crash(story);
    HELLO(story, CLIENT);
    assert_true(story_numbers(story, "q").is_in_grace);
    return task;
}

static void in_the_grace_a_detached_lease_is_reported_but_not_touched(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_with_a_grace(story);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_STALE, story_touch(story, CLIENT, &task, 60000));
    EXPECT(STATUS_STALE, story_give_back(story, CLIENT, &task));
    EXPECT(STATUS_OK, REPORT(story, CLIENT, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void
after_the_grace_a_detached_lease_is_reported_while_nobody_else_has_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_with_a_grace(story);
    story_pass_s(story, 5);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    EXPECT(STATUS_OK, REPORT(story, CLIENT, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 65);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_bound_lease_ends_with_its_session),
        STORY(a_bound_lease_of_a_worker_ends_with_its_session),
        STORY(a_bound_lease_is_announced_like_any_other),
        STORY(after_a_restart_a_bound_lease_uses_credit),
        STORY(a_detached_lease_outlives_goodbye_loss_and_the_same_process),
        STORY(a_detached_lease_outlives_its_session),
        STORY(a_detached_lease_runs_out_and_counts_as_a_crash),
        STORY(a_detached_lease_ends_by_time),
        STORY(a_detached_lease_is_touched_and_given_back_by_anybody),
        STORY(a_detached_lease_that_is_announced_ends_with_its_session),
        STORY(after_a_restart_a_detached_lease_is_reported_while_nobody_else_has_the_record),
        STORY(after_a_restart_a_detached_lease_is_stale_once_somebody_else_has_the_record),
        STORY(in_the_grace_a_detached_lease_is_reported_but_not_touched),
        STORY(after_the_grace_a_detached_lease_is_reported_while_nobody_else_has_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
