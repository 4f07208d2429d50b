/* Records that are parked, by their counts or a report, within the budget of a minute; kicked. */
#include "scenes.h"

#include <stdio.h>

enum { HOUR_S = 3600 };

/* --- by count --------------------------------------------------------------------------------- */

static void set_counts(struct story *story, uint32_t failures, uint32_t crashes, uint32_t parks)
{
    story->settings.policy.failures_max = failures;
    story->settings.policy.crashes_max = crashes;
    story->settings.policy.parks_per_minute_least = parks;
    story->settings.policy.parks_per_minute_ppm = 0;
    sched_set_settings(story->sched, &story->settings);
}

static void a_record_is_parked_by_its_failures_with_reason_and_worker(void **state)
{
    struct story *story = *state;
    set_counts(story, 3, 10, 100);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    scene_fail_for_s(story, "feed");
    scene_fail_for_s(story, "feed");
    scene_fail_for_s(story, "feed");
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

static void the_twentieth_failure_parks_with_reason_worker_and_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 1; i <= 19; i++)
        scene_fail(story, "k");
    assert_int_equal(story_view(story, "k").status, RECORD_WAITING);
    scene_fail(story, "k");
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.failures, 20);
    story_expect_text(view.park_reason, "its runs failed too often");
    story_expect_text(view.last_worker, "worker");
    story_expect_text(view.error, "503");
    assert_int_equal(view.parked_us, story->now.wall_us);
    assert_int_equal(story_numbers(story, "q").totals.parked_by_count, 1);
}

static void a_record_that_is_lost_ten_times_is_parked_with_its_reason(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    int64_t wait_us = 0;
    for (int i = 0; i < 9; i++)
        wait_us = scene_lose_again(story, "feed", wait_us);
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    scene_lose_again(story, "feed", wait_us);
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.crashes, 10);
    assert_int_equal(view.parked_us, story->now.wall_us);
    story_expect_text(view.last_worker, "worker");
    story_expect_text(view.park_reason, "its lease was lost too often");
    assert_int_equal(story_numbers(story, "q").totals.parked_by_count, 1);
    story_pass_s(story, 100000);
    story_expect_no_task(story, A);
}

static void what_is_given_back_unbegun_never_parks(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 0; i < 30; i++) {
        struct story_task task = story_take_task(story, A, "k");
        EXPECT(STATUS_OK, story_give_back(story, A, &task));
    }
    assert_int_equal(story_take_task(story, A, "k").task.crashes, 0);
}

/* --- by a report ------------------------------------------------------------------------------ */

static void a_report_parks_with_its_error_as_the_reason(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "told");
    story_pass_s(story, 3);
    struct story_task task = story_take_task(story, A, "told");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK, .error = "410 gone"));
    struct record_view view = story_view(story, "told");
    story_expect_text(view.park_reason, "410 gone");
    story_expect_text(view.last_worker, "worker");
    assert_int_equal(view.parked_us, story_at_us(3));
    PUT(story, "silent");
    task = story_take_task(story, A, "silent");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    story_expect_text(story_view(story, "silent").park_reason, "by its handler");
    story_crash(story);
    story_expect_text(story_view(story, "told").park_reason, "410 gone");
    story_expect_text(story_view(story, "told").last_worker, "worker");
    assert_int_equal(story_view(story, "told").parked_us, story_at_us(3));
}

/* --- the budget ------------------------------------------------------------------------------- */

static void the_defaults_are_those_of_the_design(void **state)
{
    const struct story *story = *state;
    const struct sched_policy *policy = &story->settings.policy;
    assert_int_equal(policy->failures_max, 20);
    assert_int_equal(policy->crashes_max, 10);
    assert_int_equal(policy->backoff_first_us, STORY_S(1));
    assert_int_equal(policy->backoff_max_us, STORY_S(HOUR_S));
    assert_int_equal(policy->parks_per_minute_least, 100);
    assert_int_equal(policy->parks_per_minute_ppm, 10000);
}

static void no_more_than_the_budget_is_parked_in_a_minute(void **state)
{
    struct story *story = *state;
    set_counts(story, 1, 10, 3);
    HELLO(story, A, .credit = 8, .lease_ms = 7200000);
    for (char key[] = "a"; key[0] < 'i'; key[0]++) {
        PUT(story, key);
        scene_fail_for_s(story, key);
    }
    assert_int_equal(story_numbers(story, "q").parked, 3);
    for (char key[] = "d"; key[0] < 'i'; key[0]++)
        assert_true(story_view(story, key).due_us > story->now.wall_us + STORY_S(1800));
    story_pass_s(story, 3600);
    struct story_task task = story_take_any(story, A);
    REPORT(story, A, &task, .outcome = OUTCOME_RETRY);
    assert_int_equal(story_view(story, task.key).status, RECORD_PARKED);
}

