#include "slab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void slab_init(struct slab *slab, uint32_t item_bytes)
{
    assert(item_bytes >= sizeof(uint32_t));
    memset(slab, 0, sizeof(*slab));
    slab->item_bytes = item_bytes;
    slab->place_offset = SLAB_NONE;
    slab->place_step = sizeof(uint32_t);
    slab->free_first = SLAB_NONE;
}

void slab_init_placed(struct slab *slab, uint32_t item_bytes, uint32_t place_offset)
{
    assert(place_offset >= sizeof(uint32_t));
    assert(place_offset + sizeof(uint32_t) <= item_bytes);
    slab_init(slab, item_bytes);
    slab->place_offset = place_offset;
    slab->place_step = item_bytes;
}

void slab_release(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->segment_count; i++)
        free(slab->segments[i].items);
    free(slab->segments);
    if (slab->place_offset == SLAB_NONE)
        slab_init(slab, slab->item_bytes);
    else
        slab_init_placed(slab, slab->item_bytes, slab->place_offset);
}

/* A cache line, so that items of 32 bytes never straddle two. */
enum { SEGMENT_ALIGNMENT = 64 };

/* The directory of segments is small (24 bytes for 4,096 items) and may be copied. */
static bool add_segment(struct slab *slab)
{
    if (slab->segment_count == slab->segment_room) {
        uint32_t room = slab->segment_room ? slab->segment_room * 2 : 16;
        struct slab_segment *segments = realloc(slab->segments, room * sizeof(*segments));
        if (!segments)
            return false;
        slab->segments = segments;
        slab->segment_room = room;
    }
    size_t items_bytes = (size_t)slab->item_bytes << SLAB_SEGMENT_BITS;
    size_t links_bytes = sizeof(struct slab_link) << SLAB_SEGMENT_BITS;
    bool has_column = slab->place_offset == SLAB_NONE;
    size_t places_bytes = has_column ? sizeof(uint32_t) << SLAB_SEGMENT_BITS : 0;
    uint8_t *bytes = aligned_alloc(SEGMENT_ALIGNMENT, items_bytes + links_bytes + places_bytes);
    if (!bytes)
        return false;
    slab->segments[slab->segment_count++] = (struct slab_segment){
        .items = bytes,
        .links = (struct slab_link *)(void *)(bytes + items_bytes),
        .places = has_column ? bytes + items_bytes + links_bytes : bytes + slab->place_offset,
    };
    return true;
}

bool slab_reserve(struct slab *slab)
{
    if (slab->free_first != SLAB_NONE)
        return true;
    if (slab->used_end == SLAB_NONE)
        return false;
    return slab->used_end >> SLAB_SEGMENT_BITS < slab->segment_count || add_segment(slab);
}

uint32_t slab_take(struct slab *slab)
{
    if (!slab_reserve(slab))
        return SLAB_NONE;
    uint32_t id = slab->free_first;
    if (id != SLAB_NONE)
        memcpy(&slab->free_first, slab_at(slab, id), sizeof(slab->free_first));
    else
        id = slab->used_end++;
    memset(slab_at(slab, id), 0, slab->item_bytes);
    slab->count++;
    return id;
}

void slab_give(struct slab *slab, uint32_t id)
{
    assert(id < slab->used_end);
    assert(slab->count > 0);
    memcpy(slab_at(slab, id), &slab->free_first, sizeof(slab->free_first));
    slab->free_first = id;
    slab->count--;
}
