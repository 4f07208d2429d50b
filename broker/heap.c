#include "heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"

enum {
    ARITY = 4,
    SEGMENT_NODES = 1 << HEAP_SEGMENT_BITS,
    /* The root stands at position 3, so that the children of any node (4i - 8 to 4i - 5) share an
     * aligned block of four. */
    ROOT = 3,
};

#define SERIAL_MAX (((uint64_t)1 << 44) - 1)

void heap_init(struct heap *heap, struct slab *items)
{
    memset(heap, 0, sizeof(*heap));
    heap->items = items;
}

void heap_release(struct heap *heap)
{
    for (uint32_t i = 0; i < heap->segment_count; i++) {
        free(heap->segments[i]);
        if (heap->ranks)
            free(heap->ranks[i]);
    }
    free(heap->segments);
    free(heap->ranks);
    heap->segments = NULL;
    heap->ranks = NULL;
    heap->segment_count = heap->segment_room = heap->count = 0;
}

/* A node in hand, with its rank. */
struct entry {
    int64_t rank;
    struct heap_node node;
};

static struct heap_node *node_at(const struct heap *heap, uint32_t position)
{
    return &heap->segments[position >> HEAP_SEGMENT_BITS][position & (SEGMENT_NODES - 1)];
}

static int64_t *rank_at(const struct heap *heap, uint32_t position)
{
    return &heap->ranks[position >> HEAP_SEGMENT_BITS][position & (SEGMENT_NODES - 1)];
}

static struct entry entry_at(const struct heap *heap, uint32_t position)
{
    return (struct entry){
        .rank = heap->ranks ? *rank_at(heap, position) : 0,
        .node = *node_at(heap, position),
    };
}

static uint32_t item_of(struct heap_node node)
{
    return (uint32_t)node.low;
}

static bool node_is_before(struct heap_node a, struct heap_node b)
{
    unsigned __int128 left = (unsigned __int128)a.high << 64 | a.low;
    unsigned __int128 right = (unsigned __int128)b.high << 64 | b.low;
    return left < right;
}

static bool is_before(struct entry a, struct entry b)
{
    return a.rank == b.rank ? node_is_before(a.node, b.node) : a.rank < b.rank;
}

static void set(struct heap *heap, uint32_t position, struct entry entry)
{
    *node_at(heap, position) = entry.node;
    if (heap->ranks)
        *rank_at(heap, position) = entry.rank;
    *slab_place(heap->items, item_of(entry.node)) = position;
}

static void set_node(struct heap *heap, uint32_t position, struct heap_node node)
{
    *node_at(heap, position) = node;
    *slab_place(heap->items, item_of(node)) = position;
}

static uint32_t parent_of(uint32_t position)
{
    return (position + 8) / ARITY;
}

static uint32_t first_child_of(uint32_t position)
{
    return position * ARITY - 8;
}

/* --- moving without ranks: what nearly every heap does ---------------------------------------- */

static void sift_node_up(struct heap *heap, uint32_t position, struct heap_node node)
{
    while (position > ROOT) {
        struct heap_node above = *node_at(heap, parent_of(position));
        if (!node_is_before(node, above))
            break;
        set_node(heap, position, above);
        position = parent_of(position);
    }
    set_node(heap, position, node);
}

/* The place of the least of four children, compared in pairs so that nothing has to be guessed. */
static uint32_t least_of_four(const struct heap_node *nodes)
{
    uint32_t low = node_is_before(nodes[1], nodes[0]) ? 1 : 0;
    uint32_t high = node_is_before(nodes[3], nodes[2]) ? 3 : 2;
    return node_is_before(nodes[high], nodes[low]) ? high : low;
}

/* A step down needs a line that is rarely in the cache: all that may be next are asked for while
 * the children are compared. */
static void prefetch_grandchildren(const struct heap *heap, uint32_t child, uint32_t end)
{
    uint32_t grandchild = first_child_of(child);
    for (uint32_t i = 0; i < ARITY && grandchild < end; i++, grandchild += ARITY)
        __builtin_prefetch(node_at(heap, grandchild));
}

