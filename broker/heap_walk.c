#include <stdlib.h>

#include "heap_internal.h"

static bool walk_is_before(const struct heap_walk *walk, uint32_t a, uint32_t b)
{
    return is_before(entry_at(walk->heap, walk->positions[a]),
                     entry_at(walk->heap, walk->positions[b]));
}

static void walk_swap(struct heap_walk *walk, uint32_t a, uint32_t b)
{
    uint32_t position = walk->positions[a];
    walk->positions[a] = walk->positions[b];
    walk->positions[b] = position;
}

static void walk_push(struct heap_walk *walk, uint32_t position)
{
    uint32_t i = walk->count++;
    walk->positions[i] = position;
    for (; i > 0 && walk_is_before(walk, i, (i - 1) / 2); i = (i - 1) / 2)
        walk_swap(walk, i, (i - 1) / 2);
}

static uint32_t walk_pop(struct heap_walk *walk)
{
    uint32_t position = walk->positions[0];
    walk->positions[0] = walk->positions[--walk->count];
    for (uint32_t i = 0;;) { /* ends at the bottom: i more than doubles */
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < walk->count && walk_is_before(walk, child, least))
                least = child;
        if (least == i)
            return position;
        walk_swap(walk, i, least);
        i = least;
    }
}

static void walk_part(struct heap_walk *walk)
{
    walk->next = 0;
    walk->node_count = shelves_next(&walk->heap->shelves, &walk->part, walk->nodes);
}

bool heap_walk_begin(struct heap_walk *walk, const struct heap *heap)
{
    *walk = (struct heap_walk){.heap = heap, .room = 64, .index = heap->run.begin};
    walk->positions = malloc(walk->room * sizeof(uint32_t));
    if (heap->shelves.count)
        walk->nodes = malloc(SHELF_NODES * sizeof(*walk->nodes));
    if (!walk->positions || (heap->shelves.count && !walk->nodes)) {
        heap_walk_end(walk);
        return false;
    }
    if (heap->tree_count)
        walk_push(walk, ROOT);
    if (walk->nodes)
        walk_part(walk);
    return true;
}

void heap_walk_end(struct heap_walk *walk)
{
    free(walk->positions);
    free(walk->nodes);
    walk->positions = NULL;
    walk->nodes = NULL;
    walk->count = walk->node_count = 0;
}

/* The next of the tree is gone past: its children may be next. False: no memory. */
static bool walk_tree(struct heap_walk *walk)
{
    const struct heap *heap = walk->heap;
    if (walk->count + ARITY > walk->room) {
        uint32_t *positions = realloc(walk->positions, walk->room * 2 * sizeof(uint32_t));
        if (!positions)
            return false;
        walk->positions = positions;
        walk->room *= 2;
    }
    uint32_t child = first_child_of(walk_pop(walk));
    for (uint32_t i = 0; i < ARITY && child + i < heap->tree_count + ROOT; i++)
        walk_push(walk, child + i);
    return true;
}

/* The next of run and shelves, whose ranks are 0. False: there is none. */
static bool walk_look(struct heap_walk *walk, struct heap_node *node)
{
    bool has_run = run_next(&walk->heap->run, &walk->index, node);
    walk->is_in_run = has_run;
    if (walk->next == walk->node_count)
        return has_run;
    if (has_run && node_is_before(*node, walk->nodes[walk->next]))
        return true;
    *node = walk->nodes[walk->next];
    walk->is_in_run = false;
    return true;
}

/* It is gone past. */
static void walk_pass(struct heap_walk *walk)
{
    if (walk->is_in_run)
        walk->index++;
    else if (++walk->next == walk->node_count)
        walk_part(walk);
}

uint32_t heap_walk_next(struct heap_walk *walk)
{
    struct heap_node node;
    bool has_node = walk_look(walk, &node);
    if (walk->count) {
        struct entry entry = entry_at(walk->heap, walk->positions[0]);
        if (!has_node || is_before(entry, (struct entry){0, node}))
            return walk_tree(walk) ? node_item(entry.node) : SLAB_NONE;
    }
    if (!has_node)
        return SLAB_NONE;
    walk_pass(walk);
    return node_item(node);
}

uint32_t heap_peek(const struct heap *heap, uint32_t *items, uint32_t max)
{
    struct heap_walk walk;
    uint32_t count = 0;
    if (!heap_walk_begin(&walk, heap))
        return 0;
    while (count < max) {
        items[count] = heap_walk_next(&walk);
        if (items[count] == SLAB_NONE)
            break;
        count++;
    }
    heap_walk_end(&walk);
    return count;
}
