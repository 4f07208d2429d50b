#include "record.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MARK_BYTES = 512 };

int record_log_open(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                        0600);
}

/* By system calls: in the recorded process the functions of these names are the recorder's. */
bool record_append(int log_fd, const struct record_entry *entry, const void *data)
{
    struct record_entry stamped = *entry;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    stamped.mono_us = now.tv_sec * 1000000 + now.tv_nsec / 1000;
    struct iovec parts[2] = {
        {.iov_base = &stamped, .iov_len = sizeof(stamped)},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = entry->bytes},
    };
    return syscall(SYS_writev, log_fd, parts, entry->bytes ? 2 : 1) ==
           (long)(sizeof(stamped) + entry->bytes);
}

bool record_mark(int log_fd, const char *format, ...)
{
    char text[MARK_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t)count >= sizeof(text))
        return false;
    struct record_entry entry = {.kind = RECORD_MARK, .bytes = (uint32_t)count};
    return record_append(log_fd, &entry, text);
}
