/* test_store_calls.c - each call that the store makes of the system and of LMDB fails, once, at
 * each place that makes it: the first time, the second, and one later on. The program is linked
 * with
 * --wrap for them, so that also LMDB's answers can be bad that no disk can be brought to give.
 *
 * Whatever fails, the store goes on or says why; and what it acknowledged is there afterwards.
 */
#include "store.h"

#include <errno.h>
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_calls.h"
#include "test_store_help.h"

enum { BATCHES = 24, RECORDS_A_BATCH = 150, LATER = 3, PATH_BYTES = HELP_PATH_BYTES + 16 };

static const uint64_t turns[] = {1, LATER};
static const int errors[] = {EIO, ENOSPC, ENOMEM, MDB_CORRUPTED};

/* --- a life ---------------------------------------------------------------------------------- */

struct life {
    struct store_options options;
    char backup[PATH_BYTES];
    uint64_t submitted;
    uint64_t acknowledged;
};

static struct life life_begin(const char *directory)
{
    struct life life = {.options = help_options(directory)};
    life.options.sync = STORE_SYNC_NEVER; /* no power is cut here */
    life.options.journal_bytes_max = 8192;
    snprintf(life.backup, sizeof(life.backup), "%s.copy", directory);
    return life;
}

static void fill(struct store_batch *batch, uint64_t first)
{
    for (uint64_t number = first; number < first + RECORDS_A_BATCH; number++) {
        struct store_row row = {.table = STORE_RECORDS, .a = number, .count = 4};
        struct store_state known = {.number = number, .flags = STATE_PRESENT};
        assert_true(store_batch_add_row(batch, &row, "body"));
        assert_true(store_batch_add_state(batch, &known));
    }
}

/* False: the store has ended, with a text. */
static bool commit(struct life *life, struct store *store, struct store_fence *fence)
{
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    fill(batch, life->submitted + 1);
    life->submitted += RECORDS_A_BATCH;
    enum status status = help_commit(store, fence, batch);
    store_batch_destroy(&batch);
    if (status)
        assert_true(store_why(store)[0]);
    else
        life->acknowledged = life->submitted;
    return !status;
}

static void back_up(const struct life *life, struct store *store)
{
    char why[STORE_WHY_BYTES] = "";
    if (store_backup(store, life->backup, why, sizeof(why)) == STATUS_OK)
        return;
    assert_true(why[0]);
    assert_int_not_equal(access(life->backup, F_OK), 0); /* nothing is left of it */
}

/* Its identity and its owner are drawn. */
static void open_in_memory(void)
{
    struct store *store = NULL;
    enum status status = store_open_memory(&store);
    assert_true(status ? status == STATUS_IO && !store : store != NULL);
    if (store)
        store_destroy(&store);
}

static void live(struct life *life)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_health health;
    struct store *store = NULL;
    uint64_t records = 0;
    if (store_open_lmdb(&store, &life->options, why, sizeof(why))) {
        assert_true(why[0]);
        assert_null(store);
        return;
    }
    enum status status = help_count_records(store, &records);
    if (status && status != STATUS_NO_MEMORY)
        assert_true(store_why(store)[0]);
    open_in_memory();
    struct store_fence fence = store->fence;
    for (uint64_t i = 0; i < BATCHES && !status; i++) {
        if (!commit(life, store, &fence))
            break;
        if (i == BATCHES / 2)
            back_up(life, store);
        store_get_health(store, &health);
        assert_true(health.commits_total >= 1);
    }
    store_destroy(&store);
}

/* Opened by a sound system: all that was acknowledged, and nothing that was not asked for. */
static void check(const struct life *life)
{
    uint64_t records = 0;
    struct store *store = help_open(&life->options);
    assert_int_equal(help_count_records(store, &records), STATUS_OK);
    assert_true(records == life->acknowledged || records == life->submitted);
    store_destroy(&store);
}

static bool live_with(uint64_t place, uint64_t turn, int error)
{
    char directory[HELP_PATH_BYTES];
    help_directory(directory);
    struct life life = life_begin(directory);
    store_calls_plan(place, turn, error);
    live(&life);
    store_calls_plan(0, 0, 0);
    bool fired = store_calls_fired();
    check(&life);
    help_remove(life.backup);
    help_remove(directory);
    return fired;
}

static void each_call_fails_at_each_place_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    uint64_t fired = 0;
    store_calls_watch();
    live_with(0, 0, 0);
    uint64_t places = store_calls_places();
    for (uint64_t place = 0; place < places; place++)
        for (size_t turn = 0; turn < sizeof(turns) / sizeof(turns[0]); turn++)
            for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
                if (store_calls_may_give(place, errors[i]))
                    fired += live_with(place + 1, turns[turn], errors[i]);
    assert_true(places > 60);
    assert_true(fired > 2 * places);
}

/* --- a stopped broker ------------------------------------------------------------------------ */

struct look {
    uint64_t records;
    uint64_t lines;
};

static enum status see_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    (void)user;
    return STATUS_OK;
}

static enum status see_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                              void *user)
{
    (void)state;
    (void)body;
    (void)count;
    ((struct look *)user)->records++;
    return STATUS_OK;
}

static void see_line(const char *line, void *user)
{
    assert_true(line[0]);
    ((struct look *)user)->lines++;
}

/* What says OK has seen all of it; what does not says why. */
static void look(const char *directory, uint64_t records)
{
    char why[STORE_WHY_BYTES] = "";
    struct look seen = {0, 0};
    const struct store_visitor visitor = {see_row, see_record, &seen};
    store_check_lmdb(directory, see_line, &seen);
    assert_true(seen.lines > 0);
    enum status status = store_visit_lmdb(directory, &visitor, why);
    assert_true(status ? why[0] || status == STATUS_NO_MEMORY : seen.records == records);
    seen = (struct look){0, 0};
    const struct store_salvage asked = {visitor, see_line, see_line, &seen};
    status = store_salvage_lmdb(directory, &asked, why);
    assert_true(status ? why[0] || status == STATUS_NO_MEMORY
                       : seen.records == records || seen.lines > 0);
}

static void each_look_at_a_stopped_store_says_what_failed(void **state)
{
    (void)state;
    char directory[HELP_PATH_BYTES];
    uint64_t fired = 0;
    help_directory(directory);
    struct life life = life_begin(directory);
    life.options.journal_bytes_max = 200000; /* some is left in the journal */
    live(&life);
    store_calls_watch();
    store_calls_plan(0, 0, 0);
    look(directory, life.acknowledged);
    uint64_t places = store_calls_places();
    for (uint64_t place = 0; place < places; place++)
        for (size_t turn = 0; turn < sizeof(turns) / sizeof(turns[0]); turn++)
            for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                if (!store_calls_may_give(place, errors[i]))
                    continue;
                store_calls_plan(place + 1, turns[turn], errors[i]);
                look(directory, life.acknowledged);
                fired += store_calls_fired();
            }
    store_calls_plan(0, 0, 0);
    check(&life);
    assert_true(places > 20 && fired > places);
    help_remove(life.backup);
    help_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_at_each_place_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(each_look_at_a_stopped_store_says_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
