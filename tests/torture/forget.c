/* forget.c - notes what a power cut would have taken from files that a process writes. For
 * LD_PRELOAD.
 *
 *   EVERDUE_FORGET_DIR    a folder; writes to files in it are noted
 *   EVERDUE_FORGET_LOG    where to note them
 *
 * Before each write a record is appended to the log: which file, where, how long the file was, and
 * the bytes that were there. After each sync that succeeded: which file, and how many records were
 * there when it began. forget.py takes back, in a killed process's files, the writes that no sync
 * covers: what a disk without power may have kept is anything between that and all of it.
 *
 * Calls: write, pwrite (64), writev, fsync, fdatasync; writes to a file opened with O_SYNC or
 * O_DSYNC count as synced. Not noted: what is mapped, names (rename, unlink), lengths without
 * bytes. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload.h"

enum { WROTE = 1, SYNCED = 2, BYTES_MAX = 1 << 20 };

/* As it stands in the log; the bytes that were there follow. */
struct note {
    uint64_t kind, number; /* SYNCED: all before this number */
    uint64_t inode;
    uint64_t offset, size; /* of the write; of the file before it */
    uint64_t count;        /* bytes that follow */
};

static const char *directory;
static int log_fd = -1;
static uint64_t numbers;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static struct preload_calls real;

__attribute__((constructor)) static void prepare(void)
{
    preload_find_calls(&real);
    const char *path = getenv("EVERDUE_FORGET_LOG");
    directory = getenv("EVERDUE_FORGET_DIR");
    if (directory && path)
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Whether it is a regular file of the folder; `stat` is then what it is. */
static bool is_noted(int fd, struct stat *stat)
{
    return log_fd >= 0 && fd != log_fd && preload_is_in(fd, directory) && fstat(fd, stat) == 0 &&
           S_ISREG(stat->st_mode);
}

/* A hole in the log would make a lie of the result. */
static void append(const struct note *note, const void *bytes)
{
    struct iovec parts[] = {{(void *)(uintptr_t)note, sizeof(*note)},
                            {(void *)(uintptr_t)bytes, note->count}};
    if (real.writev(log_fd, parts, 2) != (ssize_t)(sizeof(*note) + note->count))
        abort();
}

/* Under the mutex, before the write: `offset` below 0 is where the file stands. */
static void note_write(int fd, off_t offset, size_t count)
{
    static char bytes[BYTES_MAX];
    char path[64];
    struct stat stat;
    if (!is_noted(fd, &stat))
        return;
    int flags = fcntl(fd, F_GETFL);
    if (flags & (O_SYNC | O_DSYNC))
        return;
    if (offset < 0)
        offset = flags & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    if (reader < 0 || count > BYTES_MAX)
        abort();
    ssize_t there = pread(reader, bytes, count, offset);
    close(reader);
    struct note note = {WROTE,
                        ++numbers,
                        stat.st_ino,
                        (uint64_t)offset,
                        (uint64_t)stat.st_size,
                        there > 0 ? (uint64_t)there : 0};
    append(&note, bytes);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    pthread_mutex_lock(&mutex);
    note_write(fd, -1, count);
    ssize_t done = real.write(fd, bytes, count);
    pthread_mutex_unlock(&mutex);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    pthread_mutex_lock(&mutex);
    note_write(fd, offset, count);
    ssize_t done = real.pwrite(fd, bytes, count, offset);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* What programs call that were built for large files; the same here. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset)
{
    return pwrite(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int part_count)
{
    size_t count = 0;
    for (int i = 0; i < part_count; i++)
        count += parts[i].iov_len;
    pthread_mutex_lock(&mutex);
    note_write(fd, -1, count);
    ssize_t done = real.writev(fd, parts, part_count);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* A sync covers what was written before it began. */
static int note_sync(int fd, int (*sync)(int))
{
    struct stat stat;
    bool noted = is_noted(fd, &stat);
    pthread_mutex_lock(&mutex);
    uint64_t number = numbers + 1;
    pthread_mutex_unlock(&mutex);
    int status = sync(fd);
    if (noted && status == 0) {
        struct note note = {SYNCED, number, stat.st_ino, 0, 0, 0};
        append(&note, "");
    }
    return status;
}

int fsync(int fd)
{
    return note_sync(fd, real.fsync);
}

int fdatasync(int fd)
{
    return note_sync(fd, real.fdatasync);
}
