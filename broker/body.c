#include "body.h"

#include <assert.h>
#include <string.h>

#include "bounds.h"

/* The header, key, payload, and the parts in the order of enum body_part: numbers of 8 bytes, texts
 * behind a u32 of their length. */
enum { NUMBER_PARTS = 3, TEXT_PARTS = 6, SHORT_KEY_MAX = 127, SHORT_PAYLOAD_MAX = 8191 };

_Static_assert((int)KEY_BYTES_MAX < 2048, "the length of a key has 11 bits");

/* How a header is stored. */
struct stored_header {
    uint32_t payload_bytes;
    uint16_t key_bytes;
    uint16_t parts;
};
_Static_assert(sizeof(struct stored_header) == BODY_LONG_BYTES, "the header has no padding");

static const enum body_part number_parts[NUMBER_PARTS] = {BODY_EVERY, BODY_RANK, BODY_PARKED};
static const enum body_part text_parts[TEXT_PARTS] = {
    BODY_GROUP, BODY_MEMO, BODY_NOTE, BODY_ERROR, BODY_PARK_REASON, BODY_LAST_WORKER};

/* --- packing ---------------------------------------------------------------------------------- */

/* What is packed, in order. */
struct parts {
    int64_t numbers[NUMBER_PARTS];
    struct bytes texts[TEXT_PARTS];
};

static struct parts parts_of(const struct body_fields *fields)
{
    return (struct parts){
        .numbers = {fields->every_us, fields->rank, fields->parked_us},
        .texts = {fields->group, fields->memo, fields->note, fields->error, fields->park_reason,
                  fields->last_worker},
    };
}

static struct body_header header_of(const struct body_fields *fields, const struct parts *parts)
{
    assert(fields->key.count > 0 && fields->key.count <= KEY_BYTES_MAX);
    unsigned bits = (fields->payload.data ? BODY_PAYLOAD : 0u) | (fields->once ? BODY_ONCE : 0u);
    for (int i = 0; i < NUMBER_PARTS; i++)
        bits |= parts->numbers[i] ? number_parts[i] : 0u;
    for (int i = 0; i < TEXT_PARTS; i++)
        bits |= parts->texts[i].count ? text_parts[i] : 0u;
    bool is_short =
        fields->key.count <= SHORT_KEY_MAX && fields->payload.count <= SHORT_PAYLOAD_MAX;
    return (struct body_header){
        .payload_bytes = fields->payload.count,
        .key_bytes = (uint16_t)fields->key.count,
        .parts = (uint16_t)bits,
        .bytes = is_short ? BODY_SHORT_BYTES : BODY_LONG_BYTES,
    };
}

static uint32_t measure(struct body_header header, const struct parts *parts)
{
    uint32_t total = header.bytes + header.key_bytes + header.payload_bytes;
    for (int i = 0; i < NUMBER_PARTS; i++)
        total += parts->numbers[i] ? (uint32_t)sizeof(int64_t) : 0;
    for (int i = 0; i < TEXT_PARTS; i++)
        total += parts->texts[i].count ? (uint32_t)sizeof(uint32_t) + parts->texts[i].count : 0;
    return total;
}

uint32_t body_measure(const struct body_fields *fields)
{
    struct parts parts = parts_of(fields);
    return measure(header_of(fields, &parts), &parts);
}

static void append(uint8_t **at, const void *data, size_t count)
{
    if (count)
        memcpy(*at, data, count);
    *at += count;
}

static void append_header(uint8_t **at, struct body_header header)
{
    bool is_long = header.bytes == BODY_LONG_BYTES;
    uint32_t low =
        (is_long ? 1u : 0u) | (uint32_t)header.parts << 1 | (uint32_t)header.key_bytes << 12;
    if (!is_long)
        low |= header.payload_bytes << 19;
    append(at, &low, sizeof(low));
    if (is_long)
        append(at, &header.payload_bytes, sizeof(header.payload_bytes));
}

