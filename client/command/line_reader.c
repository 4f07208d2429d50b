#include "line_reader.h"

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
enum { BUFFER_BYTES = LINE_READER_BYTES_MAX + 1 };

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

bool line_reader_open(struct line_reader *reader, const char *path)
{
    *reader = (struct line_reader){.file = open_file(path)};
    if (!reader->file) {
        snprintf(reader->why, sizeof(reader->why), "%s", strerror(errno));
        return false;
    }
    reader->buffer = malloc(BUFFER_BYTES);
    if (!reader->buffer) {
        gzclose(reader->file);
        snprintf(reader->why, sizeof(reader->why), "out of memory");
        return false;
    }
    return true;
}

void line_reader_close(struct line_reader *reader)
{
    gzclose(reader->file);
    free(reader->buffer);
    *reader = (struct line_reader){0};
}

/* Reads more behind what is there. False on an error. */
static bool fill(struct line_reader *reader)
{
    memmove(reader->buffer, reader->buffer + reader->begin, reader->end - reader->begin);
    reader->end -= reader->begin;
    reader->begin = 0;
    int got =
        gzread(reader->file, reader->buffer + reader->end, (unsigned)(BUFFER_BYTES - reader->end));
    int error;
    const char *text = gzerror(reader->file, &error);
    if (got < 0 || (got == 0 && error != Z_OK)) {
        if (error == Z_ERRNO)
            text = strerror(errno);
        else if (error == Z_BUF_ERROR)
            text = "the gzip file is cut off";
        snprintf(reader->why, sizeof(reader->why), "%s", text);
        return false;
    }
    reader->at_end = got == 0;
    reader->end += (size_t)got;
    return true;
}

/* Takes `count` bytes and the newline from the buffer. */
static enum line_reader_event take(struct line_reader *reader, size_t count, const char **line,
                                   size_t *line_count)
{
    static const char mark[] = "\xef\xbb\xbf";
    const char *data = reader->buffer + reader->begin;
    reader->begin += count < reader->end - reader->begin ? count + 1 : count;
    reader->number++;
    if (reader->skipping) {
        reader->skipping = false;
        return LINE_READER_TOO_LONG;
    }
    if (reader->number == 1 && count >= 3 && memcmp(data, mark, 3) == 0) {
        data += 3;
        count -= 3;
    }
    *line = data;
    *line_count = count;
    return LINE_READER_LINE;
}

enum line_reader_event line_reader_next(struct line_reader *reader, const char **line,
                                        size_t *count)
{
    size_t searched = 0;
    /* Each round reads at least a byte, finds a newline, or ends. */
    for (;;) {
        const char *begin = reader->buffer + reader->begin;
        size_t there = reader->end - reader->begin;
        const char *newline = memchr(begin + searched, '\n', there - searched);
        if (newline)
            return take(reader, (size_t)(newline - begin), line, count);
        searched = there;
        if (reader->at_end)
            return there > 0 || reader->skipping ? take(reader, there, line, count)
                                                 : LINE_READER_END;
        if (there == BUFFER_BYTES) {
            reader->skipping = true;
            reader->begin = reader->end = searched = 0;
        }
        if (!fill(reader))
            return LINE_READER_FAILED;
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

uint64_t line_reader_count(const char *path)
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