/* The place of the least child in a block that has fewer than four. */
static uint32_t least_node(const struct heap *heap, uint32_t child, uint32_t end)
{
    uint32_t least = child;
    for (uint32_t i = child + 1; i < end; i++)
        if (node_is_before(*node_at(heap, i), *node_at(heap, least)))
            least = i;
    return least;
}

static void sift_node_down(struct heap *heap, uint32_t position, struct heap_node node)
{
    uint32_t end = heap->count + ROOT;
    uint32_t child = first_child_of(position);
    for (; child + ARITY <= end; child = first_child_of(position)) {
        prefetch_grandchildren(heap, child, end);
        const struct heap_node *nodes = node_at(heap, child);
        uint32_t least = least_of_four(nodes);
        if (!node_is_before(nodes[least], node))
            break;
        set_node(heap, position, nodes[least]);
        position = child + least;
    }
    if (child < end && child + ARITY > end) {
        uint32_t least = least_node(heap, child, end);
        if (node_is_before(*node_at(heap, least), node)) {
            set_node(heap, position, *node_at(heap, least));
            position = least;
        }
    }
    set_node(heap, position, node);
}

/* --- moving with ranks ------------------------------------------------------------------------ */

static void sift_up(struct heap *heap, uint32_t position, struct entry entry)
{
    while (position > ROOT) {
        struct entry above = entry_at(heap, parent_of(position));
        if (!is_before(entry, above))
            break;
        set(heap, position, above);
        position = parent_of(position);
    }
    set(heap, position, entry);
}

/* The place of the least of up to four children that begin at `child`. */
static uint32_t least_child(const struct heap *heap, uint32_t child, uint32_t end)
{
    uint32_t least = child;
    uint32_t last = end - child < ARITY ? end : child + ARITY;
    for (uint32_t i = child + 1; i < last; i++)
        if (is_before(entry_at(heap, i), entry_at(heap, least)))
            least = i;
    return least;
}

static void sift_down(struct heap *heap, uint32_t position, struct entry entry)
{
    uint32_t end = heap->count + ROOT;
    for (;;) { /* ends at the bottom: a child's position is over 3 times its parent's */
        uint32_t child = first_child_of(position);
        if (child >= end)
            break;
        child = least_child(heap, child, end);
        struct entry below = entry_at(heap, child);
        if (!is_before(below, entry))
            break;
        set(heap, position, below);
        position = child;
    }
    set(heap, position, entry);
}

/* --- room ------------------------------------------------------------------------------------- */

static bool add_segment(struct heap *heap)
{
    struct heap_node *segment =
        aligned_alloc(sizeof(struct heap_node) * ARITY, SEGMENT_NODES * sizeof(*segment));
    int64_t *ranks = heap->ranks ? malloc(SEGMENT_NODES * sizeof(*ranks)) : NULL;
    if (!segment || (heap->ranks && !ranks)) {
        free(segment);
        free(ranks);
        return false;
    }
    if (heap->ranks)
        heap->ranks[heap->segment_count] = ranks;
    heap->segments[heap->segment_count++] = segment;
    return true;
}

bool heap_reserve(struct heap *heap, uint32_t count)
{
    uint64_t end = (uint64_t)count + ROOT;
    uint32_t wanted = (uint32_t)((end + SEGMENT_NODES - 1) >> HEAP_SEGMENT_BITS);
    if (wanted > heap->segment_room) {
        uint32_t room = wanted * 2;
        struct heap_node **segments = realloc(heap->segments, room * sizeof(*segments));
        if (!segments)
            return false;
        heap->segments = segments;
        int64_t **ranks = heap->ranks ? realloc(heap->ranks, room * sizeof(*ranks)) : NULL;
        if (heap->ranks && !ranks)
            return false;
        heap->ranks = ranks;
        heap->segment_room = room;
    }
    while (heap->segment_count < wanted)
        if (!add_segment(heap))
            return false;
    return true;
}

bool heap_use_ranks(struct heap *heap)
{
    if (heap->ranks)
        return true;
    uint32_t room = heap->segment_room ? heap->segment_room : 1;
    int64_t **ranks = calloc(room, sizeof(*ranks));
    if (!ranks)
        return false;
    for (uint32_t i = 0; i < heap->segment_count; i++) {
        ranks[i] = calloc(SEGMENT_NODES, sizeof(**ranks));
        if (ranks[i])
            continue;
        while (i-- > 0)
            free(ranks[i]);
        free(ranks);
        return false;
    }
    heap->ranks = ranks;
    heap->segment_room = room;
    if (!heap->segments)
        heap->segment_room = 0;
    return true;
}

