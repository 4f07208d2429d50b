#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* --- rows of meta and queues ------------------------------------------------------------------ */

enum { COUNTS = 8, QUEUE_FIELDS = 6 };

#define TOTAL(name, member)                                                                        \
    {                                                                                              \
        name, offsetof(struct sched_totals, member)                                                \
    }
const struct sched_total sched_total_list[SCHED_TOTALS] = {
    TOTAL("created_total", created),
    TOTAL("removed_total", removed),
    TOTAL("dispatched_total", dispatched),
    TOTAL("reports_ok_total", reports_ok),
    TOTAL("reports_failed_total", reports_failed),
    TOTAL("reports_park_total", reports_park),
    TOTAL("reports_remove_total", reports_remove),
    TOTAL("failed_timed_out_total", failed_timed_out),
    TOTAL("failed_killed_total", failed_killed),
    TOTAL("expired_total", expired),
    TOTAL("lost_total", lost),
    TOTAL("given_back_total", given_back),
    TOTAL("stale_total", stale),
    TOTAL("reports_late_total", late_accepted),
    TOTAL("parked_by_count_total", parked_by_count),
};
_Static_assert(sizeof(struct sched_totals) == SCHED_TOTALS * sizeof(uint64_t),
               "a total is not in the list");

uint64_t sched_total_get(const struct sched_totals *totals, uint32_t place)
{
    uint64_t value;
    memcpy(&value, (const char *)totals + sched_total_list[place].offset, sizeof(value));
    return value;
}

static void set_total(struct sched_totals *totals, uint32_t place, uint64_t value)
{
    memcpy((char *)totals + sched_total_list[place].offset, &value, sizeof(value));
}

