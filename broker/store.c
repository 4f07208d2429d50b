#include "store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"

/* --- batches --------------------------------------------------------------------------------- */

/* Makes room for `count` items of `item_bytes` in a growing array. On failure nothing changed. */
static bool reserve(void **items, size_t *room, size_t count, size_t item_bytes)
{
    if (count <= *room)
        return true;
    size_t wanted = *room ? *room : 64;
    while (wanted < count) {
        if (wanted > SIZE_MAX / 2 / item_bytes)
            return false;
        wanted *= 2;
    }
    void *grown = realloc(*items, wanted * item_bytes);
    if (!grown)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

/* Less is not worth a call. */
enum { SPARE_BYTES_LEAST = 1 << SEGMENT_BITS_OR(16, 8) };

/* Room of which less than a quarter is wanted becomes twice what is wanted. Without memory for the
 * smaller it stays. */
static void shrink(void **items, size_t *room, size_t wanted, size_t item_bytes)
{
    if (*room * item_bytes <= SPARE_BYTES_LEAST || wanted > *room / 4)
        return;
    size_t least = SPARE_BYTES_LEAST / item_bytes;
    size_t kept = wanted * 2 > least ? wanted * 2 : least;
    void *shrunk = realloc(*items, kept * item_bytes);
    if (!shrunk)
        return;
    *items = shrunk;
    *room = kept;
}

struct store_batch *store_batch_new(void)
{
    return calloc(1, sizeof(struct store_batch));
}

void store_batch_empty(struct store_batch *batch)
{
    free(batch->states);
    free(batch->rows);
    free(batch->bytes);
    *batch = (struct store_batch){.drops = batch->drops};
}

void store_batch_destroy(struct store_batch **batch)
{
    if (!*batch)
        return;
    store_batch_empty(*batch);
    free(*batch);
    *batch = NULL;
}

void store_batch_clear(struct store_batch *batch)
{
    memset(&batch->fence, 0, sizeof(batch->fence));
    batch->state_count = 0;
    batch->row_count = 0;
    batch->byte_count = 0;
    batch->status = STATUS_OK;
    batch->user = NULL;
    batch->next = NULL;
}

void store_batch_trim(struct store_batch *batch, size_t rows, size_t bytes)
{
    void *all_states = batch->states, *all_rows = batch->rows, *all_bytes = batch->bytes;
    size_t rows_kept = batch->row_count > rows ? batch->row_count : rows;
    size_t bytes_kept = batch->byte_count > bytes ? batch->byte_count : bytes;
    shrink(&all_states, &batch->state_room, batch->state_count, sizeof(*batch->states));
    shrink(&all_rows, &batch->row_room, rows_kept, sizeof(*batch->rows));
    shrink(&all_bytes, &batch->byte_room, bytes_kept, 1);
    batch->states = all_states;
    batch->rows = all_rows;
    batch->bytes = all_bytes;
    store_batch_clear(batch);
}

bool store_batch_add_state(struct store_batch *batch, const struct store_state *state)
{
    assert(state->number >= 1);
    if (batch->drops)
        return true;
    void *states = batch->states;
    if (!reserve(&states, &batch->state_room, batch->state_count + 1, sizeof(*state)))
        return false;
    batch->states = states;
    batch->states[batch->state_count] = *state;
    memset(batch->states[batch->state_count].unused, 0, sizeof(state->unused));
    batch->state_count++;
    return true;
}

bool store_batch_reserve(struct store_batch *batch, size_t rows, size_t bytes)
{
    void *all_rows = batch->rows;
    if (!reserve(&all_rows, &batch->row_room, batch->row_count + rows, sizeof(*batch->rows)))
        return false;
    batch->rows = all_rows;
    void *all_bytes = batch->bytes;
    if (!reserve(&all_bytes, &batch->byte_room, batch->byte_count + bytes, 1))
        return false;
    batch->bytes = all_bytes;
    return true;
}

bool store_batch_add_row(struct store_batch *batch, const struct store_row *row, const void *bytes)
{
    assert((unsigned)row->table < STORE_TABLE_COUNT);
    assert(!row->remove || row->count == 0);
    if (batch->drops)
        return true;
    if (!store_batch_reserve(batch, 1, row->count))
        return false;
    struct store_row *added = &batch->rows[batch->row_count++];
    *added = *row;
    added->offset = batch->byte_count;
    if (row->count)
        memcpy(batch->bytes + batch->byte_count, bytes, row->count);
    batch->byte_count += row->count;
    return true;
}

/* --- the backend's functions ----------------------------------------------------------------- */

void store_destroy(struct store **store)
{
    if (!*store)
        return;
    (*store)->backend->destroy(*store);
    *store = NULL;
}

enum status store_load(struct store *store, const struct store_visitor *visitor)
{
    return store->backend->load(store, visitor);
}

enum status store_submit(struct store *store, struct store_batch *batch)
{
    return store->backend->submit(store, batch);
}

struct store_batch *store_take_done(struct store *store)
{
    return store->backend->take_done(store);
}

int store_fd(const struct store *store)
{
    return store->backend->fd(store);
}

void store_get_health(struct store *store, struct store_health *health)
{
    memset(health, 0, sizeof(*health));
    store->backend->health(store, health);
}

const char *store_why(const struct store *store)
{
    return store->why;
}

enum status store_backup(struct store *store, const char *directory, char *why, size_t room)
{
    return store->backend->backup(store, directory, why, room);
}
