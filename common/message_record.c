#include "message.h"

#include "fields.h"

/* --- put -------------------------------------------------------------------------------------- */

static void write_bool_if(struct wire_buffer *buffer, bool given, bool value)
{
    if (given)
        wire_write_bool(buffer, value);
    else
        wire_write_nil(buffer);
}

void put_write(struct wire_buffer *buffer, const struct put *put)
{
    const bool given[] = {put->due_us != TIME_US_NEVER,   put->in_us != TIME_US_NEVER,
                          put->every_us != TIME_US_NEVER, put->has_rank,
                          put->group.data != NULL,        put->has_once,
                          put->payload.data != NULL,      put->memo.data != NULL};
    const uint32_t optional = sizeof(given) / sizeof(given[0]);
    const uint32_t written = fields_given(given, optional);

    wire_write_array(buffer, 1 + written);
    wire_write_str(buffer, put->key);
    fields_write_time(buffer, put->due_us);
    fields_write_time(buffer, put->in_us);
    fields_write_time(buffer, put->every_us);
    fields_write_int_if(buffer, put->has_rank, put->rank);
    wire_write_str(buffer, put->group);
    write_bool_if(buffer, put->has_once, put->once);
    wire_write_bin(buffer, put->payload);
    wire_write_bin(buffer, put->memo);
    fields_drop_nils(buffer, optional - written);
}

void put_read(struct wire_reader *reader, struct put *put)
{
    struct fields fields = fields_begin(reader);
    put->key = fields_bytes(&fields);
    put->due_us = fields_time_or_never(&fields);
    put->in_us = fields_time_or_never(&fields);
    put->every_us = fields_time_or_never(&fields);
    put->has_rank = fields_next(&fields);
    put->rank = put->has_rank ? wire_read_int(reader) : 0;
    put->group = fields_bytes_or_absent(&fields);
    put->has_once = fields_next(&fields);
    put->once = put->has_once && wire_read_bool(reader);
    put->payload = fields_bytes_or_absent(&fields);
    put->memo = fields_bytes_or_absent(&fields);
    fields_end(&fields);
}

/* --- what clients see ------------------------------------------------------------------------- */

void record_view_write(struct wire_buffer *buffer, const struct record_view *view)
{
    const bool given[] = {view->payload.data != NULL,     view->memo.data != NULL,
                          view->note.data != NULL,        view->error.data != NULL,
                          view->park_reason.data != NULL, view->parked_us != 0,
                          view->last_worker.data != NULL};
    const uint32_t optional = sizeof(given) / sizeof(given[0]);
    const uint32_t written = fields_given(given, optional);

    wire_write_array(buffer, 10 + written);
    wire_write_str(buffer, view->key);
    wire_write_int(buffer, (int)view->status);
    wire_write_int(buffer, view->due_us);
    wire_write_int(buffer, view->every_us);
    wire_write_int(buffer, view->rank);
    wire_write_str(buffer, view->group);
    wire_write_bool(buffer, view->once);
    wire_write_uint(buffer, view->failures);
    wire_write_uint(buffer, view->crashes);
    wire_write_uint(buffer, view->state);
    wire_write_bin(buffer, view->payload);
    wire_write_bin(buffer, view->memo);
    wire_write_str(buffer, view->note);
    wire_write_str(buffer, view->error);
    wire_write_str(buffer, view->park_reason);
    fields_write_int_if(buffer, view->parked_us != 0, view->parked_us);
    wire_write_str(buffer, view->last_worker);
    fields_drop_nils(buffer, optional - written);
}

static enum record_status read_status(struct fields *fields)
{
    uint64_t status = fields_uint(fields, RECORD_PARKED);
    if (status == RECORD_WAITING || status == RECORD_READY || status == RECORD_LEASED ||
        status == RECORD_PARKED)
        return (enum record_status)status;
    wire_fail(fields->reader);
    return RECORD_WAITING;
}

