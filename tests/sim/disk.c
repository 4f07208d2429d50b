#include "disk.h"

#include <stdlib.h>
#include <string.h>

void disk_init(struct disk *disk)
{
    memset(disk, 0, sizeof(*disk));
}

void disk_release(struct disk *disk)
{
    for (size_t i = 0; i < disk->row_count; i++)
        free(disk->rows[i].bytes);
    free(disk->rows);
    free(disk->states);
    disk_init(disk);
}

static void *grow(void *items, size_t count, size_t *room, size_t item_bytes)
{
    if (count < *room)
        return items;
    *room = *room ? *room * 2 : 64;
    items = realloc(items, *room * item_bytes);
    if (!items)
        abort();
    return items;
}

static int compare_rows(const struct store_row *a, const struct store_row *b)
{
    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->a != b->a)
        return a->a < b->a ? -1 : 1;
    return a->b == b->b ? 0 : a->b < b->b ? -1 : 1;
}

/* The place of the row, or where it belongs. */
static size_t find_row(const struct disk *disk, const struct store_row *row, bool *is_there)
{
    size_t low = 0, high = disk->row_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_rows(&disk->rows[middle].row, row) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < disk->row_count && compare_rows(&disk->rows[low].row, row) == 0;
    return low;
}

static void remove_row(struct disk *disk, size_t place)
{
    free(disk->rows[place].bytes);
    disk->row_count--;
    memmove(&disk->rows[place], &disk->rows[place + 1],
            (disk->row_count - place) * sizeof(disk->rows[0]));
}

static void write_row(struct disk *disk, const struct store_row *row, const uint8_t *bytes)
{
    bool is_there;
    size_t place = find_row(disk, row, &is_there);
    if (is_there)
        remove_row(disk, place);
    if (row->remove)
        return;
    disk->rows = grow(disk->rows, disk->row_count, &disk->row_room, sizeof(disk->rows[0]));
    memmove(&disk->rows[place + 1], &disk->rows[place],
            (disk->row_count - place) * sizeof(disk->rows[0]));
    disk->row_count++;
    disk->rows[place] = (struct disk_row){.row = *row, .bytes = malloc(row->count + 1)};
    if (!disk->rows[place].bytes)
        abort();
    if (row->count)
        memcpy(disk->rows[place].bytes, bytes, row->count);
}

static size_t find_state(const struct disk *disk, uint64_t number, bool *is_there)
{
    size_t low = 0, high = disk->state_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (disk->states[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < disk->state_count && disk->states[low].number == number;
    return low;
}

static void write_state(struct disk *disk, const struct store_state *state)
{
    bool is_there;
    size_t place = find_state(disk, state->number, &is_there);
    bool is_present = state->flags & STATE_PRESENT;
    if (is_there && is_present) {
        disk->states[place] = *state;
    } else if (is_there) {
        disk->state_count--;
        memmove(&disk->states[place], &disk->states[place + 1],
                (disk->state_count - place) * sizeof(*state));
    } else if (is_present) {
        disk->states = grow(disk->states, disk->state_count, &disk->state_room, sizeof(*state));
        memmove(&disk->states[place + 1], &disk->states[place],
                (disk->state_count - place) * sizeof(*state));
        disk->state_count++;
        disk->states[place] = *state;
    }
}

void disk_write(struct disk *disk, const struct store_batch *batch)
{
    for (size_t i = 0; i < batch->row_count; i++)
        write_row(disk, &batch->rows[i], batch->bytes + batch->rows[i].offset);
    for (size_t i = 0; i < batch->state_count; i++)
        write_state(disk, &batch->states[i]);
}

static enum status load_table(const struct disk *disk, enum store_table table,
                              const struct store_visitor *visitor)
{
    for (size_t i = 0; i < disk->row_count; i++) {
        if (disk->rows[i].row.table != table)
            continue;
        struct store_row row = disk->rows[i].row;
        row.offset = 0;
        enum status status = visitor->row(&row, disk->rows[i].bytes, visitor->user);
        if (status)
            return status;
    }
    return STATUS_OK;
}

/* Each record has its body and each body its record. */
static enum status load_records(const struct disk *disk, const struct store_visitor *visitor)
{
    size_t bodies = 0;
    for (size_t i = 0; i < disk->row_count; i++)
        bodies += disk->rows[i].row.table == STORE_RECORDS;
    if (bodies != disk->state_count)
        return STATUS_CORRUPT;
    for (size_t i = 0; i < disk->state_count; i++) {
        bool is_there;
        struct store_row name = {.table = STORE_RECORDS, .a = disk->states[i].number};
        size_t place = find_row(disk, &name, &is_there);
        if (!is_there)
            return STATUS_CORRUPT;
        enum status status = visitor->record(&disk->states[i], disk->rows[place].bytes,
                                             disk->rows[place].row.count, visitor->user);
        if (status)
            return status;
    }
    return STATUS_OK;
}

enum status disk_load(const struct disk *disk, const struct store_visitor *visitor)
{
    enum status status = load_table(disk, STORE_META, visitor);
    if (!status)
        status = load_table(disk, STORE_QUEUES, visitor);
    if (!status)
        status = load_table(disk, STORE_SESSIONS, visitor);
    if (!status)
        status = load_records(disk, visitor);
    if (!status)
        status = load_table(disk, STORE_PENDING, visitor);
    if (!status)
        status = load_table(disk, STORE_SYNCS, visitor);
    return status;
}
