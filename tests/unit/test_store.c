#include "store.h"

#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_store_help.h"

static const char *const directory = help_own_directory;

/* --- visits as text -------------------------------------------------------------------------- */

struct text {
    char line[4096];
    size_t count;
};

static enum status text_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    static const char *const names[] = {
        [STORE_META] = "meta",  [STORE_QUEUES] = "queue",    [STORE_SESSIONS] = "session",
        [STORE_SYNCS] = "sync", [STORE_PENDING] = "pending", [STORE_RECORDS] = "record",
    };
    struct text *text = user;
    text->count += (size_t)snprintf(text->line + text->count, sizeof(text->line) - text->count,
                                    "%s %" PRIu64 ",%" PRIu64 "=%.*s; ", names[row->table], row->a,
                                    row->b, (int)row->count, (const char *)bytes);
    return STATUS_OK;
}

static enum status text_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    struct text *text = user;
    text->count += (size_t)snprintf(text->line + text->count, sizeof(text->line) - text->count,
                                    "record %" PRIu64 " state %" PRIu64 " due %" PRId64
                                    " %u/%u flags %u=%.*s; ",
                                    state->number, state->state, state->due_us, state->failures,
                                    state->crashes, state->flags, (int)count, (const char *)body);
    return STATUS_OK;
}

static void assert_content(struct store *store, const char *expected)
{
    struct text text = {.count = 0};
    struct store_visitor visitor = {text_row, text_record, &text};
    assert_int_equal(store_load(store, &visitor), STATUS_OK);
    assert_string_equal(text.line, expected);
}

static void add_row(struct store_batch *batch, enum store_table table, uint64_t a, uint64_t b,
                    const char *text)
{
    struct store_row row = {.table = table, .a = a, .b = b, .count = (uint32_t)strlen(text)};
    assert_true(store_batch_add_row(batch, &row, text));
}

static void add_state(struct store_batch *batch, uint64_t number, uint64_t state)
{
    struct store_state added = {.number = number, .state = state, .flags = STATE_PRESENT};
    assert_true(store_batch_add_state(batch, &added));
}

static void remove_row(struct store_batch *batch, enum store_table table, uint64_t a)
{
    struct store_row row = {.table = table, .a = a, .remove = true};
    assert_true(store_batch_add_row(batch, &row, NULL));
}

/* --- what is stored -------------------------------------------------------------------------- */

static void rows_of_all_tables_come_back_in_the_order_of_a_load(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    struct store_state parked = {2, 900, -5, 3, 4, STATE_PRESENT | STATE_PARKED, {0}};
    assert_content(store, "");
    add_row(batch, STORE_SYNCS, 7, 1, "chunk");
    add_row(batch, STORE_PENDING, 2, 0, "change");
    add_row(batch, STORE_RECORDS, 2, 0, "two");
    add_row(batch, STORE_RECORDS, 1, 0, "");
    add_state(batch, 1, 800);
    assert_true(store_batch_add_state(batch, &parked));
    add_row(batch, STORE_SESSIONS, UINT64_MAX, 256, "s2");
    add_row(batch, STORE_SESSIONS, UINT64_MAX, 255, "s1");
    add_row(batch, STORE_QUEUES, 1, 0, "default");
    add_row(batch, STORE_META, 3, 0, "totals");
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_destroy(&store);
    store = help_open(&options);
    assert_content(store, "meta 3,0=totals; queue 1,0=default; "
                          "session 18446744073709551615,255=s1; "
                          "session 18446744073709551615,256=s2; "
                          "record 1 state 800 due 0 0/0 flags 1=; "
                          "record 2 state 900 due -5 3/4 flags 3=two; "
                          "pending 2,0=change; sync 7,1=chunk; ");
    store_destroy(&store);
    store_batch_destroy(&batch);
}

