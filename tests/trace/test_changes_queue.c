/* The rest of design 7's table: records that the grace holds after a restart, pause and drain. */
#include "story.h"

/* Out at A when the broker ended: held until A is back, 5 s at most. */
static struct story_task make_held(struct story *story, const char *key)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old"));
    struct story_task task = story_take_task(story, A, key);
    story_crash(story);
    EXPECT_RECORD(story, key, RECORD_LEASED, 0);
    return task;
}

static void come_back_with(struct story *story, const struct story_task *task)
{
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, task));
}

static void expect_payload(struct story *story, const char *key, const char *payload)
{
    story_expect_text(story_view(story, key).payload, payload);
}

/* --- held by the grace ------------------------------------------------------------------------ */

static void a_put_on_a_held_record_is_applied_with_the_report_of_the_resumed_lease(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    expect_payload(story, "k", "old");
    come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    expect_payload(story, "k", "new");
}

static void a_put_on_a_held_record_is_applied_when_the_grace_ends(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    story_pass_s(story, 5);
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    expect_payload(story, "k", "new");
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_STALE, story_resume(story, A, &task));
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
}

static void a_put_on_a_held_record_survives_another_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .group = "g"));
    story_crash(story);
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    expect_payload(story, "k", "old");
    come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    expect_payload(story, "k", "new");
    story_expect_text(story_view(story, "k").group, "g");
}

static void a_held_record_that_is_removed_never_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    EXPECT(STATUS_OK, story_remove(story, "k"));
    assert_false(story_has(story, "k"));
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_GONE, story_resume(story, A, &task));
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    story_pass_s(story, 10);
    assert_int_equal(story_numbers(story, "q").records, 0);
}

static void run_now_on_a_held_record_takes_place_with_the_report(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    task = story_take_task(story, A, "k");
    assert_int_equal(task.task.due_us, story_at_us(0));
}

static void run_now_on_a_held_record_takes_place_when_the_grace_ends(void **state)
{
    struct story *story = *state;
    make_held(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "k", RECORD_READY, 5);
}

static void kick_is_refused_for_a_held_record(void **state)
{
    struct story *story = *state;
    make_held(story, "k");
    EXPECT(STATUS_LEASED, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
}

static void a_parked_record_is_not_held(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    story_crash(story);
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    EXPECT(STATUS_OK, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_READY, 0);
}

/* --- pause ------------------------------------------------------------------------------------ */

static void a_paused_queue_grants_nothing_until_it_is_resumed(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_OK, story_pause(story, "q"));
    HELLO(story, A, .credit = 2, .queues = "q,other");
    HELLO(story, B);
    PUT(story, "ready");
    PUT(story, "waiting", .in_s = 5);
    EXPECT(STATUS_OK, TAKE(story, B, .wait_ms = 8000));
    story_pass_s(story, 6);
    story_expect_no_task(story, B);
    EXPECT_RECORD(story, "waiting", RECORD_READY, 5);
    EXPECT(STATUS_CREATED, PUT(story, "elsewhere", .queue = "other"));
    story_take_task(story, A, "elsewhere");
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_unpause(story, "q"));
    assert_int_equal(story_task_count(story, A) + story_task_count(story, B), 2);
}

static void a_paused_queue_takes_reports_and_changes_as_ever(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, story_pause(story, "q"));
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_READY, 0);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .in_s = 9));
    EXPECT(STATUS_OK, story_remove(story, "k"));
    story_expect_no_task(story, A);
}

static void a_pause_survives_a_restart_and_leases_are_resumed_in_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, story_pause(story, "q"));
    story_crash(story);
    come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_unpause(story, "q"));
    story_take_task(story, A, "k");
}

static void a_queue_that_is_not_there_yet_can_be_paused(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_NOT_FOUND, story_unpause(story, "new"));
    EXPECT(STATUS_OK, story_pause(story, "new"));
    story_crash(story);
    HELLO(story, A, .queues = "new", .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, "k", .queue = "new"));
    story_expect_no_task(story, A);
}

/* --- drain ------------------------------------------------------------------------------------ */

static void a_drain_waits_for_the_reports(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    PUT(story, "other");
    story_pass_s(story, 5);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests);
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
    story_pass_s(story, 5);
    story_expect_no_task(story, A);
    story_undrain(story);
    story_take_task(story, A, "other");
}

static void a_drain_without_leases_is_over_at_once(void **state)
{
    struct story *story = *state;
    PUT(story, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests);
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
}

static void a_drain_that_times_out_goes_on_granting_nothing(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "k");
    story_drain(story, 30);
    PUT(story, "other");
    story_pass_s(story, 29);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    story_pass_s(story, 1);
    EXPECT(STATUS_TIMED_OUT, story->last[EFFECT_DRAINED].status);
    EXPECT_RECORD(story, "other", RECORD_READY, 0);
    assert_true(story_numbers(story, "q").is_draining);
    story_crash(story);
    assert_false(story_numbers(story, "q").is_draining);
}

/* What the grace holds counts as leased: somebody may report it still. */
static void a_drain_in_the_grace_waits_for_what_is_held(void **state)
{
    struct story *story = *state;
    struct story_task task = make_held(story, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    come_back_with(story, &task);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests - 1);
}

static void a_drain_in_the_grace_is_over_when_nobody_comes_back(void **state)
{
    struct story *story = *state;
    make_held(story, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    story_pass_s(story, 5);
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests);
    EXPECT_RECORD(story, "k", RECORD_READY, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_put_on_a_held_record_is_applied_with_the_report_of_the_resumed_lease),
        STORY(a_put_on_a_held_record_is_applied_when_the_grace_ends),
        STORY(a_put_on_a_held_record_survives_another_crash),
        STORY(a_held_record_that_is_removed_never_comes_back),
        STORY(run_now_on_a_held_record_takes_place_with_the_report),
        STORY(run_now_on_a_held_record_takes_place_when_the_grace_ends),
        STORY(kick_is_refused_for_a_held_record),
        STORY(a_parked_record_is_not_held),
        STORY(a_paused_queue_grants_nothing_until_it_is_resumed),
        STORY(a_paused_queue_takes_reports_and_changes_as_ever),
        STORY(a_pause_survives_a_restart_and_leases_are_resumed_in_it),
        STORY(a_queue_that_is_not_there_yet_can_be_paused),
        STORY(a_drain_waits_for_the_reports),
        STORY(a_drain_without_leases_is_over_at_once),
        STORY(a_drain_that_times_out_goes_on_granting_nothing),
        STORY(a_drain_in_the_grace_waits_for_what_is_held),
        STORY(a_drain_in_the_grace_is_over_when_nobody_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
