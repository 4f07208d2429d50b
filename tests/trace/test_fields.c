/* What a record carries, and whose it is: the payload the source's, the memo the worker's. */
#include "story.h"

#include <string.h>

static struct story_task begin_run(struct story *story, const struct story_line *line)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, story_put(story, line));
    return story_take_task(story, A, line->key);
}
#define BEGIN_RUN(story, name, ...) begin_run(story, &(struct story_line){.key = name, __VA_ARGS__})

static struct story_task run_again(struct story *story, const char *key)
{
    story_pass_s(story, 1);
    return story_take_task(story, A, key);
}

static enum status sync_one(struct story *story, const struct story_line *line)
{
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    enum status status = story_sync_line(story, CLIENT, &set, line);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    return status;
}
#define SYNC_ONE(story, name, ...) sync_one(story, &(struct story_line){.key = name, __VA_ARGS__})

/* --- payload and memo ------------------------------------------------------------------------- */

static void a_task_carries_all_that_was_put(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .every_s = 9, .has_rank = true, .rank = -4,
                                       .once = ONCE, .group = "g", .payload = "p", .memo = "m");
    assert_string_equal(task.payload, "p");
    assert_string_equal(task.memo, "m");
    assert_string_equal(task.group, "g");
    assert_int_equal(task.task.every_us, STORY_S(9));
    assert_int_equal(task.task.rank, -4);
    assert_true(task.task.once);
    assert_int_equal(task.task.due_us, story_at_us(0));
}

static void a_memo_travels_with_the_next_task(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .payload = "p");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .memo = "etag-1"));
    task = run_again(story, "k");
    assert_string_equal(task.memo, "etag-1");
    assert_string_equal(task.payload, "p");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    assert_string_equal(run_again(story, "k").memo, "etag-1");
}

static void an_empty_memo_clears_and_an_absent_one_keeps(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .memo = "m");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    task = run_again(story, "k");
    assert_string_equal(task.memo, "m");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .memo = ""));
    assert_string_equal(run_again(story, "k").memo, "");
}

static void an_empty_payload_is_not_an_absent_one(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    assert_false(task.has_payload);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .payload = ""));
    task = run_again(story, "k");
    assert_true(task.has_payload);
    assert_int_equal(task.task.payload.count, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    assert_true(run_again(story, "k").has_payload);
}

static void a_failed_run_sets_the_memo_too(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .memo = "page 1");
    EXPECT(STATUS_OK,
           REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1, .memo = "page 2"));
    assert_string_equal(run_again(story, "k").memo, "page 2");
}

static void a_reports_payload_lasts_until_a_sync_differs(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .payload = "source's");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5, .payload = "worker's", .memo = "m"));
    story_expect_text(story_view(story, "k").payload, "worker's");
    EXPECT(STATUS_UNCHANGED, SYNC_ONE(story, "k", .payload = "worker's"));
    EXPECT(STATUS_CHANGED, SYNC_ONE(story, "k", .payload = "source's"));
    story_expect_text(story_view(story, "k").payload, "source's");
    story_expect_text(story_view(story, "k").memo, "m");
    EXPECT_RECORD(story, "k", RECORD_WAITING, 5);
}

static void a_sync_without_a_payload_takes_it_away(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    PUT(story, "k", .payload = "p", .group = "g", .every_s = 9, .has_rank = true, .rank = 2);
    EXPECT(STATUS_CHANGED, SYNC_ONE(story, "k"));
    struct record_view view = story_view(story, "k");
    assert_null(view.payload.data);
    assert_int_equal(view.group.count, 0);
    assert_int_equal(view.every_us, 0);
    assert_int_equal(view.rank, 0);
    EXPECT(STATUS_UNCHANGED, SYNC_ONE(story, "k"));
}

static void a_put_can_set_and_clear_the_memo(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .memo = "m");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "p"));
    story_expect_text(story_view(story, "k").memo, "m");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .memo = ""));
    story_expect_text(story_view(story, "k").memo, "");
    story_expect_text(story_view(story, "k").payload, "p");
}

static void a_put_keeps_what_it_does_not_give_and_clears_what_it_names_as_none(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .in_s = 9, .payload = "p", .group = "g", .every_s = 9, .has_rank = true,
        .rank = 2, .once = ONCE);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .in_s = 5));
    struct record_view view = story_view(story, "k");
    story_expect_text(view.payload, "p");
    story_expect_text(view.group, "g");
    assert_int_equal(view.every_us, STORY_S(9));
    assert_int_equal(view.rank, 2);
    assert_true(view.once);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "", .group = "", .no_every = true,
                               .has_rank = true, .once = NOT_ONCE));
    view = story_view(story, "k");
    assert_non_null(view.payload.data);
    assert_int_equal(view.payload.count + view.group.count, 0);
    assert_int_equal(view.every_us, 0);
    assert_int_equal(view.rank, 0);
    assert_false(view.once);
}

/* --- rank and group --------------------------------------------------------------------------- */