void record_view_read(struct wire_reader *reader, struct record_view *view)
{
    struct fields fields = fields_begin(reader);
    view->key = fields_bytes(&fields);
    view->status = read_status(&fields);
    view->due_us = fields_time(&fields);
    view->every_us = fields_time(&fields);
    view->rank = fields_int(&fields);
    view->group = fields_bytes_or_absent(&fields);
    view->once = fields_bool(&fields);
    view->failures = fields_uint32(&fields);
    view->crashes = fields_uint32(&fields);
    view->state = fields_uint(&fields, LEASE_END - 1);
    view->payload = fields_bytes_or_absent(&fields);
    view->memo = fields_bytes_or_absent(&fields);
    view->note = fields_bytes_or_absent(&fields);
    view->error = fields_bytes_or_absent(&fields);
    view->park_reason = fields_bytes_or_absent(&fields);
    view->parked_us = fields_time_or_zero(&fields);
    view->last_worker = fields_bytes_or_absent(&fields);
    fields_end(&fields);
}

/* --- full sets -------------------------------------------------------------------------------- */

void sync_begin_write(struct wire_buffer *buffer, const struct sync_begin *begin)
{
    message_write_head(buffer, MESSAGE_SYNC_BEGIN, 4);
    wire_write_uint(buffer, begin->id);
    wire_write_str(buffer, begin->queue);
    fields_write_int_if(buffer, begin->spread_us != 0, begin->spread_us);
    wire_write_bool(buffer, begin->due_take);
}

void sync_begin_read(struct wire_reader *reader, uint32_t count, struct sync_begin *begin)
{
    struct fields fields = {reader, count};
    begin->id = fields_uint(&fields, UINT64_MAX);
    begin->queue = fields_bytes(&fields);
    begin->spread_us = fields_next(&fields) ? wire_read_int_saturated(reader) : 0;
    begin->due_take = fields_bool(&fields);
    fields_end(&fields);
}

void sync_commit_write(struct wire_buffer *buffer, const struct sync_commit *commit)
{
    message_write_head(buffer, MESSAGE_SYNC_COMMIT, 7);
    wire_write_uint(buffer, commit->id);
    wire_write_uint(buffer, commit->generation);
    wire_write_uint(buffer, commit->count);
    wire_write_uint(buffer, commit->checksum);
    wire_write_bool(buffer, commit->prune);
    wire_write_uint(buffer, commit->prune_max_ppm);
    wire_write_bool(buffer, commit->dry_run);
}

void sync_commit_read(struct wire_reader *reader, uint32_t count, struct sync_commit *commit)
{
    struct fields fields = {reader, count};
    commit->id = fields_uint(&fields, UINT64_MAX);
    commit->generation = fields_uint(&fields, UINT64_MAX);
    commit->count = fields_uint(&fields, UINT64_MAX);
    commit->checksum = fields_uint32(&fields);
    commit->prune = fields_bool(&fields);
    commit->prune_max_ppm = fields_uint32(&fields);
    commit->dry_run = fields_bool(&fields);
    fields_end(&fields);
}

void sync_counts_write(struct wire_buffer *buffer, const struct sync_counts *counts)
{
    wire_write_array(buffer, 8);
    wire_write_uint(buffer, counts->created);
    wire_write_uint(buffer, counts->changed);
    wire_write_uint(buffer, counts->unchanged);
    wire_write_uint(buffer, counts->rejected);
    wire_write_uint(buffer, counts->kept);
    wire_write_uint(buffer, counts->absent);
    wire_write_uint(buffer, counts->pruned);
    wire_write_uint(buffer, counts->due_now);
}

void sync_counts_read(struct wire_reader *reader, struct sync_counts *counts)
{
    struct fields fields = fields_begin(reader);
    counts->created = fields_uint(&fields, UINT64_MAX);
    counts->changed = fields_uint(&fields, UINT64_MAX);
    counts->unchanged = fields_uint(&fields, UINT64_MAX);
    counts->rejected = fields_uint(&fields, UINT64_MAX);
    counts->kept = fields_uint(&fields, UINT64_MAX);
    counts->absent = fields_uint(&fields, UINT64_MAX);
    counts->pruned = fields_uint(&fields, UINT64_MAX);
    counts->due_now = fields_uint(&fields, UINT64_MAX);
    fields_end(&fields);
}
