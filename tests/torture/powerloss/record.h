/* record.h - the log of what a process did to a directory, in the one order in which it happened.
 *
 * record.c, preloaded into the process, appends an entry for each write, sync and change of a name
 * below $EVERDUE_RECORD_DIR to $EVERDUE_RECORD_LOG; drivers append marks ("ack 17") to the same
 * file. An entry follows its operation: what it tells has happened. A mark that follows a sync was
 * made after that sync had returned, and every operation is logged before the thread that did it
 * goes on.
 *
 * Operations on the directory take turns, so the order in the log is the order on the files. What
 * the recorder cannot follow (a shared writable mapping, a copy inside the kernel) is logged, too,
 * so that nobody takes silence for proof.
 */
#ifndef EVERDUE_RECORD_H
#define EVERDUE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_kind {
    RECORD_OPEN,        /* handle; data: path; flags: RECORD_... */
    RECORD_WRITE,       /* handle, offset; data: the bytes, as many as were written */
    RECORD_SIZE,        /* handle, offset: the new size */
    RECORD_SYNC,        /* handle: fsync, fdatasync; of a directory: its names */
    RECORD_SYNC_RANGE,  /* handle, offset, count: a write to an O_DSYNC descriptor has returned */
    RECORD_RENAME,      /* data: path, NUL, path */
    RECORD_UNLINK,      /* data: path (a directory's, too) */
    RECORD_MKDIR,       /* data: path */
    RECORD_MARK,        /* data: text of a driver */
    RECORD_UNSUPPORTED, /* data: what; the file is opened or changed behind the recorder's back */
};

enum { RECORD_CREATE = 1, RECORD_TRUNCATE = 2, RECORD_DIRECTORY = 4 };

/* Data follow; paths are relative to the directory, without NUL at their end. */
struct record_entry {
    uint32_t bytes; /* of the data */
    uint16_t kind;
    uint16_t flags;
    uint64_t handle; /* of the open file: drawn anew by each open, kept by a dup */
    uint64_t offset;
    uint64_t count;
    int64_t mono_us;
};

/* For drivers: a descriptor of the log to append to, or -1. */
int record_log_open(const char *path);
/* One entry, appended whole. False when the log cannot be written: then nothing is proved. */
bool record_append(int log_fd, const struct record_entry *entry, const void *data);
bool record_mark(int log_fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For readers. */
struct record_log {
    const uint8_t *bytes; /* mapped */
    size_t count;
};

bool record_log_map(struct record_log *log, const char *path);
void record_log_unmap(struct record_log *log);
/* The entry at *at, which moves on; 0 is the first. `data` is borrowed from the log. False: there
 * is no other. */
bool record_log_next(const struct record_log *log, size_t *at, struct record_entry *entry,
                     const uint8_t **data);
/* A mark as text; false: it is longer than `room`. */
bool record_mark_text(const struct record_entry *entry, const uint8_t *data, char *text,
                      size_t room);

#endif
