/* Full sets, design 8 line by line. What goes wrong in them is in test_sync_faults.c. */
#include "story.h"

#include <stdio.h>

static struct story_set begin(struct story *story)
{
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    return set;
}

static void expect_counts(struct story *story, const struct story_set *set,
                          const struct sync_counts *expected)
{
    struct sync_counts counts = story_sync_counts(story, set);
    assert_int_equal(counts.created, expected->created);
    assert_int_equal(counts.changed, expected->changed);
    assert_int_equal(counts.unchanged, expected->unchanged);
    assert_int_equal(counts.rejected, expected->rejected);
    assert_int_equal(counts.kept, expected->kept);
    assert_int_equal(counts.absent, expected->absent);
    assert_int_equal(counts.pruned, expected->pruned);
    assert_int_equal(counts.due_now, expected->due_now);
}
#define EXPECT_COUNTS(story, set, ...) expect_counts(story, set, &(struct sync_counts){__VA_ARGS__})

/* --- begin ------------------------------------------------------------------------------------ */

static void a_second_begin_on_the_queue_is_a_conflict_until_the_first_is_over(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    struct story_set first = begin(story), second, other;
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, A, &second));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, A, &other, .queue = "other"));
    assert_int_not_equal(first.generation, other.generation);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &first));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, A, &second));
    assert_true(second.generation > other.generation);
}

static void an_abort_changes_nothing_and_lets_another_begin(void **state)
{
    struct story *story = *state;
    PUT(story, "known", .in_s = 9);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "known", .payload = "p"));
    EXPECT(STATUS_OK, story_sync_abort(story, CLIENT, &set));
    assert_false(story_has(story, "new"));
    story_expect_text(story_view(story, "known").payload, "");
    EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &set, "late"));
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set));
    begin(story);
}

static void generations_go_on_after_a_restart(void **state)
{
    struct story *story = *state;
    struct story_set before = begin(story);
    story_crash(story);
    struct story_set after = begin(story);
    assert_true(after.generation > before.generation);
}

static void another_session_can_neither_send_lines_nor_commit(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    struct story_set set = begin(story);
    EXPECT(STATUS_CONFLICT, SYNC_LINE(story, A, &set, "k"));
    EXPECT(STATUS_CONFLICT, SYNC_COMMIT(story, A, &set));
    EXPECT(STATUS_CONFLICT, story_sync_abort(story, A, &set));
    EXPECT(STATUS_OK, story_sync_abort(story, CLIENT, &set));
}

/* --- lines ------------------------------------------------------------------------------------ */

static void nothing_is_seen_of_a_set_before_its_commit(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 5);
    PUT(story, "known", .in_s = 9, .payload = "old");
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "known", .payload = "new"));
    assert_false(story_has(story, "new"));
    story_expect_text(story_view(story, "known").payload, "old");
    assert_int_equal(story_numbers(story, "q").records, 1);
    story_expect_no_task(story, B);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_take_task(story, B, "new");
    story_expect_text(story_view(story, "known").payload, "new");
    assert_int_equal(story_numbers(story, "q").totals.created, 2);
}

static void payload_every_rank_group_and_once_are_compared(void **state)
{
    struct story *story = *state;
    PUT(story, "same", .in_s = 5, .payload = "p", .every_s = 9, .group = "g", .once = ONCE,
        .has_rank = true, .rank = 1, .memo = "m");
    const char *const keys[] = {"payload", "every", "rank", "group", "once"};
    for (int i = 0; i < 5; i++)
        PUT(story, keys[i], .in_s = 5);
    struct story_set set = begin(story);
    EXPECT(STATUS_UNCHANGED,
           SYNC_LINE(story, CLIENT, &set, "same", .in_s = 77, .payload = "p", .every_s = 9,
                     .group = "g", .once = ONCE, .has_rank = true, .rank = 1, .memo = "other"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "payload", .payload = ""));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "every", .every_s = 7));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "rank", .has_rank = true, .rank = 7));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "group", .group = "g"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "once", .once = ONCE));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_COUNTS(story, &set, .changed = 5, .unchanged = 1);
    assert_non_null(story_view(story, "payload").payload.data);
    assert_int_equal(story_view(story, "every").every_us, STORY_S(7));
    assert_int_equal(story_view(story, "rank").rank, 7);
    story_expect_text(story_view(story, "group").group, "g");
    assert_true(story_view(story, "once").once);
}

