/* chunks.h - nodes in piles that grow and shrink by small chunks of one pool.
 *
 *     pile: count 150, tail -> [64 chunk: 22 nodes] -> [full] -> [full]
 *
 * Nodes of a pile are in no order: one is added behind the last, and where one is taken out the
 * last takes its place; so a pile has no gaps, and only its last chunk is not full. A node is named
 * by its position in the pool. What a chunk holds is never moved, and growing never copies.
 *
 * Several users share a pool: what one gives back another takes, so the pool is as large as what
 * all of them had at one time. Each reserves for itself, so no piling fails.
 */
#ifndef EVERDUE_CHUNKS_H
#define EVERDUE_CHUNKS_H

#include <stdbool.h>
#include <stdint.h>

#include "nodes.h"
#include "segment.h"

enum {
    CHUNK_BITS = SEGMENT_BITS_OR(6, 1),
    CHUNK_NODES = 1 << CHUNK_BITS,
    CHUNKS_SEGMENT_BITS = SEGMENT_BITS_OR(8, 2), /* chunks of one allocation */
    CHUNKS_SEGMENT_CHUNKS = 1 << CHUNKS_SEGMENT_BITS,
    CHUNKS_ALIGNMENT = 64, /* a cache line: four nodes of a chunk share one */
    CHUNKS_POSITION_BITS = 29,
    CHUNKS_MAX = 1 << (CHUNKS_POSITION_BITS - CHUNK_BITS),
};

/* One allocation. */
struct chunks_segment {
    _Alignas(CHUNKS_ALIGNMENT) struct heap_node nodes[CHUNKS_SEGMENT_CHUNKS * CHUNK_NODES];
    uint32_t before[CHUNKS_SEGMENT_CHUNKS]; /* in the same pile, or in the list of free ones */
};

struct chunks {
    struct chunks_segment **segments;
    uint32_t segment_count;
    uint32_t segment_room;
    uint32_t reserved;   /* chunks, of all users */
    uint32_t used_end;   /* chunks below were given out at least once */
    uint32_t free_count; /* of those */
    uint32_t free_first;
};

struct pile {
    uint32_t tail; /* chunk of the last node */
    uint32_t count;
};

/* Zeroed chunks are an empty pool, a zeroed pile is an empty one. */
void chunks_release(struct chunks *chunks);

/* Room for `count` chunks beside what was reserved before. On failure (memory, or more than
 * CHUNKS_MAX) false, nothing changed. */
bool chunks_reserve(struct chunks *chunks, uint32_t count);

/* So many that were reserved are not needed any more. */
void chunks_unreserve(struct chunks *chunks, uint32_t count);

static inline struct heap_node *chunks_at(const struct chunks *chunks, uint32_t position)
{
    enum { BITS = CHUNK_BITS + CHUNKS_SEGMENT_BITS };
    return &chunks->segments[position >> BITS]->nodes[position & (((uint32_t)1 << BITS) - 1)];
}

/* The position of the last node; there must be one. */
static inline uint32_t pile_last(const struct pile *pile)
{
    return pile->tail << CHUNK_BITS | ((pile->count - 1) & (CHUNK_NODES - 1));
}

/* Add a node; there must be room. Returns its position. */
uint32_t pile_add(struct chunks *chunks, struct pile *pile, struct heap_node node);

/* Take out the last. There must be one. */
struct heap_node pile_take(struct chunks *chunks, struct pile *pile);

/* The pile's chunks in order. Returns how many. */
uint32_t pile_chunks(const struct chunks *chunks, const struct pile *pile, uint32_t *ids);

/* A copy of all nodes, at positions of `ids` (from pile_chunks). */
void pile_copy(const struct chunks *chunks, const struct pile *pile, const uint32_t *ids,
               struct heap_node *nodes);

/* Its chunks come free. */
void pile_clear(struct chunks *chunks, struct pile *pile);

#endif
