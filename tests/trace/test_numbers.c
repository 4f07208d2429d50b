/* The numbers rule: which report counts (design: leases, states, fences). */
#include "scenes.h"

/* A lease of A that ran out while nobody had credit. */
static struct story_task lose_a_lease(struct story *story)
{
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    return task;
}

/* The same process on a new connection after a restart of the broker. */
static void come_back(struct story *story, enum story_who who)
{
    HELLO(story, who, .credit = 0);
}

static void a_report_of_an_unknown_record_is_gone(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    assert_false(story_has(story, "feed"));
}

static void a_report_that_is_repeated_is_answered_again_and_changes_nothing(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    story_pass_s(story, 5);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void a_repeated_report_changes_nothing_while_another_has_the_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &first, .in_s = 1));
    story_pass_s(story, 1);
    struct story_task second = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &first, .in_s = 99));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 1);
    EXPECT(STATUS_OK, REPORT(story, A, &second, .in_s = 10));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 11);
}

static void only_the_last_accepted_report_is_repeatable(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    REPORT(story, A, &first, .in_s = 1);
    story_pass_s(story, 1);
    struct story_task second = story_take_task(story, A, "feed");
    REPORT(story, A, &second, .in_s = 10);
    EXPECT(STATUS_STALE, REPORT(story, A, &first, .in_s = 1));
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &first, .in_s = 1));
    EXPECT(STATUS_OK, REPORT(story, A, &second, .in_s = 1));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 11);
}

static void a_report_on_a_state_that_is_not_the_records_is_stale(void **state)
{
    struct story *story = *state;
    struct story_task task = lose_a_lease(story);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .payload = "new"));
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
}

static void a_live_lease_with_another_state_is_stale(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5, .state = task.task.state + 1));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void a_late_report_counts_while_nobody_else_was_given_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = lose_a_lease(story);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 61);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story_numbers(story, "q").totals.late_accepted, 1);
}

static void a_late_report_is_stale_when_another_was_given_the_record(void **state)
{
    struct story *story = *state;
    struct story_task late = lose_a_lease(story);
    HELLO(story, B, .credit = 1);
    struct story_task task = story_take_task(story, B, "feed");
    EXPECT(STATUS_STALE, REPORT(story, A, &late, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 10));
    EXPECT(STATUS_STALE, REPORT(story, A, &late, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 11);
}

static void a_late_report_is_stale_when_the_other_lost_the_record_too(void **state)
{
    struct story *story = *state;
    struct story_task first = lose_a_lease(story);
    HELLO(story, B, .credit = 1, .lease_ms = 1000);
    struct story_task second = story_take_task(story, B, "feed");
    story_set_credit(story, B, 0);
    story_pass_s(story, 1);
    EXPECT(STATUS_STALE, REPORT(story, A, &first, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, B, &second, .in_s = 60));
}

static void after_a_restart_the_first_of_several_old_holders_to_report_wins(void **state)
{
    struct story *story = *state;
    struct story_task first = lose_a_lease(story);
    HELLO(story, B, .credit = 1);
    struct story_task second = story_take_task(story, B, "feed");
    story_crash(story);
    come_back(story, A);
    come_back(story, B);
    EXPECT(STATUS_OK, REPORT(story, A, &first, .in_s = 60));
    EXPECT(STATUS_STALE, REPORT(story, B, &second, .in_s = 10));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 61);
}

static void after_a_restart_a_report_is_stale_when_the_record_was_handed_out_since(void **state)
{
    struct story *story = *state;
    struct story_task old = lose_a_lease(story);
    story_crash(story);
    story_pass_s(story, 6);
    HELLO(story, B, .credit = 1);
    struct story_task task = story_take_task(story, B, "feed");
    assert_true(task.task.name.lease > old.task.name.lease);
    come_back(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &old, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 60));
}

static void a_report_that_was_not_durable_counts_again_after_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_hold_disk(story);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 70);
}

static void a_report_on_a_resumed_lease_counts_and_others_are_stale(void **state)
{
    struct story *story = *state;
    struct story_task first = lose_a_lease(story);
    HELLO(story, B, .credit = 1);
    struct story_task second = story_take_task(story, B, "feed");
    story_crash(story);
    HELLO(story, B, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &second));
    come_back(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &first, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, B, &second, .in_s = 10));
}

static void a_parked_record_is_unparked_by_a_late_report(void **state)
{
    struct story *story = *state;
    story->settings.policy.crashes_max = 1;
    sched_set_settings(story->sched, &story->settings);
    struct story_task task = lose_a_lease(story);
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 61);
    assert_int_equal(story_view(story, "feed").park_reason.count, 0);
}

static void numbers_never_repeat_across_crashes(void **state)
{
    struct story *story = *state;
    uint64_t highest = 0;
    PUT(story, "feed");
    for (int i = 0; i < 5; i++) {
        HELLO(story, A, .credit = 1);
        story_pass_s(story, 6);
        struct story_task task = story_take_any(story, A);
        assert_true(task.task.name.lease > highest);
        PUT(story, "other", .in_s = 1000);
        assert_true(story_view(story, "other").state > task.task.name.lease);
        story_hold_disk(story);
        PUT(story, "other", .in_s = 1001);
        highest = story_view(story, "other").state;
        story_crash(story);
        assert_true(highest < (uint64_t)1 << 53);
    }
}

static void a_number_that_was_never_drawn_is_stale(void **state)
{
    struct story *story = *state;
    struct story_task task = lose_a_lease(story);
    story_crash(story);
    come_back(story, A);
    task.task.name.lease += (uint64_t)1 << 40;
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
    task.task.name.lease = 0;
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
}

