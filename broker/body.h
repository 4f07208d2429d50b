/* body.h - what a record carries besides its state, packed into one piece.
 *
 *     header, key, payload, then what else is there
 *
 * In memory the header takes 4 bytes, where key and payload are short, else 8. What is stored is
 * the same but for a header of its own, 8 bytes little-endian: that form is for ever, the other is
 * not. A body is never changed in place: a change packs a new one, so that a failed allocation
 * leaves the old. bodies.h keeps them.
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

/* Bytes that the packed fields take in memory. Lengths are within their limits. */
uint32_t body_measure(const struct body_fields *fields);

/* Pack them into as many bytes at `to`, which nothing of the fields lies in. */
void body_pack(const struct body_fields *fields, uint8_t *to);

/* Borrowed views; `body` was packed. */
void body_view(const uint8_t *body, struct body_fields *fields);
static inline struct bytes body_key(const uint8_t *body);
static inline struct bytes body_payload(const uint8_t *body);
/* Whether any of these parts is there. */
static inline bool body_has(const uint8_t *body, unsigned parts);
int64_t body_rank(const uint8_t *body);
int64_t body_every_us(const uint8_t *body);

/* Bytes in all. */
uint32_t body_bytes(const uint8_t *body);

/* --- the stored form -------------------------------------------------------------------------- */

/* Bytes that it takes; and written to so many bytes at `to`. */
uint32_t body_stored_bytes(const uint8_t *body);
void body_store(const uint8_t *body, uint8_t *to);

/* Whether `count` bytes from a store are one valid body; such a one may be viewed. */
bool body_is_valid(const uint8_t *data, uint32_t count);
void body_view_stored(const uint8_t *data, struct body_fields *fields);

/* --- in line: each task and each report looks at a body ----------------------------------------
 */

/* A header that was read. In memory it is, from the lowest bit on: 1 bit whether it is long, 11 of
 * parts, then 7 of the key's length and 13 of the payload's; or, long, 11 and, behind 9 that are
 * not used, 32. */
struct body_header {
    uint32_t payload_bytes;
    uint16_t key_bytes;
    uint16_t parts;
    uint32_t bytes; /* of the header itself */
};

enum { BODY_SHORT_BYTES = 4, BODY_LONG_BYTES = 8 };

static inline struct body_header body_header(const uint8_t *body)
{
    uint32_t low, payload_bytes;
    memcpy(&low, body, sizeof(low));
    struct body_header header = {
        .payload_bytes = low >> 19,
        .key_bytes = low >> 12 & 127,
        .parts = low >> 1 & BODY_PARTS_ALL,
        .bytes = BODY_SHORT_BYTES,
    };
    if (!(low & 1))
        return header;
    memcpy(&payload_bytes, body + sizeof(low), sizeof(payload_bytes));
    header.payload_bytes = payload_bytes;
    header.key_bytes = low >> 12 & 2047;
    header.bytes = BODY_LONG_BYTES;
    return header;
}

static inline struct bytes body_key(const uint8_t *body)
{
    struct body_header header = body_header(body);
    return (struct bytes){body + header.bytes, header.key_bytes};
}

static inline bool body_has(const uint8_t *body, unsigned parts)
{
    uint32_t low;
    memcpy(&low, body, sizeof(low));
    return low >> 1 & BODY_PARTS_ALL & parts;
}

static inline struct bytes body_payload(const uint8_t *body)
{
    struct body_header header = body_header(body);
    const uint8_t *payload = body + header.bytes + header.key_bytes;
    return (struct bytes){header.parts & BODY_PAYLOAD ? payload : NULL, header.payload_bytes};
}

#endif
