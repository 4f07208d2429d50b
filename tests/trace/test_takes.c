/* Takes: one-shot, up to so many records, waiting so long (protocol: take). */
#include "story.h"

/* The last take is over: that many tasks came with it. */
static void expect_taken(struct story *story, uint64_t count)
{
    assert_int_equal(story->last[EFFECT_TAKEN].request, story->requests);
    assert_int_equal(story->last[EFFECT_TAKEN].count, count);
}

static void expect_not_taken(struct story *story)
{
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void a_take_that_does_not_wait_gets_what_there_is_or_ends_empty(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .max = 5));
    expect_taken(story, 0);
    PUT(story, "a");
    PUT(story, "b");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .max = 5));
    expect_taken(story, 2);
    assert_int_equal(story_take_task(story, CLIENT, "a").request, story->requests);
    assert_int_equal(story_take_task(story, CLIENT, "b").request, story->requests);
}

static void a_take_is_over_with_the_first_record_that_comes(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .max = 5, .wait_ms = 60000));
    expect_not_taken(story);
    PUT(story, "a", .in_s = 10);
    PUT(story, "b", .in_s = 11);
    story_pass_s(story, 10);
    expect_taken(story, 1);
    story_pass_s(story, 1);
    EXPECT_RECORD(story, "b", RECORD_READY, 11);
}

static void a_take_that_waits_ends_empty_at_its_time_and_not_before(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .wait_ms = 1500));
    assert_int_equal(sched_next_mono_us(story->sched), story->now.mono_us + STORY_S(1.5));
    story_pass_s(story, 1.499999);
    expect_not_taken(story);
    story_pass_us(story, 1);
    expect_taken(story, 0);
    PUT(story, "feed");
    story_expect_no_task(story, CLIENT);
}

static void a_take_gets_what_comes_due_at_the_moment_at_which_it_ends(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    PUT(story, "feed", .in_s = 2);
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .wait_ms = 2000));
    story_pass_s(story, 2);
    expect_taken(story, 1);
    story_take_task(story, CLIENT, "feed");
}

static void a_take_waits_through_a_pause(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    PUT(story, "feed");
    story_pause(story, "q");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .wait_ms = 9000));
    story_pass_s(story, 1);
    expect_not_taken(story);
    story_unpause(story, "q");
    expect_taken(story, 1);
    story_pause(story, "q");
    EXPECT(STATUS_OK, TAKE(story, CLIENT));
    expect_taken(story, 0);
}

/* --- several ---------------------------------------------------------------------------------- */

static void takes_are_served_in_the_order_in_which_they_came(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    HELLO(story, B);
    EXPECT(STATUS_OK, TAKE(story, B, .wait_ms = 60000));
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 60000));
    EXPECT(STATUS_OK, TAKE(story, B, .wait_ms = 60000));
    PUT(story, "1");
    PUT(story, "2");
    PUT(story, "3");
    story_take_task(story, B, "1");
    story_take_task(story, A, "2");
    story_take_task(story, B, "3");
}

static void takes_share_what_is_ready(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    HELLO(story, B);
    story_pause(story, "q");
    for (char key[] = "a"; key[0] <= 'f'; key[0]++)
        PUT(story, key);
    EXPECT(STATUS_OK, TAKE(story, A, .max = 100, .wait_ms = 9000));
    EXPECT(STATUS_OK, TAKE(story, B, .max = 100, .wait_ms = 9000));
    story_unpause(story, "q");
    assert_int_equal(story_task_count(story, A), 3);
    assert_int_equal(story_task_count(story, B), 3);
}

static void a_take_gets_no_more_than_it_asked_for(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .max = 2));
    expect_taken(story, 2);
    assert_int_equal(story_numbers(story, "q").ready, 1);
}

static void what_a_take_holds_uses_no_credit_not_even_when_it_was_resumed(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "taken");
    EXPECT(STATUS_OK, TAKE(story, A));
    struct story_task task = story_take_task(story, A, "taken");
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    PUT(story, "streamed");
    assert_int_equal(story_take_task(story, A, "streamed").request, 0);
    PUT(story, "more");
    story_expect_no_task(story, A);
}

/* --- bound and detached ----------------------------------------------------------------------- */

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

