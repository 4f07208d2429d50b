/* wire.h - msgpack, read and written directly.
 *
 * Reading: the protocol's messages are arrays of fixed shape, so they are read field by field from
 * the received bytes. No tree is built and nothing is allocated: a count or length is only believed
 * after it has been compared with the bytes that are there and with the caller's limit. The first
 * error sticks: later reads return 0 or empty, so a decoder reads all its fields and asks once.
 *
 * Writing: into a growing buffer; numbers and bytes directly, the rest with msgpack-c's packer. A
 * failed allocation sticks, too.
 *
 * The format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef EVERDUE_WIRE_H
#define EVERDUE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "status.h"

/* --- reading ---------------------------------------------------------------------------------- */

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
    enum status status; /* STATUS_OK, or STATUS_MALFORMED from the first error on */
};

void wire_reader_init(struct wire_reader *reader, const void *data, size_t count);

/* The number of elements of an array, at most `count_max`. A count that cannot be in the bytes that
 * are left (one byte each) is an error. */
static inline uint32_t wire_read_array(struct wire_reader *reader, uint32_t count_max);

/* The same for a map: its number of pairs. */
uint32_t wire_read_map(struct wire_reader *reader, uint32_t count_max);

/* An integer from 0 to 2^64-1, or from -2^63 to 2^63-1, however it is written. */
static inline uint64_t wire_read_uint(struct wire_reader *reader);
static inline int64_t wire_read_int(struct wire_reader *reader);
bool wire_read_bool(struct wire_reader *reader);

/* Like wire_read_int, but what is above INT64_MAX gives INT64_MAX: for a field whose range is
 * judged later, item by item. */
int64_t wire_read_int_saturated(struct wire_reader *reader);

/* str or bin of at most `count_max` bytes, borrowed from the message; nil gives absent bytes. */
static inline struct bytes wire_read_bytes(struct wire_reader *reader, uint32_t count_max);

/* Like wire_read_int, but nil gives `otherwise`. */
int64_t wire_read_int_or(struct wire_reader *reader, int64_t otherwise);

/* Consumes a nil if the next value is one. At the end of the input: false. */
static inline bool wire_take_nil(struct wire_reader *reader);

/* Whether the next value is an array. */
bool wire_is_array(const struct wire_reader *reader);

/* Pass over one value with all that is in it, to a depth of 8. */
void wire_skip(struct wire_reader *reader);

/* Pass over the rest of an array of `count` elements of which `done` have been read: fields that a
 * later version appended. */
void wire_skip_rest(struct wire_reader *reader, uint32_t count, uint32_t done);

/* The caller found a value out of its range: the same sticky error. */
void wire_fail(struct wire_reader *reader);

/* The short forms are most of the traffic, so they are read in line; these read all forms. An error
 * moves the reader to its end, which is why the short forms need not look at the status. */
uint32_t wire_read_array_any(struct wire_reader *reader, uint32_t count_max);
uint64_t wire_read_uint_any(struct wire_reader *reader);
int64_t wire_read_int_any(struct wire_reader *reader);
struct bytes wire_read_bytes_any(struct wire_reader *reader, uint32_t count_max);

static inline uint32_t wire_read_array(struct wire_reader *reader, uint32_t count_max)
{
    if (reader->at < reader->end && (*reader->at & 0xf0) == 0x90) {
        uint32_t count = *reader->at & 0x0f;
        if (count <= count_max && count < (size_t)(reader->end - reader->at)) {
            reader->at++;
            return count;
        }
    }
    return wire_read_array_any(reader, count_max);
}

static inline uint64_t wire_read_uint(struct wire_reader *reader)
{
    if (reader->at < reader->end && *reader->at < 0x80)
        return *reader->at++;
    return wire_read_uint_any(reader);
}

static inline int64_t wire_read_int(struct wire_reader *reader)
{
    if (reader->at < reader->end && *reader->at < 0x80)
        return *reader->at++;
    return wire_read_int_any(reader);
}

