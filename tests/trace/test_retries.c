/* Failed runs, lost leases, parking; once and every (design: retry). */
#include "story.h"

#include <stdio.h>

static void set_policy(struct story *story, uint32_t failures, uint32_t crashes, uint32_t parks)
{
    story->settings.policy.failures_max = failures;
    story->settings.policy.crashes_max = crashes;
    story->settings.policy.parks_per_minute_least = parks;
    story->settings.policy.parks_per_minute_ppm = 0;
    sched_set_settings(story->sched, &story->settings);
}

/* Runs the record once, when it is due, to a failure. Returns how long it then waits. */
static double fail_once(struct story *story, const char *key)
{
    struct record_view view = story_view(story, key);
    if (view.due_us > story->now.wall_us)
        story_pass_us(story, view.due_us - story->now.wall_us);
    struct story_task task = story_take_task(story, A, key);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .error = "refused",
                             .cause = CAUSE_FAILED));
    return (double)(story_view(story, key).due_us - story->now.wall_us) / 1e6;
}

static void a_failed_run_waits_longer_each_time_up_to_an_hour(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    double expected_s = 1;
    for (uint32_t i = 1; i < 20; i++) {
        double waits_s = fail_once(story, "feed");
        assert_true(waits_s >= expected_s / 2);
        assert_true(waits_s <= expected_s);
        assert_int_equal(story_view(story, "feed").failures, i);
        story_expect_text(story_view(story, "feed").error, "refused");
        expected_s = expected_s * 2 < 3600 ? expected_s * 2 : 3600;
    }
    assert_int_equal(story_numbers(story, "q").totals.reports_failed, 19);
}

static void the_back_off_goes_up_to_every_when_that_is_longer(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .every_s = 86400);
    double waits_s = 0;
    for (int i = 0; i < 19; i++)
        waits_s = fail_once(story, "feed");
    assert_true(waits_s > 86400 / 2 - 1);
    assert_true(waits_s <= 86400);
}

static void the_jitter_is_the_same_in_every_run(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "feed");
    double first_s = fail_once(story, "feed");
    story_remove(story, "feed");
    PUT(story, "feed");
    assert_true(fail_once(story, "feed") == first_s);
    PUT(story, "other");
    assert_true(fail_once(story, "other") != first_s);
}

static void a_time_named_by_a_retry_replaces_the_back_off(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 7));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 7);
    assert_int_equal(story_view(story, "feed").failures, 1);
    story_pass_s(story, 7);
    task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .due_s = 70));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 70);
}

static void a_good_run_forgets_failures_and_crashes(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_give_back_begun(story, A, &task);
    fail_once(story, "feed");
    assert_int_equal(story_view(story, "feed").crashes, 1);
    story_pass_s(story, 1);
    task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.failures, 1);
    assert_int_equal(task.task.crashes, 1);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    assert_int_equal(story_view(story, "feed").failures, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story_view(story, "feed").error.count, 0);
}

static void a_record_is_parked_by_its_failures_with_reason_and_worker(void **state)
{
    struct story *story = *state;
    set_policy(story, 3, 10, 100);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    fail_once(story, "feed");
    fail_once(story, "feed");
    fail_once(story, "feed");
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.failures, 3);
    assert_true(view.park_reason.count > 0);
    story_expect_text(view.last_worker, "worker");
    assert_true(view.parked_us == story->now.wall_us);
    story_crash(story);
    view = story_view(story, "feed");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.failures, 3);
    assert_true(view.park_reason.count > 0);
    assert_int_equal(story_numbers(story, "q").totals.parked_by_count, 1);
}

static void a_poison_record_is_parked_by_its_crashes(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    for (int i = 0; i < 10; i++) {
        story_pass_s(story, 600);
        story_take_task(story, A, "feed");
        story_pass_s(story, 1);
    }
    assert_int_equal(story_view(story, "feed").status, RECORD_PARKED);
    assert_int_equal(story_view(story, "feed").crashes, 10);
    assert_true(story_view(story, "feed").park_reason.count > 0);
}

static void the_second_crash_waits_and_parts_a_batch(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 8, .lease_ms = 1000);
    for (char key[] = "a"; key[0] < 'i'; key[0]++)
        PUT(story, key);
    story_pass_s(story, 1);
    assert_int_equal(story_task_count(story, A), 16);
    story_pass_s(story, 1);
    assert_int_equal(story_numbers(story, "q").waiting, 8);
    int64_t due_us = story_view(story, "a").due_us;
    assert_true(due_us > story->now.wall_us);
    assert_true(story_view(story, "b").due_us != due_us);
}

