/* A store that says what sched_seal never writes: it is corrupt, or means something else that is
 * in order. Nothing of it reaches an assert, while it is loaded or later. */
#include <stdlib.h>
#include <string.h>

#include "scenes.h"

/* --- a store with something of each kind ------------------------------------------------------ */

static size_t count_rows(const struct story *story, enum store_table table)
{
    size_t count = 0;
    for (size_t i = 0; i < story->disk.row_count; i++)
        count += story->disk.rows[i].row.table == table;
    return count;
}

/* A commit whose marker is durable, with lines, prunes and a key that was put meanwhile. */
static void begin_commit(struct story *story)
{
    scene_put_numbered(story, "old", 4);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old1", .payload = "set", .every_s = 9));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new1", .memo = "m", .group = "g"));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new2", .in_s = 30, .once = ONCE));
    EXPECT(STATUS_CHANGED, PUT(story, "old2", .payload = "put"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    for (int i = 0; i < 100 && count_rows(story, STORE_SYNCS) < 4; i++) /* of the plan */
        story_work(story, 1);
    assert_true(sched_sync_exists(story->sched, set.generation));
}

static void write_something_of_each_kind(struct story *story)
{
    scene_make_one_of_each(story);
    EXPECT(STATUS_PENDING, PUT(story, "leased", .payload = "new", .every_s = 5, .has_rank = true,
                               .rank = -3, .group = "g", .once = ONCE, .memo = "m"));
    EXPECT(STATUS_PENDING, story_run_now(story, "leased"));
    EXPECT(STATUS_OK, story_pause(story, "other"));
    begin_commit(story);
}

/* --- what is read of it ----------------------------------------------------------------------- */

static enum status load_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    /* A copy, so that whoever reads behind its end is seen. */
    uint8_t *copy = row->count ? malloc(row->count) : NULL;
    if (copy)
        memcpy(copy, bytes, row->count);
    enum status status = sched_load_row(user, row, copy);
    free(copy);
    return status;
}

static enum status load_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    uint8_t *copy = malloc(count + 1);
    assert_non_null(copy);
    memcpy(copy + 1, body, count);
    enum status status = sched_load_record(user, state, copy + 1, count);
    free(copy);
    return status;
}

static void expect_order(const struct sched *sched)
{
    const char *what = "";
    if (!sched_check(sched, &what))
        fail_msg("sched_check: %s", what);
}

static void step(struct sched *sched, struct event event, struct effects *effects)
{
    assert_int_equal(sched_step(sched, &event, effects), STATUS_OK);
    expect_order(sched);
    effects->count = 0;
}

/* What was loaded goes on until the grace and all long work are over, and is written. */
static void go_on(const struct story *story, struct sched *sched)
{
    struct effects effects;
    struct store_batch *batch = store_batch_new();
    struct moment now = story->now;
    assert_non_null(batch);
    effects_init(&effects);
    step(sched, (struct event){.kind = EVENT_RESERVED, .now = now, .number = UINT64_C(1) << 52},
         &effects);
    now.mono_us += STORY_S(60);
    now.wall_us += STORY_S(60);
    step(sched, (struct event){.kind = EVENT_TIME, .now = now}, &effects);
    for (int i = 0; i < 100 && sched_has_work(sched); i++)
        step(sched, (struct event){.kind = EVENT_WORK, .now = now, .budget = 50}, &effects);
    assert_int_equal(sched_seal(sched, batch), STATUS_OK);
    step(sched, (struct event){.kind = EVENT_DURABLE, .now = now}, &effects);
    step(sched, (struct event){.kind = EVENT_GRANT, .now = now}, &effects);
    effects_release(&effects);
    store_batch_destroy(&batch);
}

static enum status load(const struct story *story)
{
    struct sched *sched = sched_new(&story->settings);
    struct store_visitor visitor = {load_row, load_record, sched};
    assert_non_null(sched);
    enum status status = disk_load(&story->disk, &visitor);
    if (!status)
        status = sched_load_end(sched, story->now);
    assert_true(status == STATUS_OK || status == STATUS_CORRUPT);
    if (status == STATUS_OK) {
        expect_order(sched);
        go_on(story, sched);
    }
    sched_destroy(&sched);
    return status;
}

/* --- damage ----------------------------------------------------------------------------------- */

static void a_store_that_is_whole_is_loaded(void **state)
{
    struct story *story = *state;
    write_something_of_each_kind(story);
    assert_int_equal(load(story), STATUS_OK);
}