static inline struct bytes wire_read_bytes(struct wire_reader *reader, uint32_t count_max)
{
    if (reader->at < reader->end && (*reader->at & 0xe0) == 0xa0) {
        uint32_t count = *reader->at & 0x1f;
        if (count <= count_max && count < (size_t)(reader->end - reader->at)) {
            struct bytes bytes = {reader->at + 1, count};
            reader->at += 1 + count;
            return bytes;
        }
    }
    return wire_read_bytes_any(reader, count_max);
}

static inline bool wire_take_nil(struct wire_reader *reader)
{
    if (reader->at >= reader->end || *reader->at != 0xc0)
        return false;
    reader->at++;
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct wire_buffer {
    uint8_t *data;
    size_t count;
    size_t room;
    bool failed; /* an allocation failed: nothing is written any more until it is cleared */
};

/* An empty buffer. Nothing is allocated until something is written. */
void wire_buffer_init(struct wire_buffer *buffer);
void wire_buffer_release(struct wire_buffer *buffer);

/* Keep the memory, forget the content. */
void wire_buffer_clear(struct wire_buffer *buffer);

/* Room for `count` more bytes. On failure returns false and sets `failed`. */
static inline bool wire_buffer_reserve(struct wire_buffer *buffer, size_t count);

/* Take back all that was written behind the first `count` bytes, and that it failed. */
void wire_buffer_cut(struct wire_buffer *buffer, size_t count);

void wire_write_array(struct wire_buffer *buffer, uint32_t count);
void wire_write_map(struct wire_buffer *buffer, uint32_t count);
static inline void wire_write_uint(struct wire_buffer *buffer, uint64_t value);
static inline void wire_write_int(struct wire_buffer *buffer, int64_t value);
void wire_write_bool(struct wire_buffer *buffer, bool value);
static inline void wire_write_nil(struct wire_buffer *buffer);

/* A str (`text`) or bin (`data`); absent bytes are written as nil. */
void wire_write_str(struct wire_buffer *buffer, struct bytes text);
void wire_write_bin(struct wire_buffer *buffer, struct bytes data);

/* Bytes that are msgpack already. */
void wire_write_raw(struct wire_buffer *buffer, const void *data, size_t count);

/* A place for an array's count that is not known yet: 5 bytes (array 32). Returns its offset, to be
 * handed to wire_patch_array. */
size_t wire_write_array_later(struct wire_buffer *buffer);
void wire_patch_array(struct wire_buffer *buffer, size_t offset, uint32_t count);

/* The same for a map: its number of pairs. */
size_t wire_write_map_later(struct wire_buffer *buffer);
void wire_patch_map(struct wire_buffer *buffer, size_t offset, uint32_t count);

/* The long ways of what is in line. */
bool wire_buffer_grow(struct wire_buffer *buffer, size_t count);
void wire_write_uint_any(struct wire_buffer *buffer, uint64_t value);
void wire_write_int_any(struct wire_buffer *buffer, int64_t value);

static inline bool wire_buffer_reserve(struct wire_buffer *buffer, size_t count)
{
    bool has_room = !buffer->failed && count <= buffer->room - buffer->count;
    return has_room || wire_buffer_grow(buffer, count);
}

/* One byte that is a value by itself. */
static inline void wire_write_byte(struct wire_buffer *buffer, uint8_t byte)
{
    if (wire_buffer_reserve(buffer, 1))
        buffer->data[buffer->count++] = byte;
}

static inline void wire_write_uint(struct wire_buffer *buffer, uint64_t value)
{
    if (value < 0x80)
        wire_write_byte(buffer, (uint8_t)value);
    else
        wire_write_uint_any(buffer, value);
}

static inline void wire_write_int(struct wire_buffer *buffer, int64_t value)
{
    if (value >= 0 && value < 0x80)
        wire_write_byte(buffer, (uint8_t)value);
    else
        wire_write_int_any(buffer, value);
}

static inline void wire_write_nil(struct wire_buffer *buffer)
{
    wire_write_byte(buffer, 0xc0);
}

#endif
