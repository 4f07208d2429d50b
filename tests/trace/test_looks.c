/* What people see when they look: lists, peeks and numbers. */
#include "story.h"

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
        STORY(numbers_tell_what_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
