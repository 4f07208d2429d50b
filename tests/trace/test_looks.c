/* What people see when they look: lists, peeks and numbers. */
#include "story.h"

#include <stdio.h>

static uint32_t count_listed(struct story *story, unsigned statuses, const char *prefix)
{
    uint64_t cursor = 0;
    uint32_t count = 0;
    for (int calls = 0; calls < 100; calls++) {
        uint32_t budget = 3;
        struct record_view view;
        while (sched_list_next(story->sched, bytes_of("q"), statuses, bytes_of(prefix), &cursor,
                               &budget, &view))
            count++;
        if (cursor == 0)
            return count;
    }
    fail_msg("a list does not end");
    return 0;
}

static void a_list_names_each_record_once_and_chooses(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "a1");
    PUT(story, "a2");
    PUT(story, "b1", .in_s = 10);
    PUT(story, "b2", .in_s = 10);
    PUT(story, "b3", .in_s = 10);
    PUT(story, "elsewhere", .queue = "other");
    story_remove(story, "b3");
    assert_int_equal(count_listed(story, RECORD_ANY, NULL), 4);
    assert_int_equal(count_listed(story, RECORD_WAITING, NULL), 2);
    assert_int_equal(count_listed(story, RECORD_LEASED | RECORD_READY, NULL), 2);
    assert_int_equal(count_listed(story, RECORD_ANY, "a"), 2);
    assert_int_equal(count_listed(story, RECORD_ANY, "b1"), 1);
    assert_int_equal(count_listed(story, RECORD_PARKED, NULL), 0);
}

static void a_peek_shows_what_comes_next_in_order(void **state)
{
    struct story *story = *state;
    PUT(story, "c", .in_s = 9);
    PUT(story, "b", .in_s = 5);
    PUT(story, "a");
    PUT(story, "elsewhere", .queue = "other", .in_s = 1);
    PUT(story, "d", .in_s = 20);
    uint32_t slots[10];
    assert_int_equal(sched_peek(story->sched, bytes_of("q"), slots, 3), 3);
    for (int i = 0; i < 3; i++) {
        struct record_view view;
        sched_view_slot(story->sched, slots[i], &view);
        assert_int_equal(view.key.data[0], 'a' + i);
    }
    assert_int_equal(sched_peek(story->sched, bytes_of("q"), slots, 10), 4);
    assert_int_equal(sched_peek(story->sched, bytes_of("unknown"), slots, 10), 0);
}

static void a_peek_shows_what_is_due_when_it_may_be_handed_out(void **state)
{
    struct story *story = *state;
    uint32_t slots[2];
    PUT(story, "a");
    story_hold_disk(story);
    PUT(story, "b");
    EXPECT_RECORD(story, "b", RECORD_READY, 0);
    assert_int_equal(story_numbers(story, "q").ready, 2);
    assert_int_equal(sched_peek(story->sched, bytes_of("q"), slots, 2), 1);
    story_release_disk(story);
    assert_int_equal(sched_peek(story->sched, bytes_of("q"), slots, 2), 2);
}

/* The caller fetches what it is about to step or to send: leases that are there, ended, or were
 * never there, tasks between other effects, keys that are known and new. */
static void what_is_fetched_ahead_changes_nothing(void **state)
{
    enum { KEYS = 3 * FETCH_MAX, OTHERS = 5 };
    struct story *story = *state;
    uint64_t leases[KEYS + OTHERS];
    uint32_t slots[KEYS + OTHERS];
    struct effect list[KEYS + OTHERS];
    struct bytes keys[FETCH_MAX];
    char names[KEYS][8];
    HELLO(story, A, .credit = KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "k%u", i);
        PUT(story, names[i]);
        struct story_task task = story_take_any(story, A);
        leases[i] = task.task.name.lease;
        list[i] = story->last[EFFECT_TASK];
        if (i % 8 == 0)
            story_give_back_begun(story, A, &task); /* and it is handed out again */
        if (i % 8 == 1)
            story_remove(story, names[i]);
    }
    for (uint32_t i = 0; i < OTHERS; i++) {
        leases[KEYS + i] = i;
        list[KEYS + i] = (struct effect){.kind = EFFECT_PING};
    }
    struct effects effects = {list, KEYS + OTHERS, KEYS + OTHERS};
    struct sched_numbers before = story_numbers(story, "q");
    for (uint32_t at = 0; at < KEYS + OTHERS; at += FETCH_MAX) {
        sched_fetch_leases(story->sched, leases, slots, KEYS + OTHERS, at);
        sched_fetch_tasks(story->sched, &effects, at);
    }
    struct event event = {.kind = EVENT_PUT};
    event.put.queue = bytes_of("q");
    for (uint32_t i = 0; i < FETCH_MAX; i++)
        keys[i] = bytes_of(i % 2 ? names[i] : "unknown");
    sched_fetch_keys(story->sched, &event, keys, FETCH_MAX);
    event.put.queue = bytes_of("unknown");
    sched_fetch_keys(story->sched, &event, keys, FETCH_MAX);
    struct sched_numbers after = story_numbers(story, "q");
    assert_memory_equal(&before, &after, sizeof(before));
}

static void an_effect_whose_lease_has_ended_has_no_task(void **state)
{
    struct story *story = *state;
    struct task seen;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    struct effect effect = story->last[EFFECT_TASK];
    assert_true(sched_view_task(story->sched, &effect, story->now, &seen));
    EXPECT(STATUS_OK, story_give_back(story, A, &first));
    story_take_task(story, A, "feed");
    assert_false(sched_view_task(story->sched, &effect, story->now, &seen));
    story_goodbye(story, A);
    assert_false(sched_view_task(story->sched, &effect, story->now, &seen));
    assert_false(sched_queue_is_paused(story->sched, 7));
    story_pause(story, "q");
    assert_true(sched_queue_is_paused(story->sched, 0));
    struct sched_agreed agreed;
    assert_false(sched_get_agreed(story->sched, 77, &agreed));
}

static void numbers_tell_what_is_late(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .due_s = 5);
    story_pass_s(story, 12);
    struct sched_numbers numbers = story_numbers(story, "q");
    assert_int_equal(numbers.head_lateness_us, STORY_S(7));
    assert_int_equal(numbers.ready, 1);
    HELLO(story, A, .credit = 3);
    numbers = story_numbers(story, NULL);
    assert_int_equal(numbers.leased, 1);
    assert_int_equal(numbers.totals.dispatched, 1);
    assert_int_equal(numbers.credit, 3);
    assert_int_equal(numbers.workers, 1);
    assert_int_equal(numbers.head_lateness_us, 0);
    assert_true(numbers.lateness_max_us >= STORY_S(6));
    struct sched_numbers none;
    assert_false(sched_get_numbers(story->sched, bytes_of("unknown"), story->now, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_list_names_each_record_once_and_chooses),
        STORY(a_peek_shows_what_comes_next_in_order),
        STORY(a_peek_shows_what_is_due_when_it_may_be_handed_out),
        STORY_WITH_MEMORY(what_is_fetched_ahead_changes_nothing),
        STORY(an_effect_whose_lease_has_ended_has_no_task),
        STORY(numbers_tell_what_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
