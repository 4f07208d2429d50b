#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_LEAST = 256 };

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
    if (text->data)
        text->data[0] = '\0';
}

bool text_reserve(struct text *text, size_t count)
{
    if (text->room - text->count > count)
        return true;
    text->failed = text->failed || count >= SIZE_MAX / 2 - text->count;
    if (text->failed)
        return false;
    size_t room = text->room ? text->room * 2 : ROOM_LEAST;
    if (room < text->count + count + 1)
        room = text->count + count + 1;
    char *data = realloc(text->data, room);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->room = room;
    return true;
}

char *text_add_room(struct text *text, size_t count)
{
    if (text->failed || !text_reserve(text, count))
        return NULL;
    char *added = text->data + text->count;
    text->count += count;
    text->data[text->count] = '\0';
    return added;
}

void text_add(struct text *text, const void *data, size_t count)
{
    char *added = text_add_room(text, count);
    if (added && count > 0)
        memcpy(added, data, count);
}

void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_add_format(struct text *text, const char *format, ...)
{
    char small[512];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(small, sizeof(small), format, arguments);
    va_end(arguments);
    if (count < 0) {
        text->failed = true;
        return;
    }
    if ((size_t)count < sizeof(small)) {
        text_add(text, small, (size_t)count);
        return;
    }
    char *added = text_add_room(text, (size_t)count);
    if (!added)
        return;
    va_start(arguments, format);
    vsnprintf(added, (size_t)count + 1, format, arguments);
    va_end(arguments);
}

void text_drop(struct text *text, size_t count)
{
    if (count > text->count)
        count = text->count;
    if (count == 0)
        return;
    text->count -= count;
    memmove(text->data, text->data + count, text->count + 1);
}
