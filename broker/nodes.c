#include "nodes.h"

#include <stddef.h>
#include <string.h>

/* Blocks of 5 to 8 are ordered by counting, larger ones are merged of two. */
enum { BLOCK_NODES = 8 };

/* A block's nodes go where the number of those before them says. Each pair is compared once and
 * none waits for another, so this is faster than merging what is so short. */
static void sort_block(const struct heap_node *from, struct heap_node *to, uint32_t count)
{
    uint32_t ranks[BLOCK_NODES] = {0};
    for (uint32_t i = 1; i < count; i++) {
        uint32_t rank = i;
        for (uint32_t k = 0; k < i; k++) {
            uint32_t is_less = node_is_before(from[i], from[k]);
            ranks[k] += is_less;
            rank -= is_less;
        }
        ranks[i] = rank;
    }
    for (uint32_t i = 0; i < count; i++)
        to[ranks[i]] = from[i];
}

/* Two sorted halves, of which neither is longer by more than one, become one: from both ends at
 * once, so that two chains of comparisons run side by side. Neither end reaches beyond a half, for
 * each takes count / 2. What a comparison gives is added, not asked for: half of the branches would
 * be guessed wrongly. */
static void merge(const struct heap_node *from, uint32_t left_count, uint32_t count,
                  struct heap_node *to)
{
    const struct heap_node *left = from, *right = from + left_count;
    const struct heap_node *left_last = right - 1, *right_last = from + count - 1;
    struct heap_node *low = to, *high = to + count - 1;
    for (; low < high; low++, high--) {
        ptrdiff_t is_right = node_is_before(*right, *left);
        *low = left[(right - left) & -is_right];
        right += is_right;
        left += 1 - is_right;
        ptrdiff_t is_left = node_is_before(*right_last, *left_last);
        *high = left_last[(right_last - left_last) & (is_left - 1)];
        left_last -= is_left;
        right_last -= 1 - is_left;
    }
    if (count % 2)
        *low = right > right_last ? *left : *right;
}

static bool is_sorted(const struct heap_node *nodes, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (node_is_before(nodes[i], nodes[i - 1]))
            return false;
    return true;
}

/* Block i of 2^level begins at i * count / 2^level: so halves differ by one at most. */
static uint32_t block_begin(uint32_t i, uint32_t count, unsigned level)
{
    return (uint32_t)((uint64_t)i * count >> level);
}

void nodes_sort(struct heap_node *nodes, struct heap_node *scratch, uint32_t count)
{
    unsigned level = 0;
    if (is_sorted(nodes, count))
        return;
    while (count >> level >= BLOCK_NODES)
        level++;
    struct heap_node *from = level % 2 ? scratch : nodes; /* so that the last merge ends in nodes */
    struct heap_node *to = level % 2 ? nodes : scratch;
    if (level % 2 == 0)
        memcpy(scratch, nodes, count * sizeof(*nodes));
    for (uint32_t i = 0; i < (uint32_t)1 << level; i++) {
        uint32_t begin = block_begin(i, count, level);
        sort_block(to + begin, from + begin, block_begin(i + 1, count, level) - begin);
    }
    for (; level > 0; level--) {
        for (uint32_t i = 0; i < (uint32_t)1 << level; i += 2) {
            uint32_t begin = block_begin(i, count, level);
            merge(from + begin, block_begin(i + 1, count, level) - begin,
                  block_begin(i + 2, count, level) - begin, to + begin);
        }
        struct heap_node *other = from;
        from = to;
        to = other;
    }
}