static void crash_counts_survive_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_give_back_begun(story, A, &task);
    task = story_take_task(story, A, "feed");
    story_give_back_begun(story, A, &task);
    story_crash(story);
    assert_int_equal(story_view(story, "feed").crashes, 2);
}

static void no_more_than_the_budget_is_parked_in_a_minute(void **state)
{
    struct story *story = *state;
    set_policy(story, 1, 10, 3);
    HELLO(story, A, .credit = 8, .lease_ms = 7200000);
    for (char key[] = "a"; key[0] < 'i'; key[0]++) {
        PUT(story, key);
        fail_once(story, key);
    }
    assert_int_equal(story_numbers(story, "q").parked, 3);
    for (char key[] = "d"; key[0] < 'i'; key[0]++)
        assert_true(story_view(story, key).due_us > story->now.wall_us + STORY_S(1800));
    story_pass_s(story, 3600);
    struct story_task task = story_take_any(story, A);
    REPORT(story, A, &task, .outcome = OUTCOME_RETRY);
    assert_int_equal(story_view(story, task.key).status, RECORD_PARKED);
}

static void a_share_of_a_large_queue_may_be_parked_in_a_minute(void **state)
{
    struct story *story = *state;
    set_policy(story, 1, 10, 1);
    story->settings.policy.parks_per_minute_ppm = 600000;
    sched_set_settings(story->sched, &story->settings);
    HELLO(story, A, .credit = 8);
    for (char key[] = "a"; key[0] < 'i'; key[0]++)
        PUT(story, key, .in_s = 1);
    for (char key[] = "a"; key[0] < 'i'; key[0]++)
        fail_once(story, key);
    assert_int_equal(story_numbers(story, "q").parked, 4);
}

static void a_once_record_is_removed_by_its_first_good_run(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "job", .once = ONCE);
    fail_once(story, "job");
    story_pass_s(story, 1);
    struct story_task task = story_take_task(story, A, "job");
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    assert_false(story_has(story, "job"));
    EXPECT(STATUS_GONE, REPORT(story, A, &task));
    story_crash(story);
    assert_false(story_has(story, "job"));
}

static void a_report_can_remove_its_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .every_s = 5);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    assert_false(story_has(story, "feed"));
    assert_int_equal(story_numbers(story, "q").totals.reports_remove, 1);
}

static void every_keeps_the_phase_and_skips_missed_runs(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .due_s = 10, .every_s = 60);
    story_pass_s(story, 12);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 70);
    story_set_credit(story, A, 0);
    story_pass_s(story, 200);
    story_set_credit(story, A, 1);
    task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 250);
}

static void every_lies_in_the_future_to_the_microsecond(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 600000);
    PUT(story, "feed", .due_s = 10, .every_s = 60);
    story_pass_s(story, 10);
    struct story_task task = story_take_task(story, A, "feed");
    story_pass_s(story, 60);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 130);
}

static void without_a_next_time_the_report_is_refused_and_the_lease_stays(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_NO_NEXT, REPORT(story, A, &task, .memo = "m"));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_view(story, "feed").memo.count, 0);
    assert_int_equal(story_view(story, "feed").failures, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_failed_run_waits_longer_each_time_up_to_an_hour),
        STORY(the_back_off_goes_up_to_every_when_that_is_longer),
        STORY(the_jitter_is_the_same_in_every_run),
        STORY(a_time_named_by_a_retry_replaces_the_back_off),
        STORY(a_good_run_forgets_failures_and_crashes),
        STORY(a_record_is_parked_by_its_failures_with_reason_and_worker),
        STORY(a_poison_record_is_parked_by_its_crashes),
        STORY(the_second_crash_waits_and_parts_a_batch),
        STORY(crash_counts_survive_a_restart),
        STORY(no_more_than_the_budget_is_parked_in_a_minute),
        STORY(a_share_of_a_large_queue_may_be_parked_in_a_minute),
        STORY(a_once_record_is_removed_by_its_first_good_run),
        STORY(a_report_can_remove_its_record),
        STORY(every_keeps_the_phase_and_skips_missed_runs),
        STORY(every_lies_in_the_future_to_the_microsecond),
        STORY(without_a_next_time_the_report_is_refused_and_the_lease_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
