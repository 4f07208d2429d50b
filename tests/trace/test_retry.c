/* Runs that fail: back-off, counts, parking and its budget, kick. */
#include "story.h"

#include <stdio.h>

enum { HOUR_S = 3600 };

/* With credit until it is out, and so much of it as the story wants. */
static struct story_task next_run(struct story *story, const char *key)
{
    for (int i = 0; i < 100 && !story_task_count(story, A); i++)
        story_pass_us(story, story_view(story, key).due_us - story->now.wall_us);
    return story_take_task(story, A, key);
}

/* The next run of this record fails; returns how long it waits then. */
static int64_t fail_once(struct story *story, const char *key)
{
    struct story_task task = next_run(story, key);
    EXPECT(STATUS_OK,
           REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .error = "503", .note = "tried"));
    return story_view(story, key).due_us - story->now.wall_us;
}

static void crash_once(struct story *story, const char *key)
{
    struct story_task task = next_run(story, key);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
}

/* --- back-off --------------------------------------------------------------------------------- */

static void the_back_off_doubles_from_a_second_to_an_hour(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    double most_s = 1;
    for (uint32_t i = 1; i < 20; i++) {
        int64_t wait_us = fail_once(story, "k");
        assert_in_range(wait_us, STORY_S(most_s / 2), STORY_S(most_s));
        assert_int_equal(story_view(story, "k").failures, i);
        most_s = most_s * 2 < HOUR_S ? most_s * 2 : HOUR_S;
    }
}

static void the_back_off_grows_to_an_every_that_is_longer_than_an_hour(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k", .every_s = 5 * HOUR_S);
    for (int i = 1; i < 17; i++)
        fail_once(story, "k");
    assert_in_range(fail_once(story, "k"), STORY_S(2.5 * HOUR_S), STORY_S(5 * HOUR_S));
}

static void the_jitter_parts_neighbours_and_is_the_same_in_every_run(void **state)
{
    struct story *story = *state;
    int64_t waits_us[2][2];
    for (int run = 0; run < 2; run++) {
        HELLO(story, A, .credit = 1);
        PUT(story, "a");
        waits_us[run][0] = fail_once(story, "a");
        EXPECT(STATUS_OK, story_remove(story, "a"));
        PUT(story, "b");
        waits_us[run][1] = fail_once(story, "b");
        EXPECT(STATUS_OK, story_remove(story, "b"));
        story_pass_s(story, 17);
    }
    assert_int_not_equal(waits_us[0][0], waits_us[0][1]);
    assert_int_equal(waits_us[0][0], waits_us[1][0]);
    assert_int_equal(waits_us[0][1], waits_us[1][1]);
}

static void an_ok_forgets_failures_crashes_and_the_error(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    fail_once(story, "k");
    crash_once(story, "k");
    struct story_task task = next_run(story, "k");
    assert_int_equal(task.task.failures, 1);
    assert_int_equal(task.task.crashes, 1);
    story_expect_text(story_view(story, "k").error, "503");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures + view.crashes, 0);
    story_expect_text(view.error, "");
    story_expect_text(view.note, "tried");
    assert_in_range(fail_once(story, "k"), STORY_S(0.5), STORY_S(1));
}

static void counts_and_back_off_survive_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    fail_once(story, "k");
    crash_once(story, "k");
    fail_once(story, "k");
    int64_t due_us = story_view(story, "k").due_us;
    story_crash(story);
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures, 2);
    assert_int_equal(view.crashes, 1);
    assert_int_equal(view.due_us, due_us);
}

static void the_first_lost_lease_is_ready_at_once_and_later_ones_back_off(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    crash_once(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    assert_in_range(story_view(story, "k").due_us - story->now.wall_us, STORY_S(0.5), STORY_S(1));
    crash_once(story, "k");
    assert_in_range(story_view(story, "k").due_us - story->now.wall_us, STORY_S(1), STORY_S(2));
}

/* --- parking ---------------------------------------------------------------------------------- */

static void the_twentieth_failure_parks_with_reason_worker_and_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 1; i <= 19; i++)
        fail_once(story, "k");
    assert_int_equal(story_view(story, "k").status, RECORD_WAITING);
    fail_once(story, "k");
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.failures, 20);
    story_expect_text(view.park_reason, "its runs failed too often");
    story_expect_text(view.last_worker, "worker");
    story_expect_text(view.error, "503");
    assert_int_equal(view.parked_us, story->now.wall_us);
    assert_int_equal(story_numbers(story, "q").totals.parked_by_count, 1);
}

static void the_tenth_crash_parks_with_reason_worker_and_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 1; i <= 9; i++)
        crash_once(story, "k");
    assert_int_equal(story_view(story, "k").status, RECORD_WAITING);
    crash_once(story, "k");
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.crashes, 10);
    story_expect_text(view.park_reason, "its lease was lost too often");
    story_expect_text(view.last_worker, "worker");
    assert_int_equal(view.parked_us, story->now.wall_us);
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

/* --- the budget of parking -------------------------------------------------------------------- */

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

static void crashes_share_the_budget_with_failures(void **state)
{
    struct story *story = *state;
    set_budget(story, 1, 0);
    fail_all(story, 1);
    assert_int_equal(story_numbers(story, "q").parked, 1);
    PUT(story, "k");
    for (int i = 0; i < 10; i++)
        crash_once(story, "k");
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

/* --- kick ------------------------------------------------------------------------------------- */

static void a_kicked_record_begins_anew(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    for (int i = 1; i <= 20; i++)
        fail_once(story, "k");
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
        STORY(the_back_off_doubles_from_a_second_to_an_hour),
        STORY(the_back_off_grows_to_an_every_that_is_longer_than_an_hour),
        STORY(the_jitter_parts_neighbours_and_is_the_same_in_every_run),
        STORY(an_ok_forgets_failures_crashes_and_the_error),
        STORY(counts_and_back_off_survive_a_restart),
        STORY(the_first_lost_lease_is_ready_at_once_and_later_ones_back_off),
        STORY(the_twentieth_failure_parks_with_reason_worker_and_time),
        STORY_WITH_MEMORY(the_tenth_crash_parks_with_reason_worker_and_time),
        STORY(what_is_given_back_unbegun_never_parks),
        STORY(a_report_parks_with_its_error_as_the_reason),
        STORY(the_defaults_are_those_of_the_design),
        STORY(one_outage_parks_no_more_than_the_budget_of_a_minute),
        STORY(a_due_that_was_put_meanwhile_wins_over_the_longest_back_off),
        STORY(the_budget_is_a_share_of_a_large_queue),
        STORY(crashes_share_the_budget_with_failures),
        STORY(no_minute_has_more_than_the_budget_wherever_it_begins),
        STORY(a_report_that_parks_needs_no_budget),
        STORY(a_kicked_record_begins_anew),
        STORY(a_kick_of_all_resets_all_and_says_how_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
