/* Remove, run-now, kick, pause and drain, on a record in each of its states. */
#include "story.h"

#include <stdio.h>

/* A record of each state: "waiting" (due at 100 s), "ready", "leased" (by A) and "parked". */
static struct story_task make_one_of_each(struct story *story)
{
    HELLO(story, CLIENT, .queues = "", .heartbeat_ms = 600000);
    HELLO(story, A, .credit = 1);
    PUT(story, "parked");
    struct story_task task = story_take_task(story, A, "parked");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK, .error = "no"));
    PUT(story, "leased");
    task = story_take_task(story, A, "leased");
    PUT(story, "waiting", .due_s = 100);
    PUT(story, "ready");
    EXPECT_RECORD(story, "waiting", RECORD_WAITING, 100);
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
    EXPECT_RECORD(story, "leased", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "parked", RECORD_PARKED, 0);
    return task;
}

/* --- remove ----------------------------------------------------------------------------------- */

static void a_removed_record_is_gone_with_its_state(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    uint64_t before = story_view(story, "waiting").state;
    EXPECT(STATUS_OK, story_remove(story, "waiting"));
    EXPECT(STATUS_OK, story_remove(story, "ready"));
    EXPECT(STATUS_OK, story_remove(story, "parked"));
    EXPECT(STATUS_NOT_FOUND, story_remove(story, "waiting"));
    assert_false(story_has(story, "waiting"));
    EXPECT(STATUS_CREATED, PUT(story, "waiting", .in_s = 5));
    assert_true(story_view(story, "waiting").state > before);
    story_crash(story);
    assert_true(story_has(story, "waiting"));
    assert_false(story_has(story, "ready"));
    assert_false(story_has(story, "parked"));
}

static void a_leased_record_that_is_removed_is_cancelled_and_never_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = make_one_of_each(story);
    EXPECT(STATUS_OK, story_remove(story, "leased"));
    assert_false(story_has(story, "leased"));
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    assert_false(story_has(story, "leased"));
}

static void the_report_on_a_removed_record_does_not_touch_its_successor(void **state)
{
    struct story *story = *state;
    struct story_task task = make_one_of_each(story);
    EXPECT(STATUS_OK, story_remove(story, "leased"));
    EXPECT(STATUS_CREATED, PUT(story, "leased", .in_s = 50));
    assert_true(REPORT(story, A, &task, .in_s = 5) < 0);
    EXPECT_RECORD(story, "leased", RECORD_WAITING, 50);
}

static void what_is_pending_goes_with_the_record(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    EXPECT(STATUS_PENDING, PUT(story, "leased", .payload = "p"));
    EXPECT(STATUS_OK, story_remove(story, "leased"));
    EXPECT(STATUS_CREATED, PUT(story, "leased", .in_s = 50));
    assert_int_equal(story_view(story, "leased").payload.count, 0);
    story_crash(story);
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "leased", RECORD_WAITING, 50);
    assert_int_equal(story_view(story, "leased").payload.count, 0);
}

static void numbers_add_up_over_puts_and_removals(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    story_remove(story, "leased");
    story_remove(story, "ready");
    for (int i = 0; i < 2; i++) {
        struct sched_numbers numbers = story_numbers(story, "q");
        assert_int_equal(numbers.records, 2);
        assert_int_equal(numbers.totals.created, 4);
        assert_int_equal(numbers.totals.removed, 2);
        story_crash(story);
    }
}

/* --- run-now ---------------------------------------------------------------------------------- */

static void run_now_makes_a_waiting_record_due(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    story_pass_s(story, 7);
    EXPECT(STATUS_OK, story_run_now(story, "waiting"));
    EXPECT_RECORD(story, "waiting", RECORD_READY, 7);
    EXPECT(STATUS_OK, story_run_now(story, "ready"));
    assert_int_equal(story_view(story, "ready").status, RECORD_READY);
    EXPECT(STATUS_NOT_FOUND, story_run_now(story, "unknown"));
}

static void run_now_on_a_parked_record_hints_at_kick(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    EXPECT(STATUS_PARKED, story_run_now(story, "parked"));
    EXPECT_RECORD(story, "parked", RECORD_PARKED, 0);
}

static void run_now_on_a_leased_record_takes_place_when_its_report_comes(void **state)
{
    struct story *story = *state;
    struct story_task task = make_one_of_each(story);
    EXPECT(STATUS_PENDING, story_run_now(story, "leased"));
    story_set_credit(story, A, 0);
    story_pass_s(story, 2);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "leased", RECORD_READY, 2);
}

