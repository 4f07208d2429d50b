/* record.c - the recorder: a library that is preloaded into the process to be recorded.
 *
 *   EVERDUE_RECORD_DIR       the directory; what lies below it is followed
 *   EVERDUE_RECORD_LOG       the log, see record.h
 *   EVERDUE_RECORD_SLOW_US   optional: every sync takes so much longer, so that an acknowledgement
 *                            that does not wait for it is logged before it
 *
 * lock.mdb is left out: LMDB maps it, and makes it anew when nobody has the store open. So is
 * reserve, which holds nothing.
 *
 * File positions are the kernel's: after a write the position is asked for, which is right for
 * appending and for shared descriptors, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record_private.h"

pthread_mutex_t record_turn = PTHREAD_MUTEX_INITIALIZER;
struct record_descriptor record_descriptors[DESCRIPTORS_MAX];
static char directory[PATH_MAX];
static size_t directory_bytes;
static int log_fd = -1;
static uint64_t handles;
unsigned record_slow_us;

__attribute__((constructor)) static void begin(void)
{
    const char *root = getenv("EVERDUE_RECORD_DIR");
    const char *log = getenv("EVERDUE_RECORD_LOG");
    const char *slow = getenv("EVERDUE_RECORD_SLOW_US");
    if (!root || !log)
        return;
    directory_bytes = (size_t)snprintf(directory, sizeof(directory), "%s/", root);
    record_slow_us = slow ? (unsigned)atoi(slow) : 0;
    handles = (uint64_t)getpid() << 32;
    log_fd = record_log_open(log);
    if (log_fd < 0) {
        perror(log);
        _exit(99);
    }
}

/* --- what is followed ------------------------------------------------------------------------ */

/* The part below the directory, in `room`, or NULL: not followed. The directory itself is ".". */
static const char *below(int at_fd, const char *path, char room[PATH_MAX])
{
    if (log_fd < 0)
        return NULL;
    char base[PATH_MAX] = "";
    char link[64];
    if (path[0] != '/') {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", at_fd);
        ssize_t count = at_fd == AT_FDCWD ? (getcwd(base, sizeof(base)) ? 0 : -1)
                                          : readlink(link, base, sizeof(base) - 1);
        if (count < 0)
            return NULL;
    }
    int count = snprintf(room, PATH_MAX, "%s%s%s/", base, base[0] ? "/" : "", path);
    if (count <= 0 || count >= PATH_MAX || strncmp(room, directory, directory_bytes) != 0)
        return NULL;
    for (; (size_t)count > directory_bytes && room[count - 2] == '/'; count--)
        room[count - 1] = '\0';
    if ((size_t)count == directory_bytes)
        return ".";
    room[count - 1] = '\0';
    const char *name = room + directory_bytes;
    const char *last = strrchr(name, '/');
    last = last ? last + 1 : name;
    bool is_passed = strcmp(last, "lock.mdb") == 0 || strcmp(last, "data.new-lock") == 0 ||
                     strcmp(last, "reserve") == 0;
    return is_passed ? NULL : name;
}

struct record_descriptor *record_followed(int fd)
{
    if (log_fd < 0 || fd < 0 || fd >= DESCRIPTORS_MAX || !record_descriptors[fd].handle)
        return NULL;
    return &record_descriptors[fd];
}

/* A log with a hole proves nothing. */
void record_note(struct record_entry entry, const void *data)
{
    int error = errno;
    if (!record_append(log_fd, &entry, data)) {
        static const char text[] = "record: the log cannot be written\n";
        if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
            _exit(98);
        _exit(99);
    }
    errno = error;
}

void record_note_text(enum record_kind kind, uint64_t handle, unsigned flags, const char *text)
{
    record_note((struct record_entry){.kind = (uint16_t)kind,
                                      .flags = (uint16_t)flags,
                                      .handle = handle,
                                      .bytes = (uint32_t)strlen(text)},
                text);
}

