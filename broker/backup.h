/* backup.h - a hot copy of the store, made by a thread of its own, one at a time. */
#ifndef EVERDUE_BACKUP_H
#define EVERDUE_BACKUP_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"
#include "wire.h"
#include "workers.h"

struct backup {
    bool is_running;
    pthread_t thread;
    int done_fd; /* eventfd: readable when it is over; -1: none yet */
    struct store *store;
    uint8_t identity[IDENTITY_BYTES_MAX]; /* of the peer that asked, which may be gone by then */
    uint32_t identity_bytes;
    uint64_t request;
    char directory[PATH_MAX];
    enum status status;
    char why[512];
};

void backup_init(struct backup *backup);
/* BUSY: one is running. BAD_FIELD: not an absolute path. IO: no thread. */
enum status backup_begin(struct backup *backup, struct store *store, struct bytes directory);
/* To be called when done_fd is readable: waits for the thread's last step. */
void backup_end(struct backup *backup);
void backup_release(struct backup *backup);

#endif
