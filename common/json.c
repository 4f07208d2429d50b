#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "base64.h"
#include "utf8.h"

/* jsmn's token has no tag, so it is wrapped to be named in the header. */
struct jsmntok {
    jsmntok_t token;
};

enum { TOKENS_LEAST = 64 };

void json_object_init(struct json_object *object)
{
    *object = (struct json_object){0};
}

void json_object_release(struct json_object *object)
{
    free(object->tokens);
    json_object_init(object);
}

static bool grow(struct json_object *object)
{
    unsigned room = object->token_room ? object->token_room * 2 : TOKENS_LEAST;
    struct jsmntok *tokens = realloc(object->tokens, room * sizeof(*tokens));
    if (!tokens)
        return false;
    object->tokens = tokens;
    object->token_room = room;
    return true;
}

/* The number of tokens, or a negative jsmnerr. The parser goes on where it ran out of tokens. */
static int tokenize(struct json_object *object, const char *text, size_t count)
{
    jsmn_parser parser;
    jsmn_init(&parser);
    if (!object->tokens && !grow(object))
        return JSMN_ERROR_NOMEM;
    int result;
    /* Ends when the text is done or memory is out: each round doubles the room. */
    do {
        result = jsmn_parse(&parser, text, count, &object->tokens->token, object->token_room);
    } while (result == JSMN_ERROR_NOMEM && grow(object));
    return result < 0 ? result : (int)parser.toknext;
}

static struct json_value value_of(const jsmntok_t *token, const char *text)
{
    struct json_value value = {.data = text + token->start,
                               .count = (size_t)(token->end - token->start)};
    if (token->type == JSMN_STRING)
        value.kind = JSON_STRING;
    else if (token->type == JSMN_OBJECT)
        value.kind = JSON_OBJECT;
    else if (token->type == JSMN_ARRAY)
        value.kind = JSON_ARRAY;
    else if (value.data[0] == 't')
        value.kind = JSON_TRUE;
    else if (value.data[0] == 'f')
        value.kind = JSON_FALSE;
    else if (value.data[0] == 'n')
        value.kind = JSON_NULL;
    else
        value.kind = JSON_NUMBER;
    return value;
}

const char *json_object_read(struct json_object *object, const char *text, size_t count,
                             char why[JSON_WHY_BYTES])
{
    size_t where;
    object->token_count = 0;
    if (count > INT32_MAX)
        return "not JSON: it is too long";
    const char *error = json_check(text, count, JSON_DEPTH_MAX, &where);
    if (error) {
        snprintf(why, JSON_WHY_BYTES, "not JSON: %s (byte %zu)", error, where + 1);
        return why;
    }
    int token_count = tokenize(object, text, count);
    if (token_count < 1)
        return token_count == JSMN_ERROR_NOMEM ? "out of memory" : "not JSON";
    if (object->tokens->token.type != JSMN_OBJECT)
        return "not a JSON object in braces";
    object->text = text;
    object->token_count = token_count;
    object->next = 1;
    return NULL;
}

/* The member whose name is the token at `*next`, which moves behind its value. */
static bool take_member(const struct json_object *object, int *next, struct json_member *member)
{
    if (*next + 1 >= object->token_count)
        return false;
    const jsmntok_t *token = &object->tokens[*next].token;
    member->name = value_of(&token[0], object->text);
    member->value = value_of(&token[1], object->text);
    int end = token[1].end;
    *next += 2;
    while (*next < object->token_count && object->tokens[*next].token.start < end)
        ++*next;
    return true;
}

bool json_object_next(struct json_object *object, struct json_member *member)
{
    return take_member(object, &object->next, member);
}

bool json_object_find(const struct json_object *object, const char *name, struct json_value *value)
{
    struct json_member member;
    int next = 1;
    while (take_member(object, &next, &member)) {
        if (!json_value_is(&member.name, name))
            continue;
        *value = member.value;
        return true;
    }
    return false;
}

struct everdue_bytes json_value_source(const struct json_value *value)
{
    if (value->kind == JSON_STRING)
        return (struct everdue_bytes){value->data - 1, value->count + 2};
    return (struct everdue_bytes){value->data, value->count};
}

bool json_value_is(const struct json_value *value, const char *name)
{
    return value->count == strlen(name) && memcmp(value->data, name, value->count) == 0;
}

/* --- strings ---------------------------------------------------------------------------------- */

/* Four hexadecimal digits that json_check has seen. */
static uint32_t hex_value(const char *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char digit = digits[i];
        uint32_t part = digit <= '9'   ? (uint32_t)(digit - '0')
                        : digit <= 'F' ? (uint32_t)(digit - 'A' + 10)
                                       : (uint32_t)(digit - 'a' + 10);
        value = value << 4 | part;
    }
    return value;
}

static void add_point(struct text *text, uint32_t point)
{
    char bytes[4];
    size_t count = 0;
    if (point < 0x80) {
        bytes[count++] = (char)point;
    } else {
        unsigned more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
        static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
        bytes[count++] = (char)(heads[more] | point >> (6 * more));
        while (more-- > 0)
            bytes[count++] = (char)(0x80 | (point >> (6 * more) & 0x3f));
    }
    text_add(text, bytes, count);
}

