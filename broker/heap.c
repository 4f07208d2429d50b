#include "heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "heap_internal.h"
#include "moment.h"

#define SERIAL_MAX (((uint64_t)1 << 44) - 1)

void heap_init(struct heap *heap, struct slab *items, struct chunks *chunks)
{
    memset(heap, 0, sizeof(*heap));
    shelves_init(&heap->shelves, items, chunks);
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
    run_release(&heap->run);
    shelves_release(&heap->shelves);
    heap_init(heap, heap->items, heap->shelves.chunks);
}

static void set(struct heap *heap, uint32_t position, struct entry entry)
{
    *node_at(heap, position) = entry.node;
    if (heap->ranks)
        *rank_at(heap, position) = entry.rank;
    *slab_place(heap->items, node_item(entry.node)) = position;
}

static void set_node(struct heap *heap, uint32_t position, struct heap_node node)
{
    *node_at(heap, position) = node;
    *slab_place(heap->items, node_item(node)) = position;
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
    uint32_t end = heap->tree_count + ROOT;
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
    uint32_t end = heap->tree_count + ROOT;
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

static bool tree_reserve(struct heap *heap, uint32_t count)
{
    uint32_t wanted = (count + ROOT + SEGMENT_NODES - 1) >> HEAP_SEGMENT_BITS;
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

/* Room is counted as there is: whoever asks for one more at each push is answered by a comparison.
 */
static bool reserve_tree_alone(struct heap *heap, uint32_t count)
{
    if (!tree_reserve(heap, count))
        return false;
    uint32_t room = (heap->segment_count << HEAP_SEGMENT_BITS) - ROOT;
    heap->room = heap->ranks || room < SHELVES_TREE_NODES ? room : SHELVES_TREE_NODES;
    return true;
}

/* Without ranks a tree has SHELVES_TREE_NODES at most. */
bool heap_reserve(struct heap *heap, uint32_t count)
{
    if (count <= heap->room)
        return true;
    if (count > HEAP_NODES_MAX)
        return false;
    if (heap->ranks || count <= SHELVES_TREE_NODES)
        return reserve_tree_alone(heap, count);
    uint32_t room = (count + SHELVES_TREE_NODES - 1) / SHELVES_TREE_NODES * SHELVES_TREE_NODES;
    if (!tree_reserve(heap, SHELVES_TREE_NODES) || !shelves_reserve(&heap->shelves, room))
        return false;
    heap->room = room;
    return true;
}

/* What is on the shelves leaves them when it is first, but nothing is laid there any more: the tree
 * needs room for all. */
bool heap_use_ranks(struct heap *heap)
{
    if (heap->ranks)
        return true;
    if (!tree_reserve(heap, heap->room > 0 ? heap->room : 1))
        return false;
    int64_t **ranks = calloc(heap->segment_room, sizeof(*ranks));
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
    return true;
}

/* --- pushing ---------------------------------------------------------------------------------- */

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

static void tree_push(struct heap *heap, struct heap_node node, int64_t rank)
{
    uint32_t position = heap->tree_count++ + ROOT;
    assert(position >> HEAP_SEGMENT_BITS < heap->segment_count);
    if (heap->ranks)
        sift_up(heap, position, (struct entry){rank, node});
    else
        sift_node_up(heap, position, node);
}

/* False: it does not come in order, or there is no memory; the others have room for it. */
static bool run_push(struct heap *heap, struct heap_node node, int64_t rank)
{
    uint32_t index;
    if (rank || (heap->run.count >= HEAP_RUN_MAX && !heap->ranks))
        return false;
    if (!run_takes(&heap->run, node) || !run_add(&heap->run, node, &index))
        return false;
    *slab_place(heap->items, node_item(node)) = index | IN_RUN;
    return true;
}

static void lay_tree(struct heap *heap)
{
    struct heap_node nodes[SHELVES_TREE_NODES];
    for (uint32_t i = 0; i < SHELVES_TREE_NODES; i++)
        nodes[i] = *node_at(heap, ROOT + i);
    shelves_lay(&heap->shelves, nodes);
    heap->tree_count = 0;
}

/* To the shelves or the tree, which is laid on shelves when it is full. */
static void put(struct heap *heap, struct heap_node node, int64_t rank)
{
    if (heap->ranks) {
        tree_push(heap, node, rank);
        return;
    }
    if (heap->tree_count == SHELVES_TREE_NODES)
        lay_tree(heap);
    if (shelves_takes(&heap->shelves, node))
        shelves_push(&heap->shelves, node);
    else
        tree_push(heap, node, rank);
}

void heap_push_ranked(struct heap *heap, uint32_t item, int64_t rank, int64_t time_us)
{
    assert(rank == 0 || heap->ranks);
    assert(heap->count < heap->room);
    if (heap->count == 0)
        heap->serial = 0;
    heap->count++;
    struct heap_node node = make_node(heap, item, time_us);
    if (!run_push(heap, node, rank))
        put(heap, node, rank);
}

void heap_push(struct heap *heap, uint32_t item, int64_t time_us)
{
    heap_push_ranked(heap, item, 0, time_us);
}

/* --- the first -------------------------------------------------------------------------------- */

enum part { PART_TREE, PART_RUN, PART_SHELVES };

/* The part that has the first, which becomes `*node`. There must be one. Nodes of run and shelves
 * have rank 0. */
static enum part find_first(const struct heap *heap, struct heap_node *node)
{
    enum part part = PART_TREE;
    if (heap->run.count) {
        *node = run_first(&heap->run);
        part = PART_RUN;
    }
    if (heap->shelves.count) {
        struct heap_node other = shelves_first(&heap->shelves);
        if (part == PART_TREE || node_is_before(other, *node)) {
            *node = other;
            part = PART_SHELVES;
        }
    }
    if (heap->tree_count) {
        struct entry root = entry_at(heap, ROOT);
        if (part == PART_TREE || is_before(root, (struct entry){0, *node})) {
            *node = root.node;
            part = PART_TREE;
        }
    }
    return part;
}

static int64_t time_of(struct heap_node node)
{
    return (int64_t)(node.high >> 12);
}

uint32_t heap_first(const struct heap *heap)
{
    struct heap_node node;
    if (heap->count == 0)
        return SLAB_NONE;
    find_first(heap, &node);
    return node_item(node);
}

int64_t heap_first_time(const struct heap *heap)
{
    struct heap_node node;
    if (heap->count == 0)
        return TIME_US_NEVER;
    find_first(heap, &node);
    return time_of(node);
}

/* --- taking out ------------------------------------------------------------------------------- */

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

static void tree_remove(struct heap *heap, uint32_t position)
{
    uint32_t last = heap->tree_count + ROOT - 1;
    assert(position >= ROOT && position <= last);
    struct entry entry = entry_at(heap, last);
    heap->tree_count--;
    if (position != last)
        settle(heap, position, entry);
}

/* Two at a time, so that a run that stays sparse becomes shorter with each that leaves it. */
static void thin_run(struct heap *heap)
{
    for (int i = 0; i < 2 && run_is_sparse(&heap->run); i++) {
        struct heap_node node = run_first(&heap->run);
        run_remove(&heap->run, heap->run.begin);
        put(heap, node, 0);
    }
}

uint32_t heap_pop_until(struct heap *heap, int64_t most_us)
{
    struct heap_node node;
    if (heap->count == 0)
        return SLAB_NONE;
    enum part part = find_first(heap, &node);
    if (time_of(node) > most_us)
        return SLAB_NONE;
    heap->count--;
    if (part == PART_SHELVES) {
        shelves_remove_first(&heap->shelves);
    } else if (part == PART_TREE) {
        tree_remove(heap, ROOT);
    } else {
        run_remove(&heap->run, heap->run.begin);
        thin_run(heap);
    }
    return node_item(node);
}

uint32_t heap_pop(struct heap *heap)
{
    return heap_pop_until(heap, TIME_US_NEVER);
}

void heap_remove(struct heap *heap, uint32_t item)
{
    uint32_t place = *slab_place(heap->items, item);
    assert(heap->count > 0);
    heap->count--;
    if (place & IN_RUN) {
        run_remove(&heap->run, heap->run.begin + ((place - heap->run.begin) & ~IN_RUN));
        thin_run(heap);
        return;
    }
    if (place & IN_SHELVES) {
        shelves_remove(&heap->shelves, place & ~IN_SHELVES);
        return;
    }
    assert(node_item(*node_at(heap, place)) == item);
    tree_remove(heap, place);
}

void heap_move(struct heap *heap, uint32_t item, int64_t time_us)
{
    uint32_t place = *slab_place(heap->items, item);
    bool is_in_tree = !(place & (IN_RUN | IN_SHELVES));
    int64_t rank = heap->ranks && is_in_tree ? *rank_at(heap, place) : 0;
    heap_remove(heap, item);
    heap_push_ranked(heap, item, rank, time_us);
}
