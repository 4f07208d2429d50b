/* body.h - what a record carries besides its state, packed into one allocation.
 *
 * In memory and in the store it is the same bytes (little-endian): 8 bytes of header, the key, the
 * payload, then what else is there. A body is never changed in place: a change packs a new one, so
 * that a failed allocation leaves the old.
 */
#ifndef EVERDUE_BODY_H
#define EVERDUE_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

/* What a body is packed from and viewed as. */
struct body_fields {
    struct bytes key;
    struct bytes payload; /* absent and empty are told apart */
    int64_t every_us;     /* 0: none */
    int64_t rank;
    bool once;
    struct bytes group; /* absent or empty: none */
    struct bytes memo;  /* the same */
    struct bytes note;
    struct bytes error;
    struct bytes park_reason;
    struct bytes last_worker;
    int64_t parked_us; /* 0: not parked */
};

/* A packed copy for free(); NULL when memory is out. Lengths are within their limits. */
uint8_t *body_new(const struct body_fields *fields);

/* Borrowed views; `body` is valid. */
void body_view(const uint8_t *body, struct body_fields *fields);
struct bytes body_key(const uint8_t *body);
int64_t body_rank(const uint8_t *body);
int64_t body_every_us(const uint8_t *body);

/* Bytes in all. */
uint32_t body_bytes(const uint8_t *body);

/* Whether `count` bytes from a store are one valid body. */
bool body_is_valid(const uint8_t *data, uint32_t count);

#endif