static void an_absent_field_is_the_default(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .in_s = 5);
    struct story_set set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "k", .no_every = true, .group = "",
                                       .has_rank = true, .once = NOT_ONCE));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
}

static void known_keys_keep_due_memo_and_counts(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    EXPECT(STATUS_OK,
           REPORT(story, B, &task, .outcome = OUTCOME_RETRY, .in_s = 40, .memo = "cursor"));
    struct story_set set = begin(story);
    EXPECT(STATUS_CHANGED,
           SYNC_LINE(story, CLIENT, &set, "k", .payload = "p", .due_s = 3, .memo = "line's"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 40);
    story_expect_text(story_view(story, "k").memo, "cursor");
    story_expect_text(story_view(story, "k").payload, "p");
    assert_int_equal(story_view(story, "k").failures, 1);
}

static void a_parked_record_stays_parked(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    EXPECT(STATUS_OK, REPORT(story, B, &task, .outcome = OUTCOME_PARK, .error = "broken"));
    struct story_set set = begin(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "p"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    story_expect_text(story_view(story, "k").park_reason, "broken");
    story_expect_text(story_view(story, "k").payload, "p");
}

static void with_due_take_known_keys_take_the_due_of_their_line(void **state)
{
    struct story *story = *state;
    const char *const keys[] = {"moved", "same", "silent"};
    for (int i = 0; i < 3; i++)
        PUT(story, keys[i], .due_s = 40);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "moved", .due_s = 30));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "same", .due_s = 40));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "silent"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "moved", RECORD_WAITING, 30);
    EXPECT_RECORD(story, "same", RECORD_WAITING, 40);
    EXPECT_RECORD(story, "silent", RECORD_WAITING, 40);
}

static void a_line_on_a_leased_record_is_pending_and_the_lease_lives(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k", .payload = "old");
    struct story_task task = story_take_task(story, B, "k");
    struct story_set set = begin(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_COUNTS(story, &set, .changed = 1);
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 8, .memo = "m"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 8);
    story_expect_text(story_view(story, "k").payload, "new");
    story_expect_text(story_view(story, "k").memo, "m");
}

/* --- new keys --------------------------------------------------------------------------------- */

static void a_new_key_takes_due_and_memo_of_its_line(void **state)
{
    struct story *story = *state;
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .spread_s = 3600));
    EXPECT(STATUS_CREATED,
           SYNC_LINE(story, CLIENT, &set, "due", .due_s = 12, .memo = "m", .every_s = 60));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "in", .in_s = 7));
    story_pass_s(story, 2);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "due", RECORD_WAITING, 12);
    EXPECT_RECORD(story, "in", RECORD_WAITING, 7);
    story_expect_text(story_view(story, "due").memo, "m");
    EXPECT_COUNTS(story, &set, .created = 2);
}

static void new_keys_without_due_every_and_spread_are_due_now_and_counted(void **state)
{
    struct story *story = *state;
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "now"));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "at", .due_s = 5));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "every", .every_s = 60));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "now", RECORD_READY, 0);
    EXPECT_COUNTS(story, &set, .created = 3, .due_now = 1);
}

/* Syncs 50 new keys and removes them again. */
static void spread_fifty(struct story *story, double spread_s, double every_s, int64_t *dues_us)
{
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .spread_s = spread_s));
    char key[16];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, key, .every_s = every_s));
    }
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_int_equal(story_sync_counts(story, &set).due_now, 0);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        dues_us[i] = story_view(story, key).due_us - story->now.wall_us;
        EXPECT(STATUS_OK, story_remove(story, key));
    }
}

static void new_keys_are_spread_over_the_window_the_same_way_each_time(void **state)
{
    struct story *story = *state;
    int64_t first[50], second[50];
    int early = 0;
    spread_fifty(story, 3600, 60, first);
    story_pass_s(story, 17);
    spread_fifty(story, 3600, 60, second);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(first[i], second[i]);
        assert_in_range(first[i], 0, STORY_S(3600) - 1);
        early += first[i] < STORY_S(1800);
    }
    assert_in_range(early, 15, 35);
}

