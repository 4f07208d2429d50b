/* After a restart: what was due before waits for those who may hold it, and for how long. */
#include "scenes.h"

/* --- who is waited for, and for how long ------------------------------------------------------ */

static void those_who_do_not_come_back_are_waited_for_once(void **state)
{
    struct story *story = *state;
    enum { SESSIONS = 100 };
    PUT(story, "feed");
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct hello hello = {.uid = {7, (uint8_t)i}, .credit = 1, .queue_count = 1};
        hello.queues[0] = bytes_of("q");
        struct event event = {.kind = EVENT_HELLO, .session = 1000 + i, .hello = &hello};
        EXPECT(STATUS_OK, story_step(story, &event));
    }
    story_turn(story);
    story_crash(story);
    assert_true(scene_is_in_grace(story));
    story_pass_s(story, 6);
    story_crash(story);
    assert_false(scene_is_in_grace(story));
}

/* --- what waits, and for how long ------------------------------------------------------------- */

static void what_was_due_before_counts_as_leased_for_five_seconds_at_most(void **state)
{
    struct story *story = *state;
    scene_restart_while_out(story);
    HELLO(story, B, .credit = 9);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_numbers(story, "q").leased, 1);
    story_pass_s(story, 4.999999);
    story_expect_no_task(story, B);
    assert_true(scene_is_in_grace(story));
    story_pass_us(story, 1);
    assert_int_equal(story_take_task(story, B, "feed").task.crashes, 0);
    assert_false(scene_is_in_grace(story));
}

static void held_records_count_as_leased(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
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

static void everything_else_goes_on_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "due", .in_s = 2);
    PUT(story, "waiting", .in_s = 100);
    story_pass_s(story, 1);
    story_crash(story);
    HELLO(story, B, .credit = 9);
    EXPECT(STATUS_CREATED, PUT(story, "new"));
    story_take_task(story, B, "new");
    EXPECT(STATUS_OK, story_run_now(story, "waiting"));
    story_take_task(story, B, "waiting");
    story_pass_s(story, 1);
    story_take_task(story, B, "due");
    assert_true(scene_is_in_grace(story));
}

static void what_comes_due_after_the_restart_is_not_held_back(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
    HELLO(story, C, .credit = 9);
    PUT(story, "new");
    story_take_task(story, C, "new");
    EXPECT(STATUS_CHANGED, PUT(story, "later", .in_s = 1));
    story_pass_s(story, 1);
    story_take_task(story, C, "later");
}

static void records_come_in_the_order_of_their_due_when_they_are_let_go(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "c", .due_s = -1);
    PUT(story, "b", .due_s = -2);
    PUT(story, "a", .due_s = -3);
    story_crash(story);
    HELLO(story, A, .credit = 3);
    story_take_task(story, A, "a");
    story_take_task(story, A, "b");
    story_take_task(story, A, "c");
}

/* --- when it ends early ----------------------------------------------------------------------- */

static void it_ends_when_all_known_sessions_are_back(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    story_crash(story);
    HELLO(story, A, .credit = 1);
    story_expect_no_task(story, A);
    HELLO(story, C, .credit = 1); /* was not known */
    assert_true(scene_is_in_grace(story));
    HELLO(story, B, .credit = 1);
    assert_false(scene_is_in_grace(story));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_numbers(story, "q").totals.dispatched, 1); /* in this run */
}

static void the_grace_ends_when_all_known_sessions_are_back(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 2, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_expect_no_task(story, A);
    HELLO(story, B, .credit = 1, .resume = 1);
    assert_true(story_numbers(story, NULL).is_in_grace);
    EXPECT(STATUS_OK, story_resume(story, B, &b));
    assert_false(story_numbers(story, NULL).is_in_grace);
    story_take_task(story, A, "due");
}

static void a_session_is_back_when_it_has_announced_all_its_leases(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3);
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c");
    struct story_task a = story_take_task(story, A, "a");
    struct story_task b = story_take_task(story, A, "b");
    story_take_task(story, A, "c");
    story_crash(story);
    HELLO(story, A, .credit = 3, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    assert_true(scene_is_in_grace(story));
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_resume(story, A, &b));
    assert_false(scene_is_in_grace(story));
    assert_int_equal(story_take_task(story, A, "c").task.crashes, 0);
    story_expect_no_task(story, A);
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

/* --- who is waited for ------------------------------------------------------------------------ */

static void a_client_without_credit_is_not_waited_for(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    HELLO(story, B);
    story_set_credit(story, B, 0);
    PUT(story, "feed");
    story_crash(story);
    assert_false(scene_is_in_grace(story));
}

