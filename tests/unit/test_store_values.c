/* test_store_values.c - values that are whole and make no sense: written through LMDB, with right
 * checksums and a right transaction number, as a faulty writer would leave them. A load says what
 * is wrong and where; a salvage goes on behind it and names what is lost. And whoever visits a
 * store may end the visit at any row.
 */
#include "store.h"

#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store_lmdb.h"
#include "test_store_help.h"

enum { RECORDS = 300, ROWS = 3, TABLES_MAX = 32, LONG_BYTES = 6000 };

static char directory[HELP_PATH_BYTES];

/* --- the store ------------------------------------------------------------------------------- */

static void add(struct store_batch *batch, enum store_table table, uint64_t a, uint64_t b)
{
    struct store_row row = {.table = table, .a = a, .b = b, .count = 5};
    assert_true(store_batch_add_row(batch, &row, "value"));
}

static void wait_for_checkpoint(struct store *store, struct store_fence *fence,
                                struct store_batch *batch)
{
    struct store_health health = {0};
    while (!health.checkpoints_total) { /* ends: each commit brings it on */
        add(batch, STORE_QUEUES, 0, 0);
        assert_int_equal(help_commit(store, fence, batch), STATUS_OK);
        store_get_health(store, &health);
    }
}

/* Half of it folded, half in the journal. */
static int make_store(void **state)
{
    (void)state;
    help_directory(directory);
    struct store_options options = help_options(directory);
    options.sync = STORE_SYNC_NEVER;
    for (uint64_t half = 0; half < 2; half++) {
        options.journal_bytes_max = half ? 0 : 1;
        struct store *store = help_open(&options);
        struct store_fence fence = store->fence;
        struct store_batch *batch = store_batch_new();
        for (uint64_t i = 1; i <= RECORDS / 2; i++) {
            uint64_t number = half * RECORDS / 2 + i;
            struct store_state known = {.number = number, .state = number, .flags = STATE_PRESENT};
            add(batch, STORE_RECORDS, number, 0);
            assert_true(store_batch_add_state(batch, &known));
        }
        for (uint64_t i = 0; i < ROWS; i++) {
            add(batch, STORE_QUEUES, half * ROWS + i, 0);
            add(batch, STORE_SYNCS, 7, half * ROWS + i);
            add(batch, STORE_PENDING, half * ROWS + i + 1, 0);
        }
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        if (!half)
            wait_for_checkpoint(store, &fence, batch);
        store_batch_destroy(&batch);
        store_destroy(&store);
    }
    return 0;
}

static int remove_store(void **state)
{
    (void)state;
    help_remove(directory);
    return 0;
}

/* --- looking --------------------------------------------------------------------------------- */

struct sight {
    uint64_t items, lines;
    uint64_t ends_at; /* the visit, at this item; 0: never */
};

static enum status see(struct sight *sight)
{
    return ++sight->items == sight->ends_at ? STATUS_INTERRUPTED : STATUS_OK;
}

static enum status see_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    assert_int_equal(row->count, 5);
    assert_memory_equal(bytes, "value", 5);
    return see(user);
}

static enum status see_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                              void *user)
{
    assert_in_range(state->number, 1, RECORDS);
    assert_int_equal(count, 5);
    assert_memory_equal(body, "value", 5);
    return see(user);
}

static void see_line(const char *line, void *user)
{
    assert_true(line[0]);
    ((struct sight *)user)->lines++;
}

static enum status visit(struct sight *sight, char *why)
{
    const struct store_visitor visitor = {see_row, see_record, sight};
    return store_visit_lmdb(directory, &visitor, why);
}

static enum status salvage(struct sight *sight, char *why)
{
    const struct store_salvage asked = {{see_row, see_record, sight}, see_line, see_line, sight};
    return store_salvage_lmdb(directory, &asked, why);
}

/* --- changes --------------------------------------------------------------------------------- */

struct change {
    MDB_txn *txn;
    MDB_dbi tables[STORE_LMDB_TABLES];
};

static void put_raw(const struct change *change, unsigned table, const void *name, size_t bytes,
                    const void *value, size_t count)
{
    MDB_val key = {.mv_size = bytes, .mv_data = (void *)(uintptr_t)name};
    MDB_val data = {.mv_size = count, .mv_data = (void *)(uintptr_t)value};
    assert_int_equal(mdb_put(change->txn, change->tables[table], &key, &data, 0), 0);
}

static struct store_lmdb_key key_of(unsigned table, uint64_t a)
{
    struct store_lmdb_key key;
    store_lmdb_key_write(&key, table, a, 0);
    return key;
}

static void drop(const struct change *change, unsigned table, uint64_t a)
{
    struct store_lmdb_key bytes = key_of(table, a);
    MDB_val key = store_lmdb_key_value(&bytes);
    assert_int_equal(mdb_del(change->txn, change->tables[table], &key, NULL), 0);
}

