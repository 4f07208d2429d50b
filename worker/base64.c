#include "base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(struct text *out, const void *data, size_t count)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < count; i += 3) {
        uint32_t group = (uint32_t)at[i] << 16;
        group |= i + 1 < count ? (uint32_t)at[i + 1] << 8 : 0;
        group |= i + 2 < count ? at[i + 2] : 0;
        char four[4] = {
            alphabet[group >> 18],
            alphabet[group >> 12 & 63],
            i + 1 < count ? alphabet[group >> 6 & 63] : '=',
            i + 2 < count ? alphabet[group & 63] : '=',
        };
        text_add(out, four, sizeof four);
    }
}

static int digit(char c)
{
    const char *place = c ? strchr(alphabet, c) : NULL;

    return place ? (int)(place - alphabet) : -1;
}

bool base64_read(struct text *out, const char *data, size_t count)
{
    if (count % 4 != 0)
        return false;
    for (size_t i = 0; i < count; i += 4) {
        bool last = i + 4 == count;
        size_t padding = last && data[i + 3] == '=' ? (data[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t group = 0;
        for (size_t k = 0; k < 4 - padding; k++) {
            int value = digit(data[i + k]);
            if (value < 0)
                return false;
            group |= (uint32_t)value << (18 - 6 * k);
        }
        /* Bits beyond the last byte must be 0: one text for one sequence of bytes. */
        if (padding && (group & ((1u << (8 * padding)) - 1)) != 0)
            return false;
        const uint8_t three[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        text_add(out, three, 3 - padding);
    }
    return !out->failed;
}
