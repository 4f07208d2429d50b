/* When a record is due next: what the report names, else what follows from every; and never early.
 */
#include "scenes.h"

/* --- named ------------------------------------------------------------------------------------ */

static struct story_task begin_run(struct story *story, const struct story_line *line)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, story_put(story, line));
    return story_take_task(story, A, line->key);
}
#define BEGIN_RUN(story, name, ...) begin_run(story, &(struct story_line){.key = name, __VA_ARGS__})

static void the_due_that_a_report_names_is_taken(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .due_s = 77));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 77);
}

static void in_counts_from_the_brokers_clock_when_the_report_comes(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 0.5));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 3.5);
}

static void a_due_wins_over_in(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .due_s = 77, .in_s = 5));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 77);
}

static void a_due_in_the_past_is_due_at_once(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    story_pass_s(story, 9);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .due_s = 2));
    EXPECT_RECORD(story, "k", RECORD_READY, 2);
}

static void a_due_out_of_range_is_refused_and_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .due_s = 1e10));
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .in_s = 4e9));
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .due_s = -2e9));
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .in_s = -1));
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

/* --- every ------------------------------------------------------------------------------------ */

static void every_keeps_the_phase_however_long_the_run_takes(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    story_pass_s(story, 3.25);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 10);
    story_pass_s(story, 10);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 20);
}

static void every_skips_the_runs_that_were_missed(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    story_pass_s(story, 35);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 40);
}

static void every_lies_in_the_future_also_when_a_run_ends_to_the_microsecond(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    story_pass_s(story, 30);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 40);
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

static void every_counts_from_the_due_that_was_put(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k", .every_s = 3600, .due_s = -7200 + 25);
    struct story_task task = story_take_task(story, A, "k");
    assert_int_equal(task.task.every_us, STORY_S(3600));
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 25);
}

static void every_skips_what_was_missed_while_the_broker_was_down(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .due_s = 5, .every_s = 10);
    story_stall_s(story, 1000);
    story_crash(story);
    HELLO(story, A, .credit = 1);
    struct story_task task = story_take_task(story, A, "k");
    assert_int_equal(task.task.lateness_us, STORY_S(995));
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 1005);
}

static void the_longest_every_ends_with_the_last_time_there_is(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 4.5e9);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.status, RECORD_WAITING);
    assert_int_equal(view.due_us, TIME_US_END - 1);
}

/* --- once, and never again -------------------------------------------------------------------- */

static void a_once_record_is_removed_by_its_first_ok_and_needs_no_next(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .once = ONCE);
    assert_true(task.task.once);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    assert_false(story_has(story, "k"));
    EXPECT(STATUS_GONE, REPORT(story, A, &task));
}

static void a_once_record_is_removed_by_its_first_good_run(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "job", .once = ONCE);
    scene_fail_for_s(story, "job");
    story_pass_s(story, 1);
    struct story_task task = story_take_task(story, A, "job");
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    assert_false(story_has(story, "job"));
    EXPECT(STATUS_GONE, REPORT(story, A, &task));
    story_crash(story);
    assert_false(story_has(story, "job"));
}

static void a_once_record_outlives_what_is_not_ok(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .once = ONCE);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1));
    story_pass_s(story, 1);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_kick(story, "k"));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    assert_false(story_has(story, "k"));
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

/* --- retry ------------------------------------------------------------------------------------ */

static void a_retry_takes_the_due_or_in_that_it_names(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 10);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .due_s = 3));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 3);
    story_pass_s(story, 3);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 4));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 7);
    assert_int_equal(story_view(story, "k").failures, 2);
}

static void a_retry_that_names_nothing_backs_off_instead_of_waiting_for_every(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 500);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    int64_t due_us = story_view(story, "k").due_us;
    assert_in_range(due_us - story_at_us(0), STORY_S(0.5), STORY_S(1));
}

/* --- no next time ----------------------------------------------------------------------------- */