static void the_last_state_wins_wherever_the_older_ones_are(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = NULL;
    struct store_batch *batch = store_batch_new();
    uint64_t journal_bytes_max[] = {0, 1, 0, 1, 1};
    for (uint64_t i = 0; i < sizeof(journal_bytes_max) / sizeof(journal_bytes_max[0]); i++) {
        char expected[128];
        options.journal_bytes_max = journal_bytes_max[i];
        store = help_open(&options);
        struct store_fence fence = store->fence;
        if (i == 0)
            add_row(batch, STORE_RECORDS, 5, 0, "five");
        add_state(batch, 5, 100 + i);
        add_state(batch, 5, 200 + i);
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        add_state(batch, 5, 300 + i);
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        store_destroy(&store);
        store = help_open(&options);
        snprintf(expected, sizeof(expected), "record 5 state %" PRIu64 " due 0 0/0 flags 1=five; ",
                 300 + i);
        assert_content(store, expected);
        store_destroy(&store);
    }
    store_batch_destroy(&batch);
}

static void a_removed_row_is_gone_and_may_be_removed_again(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    add_row(batch, STORE_QUEUES, 1, 0, "a");
    add_row(batch, STORE_QUEUES, 2, 0, "b");
    remove_row(batch, STORE_QUEUES, 1);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    remove_row(batch, STORE_QUEUES, 1);
    remove_row(batch, STORE_META, 9);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    assert_content(store, "queue 2,0=b; ");
    store_destroy(&store);
    store_batch_destroy(&batch);
}

static void random_batches_equal_a_model_after_each_reopen(void **state)
{
    (void)state;
    const char *text = getenv("EVERDUE_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20;
    struct store_options options = help_options(directory);
    struct model *model = model_new(seed);
    struct store_batch *batch = store_batch_new();
    char difference[STORE_WHY_BYTES + 64];
    uint64_t random = seed;
    uint64_t checkpoints = 0;
    print_message("seed %" PRIu64 "\n", seed);
    for (int round = 0; round < 25; round++) {
        struct store_health health;
        options.journal_bytes_max = help_below(&random, 3) ? 1 : 20000;
        options.sync = help_below(&random, 2) ? STORE_SYNC_NEVER : STORE_SYNC_ALWAYS;
        struct store *store = help_open(&options);
        struct store_fence fence = store->fence;
        assert_int_equal(fence.sequence, model->sequence);
        if (!model_equals(model, store, difference, sizeof(difference)))
            fail_msg("seed %" PRIu64 ", sequence %" PRIu64 ": %s", seed, model->sequence,
                     difference);
        for (uint64_t left = help_below(&random, 40); left > 0; left--) {
            model_step(model, batch);
            assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        }
        store_get_health(store, &health);
        checkpoints += health.checkpoints_total;
        store_destroy(&store);
    }
    assert_true(checkpoints > 10);
    store_batch_destroy(&batch);
    free(model);
}

static void a_checkpoint_empties_the_journal_and_removed_pages(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    options.journal_bytes_max = 1;
    options.sync = STORE_SYNC_NEVER;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    struct store_health health;
    for (uint64_t number = 1; number <= 1000; number++) {
        add_row(batch, STORE_RECORDS, number, 0, "x");
        add_state(batch, number, number);
    }
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    for (uint64_t number = 1; number <= 1000; number++) {
        struct store_state gone = {.number = number};
        remove_row(batch, STORE_RECORDS, number);
        assert_true(store_batch_add_state(batch, &gone));
    }
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    /* Each further commit gives the passes under way a turn; they end on their own. */
    do {
        add_row(batch, STORE_META, 1, 0, "m");
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        store_get_health(store, &health);
    } while (health.journal_bytes > 0);
    assert_content(store, "meta 1,0=m; ");
    store_destroy(&store);
    store_batch_destroy(&batch);
}

/* --- order, fences, locks -------------------------------------------------------------------- */

static void batches_come_back_in_the_order_submitted(void **state)
{
    (void)state;
    enum { BATCHES = 300 };
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    static struct store_batch *batches[BATCHES];
    for (uint64_t i = 0; i < BATCHES; i++) {
        batches[i] = store_batch_new();
        if (i == 0)
            add_row(batches[i], STORE_RECORDS, 1, 0, "r");
        add_state(batches[i], 1, i);
        fence.sequence++;
        batches[i]->fence = fence;
        batches[i]->user = &batches[i];
        assert_int_equal(store_submit(store, batches[i]), STATUS_OK);
    }
    for (int i = 0; i < BATCHES; i++) {
        assert_ptr_equal(help_wait(store), batches[i]);
        assert_int_equal(batches[i]->status, STATUS_OK);
        assert_ptr_equal(batches[i]->user, &batches[i]);
        store_batch_destroy(&batches[i]);
    }
    struct pollfd wait = {.fd = store_fd(store), .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 0), 0);
    assert_content(store, "record 1 state 299 due 0 0/0 flags 1=r; ");
    store_destroy(&store);
}

