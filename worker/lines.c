#include "lines.h"

#include <string.h>

void lines_init(struct lines *lines, size_t bytes_max)
{
    *lines = (struct lines){.bytes_max = bytes_max};
}

void lines_release(struct lines *lines)
{
    text_release(&lines->text);
}

void lines_clear(struct lines *lines)
{
    text_clear(&lines->text);
    lines->in_long_line = false;
}

static void hand_out(struct lines *lines, bool is_end, lines_visitor *visit, void *user)
{
    size_t count = lines->text.count;

    if (is_end && count && lines->text.data[count - 1] == '\r')
        count--;
    if (count || !lines->in_long_line)
        visit(count ? lines->text.data : "", count, is_end && !lines->in_long_line, user);
    lines->in_long_line = !is_end;
    text_clear(&lines->text);
}

void lines_feed(struct lines *lines, const char *data, size_t count, lines_visitor *visit,
                void *user)
{
    /* Each turn consumes at least a byte. */
    while (count > 0) {
        size_t room = lines->bytes_max - lines->text.count;
        size_t step = count < room ? count : room;
        const char *newline = memchr(data, '\n', step);
        if (newline)
            step = (size_t)(newline - data);
        text_add(&lines->text, data, step);
        data += step;
        count -= step;
        if (newline) {
            hand_out(lines, true, visit, user);
            data++;
            count--;
        } else if (lines->text.count == lines->bytes_max || lines->text.failed) {
            hand_out(lines, false, visit, user);
        }
    }
}

void lines_end(struct lines *lines, lines_visitor *visit, void *user)
{
    if (lines->text.count)
        hand_out(lines, true, visit, user);
    lines_clear(lines);
}
