/* cut.c - ends a process with SIGKILL at one of its writes or syncs of a folder. For LD_PRELOAD.
 *
 *   EVERDUE_CUT_DIR    a folder; calls on files in it are counted
 *   EVERDUE_CUT_AT     at which of them, from 1
 *   EVERDUE_CUT_HOW    before, half (of a write's bytes), or after
 *
 * Counted are write, pwrite, writev, fsync, fdatasync and ftruncate: all that LMDB as packaged uses
 * besides lseek. Standard error is told which call it was, so that a log shows what was hit. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload.h"

enum how { BEFORE, HALF, AFTER };

static const char *directory;
static long cut_at;
static enum how cut_how;
static atomic_long calls;

static struct preload_calls real;

__attribute__((constructor)) static void prepare(void)
{
    preload_find_calls(&real);
    const char *at = getenv("EVERDUE_CUT_AT"), *how = getenv("EVERDUE_CUT_HOW");
    directory = getenv("EVERDUE_CUT_DIR");
    cut_at = at ? atol(at) : 0;
    cut_how = how && strcmp(how, "half") == 0    ? HALF
              : how && strcmp(how, "after") == 0 ? AFTER
                                                 : BEFORE;
}

/* Whether this call is the one. */
static bool is_the_one(int fd)
{
    return directory && cut_at && preload_is_in(fd, directory) &&
           atomic_fetch_add(&calls, 1) + 1 == cut_at;
}

static void end(const char *call)
{
    static const char *const words[] = {[BEFORE] = "before", [HALF] = "in", [AFTER] = "after"};
    dprintf(STDERR_FILENO, "cut %s call %ld: %s\n", words[cut_how], cut_at, call);
    kill(getpid(), SIGKILL);
    for (;;) /* until it arrives */
        pause();
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (!is_the_one(fd))
        return real.write(fd, bytes, count);
    if (cut_how == BEFORE || real.write(fd, bytes, cut_how == HALF ? count / 2 : count) >= 0)
        end("write");
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    if (!is_the_one(fd))
        return real.pwrite(fd, bytes, count, offset);
    if (cut_how == BEFORE ||
        real.pwrite(fd, bytes, cut_how == HALF ? count / 2 : count, offset) >= 0)
        end("pwrite");
    return -1;
}

/* What programs call that were built for large files; the same here. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset)
{
    return pwrite(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (!is_the_one(fd))
        return real.writev(fd, parts, count);
    int some = cut_how == HALF ? count / 2 : count;
    if (cut_how == BEFORE || some == 0 || real.writev(fd, parts, some) >= 0)
        end("writev");
    return -1;
}

int fsync(int fd)
{
    if (!is_the_one(fd))
        return real.fsync(fd);
    if (cut_how == BEFORE || real.fsync(fd) == 0)
        end("fsync");
    return -1;
}

int fdatasync(int fd)
{
    if (!is_the_one(fd))
        return real.fdatasync(fd);
    if (cut_how == BEFORE || real.fdatasync(fd) == 0)
        end("fdatasync");
    return -1;
}

int ftruncate(int fd, off_t length)
{
    if (!is_the_one(fd))
        return real.ftruncate(fd, length);
    if (cut_how == BEFORE || real.ftruncate(fd, length) == 0)
        end("ftruncate");
    return -1;
}