static void what_was_submitted_before_the_end_is_durable(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    for (uint64_t i = 1; i <= 20; i++) {
        struct store_batch *batch = store_batch_new();
        add_row(batch, STORE_QUEUES, i == 20 ? 2 : 1, 0, "q");
        fence.sequence++;
        batch->fence = fence;
        assert_int_equal(store_submit(store, batch), STATUS_OK);
    }
    store_destroy(&store); /* frees the batches that nobody took */
    store = help_open(&options);
    assert_content(store, "queue 1,0=q; queue 2,0=q; ");
    store_destroy(&store);
}

static void check_fences(struct store *store)
{
    struct store_fence right = store->fence;
    struct store_fence wrong[4] = {right, right, right, right};
    struct store_batch *batch = store_batch_new();
    wrong[0].owner[3] ^= 1;
    wrong[1].epoch--;
    wrong[2].sequence++;
    wrong[3].sequence--;
    for (size_t i = 0; i < 4; i++) {
        add_row(batch, STORE_QUEUES, 1, 0, "wrong");
        assert_int_equal(help_commit(store, &wrong[i], batch), STATUS_LOCKED);
    }
    assert_content(store, "");
    assert_int_equal(help_commit(store, &right, batch), STATUS_OK);
    store_batch_destroy(&batch);
}

static void a_batch_with_a_wrong_fence_is_locked_out(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    check_fences(store);
    store_destroy(&store);
    assert_int_equal(store_open_memory(&store), STATUS_OK);
    check_fences(store);
    store_destroy(&store);
}

static void each_open_raises_the_epoch_and_keeps_identity_and_sequence(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store first = *store;
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_destroy(&store);
    store = help_open(&options);
    assert_memory_equal(store->id, first.id, sizeof(first.id));
    assert_int_equal(store->fence.epoch, first.fence.epoch + 1);
    assert_memory_not_equal(store->fence.owner, first.fence.owner, sizeof(first.fence.owner));
    store_destroy(&store);
    store_batch_destroy(&batch);
}

static void ignore_line(const char *line, void *user)
{
    (void)line;
    (void)user;
}

static void a_second_open_is_locked_and_told_by_whom(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store *second = NULL;
    char why[STORE_WHY_BYTES];
    char pid[32];
    assert_int_equal(store_open_lmdb(&second, &options, why, sizeof(why)), STATUS_LOCKED);
    snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
    assert_non_null(strstr(why, pid));
    assert_int_equal(store_check_lmdb(directory, ignore_line, NULL), STATUS_LOCKED);
    store_destroy(&store);
    store = help_open(&options);
    store_destroy(&store);
}

/* --- memory ---------------------------------------------------------------------------------- */

static void a_batch_that_drops_holds_nothing_and_is_still_committed(void **state)
{
    struct store *store = NULL;
    (void)state;
    assert_int_equal(store_open_memory(&store), STATUS_OK);
    assert_true(store->drops_batches);
    struct store_batch *batch = store_batch_new();
    batch->drops = store->drops_batches;
    add_state(batch, 1, 2);
    add_row(batch, STORE_RECORDS, 1, 0, "body");
    assert_int_equal(batch->state_count, 0);
    assert_int_equal(batch->row_count, 0);
    assert_null(batch->states);
    assert_null(batch->rows);
    struct store_fence fence = store->fence;
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_batch_clear(batch);
    assert_true(batch->drops);
    store_batch_destroy(&batch);
    store_destroy(&store);
}

