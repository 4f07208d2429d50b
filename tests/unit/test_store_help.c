#include "test_store_help.h"

#include <dirent.h>
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

/* --- directories ----------------------------------------------------------------------------- */

/* Of gcc's library for counting, which is there in a build for coverage. */
extern void __gcov_dump(void) __attribute__((weak));

char help_own_directory[HELP_PATH_BYTES];

int help_make_own(void **state)
{
    (void)state;
    help_directory(help_own_directory);
    return 0;
}

int help_remove_own(void **state)
{
    (void)state;
    help_remove(help_own_directory);
    return 0;
}

_Noreturn void help_end_child(int exit_status)
{
    if (__gcov_dump)
        __gcov_dump();
    _exit(exit_status);
}

void help_directory(char path[HELP_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");
    char made[HELP_PATH_BYTES - 16];
    snprintf(made, sizeof(made), "%s/everdue-store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(made));
    snprintf(path, HELP_PATH_BYTES, "%s/store", made);
}

static void remove_content(const char *path)
{
    char file[HELP_PATH_BYTES + 256];
    DIR *stream = opendir(path);
    if (!stream)
        return;
    const struct dirent *entry = readdir(stream);
    for (; entry; entry = readdir(stream)) {
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(file);
    }
    closedir(stream);
    rmdir(path);
}

void help_remove(const char *path)
{
    char parent[HELP_PATH_BYTES];
    remove_content(path);
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    rmdir(parent);
}

/* --- random ---------------------------------------------------------------------------------- */

uint64_t help_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t help_below(uint64_t *state, uint64_t below)
{
    return help_random(state) % below;
}

static void fill_bytes(uint8_t *bytes, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i % 8 == 0)
            help_random(&seed);
        bytes[i] = (uint8_t)(seed >> 8 * (i % 8));
    }
}

/* --- stores ---------------------------------------------------------------------------------- */

struct store_options help_options(const char *directory)
{
    return (struct store_options){
        .directory = directory, .reserve_bytes = 4096, .parts_at_once = 1};
}

struct store *help_open(const struct store_options *options)
{
    struct store *store = NULL;
    char why[STORE_WHY_BYTES] = "";
    enum status status = store_open_lmdb(&store, options, why, sizeof(why));
    if (status)
        print_error("%s: %s\n", status_name(status), why);
    assert_int_equal(status, STATUS_OK);
    return store;
}

struct store_batch *help_wait(struct store *store)
{
    struct store_batch *batch = store_take_done(store);
    while (!batch) {
        struct pollfd wait = {.fd = store_fd(store), .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 20000), 1);
        batch = store_take_done(store);
    }
    return batch;
}

enum status help_commit(struct store *store, struct store_fence *fence, struct store_batch *batch)
{
    fence->sequence++;
    batch->fence = *fence;
    enum status status = store_submit(store, batch);
    if (status)
        return status;
    assert_ptr_equal(help_wait(store), batch);
    status = batch->status;
    store_batch_clear(batch);
    return status;
}

static enum status count_record(const struct store_state *state, const uint8_t *body,
                                uint32_t count, void *user)
{
    (void)state;
    (void)body;
    (void)count;
    ++*(uint64_t *)user;
    return STATUS_OK;
}

static enum status refuse_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    (void)user;
    return STATUS_MISMATCH;
}

enum status help_count_records(struct store *store, uint64_t *records)
{
    struct store_visitor visitor = {refuse_row, count_record, records};
    *records = 0;
    return store_load(store, &visitor);
}

/* --- the model ------------------------------------------------------------------------------- */

struct model *model_new(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model->seed = seed;
    return model;
}

static void put_body(struct model *model, struct store_batch *batch, uint64_t number,
                     uint64_t *random)
{
    uint8_t bytes[MODEL_BODY_BYTES];
    struct model_record *record = &model->records[number];
    bool large = help_below(random, 50) == 0;
    record->body_count = (uint32_t)help_below(random, large ? MODEL_BODY_BYTES : 100);
    record->body_seed = help_random(random);
    fill_bytes(bytes, record->body_count, record->body_seed);
    struct store_row row = {.table = STORE_RECORDS, .a = number, .count = record->body_count};
    assert_true(store_batch_add_row(batch, &row, bytes));
}

static void change_state(struct model *model, struct store_batch *batch, uint64_t number,
                         uint64_t *random)
{
    struct store_state *state = &model->records[number].state;
    state->number = number;
    state->state = help_random(random) >> 11;
    state->due_us = (int64_t)(help_random(random) >> 12);
    state->failures = (uint16_t)help_below(random, 20);
    state->crashes = (uint16_t)help_below(random, 10);
    state->flags = help_below(random, 9) ? STATE_PRESENT : STATE_PRESENT | STATE_PARKED;
    assert_true(store_batch_add_state(batch, state));
}

static void remove_record(struct model *model, struct store_batch *batch, uint64_t number)
{
    struct store_row row = {.table = STORE_RECORDS, .a = number, .remove = true};
    struct store_state state = {.number = number};
    model->records[number].present = false;
    assert_true(store_batch_add_state(batch, &state));
    assert_true(store_batch_add_row(batch, &row, NULL));
}