static void an_ok_without_any_next_time_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .payload = "old");
    struct record_view before = story_view(story, "k");
    EXPECT(STATUS_NO_NEXT, REPORT(story, A, &task, .memo = "m", .payload = "new", .note = "n"));
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.state, before.state);
    assert_int_equal(view.failures + view.crashes, 0);
    story_expect_text(view.payload, "old");
    story_expect_text(view.memo, "");
    struct sched_totals totals = story_numbers(story, "q").totals;
    assert_int_equal(totals.reports_ok + totals.reports_failed + totals.stale, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 5);
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

static void retry_park_and_remove_need_no_next_time(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    story_pass_s(story, 1);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_kick(story, "k"));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    assert_false(story_has(story, "k"));
}

static void what_is_pending_can_name_the_next_time(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .every_s = 10));
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 10);
    task = BEGIN_RUN(story, "due");
    EXPECT(STATUS_PENDING, PUT(story, "due", .due_s = 20));
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "due", RECORD_WAITING, 20);
}

/* --- never early ------------------------------------------------------------------------------ */

static void no_record_is_handed_out_a_microsecond_early(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 10);
    PUT(story, "k", .due_us = story_at_us(10) + 1);
    PUT(story, "first", .due_us = story_at_us(10));
    story_pass_us(story, STORY_S(10) - 1);
    story_expect_no_task(story, A);
    story_pass_us(story, 1);
    story_take_task(story, A, "first");
    story_expect_no_task(story, A);
    story_pass_us(story, 1);
    struct story_task task = story_take_task(story, A, "k");
    assert_int_equal(task.task.lateness_us, 0);
}

static void a_clock_that_is_set_back_delays_what_is_due_by_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 10, .lease_ms = 86400000);
    PUT(story, "waiting", .in_s = 10);
    EXPECT(STATUS_OK, story_pause(story, "q"));
    PUT(story, "ready", .in_s = 5);
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "ready", RECORD_READY, 5);
    story_step_wall_s(story, -100);
    EXPECT(STATUS_OK, story_unpause(story, "q"));
    story_pass_s(story, 98);
    story_expect_no_task(story, A);
    story_pass_s(story, 1);
    story_take_task(story, A, "ready");
    story_pass_s(story, 4.5);
    story_expect_no_task(story, A);
    story_pass_s(story, 0.5);
    story_take_task(story, A, "waiting");
}

static void a_clock_that_is_set_forward_brings_what_is_due_by_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 10);
    PUT(story, "k", .in_s = 3600);
    story_step_wall_s(story, 3600);
    story_take_task(story, A, "k");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_due_that_a_report_names_is_taken),
        STORY(in_counts_from_the_brokers_clock_when_the_report_comes),
        STORY(a_due_wins_over_in),
        STORY(a_due_in_the_past_is_due_at_once),
        STORY(a_due_out_of_range_is_refused_and_changes_nothing),
        STORY(every_keeps_the_phase_however_long_the_run_takes),
        STORY(every_skips_the_runs_that_were_missed),
        STORY(every_lies_in_the_future_also_when_a_run_ends_to_the_microsecond),
        STORY(every_keeps_the_phase_and_skips_missed_runs),
        STORY(every_lies_in_the_future_to_the_microsecond),
        STORY(every_counts_from_the_due_that_was_put),
        STORY(every_skips_what_was_missed_while_the_broker_was_down),
        STORY(the_longest_every_ends_with_the_last_time_there_is),
        STORY(a_once_record_is_removed_by_its_first_ok_and_needs_no_next),
        STORY(a_once_record_is_removed_by_its_first_good_run),
        STORY(a_once_record_outlives_what_is_not_ok),
        STORY(a_report_can_remove_its_record),
        STORY(a_retry_takes_the_due_or_in_that_it_names),
        STORY(a_retry_that_names_nothing_backs_off_instead_of_waiting_for_every),
        STORY(an_ok_without_any_next_time_changes_nothing),
        STORY(without_a_next_time_the_report_is_refused_and_the_lease_stays),
        STORY(retry_park_and_remove_need_no_next_time),
        STORY(what_is_pending_can_name_the_next_time),
        STORY(no_record_is_handed_out_a_microsecond_early),
        STORY(a_clock_that_is_set_back_delays_what_is_due_by_it),
        STORY(a_clock_that_is_set_forward_brings_what_is_due_by_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
