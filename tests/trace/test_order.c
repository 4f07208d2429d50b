/* What is handed out, and in which order: from durable states only, by rank, due and arrival, so
 * many in a turn. */
#include "scenes.h"

#include <stdio.h>

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

/* --- order ------------------------------------------------------------------------------------ */

static void the_earliest_due_comes_first(void **state)
{
    struct story *story = *state;
    PUT(story, "c", .due_s = -1);
    PUT(story, "a", .due_s = -3);
    PUT(story, "b", .due_s = -2);
    HELLO(story, A, .credit = 9);
    scene_expect_tasks(story, A, "abc");
}

static void equal_times_keep_their_arrival(void **state)
{
    struct story *story = *state;
    for (char key[] = "z"; key[0] >= 'a'; key[0]--)
        PUT(story, key, .due_s = 5);
    HELLO(story, A, .credit = 30);
    story_pass_s(story, 5);
    scene_expect_tasks(story, A, "zyxwvutsrqponmlkjihgfedcba");
}

static void what_was_ready_before_comes_in_order_of_arrival_too(void **state)
{
    struct story *story = *state;
    scene_put_each(story, "q", "helo");
    scene_put_each(story, "q", "wrd");
    HELLO(story, A, .credit = 30);
    scene_expect_tasks(story, A, "helowrd");
}

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

/* --- rank ------------------------------------------------------------------------------------- */

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
    scene_expect_tasks(story, A, "abcd");
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
    scene_expect_tasks(story, A, "ab");
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

/* --- bounded ---------------------------------------------------------------------------------- */

static enum status step(struct story *story, struct event event)
{
    event.now = story->now;
    return sched_step(story->sched, &event, &story->effects);
}

/* Put without a turn after each. */
static void put_many(struct story *story, int count, double due_s)
{
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%d", i);
        struct put put = {.key = bytes_of(key),
                          .due_us = story_at_us(due_s),
                          .in_us = TIME_US_NEVER,
                          .every_us = TIME_US_NEVER};
        struct event event = {.kind = EVENT_PUT, .put = {bytes_of("q"), &put}};
        assert_int_equal(step(story, event), STATUS_CREATED);
    }
    story_turn(story);
}

static void at_most_4096_records_come_due_in_a_turn(void **state)
{
    struct story *story = *state;
    put_many(story, 5000, 10);
    story_stall_s(story, 10);
    story_turn(story);
    assert_int_equal(story_numbers(story, "q").ready, 4096);
    assert_true(sched_next_wall_us(story->sched) <= story->now.wall_us);
    story_turn(story);
    assert_int_equal(story_numbers(story, "q").ready, 5000);
    assert_int_equal(sched_next_wall_us(story->sched), TIME_US_NEVER);
}

static size_t count_effects(struct story *story, enum event_kind kind)
{
    struct event event = {.kind = kind};
    assert_int_equal(step(story, event), STATUS_OK);
    size_t count = story->effects.count;
    story->effects.count = 0; /* more than a peer of a story keeps */
    return count;
}

static void at_most_8192_tasks_are_handed_out_and_4096_leases_end_in_a_turn(void **state)
{
    struct story *story = *state;
    put_many(story, 10000, 10);
    story_pass_s(story, 11);
    struct hello hello = {.uid = {9}, .credit = CREDIT_MAX, .queue_count = 1, .lease_ms = 1000};
    hello.heartbeat_ms = HEARTBEAT_MS_MAX;
    hello.queues[0] = bytes_of("q");
    struct event event = {.kind = EVENT_HELLO, .session = 900, .hello = &hello};
    story_hold_disk(story); /* it is given nothing yet */
    assert_int_equal(step(story, event), STATUS_OK);
    story_turn(story);
    assert_int_equal(story_numbers(story, "q").ready, 10000);
    store_batch_clear(story->batch);
    story->is_disk_held = story->is_in_flight = false;
    assert_int_equal(count_effects(story, EVENT_DURABLE), 0);
    assert_int_equal(count_effects(story, EVENT_GRANT), 8192);
    assert_int_equal(sched_next_mono_us(story->sched), 0);
    assert_int_equal(count_effects(story, EVENT_GRANT), 10000 - 8192);
    assert_true(sched_next_mono_us(story->sched) > story->now.mono_us);
    story_stall_s(story, 2);
    assert_int_equal(count_effects(story, EVENT_TIME), 4096); /* each is cancelled */
    assert_true(sched_next_mono_us(story->sched) <= story->now.mono_us);
    assert_int_equal(count_effects(story, EVENT_TIME), 4096);
    assert_int_equal(count_effects(story, EVENT_TIME), 10000 - 2 * 4096);
    assert_int_equal(story_numbers(story, NULL).leased, 0);
}

/* One that does not wait asks for all of it at once, and so do many. */
static void at_most_8192_tasks_leave_in_a_turn_for_takes_that_do_not_wait(void **state)
{
    struct story *story = *state;
    put_many(story, 20000, -1);
    HELLO(story, CLIENT);
    const struct take take = {.max = CREDIT_MAX, .detached = true};
    for (int i = 0; i < 3; i++) {
        struct event event = {.kind = EVENT_TAKE,
                              .session = story->peers[CLIENT].session,
                              .request = ++story->requests,
                              .take = &take};
        assert_int_equal(step(story, event), STATUS_OK);
    }
    size_t tasks = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(sched_next_mono_us(story->sched) <= story->now.mono_us);
        size_t effects = count_effects(story, EVENT_TIME);
        assert_in_range(effects, 1, 8192 + 3);
        tasks += effects - 1;
    }
    assert_int_equal(tasks, 20000);
    assert_true(sched_next_mono_us(story->sched) > story->now.mono_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_put_is_granted_when_it_is_durable),
        STORY(what_changed_again_while_it_was_written_waits_for_the_next_batch),
        STORY(a_change_to_what_is_ready_holds_it_until_it_is_durable),
        STORY(a_record_that_was_reported_comes_again_when_its_report_is_durable),
        STORY(a_lost_record_comes_again_when_its_crash_is_durable),
        STORY_WITH_MEMORY(neither_a_grant_nor_a_touch_nor_credit_is_written),
        STORY(the_earliest_due_comes_first),
        STORY_WITH_MEMORY(equal_times_keep_their_arrival),
        STORY(what_was_ready_before_comes_in_order_of_arrival_too),
        STORY_WITH_MEMORY(
            records_of_equal_rank_and_due_come_as_they_became_ready_also_after_a_restart),
        STORY(what_was_given_back_comes_before_what_is_due_later),
        STORY(among_what_is_due_the_lower_rank_comes_first),
        STORY(a_rank_set_by_a_report_counts),
        STORY(a_rank_that_was_put_on_a_ready_record_moves_it),
        STORY_WITH_MEMORY(at_most_4096_records_come_due_in_a_turn),
        STORY_WITH_MEMORY(at_most_8192_tasks_are_handed_out_and_4096_leases_end_in_a_turn),
        STORY_WITH_MEMORY(at_most_8192_tasks_leave_in_a_turn_for_takes_that_do_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
