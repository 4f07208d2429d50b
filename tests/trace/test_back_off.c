/* Runs that failed and leases that were lost: how long the record waits, what is counted, and what
 * makes it forgotten. */
#include "scenes.h"

enum { HOUR_S = 3600 };

/* --- after a failed run ----------------------------------------------------------------------- */

static void the_back_off_doubles_from_a_second_to_an_hour(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    double most_s = 1;
    for (uint32_t i = 1; i < 20; i++) {
        int64_t wait_us = scene_fail(story, "k");
        assert_in_range(wait_us, STORY_S(most_s / 2), STORY_S(most_s));
        assert_int_equal(story_view(story, "k").failures, i);
        most_s = most_s * 2 < HOUR_S ? most_s * 2 : HOUR_S;
    }
    assert_int_equal(story_numbers(story, "q").totals.reports_failed, 19);
}

static void the_back_off_grows_to_an_every_that_is_longer_than_an_hour(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k", .every_s = 5 * HOUR_S);
    for (int i = 1; i < 17; i++)
        scene_fail(story, "k");
    assert_in_range(scene_fail(story, "k"), STORY_S(2.5 * HOUR_S), STORY_S(5 * HOUR_S));
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

/* --- after a lost lease ----------------------------------------------------------------------- */

static void the_first_loss_is_ready_at_once_and_later_ones_back_off(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    assert_int_equal(scene_lose(story, "feed"), 0);
    int64_t wait_us = 0;
    for (int64_t delay_us = STORY_S(1); delay_us <= STORY_S(128); delay_us *= 2) {
        wait_us = scene_lose_again(story, "feed", wait_us);
        assert_in_range(wait_us, delay_us / 2, delay_us);
    }
    assert_int_equal(story_view(story, "feed").crashes, 9);
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

static void the_back_off_ends_at_an_hour_or_at_the_records_interval(void **state)
{
    struct story *story = *state;
    struct sched_policy policy = story->settings.policy;
    policy.crashes_max = 1000;
    scene_set_policy(story, &policy);
    HELLO(story, A, .credit = 1);
    const double longest_s[] = {3600, 100000};
    for (int i = 0; i < 2; i++) {
        PUT(story, "feed", .every_s = longest_s[i]);
        int64_t wait_us = 0;
        for (int crash = 0; crash < 60; crash++) {
            wait_us = scene_lose_again(story, "feed", wait_us);
            assert_in_range(wait_us, 0, STORY_S(longest_s[i]));
        }
        assert_in_range(wait_us, STORY_S(longest_s[i]) / 2, STORY_S(longest_s[i]));
        story_remove(story, "feed");
    }
}

static void a_record_that_backs_off_is_resumed_given_back_and_not_early(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    scene_lose(story, "feed");
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

/* --- jitter ----------------------------------------------------------------------------------- */

static void the_jitter_parts_neighbours_and_is_the_same_in_every_run(void **state)
{
    struct story *story = *state;
    int64_t waits_us[2][2];
    for (int run = 0; run < 2; run++) {
        HELLO(story, A, .credit = 1);
        PUT(story, "a");
        waits_us[run][0] = scene_fail(story, "a");
        EXPECT(STATUS_OK, story_remove(story, "a"));
        PUT(story, "b");
        waits_us[run][1] = scene_fail(story, "b");
        EXPECT(STATUS_OK, story_remove(story, "b"));
        story_pass_s(story, 17);
    }
    assert_int_not_equal(waits_us[0][0], waits_us[0][1]);
    assert_int_equal(waits_us[0][0], waits_us[1][0]);
    assert_int_equal(waits_us[0][1], waits_us[1][1]);
}

/* The waits of two records after two losses each, and of the first after three. */
static void measure_waits(struct story *story, int64_t *waits)
{
    HELLO(story, A, .credit = 1);
    PUT(story, "a");
    scene_lose(story, "a");
    waits[0] = scene_lose(story, "a");
    PUT(story, "b");
    scene_lose(story, "b");
    waits[1] = scene_lose(story, "b");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    story_remove(story, "b");
    story_set_credit(story, A, 1);
    waits[2] = scene_lose(story, "a");
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

/* --- forgotten, or not ------------------------------------------------------------------------ */

static void an_ok_forgets_failures_crashes_and_the_error(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    scene_fail(story, "k");
    scene_crash(story, "k");
    struct story_task task = scene_next_run(story, "k");
    assert_int_equal(task.task.failures, 1);
    assert_int_equal(task.task.crashes, 1);
    story_expect_text(story_view(story, "k").error, "503");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures + view.crashes, 0);
    story_expect_text(view.error, "");
    story_expect_text(view.note, "tried");
    assert_in_range(scene_fail(story, "k"), STORY_S(0.5), STORY_S(1));
}

static void counts_and_back_off_survive_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    scene_fail(story, "k");
    scene_crash(story, "k");
    scene_fail(story, "k");
    int64_t due_us = story_view(story, "k").due_us;
    story_crash(story);
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures, 2);
    assert_int_equal(view.crashes, 1);
    assert_int_equal(view.due_us, due_us);
}

static void what_a_record_has_crashed_survives_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    scene_lose(story, "feed");
    int64_t wait_us = scene_lose(story, "feed");
    story_crash(story);
    HELLO(story, A, .credit = 1);
    assert_int_equal(story_view(story, "feed").due_us - story->now.wall_us, wait_us);
    story_pass_us(story, wait_us);
    assert_int_equal(story_take_task(story, A, "feed").task.crashes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_back_off_doubles_from_a_second_to_an_hour),
        STORY(the_back_off_grows_to_an_every_that_is_longer_than_an_hour),
        STORY(a_time_named_by_a_retry_replaces_the_back_off),
        STORY(the_first_loss_is_ready_at_once_and_later_ones_back_off),
        STORY(the_second_crash_waits_and_parts_a_batch),
        STORY(the_back_off_ends_at_an_hour_or_at_the_records_interval),
        STORY(a_record_that_backs_off_is_resumed_given_back_and_not_early),
        STORY(the_jitter_parts_neighbours_and_is_the_same_in_every_run),
        STORY(jitter_parts_neighbours_and_is_the_same_in_every_run),
        STORY(an_ok_forgets_failures_crashes_and_the_error),
        STORY(counts_and_back_off_survive_a_restart),
        STORY(what_a_record_has_crashed_survives_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
