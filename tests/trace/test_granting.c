/* Handing out: from durable states only, within credit, in fair shares, in order. */
#include "story.h"

#include <stdio.h>

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

static void report_all(struct story *story, enum story_who who)
{
    for (uint32_t left = story_task_count(story, who); left; left--) {
        struct story_task task = story_take_any(story, who);
        EXPECT(STATUS_OK, REPORT(story, who, &task, .in_s = 1000));
    }
}

/* --- only from a durable state ---------------------------------------------------------------- */

static void what_was_put_is_granted_when_it_is_durable(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 9);
    story_hold_disk(story);
    EXPECT(STATUS_CREATED, PUT(story, "feed"));
    story_pass_s(story, 1);
    story_expect_no_task(story, A);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    story_release_disk(story);
    story_take_task(story, A, "feed");
}

static void what_changed_again_while_it_was_written_waits_for_the_next_batch(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 9);
    story_hold_disk(story);
    PUT(story, "first", .in_s = 1000); /* on its way */
    PUT(story, "feed");                /* waits for the next batch */
    PUT(story, "first", .due_s = -1);
    disk_write(&story->disk, story->batch);
    struct event event = {.kind = EVENT_DURABLE, .now = story->now};
    EXPECT(STATUS_OK, sched_step(story->sched, &event, &story->effects));
    event.kind = EVENT_GRANT;
    EXPECT(STATUS_OK, sched_step(story->sched, &event, &story->effects));
    assert_int_equal(story->effects.count, 0);
    story->is_in_flight = false;
    story_release_disk(story);
    story_take_task(story, A, "first");
    story_take_task(story, A, "feed");
}

static void a_change_to_what_is_ready_holds_it_until_it_is_durable(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .payload = "old");
    story_hold_disk(story);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .payload = "new"));
    HELLO(story, A, .credit = 1);
    story_expect_no_task(story, A);
    story_release_disk(story);
    assert_string_equal(story_take_task(story, A, "feed").payload, "new");
}

static void a_record_that_was_reported_comes_again_when_its_report_is_durable(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_hold_disk(story);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    story_pass_s(story, 2);
    story_expect_no_task(story, A);
    story_release_disk(story);
    assert_int_equal(story_take_task(story, A, "feed").task.state, task.task.name.lease);
}

static void a_lost_record_comes_again_when_its_crash_is_durable(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_hold_disk(story);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    story_expect_no_task(story, A);
    story_release_disk(story);
    story_take_task(story, A, "feed");
}

static void neither_a_grant_nor_a_touch_nor_credit_is_written(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .in_s = 1);
    PUT(story, "next", .in_s = 1);
    story_hold_disk(story);
    story_pass_s(story, 1);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_touch(story, A, &task, 0));
    EXPECT(STATUS_OK, story_set_credit(story, A, 2));
    story_take_task(story, A, "next");
    EXPECT(STATUS_OK, story_give_back(story, A, &task));
    story_take_task(story, A, "feed");
    assert_false(story->is_in_flight);
    assert_false(sched_is_dirty(story->sched));
}

/* --- credit ----------------------------------------------------------------------------------- */

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

/* --- shares ----------------------------------------------------------------------------------- */

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

/* --- order ------------------------------------------------------------------------------------ */

static void
records_of_equal_rank_and_due_come_as_they_became_ready_also_after_a_restart(void **state)
{
    struct story *story = *state;
    for (int i = 0; i < 8; i++) {
        char key[] = {"hgfedcba"[i], 0};
        PUT(story, key, .due_s = 5, .has_rank = true, .rank = 3);
    }
    story_crash(story);
    story_pass_s(story, 5);
    HELLO(story, A, .credit = 8);
    for (int i = 0; i < 8; i++) {
        char key[] = {"hgfedcba"[i], 0};
        story_take_task(story, A, key);
    }
}

static void a_rank_that_was_put_on_a_ready_record_moves_it(void **state)
{
    struct story *story = *state;
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c");
    PUT(story, "c", .has_rank = true, .rank = -1);
    PUT(story, "a", .has_rank = true, .rank = INT64_MAX);
    HELLO(story, A, .credit = 3);
    story_take_task(story, A, "c");
    story_take_task(story, A, "b");
    story_take_task(story, A, "a");
}

static void what_was_given_back_comes_before_what_is_due_later(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "first", .due_s = -9);
    struct story_task task = story_take_task(story, A, "first");
    PUT(story, "second", .due_s = -5);
    EXPECT(STATUS_OK, story_give_back(story, A, &task));
    story_take_task(story, A, "first");
}

/* --- bounded ---------------------------------------------------------------------------------- */

static enum status step(struct story *story, struct event event)
{
    event.now = story->now;
    return sched_step(story->sched, &event, &story->effects);
}

static void at_most_4096_records_come_due_in_a_turn(void **state)
{
    struct story *story = *state;
    char key[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        struct put put = {.key = bytes_of(key),
                          .due_us = story_at_us(10),
                          .in_us = TIME_US_NEVER,
                          .every_us = TIME_US_NEVER};
        struct event event = {.kind = EVENT_PUT, .put = {bytes_of("q"), &put}};
        assert_int_equal(step(story, event), STATUS_CREATED);
    }
    story_turn(story);
    story_stall_s(story, 10);
    story_turn(story);
    assert_int_equal(story_numbers(story, "q").ready, 4096);
    assert_true(sched_next_wall_us(story->sched) <= story->now.wall_us);
    story_turn(story);
    assert_int_equal(story_numbers(story, "q").ready, 5000);
    assert_int_equal(sched_next_wall_us(story->sched), TIME_US_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_put_is_granted_when_it_is_durable),
        STORY(what_changed_again_while_it_was_written_waits_for_the_next_batch),
        STORY(a_change_to_what_is_ready_holds_it_until_it_is_durable),
        STORY(a_record_that_was_reported_comes_again_when_its_report_is_durable),
        STORY(a_lost_record_comes_again_when_its_crash_is_durable),
        STORY(neither_a_grant_nor_a_touch_nor_credit_is_written),
        STORY(a_session_whose_credit_was_lowered_keeps_what_it_has),
        STORY(credit_is_a_window_and_no_increment),
        STORY(resumed_leases_use_credit),
        STORY(nobody_is_granted_a_queue_that_it_does_not_work_on),
        STORY(each_gets_the_ceiling_of_ready_by_eligible),
        STORY(what_one_has_no_credit_for_goes_to_the_others),
        STORY(records_that_come_one_by_one_go_to_each_in_turn),
        STORY(queues_that_are_full_share_credit_that_comes_one_by_one),
        STORY_WITH_MEMORY(queues_that_are_full_share_a_window_of_credit),
        STORY(an_empty_queue_leaves_all_credit_to_the_others),
        STORY_WITH_MEMORY(
            records_of_equal_rank_and_due_come_as_they_became_ready_also_after_a_restart),
        STORY(a_rank_that_was_put_on_a_ready_record_moves_it),
        STORY(what_was_given_back_comes_before_what_is_due_later),
        STORY(at_most_4096_records_come_due_in_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