static void new_keys_are_spread_over_their_every_when_no_window_is_given(void **state)
{
    struct story *story = *state;
    int64_t dues_us[50];
    int early = 0;
    spread_fifty(story, 0, 60, dues_us);
    for (int i = 0; i < 50; i++) {
        assert_in_range(dues_us[i], 0, STORY_S(60) - 1);
        early += dues_us[i] < STORY_S(30);
    }
    assert_in_range(early, 15, 35);
}

/* --- prune and dry run ------------------------------------------------------------------------ */

static void absent_keys_are_pruned_only_when_that_is_asked_for(void **state)
{
    struct story *story = *state;
    PUT(story, "in", .in_s = 5);
    PUT(story, "absent", .in_s = 5);
    PUT(story, "elsewhere", .queue = "other", .in_s = 5);
    struct story_set set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "in"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_COUNTS(story, &set, .unchanged = 1, .absent = 1);
    assert_true(story_has(story, "absent"));
    set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "in"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .unchanged = 1, .absent = 1, .pruned = 1);
    assert_false(story_has(story, "absent"));
    assert_int_equal(story_numbers(story, "other").records, 1);
}

static void a_record_that_is_pruned_while_leased_never_comes_back(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    struct story_set set = begin(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_false(story_has(story, "k"));
    assert_int_equal(story->peers[B].cancelled, task.task.name.lease);
    EXPECT(STATUS_GONE, REPORT(story, B, &task, .in_s = 5));
    story_pass_s(story, 120);
    story_crash(story);
    story_pass_s(story, 10);
    assert_false(story_has(story, "k"));
}

static void a_record_that_is_in_the_set_is_not_doubled_while_leased(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 2);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    struct story_set set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "k"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 1);
    story_expect_no_task(story, B);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 5));
}

static void a_dry_run_counts_and_changes_nothing(void **state)
{
    struct story *story = *state;
    const char *const keys[] = {"same", "other", "absent"};
    for (int i = 0; i < 3; i++)
        PUT(story, keys[i], .in_s = 5);
    uint64_t number = story_view(story, "other").state;
    struct story_set set = begin(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "same"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "other", .payload = "p"));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .dry_run = true));
    EXPECT_COUNTS(story, &set, .created = 1, .changed = 1, .unchanged = 1, .absent = 1, .pruned = 1,
                  .due_now = 1);
    story_crash(story);
    assert_true(story_has(story, "absent"));
    assert_false(story_has(story, "new"));
    assert_int_equal(story_view(story, "other").state, number);
    assert_int_equal(story_numbers(story, "q").totals.created, 3);
    assert_int_equal(story_numbers(story, "q").totals.removed, 0);
}

static void an_empty_set_empties_the_queue_when_it_may(void **state)
{
    struct story *story = *state;
    PUT(story, "a", .in_s = 5);
    PUT(story, "b", .in_s = 5);
    struct story_set set = begin(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .absent = 2, .pruned = 2);
    assert_int_equal(story_numbers(story, "q").records, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_second_begin_on_the_queue_is_a_conflict_until_the_first_is_over),
        STORY(an_abort_changes_nothing_and_lets_another_begin),
        STORY(generations_go_on_after_a_restart),
        STORY(another_session_can_neither_send_lines_nor_commit),
        STORY(nothing_is_seen_of_a_set_before_its_commit),
        STORY(payload_every_rank_group_and_once_are_compared),
        STORY(an_absent_field_is_the_default),
        STORY(known_keys_keep_due_memo_and_counts),
        STORY(a_parked_record_stays_parked),
        STORY(with_due_take_known_keys_take_the_due_of_their_line),
        STORY(a_line_on_a_leased_record_is_pending_and_the_lease_lives),
        STORY(a_new_key_takes_due_and_memo_of_its_line),
        STORY(new_keys_without_due_every_and_spread_are_due_now_and_counted),
        STORY(new_keys_are_spread_over_the_window_the_same_way_each_time),
        STORY(new_keys_are_spread_over_their_every_when_no_window_is_given),
        STORY(absent_keys_are_pruned_only_when_that_is_asked_for),
        STORY(a_record_that_is_pruned_while_leased_never_comes_back),
        STORY(a_record_that_is_in_the_set_is_not_doubled_while_leased),
        STORY(a_dry_run_counts_and_changes_nothing),
        STORY(an_empty_set_empties_the_queue_when_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