/* Half of 126 years from now on is beyond the last time that there is. */
static void the_longest_back_off_ends_with_time(void **state)
{
    struct story *story = *state;
    set_counts(story, 1, 10, 0);
    HELLO(story, A, .credit = 20);
    for (char key[] = "a"; key[0] <= 'p'; key[0]++) {
        EXPECT(STATUS_CREATED, PUT(story, key, .every_s = 4e9));
        struct story_task task = story_take_task(story, A, key);
        EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
        struct record_view view = story_view(story, key);
        assert_int_equal(view.status, RECORD_WAITING);
        assert_in_range(view.due_us, story->now.wall_us + STORY_S(1e9), TIME_US_END - 1);
    }
}

/* One failure parks; so many records a minute, or that share of the queue. */
static void set_budget(struct story *story, uint32_t least, uint32_t ppm)
{
    struct sched_policy policy = story->settings.policy;
    policy.failures_max = 1;
    policy.parks_per_minute_least = least;
    policy.parks_per_minute_ppm = ppm;
    EXPECT(STATUS_OK, sched_set_policy(story->sched, bytes_of("q"), &policy));
}

static void fail_all(struct story *story, uint32_t count)
{
    HELLO(story, A, .credit = count);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        PUT(story, key);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct story_task task = story_take_any(story, A);
        EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1));
    }
}

static void one_outage_parks_no_more_than_the_budget_of_a_minute(void **state)
{
    struct story *story = *state;
    set_budget(story, 4, 0);
    fail_all(story, 10);
    assert_int_equal(story_numbers(story, "q").parked, 4);
    for (int i = 4; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        int64_t wait_us = story_view(story, key).due_us - story->now.wall_us;
        assert_in_range(wait_us, STORY_S(HOUR_S / 2), STORY_S(HOUR_S));
    }
}

/* So many records are lost at once. */
static void lose_many(struct story *story, int count)
{
    char key[] = "a";
    HELLO(story, A, .credit = (uint32_t)count);
    for (int i = 0; i < count; i++, key[0]++)
        PUT(story, key);
    story_break_connection(story, A, 0);
}

static void over_its_budget_a_queue_parks_no_more_and_the_rest_back_off_longest(void **state)
{
    struct story *story = *state;
    scene_set_policy(story, &(struct sched_policy){.crashes_max = 1,
                                                   .backoff_first_us = STORY_S(1),
                                                   .backoff_max_us = STORY_S(10),
                                                   .parks_per_minute_least = 2});
    lose_many(story, 5);
    struct sched_numbers numbers = story_numbers(story, "q");
    assert_int_equal(numbers.parked, 2);
    assert_int_equal(numbers.waiting, 3);
    for (char key[] = "a"; key[0] <= 'e'; key[0]++) {
        struct record_view view = story_view(story, key);
        if (view.status == RECORD_WAITING)
            assert_in_range(view.due_us - story->now.wall_us, STORY_S(5), STORY_S(10));
    }
}

static void a_due_that_was_put_meanwhile_wins_over_the_longest_back_off(void **state)
{
    struct story *story = *state;
    set_budget(story, 0, 0);
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct sched_policy policy = {.failures_max = 1,
                                  .crashes_max = 1,
                                  .backoff_first_us = STORY_S(1),
                                  .backoff_max_us = STORY_S(HOUR_S)};
    EXPECT(STATUS_OK, sched_set_policy(story->sched, bytes_of("q"), &policy));
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 5));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 5);
}

static void the_budget_is_a_share_of_a_large_queue(void **state)
{
    struct story *story = *state;
    set_budget(story, 2, 200000);
    fail_all(story, 41);
    assert_int_equal(story_numbers(story, "q").parked, 8);
}

static void the_parking_budget_is_a_share_of_the_queue_and_comes_again_each_minute(void **state)
{
    struct story *story = *state;
    scene_set_policy(story, &(struct sched_policy){.crashes_max = 1,
                                                   .backoff_first_us = STORY_S(1),
                                                   .backoff_max_us = STORY_S(10),
                                                   .parks_per_minute_least = 1,
                                                   .parks_per_minute_ppm = 500000});
    lose_many(story, 7);
    assert_int_equal(story_numbers(story, "q").parked, 3);
    story_pass_s(story, 59);
    HELLO(story, B, .credit = 7);
    story_break_connection(story, B, 0);
    assert_int_equal(story_numbers(story, "q").parked, 3);
    story_pass_s(story, 11);
    HELLO(story, B, .credit = 7);
    story_break_connection(story, B, 0);
    assert_int_equal(story_numbers(story, "q").parked, 6);
}

