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
#include <string.h>

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

/* What is there besides the key. */
enum body_part {
    BODY_PAYLOAD = 1 << 0, /* though perhaps empty */
    BODY_ONCE = 1 << 1,
    BODY_EVERY = 1 << 2,
    BODY_RANK = 1 << 3,
    BODY_PARKED = 1 << 4,
    BODY_GROUP = 1 << 5,
    BODY_MEMO = 1 << 6,
    BODY_NOTE = 1 << 7,
    BODY_ERROR = 1 << 8,
    BODY_PARK_REASON = 1 << 9,
    BODY_LAST_WORKER = 1 << 10,
    BODY_PARTS_ALL = (1 << 11) - 1,
};

/* A packed copy for free(); NULL when memory is out. Lengths are within their limits. */
uint8_t *body_new(const struct body_fields *fields);

/* Borrowed views; `body` is valid. */
void body_view(const uint8_t *body, struct body_fields *fields);
static inline struct bytes body_key(const uint8_t *body);
static inline struct bytes body_payload(const uint8_t *body);
/* Whether any of these parts is there. */
static inline bool body_has(const uint8_t *body, unsigned parts);
int64_t body_rank(const uint8_t *body);
int64_t body_every_us(const uint8_t *body);

/* Bytes in all. */
uint32_t body_bytes(const uint8_t *body);

/* Whether `count` bytes from a store are one valid body. */
bool body_is_valid(const uint8_t *data, uint32_t count);

/* --- in line: each task and each report looks at a body ----------------------------------------
 */

struct body_header {
    uint32_t payload_bytes;
    uint16_t key_bytes;
    uint16_t parts;
};
_Static_assert(sizeof(struct body_header) == 8, "the header has no padding");

static inline struct body_header body_header(const uint8_t *body)
{
    struct body_header header;
    memcpy(&header, body, sizeof(header));
    return header;
}

static inline struct bytes body_key(const uint8_t *body)
{
    return (struct bytes){body + sizeof(struct body_header), body_header(body).key_bytes};
}

static inline bool body_has(const uint8_t *body, unsigned parts)
{
    return body_header(body).parts & parts;
}

static inline struct bytes body_payload(const uint8_t *body)
{
    struct body_header header = body_header(body);
    const uint8_t *payload = body + sizeof(header) + header.key_bytes;
    return (struct bytes){header.parts & BODY_PAYLOAD ? payload : NULL, header.payload_bytes};
}

#endif
