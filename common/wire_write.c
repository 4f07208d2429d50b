#include "wire.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack/pack.h>

#include "wire_forms.h"

enum { FIRST_ROOM_BYTES = 256, HEAD_32_BYTES = 5 };

void wire_buffer_init(struct wire_buffer *buffer)
{
    *buffer = (struct wire_buffer){0};
}

void wire_buffer_release(struct wire_buffer *buffer)
{
    free(buffer->data);
    wire_buffer_init(buffer);
}

void wire_buffer_cut(struct wire_buffer *buffer, size_t count)
{
    assert(count <= buffer->count);
    buffer->count = count;
    buffer->failed = false;
}

void wire_buffer_clear(struct wire_buffer *buffer)
{
    wire_buffer_cut(buffer, 0);
}

/* Doubles, so that n bytes written one by one cost O(n). */
static bool grow(struct wire_buffer *buffer, size_t count)
{
    size_t room = buffer->room ? buffer->room : FIRST_ROOM_BYTES;
    if (count > SIZE_MAX / 2 - buffer->count) {
        buffer->failed = true;
        return false;
    }
    while (room < buffer->count + count)
        room *= 2;
    uint8_t *data = realloc(buffer->data, room);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->room = room;
    return true;
}

bool wire_buffer_grow(struct wire_buffer *buffer, size_t count)
{
    return !buffer->failed && grow(buffer, count);
}

/* msgpack_packer_write: the packer's way out. */
static int append(void *data, const char *bytes, size_t count)
{
    struct wire_buffer *buffer = data;
    if (!wire_buffer_reserve(buffer, count))
        return -1;
    if (count > 0)
        memcpy(buffer->data + buffer->count, bytes, count);
    buffer->count += count;
    return 0;
}

static msgpack_packer packer_of(struct wire_buffer *buffer)
{
    return (msgpack_packer){.data = buffer, .callback = append};
}

/* The packer's results are not looked at: a failure stays in the buffer. */

void wire_write_array(struct wire_buffer *buffer, uint32_t count)
{
    if (count < 16) {
        wire_write_byte(buffer, (uint8_t)(FIX_ARRAY | count));
        return;
    }
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_array(&packer, count);
}

void wire_write_map(struct wire_buffer *buffer, uint32_t count)
{
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_map(&packer, count);
}

/* The type byte and a big-endian number of `bytes` behind it. */
static void write_number(struct wire_buffer *buffer, uint8_t type, uint64_t number, unsigned bytes)
{
    if (!wire_buffer_reserve(buffer, 1 + sizeof(number)))
        return;
    uint8_t *at = buffer->data + buffer->count;
    uint64_t big_endian = htobe64(number << (64 - 8 * bytes));
    at[0] = type;
    memcpy(at + 1, &big_endian, sizeof(big_endian)); /* what is too much is written over next */
    buffer->count += 1 + bytes;
}

void wire_write_uint_any(struct wire_buffer *buffer, uint64_t value)
{
    if (value <= UINT32_MAX && value > UINT16_MAX)
        write_number(buffer, UINT_32, value, 4);
    else if (value > UINT32_MAX)
        write_number(buffer, UINT_64, value, 8);
    else if (value > UINT8_MAX)
        write_number(buffer, UINT_16, value, 2);
    else if (value > INT8_MAX)
        write_number(buffer, UINT_8, value, 1);
    else
        wire_write_byte(buffer, (uint8_t)value);
}

void wire_write_int_any(struct wire_buffer *buffer, int64_t value)
{
    if (value >= 0) {
        wire_write_uint_any(buffer, (uint64_t)value);
        return;
    }
    msgpack_packer packer = packer_of(buffer);
    msgpack_pack_int64(&packer, value);
}

void wire_write_bool(struct wire_buffer *buffer, bool value)
{
    msgpack_packer packer = packer_of(buffer);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

/* A head of `head_bytes`, which says the length, and the bytes: those that are short at once. */
static void write_bytes(struct wire_buffer *buffer, const uint8_t *head, unsigned head_bytes,
                        struct bytes bytes)
{
    if (!wire_buffer_reserve(buffer, head_bytes + bytes.count))
        return;
    uint8_t *at = buffer->data + buffer->count;
    memcpy(at, head, head_bytes);
    memcpy(at + head_bytes, bytes.data, bytes.count);
    buffer->count += head_bytes + bytes.count;
}

void wire_write_str(struct wire_buffer *buffer, struct bytes text)
{
    if (!text.data) {
        wire_write_nil(buffer);
    } else if (text.count < 32) {
        const uint8_t head = (uint8_t)(FIX_STR | text.count);
        write_bytes(buffer, &head, 1, text);
    } else {
        msgpack_packer packer = packer_of(buffer);
        msgpack_pack_str(&packer, text.count);
        msgpack_pack_str_body(&packer, text.data, text.count);
    }
}

void wire_write_bin(struct wire_buffer *buffer, struct bytes data)
{
    if (!data.data) {
        wire_write_nil(buffer);
    } else if (data.count <= UINT8_MAX) {
        const uint8_t head[] = {BIN_8, (uint8_t)data.count};
        write_bytes(buffer, head, sizeof(head), data);
    } else {
        msgpack_packer packer = packer_of(buffer);
        msgpack_pack_bin(&packer, data.count);
        msgpack_pack_bin_body(&packer, data.data, data.count);
    }
}

void wire_write_raw(struct wire_buffer *buffer, const void *data, size_t count)
{
    append(buffer, data, count);
}

/* A head of the type whose count is patched in later. Returns where it stands. */
static size_t write_later(struct wire_buffer *buffer, uint8_t type)
{
    const uint8_t head[HEAD_32_BYTES] = {type};
    size_t offset = buffer->count;
    wire_write_raw(buffer, head, sizeof(head));
    return offset;
}

/* Sets the big-endian count behind the type byte at `offset`. */
static void patch(struct wire_buffer *buffer, size_t offset, uint8_t type, uint32_t count)
{
    if (buffer->failed)
        return;
    assert(offset + HEAD_32_BYTES <= buffer->count);
    assert(buffer->data[offset] == type);
    uint32_t big_endian = htobe32(count);
    memcpy(buffer->data + offset + 1, &big_endian, sizeof(big_endian));
}

size_t wire_write_array_later(struct wire_buffer *buffer)
{
    return write_later(buffer, ARRAY_32);
}

void wire_patch_array(struct wire_buffer *buffer, size_t offset, uint32_t count)
{
    patch(buffer, offset, ARRAY_32, count);
}

size_t wire_write_map_later(struct wire_buffer *buffer)
{
    return write_later(buffer, MAP_32);
}

void wire_patch_map(struct wire_buffer *buffer, size_t offset, uint32_t count)
{
    patch(buffer, offset, MAP_32, count);
}
