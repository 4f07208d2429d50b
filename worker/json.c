#include "json.h"

#include <stdint.h>
#include <string.h>

void json_init(struct json *json, const void *data, size_t count)
{
    json->at = data;
    json->end = json->at + count;
}

static bool is_at(const struct json *json, char c)
{
    return json->at < json->end && *json->at == c;
}

static bool take(struct json *json, char c)
{
    if (!is_at(json, c))
        return false;
    json->at++;
    return true;
}

static void skip_blanks(struct json *json)
{
    while (is_at(json, ' ') || is_at(json, '\n') || is_at(json, '\t') || is_at(json, '\r'))
        json->at++;
}

static bool is_digit(const struct json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

static bool skip_digits(struct json *json)
{
    if (!is_digit(json))
        return false;
    while (is_digit(json))
        json->at++;
    return true;
}

static bool skip_number(struct json *json)
{
    take(json, '-');
    if (!take(json, '0') && !skip_digits(json))
        return false;
    if (take(json, '.') && !skip_digits(json))
        return false;
    if (take(json, 'e') || take(json, 'E')) {
        if (!take(json, '+'))
            take(json, '-');
        return skip_digits(json);
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind "\u". Returns -1 when there are no four hexadecimal digits. */
static int32_t take_hex4(struct json *json)
{
    int32_t number = 0;

    if (json->end - json->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int value = hex_digit(json->at[i]);
        if (value < 0)
            return -1;
        number = number * 16 + value;
    }
    json->at += 4;
    return number;
}

static bool skip_escape(struct json *json)
{
    if (take(json, 'u'))
        return take_hex4(json) >= 0;
    if (json->at == json->end || *json->at == '\0' || strchr("\"\\/bfnrt", *json->at) == NULL)
        return false;
    json->at++;
    return true;
}

static bool skip_string(struct json *json)
{
    if (!take(json, '"'))
        return false;
    while (json->at < json->end) {
        if (take(json, '"'))
            return true;
        if (take(json, '\\')) {
            if (!skip_escape(json))
                return false;
            continue;
        }
        size_t step = text_utf8_bytes(json->at, json->end);
        if (step == 0 || (unsigned char)*json->at < 0x20)
            return false;
        json->at += step;
    }
    return false;
}

static bool skip_word(struct json *json, const char *word)
{
    size_t count = strlen(word);

    if ((size_t)(json->end - json->at) < count || memcmp(json->at, word, count) != 0)
        return false;
    json->at += count;
    return true;
}

static bool skip_scalar(struct json *json)
{
    if (is_at(json, '"'))
        return skip_string(json);
    if (is_at(json, '-') || is_digit(json))
        return skip_number(json);
    return skip_word(json, "true") || skip_word(json, "false") || skip_word(json, "null");
}

/* A member's name and its colon. */
static bool skip_name(struct json *json)
{
    skip_blanks(json);
    if (!skip_string(json))
        return false;
    skip_blanks(json);
    return take(json, ':');
}

enum after { AFTER_DONE, AFTER_MORE, AFTER_BAD };

/* Behind a value: close what ends here, or go on to the next value inside what is open. */
static enum after skip_after(struct json *json, const char *open, size_t *depth)
{
    while (*depth > 0) {
        bool in_object = open[*depth - 1] == '{';
        skip_blanks(json);
        if (take(json, ','))
            return !in_object || skip_name(json) ? AFTER_MORE : AFTER_BAD;
        if (!take(json, in_object ? '}' : ']'))
            return AFTER_BAD;
        --*depth;
    }
    return AFTER_DONE;
}

static bool skip_value(struct json *json)
{
    char open[JSON_DEPTH_MAX];
    size_t depth = 0;
    enum after after = AFTER_MORE;

    /* Each turn consumes a byte or ends. */
    while (after == AFTER_MORE) {
        skip_blanks(json);
        if (is_at(json, '{') || is_at(json, '[')) {
            if (depth == JSON_DEPTH_MAX)
                return false;
            open[depth] = *json->at++;
            bool in_object = open[depth++] == '{';
            skip_blanks(json);
            if (!is_at(json, in_object ? '}' : ']')) {
                if (in_object && !skip_name(json))
                    return false;
                continue;
            }
        } else if (!skip_scalar(json)) {
            return false;
        }
        after = skip_after(json, open, &depth);
    }
    return after == AFTER_DONE;
}

bool json_value(struct json *json, struct everdue_bytes *value)
{
    skip_blanks(json);
    value->data = json->at;
    if (!skip_value(json))
        return false;
    value->count = (size_t)(json->at - (const char *)value->data);
    return true;
}

bool json_is_end(struct json *json)
{
    skip_blanks(json);
    return json->at == json->end;
}

bool json_check(const void *data, size_t count)
{
    struct json json;
    struct everdue_bytes value;

    json_init(&json, data, count);
    return json_value(&json, &value) && json_is_end(&json);
}

bool json_open(struct json *json)
{
    skip_blanks(json);
    return take(json, '{');
}

enum json_step json_member(struct json *json, struct everdue_bytes *name,
                           struct everdue_bytes *value)
{
    skip_blanks(json);
    if (take(json, '}'))
        return JSON_END;
    name->data = json->at + 1;
    if (!skip_string(json))
        return JSON_BAD;
    name->count = (size_t)(json->at - 1 - (const char *)name->data);
    skip_blanks(json);
    if (!take(json, ':') || !json_value(json, value))
        return JSON_BAD;
    skip_blanks(json);
    if (is_at(json, '}'))
        return JSON_MEMBER;
    /* Take the comma here, so that "," before "}" is refused. */
    if (!take(json, ','))
        return JSON_BAD;
    skip_blanks(json);
    return is_at(json, '"') ? JSON_MEMBER : JSON_BAD;
}

static void add_character(struct text *out, uint32_t code)
{
    char bytes[4];
    size_t count;

    if (code < 0x80) {
        bytes[0] = (char)code;
        count = 1;
    } else if (code < 0x800) {
        bytes[0] = (char)(0xc0 | code >> 6);
        count = 2;
    } else if (code < 0x10000) {
        bytes[0] = (char)(0xe0 | code >> 12);
        count = 3;
    } else {
        bytes[0] = (char)(0xf0 | code >> 18);
        count = 4;
    }
    for (size_t i = 1; i < count; i++)
        bytes[i] = (char)(0x80 | (code >> (6 * (count - 1 - i)) & 0x3f));
    text_add(out, bytes, count);
}

/* Behind "\u" in a checked string. Halves of a pair that stand alone become U+FFFD. */
static uint32_t take_code(struct json *json)
{
    int32_t code = take_hex4(json);

    if (code < 0xd800 || code >= 0xe000)
        return (uint32_t)code;
    struct json ahead = *json;
    if (code >= 0xdc00 || !take(&ahead, '\\') || !take(&ahead, 'u'))
        return 0xfffd;
    int32_t low = take_hex4(&ahead);
    if (low < 0xdc00 || low >= 0xe000)
        return 0xfffd;
    *json = ahead;
    return 0x10000 + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

static void add_escape(struct text *out, struct json *json)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";

    if (take(json, 'u'))
        add_character(out, take_code(json));
    else
        text_add(out, meanings + (strchr(escapes, *json->at++) - escapes), 1);
}

bool json_string(struct everdue_bytes value, struct text *out)
{
    struct json json;

    json_init(&json, value.data, value.count);
    if (!skip_string(&json) || json.at != json.end)
        return false;
    json_init(&json, (const char *)value.data + 1, value.count - 2);
    while (json.at < json.end) {
        if (take(&json, '\\')) {
            add_escape(out, &json);
            continue;
        }
        const char *escape = memchr(json.at, '\\', (size_t)(json.end - json.at));
        const char *stop = escape ? escape : json.end;
        text_add(out, json.at, (size_t)(stop - json.at));
        json.at = stop;
    }
    return true;
}

void json_write_string(struct text *out, const void *data, size_t count)
{
    const char *at = data;
    const char *end = at + count;
    const char *plain = at; /* begin of what is copied as it is */

    text_add(out, "\"", 1);
    while (at < end) {
        size_t step = text_utf8_bytes(at, end);
        if (step && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
            at += step;
            continue;
        }
        text_add(out, plain, (size_t)(at - plain));
        if (step == 0)
            text_add_string(out, "\\ufffd");
        else if ((unsigned char)*at < 0x20)
            text_print(out, "\\u%04x", (unsigned)*at);
        else
            text_print(out, "\\%c", *at);
        plain = ++at;
    }
    text_add(out, plain, (size_t)(at - plain));
    text_add(out, "\"", 1);
}
