/* rejects.h - the lines of a set that were refused: said on stderr, counted, and written to a file.
 *
 *   {"line":2817,"reason":"\"due\" is ...","text":"{\"key\":..."}
 *
 * Lines that cannot be read are known at once, with their text. What the broker refuses is known
 * when the line has long been passed: those are remembered by number and fetched from the source at
 * the end.
 */
#ifndef EVERDUE_REJECTS_H
#define EVERDUE_REJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* So many are named on stderr; the others are counted. */
enum { REJECTS_NAMED_MAX = 20 };

struct reject {
    uint64_t line;
    int status;
};

struct rejects {
    const char *source; /* its name, borrowed */
    FILE *file;         /* NULL: none wanted */
    uint64_t count;
    struct reject *late; /* refused by the broker */
    size_t late_count;
    size_t late_room;
    bool failed; /* the file is not complete: memory or disk */
};

/* `path` NULL: no file. False: the file cannot be made; errno says why. */
bool rejects_open(struct rejects *rejects, const char *source, const char *path);

/* Closes. False when the file is not complete. */
bool rejects_close(struct rejects *rejects);

/* A line that could not be read; `text` NULL: it is not there any more (too long). */
void rejects_add(struct rejects *rejects, uint64_t line, const char *reason, const char *text,
                 size_t count);

/* A line that the broker refused. */
void rejects_add_late(struct rejects *rejects, uint64_t line, int status);

/* Writes the late ones with their text, read again from `path` ("-" is not possible). */
void rejects_fetch(struct rejects *rejects, const char *path);

#endif