static enum status write_row(struct store_batch *batch, enum store_table table, uint64_t a,
                             struct wire_buffer *bytes)
{
    struct store_row row = {.table = table, .a = a, .count = (uint32_t)bytes->count};
    bool is_added = !bytes->failed && store_batch_add_row(batch, &row, bytes->data);
    wire_buffer_release(bytes);
    return is_added ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status meta_write_row(struct sched *sched, struct store_batch *batch)
{
    uint64_t wanted = sched_reserve_wanted(sched);
    struct wire_buffer bytes;
    wire_buffer_init(&bytes);
    wire_write_array(&bytes, SCHED_META_NUMBERS);
    wire_write_uint(&bytes, wanted ? wanted : sched->reserved_end);
    wire_write_uint(&bytes, sched->next_record);
    wire_write_uint(&bytes, sched->next_generation);
    return write_row(batch, STORE_META, META_NUMBERS, &bytes);
}

enum status queue_write_row(const struct queue *queue, struct store_batch *batch)
{
    struct wire_buffer bytes;
    wire_buffer_init(&bytes);
    wire_write_array(&bytes, QUEUE_FIELDS);
    wire_write_str(&bytes, (struct bytes){(const uint8_t *)queue->name, queue->name_bytes});
    wire_write_bool(&bytes, queue->is_paused);
    wire_write_array(&bytes, SCHED_TOTALS);
    for (uint32_t i = 0; i < SCHED_TOTALS; i++)
        wire_write_uint(&bytes, sched_total_get(&queue->totals, i));
    wire_write_uint(&bytes, queue->synced_generation);
    wire_write_int(&bytes, queue->synced_status);
    sync_counts_write(&bytes, &queue->synced_counts);
    return write_row(batch, STORE_QUEUES, queue->id, &bytes);
}

enum status sched_read_meta(struct bytes row, uint64_t numbers[SCHED_META_NUMBERS])
{
    struct wire_reader reader;
    wire_reader_init(&reader, row.data, row.count);
    uint32_t fields = wire_read_array(&reader, 16);
    for (int i = 0; i < SCHED_META_NUMBERS; i++)
        numbers[i] = wire_read_uint(&reader);
    wire_skip_rest(&reader, fields, SCHED_META_NUMBERS);
    return reader.status ? STATUS_CORRUPT : STATUS_OK;
}

static enum status load_meta(struct sched *sched, const struct store_row *row, const uint8_t *bytes)
{
    uint64_t numbers[SCHED_META_NUMBERS];
    if (row->a != META_NUMBERS)
        return STATUS_OK; /* a later version's */
    if (sched_read_meta((struct bytes){bytes, row->count}, numbers))
        return STATUS_CORRUPT;
    sched->next_number = sched->reserved_end = numbers[0];
    sched->next_record = numbers[1];
    sched->next_generation = numbers[2];
    bool is_sane = sched->next_number > 0 && sched->next_number <= MASK_BITS(53) &&
                   sched->next_record > 0 && sched->next_record <= MASK_BITS(40);
    return is_sane ? STATUS_OK : STATUS_CORRUPT;
}

/* Up to the totals; `fields` is how many the row has. */
static void read_queue(struct wire_reader *reader, struct sched_queue_row *row, uint32_t *fields)
{
    *fields = wire_read_array(reader, 32);
    row->name = wire_read_bytes(reader, QUEUE_NAME_BYTES_MAX);
    row->is_paused = wire_read_bool(reader);
    uint32_t totals = wire_read_array(reader, 64);
    for (uint32_t i = 0; i < SCHED_TOTALS; i++)
        set_total(&row->totals, i, i < totals ? wire_read_uint(reader) : 0);
    wire_skip_rest(reader, totals, SCHED_TOTALS);
}

enum status sched_read_queue(struct bytes row, struct sched_queue_row *queue)
{
    struct wire_reader reader;
    uint32_t fields;
    wire_reader_init(&reader, row.data, row.count);
    read_queue(&reader, queue, &fields);
    return reader.status || !bytes_are_queue_name(queue->name) ? STATUS_CORRUPT : STATUS_OK;
}

static enum status load_queue(struct sched *sched, const struct store_row *row,
                              const uint8_t *bytes)
{
    struct wire_reader reader;
    struct sched_queue_row stored;
    struct queue *queue;
    uint32_t fields;
    wire_reader_init(&reader, bytes, row->count);
    read_queue(&reader, &stored, &fields);
    if (reader.status || row->a != sched->queue_count)
        return STATUS_CORRUPT;
    enum status status = queue_require(sched, stored.name, &queue);
    if (status)
        return status == STATUS_NO_MEMORY ? status : STATUS_CORRUPT;
    if (queue->id != row->a)
        return STATUS_CORRUPT; /* the name came before */
    queue->is_dirty = false;
    queue->is_paused = stored.is_paused;
    queue->totals = stored.totals;
    queue->synced_generation = wire_read_uint(&reader);
    queue->synced_status = (enum status)wire_read_int(&reader);
    sync_counts_read(&reader, &queue->synced_counts);
    wire_skip_rest(&reader, fields, QUEUE_FIELDS);
    return reader.status ? STATUS_CORRUPT : STATUS_OK;
}

/* --- sessions that may come back -------------------------------------------------------------- */

static enum status load_session(struct sched *sched, const struct store_row *row)
{
    if (sched->expected_count == sched->expected_room) {
        uint32_t room = sched->expected_room ? sched->expected_room * 2 : 64;
        struct expected *expected = realloc(sched->expected, room * sizeof(*expected));
        if (!expected)
            return STATUS_NO_MEMORY;
        sched->expected = expected;
        sched->expected_room = room;
    }
    struct expected *expected = &sched->expected[sched->expected_count++];
    uint64_t uid[2] = {row->a, row->b};
    memcpy(expected->uid, uid, SESSION_UID_BYTES);
    expected->is_back = false;
    sched->expected_left++;
    return sched_reserve_rows(sched, 0, 0) ? STATUS_OK : STATUS_NO_MEMORY; /* for its end */
}

static struct expected *find_expected(const struct sched *sched, const uint8_t *uid)
{
    for (uint32_t i = 0; i < sched->expected_count; i++)
        if (memcmp(sched->expected[i].uid, uid, SESSION_UID_BYTES) == 0)
            return &sched->expected[i];
    return NULL;
}

bool load_uid_is_known(const struct sched *sched, const uint8_t *uid)
{
    return find_expected(sched, uid) != NULL;
}

void load_session_is_back(struct sched *sched, const uint8_t *uid)
{
    struct expected *expected = find_expected(sched, uid);
    if (!expected || expected->is_back)
        return;
    expected->is_back = true;
    if (--sched->expected_left == 0 && sched->grace_end_mono_us != TIME_US_NEVER)
        sched->grace_end_mono_us = 0; /* ends as soon as time passes */
}

/* --- records ---------------------------------------------------------------------------------- */

/* The first record: the totals of the queues tell how many will follow. They are believed up to the
 * limit only: what is damaged must not take gigabytes before it is noticed. */
static void prepare(struct sched *sched)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        count += sched->queues[i]->totals.created - sched->queues[i]->totals.removed;
    if (count > sched->settings.limits.records_max)
        count = sched->settings.limits.records_max;
    if (count < UINT32_MAX / 2)
        table_prepare(&sched->keys, (uint32_t)count); /* without memory it grows as ever */
}

