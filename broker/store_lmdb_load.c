/* store_lmdb_load.c - everything that is stored, handed to a visitor.
 *
 * Records are merged from three streams by number: bodies, hot pages, and the newest states of the
 * journal, which win over the hot pages. One transaction per batch means that a body and a present
 * state come and go together, so any that is found alone is damage.
 */
#include "store_lmdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_NONE UINT64_MAX

struct merge {
    const struct store_visitor *visitor;
    char *why;
    MDB_cursor *bodies;
    MDB_cursor *pages;
    uint64_t body_number; /* NUMBER_NONE: no more */
    MDB_val body;
    uint64_t page_number;
    MDB_val page;
    const struct store_state *states; /* of the journal */
    size_t state_count;
    size_t state_at;
};

static enum status failed(unsigned table, int error, char *why)
{
    store_lmdb_say(why, "table %s: %s", store_lmdb_table_names[table], mdb_strerror(error));
    return error == ENOMEM ? STATUS_NO_MEMORY : STATUS_CORRUPT;
}

static enum status damaged(unsigned table, uint64_t a, uint64_t b, const char *what, char *why)
{
    store_lmdb_say(why, "table %s, key %" PRIu64 ", %" PRIu64 ": %s", store_lmdb_table_names[table],
                   a, b, what);
    return STATUS_CORRUPT;
}

/* --- tables ---------------------------------------------------------------------------------- */