static void run_now_on_a_leased_record_survives_a_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = make_one_of_each(story);
    HELLO(story, B, .queues = "other", .credit = 1); /* is waited for, so that the grace lasts */
    EXPECT(STATUS_PENDING, story_run_now(story, "leased"));
    story_crash(story);
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "leased", RECORD_READY, 0);
}

/* --- kick ------------------------------------------------------------------------------------- */

static void kick_brings_a_parked_record_back_as_new(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    uint64_t before = story_view(story, "parked").state;
    story_expect_text(story_view(story, "parked").park_reason, "no");
    story_expect_text(story_view(story, "parked").last_worker, "worker");
    assert_true(story_view(story, "parked").parked_us > 0);
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, story_kick(story, "parked"));
    EXPECT_RECORD(story, "parked", RECORD_READY, 3);
    assert_true(story_view(story, "parked").state > before);
    assert_int_equal(story_view(story, "parked").park_reason.count, 0);
    assert_int_equal(story_view(story, "parked").parked_us, 0);
}

static void kick_is_refused_for_what_is_not_parked(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "waiting"));
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "ready"));
    EXPECT(STATUS_LEASED, story_kick(story, "leased"));
    EXPECT(STATUS_NOT_FOUND, story_kick(story, "unknown"));
}

static void a_kick_of_all_brings_back_every_parked_record_of_the_queue(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT, .queues = "");
    HELLO(story, A, .queues = "q,other", .credit = 60);
    char key[16];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        PUT(story, key, .queue = i == 0 ? "other" : "q");
        struct story_task task = story_take_task(story, A, key);
        REPORT(story, A, &task, .outcome = OUTCOME_PARK);
    }
    story_set_credit(story, A, 0);
    story_kick_all(story);
    assert_int_equal(story->last[EFFECT_KICKED].count, 39);
    assert_int_equal(story_numbers(story, "q").parked, 0);
    assert_int_equal(story_numbers(story, "q").ready, 39);
    assert_int_equal(story_numbers(story, "other").parked, 1);
}

/* --- pause and drain -------------------------------------------------------------------------- */

static void a_paused_queue_hands_out_nothing_and_takes_reports(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .queues = "q,other", .credit = 9);
    PUT(story, "leased");
    struct story_task task = story_take_task(story, A, "leased");
    EXPECT(STATUS_OK, story_pause(story, "q"));
    PUT(story, "ready");
    PUT(story, "elsewhere", .queue = "other");
    story_take_task(story, A, "elsewhere");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_unpause(story, "q"));
    assert_int_equal(story_task_count(story, A), 2);
}

static void a_pause_survives_a_restart(void **state)
{
    struct story *story = *state;
    PUT(story, "feed");
    EXPECT(STATUS_OK, story_pause(story, "q"));
    story_crash(story);
    HELLO(story, A, .credit = 1);
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_unpause(story, "q"));
    story_take_task(story, A, "feed");
}

static void a_drain_ends_when_no_lease_is_out(void **state)
{
    struct story *story = *state;
    struct story_task task = make_one_of_each(story);
    story_drain(story, 60);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests);
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    assert_true(story_numbers(story, NULL).is_draining);
    story_undrain(story);
    assert_int_equal(story_task_count(story, A), 1);
}

static void a_drain_times_out_and_goes_on_draining(void **state)
{
    struct story *story = *state;
    make_one_of_each(story);
    story_drain(story, 10);
    story_pass_s(story, 9.9);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    story_pass_s(story, 0.1);
    EXPECT(STATUS_TIMED_OUT, story->last[EFFECT_DRAINED].status);
    assert_true(story_numbers(story, NULL).is_draining);
}

static void a_restart_ends_a_drain(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT, .queues = "");
    story_drain(story, 1);
    story_crash(story);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_removed_record_is_gone_with_its_state),
        STORY(a_leased_record_that_is_removed_is_cancelled_and_never_comes_back),
        STORY(the_report_on_a_removed_record_does_not_touch_its_successor),
        STORY(what_is_pending_goes_with_the_record),
        STORY(numbers_add_up_over_puts_and_removals),
        STORY(run_now_makes_a_waiting_record_due),
        STORY(run_now_on_a_parked_record_hints_at_kick),
        STORY(run_now_on_a_leased_record_takes_place_when_its_report_comes),
        STORY(run_now_on_a_leased_record_survives_a_crash),
        STORY(kick_brings_a_parked_record_back_as_new),
        STORY(kick_is_refused_for_what_is_not_parked),
        STORY(a_kick_of_all_brings_back_every_parked_record_of_the_queue),
        STORY(a_paused_queue_hands_out_nothing_and_takes_reports),
        STORY(a_pause_survives_a_restart),
        STORY(a_drain_ends_when_no_lease_is_out),
        STORY(a_drain_times_out_and_goes_on_draining),
        STORY(a_restart_ends_a_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