/* What was loaded last gets into the table: together, because each is a place in memory of its own
 * to wait for (half the time of a start, one by one). A key that is there already is damage. */
static enum status index_loaded(struct sched *sched)
{
    uint64_t hashes[FETCH_MAX];
    uint32_t count = sched->unindexed;
    uint32_t begin = sched->records.used_end - count;
    assert(count <= FETCH_MAX);
    if (count && !table_reserve(&sched->keys))
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct record *record = record_at(sched, begin + i);
        hashes[i] = record_hash(sched, record, record->queue);
        table_fetch_head(&sched->keys, hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        table_fetch_link(&sched->keys, table_bucket(&sched->keys, (uint32_t)hashes[i]));
    for (uint32_t i = 0; i < count; i++) {
        const struct record *record = record_at(sched, begin + i);
        struct bytes key = body_key(record_body(sched, record));
        if (record_find(sched, queue_of(sched, record), key) != SLAB_NONE)
            return STATUS_CORRUPT;
        if (!table_reserve(&sched->keys))
            return STATUS_NO_MEMORY;
        table_put(&sched->keys, begin + i, hashes[i]);
        sched->unindexed--;
    }
    return STATUS_OK;
}

enum status sched_load_record(struct sched *sched, const struct store_state *state,
                              const uint8_t *body, uint32_t count)
{
    uint32_t id;
    if (count < sizeof(id) || !body_is_valid(body + sizeof(id), count - (uint32_t)sizeof(id)))
        return STATUS_CORRUPT;
    memcpy(&id, body, sizeof(id));
    bool is_sane = id < sched->queue_count && state->flags & STATE_PRESENT &&
                   state->number < sched->next_record && state->state < sched->next_number &&
                   state->due_us >= 0 && state->due_us < TIME_US_END;
    if (!is_sane)
        return STATUS_CORRUPT;
    struct queue *queue = sched->queues[id];
    struct body_fields fields;
    if (sched->records.count == 0)
        prepare(sched);
    body_view_stored(body + sizeof(id), &fields);
    uint32_t slot;
    enum status status = record_make(sched, queue, &fields, &slot);
    if (status)
        return status;
    struct record *record = record_at(sched, slot);
    record->number = state->number & MASK_BITS(40);
    record_set_state(record, state->state);
    record_set_due(record, state->due_us);
    record_set_failures(record, state->failures);
    record_set_crashes(record, state->crashes);
    if (state->flags & STATE_PARKED) {
        if (!heap_reserve(&queue->parked, queue->parked.count + 1))
            return STATUS_NO_MEMORY;
        record_park(sched, slot, (struct moment){.wall_us = fields.parked_us});
    }
    return ++sched->unindexed == FETCH_MAX ? index_loaded(sched) : STATUS_OK;
}

uint32_t record_find_number(const struct sched *sched, uint64_t number)
{
    uint32_t low = 0, high = sched->records.used_end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct record *record = record_at(sched, middle);
        /* Records that a sync staged stand at the end and have no number yet. */
        if (record->number && record->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low < sched->records.used_end && record_at(sched, low)->number == number;
    return is_there ? low : SLAB_NONE;
}

static enum status load_pending(struct sched *sched, const struct store_row *row,
                                const uint8_t *bytes)
{
    uint32_t slot = record_find_number(sched, row->a);
    if (slot == SLAB_NONE) /* its record went in the same commit, or never came: left over */
        return sched_remove_row(sched, STORE_PENDING, row->a, 0);
    return pending_load(sched, slot, bytes, row->count);
}

enum status sched_load_row(struct sched *sched, const struct store_row *row, const uint8_t *bytes)
{
    enum status status = index_loaded(sched); /* rows name records */
    if (status)
        return status;
    switch (row->table) {
    case STORE_META:
        return load_meta(sched, row, bytes);
    case STORE_QUEUES:
        return load_queue(sched, row, bytes);
    case STORE_SESSIONS:
        return load_session(sched, row);
    case STORE_PENDING:
        return load_pending(sched, row, bytes);
    case STORE_SYNCS:
        return sync_load_row(sched, row, bytes);
    case STORE_RECORDS:
        break;
    }
    return STATUS_CORRUPT;
}

/* --- the grace -------------------------------------------------------------------------------- */

/* What was due before the restart may be out at a worker that lives; so may whatever has a change
 * pending, or was lost since its last good run: its due is that of its back-off, and one who had it
 * may be at work still. */
static void place_loaded(struct sched *sched, uint32_t slot, bool has_grace, struct moment now)
{
    struct record *record = record_at(sched, slot);
    if (record->where != PLACE_NOWHERE)
        return;
    bool may_be_out = (int64_t)record->due_us <= now.wall_us || record->crashes;
    if (record->flags & FLAG_PENDING || (may_be_out && has_grace)) {
        record_hold(sched, slot);
        return;
    }
    record_schedule(sched, slot, (int64_t)record->due_us, now);
}

/* Records are created minus removed: else some are missing, or their queue's row is another's. */
static bool are_counted(const struct sched *sched)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        const struct queue *queue = sched->queues[i];
        if (queue_records(queue) != queue->totals.created - queue->totals.removed)
            return false;
    }
    return true;
}