static void crashes_share_the_budget_with_failures(void **state)
{
    struct story *story = *state;
    set_budget(story, 1, 0);
    fail_all(story, 1);
    assert_int_equal(story_numbers(story, "q").parked, 1);
    PUT(story, "k");
    for (int i = 0; i < 10; i++)
        scene_crash(story, "k");
    assert_int_equal(story_view(story, "k").status, RECORD_PARKED); /* minutes later */
    EXPECT(STATUS_OK, story_kick(story, "k"));
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    assert_int_equal(story_view(story, "k").status, RECORD_WAITING);
}

static void no_minute_has_more_than_the_budget_wherever_it_begins(void **state)
{
    struct story *story = *state;
    set_budget(story, 4, 0);
    story_pass_s(story, 32); /* a minute by the clock would end within the next */
    fail_all(story, 10);
    assert_int_equal(story_numbers(story, "q").parked, 4);
    story_pass_s(story, 58);
    EXPECT(STATUS_OK, story_run_now(story, "k4"));
    struct story_task early = story_take_any(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &early, .outcome = OUTCOME_RETRY));
    assert_int_equal(story_numbers(story, "q").parked, 4);
    story_pass_s(story, 8);
    for (int i = 0; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i + 4);
        EXPECT(STATUS_OK, story_run_now(story, key));
        struct story_task task = story_take_any(story, A);
        EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    }
    assert_int_equal(story_numbers(story, "q").parked, 8);
}

static void a_report_that_parks_needs_no_budget(void **state)
{
    struct story *story = *state;
    set_budget(story, 0, 0);
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
}

/* --- kicked ----------------------------------------------------------------------------------- */

static void a_kicked_record_begins_anew(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 1; i <= 20; i++)
        scene_fail(story, "k");
    EXPECT(STATUS_OK, story_kick(story, "k"));
    struct story_task task = story_take_task(story, A, "k");
    assert_int_equal(task.task.failures + task.task.crashes, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    assert_in_range(story_view(story, "k").due_us - story->now.wall_us, STORY_S(0.5), STORY_S(1));
}

static void a_kick_of_all_resets_all_and_says_how_many(void **state)
{
    struct story *story = *state;
    set_budget(story, 100, 0);
    fail_all(story, 30);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    HELLO(story, CLIENT);
    story_kick_all(story);
    assert_int_equal(story->last[EFFECT_KICKED].request, story->requests);
    assert_int_equal(story->last[EFFECT_KICKED].count, 30);
    assert_int_equal(story_numbers(story, "q").ready, 30);
    assert_int_equal(story_view(story, "k7").failures, 0);
    assert_null(story_view(story, "k7").park_reason.data);
    story_kick_all(story);
    assert_int_equal(story->last[EFFECT_KICKED].request, story->requests);
    assert_int_equal(story->last[EFFECT_KICKED].count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_record_is_parked_by_its_failures_with_reason_and_worker),
        STORY(the_twentieth_failure_parks_with_reason_worker_and_time),
        STORY_WITH_MEMORY(a_record_that_is_lost_ten_times_is_parked_with_its_reason),
        STORY(what_is_given_back_unbegun_never_parks),
        STORY(a_report_parks_with_its_error_as_the_reason),
        STORY(the_defaults_are_those_of_the_design),
        STORY(no_more_than_the_budget_is_parked_in_a_minute),
        STORY(the_longest_back_off_ends_with_time),
        STORY(one_outage_parks_no_more_than_the_budget_of_a_minute),
        STORY(over_its_budget_a_queue_parks_no_more_and_the_rest_back_off_longest),
        STORY(a_due_that_was_put_meanwhile_wins_over_the_longest_back_off),
        STORY(the_budget_is_a_share_of_a_large_queue),
        STORY(the_parking_budget_is_a_share_of_the_queue_and_comes_again_each_minute),
        STORY(crashes_share_the_budget_with_failures),
        STORY(no_minute_has_more_than_the_budget_wherever_it_begins),
        STORY(a_report_that_parks_needs_no_budget),
        STORY(a_kicked_record_begins_anew),
        STORY(a_kick_of_all_resets_all_and_says_how_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
