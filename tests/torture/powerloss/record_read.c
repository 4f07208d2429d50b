#include "record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool record_log_map(struct record_log *log, const char *path)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &found) == 0;
    *log = (struct record_log){0};
    if (good && found.st_size == 0) { /* the process did nothing */
        close(fd);
        return true;
    }
    void *bytes =
        good ? mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (bytes == MAP_FAILED)
        return false;
    log->bytes = bytes;
    log->count = (size_t)found.st_size;
    return true;
}

void record_log_unmap(struct record_log *log)
{
    if (log->bytes)
        munmap((void *)(uintptr_t)log->bytes, log->count);
    log->bytes = NULL;
}

/* Entries are not aligned. */
bool record_log_next(const struct record_log *log, size_t *at, struct record_entry *entry,
                     const uint8_t **data)
{
    if (*at + sizeof(*entry) > log->count)
        return false;
    memcpy(entry, log->bytes + *at, sizeof(*entry));
    *data = log->bytes + *at + sizeof(*entry);
    *at += sizeof(*entry) + entry->bytes;
    return *at <= log->count;
}

bool record_mark_text(const struct record_entry *entry, const uint8_t *data, char *text,
                      size_t room)
{
    if (entry->bytes >= room)
        return false;
    memcpy(text, data, entry->bytes);
    text[entry->bytes] = '\0';
    return true;
}
