#include "body.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"

/* The header, key, payload, and the parts in the order of enum body_part: numbers of 8 bytes, texts
 * behind a u32 of their length. */
enum { HEADER_BYTES = sizeof(struct body_header), NUMBER_PARTS = 3, TEXT_PARTS = 6 };

static const enum body_part number_parts[NUMBER_PARTS] = {BODY_EVERY, BODY_RANK, BODY_PARKED};
static const enum body_part text_parts[TEXT_PARTS] = {
    BODY_GROUP, BODY_MEMO, BODY_NOTE, BODY_ERROR, BODY_PARK_REASON, BODY_LAST_WORKER};

static void append(uint8_t **at, const void *data, size_t count)
{
    if (count)
        memcpy(*at, data, count);
    *at += count;
}

uint8_t *body_new(const struct body_fields *fields)
{
    const int64_t numbers[NUMBER_PARTS] = {fields->every_us, fields->rank, fields->parked_us};
    const struct bytes texts[TEXT_PARTS] = {fields->group,       fields->memo,
                                            fields->note,        fields->error,
                                            fields->park_reason, fields->last_worker};
    assert(fields->key.count > 0 && fields->key.count <= KEY_BYTES_MAX);
    struct body_header header = {.payload_bytes = fields->payload.count,
                                 .key_bytes = (uint16_t)fields->key.count};
    unsigned parts = (fields->payload.data ? BODY_PAYLOAD : 0u) | (fields->once ? BODY_ONCE : 0u);
    size_t total = HEADER_BYTES + fields->key.count + fields->payload.count;
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (numbers[i]) {
            parts |= number_parts[i];
            total += sizeof(int64_t);
        }
    for (int i = 0; i < TEXT_PARTS; i++)
        if (texts[i].count) {
            parts |= text_parts[i];
            total += sizeof(uint32_t) + texts[i].count;
        }
    header.parts = (uint16_t)parts;
    uint8_t *body = malloc(total);
    if (!body)
        return NULL;
    uint8_t *at = body;
    append(&at, &header, sizeof(header));
    append(&at, fields->key.data, fields->key.count);
    append(&at, fields->payload.data, fields->payload.count);
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (numbers[i])
            append(&at, &numbers[i], sizeof(numbers[i]));
    for (int i = 0; i < TEXT_PARTS; i++)
        if (texts[i].count) {
            append(&at, &texts[i].count, sizeof(texts[i].count));
            append(&at, texts[i].data, texts[i].count);
        }
    assert(at == body + total);
    return body;
}

/* Where the number of `part` stands. Numbers come in the order of their bits. */
static int64_t number_at(const uint8_t *body, enum body_part part)
{
    struct body_header header = body_header(body);
    if (!(header.parts & part))
        return 0;
    const uint8_t *at = body + HEADER_BYTES + header.key_bytes + header.payload_bytes;
    for (int i = 0; number_parts[i] != part; i++)
        if (header.parts & number_parts[i])
            at += sizeof(int64_t);
    int64_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static const uint8_t *texts_begin(const uint8_t *body, struct body_header header)
{
    const uint8_t *at = body + HEADER_BYTES + header.key_bytes + header.payload_bytes;
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (header.parts & number_parts[i])
            at += sizeof(int64_t);
    return at;
}

void body_view(const uint8_t *body, struct body_fields *fields)
{
    struct body_header header = body_header(body);
    *fields = (struct body_fields){
        .key = body_key(body),
        .payload = body_payload(body),
        .every_us = number_at(body, BODY_EVERY),
        .rank = number_at(body, BODY_RANK),
        .once = header.parts & BODY_ONCE,
        .parked_us = number_at(body, BODY_PARKED),
    };
    struct bytes *const texts[TEXT_PARTS] = {&fields->group,       &fields->memo,
                                             &fields->note,        &fields->error,
                                             &fields->park_reason, &fields->last_worker};
    const uint8_t *at = texts_begin(body, header);
    for (int i = 0; i < TEXT_PARTS; i++)
        if (header.parts & text_parts[i]) {
            memcpy(&texts[i]->count, at, sizeof(uint32_t));
            texts[i]->data = at + sizeof(uint32_t);
            at += sizeof(uint32_t) + texts[i]->count;
        }
}

int64_t body_rank(const uint8_t *body)
{
    return number_at(body, BODY_RANK);
}

int64_t body_every_us(const uint8_t *body)
{
    return number_at(body, BODY_EVERY);
}

uint32_t body_bytes(const uint8_t *body)
{
    struct body_header header = body_header(body);
    const uint8_t *at = texts_begin(body, header);
    for (int i = 0; i < TEXT_PARTS; i++)
        if (header.parts & text_parts[i]) {
            uint32_t count;
            memcpy(&count, at, sizeof(count));
            at += sizeof(count) + count;
        }
    return (uint32_t)(at - body);
}

bool body_is_valid(const uint8_t *data, uint32_t count)
{
    if (count < HEADER_BYTES)
        return false;
    struct body_header header = body_header(data);
    uint64_t used = (uint64_t)HEADER_BYTES + header.key_bytes + header.payload_bytes;
    if (header.parts & ~(unsigned)BODY_PARTS_ALL || used > count)
        return false;
    if (!(header.parts & BODY_PAYLOAD) && header.payload_bytes)
        return false;
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (header.parts & number_parts[i])
            used += sizeof(int64_t);
    for (int i = 0; i < TEXT_PARTS; i++)
        if (header.parts & text_parts[i]) {
            uint32_t text_bytes;
            if (used + sizeof(text_bytes) > count)
                return false;
            memcpy(&text_bytes, data + used, sizeof(text_bytes));
            used += sizeof(text_bytes) + text_bytes;
        }
    return used == count && bytes_are_key((struct bytes){data + HEADER_BYTES, header.key_bytes});
}
