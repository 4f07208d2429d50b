/* test_store_ahead.c - a batch with more states than one transaction takes is there as a whole, or
 * not at all. */
#include "store.h"

#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <lmdb.h>

#include "test_store_help.h"

enum {
    RECORDS = 2000,
    MANY_STATES = 200000,
    PART_STATES = 126,
    MAP_BYTES_SMALL = 1 << 20,
    MAP_BYTES_LARGE = 64 << 20,
    TEXT_BYTES = 4096,
};

static const char *const directory = help_own_directory;

/* --- batches --------------------------------------------------------------------------------- */

static void add_state(struct store_batch *batch, uint64_t number, uint64_t value)
{
    struct store_state changed = {.number = number, .state = value, .flags = STATE_PRESENT};
    assert_true(store_batch_add_state(batch, &changed));
}

/* Records 1 to RECORDS in the state 1. */
static void make_records(struct store *store, struct store_fence *fence)
{
    struct store_batch *batch = store_batch_new();
    for (uint64_t number = 1; number <= RECORDS; number++) {
        struct store_row row = {.table = STORE_RECORDS, .a = number, .count = 4};
        assert_true(store_batch_add_row(batch, &row, "body"));
        add_state(batch, number, 1);
    }
    assert_int_equal(help_commit(store, fence, batch), STATUS_OK);
    store_batch_destroy(&batch);
}

/* So many states of all records in turn, the last of which have this number. */
static void add_states(struct store_batch *batch, uint64_t count, uint64_t value)
{
    for (uint64_t i = 0; i < count; i++)
        add_state(batch, 1 + i % RECORDS, i + RECORDS < count ? 1 : value);
}

struct states {
    uint64_t records;
    uint64_t value; /* of all; 0: they differ */
};

static enum status see_state(const struct store_state *state, const uint8_t *body, uint32_t count,
                             void *user)
{
    struct states *seen = user;
    (void)body;
    assert_int_equal(count, 4);
    seen->value = !seen->records || seen->value == state->state ? state->state : 0;
    seen->records++;
    return STATUS_OK;
}

static enum status see_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    (void)user;
    return STATUS_OK;
}

static void expect_states(const struct states *seen, uint64_t value)
{
    assert_int_equal(seen->records, RECORDS);
    assert_int_equal(seen->value, value);
}

static void expect_loaded(struct store *store, uint64_t value)
{
    struct states seen = {0};
    struct store_visitor visitor = {see_row, see_state, &seen};
    assert_int_equal(store_load(store, &visitor), STATUS_OK);
    expect_states(&seen, value);
}

/* --- a stopped store ------------------------------------------------------------------------- */

static void keep_line(const char *line, void *user)
{
    char *text = user;
    size_t used = strlen(text);
    snprintf(text + used, TEXT_BYTES - used, "%s\n", line);
}

static uint64_t transactions(void)
{
    MDB_env *env = NULL;
    MDB_envinfo info;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, directory, MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_env_info(env, &info), 0);
    mdb_env_close(env);
    return info.me_last_txnid;
}

/* The store is closed for it, and opened again. */
static uint64_t transactions_of(struct store **store, const struct store_options *options)
{
    store_destroy(store);
    uint64_t count = transactions();
    *store = help_open(options);
    return count;
}

static void count_loss(const char *what, void *user)
{
    print_message("lost: %s\n", what);
    ++*(uint64_t *)user;
}

static void leave_out(const char *what, void *user)
{
    (void)what;
    (void)user;
}

static void expect_salvaged(uint64_t value)
{
    char why[STORE_WHY_BYTES] = "";
    struct states seen = {0};
    uint64_t losses = 0;
    struct store_salvage salvage = {
        .visitor = {see_row, see_state, &seen},
        .lost = count_loss,
        .note = leave_out,
        .user = &losses,
    };
    assert_int_equal(store_salvage_lmdb(directory, &salvage, why), STATUS_OK);
    assert_int_equal(losses, 0);
    expect_states(&seen, value);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void a_large_batch_is_written_in_several_transactions_and_read_as_one(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    options.parts_at_once = 0; /* as the broker has it */
    options.sync = STORE_SYNC_NEVER;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    make_records(store, &fence);
    uint64_t before = transactions_of(&store, &options);
    fence = store->fence;
    struct store_batch *batch = store_batch_new();
    add_states(batch, MANY_STATES, 7);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    assert_int_equal(fence.sequence, store->fence.sequence + 1);
    store_batch_destroy(&batch);
    uint64_t count = transactions_of(&store, &options) - before - 1; /* that of the open */
    assert_int_equal(count, (MANY_STATES / PART_STATES + 1) / 128 + 1);
    assert_int_equal(store->fence.sequence, fence.sequence);
    expect_loaded(store, 7);
    store_destroy(&store);
}

/* The map is too small for the batch: what goes ahead of it fits in part. */
static void leave_a_batch_half_written(uint64_t value)
{
    struct store_options options = help_options(directory);
    struct store_health health;
    options.sync = STORE_SYNC_NEVER;
    options.map_bytes = MAP_BYTES_SMALL;
    options.journal_bytes_max = MAP_BYTES_LARGE; /* no checkpoint makes room */
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    make_records(store, &fence);
    add_states(batch, MANY_STATES, value);
    batch->fence = fence;
    batch->fence.sequence++;
    assert_int_equal(store_submit(store, batch), STATUS_OK);
    do {
        store_get_health(store, &health);
        poll(NULL, 0, 1);
    } while (!health.full);
    store_destroy(&store);
}

static void what_went_ahead_of_a_batch_that_never_came_counts_for_nothing(void **state)
{
    (void)state;
    char text[TEXT_BYTES] = "";
    leave_a_batch_half_written(7);
    assert_in_range(transactions(), 100, 1000); /* much of it is there */
    assert_int_equal(store_check_lmdb(directory, keep_line, text), STATUS_OK);
    assert_non_null(strstr(text, "all is well"));
    char why[STORE_WHY_BYTES] = "";
    struct states seen = {0};
    struct store_visitor visitor = {see_row, see_state, &seen};
    assert_int_equal(store_visit_lmdb(directory, &visitor, why), STATUS_OK);
    expect_states(&seen, 1);
    expect_salvaged(1);
}

static void a_store_with_half_a_batch_goes_on_with_another_in_its_place(void **state)
{
    (void)state;
    char text[TEXT_BYTES] = "", expected[TEXT_BYTES];
    leave_a_batch_half_written(7);
    struct store_options options = help_options(directory);
    options.map_bytes = MAP_BYTES_LARGE;
    struct store *store = help_open(&options);
    expect_loaded(store, 1);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    add_states(batch, RECORDS, 9);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_batch_destroy(&batch);
    store_destroy(&store);
    assert_int_equal(store_check_lmdb(directory, keep_line, text), STATUS_OK);
    snprintf(expected, sizeof(expected), "journal: %d parts, %d not folded, of %d records",
             2 * (RECORDS / PART_STATES + 1), 2 * (RECORDS / PART_STATES + 1), RECORDS);
    if (!strstr(text, expected))
        fail_msg("%s", text);
    expect_salvaged(9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, help_make_own, help_remove_own)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_large_batch_is_written_in_several_transactions_and_read_as_one),
        TEST(what_went_ahead_of_a_batch_that_never_came_counts_for_nothing),
        TEST(a_store_with_half_a_batch_goes_on_with_another_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
