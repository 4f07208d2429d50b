/* Overload is refused, not suffered; and what people see when they look. */
#include "story.h"

#include <stdlib.h>
#include <string.h>

static void set_limits(struct story *story)
{
    sched_set_settings(story->sched, &story->settings);
}

static enum status put_bytes(struct story *story, struct put put)
{
    struct event event = {.kind = EVENT_PUT, .now = story->now};
    event.put.queue = bytes_of("q");
    event.put.put = &put;
    enum status status = sched_step(story->sched, &event, &story->effects);
    story_turn(story);
    return status;
}

static struct put bare_put(const char *key)
{
    return (struct put){.key = bytes_of(key),
                        .due_us = TIME_US_NEVER,
                        .in_us = TIME_US_NEVER,
                        .every_us = TIME_US_NEVER};
}

static void records_over_the_limit_are_refused_and_changes_are_not(void **state)
{
    struct story *story = *state;
    story->settings.limits.records_max = 2;
    set_limits(story);
    EXPECT(STATUS_CREATED, PUT(story, "a"));
    EXPECT(STATUS_CREATED, PUT(story, "b"));
    EXPECT(STATUS_TOO_MANY, PUT(story, "c"));
    EXPECT(STATUS_CHANGED, PUT(story, "a", .payload = "p"));
    EXPECT(STATUS_OK, story_remove(story, "b"));
    EXPECT(STATUS_CREATED, PUT(story, "c"));
}

static void bytes_over_the_limit_are_refused(void **state)
{
    struct story *story = *state;
    story->settings.limits.bytes_max = 100;
    set_limits(story);
    enum status status = STATUS_CREATED;
    char key[] = "a";
    for (; status == STATUS_CREATED && key[0] < 'z'; key[0]++)
        status = PUT(story, key, .payload = "twenty bytes of text");
    EXPECT(STATUS_NO_SPACE, status);
    assert_true(story_numbers(story, NULL).body_bytes < 200);
}

static void a_payload_or_memo_over_the_limit_is_refused(void **state)
{
    struct story *story = *state;
    uint8_t *much = calloc(1, PAYLOAD_BYTES_DEFAULT + 1);
    struct put put = bare_put("feed");
    put.payload = (struct bytes){much, PAYLOAD_BYTES_DEFAULT + 1};
    EXPECT(STATUS_TOO_LARGE, put_bytes(story, put));
    put.payload.count--;
    EXPECT(STATUS_CREATED, put_bytes(story, put));
    put.memo = (struct bytes){much, PAYLOAD_BYTES_DEFAULT + 1};
    EXPECT(STATUS_TOO_LARGE, put_bytes(story, put));
    free(much);
}

static void a_bad_key_time_or_group_is_refused(void **state)
{
    struct story *story = *state;
    static char longest[KEY_BYTES_MAX + 2];
    memset(longest, 'k', KEY_BYTES_MAX + 1);
    EXPECT(STATUS_BAD_KEY, put_bytes(story, bare_put("")));
    EXPECT(STATUS_BAD_KEY, put_bytes(story, bare_put("a\nb")));
    EXPECT(STATUS_BAD_KEY, put_bytes(story, bare_put("\xff")));
    EXPECT(STATUS_BAD_KEY, put_bytes(story, bare_put(longest)));
    EXPECT(STATUS_CREATED, put_bytes(story, bare_put(longest + 1)));
    struct put put = bare_put("feed");
    put.due_us = -1;
    EXPECT(STATUS_BAD_TIME, put_bytes(story, put));
    put.due_us = TIME_US_END;
    EXPECT(STATUS_BAD_TIME, put_bytes(story, put));
    put.due_us = TIME_US_END - 1;
    EXPECT(STATUS_CREATED, put_bytes(story, put));
    put.every_us = -1;
    EXPECT(STATUS_BAD_TIME, put_bytes(story, put));
    put.every_us = 1;
    put.group = (struct bytes){(const uint8_t *)longest, GROUP_BYTES_MAX + 1};
    EXPECT(STATUS_BAD_FIELD, put_bytes(story, put));
    EXPECT(STATUS_BAD_FIELD, PUT(story, "feed", .queue = "no spaces"));
}