void body_pack(const struct body_fields *fields, uint8_t *to)
{
    struct parts parts = parts_of(fields);
    struct body_header header = header_of(fields, &parts);
    uint8_t *at = to;
    append_header(&at, header);
    append(&at, fields->key.data, fields->key.count);
    append(&at, fields->payload.data, fields->payload.count);
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (parts.numbers[i])
            append(&at, &parts.numbers[i], sizeof(parts.numbers[i]));
    for (int i = 0; i < TEXT_PARTS; i++)
        if (parts.texts[i].count) {
            append(&at, &parts.texts[i].count, sizeof(parts.texts[i].count));
            append(&at, parts.texts[i].data, parts.texts[i].count);
        }
    assert(at == to + measure(header, &parts));
}

/* --- viewing, whatever the header's form ------------------------------------------------------ */

/* Where the numbers begin. */
static const uint8_t *numbers_begin(const uint8_t *body, struct body_header header)
{
    return body + header.bytes + header.key_bytes + header.payload_bytes;
}

/* The number of `part`. Numbers come in the order of their bits. */
static int64_t number_at(const uint8_t *body, struct body_header header, enum body_part part)
{
    if (!(header.parts & part))
        return 0;
    const uint8_t *at = numbers_begin(body, header);
    for (int i = 0; number_parts[i] != part; i++)
        if (header.parts & number_parts[i])
            at += sizeof(int64_t);
    int64_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static const uint8_t *texts_begin(const uint8_t *body, struct body_header header)
{
    const uint8_t *at = numbers_begin(body, header);
    for (int i = 0; i < NUMBER_PARTS; i++)
        if (header.parts & number_parts[i])
            at += sizeof(int64_t);
    return at;
}

static void view(const uint8_t *body, struct body_header header, struct body_fields *fields)
{
    const uint8_t *key = body + header.bytes;
    *fields = (struct body_fields){
        .key = {key, header.key_bytes},
        .payload = {header.parts & BODY_PAYLOAD ? key + header.key_bytes : NULL,
                    header.payload_bytes},
        .every_us = number_at(body, header, BODY_EVERY),
        .rank = number_at(body, header, BODY_RANK),
        .once = header.parts & BODY_ONCE,
        .parked_us = number_at(body, header, BODY_PARKED),
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

void body_view(const uint8_t *body, struct body_fields *fields)
{
    view(body, body_header(body), fields);
}

int64_t body_rank(const uint8_t *body)
{
    return number_at(body, body_header(body), BODY_RANK);
}

int64_t body_every_us(const uint8_t *body)
{
    return number_at(body, body_header(body), BODY_EVERY);
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

/* --- the stored form -------------------------------------------------------------------------- */

static struct body_header read_stored_header(const uint8_t *data)
{
    struct stored_header stored;
    memcpy(&stored, data, sizeof(stored));
    return (struct body_header){.payload_bytes = stored.payload_bytes,
                                .key_bytes = stored.key_bytes,
                                .parts = stored.parts,
                                .bytes = BODY_LONG_BYTES};
}

uint32_t body_stored_bytes(const uint8_t *body)
{
    return body_bytes(body) - body_header(body).bytes + BODY_LONG_BYTES;
}

void body_store(const uint8_t *body, uint8_t *to)
{
    struct body_header header = body_header(body);
    struct stored_header stored = {header.payload_bytes, header.key_bytes, header.parts};
    append(&to, &stored, sizeof(stored));
    append(&to, body + header.bytes, body_bytes(body) - header.bytes);
}

bool body_is_valid(const uint8_t *data, uint32_t count)
{
    if (count < BODY_LONG_BYTES)
        return false;
    struct body_header header = read_stored_header(data);
    uint64_t used = (uint64_t)BODY_LONG_BYTES + header.key_bytes + header.payload_bytes;
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
    return used == count && bytes_are_key((struct bytes){data + BODY_LONG_BYTES, header.key_bytes});
}

void body_view_stored(const uint8_t *data, struct body_fields *fields)
{
    view(data, read_stored_header(data), fields);
}
