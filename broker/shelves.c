#include "shelves.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_NODES = 1 << SEGMENT_BITS_OR(6, 1), /* of which the middle one cuts a shelf */
    SMALL_NODES = SHELF_NODES / 2,
    LAID_NODES_MAX = SHELVES_TREE_NODES + SHELF_NODES,
};

void shelves_init(struct shelves *shelves, struct slab *items, struct chunks *chunks)
{
    *shelves = (struct shelves){.items = items, .chunks = chunks};
}

void shelves_release(struct shelves *shelves)
{
    for (uint32_t i = shelves->begin; i < shelves->end; i++)
        pile_clear(shelves->chunks, &shelves->list[i].pile);
    chunks_unreserve(shelves->chunks, shelves->chunk_room);
    free(shelves->front);
    free(shelves->bound_highs);
    free(shelves->list);
    shelves_init(shelves, shelves->items, shelves->chunks);
}

enum { PLACES_AHEAD = 16 };

/* Items lie all over: before the places of many are written, each is asked for PLACES_AHEAD of them
 * earlier. (Always in line: gcc takes a function that does nothing else for one without effect.) */
__attribute__((always_inline)) static inline void fetch_place(const struct shelves *shelves,
                                                              struct heap_node node)
{
    __builtin_prefetch(slab_place(shelves->items, node_item(node)), 1);
}

static void set_place(struct shelves *shelves, struct heap_node node, uint32_t position)
{
    *slab_place(shelves->items, node_item(node)) = position | IN_SHELVES;
}

static struct heap_node bound_at(const struct shelves *shelves, uint32_t i)
{
    return (struct heap_node){shelves->bound_highs[i], shelves->list[i].bound_low};
}

/* --- room ------------------------------------------------------------------------------------- */

/* Of two neighbours one has SHELF_LEAST at least. */
static uint32_t shelves_max(uint32_t count)
{
    return count / SHELF_LEAST * 2 + 4;
}

static bool reserve_list(struct shelves *shelves, uint32_t wanted)
{
    if (wanted <= shelves->room)
        return true;
    uint32_t room = shelves->room * 2 > wanted ? shelves->room * 2 : wanted;
    uint64_t *highs = realloc(shelves->bound_highs, room * sizeof(*highs));
    if (!highs)
        return false;
    shelves->bound_highs = highs;
    struct shelf *list = realloc(shelves->list, room * sizeof(*list));
    if (!list)
        return false;
    shelves->list = list;
    shelves->room = room;
    return true;
}

/* Beside the full chunks one for each shelf that is not, and one while two are joined. */
static bool reserve_chunks(struct shelves *shelves, uint32_t wanted)
{
    if (wanted <= shelves->chunk_room)
        return true;
    if (!chunks_reserve(shelves->chunks, wanted - shelves->chunk_room))
        return false;
    shelves->chunk_room = wanted;
    return true;
}

bool shelves_reserve(struct shelves *shelves, uint32_t count)
{
    if (!shelves->front)
        shelves->front = aligned_alloc(CHUNKS_ALIGNMENT, SHELF_NODES * sizeof(*shelves->front));
    return shelves->front && reserve_list(shelves, shelves_max(count)) &&
           reserve_chunks(shelves, count / CHUNK_NODES + shelves_max(count) + 1);
}

/* --- the list of shelves ---------------------------------------------------------------------- */

static void shift(struct shelves *shelves, uint32_t to, uint32_t from, uint32_t count)
{
    memmove(shelves->bound_highs + to, shelves->bound_highs + from,
            count * sizeof(*shelves->bound_highs));
    memmove(shelves->list + to, shelves->list + from, count * sizeof(*shelves->list));
}

/* A new shelf, before the one that is at `i` now. Whichever side is shorter makes way. Returns its
 * index; the one before it is at that less one. */
static uint32_t insert(struct shelves *shelves, uint32_t i, struct heap_node bound,
                       struct pile pile)
{
    assert(shelves->end - shelves->begin < shelves->room);
    bool upwards = shelves->begin == 0 ||
                   (shelves->end < shelves->room && shelves->end - i <= i - shelves->begin);
    if (upwards) {
        shift(shelves, i + 1, i, shelves->end++ - i);
    } else {
        shelves->begin--;
        i--;
        shift(shelves, shelves->begin, shelves->begin + 1, i - shelves->begin);
    }
    shelves->bound_highs[i] = bound.high;
    shelves->list[i] = (struct shelf){bound.low, pile};
    return i;
}

