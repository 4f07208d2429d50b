#include "lease_text.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "base64.h"

/* Layout: 'E', bytes of the queue's name, the name, lease, state, the key, CRC-32 of all that. */
enum {
    MARK = 'E',
    NUMBER_BYTES = 8,
    CHECK_BYTES = 4,
    FIXED_BYTES = 2 + 2 * NUMBER_BYTES + CHECK_BYTES,
    BYTES_MAX = FIXED_BYTES + LEASE_TEXT_QUEUE_BYTES + LEASE_TEXT_KEY_BYTES,
    TEXT_MAX = (BYTES_MAX + 2) / 3 * 4,
};

static void write_number(uint8_t *bytes, uint64_t number, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        bytes[i] = (uint8_t)(number >> 8 * (count - 1 - i));
}

static uint64_t read_number(const uint8_t *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

static uint32_t check_of(const uint8_t *bytes, size_t count)
{
    return (uint32_t)crc32(0, bytes, (uInt)count);
}

void lease_text_write(struct text *text, const char *queue, struct everdue_bytes key,
                      uint64_t lease, uint64_t state)
{
    uint8_t bytes[BYTES_MAX];
    size_t queue_count = strlen(queue);
    size_t count = 2;
    assert(queue_count > 0 && queue_count <= LEASE_TEXT_QUEUE_BYTES);
    assert(key.count <= LEASE_TEXT_KEY_BYTES);
    bytes[0] = MARK;
    bytes[1] = (uint8_t)queue_count;
    memcpy(bytes + count, queue, queue_count);
    count += queue_count;
    write_number(bytes + count, lease, NUMBER_BYTES);
    count += NUMBER_BYTES;
    write_number(bytes + count, state, NUMBER_BYTES);
    count += NUMBER_BYTES;
    memcpy(bytes + count, key.data, key.count);
    count += key.count;
    write_number(bytes + count, check_of(bytes, count), CHECK_BYTES);
    base64_encode(text, bytes, count + CHECK_BYTES, BASE64_URL);
}

bool lease_text_read(struct lease_text *lease, const char *text)
{
    uint8_t bytes[TEXT_MAX / 4 * 3 + 2];
    size_t text_count = strlen(text);
    size_t count;
    if (text_count > TEXT_MAX || !base64_decode(text, text_count, BASE64_URL, bytes, &count))
        return false;
    if (count <= FIXED_BYTES || bytes[0] != MARK)
        return false;
    count -= CHECK_BYTES;
    if (read_number(bytes + count, CHECK_BYTES) != check_of(bytes, count))
        return false;
    size_t queue_count = bytes[1];
    size_t key_at = 2 + queue_count + 2 * NUMBER_BYTES;
    if (queue_count == 0 || queue_count > LEASE_TEXT_QUEUE_BYTES || key_at >= count ||
        count - key_at > LEASE_TEXT_KEY_BYTES)
        return false;
    memcpy(lease->queue, bytes + 2, queue_count);
    lease->queue[queue_count] = '\0';
    lease->lease = read_number(bytes + 2 + queue_count, NUMBER_BYTES);
    lease->state = read_number(bytes + 2 + queue_count + NUMBER_BYTES, NUMBER_BYTES);
    lease->key_count = count - key_at;
    memcpy(lease->key, bytes + key_at, lease->key_count);
    return true;
}
