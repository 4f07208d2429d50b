#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT_BUCKETS = 1 << TABLE_SEGMENT_BITS };

void table_init(struct table *table, struct slab *items)
{
    memset(table, 0, sizeof(*table));
    table->load = 1;
    table->items = items;
}

void table_init_dense(struct table *table, struct slab *items)
{
    table_init(table, items);
    table->load = 2;
}

void table_release(struct table *table)
{
    for (uint32_t i = 0; i < table->segment_count; i++)
        free(table->segments[i]);
    free(table->segments);
    table->segments = NULL;
    table->segment_count = table->segment_room = table->bucket_count = table->count = 0;
}

static bool add_segment(struct table *table)
{
    if (table->segment_count == table->segment_room) {
        uint32_t room = table->segment_room ? table->segment_room * 2 : 16;
        uint32_t **segments = realloc(table->segments, room * sizeof(*segments));
        if (!segments)
            return false;
        table->segments = segments;
        table->segment_room = room;
    }
    uint32_t *segment = malloc(SEGMENT_BUCKETS * sizeof(*segment));
    if (!segment)
        return false;
    for (uint32_t i = 0; i < SEGMENT_BUCKETS; i++)
        segment[i] = SLAB_NONE;
    table->segments[table->segment_count++] = segment;
    return true;
}

bool table_reserve(struct table *table)
{
    if (table->bucket_count == 0) {
        if (!table->segment_count && !add_segment(table))
            return false;
        table->bucket_count = table->level_buckets = 16;
    }
    return table->bucket_count >> TABLE_SEGMENT_BITS < table->segment_count || add_segment(table);
}

bool table_prepare(struct table *table, uint32_t count)
{
    uint32_t level = 16;
    uint32_t wanted = count / table->load;
    assert(table->count == 0);
    while (level <= wanted / 2)
        level *= 2;
    uint32_t buckets = wanted < level ? level : wanted;
    while (table->segment_count <= buckets >> TABLE_SEGMENT_BITS)
        if (!add_segment(table))
            return false;
    table->level_buckets = level;
    table->bucket_count = buckets;
    return true;
}

/* Open one more bucket and move to it what belongs there. */
static void split(struct table *table)
{
    uint32_t from = table->bucket_count - table->level_buckets;
    uint32_t to = table->bucket_count++;
    uint32_t *at = table_head(table, from);
    uint32_t *moved = table_head(table, to);
    while (*at != SLAB_NONE) { /* ends with the chain */
        uint32_t id = *at;
        struct slab_link *link = slab_link(table->items, id);
        if (table_bucket(table, link->tag) == from) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        link->next = *moved;
        *moved = id;
    }
    if (table->bucket_count == table->level_buckets * 2)
        table->level_buckets *= 2;
}

void table_put(struct table *table, uint32_t id, uint64_t hash)
{
    assert(table->bucket_count > 0);
    uint32_t tag = (uint32_t)hash;
    uint32_t *head = table_head(table, table_bucket(table, tag));
    *slab_link(table->items, id) = (struct slab_link){.next = *head, .tag = tag};
    *head = id;
    table->count++;
    if (table->count > (uint64_t)table->bucket_count * table->load &&
        table->bucket_count >> TABLE_SEGMENT_BITS < table->segment_count)
        split(table);
}

void table_remove(struct table *table, uint32_t id)
{
    const struct slab_link *removed = slab_link(table->items, id);
    uint32_t *at = table_head(table, table_bucket(table, removed->tag));
    while (*at != id) {
        assert(*at != SLAB_NONE);
        at = &slab_link(table->items, *at)->next;
    }
    *at = removed->next;
    table->count--;
}

/* The first from `id` on that has the tag. */
static uint32_t first_tagged(const struct table *table, uint32_t id, uint32_t tag)
{
    while (id != SLAB_NONE && slab_link(table->items, id)->tag != tag)
        id = slab_link(table->items, id)->next;
    return id;
}

uint32_t table_first(const struct table *table, uint64_t hash)
{
    uint32_t tag = (uint32_t)hash;
    if (!table->bucket_count)
        return SLAB_NONE;
    return first_tagged(table, *table_head(table, table_bucket(table, tag)), tag);
}

uint32_t table_next(const struct table *table, uint32_t id)
{
    const struct slab_link *link = slab_link(table->items, id);
    return first_tagged(table, link->next, link->tag);
}
