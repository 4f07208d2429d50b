/* Several who were given one record before a restart, and what one of them may lose for the others.
 */
#include "scenes.h"

/* A had "feed", lost it and works on, B has it, and the broker begins again. */
static void crash_with_two_holders(struct story *story, struct story_task *low,
                                   struct story_task *high)
{
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed", .payload = "old");
    *low = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    HELLO(story, B, .credit = 1);
    *high = story_take_task(story, B, "feed");
    story_crash(story);
}

/* --- who wins ----------------------------------------------------------------------------------
 */

static void of_two_leases_the_higher_holds_the_record(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &low));
    HELLO(story, B, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    assert_int_equal(story->peers[A].cancelled, low.task.name.lease);
    EXPECT(STATUS_STALE, story_resume(story, A, &low));
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 5));
}

static void after_a_restart_the_higher_lease_wins_when_it_reports_first(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    HELLO(story, A, .credit = 0);
    HELLO(story, B, .credit = 0);
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 10));
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 11);
}

static void a_lower_lease_is_not_resumed_beside_a_higher_one(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    HELLO(story, B, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_STALE, story_resume(story, A, &low));
    story_goodbye(story, B);
    EXPECT(STATUS_STALE, story_resume(story, A, &low));
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 60));
}

static void a_lease_that_was_resumed_and_lost_is_the_highest_still(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    HELLO(story, B, .lease_ms = 1000, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    story_pass_s(story, 1);
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 60));
}

/* --- lost again within the grace ---------------------------------------------------------------
 */

/* A is back first and gone again; C would take what it can get. */
static void come_back_and_go(struct story *story, const struct story_task *low, bool is_counted)
{
    HELLO(story, C, .credit = 9);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, low));
    if (is_counted)
        story_break_connection(story, A, 0);
    else
        EXPECT(STATUS_OK, story_give_back(story, A, low));
    assert_int_equal(story_view(story, "feed").status, RECORD_LEASED);
}

static void when_one_of_two_is_lost_in_the_grace_the_other_may_come_back(void **state)
{
    for (int is_counted = 0; is_counted < 2; is_counted++) {
        struct story *story = is_counted ? story_begin_anew(state) : *state;
        struct story_task low, high;
        crash_with_two_holders(story, &low, &high);
        come_back_and_go(story, &low, is_counted);
        story_pass_s(story, 4);
        story_expect_no_task(story, C);
        HELLO(story, B, .credit = 0, .resume = 1);
        EXPECT(STATUS_OK, story_resume(story, B, &high));
        story_pass_s(story, 10);
        story_expect_no_task(story, C);
        assert_int_equal(story_view(story, "feed").crashes, 1 + is_counted);
        EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 60));
    }
}

static void what_is_lost_in_the_grace_goes_to_others_when_it_is_over(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    come_back_and_go(story, &low, false);
    story_pass_s(story, 4.999999);
    story_expect_no_task(story, C);
    assert_true(scene_is_in_grace(story));
    story_pass_us(story, 1);
    assert_int_equal(story_take_task(story, C, "feed").task.crashes, 1);
    HELLO(story, B, .credit = 0, .resume = 1);
    EXPECT(STATUS_STALE, story_resume(story, B, &high));
}

static void a_back_off_begins_with_the_loss_and_is_waited_for_after_the_grace(void **state)
{
    struct story *story = *state;
    story->settings.policy.backoff_first_us = STORY_S(40);
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    HELLO(story, C, .credit = 9);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &low));
    story_break_connection(story, A, 0);
    int64_t due_us = story_view(story, "feed").due_us;
    assert_in_range(due_us, story_at_us(1 + 20), story_at_us(1 + 40));
    assert_int_equal(story_view(story, "feed").status, RECORD_LEASED);
    story_pass_s(story, 6);
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    assert_int_equal(story_view(story, "feed").due_us, due_us);
    story_pass_s(story, 40);
    assert_int_equal(story_take_task(story, C, "feed").task.crashes, 2);
}

/* Its due is that of a back-off now, which is over before the grace is. */
static void what_was_lost_is_held_at_the_next_restart_too(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    come_back_and_go(story, &low, true);
    assert_true(story_view(story, "feed").due_us > story->now.wall_us);
    story_crash(story);
    HELLO(story, C, .credit = 9);
    story_pass_s(story, 2);
    story_expect_no_task(story, C);
    HELLO(story, B, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 60));
}

static void what_is_pending_stays_so_while_the_other_may_come_back(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    come_back_and_go(story, &low, false);
    scene_expect_payload(story, "feed", "old");
    HELLO(story, B, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, B, &high));
    EXPECT(STATUS_OK, REPORT(story, B, &high, .in_s = 60));
    scene_expect_payload(story, "feed", "new");
}

static void what_is_pending_is_applied_when_nobody_else_came(void **state)
{
    struct story *story = *state;
    struct story_task low, high;
    crash_with_two_holders(story, &low, &high);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new", .due_s = 20));
    come_back_and_go(story, &low, false);
    story_pass_s(story, 5);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
    scene_expect_payload(story, "feed", "new");
    EXPECT(STATUS_STALE, REPORT(story, A, &low, .in_s = 5));
}

static void a_lease_of_this_run_that_is_lost_in_the_grace_waits_for_nobody(void **state)
{
    struct story *story = *state;
    scene_restart_while_out(story);
    HELLO(story, B, .credit = 1);
    PUT(story, "new");
    story_take_task(story, B, "new");
    story_break_connection(story, B, 0);
    assert_true(scene_is_in_grace(story));
    EXPECT_RECORD(story, "new", RECORD_READY, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(of_two_leases_the_higher_holds_the_record),
        STORY(after_a_restart_the_higher_lease_wins_when_it_reports_first),
        STORY(a_lower_lease_is_not_resumed_beside_a_higher_one),
        STORY(a_lease_that_was_resumed_and_lost_is_the_highest_still),
        STORY(when_one_of_two_is_lost_in_the_grace_the_other_may_come_back),
        STORY(what_is_lost_in_the_grace_goes_to_others_when_it_is_over),
        STORY(a_back_off_begins_with_the_loss_and_is_waited_for_after_the_grace),
        STORY(what_was_lost_is_held_at_the_next_restart_too),
        STORY(what_is_pending_stays_so_while_the_other_may_come_back),
        STORY(what_is_pending_is_applied_when_nobody_else_came),
        STORY(a_lease_of_this_run_that_is_lost_in_the_grace_waits_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
