#include "row.h"

#include <string.h>

#include "json.h"
#include "quantity.h"
#include "readable.h"

static const struct everdue_value *find(const struct row *row, const char *name)
{
    size_t count = strlen(name);
    for (size_t i = 0; i < row->count; i++)
        if (row->values[i].name.count == count &&
            memcmp(row->values[i].name.data, name, count) == 0)
            return &row->values[i];
    return NULL;
}

int64_t row_number(const struct row *row, const char *name, int64_t otherwise)
{
    const struct everdue_value *value = find(row, name);
    return value && !value->is_text ? value->number : otherwise;
}

bool row_has_text(const struct row *row, const char *name)
{
    const struct everdue_value *value = find(row, name);
    return value && value->is_text && value->text.count > 0;
}

bool row_add_text(const struct row *row, const char *name, struct text *text)
{
    const struct everdue_value *value = find(row, name);
    if (!value || !value->is_text)
        return false;
    readable_add(text, value->text);
    return true;
}

static bool ends_with(struct everdue_bytes name, const char *end)
{
    size_t count = strlen(end);
    return name.count > count &&
           memcmp((const char *)name.data + name.count - count, end, count) == 0;
}

/* The broker's start is the one moment among the spans in seconds. */
static bool is_moment(struct everdue_bytes name)
{
    return name.count == strlen("started_s") && memcmp(name.data, "started_s", name.count) == 0;
}

static bool is_span_us(struct everdue_bytes name)
{
    return ends_with(name, "_us") || ends_with(name, "_us_max") || ends_with(name, "_us_total");
}

static void add_number(struct text *text, struct everdue_bytes name, int64_t number)
{
    char room[QUANTITY_TEXT_BYTES];
    if (number < 0)
        text_add_format(text, "%lld", (long long)number);
    else if (is_moment(name) && number < INT64_MAX / 1000000)
        text_add_string(text, time_format(number * 1000000, 0, room));
    else if (is_span_us(name))
        text_add_string(text, span_format(number, room));
    else if (ends_with(name, "_ms") && number < INT64_MAX / 1000)
        text_add_string(text, span_format(number * 1000, room));
    else if (ends_with(name, "_s") && number < INT64_MAX / 1000000)
        text_add_string(text, span_format(number * 1000000, room));
    else if (ends_with(name, "_bytes"))
        text_add_string(text, size_format((uint64_t)number, room));
    else
        text_add_string(text, count_format((uint64_t)number, room));
}

void row_add_readable(struct text *text, const struct everdue_value *value)
{
    if (value->is_text)
        readable_add(text, value->text);
    else
        add_number(text, value->name, value->number);
}

void row_add_cell(const struct row *row, const char *name, struct text *text)
{
    const struct everdue_value *value = find(row, name);
    if (value)
        row_add_readable(text, value);
}

void row_write_json(struct text *text, const struct row *row)
{
    text_add(text, "{", 1);
    for (size_t i = 0; i < row->count; i++) {
        const struct everdue_value *value = &row->values[i];
        if (i > 0)
            text_add(text, ",", 1);
        json_add_string(text, value->name);
        text_add(text, ":", 1);
        if (value->is_text)
            json_add_string(text, value->text);
        else
            text_add_format(text, "%lld", (long long)value->number);
    }
    text_add(text, "}", 1);
}
