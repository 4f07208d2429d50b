/* lines.h - bytes from a pipe, cut into lines.
 *
 * A line longer than the limit is handed out in pieces of that length: nothing is lost, and nothing
 * that a child writes makes us allocate without end.
 */
#ifndef EVERDUE_WORKER_LINES_H
#define EVERDUE_WORKER_LINES_H

#include "text.h"

/* One line without its line break, borrowed during the call. `is_whole`: false for a piece of a
 * line that was too long, the last piece included. */
typedef void lines_visitor(const char *line, size_t count, bool is_whole, void *user);

struct lines {
    struct text text;
    size_t bytes_max;
    bool in_long_line;
};

void lines_init(struct lines *lines, size_t bytes_max);
void lines_release(struct lines *lines);

/* Forget what is there. */
void lines_clear(struct lines *lines);

void lines_feed(struct lines *lines, const char *data, size_t count, lines_visitor *visit,
                void *user);

/* At the end of the input: the last line, if it had no line break. */
void lines_end(struct lines *lines, lines_visitor *visit, void *user);

#endif
