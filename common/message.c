#include "message.h"

#include <limits.h>

#include "fields.h"

void message_write_head(struct wire_buffer *buffer, enum message_type type, uint32_t fields)
{
    wire_write_array(buffer, 2 + fields);
    wire_write_int(buffer, PROTOCOL_VERSION);
    wire_write_int(buffer, (int)type);
}

enum status message_read_head(struct wire_reader *reader, struct message_head *head)
{
    *head = (struct message_head){.type = -1, .version = -1};
    uint32_t count = wire_read_array(reader, MESSAGE_BYTES_MAX);
    int64_t version = wire_read_int_saturated(reader);
    if (reader->status)
        return reader->status;
    if (version >= 0 && version <= INT_MAX)
        head->version = (int)version;
    if (version != PROTOCOL_VERSION)
        return STATUS_VERSION;

    int64_t type = wire_read_int_saturated(reader);
    if (count < 2)
        wire_fail(reader);
    if (reader->status)
        return reader->status;
    if (type >= 0 && type <= INT_MAX)
        head->type = (int)type;
    head->fields = count - 2;
    return STATUS_OK;
}

/* --- sessions --------------------------------------------------------------------------------- */

void hello_write(struct wire_buffer *buffer, const struct hello *hello)
{
    message_write_head(buffer, MESSAGE_HELLO, 8);
    wire_write_uint(buffer, hello->id);
    wire_write_bin(buffer, (struct bytes){hello->uid, SESSION_UID_BYTES});
    wire_write_str(buffer, hello->name);
    wire_write_array(buffer, hello->queue_count);
    for (uint32_t i = 0; i < hello->queue_count; i++)
        wire_write_str(buffer, hello->queues[i]);
    wire_write_uint(buffer, hello->credit);
    wire_write_uint(buffer, hello->lease_ms);
    wire_write_uint(buffer, hello->heartbeat_ms);
    wire_write_uint(buffer, hello->resume_count);
}

void hello_read(struct wire_reader *reader, uint32_t count, struct hello *hello)
{
    struct fields fields = {reader, count};
    hello->id = fields_uint(&fields, UINT64_MAX);
    fields_copy(&fields, hello->uid, SESSION_UID_BYTES);
    hello->name = fields_bytes(&fields);
    fields_must_have_next(&fields);
    hello->queue_count = wire_read_array(reader, SESSION_QUEUES_MAX);
    struct fields queues = {reader, hello->queue_count};
    for (uint32_t i = 0; i < hello->queue_count; i++)
        hello->queues[i] = fields_bytes(&queues);
    hello->credit = fields_uint32(&fields);
    hello->lease_ms = fields_uint32(&fields);
    hello->heartbeat_ms = fields_uint32(&fields);
    hello->resume_count = fields_uint32(&fields);
    fields_end(&fields);
}

void welcome_write(struct wire_buffer *buffer, const struct welcome *welcome)
{
    message_write_head(buffer, MESSAGE_WELCOME, 10);
    wire_write_uint(buffer, welcome->id);
    wire_write_bin(buffer, (struct bytes){welcome->store_id, STORE_ID_BYTES});
    wire_write_uint(buffer, welcome->credit_max);
    wire_write_uint(buffer, welcome->lease_ms);
    wire_write_uint(buffer, welcome->heartbeat_ms);
    wire_write_uint(buffer, welcome->payload_bytes_max);
    wire_write_uint(buffer, welcome->message_bytes_max);
    wire_write_bool(buffer, welcome->known);
    wire_write_str(buffer, welcome->version);
    wire_write_int(buffer, welcome->now_us);
}

void welcome_read(struct wire_reader *reader, uint32_t count, struct welcome *welcome)
{
    struct fields fields = {reader, count};
    welcome->id = fields_uint(&fields, UINT64_MAX);
    fields_copy(&fields, welcome->store_id, STORE_ID_BYTES);
    welcome->credit_max = fields_uint32(&fields);
    welcome->lease_ms = fields_uint32(&fields);
    welcome->heartbeat_ms = fields_uint32(&fields);
    welcome->payload_bytes_max = fields_uint32(&fields);
    welcome->message_bytes_max = fields_uint32(&fields);
    welcome->known = fields_bool(&fields);
    welcome->version = fields_bytes(&fields);
    welcome->now_us = fields_time(&fields);
    fields_end(&fields);
}

/* --- answers ---------------------------------------------------------------------------------- */

void answer_write_head(struct wire_buffer *buffer, uint64_t id, enum status status)
{
    message_write_head(buffer, MESSAGE_ANSWER, 4);
    wire_write_uint(buffer, id);
    wire_write_int(buffer, (int)status);
}

void answer_write_end(struct wire_buffer *buffer, struct bytes text)
{
    wire_write_str(buffer, text);
}

void answer_write(struct wire_buffer *buffer, uint64_t id, enum status status, struct bytes text)
{
    message_write_head(buffer, MESSAGE_ANSWER, text.data ? 4 : 2);
    wire_write_uint(buffer, id);
    wire_write_int(buffer, (int)status);
    if (!text.data)
        return;
    wire_write_nil(buffer);
    wire_write_str(buffer, text);
}

void error_write(struct wire_buffer *buffer, enum status status, struct bytes text)
{
    message_write_head(buffer, MESSAGE_ERROR, text.data ? 2 : 1);
    wire_write_int(buffer, (int)status);
    if (text.data)
        wire_write_str(buffer, text);
}
