/* Over each limit there is a clear refusal that changes nothing, and the broker goes on; a limit
 * that was lowered holds for what comes, not for what is there. */
#include "story.h"

#include <stdlib.h>
#include <string.h>

/* --- records and bytes ------------------------------------------------------------------------ */

static void set_limits(struct story *story)
{
    sched_set_settings(story->sched, &story->settings);
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

static void lines_over_the_limit_of_records_are_refused_and_nothing_is_pruned(void **state)
{
    struct story *story = *state;
    story->settings.limits.records_max = 2;
    set_limits(story);
    PUT(story, "old", .in_s = 5);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "a", .in_s = 5));
    EXPECT(STATUS_TOO_MANY, SYNC_LINE(story, CLIENT, &set, "b", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_true(story_has(story, "old"));
    assert_true(story_has(story, "a"));
    assert_false(story_has(story, "b"));
    assert_int_equal(story_sync_counts(story, &set).rejected, 1);
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

static void over_the_limit_of_bytes_only_what_does_not_grow_is_taken(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "leased", .payload = "12345678");
    struct story_task task = story_take_task(story, A, "leased");
    PUT(story, "k", .payload = "12345678", .in_s = 5);
    story->settings.limits.bytes_max = 1;
    set_limits(story);
    EXPECT(STATUS_NO_SPACE, PUT(story, "new"));
    EXPECT(STATUS_NO_SPACE, PUT(story, "k", .payload = "123456789"));
    EXPECT(STATUS_NO_SPACE, PUT(story, "k", .memo = "m"));
    EXPECT(STATUS_NO_SPACE, PUT(story, "leased", .payload = "123456789"));
    story_expect_text(story_view(story, "k").payload, "12345678");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "8765"));
    EXPECT(STATUS_CHANGED, PUT(story, "k", .in_s = 9));
    EXPECT(STATUS_PENDING, PUT(story, "leased", .payload = "8765"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5, .memo = "cursor"));
    EXPECT(STATUS_OK, story_remove(story, "k"));
}

static void over_the_limit_of_bytes_a_line_that_grows_is_refused(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .payload = "12345678", .in_s = 5);
    PUT(story, "absent", .in_s = 5);
    story->settings.limits.bytes_max = 1;
    set_limits(story);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_NO_SPACE, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 5));
    EXPECT(STATUS_NO_SPACE, SYNC_LINE(story, CLIENT, &set, "k", .payload = "123456789"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "8765", .memo = "long"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    story_expect_text(story_view(story, "k").payload, "8765");
    assert_true(story_has(story, "absent"));
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

static void payload_and_memo_over_their_limit_are_refused_everywhere(void **state)
{
    struct story *story = *state;
    story->settings.limits.payload_bytes_max = 8;
    set_limits(story);
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, "k", .payload = "12345678", .memo = "12345678"));
    EXPECT(STATUS_TOO_LARGE, PUT(story, "k", .payload = "123456789"));
    EXPECT(STATUS_TOO_LARGE, PUT(story, "k", .memo = "123456789"));
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_TOO_LARGE, REPORT(story, A, &task, .in_s = 5, .payload = "123456789"));
    EXPECT(STATUS_TOO_LARGE, REPORT(story, A, &task, .in_s = 5, .memo = "123456789"));
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5, .memo = "87654321"));
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_TOO_LARGE, SYNC_LINE(story, CLIENT, &set, "k", .payload = "123456789"));
    EXPECT(STATUS_OK, story_sync_abort(story, CLIENT, &set));
}

static const char *text_of(uint32_t count)
{
    static char text[PAYLOAD_BYTES_DEFAULT + 2];
    memset(text, 'x', count);
    text[count] = 0;
    return text;
}

static void the_default_limit_of_a_payload_is_64_kib(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_CREATED, PUT(story, "k", .in_s = 5, .payload = text_of(65536)));
    EXPECT(STATUS_TOO_LARGE, PUT(story, "k", .payload = text_of(65537)));
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

/* --- limits that were lowered ----------------------------------------------------------------- */

