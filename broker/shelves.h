/* shelves.h - the far part of a large heap: nodes on shelves by time, sorted when their turn comes.
 *
 *     heap's tree | front       | shelf       | shelf       | shelf        ...
 *                 | in order,   | in no order | in no order |
 *                 | leaves at   |<- bound     |<- bound     |<- bound
 *                 | this end    |
 *
 * A node behind the first bound belongs here: a binary search among the bounds finds its shelf, and
 * it is laid down behind the last there, whatever its time. A shelf that is full is cut in two at
 * about its middle. When the front is empty, the first shelf is sorted and becomes the front. So a
 * node is moved a few times in its life, by neighbours in memory, where a tree of as many would
 * move a path of others for each; and nothing is done to all nodes at once: the longest step sorts
 * twice SHELF_NODES. Any node can be taken out: on a shelf the last takes its place, in the front a
 * gap is left. Shelves that became small are laid together, so a node costs 16 bytes and a few
 * percent.
 *
 * A node's place (slab.h) is its position in the pool, or its index with IN_FRONT, and IN_SHELVES.
 * The pool is shared with other heaps: what leaves one goes to another as a rule.
 */
#ifndef EVERDUE_SHELVES_H
#define EVERDUE_SHELVES_H

#include <stdbool.h>
#include <stdint.h>

#include "chunks.h"
#include "slab.h"

enum {
    SHELF_NODES = 1 << SEGMENT_BITS_OR(11, 3),
    SHELF_LEAST = SHELF_NODES / 4, /* one with fewer joins a neighbour that has few */
    SHELF_CHUNKS = SHELF_NODES / CHUNK_NODES,
    SHELVES_TREE_NODES = SHELF_NODES, /* of the tree when it is laid on shelves */
};

_Static_assert(SHELF_CHUNKS >= 1, "a chunk is no larger than a shelf");
_Static_assert(SHELF_LEAST >= 2, "a shelf of one node is small");

#define IN_SHELVES ((uint32_t)1 << 30)
#define IN_FRONT ((uint32_t)1 << 29)

_Static_assert(IN_FRONT >> CHUNKS_POSITION_BITS, "a position is told from an index");

/* Where a shelf begins is its bound: none of its nodes is before it. */
struct shelf {
    uint64_t bound_low;
    struct pile pile;
};

struct shelves {
    struct slab *items;      /* borrowed */
    struct chunks *chunks;   /* borrowed */
    uint32_t chunk_room;     /* of them, reserved */
    struct heap_node *front; /* room for a shelf; NULL: nothing was reserved yet */
    uint64_t *bound_highs;   /* beside the shelves: a search touches few cache lines */
    struct shelf *list;
    uint32_t begin, end; /* of the shelves that there are */
    uint32_t room;
    uint32_t front_begin, front_end; /* indices of the front */
    uint32_t count;                  /* in front and shelves, without gaps */
    struct heap_node last;           /* none on the last shelf is behind it */
};

/* Empty; allocates nothing. */
void shelves_init(struct shelves *shelves, struct slab *items, struct chunks *chunks);
void shelves_release(struct shelves *shelves);

/* Make room for `count` nodes in all. On failure false, nothing changed. */
bool shelves_reserve(struct shelves *shelves, uint32_t count);

/* Lay SHELVES_TREE_NODES nodes that are before all bounds, with those of the front, into a new
 * front and on new shelves. There must be room. */
void shelves_lay(struct shelves *shelves, const struct heap_node *nodes);

/* Whether a node belongs on a shelf. */
static inline bool shelves_takes(const struct shelves *shelves, struct heap_node node)
{
    uint32_t first = shelves->begin;
    return first < shelves->end &&
           !node_is_before(node, (struct heap_node){.high = shelves->bound_highs[first],
                                                    .low = shelves->list[first].bound_low});
}

/* Add a node that shelves_takes. There must be room. */
void shelves_push(struct shelves *shelves, struct heap_node node);

/* The first of all; there must be one. */
static inline struct heap_node shelves_first(const struct shelves *shelves)
{
    return shelves->front[shelves->front_begin];
}

/* Take out the node of this place, without IN_SHELVES. */
void shelves_remove(struct shelves *shelves, uint32_t place);

/* Take out the first; there must be one. */
void shelves_remove_first(struct shelves *shelves);

/* For a walk: the nodes of the front, or of one shelf, into `nodes`, which has room for
 * SHELF_NODES, in order and without gaps. `*index` is 0 at first and becomes that of the next.
 * Returns how many; 0 at the end. */
uint32_t shelves_next(const struct shelves *shelves, uint32_t *index, struct heap_node *nodes);

/* All that must hold, at a cost of O(count): for tests and the simulator. The chunks that are used
 * are added to `*chunk_count`: the pool must have given out those of all users, and no more. */
bool shelves_check(const struct shelves *shelves, uint32_t *chunk_count, const char **what);

#endif
