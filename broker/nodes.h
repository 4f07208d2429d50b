/* nodes.h - what a heap orders, and how it sorts many at once. */
#ifndef EVERDUE_NODES_H
#define EVERDUE_NODES_H

#include <stdbool.h>
#include <stdint.h>

/* Order among nodes: time (52 bits) above serial number (44 bits) above item (32 bits). */
struct heap_node {
    uint64_t high;
    uint64_t low;
};

/* In the place of a node that was taken out: no node has this item (slab.h). */
#define NODE_GAP UINT32_MAX

static inline bool node_is_before(struct heap_node a, struct heap_node b)
{
    unsigned __int128 left = (unsigned __int128)a.high << 64 | a.low;
    unsigned __int128 right = (unsigned __int128)b.high << 64 | b.low;
    return left < right;
}

static inline uint32_t node_item(struct heap_node node)
{
    return (uint32_t)node.low;
}

static inline bool node_is_gap(struct heap_node node)
{
    return node_item(node) == NODE_GAP;
}

/* Sort `count` nodes; `scratch` has room for as many. O(count log count), without a branch that
 * depends on what is compared; O(count) for what is in order already. */
void nodes_sort(struct heap_node *nodes, struct heap_node *scratch, uint32_t count);

#endif
