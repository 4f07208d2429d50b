/* test_store_memory.c - each allocation of the store fails once, and from there on. LMDB's own are
 * its own: it answers ENOMEM, which is handled where any error of it is.
 */
#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"
#include "test_store_help.h"

enum { BATCHES = 40, ALLOCATIONS_MAX = 1000 };

/* A record each, so small a journal that it is folded again and again. Returns how many were
 * acknowledged. */
static uint64_t commit_some(struct store *store, uint64_t first)
{
    struct store_fence fence = store->fence;
    memory_leave(); /* the batch is its caller's */
    struct store_batch *batch = store_batch_new();
    uint64_t acknowledged = 0;
    assert_non_null(batch);
    for (uint64_t number = first; number < first + BATCHES; number++) {
        struct store_row row = {.table = STORE_RECORDS, .a = number, .count = 4};
        struct store_state known = {.number = number, .flags = STATE_PRESENT};
        assert_true(store_batch_add_row(batch, &row, "body"));
        assert_true(store_batch_add_state(batch, &known));
        memory_enter();
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        memory_leave();
        acknowledged++;
    }
    memory_enter();
    store_batch_destroy(&batch);
    return acknowledged;
}

/* A life of the store in which memory may be out. Returns how many records were acknowledged. */
static uint64_t live_short(const struct store_options *options, uint64_t first)
{
    char why[STORE_WHY_BYTES];
    struct store *store = NULL;
    uint64_t records, acknowledged = 0;
    enum status status = store_open_lmdb(&store, options, why, sizeof(why));
    if (status) {
        assert_int_equal(status, STATUS_NO_MEMORY);
        assert_null(store);
        return 0;
    }
    status = help_count_records(store, &records);
    if (status)
        assert_int_equal(status, STATUS_NO_MEMORY);
    else
        acknowledged = commit_some(store, first);
    store_destroy(&store);
    return acknowledged;
}

static void each_allocation_of_the_store_fails_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    char directory[HELP_PATH_BYTES];
    uint64_t failed = 0;
    for (int lasting = 0; lasting < 2; lasting++) {
        uint64_t records, acknowledged = 0, first = 1;
        help_directory(directory);
        struct store_options options = help_options(directory);
        options.journal_bytes_max = 4096;
        for (uint64_t at = 1; at < ALLOCATIONS_MAX; at++) {
            memory_plan(at, lasting);
            memory_enter();
            uint64_t done = live_short(&options, first);
            memory_leave();
            bool was_reached = memory_failures() > 0;
            memory_come_back();
            first += done;
            acknowledged += done;
            struct store *store = help_open(&options);
            assert_int_equal(help_count_records(store, &records), STATUS_OK);
            assert_int_equal(records, acknowledged);
            store_destroy(&store);
            if (!was_reached)
                break;
            failed++;
        }
        help_remove(directory);
    }
    assert_true(failed > 8);
}

/* --- salvage --------------------------------------------------------------------------------- */

struct counts {
    uint64_t records;
    uint64_t losses;
};

static enum status pass_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    (void)user;
    return STATUS_OK;
}

static enum status count_one(const struct store_state *state, const uint8_t *body, uint32_t count,
                             void *user)
{
    (void)state;
    (void)body;
    (void)count;
    ((struct counts *)user)->records++;
    return STATUS_OK;
}

static void count_loss(const char *what, void *user)
{
    (void)what;
    ((struct counts *)user)->losses++;
}

static void a_salvage_without_memory_says_so_and_takes_nothing_for_damage(void **state)
{
    (void)state;
    char directory[HELP_PATH_BYTES];
    uint64_t records = 0, failed = 0;
    help_directory(directory);
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    memory_plan(UINT64_MAX, false);
    memory_enter();
    uint64_t acknowledged = commit_some(store, 1);
    memory_leave();
    store_destroy(&store);
    for (uint64_t at = 1; at < ALLOCATIONS_MAX; at++) {
        char why[STORE_WHY_BYTES];
        struct counts counts = {0, 0};
        const struct store_salvage asked = {
            {pass_row, count_one, &counts}, count_loss, count_loss, &counts};
        memory_plan(at, false);
        memory_enter();
        enum status status = store_salvage_lmdb(directory, &asked, why);
        memory_leave();
        bool was_reached = memory_failures() > 0;
        memory_come_back();
        assert_int_equal(counts.losses, 0);
        if (!was_reached) {
            assert_int_equal(status, STATUS_OK);
            records = counts.records;
            break;
        }
        assert_int_equal(status, STATUS_NO_MEMORY);
        failed++;
    }
    assert_int_equal(records, acknowledged);
    assert_true(records > 0 && failed > 4);
    help_remove(directory);
}

/* --- the store that keeps nothing ------------------------------------------------------------ */

static void a_store_in_memory_gives_back_its_batches_in_order_or_ends_with_them(void **state)
{
    (void)state;
    struct store *store = NULL;
    memory_plan(1, true);
    memory_enter();
    assert_int_equal(store_open_memory(&store), STATUS_NO_MEMORY);
    memory_leave();
    memory_come_back();
    assert_int_equal(store_open_memory(&store), STATUS_OK);
    assert_null(store_take_done(store));
    struct store_fence fence = store->fence;
    struct store_batch *batches[4];
    for (int i = 0; i < 4; i++) {
        batches[i] = store_batch_new();
        fence.sequence++;
        batches[i]->fence = fence;
        assert_int_equal(store_submit(store, batches[i]), STATUS_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(store_take_done(store), batches[i]);
        store_batch_destroy(&batches[i]);
    }
    store_destroy(&store); /* and the two that nobody took */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_the_store_fails_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_salvage_without_memory_says_so_and_takes_nothing_for_damage),
        cmocka_unit_test(a_store_in_memory_gives_back_its_batches_in_order_or_ends_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
