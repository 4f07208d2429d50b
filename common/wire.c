#include "wire.h"

#include <assert.h>

#include "wire_forms.h"

enum { SKIP_DEPTH_MAX = 8 };

void wire_reader_init(struct wire_reader *reader, const void *data, size_t count)
{
    assert(data || count == 0);
    static const uint8_t nothing[1];
    reader->at = data ? data : nothing;
    reader->end = reader->at + count;
    reader->status = STATUS_OK;
}

void wire_fail(struct wire_reader *reader)
{
    reader->status = STATUS_MALFORMED;
    reader->at = reader->end;
}

static size_t left(const struct wire_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static uint64_t big_endian(const uint8_t *data, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | data[i];
    return value;
}

/* Takes the first byte and the big-endian number of `number_bytes` behind it. */
static bool take_number(struct wire_reader *reader, size_t number_bytes, uint64_t *number)
{
    if (left(reader) < 1 + number_bytes) {
        wire_fail(reader);
        return false;
    }
    *number = big_endian(reader->at + 1, number_bytes);
    reader->at += 1 + number_bytes;
    return true;
}

/* --- integers --------------------------------------------------------------------------------- */

/* An integer of any form: its 64 bits, and whether they are below zero. */
struct integer {
    uint64_t bits;
    bool negative;
};

static int64_t sign_extend(uint64_t number, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(number << shift) >> shift;
}

static bool take_integer(struct wire_reader *reader, struct integer *integer)
{
    uint8_t first = left(reader) > 0 ? *reader->at : NIL;

    if (first < FIX_MAP || first >= FIX_NEGATIVE) {
        reader->at++;
        integer->bits = (uint64_t)(int8_t)first;
        integer->negative = first >= FIX_NEGATIVE;
        return true;
    }
    if (first >= UINT_8 && first <= UINT_64) {
        integer->negative = false;
        return take_number(reader, (size_t)1 << (first - UINT_8), &integer->bits);
    }
    if (first >= INT_8 && first <= INT_64) {
        unsigned bytes = 1u << (first - INT_8);
        uint64_t number;
        if (!take_number(reader, bytes, &number))
            return false;
        int64_t value = sign_extend(number, bytes);
        integer->bits = (uint64_t)value;
        integer->negative = value < 0;
        return true;
    }
    wire_fail(reader);
    return false;
}

uint64_t wire_read_uint_any(struct wire_reader *reader)
{
    struct integer integer;
    if (!take_integer(reader, &integer))
        return 0;
    if (integer.negative) {
        wire_fail(reader);
        return 0;
    }
    return integer.bits;
}

int64_t wire_read_int_any(struct wire_reader *reader)
{
    struct integer integer;
    if (!take_integer(reader, &integer))
        return 0;
    if (!integer.negative && integer.bits > INT64_MAX) {
        wire_fail(reader);
        return 0;
    }
    return (int64_t)integer.bits;
}

int64_t wire_read_int_saturated(struct wire_reader *reader)
{
    struct integer integer;
    if (!take_integer(reader, &integer))
        return 0;
    if (!integer.negative && integer.bits > INT64_MAX)
        return INT64_MAX;
    return (int64_t)integer.bits;
}

int64_t wire_read_int_or(struct wire_reader *reader, int64_t otherwise)
{
    return wire_take_nil(reader) ? otherwise : wire_read_int(reader);
}

bool wire_read_bool(struct wire_reader *reader)
{
    if (left(reader) == 0 || (*reader->at != FALSE_BYTE && *reader->at != TRUE_BYTE)) {
        wire_fail(reader);
        return false;
    }
    return *reader->at++ == TRUE_BYTE;
}

/* --- containers and bytes --------------------------------------------------------------------- */

/* A container's count is believed when its elements, one byte each at least, can be there. */
static uint32_t check_count(struct wire_reader *reader, uint64_t count, uint64_t elements,
                            uint32_t count_max)
{
    if (count > count_max || elements > left(reader)) {
        wire_fail(reader);
        return 0;
    }
    return (uint32_t)count;
}

uint32_t wire_read_array_any(struct wire_reader *reader, uint32_t count_max)
{
    uint8_t first = left(reader) > 0 ? *reader->at : NIL;
    uint64_t count;

    if ((first & 0xf0) == FIX_ARRAY) {
        reader->at++;
        count = first & 0x0f;
    } else if (first == ARRAY_16 || first == ARRAY_32) {
        if (!take_number(reader, first == ARRAY_16 ? 2 : 4, &count))
            return 0;
    } else {
        wire_fail(reader);
        return 0;
    }
    return check_count(reader, count, count, count_max);
}

uint32_t wire_read_map(struct wire_reader *reader, uint32_t count_max)
{
    uint8_t first = left(reader) > 0 ? *reader->at : NIL;
    uint64_t count;

    if ((first & 0xf0) == FIX_MAP) {
        reader->at++;
        count = first & 0x0f;
    } else if (first == MAP_16 || first == MAP_32) {
        if (!take_number(reader, first == MAP_16 ? 2 : 4, &count))
            return 0;
    } else {
        wire_fail(reader);
        return 0;
    }
    return check_count(reader, count, 2 * count, count_max);
}

/* The bytes that the length field of a str or bin takes; 0 when `first` begins neither. */
static size_t length_bytes(uint8_t first)
{
    switch (first) {
    case STR_8:
    case BIN_8:
        return 1;
    case STR_16:
    case BIN_16:
        return 2;
    case STR_32:
    case BIN_32:
        return 4;
    default:
        return 0;
    }
}

struct bytes wire_read_bytes_any(struct wire_reader *reader, uint32_t count_max)
{
    const struct bytes absent = {NULL, 0};
    uint8_t first = left(reader) > 0 ? *reader->at : NEVER_USED;
    uint64_t count;

    if (first == NIL) {
        reader->at++;
        return absent;
    }
    if ((first & 0xe0) == FIX_STR) {
        reader->at++;
        count = first & 0x1f;
    } else if (length_bytes(first) > 0) {
        if (!take_number(reader, length_bytes(first), &count))
            return absent;
    } else {
        wire_fail(reader);
        return absent;
    }
    check_count(reader, count, count, count_max);
    if (reader->status)
        return absent;
    struct bytes bytes = {reader->at, (uint32_t)count};
    reader->at += count;
    return bytes;
}

bool wire_is_array(const struct wire_reader *reader)
{
    if (left(reader) == 0)
        return false;
    uint8_t first = *reader->at;
    return (first & 0xf0) == FIX_ARRAY || first == ARRAY_16 || first == ARRAY_32;
}

/* --- passing over ----------------------------------------------------------------------------- */

static bool is_map(uint8_t first)
{
    return (first & 0xf0) == FIX_MAP || first == MAP_16 || first == MAP_32;
}

static void take_bytes(struct wire_reader *reader, uint64_t count)
{
    if (count > left(reader))
        wire_fail(reader);
    else
        reader->at += count;
}

/* Pass over a value that holds no others. */
static void skip_scalar(struct wire_reader *reader)
{
    uint8_t first = *reader->at;
    uint64_t count;

    if ((first & 0xe0) == FIX_STR || length_bytes(first) > 0) {
        wire_read_bytes(reader, UINT32_MAX);
    } else if (first >= EXT_8 && first <= EXT_32) {
        if (take_number(reader, (size_t)1 << (first - EXT_8), &count))
            take_bytes(reader, 1 + count);
    } else if (first >= FIX_EXT_1 && first <= FIX_EXT_16) {
        take_bytes(reader, 2 + ((uint64_t)1 << (first - FIX_EXT_1)));
    } else if (first == FLOAT_32 || first == FLOAT_64) {
        take_bytes(reader, first == FLOAT_32 ? 5 : 9);
    } else if (first == NIL || first == FALSE_BYTE || first == TRUE_BYTE) {
        reader->at++;
    } else {
        struct integer integer;
        take_integer(reader, &integer);
    }
}

void wire_skip(struct wire_reader *reader)
{
    uint64_t open[SKIP_DEPTH_MAX]; /* elements still to come, of each container that is open */
    size_t depth = 0;

    /* Ends: each turn takes at least one byte, or fails, or closes a container. */
    do {
        if (depth > 0 && open[depth - 1] == 0) {
            depth--;
            continue;
        }
        if (depth > 0)
            open[depth - 1]--;
        if (left(reader) == 0) {
            wire_fail(reader);
            return;
        }
        bool map = is_map(*reader->at);
        if (map || wire_is_array(reader)) {
            if (depth == SKIP_DEPTH_MAX) {
                wire_fail(reader);
                return;
            }
            open[depth++] = map ? 2 * (uint64_t)wire_read_map(reader, UINT32_MAX)
                                : wire_read_array(reader, UINT32_MAX);
        } else {
            skip_scalar(reader);
        }
    } while (depth > 0 && reader->status == STATUS_OK);
}

void wire_skip_rest(struct wire_reader *reader, uint32_t count, uint32_t done)
{
    for (uint32_t i = done; i < count && reader->status == STATUS_OK; i++)
        wire_skip(reader);
}