static void fill(struct store_batch *batch, uint64_t count)
{
    char bytes[64] = "";
    for (uint64_t i = 1; i <= count; i++) {
        struct store_row row = {.table = STORE_RECORDS, .a = i, .count = sizeof(bytes)};
        assert_true(store_batch_add_row(batch, &row, bytes));
        add_state(batch, i, 1);
    }
}

static void a_batch_gives_back_what_a_burst_took_and_no_more(void **state)
{
    enum { BURST = 20000, AS_EVER = 4000, ENDS = 9000 };
    (void)state;
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    fill(batch, BURST);
    store_batch_trim(batch, 0, 0);
    size_t states = batch->state_room, rows = batch->row_room, bytes = batch->byte_room;
    assert_true(states >= BURST && rows >= BURST && bytes >= BURST * 64);
    fill(batch, AS_EVER);
    store_batch_trim(batch, ENDS, 0); /* the rows stay: there may be twice as many soon */
    assert_true(batch->state_room < states / 2 && batch->byte_room < bytes / 2);
    assert_int_equal(batch->row_room, rows);
    assert_true(batch->state_room >= AS_EVER && batch->byte_room >= AS_EVER * 64);
    fill(batch, 1);
    store_batch_trim(batch, 0, 0);
    size_t least = batch->state_room * sizeof(batch->states[0]);
    assert_in_range(least, 1, 1 << 16);
    assert_in_range(batch->row_room * sizeof(batch->rows[0]), 1, 1 << 16);
    assert_in_range(batch->byte_room, 1, 1 << 16);
    assert_int_equal(batch->state_count + batch->row_count + batch->byte_count, 0);
    fill(batch, BURST); /* as good as new */
    store_batch_trim(batch, 0, 0);
    assert_true(batch->state_room >= BURST);
    store_batch_destroy(&batch);
}

static void the_memory_store_is_done_at_once_and_new_each_time(void **state)
{
    (void)state;
    struct store *store = NULL;
    struct store *other = NULL;
    struct store_batch *batch = store_batch_new();
    struct store_health health;
    char why[STORE_WHY_BYTES];
    assert_int_equal(store_open_memory(&store), STATUS_OK);
    assert_int_equal(store_open_memory(&other), STATUS_OK);
    assert_memory_not_equal(store->id, other->id, sizeof(store->id));
    assert_int_equal(store_fd(store), -1);
    struct store_fence fence = store->fence;
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    assert_null(store_take_done(store));
    assert_content(store, "");
    store_get_health(store, &health);
    assert_true(health.disk_free_bytes == UINT64_MAX);
    assert_int_equal(health.commits_total, 1);
    assert_int_equal(store_backup(store, directory, why, sizeof(why)), STATUS_BAD_FIELD);
    store_destroy(&store);
    store_destroy(&other);
    store_batch_destroy(&batch);
}

int main(void)
{
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, help_make_own, help_remove_own)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_gives_back_what_a_burst_took_and_no_more),
        STORE_TEST(rows_of_all_tables_come_back_in_the_order_of_a_load),
        STORE_TEST(the_last_state_wins_wherever_the_older_ones_are),
        STORE_TEST(a_removed_row_is_gone_and_may_be_removed_again),
        STORE_TEST(random_batches_equal_a_model_after_each_reopen),
        STORE_TEST(a_checkpoint_empties_the_journal_and_removed_pages),
        STORE_TEST(batches_come_back_in_the_order_submitted),
        STORE_TEST(what_was_submitted_before_the_end_is_durable),
        STORE_TEST(a_batch_with_a_wrong_fence_is_locked_out),
        STORE_TEST(each_open_raises_the_epoch_and_keeps_identity_and_sequence),
        STORE_TEST(a_second_open_is_locked_and_told_by_whom),
        STORE_TEST(the_memory_store_is_done_at_once_and_new_each_time),
        STORE_TEST(a_batch_that_drops_holds_nothing_and_is_still_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
