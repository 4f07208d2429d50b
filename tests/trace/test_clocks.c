/* Two clocks: due times are wall time, leases and waits are monotonic; and a caller that slept. */
#include "story.h"

static void a_clock_set_forward_makes_records_due_and_ends_no_lease(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "leased");
    story_take_task(story, A, "leased");
    PUT(story, "feed", .in_s = 3000);
    story_step_wall_s(story, 86400);
    EXPECT_RECORD(story, "leased", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 3000);
    assert_int_equal(story->peers[A].losses, 0);
    story_set_credit(story, A, 2);
    assert_int_equal(story_take_task(story, A, "feed").task.lateness_us, STORY_S(86400 - 3000));
}

static void a_clock_set_back_delays_what_is_due_and_ends_no_lease(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "leased");
    story_take_task(story, A, "leased");
    PUT(story, "feed", .in_s = 10);
    story_step_wall_s(story, -3600);
    story_pass_s(story, 20);
    story_expect_no_task(story, A);
    EXPECT_RECORD(story, "leased", RECORD_LEASED, 0);
    story_step_wall_s(story, 3600);
    story_take_task(story, A, "feed");
}

static void what_was_ready_waits_again_when_the_clock_is_set_back(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .due_s = 5);
    PUT(story, "older", .due_s = -100);
    story_pass_s(story, 10);
    EXPECT_RECORD(story, "feed", RECORD_READY, 5);
    story_step_wall_s(story, -60);
    HELLO(story, A, .credit = 9);
    story_take_task(story, A, "older");
    story_expect_no_task(story, A);
    story_pass_s(story, 54.9);
    story_expect_no_task(story, A);
    story_pass_s(story, 0.1);
    story_take_task(story, A, "feed");
}

static void run_now_works_on_what_waits_again_after_a_step(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .due_s = 5);
    story_pass_s(story, 10);
    story_step_wall_s(story, -60);
    EXPECT(STATUS_OK, story_run_now(story, "feed"));
    HELLO(story, A, .credit = 1);
    story_take_task(story, A, "feed");
}

static void every_skips_what_a_step_of_the_clock_missed(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .due_s = 0.5, .every_s = 10);
    story_pass_s(story, 0.5);
    struct story_task task = story_take_task(story, A, "feed");
    story_step_wall_s(story, 1000);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 1010.5);
}

static void a_restart_after_a_step_back_hands_out_nothing_early(void **state)
{
    struct story *story = *state;
    PUT(story, "feed");
    story_step_wall_s(story, -100);
    story_crash(story);
    HELLO(story, A, .credit = 1);
    story_pass_s(story, 99);
    story_expect_no_task(story, A);
    story_pass_s(story, 1);
    story_take_task(story, A, "feed");
}

static void after_a_stall_what_came_meanwhile_is_read_before_any_lease_ends(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_stall_s(story, 60);
    story_turn_late(story, 50);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story->peers[A].losses, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    assert_int_equal(story_numbers(story, "q").totals.late_accepted, 0);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 65);
}

static void a_while_after_a_stall_leases_end_as_ever(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_stall_s(story, 60);
    story_turn_late(story, 50);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_pass_s(story, 2);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void a_session_that_was_heard_of_after_a_stall_lives_on(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    story_stall_s(story, 60);
    story_turn_late(story, 55);
    assert_int_equal(story->peers[A].losses, 0);
    story_set_credit(story, A, 1);
    story_pass_s(story, 3);
    assert_int_equal(story->peers[A].losses, 0);
}

/* --- waits are monotonic ---------------------------------------------------------------------- */

static void a_step_of_the_wall_moves_no_wait(void **state)
{
    struct story *story = *state;
    const double steps_s[] = {-86400, 86400};
    for (int i = 0; i < 2; i++) {
        HELLO(story, A, .heartbeat_ms = 10000);
        story_be_silent(story, A);
        HELLO(story, CLIENT);
        EXPECT(STATUS_OK, TAKE(story, CLIENT, .wait_ms = 20000));
        story_step_wall_s(story, steps_s[i]);
        story_pass_s(story, 19.9);
        assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
        story_pass_s(story, 0.1);
        assert_int_equal(story->last[EFFECT_TAKEN].request, story->requests);
        story_pass_s(story, 9.9);
        assert_int_equal(story->peers[A].losses, i);
        story_pass_s(story, 0.1);
        assert_int_equal(story->peers[A].losses, i + 1);
        story->peers[CLIENT].pings = 0;
    }
}

static void a_step_of_the_wall_moves_no_grace(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_crash(story);
    story_step_wall_s(story, 86400);
    assert_true(story_numbers(story, "q").is_in_grace);
    story_step_wall_s(story, -2 * 86400);
    story_pass_s(story, 5);
    assert_false(story_numbers(story, "q").is_in_grace);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 0);
}

