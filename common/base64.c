#include "base64.h"

#include <string.h>

static const char alphabets[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

void base64_encode(struct text *text, const void *data, size_t count, enum base64_alphabet alphabet)
{
    const uint8_t *bytes = data;
    const char *letters = alphabets[alphabet];
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t word = (uint32_t)bytes[i] << 16;
        word |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        word |= left > 2 ? bytes[i + 2] : 0;
        char four[4] = {letters[word >> 18], letters[word >> 12 & 63],
                        left > 1 ? letters[word >> 6 & 63] : '=',
                        left > 2 ? letters[word & 63] : '='};
        bool is_cut = alphabet == BASE64_URL && left < 3;
        text_add(text, four, is_cut ? left + 1 : 4);
    }
}

static int value_of(char letter, enum base64_alphabet alphabet)
{
    const char *place = letter ? strchr(alphabets[alphabet], letter) : NULL;
    return place ? (int)(place - alphabets[alphabet]) : -1;
}

bool base64_decode(const char *text, size_t count, enum base64_alphabet alphabet, uint8_t *room,
                   size_t *decoded)
{
    if (count % 4 == 0)
        for (int i = 0; i < 2 && count > 0 && text[count - 1] == '='; i++)
            count--;
    if (count % 4 == 1)
        return false;
    uint32_t word = 0;
    unsigned bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < count; i++) {
        int value = value_of(text[i], alphabet);
        if (value < 0)
            return false;
        word = word << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            room[written++] = (uint8_t)(word >> bits);
        }
    }
    *decoded = written;
    /* Bits that are left over and not 0 would be lost in silence. */
    return (word & ((1u << bits) - 1)) == 0;
}
