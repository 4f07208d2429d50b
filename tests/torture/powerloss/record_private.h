/* record_private.h - what the two files of the recorder share. */
#ifndef EVERDUE_RECORD_PRIVATE_H
#define EVERDUE_RECORD_PRIVATE_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "record.h"

enum { DESCRIPTORS_MAX = 4096 };

struct record_descriptor {
    uint64_t handle; /* 0: not followed */
    bool is_dsync;
};

/* Held over an operation and its entry. */
extern pthread_mutex_t record_turn;
extern struct record_descriptor record_descriptors[DESCRIPTORS_MAX];
extern unsigned record_slow_us;

/* NULL: not followed. */
struct record_descriptor *record_followed(int fd);
/* Takes the turn, unless the descriptor is not followed. */
bool record_take_turn(int fd);
/* These end the process when the log cannot be written: one with a hole proves nothing. errno is
 * kept. */
void record_note(struct record_entry entry, const void *data);
void record_note_text(enum record_kind kind, uint64_t handle, unsigned flags, const char *text);
void record_note_unsupported(int fd, const char *what);

/* The function of that name behind this library, as `real`. */
#define REAL(result, name, ...)                                                                    \
    static result (*real)(__VA_ARGS__);                                                            \
    if (!real)                                                                                     \
    real = (result(*)(__VA_ARGS__))(uintptr_t)dlsym(RTLD_NEXT, #name)

#define SAME(result, name, other, ...) result name(__VA_ARGS__) __attribute__((alias(#other)))

#endif
