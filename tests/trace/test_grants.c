/* Who gets what is ready, and when: order, shares, credit, takes. */
#include "story.h"

#include <stdio.h>

static void put_many(struct story *story, const char *queue, const char *keys)
{
    for (; *keys; keys++) {
        char key[2] = {*keys, 0};
        PUT(story, key, .queue = queue);
    }
}

static void expect_tasks(struct story *story, enum story_who who, const char *keys)
{
    for (; *keys; keys++) {
        char key[2] = {*keys, 0};
        story_take_task(story, who, key);
    }
    story_expect_no_task(story, who);
}

static void the_earliest_due_comes_first(void **state)
{
    struct story *story = *state;
    PUT(story, "c", .due_s = -1);
    PUT(story, "a", .due_s = -3);
    PUT(story, "b", .due_s = -2);
    HELLO(story, A, .credit = 9);
    expect_tasks(story, A, "abc");
}

static void equal_times_keep_their_arrival(void **state)
{
    struct story *story = *state;
    for (char key[] = "z"; key[0] >= 'a'; key[0]--)
        PUT(story, key, .due_s = 5);
    HELLO(story, A, .credit = 30);
    story_pass_s(story, 5);
    expect_tasks(story, A, "zyxwvutsrqponmlkjihgfedcba");
}

static void what_was_ready_before_comes_in_order_of_arrival_too(void **state)
{
    struct story *story = *state;
    put_many(story, "q", "helo");
    put_many(story, "q", "wrd");
    HELLO(story, A, .credit = 30);
    expect_tasks(story, A, "helowrd");
}

static void among_what_is_due_the_lower_rank_comes_first(void **state)
{
    struct story *story = *state;
    PUT(story, "d", .due_s = -9, .has_rank = true, .rank = 1);
    PUT(story, "b", .due_s = -1);
    PUT(story, "a", .due_s = 1, .has_rank = true, .rank = -5);
    PUT(story, "c", .due_s = 0.5);
    PUT(story, "e", .due_s = 2, .has_rank = true, .rank = -9);
    story_pass_s(story, 1);
    HELLO(story, A, .credit = 4);
    expect_tasks(story, A, "abcd");
}

static void a_rank_set_by_a_report_counts(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "a");
    struct story_task task = story_take_task(story, A, "a");
    PUT(story, "b", .due_s = 5);
    REPORT(story, A, &task, .due_s = 6, .has_rank = true, .rank = -1);
    story_set_credit(story, A, 0);
    story_pass_s(story, 6);
    story_set_credit(story, A, 2);
    expect_tasks(story, A, "ab");
}

static void credit_is_never_exceeded(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    put_many(story, "q", "abcdef");
    expect_tasks(story, A, "ab");
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
    story_set_credit(story, A, 3);
    expect_tasks(story, A, "c");
    story_set_credit(story, A, 1);
    story_pass_s(story, 10);
    story_expect_no_task(story, A);
}

static void a_report_frees_credit_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    put_many(story, "q", "ab");
    struct story_task task = story_take_task(story, A, "a");
    story_hold_disk(story);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    story_take_task(story, A, "b");
}

static void credit_counts_over_all_queues(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .queues = "q,r", .credit = 3);
    put_many(story, "q", "ab");
    put_many(story, "r", "cd");
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
    put_many(story, "q", "abc");
    assert_int_equal(story_task_count(story, A), 2);
}

static void a_fair_share_goes_to_each(void **state)
{
    struct story *story = *state;
    put_many(story, "q", "abcdefghij");
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

/* --- takes ------------------------------------------------------------------------------------ */

static void a_take_gets_what_is_there_and_uses_no_credit(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    put_many(story, "q", "abc");
    EXPECT(STATUS_OK, TAKE(story, A, .max = 2, .lease_ms = 5000));
    assert_int_equal(story->last[EFFECT_TAKEN].count, 2);
    struct story_task task = story_take_task(story, A, "a");
    assert_int_equal(task.request, story->requests);
    assert_int_equal(task.task.lease_ms, 5000);
    story_take_task(story, A, "b");
    story_expect_no_task(story, A);
    story_set_credit(story, A, 1);
    story_take_task(story, A, "c");
}

static void a_take_waits_for_something_to_come_due(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed", .in_s = 3);
    EXPECT(STATUS_OK, TAKE(story, A, .max = 9, .wait_ms = 5000));
    story_pass_s(story, 2.9);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 1);
    story_take_task(story, A, "feed");
}

static void a_take_ends_empty_when_its_wait_is_over(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 5000));
    uint64_t request = story->requests;
    story_pass_s(story, 4.9);
    assert_int_equal(story->last[EFFECT_TAKEN].request, 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->last[EFFECT_TAKEN].request, request);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 0);
    EXPECT(STATUS_OK, TAKE(story, A));
    assert_int_equal(story->last[EFFECT_TAKEN].request, request + 1);
    assert_int_equal(story->last[EFFECT_TAKEN].count, 0);
}

static void a_bound_lease_ends_with_its_session(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A);
    story_take_task(story, A, "feed");
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void a_detached_lease_outlives_its_session(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A, .detached = true, .lease_ms = 30000);
    struct story_task task = story_take_task(story, A, "feed");
    story_goodbye(story, A);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, B, .credit = 0);
    EXPECT(STATUS_OK, story_touch(story, B, &task, 60000));
    story_pass_s(story, 59);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 64);
}

static void a_detached_lease_ends_by_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 0);
    PUT(story, "feed");
    TAKE(story, A, .detached = true, .lease_ms = 30000);
    story_take_task(story, A, "feed");
    story_goodbye(story, A);
    story_pass_s(story, 30);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_earliest_due_comes_first),
        STORY_WITH_MEMORY(equal_times_keep_their_arrival),
        STORY(what_was_ready_before_comes_in_order_of_arrival_too),
        STORY(among_what_is_due_the_lower_rank_comes_first),
        STORY(a_rank_set_by_a_report_counts),
        STORY(credit_is_never_exceeded),
        STORY(a_report_frees_credit_at_once),
        STORY(credit_counts_over_all_queues),
        STORY(credit_is_cut_to_the_brokers_limit),
        STORY(a_fair_share_goes_to_each),
        STORY(queues_take_turns),
        STORY(tasks_name_the_queue_by_its_place_in_the_hello),
        STORY_WITH_MEMORY(a_take_gets_what_is_there_and_uses_no_credit),
        STORY(a_take_waits_for_something_to_come_due),
        STORY(a_take_ends_empty_when_its_wait_is_over),
        STORY(a_bound_lease_ends_with_its_session),
        STORY(a_detached_lease_outlives_its_session),
        STORY(a_detached_lease_ends_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