static void what_is_stored_is_loaded_under_lower_limits(void **state)
{
    struct story *story = *state;
    PUT(story, "a", .in_s = 5, .payload = "12345678");
    PUT(story, "b", .in_s = 5);
    PUT(story, "k", .queue = "other");
    story->settings.limits.records_max = 1;
    story->settings.limits.bytes_max = 1;
    story->settings.limits.payload_bytes_max = 4;
    story->settings.limits.queues_max = 1;
    story_crash(story);
    assert_int_equal(story_numbers(story, "q").records, 2);
    assert_int_equal(story_numbers(story, "other").records, 1);
    story_expect_text(story_view(story, "a").payload, "12345678");
    EXPECT(STATUS_TOO_MANY, PUT(story, "c"));
    EXPECT(STATUS_TOO_MANY, PUT(story, "c", .queue = "third"));
    EXPECT(STATUS_TOO_LARGE, PUT(story, "a", .payload = "12345"));
    EXPECT(STATUS_CHANGED, PUT(story, "a", .in_s = 9));
}

static void what_is_pending_or_committed_is_loaded_under_lower_limits(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    story_take_task(story, A, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "12345678", .in_s = 50));
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "a", .in_s = 5, .payload = "12345678"));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "b", .in_s = 5, .payload = "12345678"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_work(story, 1);
    story->settings.limits.records_max = 1;
    story->settings.limits.bytes_max = 1;
    story->settings.limits.payload_bytes_max = 4;
    story_crash(story);
    story_expect_text(story_view(story, "a").payload, "12345678");
    story_expect_text(story_view(story, "b").payload, "12345678");
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    story_expect_text(story_view(story, "k").payload, "12345678");
}

/* --- names and times -------------------------------------------------------------------------- */

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

static void a_key_has_1_to_1024_bytes_of_text(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_CREATED, PUT(story, text_of(1024)));
    EXPECT(STATUS_CREATED, PUT(story, "caf\xc3\xa9 \xe2\x82\xac"));
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    const char *const bad[] = {"", "a\x1f", "a\x7f", "\xc3", "\xed\xa0\x80", text_of(1025)};
    for (int i = 0; i < 6; i++) {
        EXPECT(STATUS_BAD_KEY, PUT(story, bad[i]));
        EXPECT(STATUS_BAD_KEY, SYNC_LINE(story, CLIENT, &set, bad[i]));
        EXPECT(STATUS_NOT_FOUND, story_remove(story, bad[i]));
        EXPECT(STATUS_NOT_FOUND, story_run_now(story, bad[i]));
        EXPECT(STATUS_NOT_FOUND, story_kick(story, bad[i]));
    }
    assert_int_equal(story_numbers(story, "q").records, 2);
}

static enum status hello(struct story *story, uint32_t session, uint8_t uid, const char *queue)
{
    struct hello hello = {.uid = {uid}, .queues = {bytes_of(queue)}, .queue_count = 1};
    struct event event = {
        .kind = EVENT_HELLO, .now = story->now, .session = session, .hello = &hello};
    enum status status = sched_step(story->sched, &event, &story->effects);
    story_turn(story);
    return status;
}

static void a_queue_has_1_to_64_letters_digits_dots_and_dashes(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_CREATED, PUT(story, "k", .queue = "Feeds_9.fast-1"));
    EXPECT(STATUS_CREATED, PUT(story, "k", .queue = text_of(64)));
    const char *const bad[] = {"", "a b", "a/b", "\xc3\xa9", text_of(65)};
    struct story_set set;
    for (int i = 0; i < 5; i++) {
        EXPECT(STATUS_BAD_FIELD, PUT(story, "k", .queue = bad[i]));
        EXPECT(STATUS_BAD_FIELD, SYNC_BEGIN(story, CLIENT, &set, .queue = bad[i]));
        EXPECT(STATUS_BAD_FIELD, story_pause(story, bad[i]));
        EXPECT(STATUS_BAD_FIELD, hello(story, 90, 90, bad[i]));
    }
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

/* --- queues, sessions, credit, backlog -------------------------------------------------------- */

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

static void queues_over_their_limit_are_refused_whoever_names_them(void **state)
{
    struct story *story = *state;
    story->settings.limits.queues_max = 1;
    set_limits(story);
    EXPECT(STATUS_CREATED, PUT(story, "k"));
    struct story_set set;
    EXPECT(STATUS_TOO_MANY, PUT(story, "k", .queue = "more"));
    EXPECT(STATUS_TOO_MANY, SYNC_BEGIN(story, CLIENT, &set, .queue = "more"));
    EXPECT(STATUS_TOO_MANY, story_pause(story, "more"));
    EXPECT(STATUS_TOO_MANY, hello(story, 90, 90, "more"));
    EXPECT(STATUS_OK, hello(story, 90, 90, "q"));
}