static void a_detached_lease_that_is_announced_ends_with_its_session(void **state)
{
    struct story *story = *state;
    struct story_task task = take_feed(story, true);
    HELLO(story, A, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
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

/* --- sessions that end ------------------------------------------------------------------------ */

static void a_take_goes_with_its_connection(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    HELLO(story, B);
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 60000));
    EXPECT(STATUS_OK, TAKE(story, B, .wait_ms = 60000));
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 60000));
    story_break_connection(story, A, 3);
    PUT(story, "feed");
    story_expect_no_task(story, A);
    story_take_task(story, B, "feed");
    story_pass_s(story, 100);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 1); /* no other was answered */
}

static void a_take_goes_with_a_session_that_begins_again(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 60000));
    HELLO(story, A);
    PUT(story, "feed");
    expect_not_taken(story);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

/* --- refused ---------------------------------------------------------------------------------- */

static enum status try_take(struct story *story, const struct take *take)
{
    struct event event = {.kind = EVENT_TAKE,
                          .now = story->now,
                          .session = story->peers[CLIENT].session,
                          .request = 99,
                          .take = take};
    return sched_step(story->sched, &event, &story->effects);
}

static void a_take_out_of_its_bounds_is_refused(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    EXPECT(STATUS_BAD_FIELD, try_take(story, &(struct take){.max = 0}));
    EXPECT(STATUS_BAD_FIELD, try_take(story, &(struct take){.max = CREDIT_MAX + 1}));
    EXPECT(STATUS_BAD_FIELD, try_take(story, &(struct take){.max = 1, .queue = 1}));
    EXPECT(STATUS_BAD_TIME, try_take(story, &(struct take){.max = 1, .lease_ms = 99}));
    EXPECT(STATUS_BAD_TIME, try_take(story, &(struct take){.max = 1, .lease_ms = UINT32_MAX}));
    EXPECT(STATUS_OK, try_take(story, &(struct take){.max = CREDIT_MAX, .wait_ms = UINT32_MAX}));
    story_turn(story);
    PUT(story, "feed");
    story_take_task(story, CLIENT, "feed");
}

static void takes_are_bounded_in_number(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    for (int i = 0; i < CREDIT_MAX; i++)
        assert_int_equal(try_take(story, &(struct take){.max = 1, .wait_ms = 1000}), STATUS_OK);
    EXPECT(STATUS_TOO_MANY, try_take(story, &(struct take){.max = 1, .wait_ms = 1000}));
    story_pass_s(story, 2);
    EXPECT(STATUS_OK, TAKE(story, CLIENT));
    expect_taken(story, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_take_that_does_not_wait_gets_what_there_is_or_ends_empty),
        STORY(a_take_is_over_with_the_first_record_that_comes),
        STORY(a_take_that_waits_ends_empty_at_its_time_and_not_before),
        STORY(a_take_gets_what_comes_due_at_the_moment_at_which_it_ends),
        STORY(a_take_waits_through_a_pause),
        STORY(takes_are_served_in_the_order_in_which_they_came),
        STORY(takes_share_what_is_ready),
        STORY(a_take_gets_no_more_than_it_asked_for),
        STORY(what_a_take_holds_uses_no_credit_not_even_when_it_was_resumed),
        STORY(a_bound_lease_ends_with_its_session),
        STORY(a_detached_lease_outlives_goodbye_loss_and_the_same_process),
        STORY(a_detached_lease_runs_out_and_counts_as_a_crash),
        STORY(a_detached_lease_is_touched_and_given_back_by_anybody),
        STORY(after_a_restart_a_detached_lease_is_reported_while_nobody_else_has_the_record),
        STORY(after_a_restart_a_detached_lease_is_stale_once_somebody_else_has_the_record),
        STORY(in_the_grace_a_detached_lease_is_reported_but_not_touched),
        STORY(after_the_grace_a_detached_lease_is_reported_while_nobody_else_has_the_record),
        STORY(a_detached_lease_that_is_announced_ends_with_its_session),
        STORY(a_bound_lease_is_announced_like_any_other),
        STORY(after_a_restart_a_bound_lease_uses_credit),
        STORY(a_take_goes_with_its_connection),
        STORY(a_take_goes_with_a_session_that_begins_again),
        STORY(a_take_out_of_its_bounds_is_refused),
        STORY(takes_are_bounded_in_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
