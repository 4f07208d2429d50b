/* run.h - nodes in order of time: a queue, for what comes in order already.
 *
 *        first                                        last
 *     ... [ ]  [ ]  (x)  [ ]  (x)  [ ]  [ ]  [ ]  [ ]  <- run_add
 *          |         taken out of the middle
 *     run_remove: O(1) wherever it is
 *
 * Most of what a heap is given comes in order: records that come due (they leave another heap in
 * order), leases (all of one length), due times a fixed interval from now. Those need no heap. What
 * is taken out of the middle leaves a gap; a run that has more gaps than nodes says so, and its
 * owner takes nodes off its front until it has not. A node is named by its index, which is its own
 * as long as it is in.
 */
#ifndef EVERDUE_RUN_H
#define EVERDUE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "nodes.h"
#include "segment.h"

enum { RUN_SEGMENT_BITS = SEGMENT_BITS(10), RUN_SEGMENT_NODES = 1 << RUN_SEGMENT_BITS };

struct run {
    struct heap_node **segments; /* a ring of them */
    struct heap_node *spare;     /* one that came free: a run that moves on allocates nothing */
    uint32_t segment_room;       /* of the ring: a power of two, or 0 */
    uint32_t begin, end;         /* indices; they only grow, and begin anew after 2^32 */
    uint32_t count;              /* nodes, without gaps */
};

/* A zeroed run is an empty one. */
void run_release(struct run *run);

/* Adds a node behind all others, which it must not be before: run_takes says so. False: no memory,
 * nothing changed. Else `*index` is its name. O(1). */
bool run_takes(const struct run *run, struct heap_node node);
bool run_add(struct run *run, struct heap_node node, uint32_t *index);

/* There must be one. */
struct heap_node run_first(const struct run *run);

/* The node of this name, which must be in. */
void run_remove(struct run *run, uint32_t index);

/* More gaps than nodes: memory is wasted. */
bool run_is_sparse(const struct run *run);

/* The first node at `*index` or behind it, whose index that becomes. False: there is none. For a
 * walk, from run->begin on. */
bool run_next(const struct run *run, uint32_t *index, struct heap_node *node);

#endif
