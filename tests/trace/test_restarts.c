/* A restart is not a disaster: sessions come back, leases are resumed, the grace. */
#include "story.h"

/* A and B hold "a" and "b"; "later" is due at 100 s. Then the broker crashes. */
static void crash_with_two_leases(struct story *story, struct story_task *a, struct story_task *b)
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

static void what_was_due_is_held_back_until_the_grace_is_over(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    assert_true(story_numbers(story, NULL).is_in_grace);
    HELLO(story, C, .credit = 9);
    EXPECT_RECORD(story, "due", RECORD_LEASED, 0);
    story_pass_s(story, 4.9);
    story_expect_no_task(story, C);
    story_pass_s(story, 0.2);
    assert_false(story_numbers(story, NULL).is_in_grace);
    assert_int_equal(story_task_count(story, C), 3);
    assert_int_equal(story_take_any(story, C).task.crashes, 0);
}

static void what_comes_due_after_the_restart_is_not_held_back(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, C, .credit = 9);
    PUT(story, "new");
    story_take_task(story, C, "new");
    EXPECT(STATUS_CHANGED, PUT(story, "later", .in_s = 1));
    story_pass_s(story, 1);
    story_take_task(story, C, "later");
}

static void the_grace_ends_when_all_known_sessions_are_back(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 2, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_expect_no_task(story, A);
    HELLO(story, B, .credit = 1, .resume = 1);
    assert_true(story_numbers(story, NULL).is_in_grace);
    EXPECT(STATUS_OK, story_resume(story, B, &b));
    assert_false(story_numbers(story, NULL).is_in_grace);
    story_take_task(story, A, "due");
}

static void a_resumed_lease_keeps_its_number_and_its_record(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_pass_s(story, 10);
    EXPECT_RECORD(story, a.key, RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &a, .in_s = 60));
    EXPECT_RECORD(story, a.key, RECORD_WAITING, 70);
    assert_int_equal(story_view(story, a.key).state, a.task.name.lease);
}

static void a_resumed_lease_runs_out_like_any_other(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 0, .resume = 1, .lease_ms = 20000);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_pass_s(story, 20);
    assert_int_equal(story->peers[A].cancelled, a.task.name.lease);
    EXPECT_RECORD(story, a.key, RECORD_READY, 0);
    assert_int_equal(story_view(story, a.key).crashes, 1);
}

static void without_known_sessions_there_is_no_grace(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, CLIENT, .queues = "");
    PUT(story, "feed");
    story_goodbye(story, A);
    story_crash(story);
    assert_false(story_numbers(story, NULL).is_in_grace);
    HELLO(story, B, .credit = 1);
    story_take_task(story, B, "feed");
}

static void lost_sessions_are_not_waited_for(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    story_be_silent(story, A);
    story_pass_s(story, 15);
    PUT(story, "feed");
    story_crash(story);
    assert_false(story_numbers(story, NULL).is_in_grace);
}

static void
a_session_that_still_announces_when_the_grace_ends_is_known_after_the_next_crash(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 1, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_pass_s(story, 6);
    story_crash(story);
    assert_true(story_numbers(story, NULL).is_in_grace);
}

static void a_session_without_credit_that_resumed_a_lease_is_waited_for(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_crash(story);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_crash(story);
    assert_true(story_numbers(story, NULL).is_in_grace);
}

static void held_records_count_as_leased(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    EXPECT(STATUS_PENDING, PUT(story, "due", .payload = "put", .in_s = 50));
    EXPECT(STATUS_PENDING, story_run_now(story, "second"));
    EXPECT(STATUS_LEASED, story_kick(story, "due"));
    EXPECT(STATUS_OK, story_remove(story, "first"));
    assert_false(story_has(story, "first"));
    assert_int_equal(story_view(story, "due").payload.count, 0);
    story_crash(story);
    assert_false(story_has(story, "first"));
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "due", RECORD_WAITING, 50);
    story_expect_text(story_view(story, "due").payload, "put");
    assert_int_equal(story_view(story, "due").crashes, 0);
    assert_int_equal(story_view(story, "second").status, RECORD_READY);
}

