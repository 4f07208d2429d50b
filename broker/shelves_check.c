/* What must hold on shelves, all of it (shelves.h). */
#include "shelves.h"

#define HOLDS(condition, text)                                                                     \
    if (!(condition)) {                                                                            \
        *what = text;                                                                              \
        return false;                                                                              \
    }

static bool is_at(const struct shelves *shelves, struct heap_node node, uint32_t position)
{
    return *slab_place(shelves->items, node_item(node)) == (position | IN_SHELVES);
}

static struct heap_node bound_at(const struct shelves *shelves, uint32_t i)
{
    return (struct heap_node){shelves->bound_highs[i], shelves->list[i].bound_low};
}

static bool check_front(const struct shelves *shelves, uint32_t *count, const char **what)
{
    struct heap_node before = {0, 0};
    for (uint32_t i = shelves->front_begin; i < shelves->front_end; i++) {
        struct heap_node node = shelves->front[i];
        if (node_is_gap(node))
            continue;
        HOLDS(is_at(shelves, node, i | IN_FRONT), "a node of the front is lost");
        HOLDS(*count == 0 || node_is_before(before, node), "the front is out of order");
        HOLDS(!shelves_takes(shelves, node), "a node of the front belongs on a shelf");
        before = node;
        ++*count;
    }
    HOLDS(*count == 0 || !node_is_gap(shelves_first(shelves)), "the front begins with a gap");
    HOLDS(*count || !shelves->count, "shelves without a front");
    return true;
}

static bool check_shelf(const struct shelves *shelves, uint32_t i, const char **what)
{
    const struct pile *pile = &shelves->list[i].pile;
    bool is_end = i + 1 == shelves->end;
    uint32_t ids[SHELF_CHUNKS];
    HOLDS(pile->count > 0 && pile->count <= SHELF_NODES, "an empty or a too large shelf");
    HOLDS(is_end || node_is_before(bound_at(shelves, i), bound_at(shelves, i + 1)),
          "bounds out of order");
    HOLDS(is_end || pile->count >= SHELF_LEAST || shelves->list[i + 1].pile.count >= SHELF_LEAST,
          "small neighbours");
    pile_chunks(shelves->chunks, pile, ids);
    for (uint32_t k = 0; k < pile->count; k++) {
        uint32_t position = ids[k >> CHUNK_BITS] << CHUNK_BITS | (k & (CHUNK_NODES - 1));
        struct heap_node node = *chunks_at(shelves->chunks, position);
        HOLDS(is_at(shelves, node, position), "a node on a shelf is lost");
        HOLDS(!node_is_before(node, bound_at(shelves, i)), "a node before its shelf's bound");
        HOLDS(is_end ? !node_is_before(shelves->last, node)
                     : node_is_before(node, bound_at(shelves, i + 1)),
              "a node behind its shelf");
    }
    return true;
}

bool shelves_check(const struct shelves *shelves, uint32_t *chunk_count, const char **what)
{
    uint32_t count = 0;
    if (!check_front(shelves, &count, what))
        return false;
    uint32_t chunks = 0;
    for (uint32_t i = shelves->begin; i < shelves->end; i++) {
        if (!check_shelf(shelves, i, what))
            return false;
        count += shelves->list[i].pile.count;
        chunks += (shelves->list[i].pile.count + CHUNK_NODES - 1) >> CHUNK_BITS;
    }
    HOLDS(count == shelves->count, "shelves are miscounted");
    HOLDS(chunks <= shelves->chunk_room, "more chunks than were reserved");
    *chunk_count += chunks;
    return true;
}