static void the_lower_rank_goes_first_then_the_earlier_due_then_the_first_to_arrive(void **state)
{
    struct story *story = *state;
    PUT(story, "later", .due_s = -1);
    PUT(story, "second", .due_s = -5);
    PUT(story, "third", .due_s = -5);
    PUT(story, "last", .due_s = -100, .has_rank = true, .rank = 1);
    PUT(story, "first", .due_s = -1, .has_rank = true, .rank = -1);
    HELLO(story, A, .credit = 5);
    story_take_task(story, A, "first");
    story_take_task(story, A, "second");
    story_take_task(story, A, "third");
    story_take_task(story, A, "later");
    story_take_task(story, A, "last");
}

static void a_report_sets_the_rank_for_the_runs_to_come(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .has_rank = true, .rank = 7));
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    PUT(story, "other", .in_s = 2);
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, story_set_credit(story, A, 2));
    story_take_task(story, A, "other");
    assert_int_equal(story_take_task(story, A, "k").task.rank, 7);
}

static void a_rank_set_by_a_report_lasts_until_a_sync_names_another(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .has_rank = true, .rank = 1);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 9, .has_rank = true, .rank = 7));
    EXPECT(STATUS_UNCHANGED, SYNC_ONE(story, "k", .has_rank = true, .rank = 7));
    EXPECT(STATUS_CHANGED, SYNC_ONE(story, "k", .has_rank = true, .rank = 1));
    assert_int_equal(story_view(story, "k").rank, 1);
}

/* --- note and error --------------------------------------------------------------------------- */

static void a_note_is_kept_until_another_comes_and_an_error_until_an_ok(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1, .note = "slow",
                             .error = "503"));
    story_expect_text(story_view(story, "k").note, "slow");
    story_expect_text(story_view(story, "k").error, "503");
    task = run_again(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    story_expect_text(story_view(story, "k").note, "slow");
    story_expect_text(story_view(story, "k").error, "");
    task = run_again(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .note = "fast", .error = "none"));
    story_expect_text(story_view(story, "k").note, "fast");
    story_expect_text(story_view(story, "k").error, "");
}

static void an_empty_note_clears(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .note = "slow"));
    task = run_again(story, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1, .note = ""));
    story_expect_text(story_view(story, "k").note, "");
}

static void note_and_error_are_cut_at_1024_bytes_and_not_inside_a_character(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k");
    char note[2001], error[2001];
    memset(note, 'n', 2000);
    memset(error, 'e', 2000);
    note[2000] = error[2000] = 0;
    memcpy(error + 1023, "\xc3\xa9", 2);
    EXPECT(STATUS_OK,
           REPORT(story, A, &task, .outcome = OUTCOME_PARK, .note = note, .error = error));
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.note.count, 1024);
    assert_int_equal(view.error.count, 1023);
    assert_int_equal(view.park_reason.count, 1023);
}

static void everything_survives_a_restart(void **state)
{
    struct story *story = *state;
    struct story_task task =
        BEGIN_RUN(story, "k", .every_s = 9, .group = "g", .payload = "p", .once = ONCE);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 30, .memo = "m",
                             .has_rank = true, .rank = -3, .note = "n", .error = "e"));
    struct record_view before = story_view(story, "k");
    uint64_t number = before.state;
    story_crash(story);
    struct record_view view = story_view(story, "k");
    EXPECT_RECORD(story, "k", RECORD_WAITING, 30);
    assert_int_equal(view.every_us, STORY_S(9));
    assert_int_equal(view.rank, -3);
    assert_true(view.once);
    assert_int_equal(view.failures, 1);
    assert_int_equal(view.state, number);
    story_expect_text(view.group, "g");
    story_expect_text(view.payload, "p");
    story_expect_text(view.memo, "m");
    story_expect_text(view.note, "n");
    story_expect_text(view.error, "e");
}

static void the_fields_of_a_report_that_is_refused_are_not_taken(void **state)
{
    struct story *story = *state;
    struct story_task task = BEGIN_RUN(story, "k", .payload = "p", .memo = "m");
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 1, .payload = "x", .memo = "x",
                                .note = "x", .state = task.task.state + 1));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 1));
    struct record_view view = story_view(story, "k");
    story_expect_text(view.payload, "p");
    story_expect_text(view.memo, "m");
    story_expect_text(view.note, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_task_carries_all_that_was_put),
        STORY(a_memo_travels_with_the_next_task),
        STORY(an_empty_memo_clears_and_an_absent_one_keeps),
        STORY(an_empty_payload_is_not_an_absent_one),
        STORY(a_failed_run_sets_the_memo_too),
        STORY(a_reports_payload_lasts_until_a_sync_differs),
        STORY(a_sync_without_a_payload_takes_it_away),
        STORY(a_put_can_set_and_clear_the_memo),
        STORY(a_put_keeps_what_it_does_not_give_and_clears_what_it_names_as_none),
        STORY(the_lower_rank_goes_first_then_the_earlier_due_then_the_first_to_arrive),
        STORY(a_report_sets_the_rank_for_the_runs_to_come),
        STORY(a_rank_set_by_a_report_lasts_until_a_sync_names_another),
        STORY(a_note_is_kept_until_another_comes_and_an_error_until_an_ok),
        STORY(an_empty_note_clears),
        STORY(note_and_error_are_cut_at_1024_bytes_and_not_inside_a_character),
        STORY(everything_survives_a_restart),
        STORY(the_fields_of_a_report_that_is_refused_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
