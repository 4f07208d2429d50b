#include "utf8.h"

#include <stdint.h>
#include <string.h>

size_t utf8_first(const void *text, size_t count)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *bytes = text;
    if (count == 0)
        return 0;
    if (bytes[0] < 0x80)
        return 1;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length > count)
        return 0;
    uint32_t point = bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (bytes[i] & 0x3f);
    }
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[length] || point > 0x10ffff || is_surrogate ? 0 : length;
}

bool utf8_check(const void *text, size_t count)
{
    const char *at = text;
    const char *end = at + count;
    while (at < end) {
        size_t step = *at ? utf8_first(at, (size_t)(end - at)) : 0;
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

size_t utf8_first_line(char *line, size_t room, const void *text, size_t count)
{
    const char *at = text;
    const char *newline = count ? memchr(at, '\n', count) : NULL;
    const char *end = newline ? newline : at + count;
    size_t used = 0;
    if (end > at && end[-1] == '\r')
        end--;
    while (at < end) {
        size_t step = utf8_first(at, (size_t)(end - at));
        if (used + (step ? step : 1) >= room)
            break;
        if (step == 0 || (unsigned char)*at < 0x20 || *at == 0x7f) {
            line[used++] = *at == '\t' ? ' ' : '?';
            at++;
            continue;
        }
        memcpy(line + used, at, step);
        used += step;
        at += step;
    }
    line[used] = '\0';
    return used;
}