static void a_far_due_after_a_far_wait_does_not_overflow(void **state)
{
    struct story *story = *state;
    struct put put = bare_put("feed");
    put.in_us = TIME_US_END - 1;
    enum status status = put_bytes(story, put);
    assert_true(status == STATUS_CREATED || status == STATUS_BAD_TIME);
    HELLO(story, A, .credit = 1);
    PUT(story, "other");
    struct story_task task = story_take_task(story, A, "other");
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .in_s = 4e9));
    EXPECT(STATUS_BAD_TIME, REPORT(story, A, &task, .due_s = -4e9));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void over_the_backlog_puts_are_busy_and_reports_are_not(void **state)
{
    struct story *story = *state;
    story->settings.limits.backlog_max = 3;
    set_limits(story);
    HELLO(story, A, .credit = 1);
    PUT(story, "leased");
    struct story_task task = story_take_task(story, A, "leased");
    story_hold_disk(story);
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c");
    EXPECT(STATUS_BUSY, PUT(story, "d"));
    assert_int_equal(story_numbers(story, NULL).backlog, 3);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    story_release_disk(story);
    EXPECT(STATUS_CREATED, PUT(story, "d"));
}

static void queues_over_the_limit_are_refused(void **state)
{
    struct story *story = *state;
    story->settings.limits.queues_max = 2;
    set_limits(story);
    EXPECT(STATUS_CREATED, PUT(story, "a", .queue = "one"));
    EXPECT(STATUS_CREATED, PUT(story, "a", .queue = "two"));
    EXPECT(STATUS_TOO_MANY, PUT(story, "a", .queue = "three"));
    EXPECT(STATUS_CREATED, PUT(story, "b", .queue = "two"));
}

static void a_lease_or_take_out_of_range_is_refused(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1, .heartbeat_ms = 1);
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[A].session, &agreed));
    assert_int_equal(agreed.lease_ms, LEASE_MS_MIN);
    assert_int_equal(agreed.heartbeat_ms, HEARTBEAT_MS_MIN);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_BAD_TIME, story_touch(story, A, &task, LEASE_MS_MAX + 1));
    EXPECT(STATUS_BAD_TIME, TAKE(story, A, .lease_ms = 1));
    EXPECT(STATUS_BAD_FIELD, TAKE(story, A, .max = CREDIT_MAX + 1));
    task.task.name.queue = 7;
    EXPECT(STATUS_BAD_FIELD, REPORT(story, A, &task, .in_s = 5));
}

static void a_session_that_is_not_there_gets_no_answer_but_that(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_goodbye(story, A);
    EXPECT(STATUS_NO_SESSION, REPORT(story, A, &task, .in_s = 5));
    EXPECT(STATUS_NO_SESSION, story_touch(story, A, &task, 0));
    EXPECT(STATUS_NO_SESSION, story_give_back(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_resume(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_set_credit(story, A, 1));
    EXPECT(STATUS_NO_SESSION, TAKE(story, A));
    EXPECT(STATUS_NO_SESSION, story_goodbye(story, A));
}

static void long_notes_are_cut(void **state)
{
    struct story *story = *state;
    static char note[NOTE_BYTES_MAX + 2];
    memset(note, 'n', NOTE_BYTES_MAX + 1);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5, .note = note));
    assert_int_equal(story_view(story, "feed").note.count, NOTE_BYTES_MAX);
}

/* --- looking ---------------------------------------------------------------------------------- */

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
        STORY(records_over_the_limit_are_refused_and_changes_are_not),
        STORY(bytes_over_the_limit_are_refused),
        STORY(a_payload_or_memo_over_the_limit_is_refused),
        STORY(a_bad_key_time_or_group_is_refused),
        STORY(a_far_due_after_a_far_wait_does_not_overflow),
        STORY(over_the_backlog_puts_are_busy_and_reports_are_not),
        STORY(queues_over_the_limit_are_refused),
        STORY(a_lease_or_take_out_of_range_is_refused),
        STORY(a_session_that_is_not_there_gets_no_answer_but_that),
        STORY(long_notes_are_cut),
        STORY(a_list_names_each_record_once_and_chooses),
        STORY(a_peek_shows_what_comes_next_in_order),
        STORY(numbers_tell_what_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
