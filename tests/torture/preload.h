/* preload.h - what the libraries for LD_PRELOAD here share. */
#ifndef EVERDUE_TORTURE_PRELOAD_H
#define EVERDUE_TORTURE_PRELOAD_H

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Sets the function pointer that `function` points to: the `name` that this library stands before.
 * dlsym gives an object pointer, for which ISO C has no conversion to a function's. */
static inline void preload_find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    memcpy(function, &found, sizeof(found));
}

/* The calls by which files are written and synced. */
struct preload_calls {
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*writev)(int, const struct iovec *, int);
    int (*fsync)(int);
    int (*fdatasync)(int);
    int (*ftruncate)(int, off_t);
};

static inline void preload_find_calls(struct preload_calls *calls)
{
    preload_find(&calls->write, "write");
    preload_find(&calls->pwrite, "pwrite");
    preload_find(&calls->writev, "writev");
    preload_find(&calls->fsync, "fsync");
    preload_find(&calls->fdatasync, "fdatasync");
    preload_find(&calls->ftruncate, "ftruncate");
}

/* Whether the descriptor's file has a name below this folder. */
static inline bool preload_is_in(int fd, const char *directory)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof(path) - 1);
    if (count < 0)
        return false;
    path[count] = '\0';
    return strncmp(path, directory, strlen(directory)) == 0;
}

#endif
