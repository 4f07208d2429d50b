#include "slab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void slab_init(struct slab *slab, uint32_t item_bytes)
{
    assert(item_bytes >= sizeof(uint32_t));
    memset(slab, 0, sizeof(*slab));
    slab->item_bytes = item_bytes;
    slab->free_first = SLAB_NONE;
}

void slab_release(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->segment_count; i++)
        free(slab->segments[i]);
    free(slab->segments);
    slab_init(slab, slab->item_bytes);
}

/* The directory of segments is small (8 bytes for 4,096 items) and may be copied. */
static bool add_segment(struct slab *slab)
{
    if (slab->segment_count == slab->segment_room) {
        uint32_t room = slab->segment_room ? slab->segment_room * 2 : 16;
        uint8_t **segments = realloc(slab->segments, room * sizeof(*segments));
        if (!segments)
            return false;
        slab->segments = segments;
        slab->segment_room = room;
    }
    uint8_t *segment = malloc((size_t)slab->item_bytes << SLAB_SEGMENT_BITS);
    if (!segment)
        return false;
    slab->segments[slab->segment_count++] = segment;
    return true;
}

uint32_t slab_take(struct slab *slab)
{
    uint32_t id = slab->free_first;
    if (id != SLAB_NONE) {
        memcpy(&slab->free_first, slab_at(slab, id), sizeof(slab->free_first));
    } else {
        id = slab->used_end;
        if (id == SLAB_NONE)
            return SLAB_NONE;
        if (id >> SLAB_SEGMENT_BITS == slab->segment_count && !add_segment(slab))
            return SLAB_NONE;
        slab->used_end++;
    }
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
