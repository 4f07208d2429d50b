/* bodies.h - keeps the bodies of records: by length, in chunks that hold one length each.
 *
 *     chunk of 84:  [body][body][ free ][body][body][ free ][body] ...        next to them nothing:
 *     chunk of 88:  [body][body] ...                                          no header, no pointer
 *
 * A body takes its length rounded up to 4, and is named by 32 bits that say its chunk and its place
 * in it; an allocator of its own takes 8 to 23 bytes more, and the name 8. One of more than
 * BODIES_SMALL_MAX bytes is allocated by itself, and in its chunk is where. A chunk that nobody is
 * in goes back at once, but for one that is kept; growing never copies a body.
 *
 * Bodies that change their length, or go, leave holes that only a body of the same length can use.
 * Where holes are more than half as much as what is there (bodies_are_sparse), the owner moves the
 * bodies out of chunks that are used to less than three quarters, each in its own time, and they go
 * back: so holes never stay more than that, and a MiB.
 */
#ifndef EVERDUE_BODIES_H
#define EVERDUE_BODIES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "body.h"
#include "segment.h"

enum {
    BODIES_STEP = 4,
    BODIES_SMALL_MAX = 1024,
    BODIES_CLASSES = BODIES_SMALL_MAX / BODIES_STEP + 1, /* the first: of those allocated alone */
    BODIES_CHUNK_BYTES = 1 << SEGMENT_BITS(18),
    BODIES_ITEM_BITS = 12,
    BODIES_HOLES_LEAST = 1 << SEGMENT_BITS_OR(20, 8), /* fewer bytes of them are let be */
};

/* No body. */
#define BODIES_NONE 0u

/* All of a chunk's items are of one length. */
struct bodies_chunk {
    uint8_t *items;        /* NULL: this number is free */
    uint16_t item_bytes;   /* 0: they are struct bodies_far */
    uint16_t room;         /* items */
    uint16_t used;         /* given out now */
    uint16_t fresh;        /* items from here on were never given out */
    uint16_t free_first;   /* 1 and the first that came back; 0: none */
    bool is_leaving;       /* nothing more comes in */
    uint32_t next, before; /* of its length, with room; of free numbers. 0: none */
};

/* The item of a body that is too long. */
struct bodies_far {
    uint8_t *body;
    uint64_t bytes;
};

struct bodies {
    struct bodies_chunk *chunks; /* by number; there is no chunk 0 */
    uint32_t chunk_count;        /* numbers that were given out at least once, and 0 */
    uint32_t chunk_room;
    uint32_t free_first;                /* number */
    uint32_t with_room[BODIES_CLASSES]; /* first chunk of a length in which there is some */
    uint8_t *spare;                     /* memory of a chunk */
    uint32_t leaving;                   /* chunks */
    uint64_t used_bytes;                /* of what is there, with all that it takes */
    uint64_t hole_bytes;
};

/* Zeroed bodies are none. All must have been given back when they are released. */
void bodies_release(struct bodies *bodies);

/* A packed copy; BODIES_NONE when memory is out, nothing changed then. Lengths are within their
 * limits. */
uint32_t bodies_put(struct bodies *bodies, const struct body_fields *fields);

/* The body, borrowed until it is given back or moved. */
static inline const uint8_t *bodies_at(const struct bodies *bodies, uint32_t body);

/* It is gone; BODIES_NONE is passed over. */
void bodies_give(struct bodies *bodies, uint32_t body);

/* --- holes ------------------------------------------------------------------------------------ */

/* More of them than is allowed. */
bool bodies_are_sparse(const struct bodies *bodies);

/* Chunks that are used to less than three quarters shall be left. O(chunks). They are gone when
 * each body that is in one (bodies_leaves) has been moved. */
void bodies_begin_leaving(struct bodies *bodies);
static inline bool bodies_leaves(const struct bodies *bodies, uint32_t body);

/* Its name from now on; BODIES_NONE when memory is out, nothing changed then. */
uint32_t bodies_move(struct bodies *bodies, uint32_t body);

/* All that must hold of the chunks, at a cost of O(chunks): for tests and the simulator. */
bool bodies_check(const struct bodies *bodies, const char **what);

/* --- in line: each task and each report looks at a body ----------------------------------------
 */

static inline const struct bodies_chunk *bodies_chunk_of(const struct bodies *bodies, uint32_t body)
{
    return &bodies->chunks[body >> BODIES_ITEM_BITS];
}

static inline const uint8_t *bodies_at(const struct bodies *bodies, uint32_t body)
{
    const struct bodies_chunk *chunk = bodies_chunk_of(bodies, body);
    uint32_t place = body & ((1u << BODIES_ITEM_BITS) - 1);
    if (chunk->item_bytes)
        return chunk->items + (size_t)place * chunk->item_bytes;
    struct bodies_far far;
    memcpy(&far, chunk->items + place * sizeof(far), sizeof(far));
    return far.body;
}

static inline bool bodies_leaves(const struct bodies *bodies, uint32_t body)
{
    return bodies_chunk_of(bodies, body)->is_leaving;
}

#endif
