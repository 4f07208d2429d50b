/* Full sets: what a commit makes of a queue. */
#include "story.h"

#include <stdio.h>

static void begin(struct story *story, struct story_set *set)
{
    HELLO(story, CLIENT, .queues = "", .heartbeat_ms = 600000);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, set));
}

static void a_set_adds_changes_and_leaves_alone(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "same", .in_s = 10, .payload = "p", .every_s = 60);
    PUT(story, "other", .in_s = 20, .payload = "old", .memo = "m");
    PUT(story, "absent", .in_s = 30);
    begin(story, &set);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "same", .payload = "p", .every_s = 60));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "other", .payload = "new"));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .in_s = 40, .memo = "first"));
    assert_false(story_has(story, "new"));
    story_expect_text(story_view(story, "other").payload, "old");
    uint64_t same = story_view(story, "same").state, other = story_view(story, "other").state;
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "same", RECORD_WAITING, 10);
    EXPECT_RECORD(story, "other", RECORD_WAITING, 20);
    EXPECT_RECORD(story, "new", RECORD_WAITING, 40);
    EXPECT_RECORD(story, "absent", RECORD_WAITING, 30);
    story_expect_text(story_view(story, "other").payload, "new");
    story_expect_text(story_view(story, "other").memo, "m");
    story_expect_text(story_view(story, "new").memo, "first");
    assert_int_equal(story_view(story, "same").state, same);
    assert_true(story_view(story, "other").state > other);
    struct sync_counts counts = story_sync_counts(story, &set);
    assert_int_equal(counts.created, 1);
    assert_int_equal(counts.changed, 1);
    assert_int_equal(counts.unchanged, 1);
    assert_int_equal(counts.absent, 1);
    assert_int_equal(counts.pruned, 0);
}

static void what_a_line_does_not_name_is_the_default(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "feed", .in_s = 10, .every_s = 60, .has_rank = true, .rank = 4, .once = ONCE,
        .group = "g", .payload = "p", .memo = "m");
    begin(story, &set);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.every_us, 0);
    assert_int_equal(view.rank, 0);
    assert_false(view.once);
    assert_int_equal(view.group.count, 0);
    assert_int_equal(view.payload.count, 0);
    story_expect_text(view.memo, "m");
}

static void an_empty_group_is_none(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "feed", .in_s = 10);
    begin(story, &set);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .group = ""));
}

static void a_memo_of_a_line_is_for_new_keys_only(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "feed", .in_s = 10, .memo = "worker's");
    begin(story, &set);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .memo = "source's"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_text(story_view(story, "feed").memo, "worker's");
}

static void known_keys_keep_their_due_unless_the_set_takes_it(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "feed", .in_s = 10);
    begin(story, &set);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .in_s = 50));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 10);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .in_s = 50));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 50);
}

static void a_payload_set_by_a_report_lasts_until_a_set_that_names_another(void **state)
{
    struct story *story = *state;
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .payload = "source");
    struct story_task task = story_take_task(story, A, "feed");
    REPORT(story, A, &task, .in_s = 60, .payload = "worker");
    begin(story, &set);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "source"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_text(story_view(story, "feed").payload, "source");
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void absent_keys_are_pruned_when_asked(void **state)
{
    struct story *story = *state;
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "leased");
    struct story_task task = story_take_task(story, A, "leased");
    PUT(story, "waiting", .in_s = 10);
    PUT(story, "kept", .in_s = 10);
    PUT(story, "elsewhere", .queue = "other", .in_s = 10);
    begin(story, &set);
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

static void changes_to_a_leased_record_are_pending(void **state)
{
    struct story *story = *state;
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .payload = "old");
    struct story_task task = story_take_task(story, A, "feed");
    begin(story, &set);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_text(story_view(story, "feed").payload, "old");
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60, .memo = "m"));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
    story_expect_text(story_view(story, "feed").payload, "new");
    story_expect_text(story_view(story, "feed").memo, "m");
}

static void a_set_leaves_the_memo_of_a_put_that_is_pending(void **state)
{
    struct story *story = *state;
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .memo = "put", .payload = "put", .in_s = 30));
    begin(story, &set);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "set"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    story_expect_text(story_view(story, "feed").payload, "set");
    story_expect_text(story_view(story, "feed").memo, "put");
}

static void a_dry_run_counts_and_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "old", .in_s = 10);
    PUT(story, "gone", .in_s = 10);
    begin(story, &set);
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

static void new_keys_are_spread_over_the_window_by_their_hash(void **state)
{
    struct story *story = *state;
    struct story_set set;
    int64_t first_us[20];
    for (int round = 0; round < 2; round++) {
        begin(story, &set);
        SYNC_COMMIT(story, CLIENT, &set, .prune = true);
        EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .spread_s = 3600));
        char key[16];
        for (int i = 0; i < 20; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            SYNC_LINE(story, CLIENT, &set, key, .every_s = 60);
        }
        EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
        int early = 0;
        for (int i = 0; i < 20; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            int64_t in_us = story_view(story, key).due_us - story->now.wall_us;
            assert_in_range(in_us, 0, STORY_S(3600) - 1);
            early += in_us < STORY_S(1800);
            if (round)
                assert_int_equal(in_us, first_us[i]);
            first_us[i] = in_us;
        }
        assert_in_range(early, 3, 17);
    }
}

