/* wire_quick.h - the usual forms of msgpack in line, without asking for room each time: for items
 * that are read and written by the million, tasks and reports. Used by message_work.c and
 * wire_write.c only.
 *
 * Reading: each function takes one value if it stands there in a usual form, and returns false,
 * having taken nothing that counts, for everything else: errors, too. So a reader tries this first
 * and reads the item again with wire.h when it fails; what it takes is what wire.h would give. Who
 * calls has compared the room: so many bytes must be there as a number may take.
 *
 * Writing: the caller has reserved the most that the item can take; each function returns where the
 * next value goes.
 */
#ifndef EVERDUE_WIRE_QUICK_H
#define EVERDUE_WIRE_QUICK_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "wire_forms.h"

enum {
    WIRE_NUMBER_BYTES = 9, /* the most that a number takes, and what reading one may touch */
    WIRE_HEAD_BYTES = 5,   /* the most that the head of a str or bin takes */
};

/* Always in line: the place stays in a register. */
#define WIRE_QUICK __attribute__((always_inline)) static inline

/* --- reading ---------------------------------------------------------------------------------- */

/* An integer that is not negative. WIRE_NUMBER_BYTES are there. */
WIRE_QUICK bool wire_quick_uint(const uint8_t **at, uint64_t *value)
{
    uint8_t first = **at;
    if (first < FIX_MAP) {
        *value = first;
        *at += 1;
        return true;
    }
    unsigned size = (unsigned)first - UINT_8;
    if (size > UINT_64 - UINT_8)
        return false;
    unsigned bytes = 1u << size;
    uint64_t big_endian;
    memcpy(&big_endian, *at + 1, sizeof(big_endian)); /* what is too much is shifted out */
    *value = be64toh(big_endian) >> (64 - 8 * bytes);
    *at += 1 + bytes;
    return true;
}

/* The same, `most` at most. */
WIRE_QUICK bool wire_quick_uint_to(const uint8_t **at, uint64_t most, uint64_t *value)
{
    return wire_quick_uint(at, value) && *value <= most;
}

/* A str or bin of up to 65,535 bytes, behind which `behind` more are there. WIRE_NUMBER_BYTES are
 * there. */
WIRE_QUICK bool wire_quick_bytes(const uint8_t **at, const uint8_t *end, size_t behind,
                                 struct bytes *bytes)
{
    uint8_t first = **at;
    unsigned head = 1;
    uint32_t count;
    if ((first & 0xe0) == FIX_STR) {
        count = first & 0x1f;
    } else if (first == BIN_8 || first == STR_8) {
        count = (*at)[1];
        head = 2;
    } else if (first == BIN_16 || first == STR_16) {
        count = (uint32_t)(*at)[1] << 8 | (*at)[2];
        head = 3;
    } else {
        return false;
    }
    if ((size_t)(end - *at) < head + count + behind)
        return false;
    *bytes = (struct bytes){*at + head, count};
    *at += head + count;
    return true;
}

/* The same, or nil: absent bytes. */
WIRE_QUICK bool wire_quick_bytes_or_nil(const uint8_t **at, const uint8_t *end, size_t behind,
                                        struct bytes *bytes)
{
    if (**at != NIL)
        return wire_quick_bytes(at, end, behind, bytes);
    *bytes = (struct bytes){NULL, 0};
    *at += 1;
    return (size_t)(end - *at) >= behind;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The type byte and a big-endian number of `bytes` behind it. */
WIRE_QUICK uint8_t *wire_put_number(uint8_t *at, uint8_t type, uint64_t number, unsigned bytes)
{
    uint64_t big_endian = htobe64(number << (64 - 8 * bytes));
    at[0] = type;
    memcpy(at + 1, &big_endian, sizeof(big_endian)); /* what is too much is written over next */
    return at + 1 + bytes;
}

WIRE_QUICK uint8_t *wire_put_byte(uint8_t *at, uint8_t byte)
{
    *at = byte;
    return at + 1;
}

/* Up to WIRE_NUMBER_BYTES. */
WIRE_QUICK uint8_t *wire_put_uint(uint8_t *at, uint64_t value)
{
    if (value < FIX_MAP)
        return wire_put_byte(at, (uint8_t)value);
    if (value > UINT32_MAX)
        return wire_put_number(at, UINT_64, value, 8);
    if (value > UINT16_MAX)
        return wire_put_number(at, UINT_32, value, 4);
    if (value > UINT8_MAX)
        return wire_put_number(at, UINT_16, value, 2);
    return wire_put_number(at, UINT_8, value, 1);
}

/* The same; a negative one in its shortest form. */
WIRE_QUICK uint8_t *wire_put_int(uint8_t *at, int64_t value)
{
    if (value >= 0)
        return wire_put_uint(at, (uint64_t)value);
    if (value >= -32)
        return wire_put_byte(at, (uint8_t)value);
    if (value >= INT8_MIN)
        return wire_put_number(at, INT_8, (uint64_t)value, 1);
    if (value >= INT16_MIN)
        return wire_put_number(at, INT_16, (uint64_t)value, 2);
    if (value >= INT32_MIN)
        return wire_put_number(at, INT_32, (uint64_t)value, 4);
    return wire_put_number(at, INT_64, (uint64_t)value, 8);
}

WIRE_QUICK uint8_t *wire_put_nil(uint8_t *at)
{
    return wire_put_byte(at, NIL);
}

/* Bytes that have their head, or need none. The room for a number is there behind them. */
WIRE_QUICK uint8_t *wire_put_raw(uint8_t *at, struct bytes bytes)
{
    memcpy(at, bytes.data, bytes.count);
    return at + bytes.count;
}

/* A str, nil for absent bytes: up to WIRE_HEAD_BYTES more than it has. */
WIRE_QUICK uint8_t *wire_put_str(uint8_t *at, struct bytes text)
{
    if (!text.data)
        return wire_put_nil(at);
    if (text.count < 32)
        at = wire_put_byte(at, (uint8_t)(FIX_STR | text.count));
    else if (text.count <= UINT8_MAX)
        at = wire_put_number(at, STR_8, text.count, 1);
    else if (text.count <= UINT16_MAX)
        at = wire_put_number(at, STR_16, text.count, 2);
    else
        at = wire_put_number(at, STR_32, text.count, 4);
    return wire_put_raw(at, text);
}

/* The same for a bin. */
WIRE_QUICK uint8_t *wire_put_bin(uint8_t *at, struct bytes data)
{
    if (!data.data)
        return wire_put_nil(at);
    if (data.count <= UINT8_MAX)
        at = wire_put_number(at, BIN_8, data.count, 1);
    else if (data.count <= UINT16_MAX)
        at = wire_put_number(at, BIN_16, data.count, 2);
    else
        at = wire_put_number(at, BIN_32, data.count, 4);
    return wire_put_raw(at, data);
}

#endif