/* The other half of a surrogate pair, behind its first; 0 when it is not there. */
static uint32_t low_half(const char *at, const char *end)
{
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return 0;
    uint32_t low = hex_value(at + 2);
    return low >= 0xdc00 && low <= 0xdfff ? low : 0;
}

/* Decodes the escape at `at` (a backslash) and returns what follows it. */
static const char *decode_escape(const char *at, const char *end, struct text *scratch,
                                 bool *is_whole)
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meaning[] = "\"\\/\b\f\n\r\t";
    if (at[1] != 'u') {
        const char *place = strchr(plain, at[1]);
        text_add(scratch, &meaning[place - plain], 1);
        return at + 2;
    }
    uint32_t point = hex_value(at + 2);
    at += 6;
    if (point >= 0xd800 && point <= 0xdfff) {
        uint32_t low = point <= 0xdbff ? low_half(at, end) : 0;
        *is_whole = *is_whole && low;
        point = low ? 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
        at += low ? 6 : 0;
    }
    add_point(scratch, point);
    return at;
}

bool json_value_text(const struct json_value *value, struct text *scratch,
                     struct everdue_bytes *bytes, bool *is_whole)
{
    const char *at = value->data;
    const char *end = at + value->count;
    *is_whole = true;
    if (!memchr(at, '\\', value->count)) {
        *bytes = (struct everdue_bytes){at, value->count};
        return true;
    }
    size_t begin = scratch->count;
    while (at < end) {
        if (*at != '\\') {
            const char *next = memchr(at, '\\', (size_t)(end - at));
            size_t plain = (size_t)((next ? next : end) - at);
            text_add(scratch, at, plain);
            at += plain;
            continue;
        }
        at = decode_escape(at, end, scratch, is_whole);
    }
    if (scratch->failed)
        return false;
    *bytes = (struct everdue_bytes){scratch->data + begin, scratch->count - begin};
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What stands in an object is one level deeper than by itself. */
static bool is_embeddable(struct everdue_bytes bytes)
{
    size_t where;
    return json_check(bytes.data, bytes.count, JSON_DEPTH_MAX - 1, &where) == NULL;
}

bool json_is_inline(struct everdue_bytes bytes)
{
    const char *data = bytes.data;
    if (bytes.count == 0 || strchr(" \t\r\n", data[0]) || strchr(" \t\r\n", data[bytes.count - 1]))
        return false;
    if (memchr(data, '\n', bytes.count) || memchr(data, '\r', bytes.count))
        return false;
    return is_embeddable(bytes);
}

static void add_special(struct text *text, char byte)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *place = byte ? strchr(plain, byte) : NULL;
    if (place)
        text_add_format(text, "\\%c", letters[place - plain]);
    else
        text_add_format(text, "\\u%04x", (unsigned char)byte);
}

void json_add_string(struct text *text, struct everdue_bytes bytes)
{
    const char *at = bytes.data;
    const char *end = at + bytes.count;
    text_add(text, "\"", 1);
    while (at < end) {
        const char *begin = at;
        size_t count = 0;
        while (at < end && (unsigned char)*at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f &&
               (count = utf8_first(at, (size_t)(end - at))) > 0)
            at += count;
        text_add(text, begin, (size_t)(at - begin));
        if (at == end)
            break;
        if ((unsigned char)*at >= 0x80)
            text_add_string(text, "\xef\xbf\xbd");
        else
            add_special(text, *at);
        at++;
    }
    text_add(text, "\"", 1);
}

void json_add_name(struct text *text, const char *name)
{
    if (text->count > 0 && !strchr("{[", text->data[text->count - 1]))
        text_add(text, ",", 1);
    json_add_string(text, (struct everdue_bytes){name, strlen(name)});
    text_add(text, ":", 1);
}

void json_add_member(struct text *text, const char *name, struct everdue_bytes string)
{
    json_add_name(text, name);
    json_add_string(text, string);
}

void json_add_number(struct text *text, const char *name, long long number)
{
    json_add_name(text, name);
    text_add_format(text, "%lld", number);
}

void json_add_true_or_false(struct text *text, const char *name, bool value)
{
    json_add_name(text, name);
    text_add_string(text, value ? "true" : "false");
}

static void add_base64(struct text *text, const char *name, struct everdue_bytes bytes)
{
    char longer[64];
    snprintf(longer, sizeof(longer), "%s_b64", name);
    json_add_name(text, longer);
    text_add(text, "\"", 1);
    base64_encode(text, bytes.data, bytes.count, BASE64_STANDARD);
    text_add(text, "\"", 1);
}

void json_add_bytes(struct text *text, const char *name, struct everdue_bytes bytes)
{
    if (!bytes.data)
        return;
    if (!json_is_inline(bytes)) {
        add_base64(text, name, bytes);
        return;
    }
    json_add_name(text, name);
    text_add(text, bytes.data, bytes.count);
}

void json_add_value(struct text *text, const char *name, struct everdue_bytes bytes)
{
    if (!bytes.data)
        return;
    if (!is_embeddable(bytes)) {
        add_base64(text, name, bytes);
        return;
    }
    json_add_name(text, name);
    size_t begin = text->count;
    text_add(text, bytes.data, bytes.count);
    /* A line break in valid JSON can only stand between its parts. */
    for (size_t i = begin; i < text->count; i++)
        if (text->data[i] == '\n' || text->data[i] == '\r')
            text->data[i] = ' ';
}
