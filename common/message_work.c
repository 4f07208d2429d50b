#include "message.h"

#include "fields.h"
#include "wire_quick.h"

/* --- items in one go -------------------------------------------------------------------------- */

/* Where an item of at most so many numbers (nils and flags too), with this key, and with
 * `texts_bytes` in other texts and their heads, may be written. NULL: no memory. */
static uint8_t *begin_item(struct wire_buffer *buffer, uint32_t numbers, struct bytes key,
                           size_t texts_bytes)
{
    size_t most = (numbers + 1) * (size_t)WIRE_NUMBER_BYTES; /* and the array's head */
    most += WIRE_HEAD_BYTES + key.count + texts_bytes;
    return wire_buffer_reserve(buffer, most) ? buffer->data + buffer->count : NULL;
}

static void end_item(struct wire_buffer *buffer, const uint8_t *at)
{
    buffer->count = (size_t)(at - buffer->data);
}

WIRE_QUICK uint8_t *put_array(uint8_t *at, uint32_t count)
{
    return wire_put_byte(at, (uint8_t)(FIX_ARRAY | count)); /* no item has more than 15 fields */
}

WIRE_QUICK uint8_t *put_name(uint8_t *at, const struct lease_name *name)
{
    at = wire_put_uint(at, name->queue);
    at = wire_put_str(at, name->key);
    return wire_put_uint(at, name->lease);
}

/* The head of an array of `least` to 15 elements, and the name; behind the name there is room to
 * read `numbers` numbers. */
WIRE_QUICK bool quick_name(const uint8_t **at, const uint8_t *end, uint32_t least, uint32_t numbers,
                           uint32_t *count, struct lease_name *name)
{
    uint64_t queue;
    if (end - *at < 1 + 2 * WIRE_NUMBER_BYTES || (**at & 0xf0) != FIX_ARRAY)
        return false;
    *count = **at & 0x0f;
    *at += 1;
    if (*count < least || !wire_quick_uint_to(at, SESSION_QUEUES_MAX - 1, &queue))
        return false;
    name->queue = (uint32_t)queue;
    return wire_quick_bytes(at, end, (1 + numbers) * (size_t)WIRE_NUMBER_BYTES, &name->key) &&
           wire_quick_uint_to(at, LEASE_END - 1, &name->lease);
}

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

enum { TASK_FIELDS = 14 }; /* and once, where it is set */

void task_write(struct wire_buffer *buffer, const struct task *task)
{
    size_t texts_bytes =
        3 * (size_t)WIRE_HEAD_BYTES + task->payload.count + task->memo.count + task->group.count;
    uint8_t *at = begin_item(buffer, TASK_FIELDS, task->name.key, texts_bytes);
    if (!at)
        return;
    at = put_array(at, TASK_FIELDS + task->once);
    at = put_name(at, &task->name);
    at = wire_put_uint(at, task->state);
    at = wire_put_int(at, task->due_us);
    at = wire_put_int(at, task->lateness_us);
    at = wire_put_uint(at, task->failures);
    at = wire_put_uint(at, task->crashes);
    at = wire_put_uint(at, task->lease_ms);
    at = wire_put_bin(at, task->payload);
    at = wire_put_bin(at, task->memo);
    at = wire_put_str(at, task->group);
    at = wire_put_int(at, task->every_us);
    at = wire_put_int(at, task->rank);
    if (task->once)
        at = wire_put_byte(at, TRUE_BYTE);
    end_item(buffer, at);
}

WIRE_QUICK bool quick_uint32(const uint8_t **at, uint32_t *value)
{
    uint64_t wide;
    if (!wire_quick_uint_to(at, UINT32_MAX, &wide))
        return false;
    *value = (uint32_t)wide;
    return true;
}

/* A whole number that fits an int64, and is not negative. */
WIRE_QUICK bool quick_int(const uint8_t **at, int64_t most, int64_t *value)
{
    uint64_t wide;
    if (!wire_quick_uint_to(at, (uint64_t)most, &wide))
        return false;
    *value = (int64_t)wide;
    return true;
}

static bool quick_task(struct wire_reader *reader, uint32_t *count, struct task *task)
{
    const uint8_t *at = reader->at, *end = reader->end;
    const size_t number = WIRE_NUMBER_BYTES;
    bool is_it =
        quick_name(&at, end, TASK_FIELDS, 7, count, &task->name) &&
        wire_quick_uint_to(&at, LEASE_END - 1, &task->state) &&
        quick_int(&at, TIME_US_END - 1, &task->due_us) &&
        quick_int(&at, INT64_MAX, &task->lateness_us) && quick_uint32(&at, &task->failures) &&
        quick_uint32(&at, &task->crashes) && quick_uint32(&at, &task->lease_ms) &&
        wire_quick_bytes_or_nil(&at, end, number, &task->payload) &&
        wire_quick_bytes_or_nil(&at, end, number, &task->memo) &&
        wire_quick_bytes_or_nil(&at, end, 2 * number, &task->group) &&
        quick_int(&at, TIME_US_END - 1, &task->every_us) && quick_int(&at, INT64_MAX, &task->rank);
    if (is_it)
        reader->at = at;
    return is_it;
}

/* What stands behind the fields that every task has. */
static void read_task_rest(struct fields *fields, struct task *task)
{
    task->once = fields_next(fields) && wire_read_bool(fields->reader);
    fields_end(fields);
}

