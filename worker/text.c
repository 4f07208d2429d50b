#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_init(struct text *text)
{
    *text = (struct text){0};
}

void text_release(struct text *text)
{
    free(text->data);
    text_init(text);
}

void text_clear(struct text *text)
{
    text->count = 0;
    text->failed = false;
}

bool text_reserve(struct text *text, size_t count)
{
    if (count <= text->room - text->count)
        return true;
    if (count > SIZE_MAX / 2 - text->count) {
        text->failed = true;
        return false;
    }
    size_t room = text->room ? text->room : 256;
    while (room < text->count + count)
        room *= 2;
    char *data = realloc(text->data, room);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->room = room;
    return true;
}

void text_add(struct text *text, const void *data, size_t count)
{
    if (count == 0 || text->failed || !text_reserve(text, count))
        return;
    memcpy(text->data + text->count, data, count);
    text->count += count;
}

void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_print(struct text *text, const char *format, ...)
{
    char piece[256];
    va_list arguments;

    va_start(arguments, format);
    int count = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t)count >= sizeof piece)
        text->failed = true;
    else
        text_add(text, piece, (size_t)count);
}

void text_drop(struct text *text, size_t count)
{
    if (count < text->count)
        memmove(text->data, text->data + count, text->count - count);
    text->count -= count < text->count ? count : text->count;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t text_utf8_bytes(const char *at, const char *end)
{
    const unsigned char *byte = (const unsigned char *)at;
    size_t left = (size_t)(end - at);

    if (left == 0)
        return 0;
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] >= 0xc2 && byte[0] < 0xe0)
        return left >= 2 && is_continuation(byte[1]) ? 2 : 0;
    if (byte[0] >= 0xe0 && byte[0] < 0xf0) {
        if (left < 3 || !is_continuation(byte[1]) || !is_continuation(byte[2]))
            return 0;
        bool overlong = byte[0] == 0xe0 && byte[1] < 0xa0;
        bool surrogate = byte[0] == 0xed && byte[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (byte[0] < 0xf0 || byte[0] > 0xf4 || left < 4)
        return 0;
    if (!is_continuation(byte[1]) || !is_continuation(byte[2]) || !is_continuation(byte[3]))
        return 0;
    bool overlong = byte[0] == 0xf0 && byte[1] < 0x90;
    bool beyond = byte[0] == 0xf4 && byte[1] >= 0x90;
    return overlong || beyond ? 0 : 4;
}

bool text_is_utf8(const void *data, size_t count)
{
    const char *at = data;
    const char *end = at + count;

    while (at < end) {
        size_t step = *at ? text_utf8_bytes(at, end) : 0;
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

size_t text_cut(const char *data, size_t count, size_t count_max)
{
    size_t kept = 0;

    while (kept < count) {
        size_t step = text_utf8_bytes(data + kept, data + count);
        if (step == 0 || kept + step > count_max)
            break;
        kept += step;
    }
    return kept;
}

size_t text_first_line(char *line, size_t room, const char *data, size_t count)
{
    const char *at = data;
    const char *newline = count ? memchr(data, '\n', count) : NULL;
    const char *end = newline ? newline : data + count;
    size_t used = 0;

    if (end > at && end[-1] == '\r')
        end--;
    while (at < end) {
        size_t step = text_utf8_bytes(at, end);
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
