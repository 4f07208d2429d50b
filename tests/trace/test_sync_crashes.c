/* Full sets that meet something else: refusals, lost sessions, puts and removals between BEGIN and
 * the last slice, crashes anywhere. */
#include "story.h"

#include <stdio.h>

static struct story_set begin(struct story *story)
{
    struct story_set set;
    HELLO(story, CLIENT, .heartbeat_ms = 600000);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    return set;
}

static void put_many(struct story *story, const char *name, int count)
{
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%s%d", name, i);
        EXPECT(STATUS_CREATED, PUT(story, key, .in_s = 500));
    }
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

/* --- refused ---------------------------------------------------------------------------------- */

static void a_refused_commit_is_refused_again_when_it_is_repeated(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 4);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .bad_sum = 1, .prune = true));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_false(story_has(story, "new"));
    set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .miscount = 1, .prune = true));
    assert_false(story_has(story, "new"));
    set = begin(story);
    EXPECT(STATUS_PRUNE_GUARD,
           SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 999999));
    story_crash(story);
    HELLO(story, CLIENT);
    EXPECT(STATUS_PRUNE_GUARD, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 4);
}

static void a_commit_whose_session_was_lost_meanwhile_is_answered_when_it_is_repeated(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 4);
    for (int dry_run = 0; dry_run < 2; dry_run++) {
        struct story_set set = begin(story);
        EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 1,
                                      .dry_run = dry_run, .unworked = true));
        EXPECT(STATUS_OK, story_goodbye(story, CLIENT));
        HELLO(story, CLIENT);
        EXPECT(STATUS_PRUNE_GUARD, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
        assert_int_equal(story_sync_counts(story, &set).absent, 4);
    }
    struct story_set set = begin(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    EXPECT(STATUS_OK, story_goodbye(story, CLIENT));
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_sync_counts(story, &set).pruned, 4);
}

static void a_session_that_is_lost_before_its_commit_changes_nothing(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 2);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old0", .payload = "p"));
    story_break_connection(story, CLIENT, 0);
    assert_false(story_has(story, "new"));
    assert_null(story_view(story, "old0").payload.data);
    HELLO(story, CLIENT);
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 2);
}

static void the_guard_counts_only_what_would_go(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 5);
    struct story_set set = begin(story);
    for (int i = 0; i < 4; i++) {
        char key[16];
        snprintf(key, sizeof(key), "old%d", i);
        EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, key));
    }
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 200000));
    EXPECT_COUNTS(story, &set, .created = 1, .unchanged = 4, .absent = 1, .pruned = 1);
}

/* --- put and removed meanwhile ---------------------------------------------------------------- */

static void keys_that_are_put_or_removed_before_their_line_keep_that(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 3);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, PUT(story, "new", .in_s = 9, .payload = "put"));
    EXPECT(STATUS_CHANGED, PUT(story, "old0", .payload = "put"));
    EXPECT(STATUS_OK, story_remove(story, "old1"));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "new", .payload = "set", .in_s = 5));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "old0", .payload = "set"));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "old1", .payload = "set"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .kept = 3, .absent = 1, .pruned = 1);
    story_expect_text(story_view(story, "new").payload, "put");
    story_expect_text(story_view(story, "old0").payload, "put");
    assert_false(story_has(story, "old1"));
    assert_false(story_has(story, "old2"));
}

static void keys_that_are_put_or_removed_after_their_line_keep_that(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 2);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .payload = "set", .in_s = 5));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old0", .payload = "set"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old1", .payload = "set"));
    EXPECT(STATUS_CREATED, PUT(story, "new", .in_s = 9, .payload = "put"));
    EXPECT(STATUS_CHANGED, PUT(story, "old0", .payload = "put"));
    EXPECT(STATUS_OK, story_remove(story, "old1"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .kept = 3);
    story_expect_text(story_view(story, "new").payload, "put");
    EXPECT_RECORD(story, "new", RECORD_WAITING, 9);
    story_expect_text(story_view(story, "old0").payload, "put");
    assert_false(story_has(story, "old1"));
}

static void keys_that_reports_remove_or_change_meanwhile_keep_that(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3);
    PUT(story, "removed");
    PUT(story, "once", .once = ONCE);
    PUT(story, "payload");
    struct story_task removed = story_take_task(story, A, "removed");
    struct story_task once = story_take_task(story, A, "once");
    struct story_task payload = story_take_task(story, A, "payload");
    struct story_set set = begin(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "removed", .payload = "set"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "payload", .payload = "set"));
    EXPECT(STATUS_OK, REPORT(story, A, &removed, .outcome = OUTCOME_REMOVE));
    EXPECT(STATUS_OK, REPORT(story, A, &once));
    EXPECT(STATUS_OK, REPORT(story, A, &payload, .in_s = 9, .payload = "report"));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "once", .once = ONCE));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_false(story_has(story, "removed"));
    assert_false(story_has(story, "once"));
    story_expect_text(story_view(story, "payload").payload, "report");
    EXPECT_COUNTS(story, &set, .kept = 3);
}

