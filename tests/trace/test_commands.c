/* Remove, run-now and kick, on a record in each of its states. Held ones are in test_resumes.c. */
#include "scenes.h"

#include <stdio.h>

/* --- remove ----------------------------------------------------------------------------------- */

static void a_record_that_waits_is_ready_or_parked_is_removed_with_its_state(void **state)
{
    struct story *story = *state;
    scene_make_parked(story, "parked");
    scene_make_waiting(story, "waiting");
    scene_make_ready(story, "ready");
    const char *const keys[] = {"parked", "waiting", "ready"};
    for (int i = 0; i < 3; i++) {
        uint64_t before = story_view(story, keys[i]).state;
        EXPECT(STATUS_OK, story_remove(story, keys[i]));
        assert_false(story_has(story, keys[i]));
        EXPECT(STATUS_NOT_FOUND, story_remove(story, keys[i]));
        story_crash(story);
        assert_false(story_has(story, keys[i]));
        EXPECT(STATUS_CREATED, PUT(story, keys[i], .in_s = 7));
        assert_true(story_view(story, keys[i]).state > before);
        EXPECT_RECORD(story, keys[i], RECORD_WAITING, 7);
        scene_expect_payload(story, keys[i], "");
        story_expect_text(story_view(story, keys[i]).memo, "");
        story_expect_text(story_view(story, keys[i]).error, "");
    }
}

static void a_leased_record_that_is_removed_is_gone_at_once(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_OK, story_remove(story, "k"));
    assert_false(story_has(story, "k"));
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    story_pass_s(story, 120);
    assert_false(story_has(story, "k"));
    assert_int_equal(story_numbers(story, "q").records, 0);
}

static void a_removed_record_does_not_come_back_when_its_lease_ends_or_in_a_crash(void **state)
{
    struct story *story = *state;
    scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_OK, story_remove(story, "k"));
    story_pass_s(story, 120);
    assert_false(story_has(story, "k"));
    story_crash(story);
    story_pass_s(story, 10);
    assert_false(story_has(story, "k"));
}

static void the_report_on_a_removed_record_does_not_touch_its_successor(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_one_of_each(story);
    EXPECT(STATUS_OK, story_remove(story, "leased"));
    EXPECT(STATUS_CREATED, PUT(story, "leased", .in_s = 50));
    assert_true(REPORT(story, A, &task, .in_s = 5) < 0);
    EXPECT_RECORD(story, "leased", RECORD_WAITING, 50);
}

static void what_is_pending_goes_with_the_record(void **state)
{
    struct story *story = *state;
    scene_make_one_of_each(story);
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
    scene_make_one_of_each(story);
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

static void run_now_makes_due_what_waits_and_leaves_what_is_ready(void **state)
{
    struct story *story = *state;
    scene_make_waiting(story, "waiting");
    scene_make_ready(story, "ready");
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, story_run_now(story, "waiting"));
    EXPECT_RECORD(story, "waiting", RECORD_READY, 3);
    EXPECT(STATUS_OK, story_run_now(story, "ready"));
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
    EXPECT(STATUS_NOT_FOUND, story_run_now(story, "nobody"));
}

static void run_now_is_refused_for_a_parked_record(void **state)
{
    struct story *story = *state;
    scene_make_parked(story, "k");
    EXPECT(STATUS_PARKED, story_run_now(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
}

static void run_now_makes_a_leased_record_due_when_its_report_comes(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    story_pass_s(story, 4);
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_READY, 4);
    EXPECT(STATUS_OK, story_set_credit(story, A, 1));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70)); /* it was for once */
    EXPECT_RECORD(story, "k", RECORD_WAITING, 74);
}

static void run_now_on_a_leased_record_survives_a_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_one_of_each(story);
    HELLO(story, B, .queues = "other", .credit = 1); /* is waited for, so that the grace lasts */
    EXPECT(STATUS_PENDING, story_run_now(story, "leased"));
    story_crash(story);
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "leased", RECORD_READY, 0);
}

static void run_now_wins_over_the_back_off(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    task = story_take_task(story, A, "k");
    assert_int_equal(task.task.failures, 1);
}

static void run_now_does_not_unpark_or_bring_back(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "parked");
    EXPECT(STATUS_PENDING, story_run_now(story, "parked"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT_RECORD(story, "parked", RECORD_PARKED, 0);
    task = scene_make_leased(story, "removed");
    EXPECT(STATUS_PENDING, story_run_now(story, "removed"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    assert_false(story_has(story, "removed"));
}

static void of_a_put_with_a_due_and_run_now_on_a_leased_record_the_last_counts(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    task = story_take_task(story, A, "k");
    assert_string_equal(task.payload, "new");

    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
}

/* --- kick ------------------------------------------------------------------------------------- */

static void kick_brings_a_parked_record_back_due_now_without_its_counts(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1));
    story_pass_s(story, 1);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    struct record_view parked = story_view(story, "k");
    assert_int_equal(parked.failures, 1);
    assert_int_equal(parked.crashes, 1);
    story_expect_text(parked.park_reason, "by its handler");
    story_expect_text(parked.last_worker, "worker");
    assert_true(parked.parked_us > 0);
    story_pass_s(story, 5);
    EXPECT(STATUS_OK, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_READY, 6);
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures + view.crashes, 0);
    assert_true(view.state > parked.state);
    assert_null(view.park_reason.data);
    assert_null(view.last_worker.data);
    assert_int_equal(view.parked_us, 0);
}

static void a_kick_of_what_is_not_parked_is_refused_and_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_one_of_each(story);
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "waiting"));
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "ready"));
    EXPECT(STATUS_LEASED, story_kick(story, "leased"));
    EXPECT(STATUS_NOT_FOUND, story_kick(story, "nobody"));
    EXPECT_RECORD(story, "waiting", RECORD_WAITING, 100);
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "leased", RECORD_WAITING, 70);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_record_that_waits_is_ready_or_parked_is_removed_with_its_state),
        STORY(a_leased_record_that_is_removed_is_gone_at_once),
        STORY(a_removed_record_does_not_come_back_when_its_lease_ends_or_in_a_crash),
        STORY(the_report_on_a_removed_record_does_not_touch_its_successor),
        STORY(what_is_pending_goes_with_the_record),
        STORY(numbers_add_up_over_puts_and_removals),
        STORY(run_now_makes_due_what_waits_and_leaves_what_is_ready),
        STORY(run_now_is_refused_for_a_parked_record),
        STORY(run_now_makes_a_leased_record_due_when_its_report_comes),
        STORY(run_now_on_a_leased_record_survives_a_crash),
        STORY(run_now_wins_over_the_back_off),
        STORY(run_now_does_not_unpark_or_bring_back),
        STORY(of_a_put_with_a_due_and_run_now_on_a_leased_record_the_last_counts),
        STORY(kick_brings_a_parked_record_back_due_now_without_its_counts),
        STORY(a_kick_of_what_is_not_parked_is_refused_and_changes_nothing),
        STORY(a_kick_of_all_brings_back_every_parked_record_of_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
