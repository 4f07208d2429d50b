#include "json.h"

#include <stdint.h>
#include <string.h>

#include "utf8.h"

struct scan {
    const char *at;
    const char *end;
    const char *error;
    unsigned depth;
    uint8_t is_object[JSON_DEPTH_MAX / 8]; /* a bit for each open object or array */
};

/* Sets the error; false, so that callers return it. */
static bool fail(struct scan *scan, const char *error)
{
    scan->error = error;
    return false;
}

static void skip_blank(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r' || *scan->at == '\n'))
        scan->at++;
}

static bool scan_escape(struct scan *scan)
{
    scan->at++;
    if (scan->at == scan->end)
        return fail(scan, "it ends within a string");
    if (*scan->at != 'u') {
        if (*scan->at == '\0' || !strchr("\"\\/bfnrt", *scan->at))
            return fail(scan, "an escape that JSON does not know");
        scan->at++;
        return true;
    }
    scan->at++;
    for (int i = 0; i < 4; i++, scan->at++)
        if (scan->at == scan->end || *scan->at == '\0' ||
            !strchr("0123456789abcdefABCDEF", *scan->at))
            return fail(scan, "\\u needs four hexadecimal digits");
    return true;
}

static bool scan_string(struct scan *scan)
{
    scan->at++;
    while (scan->at < scan->end) {
        uint8_t byte = (uint8_t)*scan->at;
        if (byte == '"') {
            scan->at++;
            return true;
        }
        if (byte < 0x20)
            return fail(scan, "a control character within a string");
        if (byte == '\\') {
            if (!scan_escape(scan))
                return false;
        } else if (byte < 0x80) {
            scan->at++;
        } else {
            size_t count = utf8_first(scan->at, (size_t)(scan->end - scan->at));
            if (count == 0)
                return fail(scan, "a byte that is not UTF-8");
            scan->at += count;
        }
    }
    return fail(scan, "it ends within a string");
}

static bool scan_digits(struct scan *scan)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > begin || fail(scan, "a digit is missing in a number");
}

static bool scan_number(struct scan *scan)
{
    if (*scan->at == '-')
        scan->at++;
    bool is_zero = scan->at < scan->end && *scan->at == '0';
    const char *begin = scan->at;
    if (!scan_digits(scan))
        return false;
    if (is_zero && scan->at > begin + 1)
        return fail(scan, "a number that begins with 0");
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            scan->at++;
        return scan_digits(scan);
    }
    return true;
}

static bool scan_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t count = strlen(words[i]);
        if ((size_t)(scan->end - scan->at) >= count && memcmp(scan->at, words[i], count) == 0) {
            scan->at += count;
            return true;
        }
    }
    return fail(scan, "a value is missing or is none that JSON knows");
}

static bool innermost_is_object(const struct scan *scan)
{
    unsigned bit = scan->depth - 1;
    return scan->is_object[bit / 8] >> bit % 8 & 1;
}

/* What may come next. */
enum expect { EXPECT_VALUE, EXPECT_VALUE_OR_END, EXPECT_NAME, EXPECT_NAME_OR_END, EXPECT_AFTER };

static bool scan_open(struct scan *scan, unsigned depth_max, enum expect *expect)
{
    if (scan->depth == depth_max)
        return fail(scan, "it is nested too deep");
    unsigned bit = scan->depth++;
    uint8_t mask = (uint8_t)(1u << bit % 8);
    scan->is_object[bit / 8] = (uint8_t)(scan->is_object[bit / 8] & ~mask);
    if (*scan->at == '{')
        scan->is_object[bit / 8] |= mask;
    *expect = *scan->at == '{' ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
    scan->at++;
    return true;
}

static bool scan_close(struct scan *scan, enum expect *expect)
{
    scan->at++;
    scan->depth--;
    *expect = EXPECT_AFTER;
    return true;
}

static bool scan_value(struct scan *scan, unsigned depth_max, enum expect *expect)
{
    char byte = *scan->at;
    if (byte == ']' && *expect == EXPECT_VALUE_OR_END)
        return scan_close(scan, expect);
    if (byte == '{' || byte == '[')
        return scan_open(scan, depth_max, expect);
    *expect = EXPECT_AFTER;
    if (byte == '"')
        return scan_string(scan);
    if (byte == '-' || (byte >= '0' && byte <= '9'))
        return scan_number(scan);
    return scan_word(scan);
}

static bool scan_name(struct scan *scan, enum expect *expect)
{
    if (*scan->at == '}' && *expect == EXPECT_NAME_OR_END)
        return scan_close(scan, expect);
    if (*scan->at != '"')
        return fail(scan, "a name in quotes is missing");
    if (!scan_string(scan))
        return false;
    skip_blank(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return fail(scan, "a colon is missing after a name");
    scan->at++;
    *expect = EXPECT_VALUE;
    return true;
}

static bool scan_after(struct scan *scan, enum expect *expect)
{
    if (scan->depth == 0)
        return fail(scan, "something stands behind the value");
    bool in_object = innermost_is_object(scan);
    if (*scan->at == (in_object ? '}' : ']'))
        return scan_close(scan, expect);
    if (*scan->at != ',')
        return fail(scan, "a comma is missing");
    scan->at++;
    *expect = in_object ? EXPECT_NAME : EXPECT_VALUE;
    return true;
}

const char *json_check(const char *text, size_t count, unsigned depth_max, size_t *where)
{
    struct scan scan = {.at = text, .end = text + count};
    enum expect expect = EXPECT_VALUE;
    if (depth_max > JSON_DEPTH_MAX)
        depth_max = JSON_DEPTH_MAX;
    /* Each round consumes a byte or ends. */
    for (skip_blank(&scan); scan.at < scan.end && !scan.error; skip_blank(&scan)) {
        if (expect == EXPECT_AFTER)
            scan_after(&scan, &expect);
        else if (expect == EXPECT_NAME || expect == EXPECT_NAME_OR_END)
            scan_name(&scan, &expect);
        else
            scan_value(&scan, depth_max, &expect);
        if (scan.error)
            break;
    }
    if (!scan.error && (scan.depth > 0 || expect != EXPECT_AFTER))
        scan.error = "it ends too early";
    *where = (size_t)(scan.at - text);
    return scan.error;
}
