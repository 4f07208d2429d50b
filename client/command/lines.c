#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { GZIP_BUFFER_BYTES = 1 << 18, COUNT_BYTES = 1 << 18 };

/* Room for the longest line and its newline. */
enum { BUFFER_BYTES = LINES_BYTES_MAX + 1 };

static int open_descriptor(const char *path)
{
    struct stat info;
    if (strcmp(path, "-") == 0)
        return dup(STDIN_FILENO);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        close(fd);
        errno = EISDIR;
        return -1;
    }
    return fd;
}

static gzFile open_file(const char *path)
{
    int fd = open_descriptor(path);
    if (fd < 0)
        return NULL;
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    gzbuffer(file, GZIP_BUFFER_BYTES);
    return file;
}

bool lines_open(struct lines *lines, const char *path)
{
    *lines = (struct lines){.file = open_file(path)};
    if (!lines->file) {
        snprintf(lines->why, sizeof(lines->why), "%s", strerror(errno));
        return false;
    }
    lines->buffer = malloc(BUFFER_BYTES);
    if (!lines->buffer) {
        gzclose(lines->file);
        snprintf(lines->why, sizeof(lines->why), "out of memory");
        return false;
    }
    return true;
}

void lines_close(struct lines *lines)
{
    gzclose(lines->file);
    free(lines->buffer);
    *lines = (struct lines){0};
}

/* Reads more behind what is there. False on an error. */
static bool fill(struct lines *lines)
{
    memmove(lines->buffer, lines->buffer + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    int got =
        gzread(lines->file, lines->buffer + lines->end, (unsigned)(BUFFER_BYTES - lines->end));
    int error;
    const char *text = gzerror(lines->file, &error);
    if (got < 0 || (got == 0 && error != Z_OK)) {
        if (error == Z_ERRNO)
            text = strerror(errno);
        else if (error == Z_BUF_ERROR)
            text = "the gzip file is cut off";
        snprintf(lines->why, sizeof(lines->why), "%s", text);
        return false;
    }
    lines->at_end = got == 0;
    lines->end += (size_t)got;
    return true;
}

/* Takes `count` bytes and the newline from the buffer. */
static enum lines_event take(struct lines *lines, size_t count, const char **line,
                             size_t *line_count)
{
    static const char mark[] = "\xef\xbb\xbf";
    const char *data = lines->buffer + lines->begin;
    lines->begin += count < lines->end - lines->begin ? count + 1 : count;
    lines->number++;
    if (lines->skipping) {
        lines->skipping = false;
        return LINES_TOO_LONG;
    }
    if (lines->number == 1 && count >= 3 && memcmp(data, mark, 3) == 0) {
        data += 3;
        count -= 3;
    }
    *line = data;
    *line_count = count;
    return LINES_LINE;
}

enum lines_event lines_next(struct lines *lines, const char **line, size_t *count)
{
    size_t searched = 0;
    /* Each round reads at least a byte, finds a newline, or ends. */
    for (;;) {
        const char *begin = lines->buffer + lines->begin;
        size_t there = lines->end - lines->begin;
        const char *newline = memchr(begin + searched, '\n', there - searched);
        if (newline)
            return take(lines, (size_t)(newline - begin), line, count);
        searched = there;
        if (lines->at_end)
            return there > 0 || lines->skipping ? take(lines, there, line, count) : LINES_END;
        if (there == BUFFER_BYTES) {
            lines->skipping = true;
            lines->begin = lines->end = searched = 0;
        }
        if (!fill(lines))
            return LINES_FAILED;
    }
}

/* Newlines in the rest of the file, and the last line that has none. */
static uint64_t count_in(gzFile file, char *room)
{
    uint64_t count = 0;
    char last = '\n';
    int got;
    while ((got = gzread(file, room, COUNT_BYTES)) > 0) {
        const char *end = room + got;
        for (const char *at = room; (at = memchr(at, '\n', (size_t)(end - at))); at++)
            count++;
        last = end[-1];
    }
    return got < 0 ? 0 : count + (last != '\n');
}

uint64_t lines_count(const char *path)
{
    struct stat info;
    if (strcmp(path, "-") == 0 || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return 0;
    char *room = malloc(COUNT_BYTES);
    gzFile file = room ? open_file(path) : NULL;
    uint64_t count = file ? count_in(file, room) : 0;
    if (file)
        gzclose(file);
    free(room);
    return count;
}
