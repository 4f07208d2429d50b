/* Who gets what is ready: within the window of credit, in fair shares, from the queues in turn. */
#include "scenes.h"

#include <stdio.h>

/* --- credit ----------------------------------------------------------------------------------- */

static void credit_is_never_exceeded(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    scene_put_each(story, "q", "abcdef");
    scene_expect_tasks(story, A, "ab");
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    story_set_credit(story, A, 3);
    scene_expect_tasks(story, A, "c");
    story_set_credit(story, A, 1);
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
}

static void a_report_frees_credit_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    scene_put_each(story, "q", "ab");
    struct story_task task = story_take_task(story, A, "a");
    story_hold_disk(story);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    story_take_task(story, A, "b");
}

static void credit_counts_over_all_queues(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .queues = "q,r", .credit = 3);
    scene_put_each(story, "q", "ab");
    scene_put_each(story, "r", "cd");
    assert_int_equal(story_task_count(story, A), 3);
}

static void credit_is_cut_to_the_brokers_limit(void **state)
{
    struct story *story = *state;
    story->settings.limits.credit_max = 2;
    sched_set_settings(story->sched, &story->settings);
    HELLO(story, A, .credit = 1000);
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[A].session, &agreed));
    assert_int_equal(agreed.credit, 2);
    scene_put_each(story, "q", "abc");
    assert_int_equal(story_task_count(story, A), 2);
}

/* "1", "2" and so on. */
static void put_numbered(struct story *story, const char *queue, int count)
{
    for (int i = 1; i <= count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        PUT(story, key, .queue = queue);
    }
}

static struct sched_session_view view_session(struct story *story, enum story_who who)
{
    struct sched_session_view view;
    assert_true(sched_view_session(story->sched, story->peers[who].session, &view));
    return view;
}

static void a_session_whose_credit_was_lowered_keeps_what_it_has(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 4);
    put_numbered(story, "q", 8);
    EXPECT(STATUS_OK, story_set_credit(story, A, 2));
    assert_int_equal(view_session(story, A).in_flight, 4);
    assert_int_equal(story->peers[A].cancelled, 0);
    for (int left = 3; left >= 0; left--) {
        struct story_task task = story_take_any(story, A);
        EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1000));
        assert_in_range(view_session(story, A).in_flight, left > 2 ? 3 : 2, 3);
    }
    assert_int_equal(view_session(story, A).in_flight, 2);
}

static void report_all(struct story *story, enum story_who who)
{
    for (uint32_t left = story_task_count(story, who); left; left--) {
        struct story_task task = story_take_any(story, who);
        EXPECT(STATUS_OK, REPORT(story, who, &task, .in_s = 1000));
    }
}

static void credit_is_a_window_and_no_increment(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    put_numbered(story, "q", 9);
    for (int i = 0; i < 5; i++)
        EXPECT(STATUS_OK, story_set_credit(story, A, 3));
    assert_int_equal(story_task_count(story, A), 3);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    report_all(story, A);
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, story_set_credit(story, A, 100));
    assert_int_equal(story_task_count(story, A), 6);
}

static void resumed_leases_use_credit(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    put_numbered(story, "q", 4);
    struct story_task one = story_take_any(story, A), two = story_take_any(story, A);
    HELLO(story, A, .credit = 2, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &one));
    EXPECT(STATUS_OK, story_resume(story, A, &two));
    story_expect_no_task(story, A);
    EXPECT(STATUS_OK, REPORT(story, A, &one, .in_s = 1000));
    assert_int_equal(story_task_count(story, A), 1);
}

/* --- shares ----------------------------------------------------------------------------------- */

static void a_fair_share_goes_to_each(void **state)
{
    struct story *story = *state;
    scene_put_each(story, "q", "abcdefghij");
    story_pause(story, "q");
    HELLO(story, A, .credit = 100);
    HELLO(story, B, .credit = 100);
    HELLO(story, C, .credit = 100);
    HELLO(story, D, .credit = 1);
    story_unpause(story, "q");
    uint32_t least = 10, most = 0;
    for (enum story_who who = A; who <= C; who++) {
        uint32_t count = story_task_count(story, who);
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    assert_int_equal(story_task_count(story, D), 1);
    assert_true(most <= least + 3);
    assert_int_equal(story_numbers(story, "q").ready, 0);
}

static void each_gets_the_ceiling_of_ready_by_eligible(void **state)
{
    struct story *story = *state;
    story_pause(story, "q");
    put_numbered(story, "q", 10);
    HELLO(story, A, .credit = 100);
    HELLO(story, B, .credit = 100);
    HELLO(story, C, .credit = 100);
    HELLO(story, D, .credit = 0); /* not eligible */
    story_unpause(story, "q");
    assert_int_equal(story_task_count(story, A), 4);
    assert_int_equal(story_task_count(story, B), 4);
    assert_int_equal(story_task_count(story, C), 2);
}

static void what_one_has_no_credit_for_goes_to_the_others(void **state)
{
    struct story *story = *state;
    story_pause(story, "q");
    put_numbered(story, "q", 20);
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 100);
    story_unpause(story, "q");
    assert_int_equal(story_task_count(story, A), 1);
    assert_int_equal(story_task_count(story, B), 19);
}

