/* heap_internal.h - what the files of the heap share; nobody else includes it.
 *
 *   heap.c       pushed, removed, moved
 *   heap_walk.c  looking ahead
 *   heap_check.c what must hold
 */
#ifndef EVERDUE_HEAP_INTERNAL_H
#define EVERDUE_HEAP_INTERNAL_H

#include "heap.h"

enum {
    ARITY = 4,
    SEGMENT_NODES = 1 << HEAP_SEGMENT_BITS,
    /* The root stands at position 3, so that the children of any node (4i - 8 to 4i - 5) share an
     * aligned block of four. */
    ROOT = 3,
};

/* The place of an item in the run: its index, of which 31 bits tell all (a run is shorter). One on
 * the shelves has IN_SHELVES (shelves.h); one in the tree neither. */
#define IN_RUN ((uint32_t)1 << 31)

_Static_assert(HEAP_NODES_MAX < IN_SHELVES / 2, "positions have 30 bits");

/* A node in hand, with its rank. */
struct entry {
    int64_t rank;
    struct heap_node node;
};

static inline struct heap_node *node_at(const struct heap *heap, uint32_t position)
{
    return &heap->segments[position >> HEAP_SEGMENT_BITS][position & (SEGMENT_NODES - 1)];
}

static inline int64_t *rank_at(const struct heap *heap, uint32_t position)
{
    return &heap->ranks[position >> HEAP_SEGMENT_BITS][position & (SEGMENT_NODES - 1)];
}

static inline struct entry entry_at(const struct heap *heap, uint32_t position)
{
    return (struct entry){
        .rank = heap->ranks ? *rank_at(heap, position) : 0,
        .node = *node_at(heap, position),
    };
}

static inline bool is_before(struct entry a, struct entry b)
{
    return a.rank == b.rank ? node_is_before(a.node, b.node) : a.rank < b.rank;
}

static inline uint32_t parent_of(uint32_t position)
{
    return (position + 8) / ARITY;
}

static inline uint32_t first_child_of(uint32_t position)
{
    return position * ARITY - 8;
}

#endif