static void drop(struct shelves *shelves, uint32_t i)
{
    if (i - shelves->begin < shelves->end - i) {
        shift(shelves, shelves->begin + 1, shelves->begin, i - shelves->begin);
        shelves->begin++;
    } else {
        shelves->end--;
        shift(shelves, i, i + 1, shelves->end - i);
    }
}

/* The last shelf whose bound the node is not before. */
static uint32_t find_exactly(const struct shelves *shelves, struct heap_node node)
{
    uint32_t i = shelves->begin;
    for (uint32_t count = shelves->end - i; count > 1;) { /* ends: it becomes half */
        uint32_t half = count / 2;
        if (!node_is_before(node, bound_at(shelves, i + half)))
            i += half;
        count -= half;
    }
    return i;
}

/* The same by the upper half of the bounds alone, without a branch to be guessed; where that does
 * not tell (equal times), exactly. There must be one. */
static uint32_t find(const struct shelves *shelves, struct heap_node node)
{
    const uint64_t *at = shelves->bound_highs + shelves->begin;
    for (uint32_t count = shelves->end - shelves->begin; count > 1;) {
        uint32_t half = count / 2;
        at += at[half] <= node.high ? half : 0;
        count -= half;
    }
    uint32_t i = (uint32_t)(at - shelves->bound_highs);
    return node_is_before(node, bound_at(shelves, i)) ? find_exactly(shelves, node) : i;
}

/* --- the front -------------------------------------------------------------------------------- */

/* The front's nodes stand in order at its begin: they are told. */
static void begin_front(struct shelves *shelves, uint32_t count)
{
    const struct heap_node *nodes = shelves->front;
    shelves->front_begin = 0;
    shelves->front_end = count;
    for (uint32_t i = 0; i < count; i++) {
        if (i + PLACES_AHEAD < count)
            fetch_place(shelves, nodes[i + PLACES_AHEAD]);
        set_place(shelves, nodes[i], i | IN_FRONT);
    }
}

/* An empty front becomes what is on the first shelf, if there is one. */
static void refill(struct shelves *shelves)
{
    struct heap_node scratch[SHELF_NODES];
    uint32_t ids[SHELF_CHUNKS];
    if (shelves->begin == shelves->end)
        return;
    struct pile *pile = &shelves->list[shelves->begin].pile;
    uint32_t count = pile->count;
    pile_chunks(shelves->chunks, pile, ids);
    pile_copy(shelves->chunks, pile, ids, shelves->front);
    pile_clear(shelves->chunks, pile);
    shelves->begin++;
    nodes_sort(shelves->front, scratch, count);
    begin_front(shelves, count);
}

/* --- shelves ---------------------------------------------------------------------------------- */

static void add(struct shelves *shelves, struct pile *pile, struct heap_node node)
{
    set_place(shelves, node, pile_add(shelves->chunks, pile, node));
}

static struct heap_node choose_pivot(const struct heap_node *nodes)
{
    struct heap_node sample[SAMPLE_NODES], scratch[SAMPLE_NODES];
    for (uint32_t i = 0; i < SAMPLE_NODES; i++)
        sample[i] = nodes[i * (SHELF_NODES / SAMPLE_NODES)];
    nodes_sort(sample, scratch, SAMPLE_NODES);
    return sample[SAMPLE_NODES / 2];
}

static uint32_t count_before(const struct heap_node *nodes, struct heap_node pivot)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SHELF_NODES; i++)
        count += node_is_before(nodes[i], pivot);
    return count;
}

/* The node where a full shelf is to be cut, so that both parts have SHELF_LEAST at least: it leads
 * the upper one. Returns how many are before it. */
static uint32_t choose_cut(const struct heap_node *nodes, struct heap_node *pivot)
{
    *pivot = choose_pivot(nodes);
    uint32_t lower = count_before(nodes, *pivot);
    if (lower >= SHELF_LEAST && SHELF_NODES - lower >= SHELF_LEAST)
        return lower;
    struct heap_node sorted[SHELF_NODES], scratch[SHELF_NODES];
    memcpy(sorted, nodes, sizeof(sorted));
    nodes_sort(sorted, scratch, SHELF_NODES);
    *pivot = sorted[SHELF_NODES / 2];
    return SHELF_NODES / 2;
}