static void step_rows(struct model *model, struct store_batch *batch, uint64_t *random)
{
    static const enum store_table tables[] = {STORE_META, STORE_QUEUES, STORE_SESSIONS, STORE_SYNCS,
                                              STORE_PENDING};
    uint8_t bytes[MODEL_BODY_BYTES];
    for (uint64_t left = help_below(random, 4); left > 0; left--) {
        enum store_table table = tables[help_below(random, sizeof(tables) / sizeof(tables[0]))];
        uint64_t key = help_below(random, MODEL_KEYS);
        struct model_row *known = &model->rows[table][key];
        struct store_row row = {.table = table, .a = key};
        if (table == STORE_SESSIONS || table == STORE_SYNCS)
            row.b = key * key;
        known->present = help_below(random, 3) != 0;
        known->count = known->present ? (uint32_t)help_below(random, 200) : 0;
        known->seed = help_random(random);
        row.remove = !known->present;
        row.count = known->count;
        fill_bytes(bytes, row.count, known->seed);
        assert_true(store_batch_add_row(batch, &row, bytes));
    }
}

void model_step(struct model *model, struct store_batch *batch)
{
    uint64_t random = model->seed * 1000003 + ++model->sequence;
    for (uint64_t left = help_below(&random, 30); left > 0; left--) {
        if (model->numbers == MODEL_RECORDS)
            break;
        uint64_t number = ++model->numbers;
        model->records[number].present = true;
        put_body(model, batch, number, &random);
        change_state(model, batch, number, &random);
    }
    for (uint64_t left = help_below(&random, 300); left > 0 && model->numbers; left--) {
        uint64_t number = 1 + help_below(&random, model->numbers);
        if (!model->records[number].present)
            continue;
        uint64_t what = help_below(&random, 40);
        if (what == 0) {
            remove_record(model, batch, number);
            continue;
        }
        if (what == 1)
            put_body(model, batch, number, &random);
        change_state(model, batch, number, &random);
    }
    step_rows(model, batch, &random);
}

/* --- comparing ------------------------------------------------------------------------------- */

struct comparison {
    const struct model *model;
    char *difference;
    size_t room;
    uint64_t records;
    uint64_t rows;
};

bool model_has_row(const struct model *model, const struct store_row *row, const uint8_t *bytes)
{
    uint8_t expected[MODEL_BODY_BYTES];
    if (row->a >= MODEL_KEYS)
        return false;
    const struct model_row *known = &model->rows[row->table][row->a];
    fill_bytes(expected, known->count, known->seed);
    bool has_b = row->table == STORE_SESSIONS || row->table == STORE_SYNCS;
    return known->present && row->b == (has_b ? row->a * row->a : 0) &&
           known->count == row->count && memcmp(expected, bytes, row->count) == 0;
}

static enum status compare_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    struct comparison *comparison = user;
    comparison->rows++;
    if (model_has_row(comparison->model, row, bytes))
        return STATUS_OK;
    snprintf(comparison->difference, comparison->room, "table %d, row %" PRIu64, (int)row->table,
             row->a);
    return STATUS_MISMATCH;
}

bool model_has_body(const struct model *model, uint64_t number, const uint8_t *body, uint32_t count)
{
    uint8_t expected[MODEL_BODY_BYTES];
    if (number > MODEL_RECORDS)
        return false;
    const struct model_record *known = &model->records[number];
    fill_bytes(expected, known->body_count, known->body_seed);
    return known->present && known->body_count == count && memcmp(expected, body, count) == 0;
}

static enum status compare_record(const struct store_state *state, const uint8_t *body,
                                  uint32_t count, void *user)
{
    struct comparison *comparison = user;
    comparison->records++;
    if (model_has_body(comparison->model, state->number, body, count) &&
        memcmp(state, &comparison->model->records[state->number].state, sizeof(*state)) == 0)
        return STATUS_OK;
    snprintf(comparison->difference, comparison->room, "record %" PRIu64, state->number);
    return STATUS_MISMATCH;
}

bool model_equals(const struct model *model, struct store *store, char *difference, size_t room)
{
    struct comparison comparison = {.model = model, .difference = difference, .room = room};
    struct store_visitor visitor = {compare_row, compare_record, &comparison};
    uint64_t records = 0;
    uint64_t rows = 0;
    difference[0] = '\0';
    enum status status = store_load(store, &visitor);
    if (status && status != STATUS_MISMATCH)
        snprintf(difference, room, "%s: %s", status_name(status), store_why(store));
    if (status)
        return false;
    for (uint64_t i = 1; i <= model->numbers; i++)
        records += model->records[i].present;
    for (size_t table = 0; table < STORE_TABLE_COUNT; table++) {
        for (size_t i = 0; i < MODEL_KEYS; i++)
            rows += model->rows[table][i].present;
    }
    if (records == comparison.records && rows == comparison.rows)
        return true;
    snprintf(difference, room,
             "%" PRIu64 " records and %" PRIu64 " rows instead of %" PRIu64 " and %" PRIu64,
             comparison.records, comparison.rows, records, rows);
    return false;
}
