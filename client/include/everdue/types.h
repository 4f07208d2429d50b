/* everdue/types.h - what workers and clients share. Part of libeverdue. */
#ifndef EVERDUE_TYPES_H
#define EVERDUE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EVERDUE_API __attribute__((visibility("default")))

/* Times are microseconds since the Unix epoch, UTC. "Not given" in a field that may be absent. */
#define EVERDUE_ABSENT INT64_MAX

/* Where the broker listens unless told otherwise. */
#define EVERDUE_ENDPOINT "tcp://127.0.0.1:7790"

/* Borrowed bytes. `data` is NULL when absent; empty bytes have data and count 0. */
struct everdue_bytes {
    const void *data;
    size_t count;
};

/* The bytes of a C string without its terminator; of NULL: absent. */
EVERDUE_API struct everdue_bytes everdue_text(const char *text);

/* Status numbers are those of docs/protocol.md: 0 and above success, negative errors. */
EVERDUE_API const char *everdue_status_name(int status);
EVERDUE_API const char *everdue_status_text(int status);

/* "0.1.0" */
EVERDUE_API const char *everdue_version(void);

#ifdef __cplusplus
}
#endif

#endif