/* No turn in between: the slices are still to come. */
static void put_three_between(struct story *story, const char *const *keys)
{
    for (int i = 0; i < 3; i++) {
        struct put put = {.key = bytes_of(keys[i]),
                          .due_us = story_at_us(9),
                          .in_us = TIME_US_NEVER,
                          .every_us = TIME_US_NEVER,
                          .payload = bytes_of("put")};
        struct event event = {.kind = EVENT_PUT, .now = story->now, .put = {bytes_of("q"), &put}};
        assert_true(sched_step(story->sched, &event, &story->effects) > 0);
    }
}

/* A commit of "new", "newer" and a changed "old0", of which one slice was carried out: "new". */
static struct story_set commit_one_slice(struct story *story)
{
    put_many(story, "old", 3);
    struct story_set set = begin(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 5));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "newer", .payload = "set", .in_s = 5));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old0", .payload = "set"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    story_work(story, 1);
    assert_true(story_has(story, "new"));
    assert_false(story_has(story, "newer"));
    return set;
}

static void keys_that_are_put_between_the_slices_keep_that(void **state)
{
    static const char *const keys[] = {"newer", "old0", "old1"};
    struct story *story = *state;
    struct story_set set = commit_one_slice(story);
    put_three_between(story, keys);
    story_turn(story);
    for (int i = 0; i < 3; i++)
        story_expect_text(story_view(story, keys[i]).payload, "put");
    assert_false(story_has(story, "old2"));
    EXPECT_COUNTS(story, &set, .created = 1, .kept = 2, .absent = 2, .pruned = 1);
}

static void what_is_put_between_the_slices_survives_a_crash(void **state)
{
    static const char *const keys[] = {"newer", "old0", "old1"};
    struct story *story = *state;
    struct story_set set = commit_one_slice(story);
    put_three_between(story, keys);
    story_work(story, 0); /* to disk */
    story_crash(story);
    for (int i = 0; i < 3; i++)
        story_expect_text(story_view(story, keys[i]).payload, "put");
    assert_true(story_has(story, "new"));
    assert_false(story_has(story, "old2"));
    struct sync_counts counts = story_sync_counts(story, &set);
    assert_int_equal(counts.created + counts.changed + counts.kept, 3);
    assert_int_equal(counts.kept >= 1, true);
}

static void a_put_that_is_refused_does_not_keep_its_key_from_the_set(void **state)
{
    struct story *story = *state;
    put_many(story, "old", 1);
    story->settings.limits.records_max = 1;
    sched_set_settings(story->sched, &story->settings);
    struct story_set set = begin(story);
    EXPECT(STATUS_TOO_MANY, PUT(story, "new", .in_s = 9));
    story->settings.limits.records_max = 100;
    sched_set_settings(story->sched, &story->settings);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "new", RECORD_WAITING, 5);
}

/* --- crashes ---------------------------------------------------------------------------------- */

/* 20 known keys, so that a slice of one does not see them all. The set has 3 of them unchanged, 3
 * changed, 4 new ones, of which one is put before COMMIT and one is due now, and a refused line
 * unless it prunes. */
static struct story_set send_set(struct story *story, bool prune)
{
    static const char *const changed[] = {"old3", "old4", "old5"};
    static const char *const created[] = {"new0", "new1", "new2", "new3"};
    char key[16];
    put_many(story, "old", 20);
    struct story_set set = begin(story);
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof(key), "old%d", i);
        EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, key));
        EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, changed[i], .payload = "set"));
    }
    for (int i = 0; i < 4; i++)
        EXPECT(STATUS_CREATED,
               SYNC_LINE(story, CLIENT, &set, created[i], .payload = "set", .in_s = 30 * i));
    EXPECT(STATUS_CREATED, PUT(story, "new1", .in_s = 40, .payload = "put"));
    if (!prune)
        EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "old0"));
    return set;
}

