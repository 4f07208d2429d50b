/* slab.h - many items of one size, named by 32-bit numbers, at addresses that never change.
 *
 * Items live in segments of 4,096, so growing never copies (a copy of 10 million records would hold
 * up the broker for longer than a turn may take). Freed items are used again, last freed first.
 *
 * Beside the items a segment has two columns, with one entry for each item: its *link* in the chain
 * of a table (table.h) and its *place* in a heap (heap.h). Items that have room for a place keep it
 * themselves. A link carries the item's hash, so that a walk along a chain leaves alone what it
 * does not look for (docs/decisions.md has the figures).
 */
#ifndef EVERDUE_SLAB_H
#define EVERDUE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment.h"

enum { SLAB_SEGMENT_BITS = SEGMENT_BITS(12), SLAB_SEGMENT_ITEMS = 1 << SLAB_SEGMENT_BITS };

#define SLAB_NONE UINT32_MAX

struct slab_link {
    uint32_t next;
    uint32_t tag; /* the low bits of the item's hash */
};

/* One allocation; `items` is its begin. */
struct slab_segment {
    uint8_t *items;
    struct slab_link *links;
    uint8_t *places; /* the first */
};

struct slab {
    struct slab_segment *segments;
    uint32_t segment_count;
    uint32_t segment_room;
    uint32_t item_bytes;
    uint32_t place_offset; /* in an item; SLAB_NONE: places have a column */
    uint32_t place_step;   /* bytes from one to the next */
    uint32_t used_end;     /* items below were given out at least once */
    uint32_t free_first;   /* first of the freed ones, linked through their first 4 bytes */
    uint32_t count;        /* given out now */
};

/* item_bytes at least 4. */
void slab_init(struct slab *slab, uint32_t item_bytes);
/* The same where an item has its place, a uint32_t, at this offset, which is 4 at least. */
void slab_init_placed(struct slab *slab, uint32_t item_bytes, uint32_t place_offset);
void slab_release(struct slab *slab);

/* Room for one more: the next slab_take succeeds. On failure false, nothing changed. */
bool slab_reserve(struct slab *slab);

/* A zeroed item; SLAB_NONE when memory is out. */
uint32_t slab_take(struct slab *slab);
void slab_give(struct slab *slab, uint32_t id);

/* `id` must have been given out at least once. */
static inline void *slab_at(const struct slab *slab, uint32_t id)
{
    return slab->segments[id >> SLAB_SEGMENT_BITS].items +
           (size_t)(id & (SLAB_SEGMENT_ITEMS - 1)) * slab->item_bytes;
}

static inline struct slab_link *slab_link(const struct slab *slab, uint32_t id)
{
    return &slab->segments[id >> SLAB_SEGMENT_BITS].links[id & (SLAB_SEGMENT_ITEMS - 1)];
}

static inline uint32_t *slab_place(const struct slab *slab, uint32_t id)
{
    uint8_t *places = slab->segments[id >> SLAB_SEGMENT_BITS].places;
    size_t offset = (size_t)(id & (SLAB_SEGMENT_ITEMS - 1)) * slab->place_step;
    return (uint32_t *)(void *)(places + offset);
}

#endif
