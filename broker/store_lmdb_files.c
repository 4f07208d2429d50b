/* store_lmdb_files.c - the store's directory: making, locking, and keeping room in it. */
#include "store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool file_path(char *path, const char *directory, const char *name)
{
    int count = snprintf(path, STORE_LMDB_PATH_BYTES, "%s/%s", directory, name);
    return count < STORE_LMDB_PATH_BYTES;
}

enum status store_lmdb_directory_make(const char *directory, char *why)
{
    char path[STORE_LMDB_PATH_BYTES];
    int count = snprintf(path, sizeof(path), "%s", directory);
    /* Room for the names of the files in it. */
    if (!directory[0] || (size_t)count >= sizeof(path) - 32) {
        store_lmdb_say(why, "the name of the store's directory is empty or too long");
        return STATUS_BAD_FIELD;
    }
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        /* What really is in the way is told by the last mkdir. */
        mkdir(path, 0700);
        *at = '/';
    }
    if (mkdir(path, 0700) && errno != EEXIST) {
        store_lmdb_say(why, "cannot make the directory %s: %s", directory, strerror(errno));
        return STATUS_IO;
    }
    return STATUS_OK;
}

/* False: the disk failed. Directories above ours may not be ours to read, and some file systems
 * cannot sync them: that is no failure. */
static bool sync_above(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES || errno == EPERM;
    bool failed = fsync(fd) && (errno == EIO || store_lmdb_lacks_space(errno));
    close(fd);
    return !failed;
}

/* A name is durable when the directory that it stands in was synced. A process that was killed may
 * have made those above, so each start that makes the store syncs them. */
enum status store_lmdb_directory_sync(const char *directory, char *why)
{
    char path[STORE_LMDB_PATH_BYTES];
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    snprintf(path, sizeof(path), "%s", directory);
    for (size_t end = strlen(path); end > 0 && synced; end--) {
        bool is_name = path[end - 1] != '/';
        path[end] = '\0';
        if (!is_name)
            synced = sync_above(path);
    }
    if (synced && directory[0] != '/')
        synced = sync_above(".");
    if (!synced)
        store_lmdb_say(why, "cannot sync the directory %s: %s", directory, strerror(errno));
    if (fd >= 0)
        close(fd);
    return synced ? STATUS_OK : STATUS_IO;
}

/* The pid that the holder wrote, for the text. */
static void say_holder(const char *directory, int fd, char *why)
{
    char text[32] = "";
    ssize_t count = pread(fd, text, sizeof(text) - 1, 0);
    text[count > 0 ? strcspn(text, "\n") : 0] = '\0';
    store_lmdb_say(why,
                   "another process (pid %s) has the store %s. Stop it, or choose another "
                   "directory",
                   text[0] ? text : "unknown", directory);
}

enum status store_lmdb_lock(const char *directory, int *fd, char *why)
{
    char path[STORE_LMDB_PATH_BYTES];
    if (!file_path(path, directory, "owner.lock")) {
        store_lmdb_say(why, "the name of the store's directory is too long");
        return STATUS_BAD_FIELD;
    }
    *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*fd < 0) {
        store_lmdb_say(why, "cannot open %s: %s", path, strerror(errno));
        return STATUS_IO;
    }
    enum status status = STATUS_OK;
    char text[32];
    int count = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    bool locked = flock(*fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) {
        say_holder(directory, *fd, why);
        status = STATUS_LOCKED;
    } else if (!locked) {
        store_lmdb_say(why, "cannot lock %s: %s", path, strerror(errno));
        status = STATUS_IO;
    } else if (ftruncate(*fd, 0) || pwrite(*fd, text, (size_t)count, 0) != count) {
        /* The pid is for people; a full disk must not keep the store from opening. */
        if (!store_lmdb_lacks_space(errno)) {
            store_lmdb_say(why, "cannot write %s: %s", path, strerror(errno));
            status = STATUS_IO;
        }
    }
    if (status) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

bool store_lmdb_lacks_space(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

uint64_t store_lmdb_free_bytes(const char *directory)
{
    struct statvfs space;
    if (statvfs(directory, &space))
        return 0;
    return (uint64_t)space.f_bavail * space.f_frsize;
}

bool store_lmdb_reserve_make(const char *directory, uint64_t bytes)
{
    char path[STORE_LMDB_PATH_BYTES];
    struct stat found;
    if (!bytes || !file_path(path, directory, "reserve"))
        return false;
    bool is_there = lstat(path, &found) == 0;
    if (is_there && S_ISREG(found.st_mode) && (uint64_t)found.st_size == bytes)
        return true;
    if (is_there && !S_ISREG(found.st_mode))
        unlink(path);
    if (store_lmdb_free_bytes(directory) / 2 < bytes)
        return false;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool made = ftruncate(fd, (off_t)bytes) == 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0;
    close(fd);
    if (!made)
        unlink(path);
    return made;
}

uint64_t store_lmdb_reserve_bytes(const char *directory)
{
    char path[STORE_LMDB_PATH_BYTES];
    struct stat found;
    if (!file_path(path, directory, "reserve") || stat(path, &found))
        return 0;
    return (uint64_t)found.st_blocks * 512;
}

bool store_lmdb_reserve_drop(const char *directory)
{
    char path[STORE_LMDB_PATH_BYTES];
    return file_path(path, directory, "reserve") && unlink(path) == 0;
}
