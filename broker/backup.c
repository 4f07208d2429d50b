#include "backup.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void backup_init(struct backup *backup)
{
    memset(backup, 0, sizeof(*backup));
    backup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void *copy(void *user)
{
    struct backup *backup = user;
    uint64_t one = 1;
    backup->status =
        store_backup(backup->store, backup->directory, backup->why, sizeof(backup->why));
    /* Cannot fail: the counter is 0 and the descriptor ours. */
    if (write(backup->done_fd, &one, sizeof(one)) != sizeof(one))
        backup->status = STATUS_IO;
    return NULL;
}

enum status backup_begin(struct backup *backup, struct store *store, struct bytes directory)
{
    if (backup->is_running)
        return STATUS_BUSY;
    /* Relative to the broker's own directory is not what anybody means. */
    if (directory.count == 0 || directory.data[0] != '/' ||
        directory.count >= sizeof(backup->directory) || memchr(directory.data, 0, directory.count))
        return STATUS_BAD_FIELD;
    memcpy(backup->directory, directory.data, directory.count);
    backup->directory[directory.count] = '\0';
    backup->store = store;
    backup->why[0] = '\0';
    if (backup->done_fd < 0 || pthread_create(&backup->thread, NULL, copy, backup) != 0)
        return STATUS_IO;
    backup->is_running = true;
    return STATUS_OK;
}

void backup_end(struct backup *backup)
{
    uint64_t count;
    if (!backup->is_running)
        return;
    pthread_join(backup->thread, NULL);
    backup->is_running = false;
    while (read(backup->done_fd, &count, sizeof(count)) == sizeof(count))
        ; /* ends: one read empties an eventfd */
}

void backup_release(struct backup *backup)
{
    backup_end(backup);
    if (backup->done_fd >= 0)
        close(backup->done_fd);
    backup->done_fd = -1;
}