void record_note_unsupported(int fd, const char *what)
{
    pthread_mutex_lock(&record_turn);
    if (record_followed(fd))
        record_note_text(RECORD_UNSUPPORTED, record_descriptors[fd].handle, 0, what);
    pthread_mutex_unlock(&record_turn);
}

bool record_take_turn(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX || log_fd < 0)
        return false;
    pthread_mutex_lock(&record_turn);
    if (record_followed(fd))
        return true;
    pthread_mutex_unlock(&record_turn);
    return false;
}

/* --- opening and closing --------------------------------------------------------------------- */

static int open_followed(int at_fd, const char *path, int flags, mode_t mode)
{
    REAL(int, openat, int, const char *, int, ...);
    char room[PATH_MAX];
    struct stat found;
    const char *name = below(at_fd, path, room);
    if (!name)
        return real(at_fd, path, flags, mode);
    pthread_mutex_lock(&record_turn);
    int fd = real(at_fd, path, flags, mode);
    if (fd >= DESCRIPTORS_MAX) {
        record_note_text(RECORD_UNSUPPORTED, 0, 0, "too many descriptors");
    } else if (fd >= 0) {
        unsigned noted = (flags & O_CREAT ? RECORD_CREATE : 0) |
                         (flags & O_TRUNC ? RECORD_TRUNCATE : 0) |
                         (fstat(fd, &found) == 0 && S_ISDIR(found.st_mode) ? RECORD_DIRECTORY : 0);
        record_descriptors[fd].handle = ++handles;
        record_descriptors[fd].is_dsync = (flags & O_DSYNC) != 0; /* O_SYNC has this bit, too */
        record_note_text(RECORD_OPEN, record_descriptors[fd].handle, noted, name);
    }
    pthread_mutex_unlock(&record_turn);
    return fd;
}

#define MODE_OF(flags)                                                                             \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;                 \
    va_end(arguments)

int open(const char *path, int flags, ...)
{
    MODE_OF(flags);
    return open_followed(AT_FDCWD, path, flags, mode);
}

int openat(int at_fd, const char *path, int flags, ...)
{
    MODE_OF(flags);
    return open_followed(at_fd, path, flags, mode);
}

int __open_2(const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return open_followed(AT_FDCWD, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_followed(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    REAL(int, close, int);
    pthread_mutex_lock(&record_turn);
    if (record_followed(fd))
        record_descriptors[fd].handle = 0;
    int result = real(fd);
    pthread_mutex_unlock(&record_turn);
    return result;
}

static void note_dup(int from, int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX || log_fd < 0)
        return;
    record_descriptors[fd] =
        from < DESCRIPTORS_MAX ? record_descriptors[from] : (struct record_descriptor){0};
}

int dup(int from)
{
    REAL(int, dup, int);
    pthread_mutex_lock(&record_turn);
    int fd = real(from);
    note_dup(from, fd);
    pthread_mutex_unlock(&record_turn);
    return fd;
}

int dup2(int from, int to)
{
    REAL(int, dup2, int, int);
    pthread_mutex_lock(&record_turn);
    int fd = real(from, to);
    note_dup(from, fd);
    pthread_mutex_unlock(&record_turn);
    return fd;
}

int dup3(int from, int to, int flags)
{
    REAL(int, dup3, int, int, int);
    pthread_mutex_lock(&record_turn);
    int fd = real(from, to, flags);
    note_dup(from, fd);
    pthread_mutex_unlock(&record_turn);
    return fd;
}

int fcntl(int fd, int command, ...)
{
    REAL(int, fcntl, int, int, ...);
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    pthread_mutex_lock(&record_turn);
    int result = real(fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        note_dup(fd, result);
    pthread_mutex_unlock(&record_turn);
    return result;
}

/* --- names ----------------------------------------------------------------------------------- */

static void note_name(enum record_kind kind, const char *name)
{
    record_note_text(kind, 0, 0, name);
}

#define WITH_NAME(kind, at_fd, path, call)                                                         \
    char room[PATH_MAX];                                                                           \
    const char *name = below(at_fd, path, room);                                                   \
    if (!name)                                                                                     \
        return call;                                                                               \
    pthread_mutex_lock(&record_turn);                                                              \
    int result = call;                                                                             \
    if (result == 0)                                                                               \
        note_name(kind, name);                                                                     \
    pthread_mutex_unlock(&record_turn);                                                            \
    return result

int unlink(const char *path)
{
    REAL(int, unlink, const char *);
    WITH_NAME(RECORD_UNLINK, AT_FDCWD, path, real(path));
}

int unlinkat(int at_fd, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int);
    WITH_NAME(RECORD_UNLINK, at_fd, path, real(at_fd, path, flags));
}

int rmdir(const char *path)
{
    REAL(int, rmdir, const char *);
    WITH_NAME(RECORD_UNLINK, AT_FDCWD, path, real(path));
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t);
    WITH_NAME(RECORD_MKDIR, AT_FDCWD, path, real(path, mode));
}

