/* heap.h - a min-heap over items of a slab: a 4-ary tree, a run beside it, and shelves behind it.
 *
 * A node carries its order inline: the time, then a serial number, so equal times keep arrival
 * order and nothing has to be looked up to compare. An item whose time is not before those of all
 * that came in order goes to the run (run.h), in O(1) and out again in O(1). All others go to the
 * tree; one that has become large is laid on shelves (shelves.h) and begins anew, and what comes
 * from then on goes where it belongs: early ones to the tree, the others to a shelf. The first is
 * the least of three firsts. A heap can also order by rank, above the time; ranks stand in an array
 * of their own, which a heap whose ranks are all 0 does not have, beside a tree that is never laid
 * on shelves; only what has rank 0 goes to the run. The item's place is kept beside it (slab.h), so
 * that any node can be removed or moved in O(log n). An item is in one heap at most. No call does
 * anything to all nodes, and growing never copies what is there.
 *
 * 4 children to a node: measured against 2 and 8 at 300,000 and 30 million records
 * (docs/decisions.md). Children share a cache line.
 */
#ifndef EVERDUE_HEAP_H
#define EVERDUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run.h"
#include "segment.h"
#include "shelves.h"
#include "slab.h"

enum {
    HEAP_SEGMENT_BITS = SEGMENT_BITS_OR(12, 4),
    /* Nodes of the run; a heap with ranks has no such limit. */
    HEAP_RUN_MAX = 1 << SEGMENT_BITS_OR(13, 3),
    HEAP_NODES_MAX = 1 << 28,
};

struct heap {
    struct heap_node **segments; /* of the tree; there is room for all */
    int64_t **ranks;             /* NULL: all ranks are 0 */
    uint32_t segment_count;
    uint32_t segment_room;
    uint32_t tree_count;
    struct run run;
    struct shelves shelves;
    uint32_t count;     /* in all three */
    uint32_t room;      /* for so many, wherever they go */
    struct slab *items; /* borrowed */
    uint64_t serial;    /* arrivals so far; saturates at 2^44 - 1, then ties go by item */
};

/* Both borrowed. Heaps that share the pool of chunks have as much of it in all as they had at one
 * time. */
void heap_init(struct heap *heap, struct slab *items, struct chunks *chunks);
void heap_release(struct heap *heap);

/* Make room for `count` nodes in all. On failure (memory, or more than HEAP_NODES_MAX) returns
 * false, nothing changed. */
bool heap_reserve(struct heap *heap, uint32_t count);

/* From now on ranks count; the items that are there have rank 0. On failure false, nothing changed.
 */
bool heap_use_ranks(struct heap *heap);

/* Add an item that is in no heap. There must be room. time_us from 0 to 2^52 - 1. O(log n), O(1)
 * for a time later than most. */
void heap_push(struct heap *heap, uint32_t item, int64_t time_us);

/* The same with a rank; one other than 0 needs heap_use_ranks before. */
void heap_push_ranked(struct heap *heap, uint32_t item, int64_t rank, int64_t time_us);

/* The item of the least time; SLAB_NONE when empty. */
uint32_t heap_first(const struct heap *heap);

/* Its time; TIME_US_NEVER when empty. */
int64_t heap_first_time(const struct heap *heap);

/* Remove and return the first; SLAB_NONE when empty. */
uint32_t heap_pop(struct heap *heap);

/* The same if its time is `most_us` at most; SLAB_NONE also when it is later. */
uint32_t heap_pop_until(struct heap *heap, int64_t most_us);

/* Remove an item that is in this heap. */
void heap_remove(struct heap *heap, uint32_t item);

/* Give an item that is in this heap another time, as if it had arrived now; its rank stays. */
void heap_move(struct heap *heap, uint32_t item, int64_t time_us);

/* --- looking ahead ---------------------------------------------------------------------------- */

/* A walk over the items in order, without changing the heap, which must not change meanwhile. Each
 * step costs O(log of the steps so far), but for the sorting of a shelf when it comes to it. */
struct heap_walk {
    const struct heap *heap;
    uint32_t index;      /* of the run: shown below it */
    uint32_t *positions; /* a binary heap of the tree's nodes whose parents have been shown */
    uint32_t count;
    uint32_t room;
    struct heap_node *nodes; /* a part of the shelves, in order; NULL: there are none */
    uint32_t node_count;
    uint32_t next;  /* of these */
    uint32_t part;  /* comes after them */
    bool is_in_run; /* what comes next of run and shelves */
};

/* On failure (memory) false. */
bool heap_walk_begin(struct heap_walk *walk, const struct heap *heap);
/* SLAB_NONE at the end, or when memory is out. */
uint32_t heap_walk_next(struct heap_walk *walk);
void heap_walk_end(struct heap_walk *walk);

/* The first `max` items in order. Returns how many were written; fewer when memory is out. */
uint32_t heap_peek(const struct heap *heap, uint32_t *items, uint32_t max);

/* All that must hold, at a cost of O(count): for tests and the simulator. What does not is said in
 * `*what`; `*chunk_count` grows as in shelves_check. */
bool heap_check(const struct heap *heap, uint32_t *chunk_count, const char **what);

#endif
