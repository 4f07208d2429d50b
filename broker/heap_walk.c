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

bool heap_walk_begin(struct heap_walk *walk, const struct heap *heap)
{
    *walk = (struct heap_walk){.heap = heap, .room = 64};
    walk->positions = malloc(walk->room * sizeof(uint32_t));
    if (!walk->positions)
        return false;
    walk->index = heap->run.begin;
    if (heap->tree_count)
        walk_push(walk, ROOT);
    return true;
}

void heap_walk_end(struct heap_walk *walk)
{
    free(walk->positions);
    walk->positions = NULL;
    walk->count = 0;
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

uint32_t heap_walk_next(struct heap_walk *walk)
{
    struct heap_node node;
    bool has_run = run_next(&walk->heap->run, &walk->index, &node);
    if (walk->count) {
        struct entry entry = entry_at(walk->heap, walk->positions[0]);
        if (!has_run || is_before(entry, (struct entry){0, node}))
            return walk_tree(walk) ? item_of(entry.node) : SLAB_NONE;
    }
    if (!has_run)
        return SLAB_NONE;
    walk->index++;
    return item_of(node);
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
