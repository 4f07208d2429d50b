/* Pause, which holds a queue back, and drain, which waits for all that is out. */
#include "scenes.h"

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

static void a_pause_survives_a_restart_and_leases_are_resumed_in_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, story_pause(story, "q"));
    story_crash(story);
    scene_come_back_with(story, &task);
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

static void a_drain_ends_when_no_lease_is_out(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_one_of_each(story);
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

static void a_drain_without_leases_is_over_at_once(void **state)
{
    struct story *story = *state;
    PUT(story, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests);
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
}

static void a_drain_times_out_and_goes_on_draining(void **state)
{
    struct story *story = *state;
    scene_make_one_of_each(story);
    story_drain(story, 10);
    story_pass_s(story, 9.9);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    story_pass_s(story, 0.1);
    EXPECT(STATUS_TIMED_OUT, story->last[EFFECT_DRAINED].status);
    assert_true(story_numbers(story, NULL).is_draining);
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

/* What the grace holds counts as leased: somebody may report it still. */
static void a_drain_in_the_grace_waits_for_what_is_held(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_held(story, "k");
    story_drain(story, 30);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    scene_come_back_with(story, &task);
    assert_int_equal(story->last[EFFECT_DRAINED].request, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    EXPECT(STATUS_OK, story->last[EFFECT_DRAINED].status);
    assert_int_equal(story->last[EFFECT_DRAINED].request, story->requests - 1);
}

static void a_drain_in_the_grace_is_over_when_nobody_comes_back(void **state)
{
    struct story *story = *state;
    scene_make_held(story, "k");
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
        STORY(a_paused_queue_grants_nothing_until_it_is_resumed),
        STORY(a_paused_queue_takes_reports_and_changes_as_ever),
        STORY(a_paused_queue_hands_out_nothing_and_takes_reports),
        STORY(a_pause_survives_a_restart),
        STORY(a_pause_survives_a_restart_and_leases_are_resumed_in_it),
        STORY(a_queue_that_is_not_there_yet_can_be_paused),
        STORY(a_drain_waits_for_the_reports),
        STORY(a_drain_ends_when_no_lease_is_out),
        STORY(a_drain_without_leases_is_over_at_once),
        STORY(a_drain_times_out_and_goes_on_draining),
        STORY(a_drain_that_times_out_goes_on_granting_nothing),
        STORY(a_restart_ends_a_drain),
        STORY(a_drain_in_the_grace_waits_for_what_is_held),
        STORY(a_drain_in_the_grace_is_over_when_nobody_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