int mkdirat(int at_fd, const char *path, mode_t mode)
{
    REAL(int, mkdirat, int, const char *, mode_t);
    WITH_NAME(RECORD_MKDIR, at_fd, path, real(at_fd, path, mode));
}

static int rename_followed(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(int, renameat, int, const char *, int, const char *);
    char from_room[PATH_MAX];
    char to_room[PATH_MAX];
    char both[2 * PATH_MAX];
    const char *from_name = below(from_fd, from, from_room);
    const char *to_name = below(to_fd, to, to_room);
    if (!from_name && !to_name)
        return real(from_fd, from, to_fd, to);
    pthread_mutex_lock(&record_turn);
    int result = real(from_fd, from, to_fd, to);
    if (result == 0 && from_name && to_name) {
        int count = snprintf(both, sizeof(both), "%s%c%s", from_name, '\0', to_name);
        record_note((struct record_entry){.kind = RECORD_RENAME, .bytes = (uint32_t)count}, both);
    } else if (result == 0) {
        record_note_text(RECORD_UNSUPPORTED, 0, 0, "a rename across the border");
    }
    pthread_mutex_unlock(&record_turn);
    return result;
}

int rename(const char *from, const char *to)
{
    return rename_followed(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return rename_followed(from_fd, from, to_fd, to);
}

/* --- what cannot be followed ----------------------------------------------------------------- */

int link(const char *from, const char *to)
{
    REAL(int, link, const char *, const char *);
    char room[PATH_MAX];
    if (below(AT_FDCWD, from, room) || below(AT_FDCWD, to, room))
        record_note_text(RECORD_UNSUPPORTED, 0, 0, "a hard link");
    return real(from, to);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    REAL(void *, mmap, void *, size_t, int, int, int, off_t);
    if ((protection & PROT_WRITE) && (flags & MAP_SHARED))
        record_note_unsupported(fd, "a shared writable mapping");
    return real(address, bytes, protection, flags, fd, offset);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count)
{
    REAL(ssize_t, sendfile, int, int, off_t *, size_t);
    record_note_unsupported(to, "sendfile");
    return real(to, from, offset, count);
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t count,
                        unsigned flags)
{
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    record_note_unsupported(to, "copy_file_range");
    return real(from, from_offset, to, to_offset, count, flags);
}

/* --- the same by their other names (off_t has 64 bits) ---------------------------------------- */

SAME(int, open64, open, const char *, int, ...);
SAME(int, openat64, openat, int, const char *, int, ...);
SAME(int, __open64_2, __open_2, const char *, int);
SAME(int, fcntl64, fcntl, int, int, ...);
SAME(void *, mmap64, mmap, void *, size_t, int, int, int, off64_t);
