/* Full sets that are refused, aborted, or interrupted by a crash: all or nothing. */
#include "story.h"

#include <stdio.h>

static void begin(struct story *story, struct story_set *set)
{
    HELLO(story, CLIENT, .queues = "", .heartbeat_ms = 600000);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, set));
}

/* "old" is there; the set has "new" and not "old". */
static void make_set(struct story *story, struct story_set *set)
{
    PUT(story, "old", .in_s = 10);
    begin(story, set);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, set, "new", .in_s = 10));
}

static void expect_untouched(struct story *story)
{
    assert_true(story_has(story, "old"));
    assert_false(story_has(story, "new"));
    assert_int_equal(story_numbers(story, "q").records, 1);
    assert_int_equal(story_numbers(story, "q").totals.created, 1);
}

static void a_second_set_of_a_queue_is_refused(void **state)
{
    struct story *story = *state;
    struct story_set set, other;
    make_set(story, &set);
    HELLO(story, D, .queues = "");
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, D, &other));
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, CLIENT, &other));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, D, &other, .queue = "other"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, D, &other));
}

static void a_wrong_count_or_sum_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .miscount = 1, .prune = true));
    expect_untouched(story);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    SYNC_LINE(story, CLIENT, &set, "new");
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .bad_sum = 1, .prune = true));
    expect_untouched(story);
}

static void a_prune_above_its_share_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        PUT(story, key, .in_s = 10);
    }
    for (int lines = 7; lines <= 8; lines++) {
        begin(story, &set);
        for (int i = 0; i < lines; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            SYNC_LINE(story, CLIENT, &set, key);
        }
        EXPECT(lines == 7 ? STATUS_PRUNE_GUARD : STATUS_OK,
               SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 200000));
        assert_int_equal(story_numbers(story, "q").records, lines == 7 ? 10 : 8);
    }
}

static void a_key_that_comes_twice_is_a_bad_line_and_nothing_is_pruned(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    make_set(story, &set);
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "new", .payload = "p"));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "known"));
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "known"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_true(story_has(story, "old"));
    assert_int_equal(story_view(story, "new").payload.count, 0);
    assert_int_equal(story_sync_counts(story, &set).rejected, 2);
    assert_int_equal(story_sync_counts(story, &set).pruned, 0);
}

static void a_key_that_comes_twice_is_seen_though_it_was_put_or_removed_between(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    make_set(story, &set);
    SYNC_LINE(story, CLIENT, &set, "known");
    PUT(story, "new", .in_s = 20);
    story_remove(story, "known");
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "known"));
}

static void a_record_in_the_place_of_a_removed_one_is_not_taken_for_it(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    make_set(story, &set);
    SYNC_LINE(story, CLIENT, &set, "known");
    story_remove(story, "known");
    PUT(story, "fresh", .in_s = 20);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "fresh"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_int_equal(story_sync_counts(story, &set).rejected, 0);
}

static void a_bad_line_is_refused_with_its_reason_and_counted(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    EXPECT(STATUS_BAD_KEY, SYNC_LINE(story, CLIENT, &set, "tab\there"));
    EXPECT(STATUS_BAD_TIME, SYNC_LINE(story, CLIENT, &set, "late", .due_us = TIME_US_END));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_sync_counts(story, &set).rejected, 2);
    assert_true(story_has(story, "old"));
    assert_true(story_has(story, "new"));
}

static void an_aborted_set_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    EXPECT(STATUS_OK, story_sync_abort(story, CLIENT, &set));
    expect_untouched(story);
    assert_true(SYNC_LINE(story, CLIENT, &set, "more") < 0);
    assert_true(SYNC_COMMIT(story, CLIENT, &set) < 0);
    expect_untouched(story);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
}

static void a_set_ends_with_its_session(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    story_goodbye(story, CLIENT);
    expect_untouched(story);
    HELLO(story, D, .queues = "");
    assert_true(SYNC_LINE(story, D, &set, "more") < 0);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, D, &set));
}

static void a_set_belongs_to_its_session(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    HELLO(story, D, .queues = "");
    assert_true(SYNC_LINE(story, D, &set, "more") < 0);
    assert_true(SYNC_COMMIT(story, D, &set, .unworked = true) < 0);
    assert_true(story_sync_abort(story, D, &set) < 0);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
}

static void a_crash_before_the_commit_leaves_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    story_crash(story);
    expect_untouched(story);
    begin(story, &set);
}

static void a_commit_that_was_not_durable_leaves_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    story_hold_disk(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    story_crash(story);
    expect_untouched(story);
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
    begin(story, set);
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

static void what_an_uncommitted_set_spooled_is_cleaned_up_after_a_crash(void **state)
{
    struct story *story = *state;
    struct story_set set;
    char key[16];
    begin(story, &set);
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

static void a_repeated_commit_gets_the_same_answer(void **state)
{
    struct story *story = *state;
    struct story_set set;
    make_set(story, &set);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    struct sync_counts before = story_sync_counts(story, &set);
    PUT(story, "later", .in_s = 10);
    for (int i = 0; i < 2; i++) {
        EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
        struct sync_counts again = story_sync_counts(story, &set);
        assert_memory_equal(&before, &again, sizeof(before));
        assert_true(story_has(story, "later"));
        story_crash(story);
        HELLO(story, CLIENT, .queues = "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_second_set_of_a_queue_is_refused),
        STORY(a_wrong_count_or_sum_changes_nothing),
        STORY(a_prune_above_its_share_changes_nothing),
        STORY(a_key_that_comes_twice_is_a_bad_line_and_nothing_is_pruned),
        STORY(a_key_that_comes_twice_is_seen_though_it_was_put_or_removed_between),
        STORY(a_record_in_the_place_of_a_removed_one_is_not_taken_for_it),
        STORY(a_bad_line_is_refused_with_its_reason_and_counted),
        STORY(an_aborted_set_changes_nothing),
        STORY(a_set_ends_with_its_session),
        STORY(a_set_belongs_to_its_session),
        STORY(a_crash_before_the_commit_leaves_nothing),
        STORY(a_commit_that_was_not_durable_leaves_nothing),
        STORY(a_committed_set_is_carried_out_across_a_crash_at_any_slice),
        STORY(a_crash_in_every_slice_ends_too),
        STORY(what_an_uncommitted_set_spooled_is_cleaned_up_after_a_crash),
        STORY(a_repeated_commit_gets_the_same_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
