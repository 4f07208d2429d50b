/* line_reader.h - a file, standard input or a gzip file, line by line, in bounded memory.
 *
 * A line of more than LINE_READER_BYTES_MAX is passed over and reported as such, so that the caller
 * can name it and go on. A gzip file that was cut off or damaged is an error, never an early end:
 * the end of a set decides what is pruned.
 */
#ifndef EVERDUE_LINE_READER_H
#define EVERDUE_LINE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_READER_BYTES_MAX = 1 << 20, LINE_READER_WHY_BYTES = 160 };

enum line_reader_event {
    LINE_READER_LINE,
    LINE_READER_TOO_LONG,
    LINE_READER_END,
    LINE_READER_FAILED
};

struct line_reader {
    struct gzFile_s *file;
    char *buffer;
    size_t begin; /* of what has not been returned yet */
    size_t end;
    bool at_end;
    bool skipping;                   /* within a line that is too long */
    uint64_t number;                 /* of the line returned last, from 1 */
    char why[LINE_READER_WHY_BYTES]; /* after LINE_READER_FAILED */
};

/* `path` "-" is standard input. False: `why` says what is wrong. */
bool line_reader_open(struct line_reader *reader, const char *path);
void line_reader_close(struct line_reader *reader);

/* The next line without its newline, borrowed until the next call. The byte order mark at the
 * beginning is left out. */
enum line_reader_event line_reader_next(struct line_reader *reader, const char **line,
                                        size_t *count);

/* How many lines there are; 0 when that cannot be known without using them up, or on an error. */
uint64_t line_reader_count(const char *path);

#endif