/* Which of the nodes from `begin` to `end` stand on the wrong side of the cut. Returns how many. */
static uint32_t find_wrong(const struct heap_node *nodes, uint32_t begin, uint32_t end,
                           struct heap_node pivot, uint16_t *wrong)
{
    bool is_upper = begin > 0;
    uint32_t count = 0;
    for (uint32_t i = begin; i < end; i++) {
        wrong[count] = (uint16_t)i;
        count += node_is_before(nodes[i], pivot) == is_upper;
    }
    return count;
}

static uint32_t position_of(const uint32_t *ids, uint32_t i)
{
    return ids[i >> CHUNK_BITS] << CHUNK_BITS | (i & (CHUNK_NODES - 1));
}

static void set(struct shelves *shelves, uint32_t position, struct heap_node node)
{
    *chunks_at(shelves->chunks, position) = node;
    set_place(shelves, node, position);
}

/* A full shelf becomes two. Only what stands on the wrong side is moved, and what the chunk in the
 * middle has of the upper part. Returns the index of the upper one. */
static uint32_t split(struct shelves *shelves, uint32_t i)
{
    struct pile *pile = &shelves->list[i].pile;
    struct heap_node nodes[SHELF_NODES], pivot;
    uint16_t low[SHELF_NODES + 1], high[SHELF_NODES + 1];
    uint32_t ids[SHELF_CHUNKS];
    pile_chunks(shelves->chunks, pile, ids);
    pile_copy(shelves->chunks, pile, ids, nodes);
    uint32_t lower = choose_cut(nodes, &pivot);
    uint32_t count = find_wrong(nodes, 0, lower, pivot, low);
    find_wrong(nodes, lower, SHELF_NODES, pivot, high);
    for (uint32_t k = 0; k < count; k++) {
        if (k + PLACES_AHEAD / 2 < count) {
            fetch_place(shelves, nodes[low[k + PLACES_AHEAD / 2]]);
            fetch_place(shelves, nodes[high[k + PLACES_AHEAD / 2]]);
        }
        set(shelves, position_of(ids, low[k]), nodes[high[k]]);
        set(shelves, position_of(ids, high[k]), nodes[low[k]]);
    }
    uint32_t whole = (lower + CHUNK_NODES - 1) & ~(uint32_t)(CHUNK_NODES - 1);
    struct pile upper = {.tail = pile->tail, .count = SHELF_NODES - whole};
    *pile = (struct pile){.tail = ids[(whole - 1) >> CHUNK_BITS], .count = whole};
    for (; whole > lower; whole--)
        add(shelves, &upper, pile_take(shelves->chunks, pile));
    return insert(shelves, i + 1, pivot, upper);
}

/* The shelf for the node, now that shelf `i` is full. What comes in order leaves full shelves
 * behind, not halves. */
static uint32_t make_way(struct shelves *shelves, uint32_t i, struct heap_node node,
                         bool is_behind_all)
{
    i = is_behind_all ? insert(shelves, i + 1, node, (struct pile){0, 0}) : split(shelves, i);
    return node_is_before(node, bound_at(shelves, i)) ? i - 1 : i;
}

void shelves_push(struct shelves *shelves, struct heap_node node)
{
    uint32_t i = find(shelves, node);
    bool is_behind_all = i == shelves->end - 1 && node_is_before(shelves->last, node);
    if (is_behind_all)
        shelves->last = node;
    if (shelves->list[i].pile.count == SHELF_NODES)
        i = make_way(shelves, i, node, is_behind_all);
    shelves->count++;
    add(shelves, &shelves->list[i].pile, node);
}

