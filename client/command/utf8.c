#include "utf8.h"

#include <stdbool.h>
#include <stdint.h>

size_t utf8_bytes(const char *data, size_t count)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = (uint8_t)data[0];
    if (first < 0x80)
        return 1;
    size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes > count)
        return 0;
    uint32_t point = first & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        uint8_t next = (uint8_t)data[i];
        if ((next & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (next & 0x3f);
    }
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[bytes] || point > 0x10ffff || is_surrogate ? 0 : bytes;
}
