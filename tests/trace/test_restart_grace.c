/* After a restart: what was due before waits for those who may hold it (design: the grace). */
#include "story.h"

/* A holds "feed", "later" is due in 60 s, and the broker begins again. */
static struct story_task restart_while_out(struct story *story)
{
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    PUT(story, "later", .in_s = 60);
    struct story_task task = story_take_task(story, A, "feed");
    story_crash(story);
    return task;
}

static bool is_in_grace(struct story *story)
{
    return story_numbers(story, "q").is_in_grace;
}

/* --- what waits, and for how long ------------------------------------------------------------- */

static void what_was_due_before_counts_as_leased_for_five_seconds_at_most(void **state)
{
    struct story *story = *state;
    restart_while_out(story);
    HELLO(story, B, .credit = 9);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_numbers(story, "q").leased, 1);
    story_pass_s(story, 4.999999);
    story_expect_no_task(story, B);
    assert_true(is_in_grace(story));
    story_pass_us(story, 1);
    assert_int_equal(story_take_task(story, B, "feed").task.crashes, 0);
    assert_false(is_in_grace(story));
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
    assert_true(is_in_grace(story));
}

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
    assert_true(is_in_grace(story));
    HELLO(story, B, .credit = 1);
    assert_false(is_in_grace(story));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_numbers(story, "q").totals.dispatched, 1); /* in this run */
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
    assert_true(is_in_grace(story));
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_resume(story, A, &b));
    assert_false(is_in_grace(story));
    assert_int_equal(story_take_task(story, A, "c").task.crashes, 0);
    story_expect_no_task(story, A);
}

static void without_known_sessions_there_is_none(void **state)
{
    struct story *story = *state;
    PUT(story, "feed");
    story_crash(story);
    assert_false(is_in_grace(story));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    HELLO(story, A, .credit = 1);
    story_take_task(story, A, "feed");
}

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
    assert_true(is_in_grace(story));
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
    assert_true(is_in_grace(story));
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
    assert_false(is_in_grace(story));
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
    assert_true(is_in_grace(story));
    HELLO(story, B);
    assert_false(is_in_grace(story));
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
    assert_false(is_in_grace(story));
}

static void who_stayed_away_is_not_waited_for_at_the_next_restart(void **state)
{
    struct story *story = *state;
    restart_while_out(story);
    HELLO(story, B, .credit = 1);
    story_pass_s(story, 6);
    story_crash(story);
    assert_true(is_in_grace(story));
    HELLO(story, B, .credit = 1);
    assert_false(is_in_grace(story));
}

static void who_has_not_come_back_is_waited_for_again_after_a_second_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    story_pass_s(story, 3);
    story_crash(story);
    HELLO(story, B, .credit = 1);
    story_pass_s(story, 4);
    story_expect_no_task(story, B);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    assert_false(is_in_grace(story));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
}

/* --- leases that live on ---------------------------------------------------------------------- */

static void a_resumed_lease_keeps_its_number_and_nobody_else_gets_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    HELLO(story, B, .credit = 9);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 10);
    story_expect_no_task(story, B);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 15);
    assert_int_equal(story_view(story, "feed").state, task.task.name.lease);
}

static void a_resumed_lease_runs_out_like_any_other(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    HELLO(story, A, .credit = 1, .lease_ms = 2000, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_set_credit(story, A, 0);
    story_pass_s(story, 2);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void a_report_counts_during_the_grace_without_being_resumed(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    HELLO(story, B);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 30));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    assert_true(is_in_grace(story));
}

static void any_session_may_announce_a_lease(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    HELLO(story, C, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, C, &task));
    story_pass_s(story, 6);
    EXPECT(STATUS_OK, REPORT(story, C, &task, .in_s = 30));
}

/* --- changes during the grace ----------------------------------------------------------------- */

static void changes_to_what_is_held_are_pending_and_durable(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    story_crash(story);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_expect_text(story_view(story, "feed").payload, "");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 30));
    story_expect_text(story_view(story, "feed").payload, "new");
}

static void changes_are_applied_under_a_fresh_number_when_nobody_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new", .due_s = 20));
    story_pass_s(story, 5);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
    story_expect_text(story_view(story, "feed").payload, "new");
    assert_true(story_view(story, "feed").state > task.task.name.lease);
    HELLO(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 30));
}

static void a_change_that_was_pending_before_the_crash_is_pending_after_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    EXPECT(STATUS_PENDING, story_run_now(story, "feed"));
    story_crash(story);
    story_expect_text(story_view(story, "feed").payload, "");
    HELLO(story, A, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 30));
    story_expect_text(story_view(story, "feed").payload, "new");
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void without_a_grace_what_was_pending_is_applied_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    PUT(story, "feed");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .detached = true));
    struct story_task task = story_take_task(story, CLIENT, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new", .due_s = 20));
    story_crash(story);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
    story_expect_text(story_view(story, "feed").payload, "new");
    HELLO(story, CLIENT);
    EXPECT(STATUS_STALE, REPORT(story, CLIENT, &task, .in_s = 30));
}

static void what_is_held_is_removed_at_once_and_never_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = restart_while_out(story);
    EXPECT(STATUS_LEASED, story_kick(story, "feed"));
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    assert_false(story_has(story, "feed"));
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_GONE, story_resume(story, A, &task));
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 30));
    story_pass_s(story, 6);
    assert_false(story_has(story, "feed"));
}

static void a_take_waits_for_its_end(void **state)
{
    struct story *story = *state;
    restart_while_out(story);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_due_before_counts_as_leased_for_five_seconds_at_most),
        STORY(everything_else_goes_on_at_once),
        STORY(it_ends_when_all_known_sessions_are_back),
        STORY(a_session_is_back_when_it_has_announced_all_its_leases),
        STORY(without_known_sessions_there_is_none),
        STORY(a_session_is_given_nothing_before_it_is_durable),
        STORY(a_take_is_served_when_its_session_is_durable),
        STORY(a_client_without_credit_is_not_waited_for),
        STORY(a_client_is_waited_for_once_it_has_credit_or_took_a_record),
        STORY(who_said_goodbye_or_was_lost_is_not_waited_for),
        STORY(who_stayed_away_is_not_waited_for_at_the_next_restart),
        STORY(who_has_not_come_back_is_waited_for_again_after_a_second_crash),
        STORY(a_resumed_lease_keeps_its_number_and_nobody_else_gets_the_record),
        STORY(a_resumed_lease_runs_out_like_any_other),
        STORY(a_report_counts_during_the_grace_without_being_resumed),
        STORY(any_session_may_announce_a_lease),
        STORY(changes_to_what_is_held_are_pending_and_durable),
        STORY(changes_are_applied_under_a_fresh_number_when_nobody_comes_back),
        STORY(a_change_that_was_pending_before_the_crash_is_pending_after_it),
        STORY(without_a_grace_what_was_pending_is_applied_at_once),
        STORY(what_is_held_is_removed_at_once_and_never_comes_back),
        STORY(a_take_waits_for_its_end),
        STORY(records_come_in_the_order_of_their_due_when_they_are_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