static enum status load_rows(MDB_cursor *cursor, enum store_table table,
                             const struct store_visitor *visitor, char *why)
{
    MDB_val key;
    MDB_val value;
    int error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (!error) {
        struct store_row row = {.table = table};
        if (!store_lmdb_key_read(&key, table, &row.a, &row.b))
            return damaged(table, 0, 0, "a key is damaged", why);
        if (!store_lmdb_row_read(&value, table, row.a, row.b, &row.count))
            return damaged(table, row.a, row.b, "its checksum does not match", why);
        enum status status = visitor->row(&row, value.mv_data, visitor->user);
        if (status < 0)
            return status;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return error == MDB_NOTFOUND ? STATUS_OK : failed(table, error, why);
}

static enum status load_table(const struct store_lmdb_env *env, MDB_txn *txn,
                              enum store_table table, const struct store_visitor *visitor,
                              char *why)
{
    MDB_cursor *cursor = NULL;
    int error = mdb_cursor_open(txn, env->tables[table], &cursor);
    if (error)
        return failed(table, error, why);
    enum status status = load_rows(cursor, table, visitor, why);
    mdb_cursor_close(cursor);
    return status;
}

/* --- records --------------------------------------------------------------------------------- */

static enum status next_item(MDB_cursor *cursor, unsigned table, uint64_t *number, MDB_val *value,
                             char *why)
{
    MDB_val key;
    uint64_t none = 0;
    /* A cursor that was not set yet takes this as the first. */
    int error = mdb_cursor_get(cursor, &key, value, MDB_NEXT);
    if (error == MDB_NOTFOUND) {
        *number = NUMBER_NONE;
        return STATUS_OK;
    }
    if (error)
        return failed(table, error, why);
    if (!store_lmdb_key_read(&key, table, number, &none) || *number == NUMBER_NONE)
        return damaged(table, 0, 0, "a key is damaged", why);
    return STATUS_OK;
}

static uint64_t page_of(uint64_t number)
{
    return (number - 1) / PAGE_STATES;
}

/* The states of the page: as folded, with the journal's on top. */
static enum status merge_page(struct merge *merge, uint64_t number, struct store_lmdb_page *page)
{
    enum status status = STATUS_OK;
    if (merge->page_number == number) {
        if (!store_lmdb_page_read(&merge->page, number, page))
            return damaged(STORE_LMDB_HOT, number, 0, "its checksum does not match", merge->why);
        status =
            next_item(merge->pages, STORE_LMDB_HOT, &merge->page_number, &merge->page, merge->why);
    } else {
        memset(page, 0, sizeof(*page));
    }
    while (merge->state_at < merge->state_count &&
           page_of(merge->states[merge->state_at].number) == number) {
        const struct store_state *state = &merge->states[merge->state_at++];
        page->states[(state->number - 1) % PAGE_STATES] = *state;
    }
    return status;
}

static enum status visit_record(struct merge *merge, const struct store_state *state)
{
    uint64_t number = state->number;
    uint32_t count = 0;
    if (merge->body_number < number)
        return damaged(STORE_RECORDS, merge->body_number, 0, "the record has a body and no state",
                       merge->why);
    if (merge->body_number > number)
        return damaged(STORE_RECORDS, number, 0, "the record has a state and no body", merge->why);
    if (!store_lmdb_row_read(&merge->body, STORE_RECORDS, number, 0, &count))
        return damaged(STORE_RECORDS, number, 0, "its checksum does not match", merge->why);
    enum status status =
        merge->visitor->record(state, merge->body.mv_data, count, merge->visitor->user);
    if (status < 0)
        return status;
    return next_item(merge->bodies, STORE_RECORDS, &merge->body_number, &merge->body, merge->why);
}

static enum status merge_records(struct merge *merge)
{
    enum status status =
        next_item(merge->bodies, STORE_RECORDS, &merge->body_number, &merge->body, merge->why);
    if (!status)
        status =
            next_item(merge->pages, STORE_LMDB_HOT, &merge->page_number, &merge->page, merge->why);
    while (!status) {
        uint64_t number = merge->page_number;
        if (merge->state_at < merge->state_count &&
            page_of(merge->states[merge->state_at].number) < number)
            number = page_of(merge->states[merge->state_at].number);
        if (number == NUMBER_NONE)
            break;
        struct store_lmdb_page page;
        status = merge_page(merge, number, &page);
        for (size_t i = 0; i < PAGE_STATES && !status; i++) {
            if (page.states[i].flags & STATE_PRESENT)
                status = visit_record(merge, &page.states[i]);
        }
    }
    if (!status && merge->body_number != NUMBER_NONE)
        return damaged(STORE_RECORDS, merge->body_number, 0, "the record has a body and no state",
                       merge->why);
    return status;
}

static enum status load_records(const struct store_lmdb_env *env, MDB_txn *txn,
                                const struct store_visitor *visitor, char *why)
{
    struct store_lmdb_states states;
    struct store_lmdb_info info;
    /* Of this very moment: the store thread may be trimming already. */
    enum status status = store_lmdb_env_get_info(env, txn, &info, why);
    if (!status)
        status = store_lmdb_gather(env, txn, info.folded, info.fence.sequence, &states, why);
    if (status)
        return status;
    struct merge merge = {
        .visitor = visitor,
        .why = why,
        .states = states.states,
        .state_count = states.count,
    };
    int error = mdb_cursor_open(txn, env->tables[STORE_RECORDS], &merge.bodies);
    if (!error)
        error = mdb_cursor_open(txn, env->tables[STORE_LMDB_HOT], &merge.pages);
    status = error ? failed(STORE_RECORDS, error, why) : merge_records(&merge);
    if (merge.pages)
        mdb_cursor_close(merge.pages);
    if (merge.bodies)
        mdb_cursor_close(merge.bodies);
    store_lmdb_states_release(&states);
    return status;
}

/* --- all ------------------------------------------------------------------------------------- */

enum status store_lmdb_load(const struct store_lmdb_env *env, const struct store_visitor *visitor,
                            char *why)
{
    static const enum store_table before[] = {STORE_META, STORE_QUEUES, STORE_SESSIONS};
    static const enum store_table after[] = {STORE_PENDING, STORE_SYNCS};
    MDB_txn *txn = NULL;
    int error = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn);
    if (error)
        return failed(STORE_META, error, why);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]) && !status; i++)
        status = load_table(env, txn, before[i], visitor, why);
    if (!status)
        status = load_records(env, txn, visitor, why);
    for (size_t i = 0; i < sizeof(after) / sizeof(after[0]) && !status; i++)
        status = load_table(env, txn, after[i], visitor, why);
    mdb_txn_abort(txn);
    return status;
}
