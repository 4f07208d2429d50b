#include "message.h"

#include "fields.h"

/* --- leases ----------------------------------------------------------------------------------- */

static void write_name(struct wire_buffer *buffer, const struct lease_name *name)
{
    wire_write_uint(buffer, name->queue);
    wire_write_str(buffer, name->key);
    wire_write_uint(buffer, name->lease);
}

static void read_name(struct fields *fields, struct lease_name *name)
{
    name->queue = (uint32_t)fields_uint(fields, SESSION_QUEUES_MAX - 1);
    name->key = fields_bytes(fields);
    name->lease = fields_uint(fields, LEASE_END - 1);
}

void lease_name_write(struct wire_buffer *buffer, const struct lease_name *name)
{
    wire_write_array(buffer, 3);
    write_name(buffer, name);
}

void lease_name_read(struct wire_reader *reader, struct lease_name *name)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, name);
    fields_end(&fields);
}

void give_back_write(struct wire_buffer *buffer, const struct give_back *item)
{
    wire_write_array(buffer, 4);
    write_name(buffer, &item->name);
    wire_write_bool(buffer, item->begun);
}

void give_back_read(struct wire_reader *reader, struct give_back *item)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, &item->name);
    item->begun = fields_bool(&fields);
    fields_end(&fields);
}

void resume_write(struct wire_buffer *buffer, const struct resume *item)
{
    wire_write_array(buffer, 4);
    write_name(buffer, &item->name);
    wire_write_uint(buffer, item->state);
}

void resume_read(struct wire_reader *reader, struct resume *item)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, &item->name);
    item->state = fields_uint(&fields, LEASE_END - 1);
    fields_end(&fields);
}

/* --- tasks ------------------------------------------------------------------------------------ */

void task_write(struct wire_buffer *buffer, const struct task *task)
{
    wire_write_array(buffer, task->once ? 15 : 14);
    write_name(buffer, &task->name);
    wire_write_uint(buffer, task->state);
    wire_write_int(buffer, task->due_us);
    wire_write_int(buffer, task->lateness_us);
    wire_write_uint(buffer, task->failures);
    wire_write_uint(buffer, task->crashes);
    wire_write_uint(buffer, task->lease_ms);
    wire_write_bin(buffer, task->payload);
    wire_write_bin(buffer, task->memo);
    wire_write_str(buffer, task->group);
    wire_write_int(buffer, task->every_us);
    wire_write_int(buffer, task->rank);
    if (task->once)
        wire_write_bool(buffer, true);
}

void task_read(struct wire_reader *reader, struct task *task)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, &task->name);
    task->state = fields_uint(&fields, LEASE_END - 1);
    task->due_us = fields_time(&fields);
    task->lateness_us = fields_int(&fields);
    task->failures = fields_uint32(&fields);
    task->crashes = fields_uint32(&fields);
    task->lease_ms = fields_uint32(&fields);
    task->payload = fields_bytes_or_absent(&fields);
    task->memo = fields_bytes_or_absent(&fields);
    task->group = fields_bytes_or_absent(&fields);
    task->every_us = fields_time(&fields);
    task->rank = fields_int(&fields);
    task->once = fields_next(&fields) && wire_read_bool(fields.reader);
    fields_end(&fields);
}

void take_write(struct wire_buffer *buffer, const struct take *take)
{
    message_write_head(buffer, MESSAGE_TAKE, 6);
    wire_write_uint(buffer, take->id);
    wire_write_uint(buffer, take->queue);
    wire_write_uint(buffer, take->max);
    wire_write_uint(buffer, take->wait_ms);
    wire_write_uint(buffer, take->lease_ms);
    wire_write_bool(buffer, take->detached);
}

void take_read(struct wire_reader *reader, uint32_t count, struct take *take)
{
    struct fields fields = {reader, count};
    take->id = fields_uint(&fields, UINT64_MAX);
    take->queue = (uint32_t)fields_uint(&fields, SESSION_QUEUES_MAX - 1);
    take->max = fields_uint32(&fields);
    take->wait_ms = fields_uint32(&fields);
    take->lease_ms = fields_uint32(&fields);
    take->detached = fields_bool(&fields);
    fields_end(&fields);
}

/* --- reports ---------------------------------------------------------------------------------- */

void report_write(struct wire_buffer *buffer, const struct report *report)
{
    const bool given[] = {report->memo.data != NULL,  report->payload.data != NULL,
                          report->has_rank,           report->note.data != NULL,
                          report->error.data != NULL, report->cause != CAUSE_NONE};
    const uint32_t optional = sizeof(given) / sizeof(given[0]);
    const uint32_t written = fields_given(given, optional);

    wire_write_array(buffer, 9 + written);
    write_name(buffer, &report->name);
    wire_write_uint(buffer, report->state);
    wire_write_int(buffer, (int)report->outcome);
    fields_write_time(buffer, report->due_us);
    fields_write_time(buffer, report->in_us);
    wire_write_uint(buffer, report->waited_us);
    wire_write_uint(buffer, report->ran_us);
    wire_write_bin(buffer, report->memo);
    wire_write_bin(buffer, report->payload);
    fields_write_int_if(buffer, report->has_rank, report->rank);
    wire_write_str(buffer, report->note);
    wire_write_str(buffer, report->error);
    fields_write_int_if(buffer, report->cause != CAUSE_NONE, (int)report->cause);
    fields_drop_nils(buffer, optional - written);
}

/* A run of more than 71 minutes is as good as one of 71: both are in the histogram's last place. */
static uint32_t read_saturated(struct fields *fields)
{
    uint64_t us = fields_uint(fields, UINT64_MAX);
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static enum cause read_cause(struct fields *fields)
{
    uint64_t cause = fields_next(fields) ? wire_read_uint(fields->reader) : CAUSE_NONE;
    if (cause < CAUSE_COUNT)
        return (enum cause)cause;
    wire_fail(fields->reader);
    return CAUSE_NONE;
}

void report_read(struct wire_reader *reader, struct report *report)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, &report->name);
    report->state = fields_uint(&fields, LEASE_END - 1);
    report->outcome = (enum outcome)fields_uint(&fields, OUTCOME_COUNT - 1);
    report->due_us = fields_time_or_never(&fields);
    report->in_us = fields_time_or_never(&fields);
    report->waited_us = read_saturated(&fields);
    report->ran_us = read_saturated(&fields);
    report->memo = fields_bytes_or_absent(&fields);
    report->payload = fields_bytes_or_absent(&fields);
    report->has_rank = fields_next(&fields);
    report->rank = report->has_rank ? wire_read_int(reader) : 0;
    report->note = fields_bytes_or_absent(&fields);
    report->error = fields_bytes_or_absent(&fields);
    report->cause = read_cause(&fields);
    fields_end(&fields);
}