void shelves_lay(struct shelves *shelves, const struct heap_node *nodes)
{
    struct heap_node all[LAID_NODES_MAX], scratch[LAID_NODES_MAX];
    uint32_t count = SHELVES_TREE_NODES;
    memcpy(all, nodes, SHELVES_TREE_NODES * sizeof(*nodes));
    for (uint32_t i = shelves->front_begin; i < shelves->front_end; i++)
        if (!node_is_gap(shelves->front[i]))
            all[count++] = shelves->front[i];
    nodes_sort(all, scratch, count);
    memcpy(shelves->front, all, SMALL_NODES * sizeof(*all));
    begin_front(shelves, SMALL_NODES);
    if (shelves->begin == shelves->end)
        shelves->last = all[count - 1];
    uint32_t left = count - SMALL_NODES;
    for (uint32_t parts = (left + SMALL_NODES - 1) / SMALL_NODES; parts > 0; parts--) {
        uint32_t first = count - left / parts;
        struct pile pile = {0, 0};
        for (uint32_t i = first; i < count; i++)
            add(shelves, &pile, all[i]);
        insert(shelves, shelves->begin, all[first], pile);
        left -= count - first;
        count = first;
    }
    shelves->count += SHELVES_TREE_NODES;
}

/* --- taking out ------------------------------------------------------------------------------- */

/* The smaller of two neighbours goes where the larger is. */
static void join(struct shelves *shelves, uint32_t i)
{
    struct pile *lower = &shelves->list[i].pile, *upper = &shelves->list[i + 1].pile;
    struct pile large = lower->count > upper->count ? *lower : *upper;
    struct pile small = lower->count > upper->count ? *upper : *lower;
    while (small.count)
        add(shelves, &large, pile_take(shelves->chunks, &small));
    *lower = large;
    drop(shelves, i + 1);
}

/* From shelf `i` something was taken. */
static void tidy(struct shelves *shelves, uint32_t i)
{
    const struct shelf *list = shelves->list;
    uint32_t count = list[i].pile.count;
    if (count >= SHELF_LEAST)
        return;
    if (count == 0)
        drop(shelves, i);
    else if (i > shelves->begin && count + list[i - 1].pile.count <= SMALL_NODES)
        join(shelves, i - 1);
    else if (i + 1 < shelves->end && count + list[i + 1].pile.count <= SMALL_NODES)
        join(shelves, i);
}

static void remove_from_front(struct shelves *shelves, uint32_t index)
{
    struct heap_node *nodes = shelves->front;
    assert(index >= shelves->front_begin && index < shelves->front_end);
    nodes[index].low |= NODE_GAP;
    while (shelves->front_begin < shelves->front_end && node_is_gap(nodes[shelves->front_begin]))
        shelves->front_begin++;
    if (shelves->front_begin == shelves->front_end)
        refill(shelves);
}

void shelves_remove_first(struct shelves *shelves)
{
    assert(shelves->count > 0);
    shelves->count--;
    remove_from_front(shelves, shelves->front_begin);
}

void shelves_remove(struct shelves *shelves, uint32_t place)
{
    assert(shelves->count > 0);
    shelves->count--;
    if (place & IN_FRONT) {
        remove_from_front(shelves, place & ~IN_FRONT);
        return;
    }
    uint32_t position = place;
    uint32_t i = find(shelves, *chunks_at(shelves->chunks, position));
    bool is_last = position == pile_last(&shelves->list[i].pile);
    struct heap_node last = pile_take(shelves->chunks, &shelves->list[i].pile);
    if (!is_last)
        set(shelves, position, last);
    tidy(shelves, i);
}

/* --- looking ---------------------------------------------------------------------------------- */

uint32_t shelves_next(const struct shelves *shelves, uint32_t *index, struct heap_node *nodes)
{
    uint32_t i = (*index)++;
    uint32_t count = 0;
    if (i == 0) {
        for (uint32_t k = shelves->front_begin; k < shelves->front_end; k++)
            if (!node_is_gap(shelves->front[k]))
                nodes[count++] = shelves->front[k];
        return count;
    }
    if (i > shelves->end - shelves->begin)
        return 0;
    struct heap_node scratch[SHELF_NODES];
    uint32_t ids[SHELF_CHUNKS];
    const struct pile *pile = &shelves->list[shelves->begin + i - 1].pile;
    pile_chunks(shelves->chunks, pile, ids);
    pile_copy(shelves->chunks, pile, ids, nodes);
    nodes_sort(nodes, scratch, pile->count);
    return pile->count;
}
