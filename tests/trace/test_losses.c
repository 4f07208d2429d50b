/* Leases that are lost or cancelled: what counts as a crash, and what was changed meanwhile. */
#include <stdio.h>

#include "scenes.h"

/* --- counted, or not -------------------------------------------------------------------------- */

static void every_way_to_lose_a_lease_counts_one_crash(void **state)
{
    struct story *story = *state;
    for (int way = 0; way < 3; way++) {
        HELLO(story, A, .credit = 1, .lease_ms = 1000);
        PUT(story, "feed");
        struct story_task task = story_take_task(story, A, "feed");
        if (way == 0) {
            story_set_credit(story, A, 0);
            story_pass_s(story, 1);
        } else if (way == 1) {
            story_break_connection(story, A, 0);
        } else {
            story_set_credit(story, A, 0);
            story_give_back_begun(story, A, &task);
        }
        struct record_view view = story_view(story, "feed");
        assert_int_equal(view.status, RECORD_READY);
        assert_int_equal(view.crashes, 1);
        assert_int_equal(view.failures, 0);
        EXPECT(STATUS_OK, story_remove(story, "feed"));
    }
    assert_int_equal(story_numbers(story, "q").totals.lost, 3);
    assert_int_equal(story_numbers(story, "q").totals.expired, 1);
}

static void what_a_session_holds_when_it_says_goodbye_is_given_back_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_goodbye(story, A));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story->peers[A].losses, 0);
    HELLO(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
}

static void a_session_that_is_lost_loses_all_that_it_held(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3);
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c", .in_s = 10);
    story_break_connection(story, A, 3);
    story_pass_s(story, 3);
    assert_int_equal(story_view(story, "a").crashes, 1);
    assert_int_equal(story_view(story, "b").crashes, 1);
    assert_int_equal(story_view(story, "c").crashes, 0);
    assert_int_equal(story_numbers(story, "q").ready, 2);
}

/* --- cancelled -------------------------------------------------------------------------------- */

static void a_removed_record_is_cancelled_and_uses_its_credit_until_reported(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    PUT(story, "next");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    story_expect_no_task(story, A);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 60));
    story_take_task(story, A, "next");
    assert_false(story_has(story, "feed"));
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 60));
}

static void a_removed_records_lease_is_given_back_or_runs_out_quietly(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2, .lease_ms = 1000);
    PUT(story, "a");
    PUT(story, "b");
    struct story_task a = story_take_task(story, A, "a");
    story_take_task(story, A, "b");
    story_remove(story, "a");
    story_remove(story, "b");
    PUT(story, "c");
    PUT(story, "d");
    EXPECT(STATUS_GONE, story_give_back_begun(story, A, &a));
    story_take_task(story, A, "c");
    story_expect_no_task(story, A);
    story_pass_s(story, 1);
    story_take_task(story, A, "d");
    story_take_task(story, A, "c"); /* its lease ran out as well */
    assert_int_equal(story_numbers(story, "q").records, 2);
}

/* --- changes that were pending ---------------------------------------------------------------- */

static void a_change_that_is_applied_when_the_lease_is_lost_draws_a_fresh_number(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_change_while_out(story);
    story_pass_s(story, 1);
    for (int run = 0; run < 2; run++) {
        story_expect_text(story_view(story, "feed").payload, "new");
        assert_true(story_view(story, "feed").state > task.task.name.lease);
        EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 60));
        EXPECT(STATUS_STALE, story_resume(story, A, &task));
        story_crash(story);
        HELLO(story, A);
    }
}

static void a_pending_run_now_makes_a_late_report_stale_too(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_PENDING, story_run_now(story, "feed"));
    EXPECT(STATUS_OK, story_give_back(story, A, &task));
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void a_change_with_a_due_says_when_a_lost_record_comes_again(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .due_s = 500));
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 500);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void a_lease_named_with_a_key_that_is_not_its_own_goes_on(void **state)
{
    static const char *const keys[] = {"nobody", "other"};
    static const enum status expected[] = {STATUS_GONE, STATUS_STALE};
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    PUT(story, "other", .in_s = 100);
    struct story_task task = story_take_task(story, A, "feed");
    for (int i = 0; i < 2; i++) {
        struct story_task wrong = task;
        snprintf(wrong.key, sizeof(wrong.key), "%s", keys[i]);
        EXPECT(expected[i], story_give_back(story, A, &wrong));
        EXPECT(expected[i], story_touch(story, A, &wrong, 1000));
        EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
        EXPECT_RECORD(story, "other", RECORD_WAITING, 100);
    }
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(every_way_to_lose_a_lease_counts_one_crash),
        STORY(what_a_session_holds_when_it_says_goodbye_is_given_back_uncounted),
        STORY(a_session_that_is_lost_loses_all_that_it_held),
        STORY(a_removed_record_is_cancelled_and_uses_its_credit_until_reported),
        STORY(a_removed_records_lease_is_given_back_or_runs_out_quietly),
        STORY(a_change_that_is_applied_when_the_lease_is_lost_draws_a_fresh_number),
        STORY(a_pending_run_now_makes_a_late_report_stale_too),
        STORY(a_change_with_a_due_says_when_a_lost_record_comes_again),
        STORY(a_lease_named_with_a_key_that_is_not_its_own_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
