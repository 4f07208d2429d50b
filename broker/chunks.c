#include "chunks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void chunks_release(struct chunks *chunks)
{
    for (uint32_t i = 0; i < chunks->segment_count; i++)
        free(chunks->segments[i]);
    free(chunks->segments);
    *chunks = (struct chunks){.segments = NULL};
}

static bool add_segment(struct chunks *chunks)
{
    if (chunks->segment_count == chunks->segment_room) {
        uint32_t room = chunks->segment_room ? chunks->segment_room * 2 : 4;
        struct chunks_segment **segments = realloc(chunks->segments, room * sizeof(*segments));
        if (!segments)
            return false;
        chunks->segments = segments;
        chunks->segment_room = room;
    }
    struct chunks_segment *segment = aligned_alloc(CHUNKS_ALIGNMENT, sizeof(*segment));
    if (!segment)
        return false;
    chunks->segments[chunks->segment_count++] = segment;
    return true;
}

bool chunks_reserve(struct chunks *chunks, uint32_t count)
{
    if (count > CHUNKS_MAX - chunks->reserved)
        return false;
    while (chunks->segment_count << CHUNKS_SEGMENT_BITS < chunks->reserved + count)
        if (!add_segment(chunks))
            return false;
    chunks->reserved += count;
    return true;
}

void chunks_unreserve(struct chunks *chunks, uint32_t count)
{
    assert(count <= chunks->reserved);
    chunks->reserved -= count;
}

static uint32_t *before(const struct chunks *chunks, uint32_t id)
{
    return &chunks->segments[id >> CHUNKS_SEGMENT_BITS]->before[id & (CHUNKS_SEGMENT_CHUNKS - 1)];
}

static uint32_t take_chunk(struct chunks *chunks)
{
    uint32_t id = chunks->free_first;
    assert(chunks->used_end - chunks->free_count < chunks->reserved);
    if (chunks->free_count == 0)
        return chunks->used_end++;
    chunks->free_first = *before(chunks, id);
    chunks->free_count--;
    return id;
}

static void give_chunk(struct chunks *chunks, uint32_t id)
{
    *before(chunks, id) = chunks->free_first;
    chunks->free_first = id;
    chunks->free_count++;
}

/* The chunk `id` is behind all others of the pile. */
static void append(struct chunks *chunks, struct pile *pile, uint32_t id)
{
    *before(chunks, id) = pile->tail;
    pile->tail = id;
}

enum { LINE_NODES = CHUNKS_ALIGNMENT / sizeof(struct heap_node) };

uint32_t pile_add(struct chunks *chunks, struct pile *pile, struct heap_node node)
{
    if ((pile->count & (CHUNK_NODES - 1)) == 0)
        append(chunks, pile, take_chunk(chunks));
    pile->count++;
    uint32_t position = pile_last(pile);
    struct heap_node *at = chunks_at(chunks, position);
    *at = node;
    if ((position & (CHUNK_NODES - 1)) + LINE_NODES < CHUNK_NODES)
        __builtin_prefetch(at + LINE_NODES, 1); /* the pile comes to it soon */
    return position;
}

struct heap_node pile_take(struct chunks *chunks, struct pile *pile)
{
    assert(pile->count > 0);
    struct heap_node node = *chunks_at(chunks, pile_last(pile));
    pile->count--;
    if ((pile->count & (CHUNK_NODES - 1)) == 0) {
        uint32_t id = pile->tail;
        pile->tail = *before(chunks, id);
        give_chunk(chunks, id);
    }
    return node;
}

uint32_t pile_chunks(const struct chunks *chunks, const struct pile *pile, uint32_t *ids)
{
    uint32_t count = (pile->count + CHUNK_NODES - 1) >> CHUNK_BITS;
    uint32_t id = pile->tail;
    for (uint32_t i = count; i-- > 0; id = *before(chunks, id))
        ids[i] = id;
    return count;
}

void pile_copy(const struct chunks *chunks, const struct pile *pile, const uint32_t *ids,
               struct heap_node *nodes)
{
    for (uint32_t i = 0; i < pile->count; i += CHUNK_NODES) {
        uint32_t count = pile->count - i < CHUNK_NODES ? pile->count - i : CHUNK_NODES;
        memcpy(nodes + i, chunks_at(chunks, ids[i >> CHUNK_BITS] << CHUNK_BITS),
               count * sizeof(*nodes));
    }
}

void pile_clear(struct chunks *chunks, struct pile *pile)
{
    uint32_t count = (pile->count + CHUNK_NODES - 1) >> CHUNK_BITS;
    uint32_t id = pile->tail;
    for (; count > 0; count--) {
        uint32_t next = *before(chunks, id);
        give_chunk(chunks, id);
        id = next;
    }
    pile->count = 0;
}
