#include "wire.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <msgpack/pack.h>

#include "wire_forms.h"
#include "wire_quick.h"

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

/* What was written in place ends here. */
static void end_at(struct wire_buffer *buffer, const uint8_t *at)
{
    buffer->count = (size_t)(at - buffer->data);
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

void wire_write_uint_any(struct wire_buffer *buffer, uint64_t value)
{
    if (wire_buffer_reserve(buffer, WIRE_NUMBER_BYTES))
        end_at(buffer, wire_put_uint(buffer->data + buffer->count, value));
}

void wire_write_int_any(struct wire_buffer *buffer, int64_t value)
{
    if (wire_buffer_reserve(buffer, WIRE_NUMBER_BYTES))
        end_at(buffer, wire_put_int(buffer->data + buffer->count, value));
}

void wire_write_bool(struct wire_buffer *buffer, bool value)
{
    msgpack_packer packer = packer_of(buffer);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

/* A head is written as a number of 8 bytes, the rest of which is written over. */
static bool reserve_bytes(struct wire_buffer *buffer, struct bytes bytes)
{
    return wire_buffer_reserve(buffer, WIRE_NUMBER_BYTES + (size_t)bytes.count);
}

void wire_write_str(struct wire_buffer *buffer, struct bytes text)
{
    if (reserve_bytes(buffer, text))
        end_at(buffer, wire_put_str(buffer->data + buffer->count, text));
}

void wire_write_bin(struct wire_buffer *buffer, struct bytes data)
{
    if (reserve_bytes(buffer, data))
        end_at(buffer, wire_put_bin(buffer->data + buffer->count, data));
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