static void short_row_key(const struct change *change)
{
    put_raw(change, STORE_QUEUES, "abc", 3, "value", 5);
}

static void short_record_key(const struct change *change)
{
    put_raw(change, STORE_RECORDS, "\xff", 1, "value", 5);
}

static void short_state_key(const struct change *change)
{
    put_raw(change, STORE_LMDB_HOT, "\xff", 1, "value", 5);
}

static void last_record_key(const struct change *change)
{
    struct store_lmdb_key key = key_of(STORE_RECORDS, UINT64_MAX);
    put_raw(change, STORE_RECORDS, key.bytes, key.count, "value", 5);
}

static void short_journal_key(const struct change *change)
{
    put_raw(change, STORE_LMDB_JOURNAL, "\0", 1, "value", 5);
}

static void long_journal_key(const struct change *change)
{
    put_raw(change, STORE_LMDB_JOURNAL, "\xff\xff", 2, "value", 5);
}

static void short_row(const struct change *change)
{
    struct store_lmdb_key key = key_of(STORE_QUEUES, 1);
    put_raw(change, STORE_QUEUES, key.bytes, key.count, "va", 2);
}

static void no_body(const struct change *change)
{
    drop(change, STORE_RECORDS, 17);
}

static void no_last_body(const struct change *change)
{
    drop(change, STORE_RECORDS, RECORDS);
}

static void no_states(const struct change *change)
{
    drop(change, STORE_LMDB_HOT, 0);
}

/* As the folded table has it, with a right checksum; one state is of another page. */
static void foreign_state(const struct change *change)
{
    struct store_lmdb_page page;
    struct store_lmdb_key bytes = key_of(STORE_LMDB_HOT, 0);
    MDB_val key = store_lmdb_key_value(&bytes), value;
    assert_int_equal(mdb_get(change->txn, change->tables[STORE_LMDB_HOT], &key, &value), 0);
    assert_int_equal(value.mv_size, sizeof(page));
    memcpy(&page, value.mv_data, sizeof(page));
    page.states[3].number = 90000;
    page.checksum = store_lmdb_states_checksum(STORE_LMDB_HOT, 0, 0, &page, sizeof(page));
    put_raw(change, STORE_LMDB_HOT, bytes.bytes, bytes.count, &page, sizeof(page));
}

static void removed_state(const struct change *change)
{
    struct store_lmdb_page page;
    struct store_lmdb_key bytes = key_of(STORE_LMDB_HOT, 0);
    MDB_val key = store_lmdb_key_value(&bytes), value;
    assert_int_equal(mdb_get(change->txn, change->tables[STORE_LMDB_HOT], &key, &value), 0);
    memcpy(&page, value.mv_data, sizeof(page));
    page.states[3].flags = 0;
    page.checksum = store_lmdb_states_checksum(STORE_LMDB_HOT, 0, 0, &page, sizeof(page));
    put_raw(change, STORE_LMDB_HOT, bytes.bytes, bytes.count, &page, sizeof(page));
}

static void foreign_value(const struct change *change)
{
    MDB_dbi main_table;
    MDB_val key = {.mv_size = 3, .mv_data = (void *)(uintptr_t) "abc"}, data = key;
    assert_int_equal(mdb_dbi_open(change->txn, NULL, 0, &main_table), 0);
    assert_int_equal(mdb_put(change->txn, main_table, &key, &data, 0), 0);
}

static void long_table_name(const struct change *change)
{
    MDB_dbi table;
    assert_int_equal(
        mdb_dbi_open(change->txn, "a table with a name of more than 32 bytes", MDB_CREATE, &table),
        0);
}

static void too_many_tables(const struct change *change)
{
    for (int i = 0; i < 12; i++) {
        MDB_dbi table;
        char name[16];
        snprintf(name, sizeof(name), "more%d", i);
        assert_int_equal(mdb_dbi_open(change->txn, name, MDB_CREATE, &table), 0);
    }
}

static void sorted_table(const struct change *change)
{
    MDB_dbi table;
    assert_int_equal(mdb_dbi_open(change->txn, "sorted", MDB_CREATE | MDB_DUPSORT, &table), 0);
}

static void long_info(const struct change *change)
{
    static const char bytes[LONG_BYTES];
    put_raw(change, STORE_LMDB_INFO, "more", 4, bytes, sizeof(bytes));
}

/* With the number of this transaction, so that the check of pages believes the header. */
static void write_info(const struct change *change)
{
    char name[] = "info";
    MDB_val key = {.mv_size = 4, .mv_data = name}, value;
    struct store_lmdb_info info;
    assert_int_equal(mdb_get(change->txn, change->tables[STORE_LMDB_INFO], &key, &value), 0);
    memcpy(&info, value.mv_data, sizeof(info));
    info.transaction = mdb_txn_id(change->txn);
    store_lmdb_info_seal(&info);
    value = (MDB_val){.mv_size = sizeof(info), .mv_data = &info};
    assert_int_equal(mdb_put(change->txn, change->tables[STORE_LMDB_INFO], &key, &value, 0), 0);
}