enum status sched_load_end(struct sched *sched, struct moment now)
{
    enum status status = index_loaded(sched);
    if (status)
        return status;
    bool has_grace = sched->expected_count > 0 && sched->settings.grace_us > 0;
    for (uint32_t slot = 0; slot < sched->records.used_end; slot++)
        if (record_at(sched, slot)->body)
            place_loaded(sched, slot, has_grace, now);
    if (!are_counted(sched))
        return STATUS_CORRUPT;
    sched->held_end = sched->records.used_end;
    sched->first_number = sched->next_number;
    sched->is_loading = false;
    if (has_grace)
        sched->grace_end_mono_us = now.mono_us + sched->settings.grace_us;
    else
        load_end_grace(sched);
    return STATUS_OK;
}

void load_end_grace(struct sched *sched)
{
    sched->grace_end_mono_us = TIME_US_NEVER;
    sched->is_letting_go = sched->held_cursor < sched->held_end;
    if (!sched->is_letting_go)
        take_look_again(sched);
    for (uint32_t i = 0; i < sched->expected_count; i++) {
        const struct expected *expected = &sched->expected[i];
        bool is_here = session_find_uid(sched, expected->uid) != SLAB_NONE;
        if (!expected->is_back && !is_here)
            session_remove_row(sched, expected->uid);
    }
    sched->expected_count = sched->expected_left = 0;
}

void load_let_go(struct sched *sched, uint32_t *budget, struct moment now)
{
    for (; *budget && sched->held_cursor < sched->held_end; sched->held_cursor++, --*budget) {
        uint32_t slot = sched->held_cursor;
        if (record_at(sched, slot)->where != PLACE_HELD)
            continue;
        record_move_to(sched, slot, PLACE_NOWHERE);
        int64_t due_us = TIME_US_NEVER;
        bool has_pending = record_at(sched, slot)->flags & FLAG_PENDING;
        if (has_pending && !pending_apply_lost(sched, slot, now, &due_us)) {
            record_move_to(sched, slot, PLACE_HELD); /* numbers or memory are out: later */
            return;
        }
        lease_place_uncounted(sched, slot, due_us, now);
    }
    sched->is_letting_go = sched->held_cursor < sched->held_end;
    if (!sched->is_letting_go)
        take_look_again(sched);
}
