/* Full sets and crashes: before the commit nothing of them stays, after it all of them comes. */
#include "scenes.h"

#include <stdio.h>

/* --- before the commit is durable ------------------------------------------------------------- */

static void a_crash_before_the_commit_leaves_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    story_crash(story);
    scene_expect_untouched(story);
    set = scene_begin_set(story);
}

static void a_commit_that_was_not_durable_leaves_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    story_hold_disk(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    story_crash(story);
    scene_expect_untouched(story);
}

/* 20 known keys, so that a slice of one does not see them all. The set has 3 of them unchanged, 3
 * changed, 4 new ones, of which one is put before COMMIT and one is due now, and a refused line
 * unless it prunes. */
static struct story_set send_set(struct story *story, bool prune)
{
    static const char *const changed[] = {"old3", "old4", "old5"};
    static const char *const created[] = {"new0", "new1", "new2", "new3"};
    char key[16];
    scene_put_numbered(story, "old", 20);
    struct story_set set = scene_begin_set(story);
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
    scene_begin_set(story);
}

/* "feed" is out with a put pending, due at 20 s; a set that says 90 s is carried out, on disk or
 * not, and the broker crashes. A put after that names all but the due. */
static void crash_over_a_pending_put(struct story *story, bool is_durable)
{
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .due_s = 20));
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED,
           SYNC_LINE(story, CLIENT, &set, "feed", .due_s = 90, .every_s = 7, .payload = "set"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    if (!is_durable)
        story_hold_disk(story);
    story_work(story, 100);
    story_crash(story);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .every_s = 30, .payload = "put"));
    story_pass_s(story, 6); /* A does not come back */
    scene_expect_payload(story, "feed", "put");
    assert_int_equal(story_view(story, "feed").every_us, STORY_S(30));
}

static void a_due_that_was_put_outlives_a_set_that_was_not_durable(void **state)
{
    struct story *story = *state;
    crash_over_a_pending_put(story, false);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
}

static void a_due_of_a_durable_set_wins_over_one_that_was_pending(void **state)
{
    struct story *story = *state;
    crash_over_a_pending_put(story, true);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 90);
}

static void what_an_uncommitted_set_spooled_is_cleaned_up_after_a_crash(void **state)
{
    struct story *story = *state;
    char key[16];
    struct story_set set = scene_begin_set(story);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        SYNC_LINE(story, CLIENT, &set, key, .payload = "some bytes so that parts are spooled");
    }
    story_crash(story);
    story_turn(story);
    assert_int_equal(story_numbers(story, NULL).records, 0);
    for (size_t i = 0; i < story->disk.row_count; i++)
        assert_int_not_equal(story->disk.rows[i].row.table, STORE_SYNCS);
}

/* --- between its slices ----------------------------------------------------------------------- */

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

/* One slice, and what it changed on disk. */
static void work_a_little(struct story *story, uint32_t budget)
{
    struct event event = {.kind = EVENT_WORK, .now = story->now, .budget = budget};
    assert_int_equal(sched_step(story->sched, &event, &story->effects), STATUS_OK);
    while (sched_is_dirty(story->sched)) {
        store_batch_clear(story->batch);
        assert_int_equal(sched_seal(story->sched, story->batch), STATUS_OK);
        disk_write(&story->disk, story->batch);
        event.kind = EVENT_DURABLE;
        sched_step(story->sched, &event, &story->effects);
    }
}

/* The set turns k0 to k9 into k5 to k14, all with another payload, 5 of them leased or not. */
static void make_large_set(struct story *story, struct story_set *set)
{
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        PUT(story, key, .in_s = 1000);
    }
    *set = scene_begin_set(story);
    for (int i = 5; i < 15; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        SYNC_LINE(story, CLIENT, set, key, .in_s = 2000, .payload = "set");
    }
}

static void expect_large_set(struct story *story)
{
    char key[16];
    for (int i = 0; i < 15; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        if (i < 5)
            assert_false(story_has(story, key));
        else
            story_expect_text(story_view(story, key).payload, "set");
    }
    assert_int_equal(story_numbers(story, "q").records, 10);
    assert_int_equal(story_numbers(story, "q").totals.created, 15);
    assert_int_equal(story_numbers(story, "q").totals.removed, 5);
}

/* Its records would come due after the last time that there is. */
static void a_set_that_spreads_beyond_the_end_of_time_is_carried_out_after_a_crash(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, key, .every_s = 4e9));
    }
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_work(story, 2); /* the marker is on disk */
    story_crash(story);
    assert_int_equal(story_numbers(story, "q").records, 20);
    assert_int_equal(story_numbers(story, "q").ready, 0);
}

static void a_committed_set_is_carried_out_across_a_crash_at_any_slice(void **state)
{
    struct story *story = *state;
    for (int slices = 1; slices < 40; slices++) {
        struct story_set set;
        make_large_set(story, &set);
        SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true);
        for (int i = 0; i < slices; i++)
            work_a_little(story, 1);
        story_crash(story);
        bool is_new = story_has(story, "k14");
        if (is_new)
            expect_large_set(story);
        else
            assert_int_equal(story_numbers(story, "q").records, 10);
        assert_true(is_new || slices < 8);
        story = story_begin_anew(state);
    }
}

static void a_crash_in_every_slice_ends_too(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_large_set(story, &set);
    SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true);
    for (int i = 0; i < 4; i++)
        work_a_little(story, 1);
    story_crash(story);
    expect_large_set(story);
    size_t left = 0;
    for (size_t i = 0; i < story->disk.row_count; i++)
        left += story->disk.rows[i].row.table == STORE_SYNCS;
    assert_int_equal(left, 0);
}

static void a_leased_record_is_pruned_and_changed_across_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "changed");
    PUT(story, "pruned");
    struct story_task changed = story_take_task(story, A, "changed");
    struct story_task pruned = story_take_task(story, A, "pruned");
    struct story_set set = scene_begin_set(story);
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
        STORY(a_crash_before_the_commit_leaves_nothing),
        STORY(a_commit_that_was_not_durable_leaves_nothing),
        STORY(a_crash_before_the_marker_is_durable_changes_nothing),
        STORY_WITH_MEMORY(a_due_that_was_put_outlives_a_set_that_was_not_durable),
        STORY_WITH_MEMORY(a_due_of_a_durable_set_wins_over_one_that_was_pending),
        STORY(what_an_uncommitted_set_spooled_is_cleaned_up_after_a_crash),
        STORY_WITH_MEMORY(a_crash_in_any_slice_ends_with_the_same_records_and_counts),
        STORY_WITH_MEMORY(a_set_that_spreads_beyond_the_end_of_time_is_carried_out_after_a_crash),
        STORY(a_committed_set_is_carried_out_across_a_crash_at_any_slice),
        STORY(a_crash_in_every_slice_ends_too),
        STORY_WITH_MEMORY(a_leased_record_is_pruned_and_changed_across_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