/* --- resumed, or not ---------------------------------------------------------------------------
 */

static void in_one_run_a_lost_lease_is_resumed_unless_another_came_after_it(void **state)
{
    struct story *story = *state;
    struct story_task first = lose_a_lease(story);
    EXPECT(STATUS_OK, story_resume(story, A, &first));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_view(story, "feed").state, first.task.state);
    story_pass_s(story, 1);
    HELLO(story, B, .credit = 1);
    story_pass_s(story, 2);
    struct story_task second = story_take_task(story, B, "feed");
    EXPECT(STATUS_STALE, story_resume(story, A, &first));
    EXPECT(STATUS_OK, story_give_back_begun(story, B, &second));
    EXPECT(STATUS_STALE, story_resume(story, A, &first));
}

static void what_was_reported_changed_or_removed_is_not_resumed(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3, .lease_ms = 1000);
    PUT(story, "reported");
    PUT(story, "changed");
    PUT(story, "removed");
    struct story_task reported = story_take_task(story, A, "reported");
    struct story_task changed = story_take_task(story, A, "changed");
    struct story_task removed = story_take_task(story, A, "removed");
    story_set_credit(story, A, 0);
    REPORT(story, A, &reported, .in_s = 60);
    story_pass_s(story, 1);
    PUT(story, "changed", .payload = "new");
    story_remove(story, "removed");
    for (int run = 0; run < 2; run++) {
        EXPECT(STATUS_OK, story_resume(story, A, &reported));
        EXPECT_RECORD(story, "reported", RECORD_WAITING, 60);
        EXPECT(STATUS_STALE, story_resume(story, A, &changed));
        EXPECT(STATUS_GONE, story_resume(story, A, &removed));
        story_crash(story);
        HELLO(story, A, .resume = 3);
    }
}

/* --- what draws a number, and what does not ----------------------------------------------------
 */

/* Twice, so that the record waits its back-off. */
static struct story_task lose_twice(struct story *story)
{
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &first));
    struct story_task second = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &second));
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    return second;
}

static void losing_a_lease_its_crash_count_and_its_back_off_draw_no_number(void **state)
{
    struct story *story = *state;
    struct story_task task = lose_twice(story);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(story_view(story, "feed").state, task.task.state);
        assert_int_equal(story_view(story, "feed").crashes, 2);
        story_crash(story);
        come_back(story, A);
    }
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void after_a_restart_a_parked_record_is_unparked_by_a_late_report(void **state)
{
    struct story *story = *state;
    story->settings.policy.crashes_max = 1;
    sched_set_settings(story->sched, &story->settings);
    struct story_task task = lose_a_lease(story);
    story_crash(story);
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    come_back(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 61);
}

static void a_put_on_a_waiting_record_makes_an_old_report_stale(void **state)
{
    struct story *story = *state;
    struct story_task task = lose_twice(story);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .in_s = 30));
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    story_crash(story);
    come_back(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
}

static void run_now_and_kick_make_an_old_report_stale(void **state)
{
    struct story *story = *state;
    story->settings.policy.crashes_max = 3;
    sched_set_settings(story->sched, &story->settings);
    struct story_task second = lose_twice(story);
    EXPECT(STATUS_OK, story_run_now(story, "feed"));
    EXPECT(STATUS_STALE, REPORT(story, A, &second, .in_s = 60));
    struct story_task third = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &third));
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    EXPECT(STATUS_OK, story_kick(story, "feed"));
    EXPECT(STATUS_STALE, REPORT(story, A, &third, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

/* --- pending changes ---------------------------------------------------------------------------
 */

static void a_change_that_is_applied_with_a_report_draws_no_further_number(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_change_while_out(story);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    for (int run = 0; run < 2; run++) {
        story_expect_text(story_view(story, "feed").payload, "new");
        assert_int_equal(story_view(story, "feed").state, task.task.name.lease);
        EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
        EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
        story_crash(story);
        come_back(story, A);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_report_of_an_unknown_record_is_gone),
        STORY(a_report_that_is_repeated_is_answered_again_and_changes_nothing),
        STORY(a_repeated_report_changes_nothing_while_another_has_the_record),
        STORY(only_the_last_accepted_report_is_repeatable),
        STORY(a_report_on_a_state_that_is_not_the_records_is_stale),
        STORY(a_live_lease_with_another_state_is_stale),
        STORY(a_late_report_counts_while_nobody_else_was_given_the_record),
        STORY(a_late_report_is_stale_when_another_was_given_the_record),
        STORY(a_late_report_is_stale_when_the_other_lost_the_record_too),
        STORY(after_a_restart_the_first_of_several_old_holders_to_report_wins),
        STORY(after_a_restart_a_report_is_stale_when_the_record_was_handed_out_since),
        STORY(a_report_that_was_not_durable_counts_again_after_a_crash),
        STORY(a_report_on_a_resumed_lease_counts_and_others_are_stale),
        STORY(a_parked_record_is_unparked_by_a_late_report),
        STORY(numbers_never_repeat_across_crashes),
        STORY(a_number_that_was_never_drawn_is_stale),
        STORY(in_one_run_a_lost_lease_is_resumed_unless_another_came_after_it),
        STORY(what_was_reported_changed_or_removed_is_not_resumed),
        STORY(losing_a_lease_its_crash_count_and_its_back_off_draw_no_number),
        STORY(after_a_restart_a_parked_record_is_unparked_by_a_late_report),
        STORY(a_put_on_a_waiting_record_makes_an_old_report_stale),
        STORY(run_now_and_kick_make_an_old_report_stale),
        STORY(a_change_that_is_applied_with_a_report_draws_no_further_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
