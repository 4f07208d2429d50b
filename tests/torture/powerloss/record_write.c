/* record_write.c - the recorder: what changes a file's content and what makes it durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record_private.h"

enum { DATA_BYTES_MAX = 64 << 20 };

static void be_slow(int fd)
{
    if (record_slow_us && record_followed(fd))
        usleep(record_slow_us);
}

/* A write to an O_DSYNC descriptor is a sync, too. */
static bool take_write_turn(int fd)
{
    const struct record_descriptor *descriptor = record_followed(fd);
    if (descriptor && descriptor->is_dsync)
        be_slow(fd);
    return record_take_turn(fd);
}

/* --- writing --------------------------------------------------------------------------------- */

/* Logs what was written, then (O_DSYNC) that it is durable. */
static void note_write(int fd, const void *bytes, ssize_t count, off_t offset)
{
    if (count <= 0)
        return;
    const struct record_descriptor *descriptor = &record_descriptors[fd];
    struct record_entry entry = {
        .kind = RECORD_WRITE,
        .handle = descriptor->handle,
        .offset = (uint64_t)offset,
        .count = (uint64_t)count,
        .bytes = (uint32_t)count,
    };
    record_note(entry, bytes);
    if (!descriptor->is_dsync)
        return;
    entry.kind = RECORD_SYNC_RANGE;
    entry.bytes = 0;
    record_note(entry, NULL);
}

/* Where the descriptor stands; a pipe or the like is not followed. */
static off_t position(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

/* The pieces in one; NULL: too much, or no memory. */
static void *gather(const struct iovec *parts, int count, size_t *total)
{
    *total = 0;
    for (int i = 0; i < count; i++)
        *total += parts[i].iov_len;
    uint8_t *bytes = *total && *total <= DATA_BYTES_MAX ? malloc(*total) : NULL;
    size_t done = 0;
    for (int i = 0; i < count && bytes; i++) {
        if (parts[i].iov_len)
            memcpy(bytes + done, parts[i].iov_base, parts[i].iov_len);
        done += parts[i].iov_len;
    }
    return bytes;
}

static void note_vector(int fd, const struct iovec *parts, int parts_count, ssize_t count,
                        off_t offset)
{
    size_t total = 0;
    void *bytes = gather(parts, parts_count, &total);
    if (bytes)
        note_write(fd, bytes, count, offset);
    else if (count > 0)
        record_note_text(RECORD_UNSUPPORTED, record_descriptors[fd].handle, 0,
                         "a write without memory");
    free(bytes);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    REAL(ssize_t, write, int, const void *, size_t);
    if (!take_write_turn(fd))
        return real(fd, bytes, count);
    ssize_t done = real(fd, bytes, count);
    note_write(fd, bytes, done, position(fd) - done);
    pthread_mutex_unlock(&record_turn);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (!take_write_turn(fd))
        return real(fd, parts, count);
    ssize_t done = real(fd, parts, count);
    note_vector(fd, parts, count, done, position(fd) - done);
    pthread_mutex_unlock(&record_turn);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    if (!take_write_turn(fd))
        return real(fd, bytes, count, offset);
    ssize_t done = real(fd, bytes, count, offset);
    note_write(fd, bytes, done, offset);
    pthread_mutex_unlock(&record_turn);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    if (!take_write_turn(fd))
        return real(fd, parts, count, offset);
    ssize_t done = real(fd, parts, count, offset);
    note_vector(fd, parts, count, done, offset);
    pthread_mutex_unlock(&record_turn);
    return done;
}

/* --- sizes ----------------------------------------------------------------------------------- */

/* Logs the size as it is now. */
static void note_size(int fd)
{
    struct stat found;
    if (fstat(fd, &found) == 0)
        record_note((struct record_entry){.kind = RECORD_SIZE,
                                          .handle = record_descriptors[fd].handle,
                                          .offset = (uint64_t)found.st_size},
                    NULL);
}

#define WITH_SIZE(fd, call)                                                                        \
    if (!record_take_turn(fd))                                                                     \
        return call;                                                                               \
    int result = call;                                                                             \
    if (result == 0)                                                                               \
        note_size(fd);                                                                             \
    pthread_mutex_unlock(&record_turn);                                                            \
    return result

int ftruncate(int fd, off_t size)
{
    REAL(int, ftruncate, int, off_t);
    WITH_SIZE(fd, real(fd, size));
}

int posix_fallocate(int fd, off_t offset, off_t count)
{
    REAL(int, posix_fallocate, int, off_t, off_t);
    WITH_SIZE(fd, real(fd, offset, count));
}

int fallocate(int fd, int mode, off_t offset, off_t count)
{
    REAL(int, fallocate, int, int, off_t, off_t);
    if (mode & ~FALLOC_FL_KEEP_SIZE)
        record_note_unsupported(fd, "fallocate that moves or zeroes");
    WITH_SIZE(fd, real(fd, mode, offset, count));
}

/* --- syncs ----------------------------------------------------------------------------------- */

static int sync_followed(int (*real)(int), int fd)
{
    be_slow(fd);
    if (!record_take_turn(fd))
        return real(fd);
    int result = real(fd);
    if (result == 0)
        record_note(
            (struct record_entry){.kind = RECORD_SYNC, .handle = record_descriptors[fd].handle},
            NULL);
    pthread_mutex_unlock(&record_turn);
    return result;
}

int fsync(int fd)
{
    REAL(int, fsync, int);
    return sync_followed(real, fd);
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return sync_followed(real, fd);
}

/* --- the same by their other names (off_t has 64 bits) ---------------------------------------- */

SAME(ssize_t, pwrite64, pwrite, int, const void *, size_t, off64_t);
SAME(ssize_t, pwritev64, pwritev, int, const struct iovec *, int, off64_t);
SAME(int, ftruncate64, ftruncate, int, off64_t);
SAME(int, posix_fallocate64, posix_fallocate, int, off64_t, off64_t);
SAME(int, fallocate64, fallocate, int, int, off64_t, off64_t);
