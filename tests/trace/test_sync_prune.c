/* Full sets: what is absent from them goes when that is asked for, within its share; and dry runs.
 */
#include "scenes.h"

#include <stdio.h>

/* --- prune ------------------------------------------------------------------------------------ */

static void absent_keys_are_pruned_only_when_that_is_asked_for(void **state)
{
    struct story *story = *state;
    PUT(story, "in", .in_s = 5);
    PUT(story, "absent", .in_s = 5);
    PUT(story, "elsewhere", .queue = "other", .in_s = 5);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "in"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_COUNTS(story, &set, .unchanged = 1, .absent = 1);
    assert_true(story_has(story, "absent"));
    set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "in"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .unchanged = 1, .absent = 1, .pruned = 1);
    assert_false(story_has(story, "absent"));
    assert_int_equal(story_numbers(story, "other").records, 1);
}

static void absent_keys_are_pruned_when_asked(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "leased");
    struct story_task task = story_take_task(story, A, "leased");
    PUT(story, "waiting", .in_s = 10);
    PUT(story, "kept", .in_s = 10);
    PUT(story, "elsewhere", .queue = "other", .in_s = 10);
    struct story_set set = scene_begin_set(story);
    SYNC_LINE(story, CLIENT, &set, "kept");
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_true(story_has(story, "kept"));
    assert_false(story_has(story, "waiting"));
    assert_false(story_has(story, "leased"));
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    assert_false(story_has(story, "leased"));
    assert_int_equal(story_sync_counts(story, &set).pruned, 2);
    assert_int_equal(story_numbers(story, "other").records, 1);
}

static void an_empty_set_empties_the_queue_when_it_may(void **state)
{
    struct story *story = *state;
    PUT(story, "a", .in_s = 5);
    PUT(story, "b", .in_s = 5);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    EXPECT_COUNTS(story, &set, .absent = 2, .pruned = 2);
    assert_int_equal(story_numbers(story, "q").records, 0);
}

static void a_record_that_is_pruned_while_leased_never_comes_back(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    struct story_set set = scene_begin_set(story);
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
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "k"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 1);
    story_expect_no_task(story, B);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 5));
}

static void a_record_in_the_place_of_a_removed_one_is_not_taken_for_it(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    scene_make_set(story, &set);
    SYNC_LINE(story, CLIENT, &set, "known");
    story_remove(story, "known");
    PUT(story, "fresh", .in_s = 20);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "fresh"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_int_equal(story_sync_counts(story, &set).rejected, 0);
}

/* --- the guard -------------------------------------------------------------------------------- */

static void a_prune_above_its_share_changes_nothing(void **state)
{
    struct story *story = *state;
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        PUT(story, key, .in_s = 10);
    }
    for (int lines = 7; lines <= 8; lines++) {
        struct story_set set = scene_begin_set(story);
        for (int i = 0; i < lines; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            SYNC_LINE(story, CLIENT, &set, key);
        }
        EXPECT(lines == 7 ? STATUS_PRUNE_GUARD : STATUS_OK,
               SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 200000));
        assert_int_equal(story_numbers(story, "q").records, lines == 7 ? 10 : 8);
    }
}

static void the_guard_counts_only_what_would_go(void **state)
{
    struct story *story = *state;
    scene_put_numbered(story, "old", 5);
    struct story_set set = scene_begin_set(story);
    for (int i = 0; i < 4; i++) {
        char key[16];
        snprintf(key, sizeof(key), "old%d", i);
        EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, key));
    }
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 200000));
    EXPECT_COUNTS(story, &set, .created = 1, .unchanged = 4, .absent = 1, .pruned = 1);
}

/* --- dry run ---------------------------------------------------------------------------------- */

static void a_dry_run_counts_and_changes_nothing(void **state)
{
    struct story *story = *state;
    const char *const keys[] = {"same", "other", "absent"};
    for (int i = 0; i < 3; i++)
        PUT(story, keys[i], .in_s = 5);
    uint64_t number = story_view(story, "other").state;
    struct story_set set = scene_begin_set(story);
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

static void a_dry_run_adds_changes_and_prunes_nothing(void **state)
{
    struct story *story = *state;
    PUT(story, "old", .in_s = 10);
    PUT(story, "gone", .in_s = 10);
    struct story_set set = scene_begin_set(story);
    SYNC_LINE(story, CLIENT, &set, "old", .payload = "p");
    SYNC_LINE(story, CLIENT, &set, "new");
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .dry_run = true));
    struct sync_counts counts = story_sync_counts(story, &set);
    assert_int_equal(counts.created, 1);
    assert_int_equal(counts.changed, 1);
    assert_int_equal(counts.pruned, 1);
    assert_false(story_has(story, "new"));
    assert_true(story_has(story, "gone"));
    assert_int_equal(story_view(story, "old").payload.count, 0);
    assert_int_equal(story_numbers(story, "q").totals.created, 2);
}

/* --- large sets ------------------------------------------------------------------------------- */

enum { LARGE_OLD = 3000, LARGE_KEPT = 800, LARGE_NEW = 9000 };

static const char *numbered(const char *name, int number)
{
    static char key[32];
    snprintf(key, sizeof(key), "%s%d", name, number);
    return key;
}

/* More than one part of staged rows, of those to prune, and of one batch; and it goes on where it
 * was when the broker ends in the middle. */
static void a_large_set_is_carried_out_in_parts_and_over_a_crash(void **state)
{
    struct story *story = *state;
    for (int i = 0; i < LARGE_OLD; i++)
        PUT(story, numbered("old", i), .in_s = 5000);
    struct story_set set = scene_begin_set(story);
    for (int i = 0; i < LARGE_KEPT; i++)
        SYNC_LINE(story, CLIENT, &set, numbered("old", i), .payload = i % 2 ? "changed" : NULL);
    for (int i = 0; i < LARGE_NEW; i++)
        SYNC_LINE(story, CLIENT, &set, numbered("new", i), .in_s = 5000);
    SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true);
    for (int slice = 0; slice < 40 && story_numbers(story, "q").records < LARGE_NEW; slice++)
        story_work(story, 1000);
    story_crash(story);
    for (int slice = 0; slice < 100 && sched_has_work(story->sched); slice++)
        story_work(story, 1000);
    assert_false(sched_has_work(story->sched));
    struct sched_numbers numbers = story_numbers(story, "q");
    assert_int_equal(numbers.records, LARGE_KEPT + LARGE_NEW);
    assert_int_equal(numbers.totals.removed, LARGE_OLD - LARGE_KEPT);
    assert_false(story_has(story, numbered("old", LARGE_KEPT)));
    story_expect_text(story_view(story, numbered("old", 1)).payload, "changed");
    assert_true(story_has(story, numbered("new", LARGE_NEW - 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(absent_keys_are_pruned_only_when_that_is_asked_for),
        STORY(absent_keys_are_pruned_when_asked),
        STORY(an_empty_set_empties_the_queue_when_it_may),
        STORY(a_record_that_is_pruned_while_leased_never_comes_back),
        STORY(a_record_that_is_in_the_set_is_not_doubled_while_leased),
        STORY(a_record_in_the_place_of_a_removed_one_is_not_taken_for_it),
        STORY(a_prune_above_its_share_changes_nothing),
        STORY(the_guard_counts_only_what_would_go),
        STORY(a_dry_run_counts_and_changes_nothing),
        STORY(a_dry_run_adds_changes_and_prunes_nothing),
        STORY_WITH_MEMORY(a_large_set_is_carried_out_in_parts_and_over_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