static struct heap_node make_node(struct heap *heap, uint32_t item, int64_t time_us)
{
    assert(time_us >= 0);
    assert(time_us < TIME_US_END);
    uint64_t serial = heap->serial;
    if (heap->serial < SERIAL_MAX)
        heap->serial++;
    return (struct heap_node){
        .high = (uint64_t)time_us << 12 | serial >> 32,
        .low = serial << 32 | item,
    };
}

void heap_push_ranked(struct heap *heap, uint32_t item, int64_t rank, int64_t time_us)
{
    uint32_t position = heap->count + ROOT;
    assert(position >> HEAP_SEGMENT_BITS < heap->segment_count);
    assert(rank == 0 || heap->ranks);
    if (heap->count == 0)
        heap->serial = 0;
    heap->count++;
    if (heap->ranks)
        sift_up(heap, position, (struct entry){rank, make_node(heap, item, time_us)});
    else
        sift_node_up(heap, position, make_node(heap, item, time_us));
}

void heap_push(struct heap *heap, uint32_t item, int64_t time_us)
{
    heap_push_ranked(heap, item, 0, time_us);
}

uint32_t heap_first(const struct heap *heap)
{
    return heap->count ? item_of(*node_at(heap, ROOT)) : SLAB_NONE;
}

int64_t heap_first_time(const struct heap *heap)
{
    return heap->count ? (int64_t)(node_at(heap, ROOT)->high >> 12) : TIME_US_NEVER;
}

/* Put `entry` where `position` became free, upwards or downwards. */
static void settle(struct heap *heap, uint32_t position, struct entry entry)
{
    bool rises = position > ROOT && is_before(entry, entry_at(heap, parent_of(position)));
    if (heap->ranks && rises)
        sift_up(heap, position, entry);
    else if (heap->ranks)
        sift_down(heap, position, entry);
    else if (rises)
        sift_node_up(heap, position, entry.node);
    else
        sift_node_down(heap, position, entry.node);
}

uint32_t heap_pop(struct heap *heap)
{
    uint32_t item = heap_first(heap);
    if (item != SLAB_NONE)
        heap_remove(heap, item);
    return item;
}

void heap_remove(struct heap *heap, uint32_t item)
{
    uint32_t position = *slab_place(heap->items, item);
    uint32_t last = heap->count + ROOT - 1;
    assert(heap->count > 0);
    assert(position >= ROOT && position <= last);
    assert(item_of(*node_at(heap, position)) == item);
    struct entry entry = entry_at(heap, last);
    heap->count--;
    if (position != last)
        settle(heap, position, entry);
}

void heap_move(struct heap *heap, uint32_t item, int64_t time_us)
{
    uint32_t position = *slab_place(heap->items, item);
    assert(item_of(*node_at(heap, position)) == item);
    struct entry entry = entry_at(heap, position);
    entry.node = make_node(heap, item, time_us);
    settle(heap, position, entry);
}

/* --- looking ahead ---------------------------------------------------------------------------- */

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
    if (heap->count)
        walk_push(walk, ROOT);
    return true;
}

void heap_walk_end(struct heap_walk *walk)
{
    free(walk->positions);
    walk->positions = NULL;
    walk->count = 0;
}

uint32_t heap_walk_next(struct heap_walk *walk)
{
    const struct heap *heap = walk->heap;
    if (walk->count == 0)
        return SLAB_NONE;
    if (walk->count + ARITY > walk->room) {
        uint32_t *positions = realloc(walk->positions, walk->room * 2 * sizeof(uint32_t));
        if (!positions)
            return SLAB_NONE;
        walk->positions = positions;
        walk->room *= 2;
    }
    uint32_t position = walk_pop(walk);
    uint32_t child = first_child_of(position);
    for (uint32_t i = 0; i < ARITY && child + i < heap->count + ROOT; i++)
        walk_push(walk, child + i);
    return item_of(*node_at(heap, position));
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
