/* fuzz.h - what the fuzz targets share: raw bytes, drawn from as if they were dice.
 *
 * A target is a function of the bytes alone, so a file that once failed can be run again. What must
 * hold is asked with FUZZ_CHECK; what it prints is the condition.
 */
#ifndef EVERDUE_FUZZ_H
#define EVERDUE_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* 0 when nothing is left. */
static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->at++;
}

static inline uint64_t fuzz_number(struct fuzz_input *input, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | fuzz_byte(input);
    return number;
}

/* Up to `most` bytes, as many as the next byte says; borrowed. */
static inline const uint8_t *fuzz_take(struct fuzz_input *input, size_t most, size_t *count)
{
    *count = fuzz_byte(input);
    if (*count > most)
        *count = most;
    if (*count > input->left)
        *count = input->left;
    const uint8_t *bytes = input->at;
    input->at += *count;
    input->left -= *count;
    return bytes;
}

/* A copy on the heap, so that a read beyond its end is seen; for free(). Never NULL. */
static inline char *fuzz_copy(const uint8_t *data, size_t count)
{
    char *copy = malloc(count ? count : 1);
    if (!copy)
        abort();
    if (count)
        memcpy(copy, data, count);
    return copy;
}

#endif
