/* lines.h - a file, standard input or a gzip file, line by line, in bounded memory.
 *
 * A line of more than LINES_BYTES_MAX is passed over and reported as such, so that the caller can
 * name it and go on. A gzip file that was cut off or damaged is an error, never an early end: the
 * end of a set decides what is pruned.
 */
#ifndef EVERDUE_LINES_H
#define EVERDUE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINES_BYTES_MAX = 1 << 20, LINES_WHY_BYTES = 160 };

enum lines_event { LINES_LINE, LINES_TOO_LONG, LINES_END, LINES_FAILED };

struct lines {
    struct gzFile_s *file;
    char *buffer;
    size_t begin; /* of what has not been returned yet */
    size_t end;
    bool at_end;
    bool skipping;             /* within a line that is too long */
    uint64_t number;           /* of the line returned last, from 1 */
    char why[LINES_WHY_BYTES]; /* after LINES_FAILED */
};

/* `path` "-" is standard input. False: `why` says what is wrong. */
bool lines_open(struct lines *lines, const char *path);
void lines_close(struct lines *lines);

/* The next line without its newline, borrowed until the next call. The byte order mark at the
 * beginning is left out. */
enum lines_event lines_next(struct lines *lines, const char **line, size_t *count);

/* How many lines there are; 0 when that cannot be known without using them up, or on an error. */
uint64_t lines_count(const char *path);

#endif
