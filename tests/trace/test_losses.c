/* Leases that are lost: what it costs the record, when it comes again, when it is parked. */
#include "story.h"

/* Takes the record and loses it; how long it waits then. */
static int64_t lose_once(struct story *story, const char *key)
{
    struct story_task task = story_take_task(story, A, key);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    struct record_view view = story_view(story, key);
    return view.status == RECORD_WAITING ? view.due_us - story->now.wall_us : 0;
}

/* ... when it has come again. */
static int64_t lose_again(struct story *story, const char *key, int64_t wait_us)
{
    story_pass_us(story, wait_us);
    return lose_once(story, key);
}

static void set_policy(struct story *story, const struct sched_policy *policy)
{
    assert_int_equal(sched_set_policy(story->sched, bytes_of("q"), policy), STATUS_OK);
}

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

static void crashes_are_forgotten_at_the_next_ok_and_failures_with_them(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    int64_t wait_us = lose_once(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1));
    assert_int_equal(story_view(story, "feed").crashes, 1);
    story_pass_s(story, 1);
    task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.crashes, 1);
    assert_int_equal(task.task.failures, 1);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story_view(story, "feed").failures, 0);
    assert_int_equal(wait_us, 0);
}

static void what_a_record_has_crashed_survives_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    lose_once(story, "feed");
    int64_t wait_us = lose_once(story, "feed");
    story_crash(story);
    HELLO(story, A, .credit = 1);
    assert_int_equal(story_view(story, "feed").due_us - story->now.wall_us, wait_us);
    story_pass_us(story, wait_us);
    assert_int_equal(story_take_task(story, A, "feed").task.crashes, 2);
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

/* --- back-off --------------------------------------------------------------------------------- */

static void the_first_loss_is_ready_at_once_and_later_ones_back_off(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    assert_int_equal(lose_once(story, "feed"), 0);
    int64_t wait_us = 0;
    for (int64_t delay_us = STORY_S(1); delay_us <= STORY_S(128); delay_us *= 2) {
        wait_us = lose_again(story, "feed", wait_us);
        assert_in_range(wait_us, delay_us / 2, delay_us);
    }
    assert_int_equal(story_view(story, "feed").crashes, 9);
}

static void the_back_off_ends_at_an_hour_or_at_the_records_interval(void **state)
{
    struct story *story = *state;
    struct sched_policy policy = story->settings.policy;
    policy.crashes_max = 1000;
    set_policy(story, &policy);
    HELLO(story, A, .credit = 1);
    const double longest_s[] = {3600, 100000};
    for (int i = 0; i < 2; i++) {
        PUT(story, "feed", .every_s = longest_s[i]);
        int64_t wait_us = 0;
        for (int crash = 0; crash < 60; crash++) {
            wait_us = lose_again(story, "feed", wait_us);
            assert_in_range(wait_us, 0, STORY_S(longest_s[i]));
        }
        assert_in_range(wait_us, STORY_S(longest_s[i]) / 2, STORY_S(longest_s[i]));
        story_remove(story, "feed");
    }
}

/* The waits of two records after two losses each, and of the first after three. */
static void measure_waits(struct story *story, int64_t *waits)
{
    HELLO(story, A, .credit = 1);
    PUT(story, "a");
    lose_once(story, "a");
    waits[0] = lose_once(story, "a");
    PUT(story, "b");
    lose_once(story, "b");
    waits[1] = lose_once(story, "b");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    story_remove(story, "b");
    story_set_credit(story, A, 1);
    waits[2] = lose_once(story, "a");
}

static void jitter_parts_neighbours_and_is_the_same_in_every_run(void **state)
{
    int64_t once[3], again[3];
    measure_waits(*state, once);
    measure_waits(story_begin_anew(state), again);
    assert_memory_equal(once, again, sizeof(once));
    assert_int_not_equal(once[0], once[1]);
    assert_not_in_range(once[2], once[0] * 2 - 1000, once[0] * 2 + 1000); /* drawn anew */
}

/* --- parked ----------------------------------------------------------------------------------- */

static void a_record_that_is_lost_ten_times_is_parked_with_its_reason(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    int64_t wait_us = 0;
    for (int i = 0; i < 9; i++)
        wait_us = lose_again(story, "feed", wait_us);
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    lose_again(story, "feed", wait_us);
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.status, RECORD_PARKED);
    assert_int_equal(view.crashes, 10);
    assert_int_equal(view.parked_us, story->now.wall_us);
    story_expect_text(view.last_worker, "worker");
    assert_true(view.park_reason.count > 0);
    assert_int_equal(story_numbers(story, "q").totals.parked_by_count, 1);
    story_pass_s(story, 100000);
    story_expect_no_task(story, A);
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
    set_policy(story, &(struct sched_policy){.crashes_max = 1,
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

static void the_parking_budget_is_a_share_of_the_queue_and_comes_again_each_minute(void **state)
{
    struct story *story = *state;
    set_policy(story, &(struct sched_policy){.crashes_max = 1,
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

/* --- changes that were pending ---------------------------------------------------------------- */

static struct story_task change_while_out(struct story *story)
{
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed", .payload = "old");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    assert_int_equal(story_view(story, "feed").state, task.task.state);
    return task;
}

static void a_change_that_is_applied_when_the_lease_is_lost_draws_a_fresh_number(void **state)
{
    struct story *story = *state;
    struct story_task task = change_while_out(story);
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

/* --- given back after it was resumed ---------------------------------------------------------- */

static void a_record_that_backs_off_is_resumed_given_back_and_not_early(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    lose_once(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    int64_t due_us = story_view(story, "feed").due_us;
    assert_true(due_us > story->now.wall_us);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT(STATUS_OK, story_give_back(story, A, &task));
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.status, RECORD_WAITING);
    assert_int_equal(view.due_us, due_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(every_way_to_lose_a_lease_counts_one_crash),
        STORY(what_a_session_holds_when_it_says_goodbye_is_given_back_uncounted),
        STORY(a_session_that_is_lost_loses_all_that_it_held),
        STORY(crashes_are_forgotten_at_the_next_ok_and_failures_with_them),
        STORY(what_a_record_has_crashed_survives_a_restart),
        STORY(a_removed_record_is_cancelled_and_uses_its_credit_until_reported),
        STORY(a_removed_records_lease_is_given_back_or_runs_out_quietly),
        STORY(the_first_loss_is_ready_at_once_and_later_ones_back_off),
        STORY(the_back_off_ends_at_an_hour_or_at_the_records_interval),
        STORY(jitter_parts_neighbours_and_is_the_same_in_every_run),
        STORY_WITH_MEMORY(a_record_that_is_lost_ten_times_is_parked_with_its_reason),
        STORY(over_its_budget_a_queue_parks_no_more_and_the_rest_back_off_longest),
        STORY(the_parking_budget_is_a_share_of_the_queue_and_comes_again_each_minute),
        STORY(a_change_that_is_applied_when_the_lease_is_lost_draws_a_fresh_number),
        STORY(a_pending_run_now_makes_a_late_report_stale_too),
        STORY(a_change_with_a_due_says_when_a_lost_record_comes_again),
        STORY(a_record_that_backs_off_is_resumed_given_back_and_not_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