static void sessions_over_the_limit_are_refused_until_another_ends(void **state)
{
    struct story *story = *state;
    story->settings.limits.sessions_max = 2;
    set_limits(story);
    HELLO(story, A, .credit = 1);
    HELLO(story, B, .credit = 1);
    EXPECT(STATUS_TOO_MANY, hello(story, 90, 90, "q"));
    PUT(story, "k");
    assert_int_equal(story_task_count(story, A) + story_task_count(story, B), 1);
    EXPECT(STATUS_OK, story_goodbye(story, B));
    EXPECT(STATUS_OK, hello(story, 90, 90, "q"));
    EXPECT(STATUS_OK, hello(story, 91, 90, "q")); /* the same one on a new connection */
    EXPECT(STATUS_TOO_MANY, hello(story, 92, 92, "q"));
}

static void credit_over_the_limit_is_cut_to_it(void **state)
{
    struct story *story = *state;
    story->settings.limits.credit_max = 3;
    set_limits(story);
    HELLO(story, A, .credit = 100);
    const char *const keys[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++)
        PUT(story, keys[i]);
    assert_int_equal(story_task_count(story, A), 3);
    EXPECT(STATUS_OK, story_set_credit(story, A, 4));
    assert_int_equal(story_task_count(story, A), 3);
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[A].session, &agreed));
    assert_int_equal(agreed.credit, 3);
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

static void over_the_backlog_only_puts_are_busy_and_nothing_is_changed(void **state)
{
    struct story *story = *state;
    PUT(story, "removed", .in_s = 5);
    PUT(story, "run", .in_s = 5);
    story->settings.limits.backlog_max = 2;
    set_limits(story);
    story_hold_disk(story);
    PUT(story, "a", .in_s = 5);
    PUT(story, "b", .in_s = 5);
    EXPECT(STATUS_BUSY, PUT(story, "c"));
    EXPECT(STATUS_BUSY, PUT(story, "a", .in_s = 9));
    EXPECT_RECORD(story, "a", RECORD_WAITING, 5);
    assert_false(story_has(story, "c"));
    EXPECT(STATUS_OK, story_remove(story, "removed"));
    EXPECT(STATUS_OK, story_run_now(story, "run"));
    EXPECT(STATUS_BUSY, PUT(story, "c"));
    story_release_disk(story);
    EXPECT(STATUS_CREATED, PUT(story, "c"));
}

static void over_the_backlog_lines_of_a_set_are_not_busy(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    story->settings.limits.backlog_max = 1;
    set_limits(story);
    story_hold_disk(story);
    PUT(story, "a", .in_s = 5);
    EXPECT(STATUS_BUSY, PUT(story, "b", .in_s = 5));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "b", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_release_disk(story);
    EXPECT_RECORD(story, "b", RECORD_WAITING, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(records_over_the_limit_are_refused_and_changes_are_not),
        STORY(lines_over_the_limit_of_records_are_refused_and_nothing_is_pruned),
        STORY(bytes_over_the_limit_are_refused),
        STORY(over_the_limit_of_bytes_only_what_does_not_grow_is_taken),
        STORY(over_the_limit_of_bytes_a_line_that_grows_is_refused),
        STORY(a_payload_or_memo_over_the_limit_is_refused),
        STORY(payload_and_memo_over_their_limit_are_refused_everywhere),
        STORY(the_default_limit_of_a_payload_is_64_kib),
        STORY(long_notes_are_cut),
        STORY(what_is_stored_is_loaded_under_lower_limits),
        STORY_WITH_MEMORY(what_is_pending_or_committed_is_loaded_under_lower_limits),
        STORY(a_bad_key_time_or_group_is_refused),
        STORY(a_key_has_1_to_1024_bytes_of_text),
        STORY(a_queue_has_1_to_64_letters_digits_dots_and_dashes),
        STORY(a_far_due_after_a_far_wait_does_not_overflow),
        STORY(a_lease_or_take_out_of_range_is_refused),
        STORY(queues_over_the_limit_are_refused),
        STORY(queues_over_their_limit_are_refused_whoever_names_them),
        STORY(sessions_over_the_limit_are_refused_until_another_ends),
        STORY(credit_over_the_limit_is_cut_to_it),
        STORY(over_the_backlog_puts_are_busy_and_reports_are_not),
        STORY(over_the_backlog_only_puts_are_busy_and_nothing_is_changed),
        STORY(over_the_backlog_lines_of_a_set_are_not_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
