/* heap_internal.h - what the files of the heap share; nobody else includes it.
 *
 *   heap.c       pushed, removed, moved
 *   heap_walk.c  looking ahead
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

/* The place of an item in the run: its index, of which 31 bits tell all (a run is shorter). */
#define IN_RUN ((uint32_t)1 << 31)

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

static inline uint32_t item_of(struct heap_node node)
{
    return (uint32_t)node.low;
}

static inline bool is_before(struct entry a, struct entry b)
{
    return a.rank == b.rank ? node_is_before(a.node, b.node) : a.rank < b.rank;
}

/* Whether the first of all is in the run, whose nodes have rank 0. There must be one. */
static inline bool first_is_in_run(const struct heap *heap)
{
    if (heap->run.count == 0 || heap->tree_count == 0)
        return heap->run.count != 0;
    return is_before((struct entry){0, run_first(&heap->run)}, entry_at(heap, ROOT));
}

static inline uint32_t first_child_of(uint32_t position)
{
    return position * ARITY - 8;
}

#endif
