/* fail.c - a library that is preloaded: one kind of call on the files of a directory fails.
 *
 *   EVERDUE_FAIL_DIR     the directory
 *   EVERDUE_FAIL         KIND:ERROR:K:once or KIND:ERROR:K:ever. The K-th call of the kind fails,
 * or it and all that follow EVERDUE_FAIL_FIRED   a file that is made when the first call fails
 *
 *   write   write, writev, pwrite, pwritev; ERROR may be SHORT: half of the bytes are written
 *   sync    fsync, fdatasync, and writes to O_DSYNC descriptors
 *   open    open, openat
 *   size    ftruncate, fallocate, posix_fallocate
 *   map     mmap of a file
 *   name    rename, mkdir
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record_private.h"

enum { KIND_BYTES = 8 };
enum { ERROR_SHORT = -1 };

static pthread_mutex_t count_mutex = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_bytes;
static char kind_wanted[KIND_BYTES];
static int error_wanted;
static long number_wanted;
static bool for_ever;
static long number;

__attribute__((constructor)) static void begin(void)
{
    const char *root = getenv("EVERDUE_FAIL_DIR");
    const char *what = getenv("EVERDUE_FAIL");
    char error[16] = "";
    char how[8] = "";
    if (!root || !what)
        return;
    if (sscanf(what, "%7[a-z]:%15[A-Z]:%ld:%7s", kind_wanted, error, &number_wanted, how) != 4)
        _exit(97);
    directory_bytes = (size_t)snprintf(directory, sizeof(directory), "%s/", root);
    for_ever = strcmp(how, "ever") == 0;
    error_wanted = strcmp(error, "SHORT") == 0    ? ERROR_SHORT
                   : strcmp(error, "ENOSPC") == 0 ? ENOSPC
                   : strcmp(error, "ENOMEM") == 0 ? ENOMEM
                   : strcmp(error, "EMFILE") == 0 ? EMFILE
                                                  : EIO;
}

static void note_fired(void)
{
    const char *path = getenv("EVERDUE_FAIL_FIRED");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT, 0600) : -1;
    if (fd >= 0)
        syscall(SYS_close, fd);
}

/* Whether this call fails; errno is set then. */
static bool fails(const char *kind, const char *path)
{
    if (!directory_bytes || strcmp(kind, kind_wanted) != 0 ||
        strncmp(path, directory, directory_bytes) != 0)
        return false;
    pthread_mutex_lock(&count_mutex);
    long mine = ++number;
    pthread_mutex_unlock(&count_mutex);
    bool is_mine = mine == number_wanted || (for_ever && mine > number_wanted);
    if (mine == number_wanted)
        note_fired();
    if (is_mine)
        errno = error_wanted > 0 ? error_wanted : EIO;
    return is_mine;
}

static bool fails_at(const char *kind, int fd)
{
    char link[64];
    char path[PATH_MAX];
    if (!directory_bytes || fd < 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof(path) - 1);
    if (count <= 0)
        return false;
    path[count] = '\0';
    return fails(kind, path);
}

/* A write to an O_DSYNC descriptor is a sync, too. */
static bool write_fails(int fd)
{
    if (fails_at("write", fd))
        return true;
    if (strcmp(kind_wanted, "sync") != 0)
        return false;
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL); /* not the recorder's, which waits for us */
    return flags >= 0 && flags & O_DSYNC && fails_at("sync", fd);
}

static size_t half(size_t count)
{
    return error_wanted == ERROR_SHORT && strcmp(kind_wanted, "write") == 0 ? count / 2 : 0;
}

/* --- writing --------------------------------------------------------------------------------- */

ssize_t write(int fd, const void *bytes, size_t count)
{
    REAL(ssize_t, write, int, const void *, size_t);
    if (!write_fails(fd))
        return real(fd, bytes, count);
    return half(count) ? real(fd, bytes, half(count)) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    if (!write_fails(fd))
        return real(fd, bytes, count, offset);
    return half(count) ? real(fd, bytes, half(count), offset) : -1;
}

/* Half of a vector is half of its first piece. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (!write_fails(fd))
        return real(fd, parts, count);
    struct iovec first = {parts[0].iov_base, half(parts[0].iov_len)};
    return first.iov_len ? real(fd, &first, 1) : -1;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    if (!write_fails(fd))
        return real(fd, parts, count, offset);
    struct iovec first = {parts[0].iov_base, half(parts[0].iov_len)};
    return first.iov_len ? real(fd, &first, 1, offset) : -1;
}

/* --- the others ------------------------------------------------------------------------------ */

int fsync(int fd)
{
    REAL(int, fsync, int);
    return fails_at("sync", fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return fails_at("sync", fd) ? -1 : real(fd);
}

int openat(int at_fd, const char *path, int flags, ...)
{
    REAL(int, openat, int, const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return fails("open", path) ? -1 : real(at_fd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    REAL(int, open, const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return fails("open", path) ? -1 : real(path, flags, mode);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, ftruncate, int, off_t);
    return fails_at("size", fd) ? -1 : real(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t count)
{
    REAL(int, fallocate, int, int, off_t, off_t);
    return fails_at("size", fd) ? -1 : real(fd, mode, offset, count);
}

int posix_fallocate(int fd, off_t offset, off_t count)
{
    REAL(int, posix_fallocate, int, off_t, off_t);
    return fails_at("size", fd) ? errno : real(fd, offset, count);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    REAL(void *, mmap, void *, size_t, int, int, int, off_t);
    return fails_at("map", fd) ? MAP_FAILED : real(address, bytes, protection, flags, fd, offset);
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *);
    return fails("name", from) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t);
    return fails("name", path) ? -1 : real(path, mode);
}

/* The recorder, which stands before this library, opens and renames by these. */
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(int, renameat, int, const char *, int, const char *);
    return fails("name", from) ? -1 : real(from_fd, from, to_fd, to);
}

SAME(int, open64, open, const char *, int, ...);
SAME(int, openat64, openat, int, const char *, int, ...);
SAME(ssize_t, pwrite64, pwrite, int, const void *, size_t, off64_t);
SAME(int, ftruncate64, ftruncate, int, off64_t);
SAME(int, posix_fallocate64, posix_fallocate, int, off64_t, off64_t);
SAME(int, fallocate64, fallocate, int, int, off64_t, off64_t);
SAME(void *, mmap64, mmap, void *, size_t, int, int, int, off64_t);
