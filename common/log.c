#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "quantity.h"
#include "utf8.h"

enum {
    LINE_BYTES_MAX = 4096, /* PIPE_BUF: longer writes to a pipe may be mixed with others' */
    LINE_END_BYTES = 16,   /* kept for what closes a value and the line */
    RING_TEXTS = 16,
};

static struct {
    char program[64];
    enum log_format format;
    atomic_int level;
} settings = {.level = LOG_INFO};

struct line {
    char text[LINE_BYTES_MAX];
    size_t count;
};

static const char *const level_names[] = {
    [LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
    [LOG_ERR] = "error",       [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info",       [LOG_DEBUG] = "debug",
};

void log_open(const char *program, enum log_format format, int level)
{
    snprintf(settings.program, sizeof(settings.program), "%s", program ? program : "");
    settings.format = format;
    log_set_level(level);
}

void log_set_level(int level)
{
    atomic_store(&settings.level, level);
}

/* --- building a line -------------------------------------------------------------------------- */

/* Whether `count` more bytes leave room for the end. */
static bool line_has_room(const struct line *line, size_t count)
{
    return line->count + count + LINE_END_BYTES <= LINE_BYTES_MAX;
}

static void append(struct line *line, const char *text)
{
    size_t count = strlen(text);
    if (count > LINE_BYTES_MAX - line->count)
        return;
    memcpy(line->text + line->count, text, count);
    line->count += count;
}

/* Characters that may not stand as they are: controls, C1 controls too (they steer terminals). */
static bool is_control(const uint8_t *data, uint32_t count)
{
    if (count == 1)
        return data[0] < 0x20 || data[0] == 0x7f;
    return count == 2 && data[0] == 0xc2 && data[1] < 0xa0;
}

/* One character that must be escaped, or one byte that is no character, as text. */
static void escape(char *escaped, size_t room, const uint8_t *data, uint32_t count)
{
    bool json = settings.format == LOG_JSON;
    uint8_t last = data[count ? count - 1 : 0];
    if (count == 0)
        snprintf(escaped, room, json ? "\\ufffd" : "\\x%02x", last);
    else if (last == '\n')
        snprintf(escaped, room, "\\n");
    else if (last == '"' || last == '\\')
        snprintf(escaped, room, "\\%c", last);
    else
        snprintf(escaped, room, json ? "\\u%04x" : "\\x%02x", last);
}

static void append_escaped(struct line *line, const char *text, bool quoted)
{
    struct bytes rest = bytes_of(text);
    while (rest.count > 0) {
        uint32_t count = (uint32_t)utf8_first(rest.data, rest.count);
        char piece[16];
        bool quote = quoted && (rest.data[0] == '"' || rest.data[0] == '\\');
        if (count == 0 || quote || is_control(rest.data, count))
            escape(piece, sizeof(piece), rest.data, count);
        else
            snprintf(piece, sizeof(piece), "%.*s", (int)count, (const char *)rest.data);
        if (!line_has_room(line, strlen(piece))) {
            append(line, "...");
            return;
        }
        append(line, piece);
        rest.data += count ? count : 1;
        rest.count -= count ? count : 1;
    }
}

static void append_quoted(struct line *line, const char *text)
{
    append(line, "\"");
    append_escaped(line, text, true);
    append(line, "\"");
}

static void append_value(struct line *line, const char *text)
{
    if (*text == '\0' || strpbrk(text, " \"\\="))
        append_quoted(line, text);
    else
        append_escaped(line, text, false);
}

static void append_pair(struct line *line, const char *name, const char *value)
{
    /* A line that is full ends before a name, so that every pair is whole. */
    if (!line_has_room(line, strlen(name) + 8))
        return;
    if (settings.format == LOG_JSON) {
        append(line, line->count == 0 ? "{" : ",");
        append_quoted(line, name);
        append(line, ":");
        append_quoted(line, value);
    } else {
        append(line, " ");
        append(line, name);
        append(line, "=");
        append_value(line, value);
    }
}

static void append_head(struct line *line, const char *level, const char *message)
{
    char time[QUANTITY_TEXT_BYTES];
    time_format(clock_now().wall_us, 3, time);
    if (settings.format == LOG_JSON) {
        append_pair(line, "time", time);
        if (settings.program[0])
            append_pair(line, "program", settings.program);
        append_pair(line, "level", level);
        append_pair(line, "message", message);
        return;
    }
    append(line, time);
    append(line, " ");
    append_escaped(line, settings.program, false);
    append(line, settings.program[0] ? " " : "");
    append(line, level);
    append(line, " ");
    append_escaped(line, message, false);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_line(const struct line *line)
{
    ssize_t written;
    do
        written = write(STDERR_FILENO, line->text, line->count);
    while (written < 0 && errno == EINTR);
    /* Nobody is left to be told when even standard error fails. */
}

void log_line(int level, const char *message, ...)
{
    int kept = errno;
    if (level < LOG_EMERG || level > LOG_DEBUG || level > atomic_load(&settings.level))
        return;
    struct line line;
    line.count = 0;
    append_head(&line, level_names[level], message);

    va_list pairs;
    va_start(pairs, message);
    /* Ends at the NULL that the compiler asks for (sentinel). */
    for (const char *name = va_arg(pairs, const char *); name; name = va_arg(pairs, const char *)) {
        const char *value = va_arg(pairs, const char *);
        if (value)
            append_pair(&line, name, value);
    }
    va_end(pairs);
    append(&line, settings.format == LOG_JSON ? "}\n" : "\n");
    write_line(&line);
    errno = kept;
}

/* --- numbers and limits ----------------------------------------------------------------------- */

static char *next_text(size_t *room)
{
    static _Thread_local char ring[RING_TEXTS][24];
    static _Thread_local unsigned next;
    *room = sizeof(ring[0]);
    return ring[next++ % RING_TEXTS];
}

const char *log_u64(uint64_t number)
{
    size_t room;
    char *text = next_text(&room);
    snprintf(text, room, "%" PRIu64, number);
    return text;
}

const char *log_i64(int64_t number)
{
    size_t room;
    char *text = next_text(&room);
    snprintf(text, room, "%" PRId64, number);
    return text;
}

bool log_limit_allows(struct log_limit *limit, int64_t mono_us, uint64_t *held_back)
{
    if (mono_us < limit->next_mono_us) {
        limit->held_back++;
        return false;
    }
    *held_back = limit->held_back;
    limit->held_back = 0;
    limit->next_mono_us = mono_us + US_PER_S;
    return true;
}