static void a_client_is_waited_for_once_it_has_credit_or_took_a_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    HELLO(story, B);
    story_set_credit(story, A, 1);
    story_set_credit(story, A, 0);
    PUT(story, "feed");
    EXPECT(STATUS_OK, TAKE(story, B));
    story_crash(story);
    HELLO(story, A);
    assert_true(scene_is_in_grace(story));
    HELLO(story, B);
    assert_false(scene_is_in_grace(story));
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

static void who_said_goodbye_or_was_lost_is_not_waited_for(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 1, .heartbeat_ms = 1000);
    HELLO(story, C, .credit = 1);
    PUT(story, "feed", .due_s = -1);
    story_goodbye(story, A);
    story_be_silent(story, B);
    story_break_connection(story, C, 2);
    story_pass_s(story, 3);
    story_crash(story);
    assert_false(scene_is_in_grace(story));
}

static void who_stayed_away_is_not_waited_for_at_the_next_restart(void **state)
{
    struct story *story = *state;
    scene_restart_while_out(story);
    HELLO(story, B, .credit = 1);
    story_pass_s(story, 6);
    story_crash(story);
    assert_true(scene_is_in_grace(story));
    HELLO(story, B, .credit = 1);
    assert_false(scene_is_in_grace(story));
}

static void who_has_not_come_back_is_waited_for_again_after_a_second_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    story_pass_s(story, 3);
    story_crash(story);
    HELLO(story, B, .credit = 1);
    story_pass_s(story, 4);
    story_expect_no_task(story, B);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    assert_false(scene_is_in_grace(story));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
}

static void
a_session_that_still_announces_when_the_grace_ends_is_known_after_the_next_crash(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 1, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_pass_s(story, 6);
    story_crash(story);
    assert_true(story_numbers(story, NULL).is_in_grace);
}

/* --- who comes meanwhile ---------------------------------------------------------------------- */

/* Whoever is given a record must be waited for after a crash, so its session is on disk first. */
static void a_session_is_given_nothing_before_it_is_durable(void **state)
{
    struct story *story = *state;
    PUT(story, "feed");
    story_hold_disk(story);
    HELLO(story, A, .credit = 1);
    story_expect_no_task(story, A);
    story_release_disk(story);
    story_take_task(story, A, "feed");
    story_crash(story);
    assert_true(scene_is_in_grace(story));
}

static void a_take_is_served_when_its_session_is_durable(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    PUT(story, "feed");
    story_hold_disk(story);
    EXPECT(STATUS_OK, TAKE(story, A, .max = 1, .wait_ms = 60000));
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, TAKE(story, A, .max = 1, .detached = true));
    story_take_task(story, A, "feed");
    EXPECT(STATUS_CREATED, PUT(story, "other"));
    story_release_disk(story);
    story_turn(story);
    story_take_task(story, A, "other");
    story_crash(story);
    assert_true(scene_is_in_grace(story));
}

static void a_take_waits_for_its_end(void **state)
{
    struct story *story = *state;
    scene_restart_while_out(story);
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .wait_ms = 100));
    EXPECT(STATUS_CREATED, PUT(story, "new"));
    story_pass_s(story, 4.9);
    story_expect_no_task(story, CLIENT);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 0.1);
    story_take_any(story, CLIENT);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(those_who_do_not_come_back_are_waited_for_once),
        STORY(what_was_due_before_counts_as_leased_for_five_seconds_at_most),
        STORY(held_records_count_as_leased),
        STORY(everything_else_goes_on_at_once),
        STORY(what_comes_due_after_the_restart_is_not_held_back),
        STORY(records_come_in_the_order_of_their_due_when_they_are_let_go),
        STORY(it_ends_when_all_known_sessions_are_back),
        STORY(the_grace_ends_when_all_known_sessions_are_back),
        STORY(a_session_is_back_when_it_has_announced_all_its_leases),
        STORY(without_known_sessions_there_is_no_grace),
        STORY(a_client_without_credit_is_not_waited_for),
        STORY(a_client_is_waited_for_once_it_has_credit_or_took_a_record),
        STORY(a_session_without_credit_that_resumed_a_lease_is_waited_for),
        STORY(who_said_goodbye_or_was_lost_is_not_waited_for),
        STORY(who_stayed_away_is_not_waited_for_at_the_next_restart),
        STORY(who_has_not_come_back_is_waited_for_again_after_a_second_crash),
        STORY(a_session_that_still_announces_when_the_grace_ends_is_known_after_the_next_crash),
        STORY(a_session_is_given_nothing_before_it_is_durable),
        STORY(a_take_is_served_when_its_session_is_durable),
        STORY(a_take_waits_for_its_end),
        STORY(a_take_gets_what_is_let_go_when_the_grace_ends_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