static void rows_that_are_too_short_are_corrupt_or_in_order(void **state)
{
    struct story *story = *state;
    uint32_t corrupt = 0;
    write_something_of_each_kind(story);
    for (size_t i = 0; i < story->disk.row_count; i++) {
        struct store_row *row = &story->disk.rows[i].row;
        uint32_t whole = row->count;
        for (row->count = 0; row->count < whole; row->count++)
            corrupt += load(story) == STATUS_CORRUPT;
        assert_int_equal(row->count, whole);
    }
    assert_true(corrupt > 300);
}

static void rows_with_another_byte_are_corrupt_or_in_order(void **state)
{
    struct story *story = *state;
    static const uint8_t flips[] = {0x01, 0x10, 0x80, 0xff};
    uint32_t corrupt = 0;
    write_something_of_each_kind(story);
    for (size_t i = 0; i < story->disk.row_count; i++)
        for (uint32_t at = 0; at < story->disk.rows[i].row.count; at++)
            for (size_t k = 0; k < sizeof(flips); k++) {
                story->disk.rows[i].bytes[at] ^= flips[k];
                corrupt += load(story) == STATUS_CORRUPT;
                story->disk.rows[i].bytes[at] ^= flips[k];
            }
    assert_true(corrupt > 300);
}

static void rows_under_another_key_are_corrupt_or_in_order(void **state)
{
    struct story *story = *state;
    static const uint64_t flips[] = {1, 2, 64, UINT64_C(1) << 32, UINT64_C(3) << 32, UINT64_MAX};
    write_something_of_each_kind(story);
    for (size_t i = 0; i < story->disk.row_count; i++)
        for (size_t k = 0; k < sizeof(flips) / sizeof(flips[0]); k++) {
            struct store_row *row = &story->disk.rows[i].row;
            if (row->table == STORE_RECORDS)
                continue; /* found by it: the store itself would say that one is missing */
            row->a ^= flips[k];
            load(story);
            row->a ^= flips[k];
            row->b ^= flips[k];
            load(story);
            row->b ^= flips[k];
        }
}

static void states_out_of_range_are_corrupt(void **state)
{
    struct story *story = *state;
    write_something_of_each_kind(story);
    for (size_t i = 0; i < story->disk.state_count; i++) {
        struct store_state *of = &story->disk.states[i];
        const struct store_state whole = *of;
        const struct store_state damaged[] = {
            {whole.number, UINT64_MAX, whole.due_us, 0, 0, whole.flags, {0}},
            {whole.number, whole.state, -1, 0, 0, whole.flags, {0}},
            {whole.number, whole.state, TIME_US_END, 0, 0, whole.flags, {0}},
            {whole.number, whole.state, whole.due_us, 0, 0, 0, {0}},
        };
        for (size_t k = 0; k < sizeof(damaged) / sizeof(damaged[0]); k++) {
            *of = damaged[k];
            assert_int_equal(load(story), STATUS_CORRUPT);
        }
        *of = whole;
    }
}

/* Its counts are more than the core can count to: it counts no further. */
static void counts_that_are_too_large_are_cut(void **state)
{
    struct story *story = *state;
    write_something_of_each_kind(story);
    story->disk.states[0].failures = story->disk.states[0].crashes = UINT16_MAX;
    assert_int_equal(load(story), STATUS_OK);
}

static void a_row_without_bytes_of_a_record_is_corrupt(void **state)
{
    struct story *story = *state;
    struct store_row row = {.table = STORE_RECORDS, .a = 1};
    struct sched *sched = sched_new(&story->settings);
    assert_non_null(sched);
    assert_int_equal(sched_load_row(sched, &row, NULL), STATUS_CORRUPT);
    sched_destroy(&sched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY_WITH_MEMORY(a_store_that_is_whole_is_loaded),
        STORY_WITH_MEMORY(rows_that_are_too_short_are_corrupt_or_in_order),
        STORY_WITH_MEMORY(rows_with_another_byte_are_corrupt_or_in_order),
        STORY_WITH_MEMORY(rows_under_another_key_are_corrupt_or_in_order),
        STORY_WITH_MEMORY(states_out_of_range_are_corrupt),
        STORY_WITH_MEMORY(counts_that_are_too_large_are_cut),
        STORY_WITH_MEMORY(a_row_without_bytes_of_a_record_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