static void records_that_come_one_by_one_go_to_each_in_turn(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 100);
    HELLO(story, B, .credit = 100);
    HELLO(story, C, .credit = 100);
    put_numbered(story, "q", 9);
    assert_int_equal(story_task_count(story, A), 3);
    assert_int_equal(story_task_count(story, B), 3);
    assert_int_equal(story_task_count(story, C), 3);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void queues_take_turns(void **state)
{
    struct story *story = *state;
    char key[16];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "%d", i);
        PUT(story, key, .queue = i < 180 ? "big" : "small");
    }
    HELLO(story, A, .queues = "big,small", .credit = 40);
    uint32_t small = 0;
    while (story_task_count(story, A))
        small += story_take_any(story, A).task.name.queue == 1;
    assert_in_range(small, 10, 30);
}

static void tasks_name_the_queue_by_its_place_in_the_hello(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .queues = "x,q,y", .credit = 2);
    PUT(story, "feed", .queue = "y");
    struct story_task task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.name.queue, 2);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void nobody_is_granted_a_queue_that_it_does_not_work_on(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 9, .queues = "other");
    PUT(story, "feed");
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    HELLO(story, B, .credit = 9, .queues = "q,q");
    story_take_task(story, B, "feed");
}

static void queues_that_are_full_share_credit_that_comes_one_by_one(void **state)
{
    struct story *story = *state;
    uint32_t counts[3] = {0};
    put_numbered(story, "a", 30);
    put_numbered(story, "b", 30);
    put_numbered(story, "c", 30);
    HELLO(story, A, .queues = "a,b,c", .credit = 1);
    for (int i = 0; i < 30; i++) {
        struct story_task task = story_take_any(story, A);
        counts[task.task.name.queue]++;
        EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1000));
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(counts[i], 10);
}

static void queues_that_are_full_share_a_window_of_credit(void **state)
{
    struct story *story = *state;
    uint32_t counts[2] = {0};
    put_numbered(story, "a", 100);
    put_numbered(story, "b", 100);
    HELLO(story, A, .queues = "a,b", .credit = 64);
    while (story_task_count(story, A))
        counts[story_take_any(story, A).task.name.queue]++;
    assert_int_equal(counts[0], 32);
    assert_int_equal(counts[1], 32);
}

static void an_empty_queue_leaves_all_credit_to_the_others(void **state)
{
    struct story *story = *state;
    put_numbered(story, "a", 50);
    HELLO(story, A, .queues = "b,a,c", .credit = 64);
    assert_int_equal(story_task_count(story, A), 50);
}

static void while_nobody_has_credit_nothing_more_can_be_handed_out(void **state)
{
    struct story *story = *state;
    scene_put_each(story, "q", "ab");
    assert_true(sched_is_saturated(story->sched)); /* nobody is there */
    HELLO(story, A, .credit = 1);
    assert_true(sched_is_saturated(story->sched)); /* b is ready, and waits for credit */
    HELLO(story, B, .queues = "r", .credit = 1);
    assert_false(sched_is_saturated(story->sched));
    scene_put_each(story, "r", "cd");
    assert_true(sched_is_saturated(story->sched));
    struct story_task task = story_take_task(story, B, "c");
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 60));
    task = story_take_task(story, B, "d");
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 60));
    assert_false(sched_is_saturated(story->sched));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(credit_is_never_exceeded),
        STORY(a_report_frees_credit_at_once),
        STORY(credit_counts_over_all_queues),
        STORY(credit_is_cut_to_the_brokers_limit),
        STORY(a_session_whose_credit_was_lowered_keeps_what_it_has),
        STORY(credit_is_a_window_and_no_increment),
        STORY(resumed_leases_use_credit),
        STORY(a_fair_share_goes_to_each),
        STORY(each_gets_the_ceiling_of_ready_by_eligible),
        STORY(what_one_has_no_credit_for_goes_to_the_others),
        STORY(records_that_come_one_by_one_go_to_each_in_turn),
        STORY(queues_take_turns),
        STORY(tasks_name_the_queue_by_its_place_in_the_hello),
        STORY(nobody_is_granted_a_queue_that_it_does_not_work_on),
        STORY(queues_that_are_full_share_credit_that_comes_one_by_one),
        STORY_WITH_MEMORY(queues_that_are_full_share_a_window_of_credit),
        STORY(an_empty_queue_leaves_all_credit_to_the_others),
        STORY(while_nobody_has_credit_nothing_more_can_be_handed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