static void apply(void (*alter)(const struct change *change))
{
    MDB_env *env = NULL;
    struct change change;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, TABLES_MAX), 0);
    assert_int_equal(mdb_env_open(env, directory, MDB_NOSYNC, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &change.txn), 0);
    for (unsigned i = 0; i < STORE_LMDB_TABLES; i++)
        assert_int_equal(mdb_dbi_open(change.txn, store_lmdb_table_names[i], 0, &change.tables[i]),
                         0);
    alter(&change);
    write_info(&change);
    assert_int_equal(mdb_txn_commit(change.txn), 0);
    mdb_env_close(env);
}

/* What a visit says of it (NULL: it does not come there, but an opening does), and how many rows
 * and records a salvage still finds. */
static const struct expectation {
    const char *name;
    void (*alter)(const struct change *change);
    const char *said;
    uint64_t least_left;
} expectations[] = {
    {"a row's key is too short", short_row_key, "a key is damaged", RECORDS},
    {"a record's key is too short", short_record_key, "a key is damaged", RECORDS},
    {"a state's key is too short", short_state_key, "a key is damaged", RECORDS},
    {"a record of the number that means none", last_record_key, "a key is damaged", RECORDS},
    {"a journal's first key is too short", short_journal_key, NULL, RECORDS},
    {"a journal's last key is too short", long_journal_key, "journal", RECORDS},
    {"a row is shorter than its checksum", short_row, "its checksum does not match", RECORDS},
    {"a body is gone", no_body, "a state and no body", RECORDS - 1},
    {"the last body is gone", no_last_body, "a state and no body", RECORDS - 1},
    {"a page of states is gone", no_states, "a body and no state", RECORDS},
    {"a state is of another page", foreign_state, "its checksum does not match", RECORDS},
    {"a state says that its record is gone", removed_state, "a body and no state", RECORDS},
    {"a value among the tables", foreign_value, "list of tables is damaged", RECORDS},
    {"a table's name is too long", long_table_name, "list of tables is damaged", RECORDS},
    {"too many tables", too_many_tables, "list of tables is damaged", RECORDS},
    {"a table of another kind", sorted_table, "its description is damaged", RECORDS},
    {"info is of pages of its own", long_info, "not a store of everdue", RECORDS},
};

static void what_makes_no_sense_is_refused_and_the_rest_is_salvaged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        const struct expectation *expected = &expectations[i];
        char why[STORE_WHY_BYTES] = "";
        struct sight seen = {0}, saved = {0};
        struct store *store = NULL;
        struct store_options options = help_options(directory);
        make_store(NULL);
        apply(expected->alter);
        enum status status = visit(&seen, why);
        if (!expected->said ? status : status != STATUS_CORRUPT || !strstr(why, expected->said))
            fail_msg("%s: %s, \"%s\"", expected->name, status_name(status), why);
        status = salvage(&saved, why);
        if (status || saved.items < expected->least_left || !saved.lines)
            fail_msg("%s: a salvage of %zu said %zu lines, %s, \"%s\"", expected->name,
                     (size_t)saved.items, (size_t)saved.lines, status_name(status), why);
        /* A broker finds it at the latest while it loads. */
        status = store_open_lmdb(&store, &options, why, sizeof(why));
        if (!status) {
            const struct store_visitor visitor = {see_row, see_record, &seen};
            status = store_load(store, &visitor);
            store_destroy(&store);
        }
        if (status != STATUS_CORRUPT)
            fail_msg("%s: opened, %s", expected->name, status_name(status));
        remove_store(NULL);
    }
}

static void a_visit_ends_at_any_row_or_record(void **state)
{
    (void)state;
    char why[STORE_WHY_BYTES];
    struct sight whole = {0}, saved = {0};
    assert_int_equal(visit(&whole, why), STATUS_OK);
    assert_int_equal(whole.items, RECORDS + 2 * 3 * ROWS);
    assert_int_equal(salvage(&saved, why), STATUS_OK);
    assert_int_equal(saved.items, whole.items);
    for (uint64_t at = 1; at <= whole.items; at += at < 20 || at > RECORDS ? 1 : 23) {
        struct sight seen = {.ends_at = at}, found = {.ends_at = at};
        assert_int_equal(visit(&seen, why), STATUS_INTERRUPTED);
        assert_int_equal(seen.items, at);
        assert_int_equal(salvage(&found, why), STATUS_INTERRUPTED);
        assert_int_equal(found.items, at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_makes_no_sense_is_refused_and_the_rest_is_salvaged),
        cmocka_unit_test_setup_teardown(a_visit_ends_at_any_row_or_record, make_store,
                                        remove_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
