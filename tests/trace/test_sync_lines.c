/* Full sets: what their lines make of records, known and new. */
#include "scenes.h"

#include <stdio.h>

/* --- known keys ------------------------------------------------------------------------------- */

static void a_set_adds_changes_and_leaves_alone(void **state)
{
    struct story *story = *state;
    PUT(story, "same", .in_s = 10, .payload = "p", .every_s = 60);
    PUT(story, "other", .in_s = 20, .payload = "old", .memo = "m");
    PUT(story, "absent", .in_s = 30);
    struct story_set set = scene_begin_set(story);
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

static void nothing_is_seen_of_a_set_before_its_commit(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 5);
    PUT(story, "known", .in_s = 9, .payload = "old");
    struct story_set set = scene_begin_set(story);
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
    struct story_set set = scene_begin_set(story);
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

static void what_a_line_does_not_name_is_the_default(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .in_s = 10, .every_s = 60, .has_rank = true, .rank = 4, .once = ONCE,
        .group = "g", .payload = "p", .memo = "m");
    struct story_set set = scene_begin_set(story);
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

static void an_absent_field_is_the_default(void **state)
{
    struct story *story = *state;
    PUT(story, "k", .in_s = 5);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "k", .no_every = true, .group = "",
                                       .has_rank = true, .once = NOT_ONCE));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
}

static void an_empty_group_is_none(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .in_s = 10);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .group = ""));
}

static void known_keys_keep_due_memo_and_counts(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    EXPECT(STATUS_OK,
           REPORT(story, B, &task, .outcome = OUTCOME_RETRY, .in_s = 40, .memo = "cursor"));
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED,
           SYNC_LINE(story, CLIENT, &set, "k", .payload = "p", .due_s = 3, .memo = "line's"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 40);
    story_expect_text(story_view(story, "k").memo, "cursor");
    story_expect_text(story_view(story, "k").payload, "p");
    assert_int_equal(story_view(story, "k").failures, 1);
}

static void known_keys_keep_their_due_unless_the_set_takes_it(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .in_s = 10);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .in_s = 50));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 10);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .in_s = 50));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 50);
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

static void a_memo_of_a_line_is_for_new_keys_only(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .in_s = 10, .memo = "worker's");
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .memo = "source's"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_text(story_view(story, "feed").memo, "worker's");
}

static void a_payload_set_by_a_report_lasts_until_a_set_that_names_another(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .payload = "source");
    struct story_task task = story_take_task(story, A, "feed");
    REPORT(story, A, &task, .in_s = 60, .payload = "worker");
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "source"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_text(story_view(story, "feed").payload, "source");
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void a_parked_record_stays_parked(void **state)
{
    struct story *story = *state;
    HELLO(story, B, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, B, "k");
    EXPECT(STATUS_OK, REPORT(story, B, &task, .outcome = OUTCOME_PARK, .error = "broken"));
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "p"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    story_expect_text(story_view(story, "k").park_reason, "broken");
    story_expect_text(story_view(story, "k").payload, "p");
}

static void a_parked_record_stays_parked_under_a_set(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    REPORT(story, A, &task, .outcome = OUTCOME_PARK);
    struct story_set set = scene_begin_set(story);
    SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new");
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    story_expect_text(story_view(story, "feed").payload, "new");
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
    struct story_set set = scene_begin_set(story);
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

static void new_keys_are_spread_over_the_window_by_their_hash(void **state)
{
    struct story *story = *state;
    int64_t first_us[20];
    for (int round = 0; round < 2; round++) {
        struct story_set set = scene_begin_set(story);
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

static void new_keys_without_a_window_are_spread_over_their_every_or_due_now(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    SYNC_LINE(story, CLIENT, &set, "every", .every_s = 100);
    SYNC_LINE(story, CLIENT, &set, "now");
    SYNC_LINE(story, CLIENT, &set, "named", .in_s = 7, .every_s = 100);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_in_range(story_view(story, "every").due_us, story_at_us(0), story_at_us(100));
    EXPECT_RECORD(story, "now", RECORD_READY, 0);
    EXPECT_RECORD(story, "named", RECORD_WAITING, 7);
    assert_int_equal(story_sync_counts(story, &set).due_now, 1);
}

/* 126 years from now are beyond the last time that there is, for most keys. */
static void a_spread_beyond_the_end_of_time_ends_there(void **state)
{
    enum { KEYS = 20 };
    struct story *story = *state;
    HELLO(story, A, .credit = 2 * KEYS);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .spread_s = 4e9));
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, key));
    }
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    story_expect_no_task(story, A);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_true(story_view(story, key).due_us > story->now.wall_us);
        assert_true(story_view(story, key).due_us < TIME_US_END);
    }
}