static void what_is_lost_after_the_clock_was_set_back_is_not_early(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_step_wall_s(story, -100);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 0);
    story_pass_s(story, 99);
    story_expect_no_task(story, A);
    story_pass_s(story, 1);
    assert_int_equal(story_take_task(story, A, "feed").task.crashes, 1);
}

static void the_caller_is_woken_at_the_moment_and_no_sooner(void **state)
{
    struct story *story = *state;
    assert_int_equal(sched_next_wall_us(story->sched), TIME_US_NEVER);
    assert_int_equal(sched_next_mono_us(story->sched), TIME_US_NEVER);
    PUT(story, "feed", .in_s = 10);
    assert_int_equal(sched_next_wall_us(story->sched), story_at_us(10));
    HELLO(story, A, .credit = 1, .heartbeat_ms = 600000, .lease_ms = 7000);
    int64_t now_us = story->now.mono_us;
    assert_int_equal(sched_next_mono_us(story->sched), now_us + STORY_S(600));
    story_pass_s(story, 10);
    assert_int_equal(sched_next_wall_us(story->sched), TIME_US_NEVER);
    assert_int_equal(sched_next_mono_us(story->sched), now_us + STORY_S(17));
}

/* --- stalls ----------------------------------------------------------------------------------- */

static void a_wake_up_a_little_late_is_no_stall(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_stall_s(story, 10.05);
    story_turn_late(story, 0.05);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void after_a_stall_a_touch_that_came_meanwhile_keeps_its_lease(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_stall_s(story, 60);
    story_turn_late(story, 50);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 0));
    story_pass_s(story, 9.9);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
}

static void after_a_stall_what_is_due_goes_out_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .in_s = 10);
    story_stall_s(story, 60);
    story_turn_late(story, 50);
    assert_int_equal(story_take_task(story, A, "feed").task.lateness_us, STORY_S(50));
}

static void after_a_stall_those_who_came_back_meanwhile_are_read_before_the_grace_ends(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_crash(story);
    HELLO(story, C, .credit = 1);
    story_stall_s(story, 60);
    story_turn_late(story, 55);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 1);
    assert_false(story_numbers(story, "q").is_in_grace);
    story_expect_no_task(story, C);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_clock_set_forward_makes_records_due_and_ends_no_lease),
        STORY(a_clock_set_back_delays_what_is_due_and_ends_no_lease),
        STORY(what_was_ready_waits_again_when_the_clock_is_set_back),
        STORY(run_now_works_on_what_waits_again_after_a_step),
        STORY(every_skips_what_a_step_of_the_clock_missed),
        STORY(a_restart_after_a_step_back_hands_out_nothing_early),
        STORY(after_a_stall_what_came_meanwhile_is_read_before_any_lease_ends),
        STORY(a_while_after_a_stall_leases_end_as_ever),
        STORY(a_session_that_was_heard_of_after_a_stall_lives_on),
        STORY(a_step_of_the_wall_moves_no_wait),
        STORY(a_step_of_the_wall_moves_no_grace),
        STORY(what_is_lost_after_the_clock_was_set_back_is_not_early),
        STORY(the_caller_is_woken_at_the_moment_and_no_sooner),
        STORY(a_wake_up_a_little_late_is_no_stall),
        STORY(after_a_stall_a_touch_that_came_meanwhile_keeps_its_lease),
        STORY(after_a_stall_what_is_due_goes_out_at_once),
        STORY(after_a_stall_those_who_came_back_meanwhile_are_read_before_the_grace_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
