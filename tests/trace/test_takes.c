/* Takes: one-shot, up to so many records, waiting so long (protocol: take). */
#include "scenes.h"

/* --- waiting ---------------------------------------------------------------------------------- */

/* The last take is over: that many tasks came with it. */
static void expect_taken(struct story *story, uint64_t count)
{
    assert_int_equal(story->last[EFFECT_TAKEN].request, story->requests);
    assert_int_equal(story->last[EFFECT_TAKEN].count, count);
}

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

static void expect_not_taken(struct story *story)
{
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
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

static void a_take_waits_for_something_to_come_due(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed", .in_s = 3);
    EXPECT(STATUS_OK, TAKE(story, A, .max = 9, .wait_ms = 5000));
    story_pass_s(story, 2.9);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 1);
    story_take_task(story, A, "feed");
}

static void a_take_ends_empty_when_its_wait_is_over(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 5000));
    uint64_t request = story->requests;
    story_pass_s(story, 4.9);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->last[EFFECT_TAKEN].request, request);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 0);
    EXPECT(STATUS_OK, TAKE(story, A));
    assert_int_equal(story->last[EFFECT_TAKEN].request, request + 1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 0);
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

static void a_taken_lease_that_had_run_out_uses_credit_when_it_is_resumed(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "taken");
    EXPECT(STATUS_OK, TAKE(story, A, .lease_ms = 1000));
    struct story_task task = story_take_task(story, A, "taken");
    story_pass_s(story, 2);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    PUT(story, "streamed");
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    story_take_task(story, A, "streamed");
}

static void a_take_gets_what_is_there_and_uses_no_credit(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    scene_put_each(story, "q", "abc");
    EXPECT(STATUS_OK, TAKE(story, A, .max = 2, .lease_ms = 5000));
    assert_int_equal(story->last[EFFECT_TAKEN].count, 2);
    struct story_task task = story_take_task(story, A, "a");
    assert_int_equal(task.request, story->requests);
    assert_int_equal(task.task.lease_ms, 5000);
    story_take_task(story, A, "b");
    story_expect_no_task(story, A);
    story_set_credit(story, A, 1);
    story_take_task(story, A, "c");
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
        STORY(a_take_waits_for_something_to_come_due),
        STORY(a_take_ends_empty_when_its_wait_is_over),
        STORY(takes_are_served_in_the_order_in_which_they_came),
        STORY(takes_share_what_is_ready),
        STORY(a_take_gets_no_more_than_it_asked_for),
        STORY(what_a_take_holds_uses_no_credit_not_even_when_it_was_resumed),
        STORY(a_taken_lease_that_had_run_out_uses_credit_when_it_is_resumed),
        STORY_WITH_MEMORY(a_take_gets_what_is_there_and_uses_no_credit),
        STORY(a_take_goes_with_its_connection),
        STORY(a_take_goes_with_a_session_that_begins_again),
        STORY(a_take_out_of_its_bounds_is_refused),
        STORY(takes_are_bounded_in_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