/* No turn after a line: what there is to check grows with each. */
static void add_line(struct story *story, struct story_set *set, int number, const char *payload)
{
    char key[16];
    snprintf(key, sizeof(key), "k%d", number);
    struct put put = {.key = bytes_of(key),
                      .payload = bytes_of(payload),
                      .due_us = TIME_US_NEVER,
                      .in_us = STORY_S(500),
                      .every_us = TIME_US_NEVER};
    struct event event = {.kind = EVENT_SYNC_ITEM,
                          .session = story->peers[CLIENT].session,
                          .sync_item = {set->generation, &put}};
    EXPECT(STATUS_CREATED, story_step(story, &event));
    set->count++;
}

static void a_large_set_waits_for_the_next_seal_and_goes_on(void **state)
{
    enum { LINES = 5000, SLICE = 512 };
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    for (int i = 0; i < LINES; i++)
        add_line(story, &set, i, NULL);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    assert_false(sched_waits_for_seal(story->sched));
    for (int i = 0; i < LINES / SLICE && sched_has_work(story->sched); i++)
        story_step(story, &(struct event){.kind = EVENT_WORK, .budget = SLICE});
    assert_true(sched_waits_for_seal(story->sched));
    assert_false(sched_has_work(story->sched));
    assert_in_range(story_numbers(story, "q").records, 1, LINES - 1);
    story_work(story, 0); /* to disk */
    assert_false(sched_waits_for_seal(story->sched));
    for (int i = 0; i < LINES / SLICE; i++)
        story_work(story, SLICE);
    assert_int_equal(story_numbers(story, "q").records, LINES);
}

static size_t removed_rows(const struct story *story)
{
    size_t count = 0;
    for (size_t i = 0; i < story->batch->row_count; i++)
        count += story->batch->rows[i].remove;
    return count;
}

/* What is sealed at once is copied in one turn: 200,000 rows of a set of 10 million took 13 ms. */
static void what_a_large_set_spooled_is_removed_in_parts(void **state)
{
    enum { LINES = 10000, SLICE = 512, ROWS = LINES / 2, ROWS_MOST = 4096 };
    static char payload[3000]; /* two are a row */
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    memset(payload, 'p', sizeof(payload) - 1);
    for (int i = 0; i < LINES; i++)
        add_line(story, &set, i, payload);
    story_work(story, 0);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    size_t removed = 0;
    while (sched_has_work(story->sched)) {
        while (sched_has_work(story->sched))
            story_step(story, &(struct event){.kind = EVENT_WORK, .budget = SLICE});
        story_work(story, 0); /* to disk */
        assert_in_range(removed_rows(story), 0, ROWS_MOST);
        removed += removed_rows(story);
    }
    assert_in_range(removed, ROWS, ROWS + 10);
    assert_int_equal(story_numbers(story, "q").records, LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_set_adds_changes_and_leaves_alone),
        STORY(nothing_is_seen_of_a_set_before_its_commit),
        STORY(payload_every_rank_group_and_once_are_compared),
        STORY(what_a_line_does_not_name_is_the_default),
        STORY(an_absent_field_is_the_default),
        STORY(an_empty_group_is_none),
        STORY(known_keys_keep_due_memo_and_counts),
        STORY(known_keys_keep_their_due_unless_the_set_takes_it),
        STORY(with_due_take_known_keys_take_the_due_of_their_line),
        STORY(a_memo_of_a_line_is_for_new_keys_only),
        STORY(a_payload_set_by_a_report_lasts_until_a_set_that_names_another),
        STORY(a_parked_record_stays_parked),
        STORY(a_parked_record_stays_parked_under_a_set),
        STORY(a_new_key_takes_due_and_memo_of_its_line),
        STORY(new_keys_without_due_every_and_spread_are_due_now_and_counted),
        STORY(new_keys_are_spread_over_the_window_the_same_way_each_time),
        STORY(new_keys_are_spread_over_the_window_by_their_hash),
        STORY(new_keys_are_spread_over_their_every_when_no_window_is_given),
        STORY(new_keys_without_a_window_are_spread_over_their_every_or_due_now),
        STORY(a_spread_beyond_the_end_of_time_ends_there),
        STORY_WITH_MEMORY(a_large_set_waits_for_the_next_seal_and_goes_on),
        STORY_WITH_MEMORY(what_a_large_set_spooled_is_removed_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