void task_read_any(struct wire_reader *reader, struct task *task)
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
    read_task_rest(&fields, task);
}

void task_read(struct wire_reader *reader, struct task *task)
{
    uint32_t count;
    if (!quick_task(reader, &count, task)) {
        task_read_any(reader, task);
        return;
    }
    struct fields fields = {reader, count - TASK_FIELDS};
    read_task_rest(&fields, task);
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

enum { REPORT_FIELDS = 9, REPORT_OPTIONS = 6 };

WIRE_QUICK uint8_t *put_time(uint8_t *at, int64_t us)
{
    return us == TIME_US_NEVER ? wire_put_nil(at) : wire_put_int(at, us);
}

/* The options up to the last that is given; how many those are. */
static uint32_t options_given(const struct report *report)
{
    const bool given[REPORT_OPTIONS] = {report->memo.data != NULL,  report->payload.data != NULL,
                                        report->has_rank,           report->note.data != NULL,
                                        report->error.data != NULL, report->cause != CAUSE_NONE};
    return fields_given(given, REPORT_OPTIONS);
}

/* All of them; `written` of them stay. */
static uint8_t *put_options(uint8_t *at, const struct report *report, uint32_t written)
{
    at = wire_put_bin(at, report->memo);
    at = wire_put_bin(at, report->payload);
    at = report->has_rank ? wire_put_int(at, report->rank) : wire_put_nil(at);
    at = wire_put_str(at, report->note);
    at = wire_put_str(at, report->error);
    at = report->cause ? wire_put_int(at, (int)report->cause) : wire_put_nil(at);
    return at - (REPORT_OPTIONS - written); /* what is not given is a nil */
}

void report_write(struct wire_buffer *buffer, const struct report *report)
{
    size_t texts_bytes = 4 * (size_t)WIRE_HEAD_BYTES + report->memo.count + report->payload.count +
                         report->note.count + report->error.count;
    uint8_t *at = begin_item(buffer, REPORT_FIELDS + REPORT_OPTIONS, report->name.key, texts_bytes);
    if (!at)
        return;
    uint32_t written = options_given(report);
    at = put_array(at, REPORT_FIELDS + written);
    at = put_name(at, &report->name);
    at = wire_put_uint(at, report->state);
    at = wire_put_int(at, (int)report->outcome);
    at = put_time(at, report->due_us);
    at = put_time(at, report->in_us);
    at = wire_put_uint(at, report->waited_us);
    at = wire_put_uint(at, report->ran_us);
    if (written)
        at = put_options(at, report, written);
    end_item(buffer, at);
}

/* A run of more than 71 minutes is as good as one of 71: both are in the histogram's last place. */
static uint32_t saturate(uint64_t us)
{
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

/* A time that a client chose; one that is out of its range is left to the other reader. */
WIRE_QUICK bool quick_time(const uint8_t **at, int64_t *us)
{
    if (**at != NIL)
        return quick_int(at, TIME_US_NEVER - 1, us);
    *us = TIME_US_NEVER;
    *at += 1;
    return true;
}

static bool quick_report(struct wire_reader *reader, uint32_t *count, struct report *report)
{
    const uint8_t *at = reader->at;
    uint64_t outcome, waited_us, ran_us;
    bool is_it = quick_name(&at, reader->end, REPORT_FIELDS, 6, count, &report->name) &&
                 wire_quick_uint_to(&at, LEASE_END - 1, &report->state) &&
                 wire_quick_uint_to(&at, OUTCOME_COUNT - 1, &outcome) &&
                 quick_time(&at, &report->due_us) && quick_time(&at, &report->in_us) &&
                 wire_quick_uint(&at, &waited_us) && wire_quick_uint(&at, &ran_us);
    if (!is_it)
        return false;
    report->outcome = (enum outcome)outcome;
    report->waited_us = saturate(waited_us);
    report->ran_us = saturate(ran_us);
    reader->at = at;
    return true;
}

/* What stands behind the fields that every report has. */
static void read_report_rest(struct fields *fields, struct report *report)
{
    report->memo = fields_bytes_or_absent(fields);
    report->payload = fields_bytes_or_absent(fields);
    report->has_rank = fields_next(fields);
    report->rank = report->has_rank ? wire_read_int(fields->reader) : 0;
    report->note = fields_bytes_or_absent(fields);
    report->error = fields_bytes_or_absent(fields);
    report->cause = read_cause(fields);
    fields_end(fields);
}

void report_read_any(struct wire_reader *reader, struct report *report)
{
    struct fields fields = fields_begin(reader);
    read_name(&fields, &report->name);
    report->state = fields_uint(&fields, LEASE_END - 1);
    report->outcome = (enum outcome)fields_uint(&fields, OUTCOME_COUNT - 1);
    report->due_us = fields_time_or_never(&fields);
    report->in_us = fields_time_or_never(&fields);
    report->waited_us = saturate(fields_uint(&fields, UINT64_MAX));
    report->ran_us = saturate(fields_uint(&fields, UINT64_MAX));
    read_report_rest(&fields, report);
}

void report_read(struct wire_reader *reader, struct report *report)
{
    uint32_t count;
    if (!quick_report(reader, &count, report)) {
        report_read_any(reader, report);
        return;
    }
    struct fields fields = {reader, count - REPORT_FIELDS};
    read_report_rest(&fields, report);
}