static void expect_as_sent(struct story *story, const struct story_set *set, bool prune)
{
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "old%d", i);
        assert_int_equal(story_has(story, key), i < 6 || !prune);
        if (i < 6)
            story_expect_text(story_view(story, key).payload, i < 3 ? "" : "set");
    }
    EXPECT_RECORD(story, "new0", RECORD_READY, 0);
    EXPECT_RECORD(story, "new1", RECORD_WAITING, 40);
    EXPECT_RECORD(story, "new2", RECORD_WAITING, 60);
    story_expect_text(story_view(story, "new2").payload, "set");
    assert_int_equal(story_numbers(story, "q").records, prune ? 10 : 24);
    if (prune)
        EXPECT_COUNTS(story, set, .created = 3, .changed = 3, .unchanged = 3, .kept = 1,
                      .absent = 14, .pruned = 14, .due_now = 1);
    else
        EXPECT_COUNTS(story, set, .created = 3, .changed = 3, .unchanged = 3, .kept = 1,
                      .absent = 14, .rejected = 1, .due_now = 1);
}

static void expect_no_rows_left(const struct story *story)
{
    for (size_t i = 0; i < story->disk.row_count; i++)
        assert_int_not_equal(story->disk.rows[i].row.table, STORE_SYNCS);
}

static void a_crash_before_the_marker_is_durable_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set = send_set(story, true);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    story_work(story, 1); /* looks at 16 of 20 */
    story_hold_disk(story);
    story_work(story, 5);
    story_crash(story);
    assert_int_equal(story_numbers(story, "q").records, 21);
    assert_null(story_view(story, "old3").payload.data);
    assert_false(story_has(story, "new0"));
    story_expect_text(story_view(story, "new1").payload, "put");
    HELLO(story, CLIENT);
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    expect_no_rows_left(story);
    begin(story);
}

/* After a crash in any slice the set is there, and a repeated COMMIT gets the answer that it would
 * have got. */
static void crash_after_slices(void **state, int slices, bool prune)
{
    struct story *story = *state;
    struct story_set set = send_set(story, prune);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    for (int i = 0; i < slices; i++)
        story_work(story, 1);
    story_crash(story);
    HELLO(story, CLIENT);
    enum status status = SYNC_COMMIT(story, CLIENT, &set, .prune = true);
    EXPECT(slices < 2 ? STATUS_NOT_FOUND : STATUS_OK, status);
    if (status == STATUS_OK)
        expect_as_sent(story, &set, prune);
    expect_no_rows_left(story);
}

static void a_crash_in_any_slice_ends_with_the_same_records_and_counts(void **state)
{
    for (int prune = 0; prune < 2; prune++)
        for (int slices = 0; slices < 32; slices++) {
            crash_after_slices(state, slices, prune);
            story_begin_anew(state);
        }
}

static void a_leased_record_is_pruned_and_changed_across_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "changed");
    PUT(story, "pruned");
    struct story_task changed = story_take_task(story, A, "changed");
    struct story_task pruned = story_take_task(story, A, "pruned");
    struct story_set set = begin(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "changed", .payload = "set"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    story_work(story, 1);
    story_crash(story);
    HELLO(story, A, .credit = 2, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &changed));
    EXPECT(STATUS_GONE, story_resume(story, A, &pruned));
    EXPECT(STATUS_OK, REPORT(story, A, &changed, .in_s = 5, .payload = "worker's"));
    story_expect_text(story_view(story, "changed").payload, "set");
    EXPECT_RECORD(story, "changed", RECORD_WAITING, 5);
    EXPECT(STATUS_GONE, REPORT(story, A, &pruned, .in_s = 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_refused_commit_is_refused_again_when_it_is_repeated),
        STORY_WITH_MEMORY(
            a_commit_whose_session_was_lost_meanwhile_is_answered_when_it_is_repeated),
        STORY(a_session_that_is_lost_before_its_commit_changes_nothing),
        STORY(the_guard_counts_only_what_would_go),
        STORY(keys_that_are_put_or_removed_before_their_line_keep_that),
        STORY(keys_that_are_put_or_removed_after_their_line_keep_that),
        STORY(keys_that_reports_remove_or_change_meanwhile_keep_that),
        STORY_WITH_MEMORY(keys_that_are_put_between_the_slices_keep_that),
        STORY_WITH_MEMORY(what_is_put_between_the_slices_survives_a_crash),
        STORY(a_put_that_is_refused_does_not_keep_its_key_from_the_set),
        STORY(a_crash_before_the_marker_is_durable_changes_nothing),
        STORY_WITH_MEMORY(a_crash_in_any_slice_ends_with_the_same_records_and_counts),
        STORY_WITH_MEMORY(a_leased_record_is_pruned_and_changed_across_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
