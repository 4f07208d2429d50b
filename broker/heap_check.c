/* What must hold in a heap, all of it, at a cost of O(nodes): for tests and the simulator. */
#include "heap_internal.h"

#define HOLDS(condition, text)                                                                     \
    if (!(condition)) {                                                                            \
        *what = text;                                                                              \
        return false;                                                                              \
    }

static bool check_tree(const struct heap *heap, const char **what)
{
    HOLDS(heap->ranks || heap->tree_count <= SHELVES_TREE_NODES, "a tree that is too large");
    for (uint32_t i = ROOT; i < heap->tree_count + ROOT; i++) {
        struct entry entry = entry_at(heap, i);
        HOLDS(*slab_place(heap->items, node_item(entry.node)) == i, "a node in the tree is lost");
        HOLDS(i == ROOT || !is_before(entry, entry_at(heap, parent_of(i))),
              "a node is before its parent");
        HOLDS(heap->ranks || !shelves_takes(&heap->shelves, entry.node),
              "a node in the tree belongs on a shelf");
    }
    return true;
}

static bool check_run(const struct heap *heap, const char **what)
{
    struct heap_node node, before = {0, 0};
    uint32_t count = 0;
    for (uint32_t index = heap->run.begin; run_next(&heap->run, &index, &node); index++) {
        HOLDS(count++ == 0 || node_is_before(before, node), "the run is out of order");
        HOLDS(*slab_place(heap->items, node_item(node)) == (index | IN_RUN),
              "a node in the run is lost");
        before = node;
    }
    HOLDS(count == heap->run.count, "the run is miscounted");
    return true;
}

bool heap_check(const struct heap *heap, uint32_t *chunk_count, const char **what)
{
    HOLDS(heap->count == heap->tree_count + heap->run.count + heap->shelves.count,
          "a heap is miscounted");
    HOLDS(heap->count <= heap->room, "more nodes than room");
    return check_tree(heap, what) && check_run(heap, what) &&
           shelves_check(&heap->shelves, chunk_count, what);
}