static void of_two_leases_the_higher_holds_the_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task low = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    HELLO(story, B, .credit = 1);
    struct story_task high = story_take_task(story, B, "feed");
    story_crash(story);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &low));
    HELLO(story, B, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    assert_int_equal(story->peers[A].cancelled, low.task.name.lease);
    EXPECT(STATUS_STALE, story_resume(story, A, &low));
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 5));
}

static void what_cannot_be_resumed_is_stale_or_gone(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, C, .credit = 0);
    EXPECT(STATUS_OK, REPORT(story, C, &b, .in_s = 5));
    story_remove(story, a.key);
    HELLO(story, A, .credit = 0, .resume = 2);
    EXPECT(STATUS_GONE, story_resume(story, A, &a));
    b.task.name.lease++;
    EXPECT(STATUS_STALE, story_resume(story, A, &b));
}

static void a_take_waits_for_the_end_of_the_grace(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    crash_with_two_leases(story, &a, &b);
    HELLO(story, C, .credit = 0);
    EXPECT(STATUS_OK, TAKE(story, C, .max = 9, .wait_ms = 1000));
    story_pass_s(story, 4);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 1.1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 3);
}

static void a_take_gets_what_is_let_go_when_the_grace_ends_early(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "x");
    story_take_any(story, A);
    PUT(story, "y");
    story_crash(story);
    HELLO(story, C, .credit = 0);
    EXPECT(STATUS_OK, TAKE(story, C, .max = 9, .wait_ms = 100));
    story_pass_s(story, 1);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    HELLO(story, A, .credit = 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 2);
}

/* --- reconnecting to the same run ------------------------------------------------------------- */

static void the_same_process_on_a_new_connection_keeps_what_it_announces(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "kept");
    PUT(story, "dropped");
    struct story_task kept = story_take_task(story, A, "kept");
    story_take_task(story, A, "dropped");
    HELLO(story, A, .credit = 1, .resume = 1);
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[A].session, &agreed));
    assert_true(agreed.is_known);
    EXPECT_RECORD(story, "dropped", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_resume(story, A, &kept));
    EXPECT_RECORD(story, "kept", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "dropped", RECORD_READY, 0);
    assert_int_equal(story_view(story, "dropped").crashes, 0);
}

static void a_session_that_is_waited_for_comes_back(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_break_connection(story, A, 3);
    story_pass_s(story, 2);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 10);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void a_process_that_announces_nothing_gives_everything_back_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void a_lease_that_ended_can_be_resumed_while_nobody_else_has_the_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_due_is_held_back_until_the_grace_is_over),
        STORY(what_comes_due_after_the_restart_is_not_held_back),
        STORY(the_grace_ends_when_all_known_sessions_are_back),
        STORY(a_resumed_lease_keeps_its_number_and_its_record),
        STORY(a_resumed_lease_runs_out_like_any_other),
        STORY(without_known_sessions_there_is_no_grace),
        STORY(lost_sessions_are_not_waited_for),
        STORY(a_session_that_still_announces_when_the_grace_ends_is_known_after_the_next_crash),
        STORY(a_session_without_credit_that_resumed_a_lease_is_waited_for),
        STORY(held_records_count_as_leased),
        STORY(of_two_leases_the_higher_holds_the_record),
        STORY(what_cannot_be_resumed_is_stale_or_gone),
        STORY(a_take_waits_for_the_end_of_the_grace),
        STORY(a_take_gets_what_is_let_go_when_the_grace_ends_early),
        STORY(the_same_process_on_a_new_connection_keeps_what_it_announces),
        STORY(a_session_that_is_waited_for_comes_back),
        STORY(a_process_that_announces_nothing_gives_everything_back_uncounted),
        STORY(a_lease_that_ended_can_be_resumed_while_nobody_else_has_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
