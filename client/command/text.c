#include "text.h"

#include <stdarg.h>
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
    if (text->data)
        text->data[0] = '\0';
}

bool text_reserve(struct text *text, size_t count)
{
    if (text->room - text->count > count)
        return true;
    size_t room = text->room ? text->room * 2 : 256;
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
    if (!text_reserve(text, count))
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
    if (count < 0)
        return;
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