static void new_keys_without_a_window_are_spread_over_their_every_or_due_now(void **state)
{
    struct story *story = *state;
    struct story_set set;
    begin(story, &set);
    SYNC_LINE(story, CLIENT, &set, "every", .every_s = 100);
    SYNC_LINE(story, CLIENT, &set, "now");
    SYNC_LINE(story, CLIENT, &set, "named", .in_s = 7, .every_s = 100);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_in_range(story_view(story, "every").due_us, story_at_us(0), story_at_us(100));
    EXPECT_RECORD(story, "now", RECORD_READY, 0);
    EXPECT_RECORD(story, "named", RECORD_WAITING, 7);
    assert_int_equal(story_sync_counts(story, &set).due_now, 1);
}

static void a_parked_record_stays_parked_under_a_set(void **state)
{
    struct story *story = *state;
    struct story_set set;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    REPORT(story, A, &task, .outcome = OUTCOME_PARK);
    begin(story, &set);
    SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new");
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    story_expect_text(story_view(story, "feed").payload, "new");
}

/* --- meanwhile -------------------------------------------------------------------------------- */

static void keys_that_are_put_or_removed_meanwhile_keep_that(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "changed", .in_s = 10, .payload = "old");
    PUT(story, "removed", .in_s = 10);
    PUT(story, "reported", .once = ONCE);
    HELLO(story, A, .credit = 1);
    struct story_task task = story_take_task(story, A, "reported");
    begin(story, &set);
    EXPECT(STATUS_CREATED, PUT(story, "added", .in_s = 10, .payload = "put"));
    SYNC_LINE(story, CLIENT, &set, "changed", .payload = "set");
    SYNC_LINE(story, CLIENT, &set, "removed", .payload = "set");
    SYNC_LINE(story, CLIENT, &set, "reported", .payload = "set");
    SYNC_LINE(story, CLIENT, &set, "staged", .payload = "set");
    EXPECT(STATUS_CHANGED, PUT(story, "changed", .payload = "put"));
    EXPECT(STATUS_CREATED, PUT(story, "staged", .in_s = 10, .payload = "put"));
    EXPECT(STATUS_OK, story_remove(story, "removed"));
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_false(story_has(story, "removed"));
    assert_false(story_has(story, "reported"));
    story_expect_text(story_view(story, "changed").payload, "put");
    story_expect_text(story_view(story, "added").payload, "put");
    story_expect_text(story_view(story, "staged").payload, "put");
    assert_int_equal(story_sync_counts(story, &set).created, 0);
    assert_int_equal(story_sync_counts(story, &set).kept, 4);
    assert_int_equal(story_numbers(story, "q").records, 3);
}

static void a_queue_that_took_the_place_of_a_dropped_line_is_not_committed_with_it(void **state)
{
    struct story *story = *state;
    struct story_set mine, other;
    begin(story, &mine);
    HELLO(story, D, .queues = "", .heartbeat_ms = 600000);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, D, &other, .queue = "other"));
    SYNC_LINE(story, CLIENT, &mine, "a", .in_s = 10);
    PUT(story, "b", .in_s = 10); /* some other record's slot lies between */
    EXPECT(STATUS_CREATED, PUT(story, "a", .in_s = 20));
    SYNC_LINE(story, D, &other, "x", .in_s = 10);
    SYNC_LINE(story, D, &other, "y", .in_s = 10);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &mine));
    assert_int_equal(story_numbers(story, "other").records, 0);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, D, &other));
    assert_int_equal(story_numbers(story, "other").records, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_set_adds_changes_and_leaves_alone),
        STORY(what_a_line_does_not_name_is_the_default),
        STORY(an_empty_group_is_none),
        STORY(a_memo_of_a_line_is_for_new_keys_only),
        STORY(known_keys_keep_their_due_unless_the_set_takes_it),
        STORY(a_payload_set_by_a_report_lasts_until_a_set_that_names_another),
        STORY(absent_keys_are_pruned_when_asked),
        STORY(changes_to_a_leased_record_are_pending),
        STORY(a_set_leaves_the_memo_of_a_put_that_is_pending),
        STORY(a_dry_run_counts_and_changes_nothing),
        STORY(new_keys_are_spread_over_the_window_by_their_hash),
        STORY(new_keys_without_a_window_are_spread_over_their_every_or_due_now),
        STORY(a_parked_record_stays_parked_under_a_set),
        STORY(keys_that_are_put_or_removed_meanwhile_keep_that),
        STORY(a_queue_that_took_the_place_of_a_dropped_line_is_not_committed_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
