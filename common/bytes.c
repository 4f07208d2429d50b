#include "bytes.h"

#include <string.h>

#include "bounds.h"
#include "utf8.h"

struct bytes bytes_of(const char *text)
{
    if (!text)
        return (struct bytes){NULL, 0};
    size_t count = strlen(text);
    return (struct bytes){(const uint8_t *)text, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX};
}

/* Whether 8 bytes are all printable ASCII: none below 0x20, none 0x7f or above. Exact, for the
 * lowest byte that is not sees no borrow or carry from those below it. */
static bool is_plain_word(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    uint64_t flags = word | (word - 0x2020202020202020) | (word + 0x0101010101010101);
    return (flags & 0x8080808080808080) == 0;
}

bool bytes_are_key(struct bytes key)
{
    if (!key.data || key.count == 0 || key.count > KEY_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < key.count;) {
        uint32_t left = key.count - i;
        if (left >= 8 && is_plain_word(key.data + i)) {
            i += 8;
            continue;
        }
        uint32_t count = (uint32_t)utf8_first(key.data + i, left);
        if (count == 0 || key.data[i] < 0x20 || key.data[i] == 0x7f)
            return false;
        i += count;
    }
    return true;
}

bool bytes_are_queue_name(struct bytes name)
{
    if (!name.data || name.count == 0 || name.count > QUEUE_NAME_BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < name.count; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

struct bytes bytes_cut_utf8(struct bytes text, uint32_t count_max)
{
    if (text.count <= count_max)
        return text;
    uint32_t count = count_max;
    /* Three steps back at most: a character has no more bytes that go on. */
    for (int i = 0; i < 3 && count > 0 && (text.data[count] & 0xc0) == 0x80; i++)
        count--;
    if ((text.data[count] & 0xc0) == 0x80)
        count = count_max; /* no UTF-8 anyway */
    return (struct bytes){text.data, count};
}
