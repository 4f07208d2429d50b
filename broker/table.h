/* table.h - a hash index over items of a slab, growing one bucket at a time.
 *
 * Linear hashing (W. Litwin, VLDB 1980) with chains through the slab's links: each insert splits at
 * most one bucket, so no insert is ever much slower than another. (A table that doubles held the
 * broker up for 462 ms at 12 million records.) It never shrinks. The low 32 bits of an item's hash
 * stand in its link, so splits, removals and walks along a chain touch no item but those whose hash
 * is the one that is looked for. The table knows hashes only; the caller compares:
 *
 *   for (id = table_first (&t, hash); id != SLAB_NONE; id = table_next (&t, id))
 *       if (is_it (slab_at (items, id)))
 */
#ifndef EVERDUE_TABLE_H
#define EVERDUE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment.h"
#include "slab.h"

enum { TABLE_SEGMENT_BITS = SEGMENT_BITS(12) };

struct table {
    uint32_t **segments; /* heads of chains */
    uint32_t segment_count;
    uint32_t segment_room;
    uint32_t bucket_count;
    uint32_t level_buckets; /* power of two: buckets at the begin of this round of splits */
    uint32_t count;
    uint32_t load;      /* items for each bucket */
    struct slab *items; /* borrowed */
};

/* An item is in one table at most. */
void table_init(struct table *table, struct slab *items);
/* The same with two items for each bucket: 2 bytes an item less, and half a link more to look at.
 */
void table_init_dense(struct table *table, struct slab *items);
void table_release(struct table *table);

/* Room for one more. On failure false, nothing changed. Call it before table_put. Once it has
 * succeeded a table_put without it is allowed, too: the chains grow longer then. */
bool table_reserve(struct table *table);

/* Open the buckets for `count` items at once, in a table that is empty: adding them splits nothing
 * then. On failure false; the table grows as ever. */
bool table_prepare(struct table *table, uint32_t count);

/* Add an item that is not in it; there must be room. O(1). */
void table_put(struct table *table, uint32_t id, uint64_t hash);

/* Remove an item that is in it. O(1) as a rule. */
void table_remove(struct table *table, uint32_t id);

/* Items whose hash has the same low 32 bits, one after the other; SLAB_NONE at the end. */
uint32_t table_first(const struct table *table, uint64_t hash);
uint32_t table_next(const struct table *table, uint32_t id);

/* --- fetching ahead --------------------------------------------------------------------------- */

/* Buckets below the split point have been split in this round and are told apart by one more bit.
 */
static inline uint32_t table_bucket(const struct table *table, uint32_t tag)
{
    uint32_t bucket = tag & (table->level_buckets - 1);
    uint32_t split = table->bucket_count - table->level_buckets;
    if (bucket < split)
        bucket = tag & (table->level_buckets * 2 - 1);
    return bucket;
}

static inline uint32_t *table_head(const struct table *table, uint32_t bucket)
{
    return &table
                ->segments[bucket >> TABLE_SEGMENT_BITS][bucket & ((1u << TABLE_SEGMENT_BITS) - 1)];
}

/* The first of the chain in which this hash would be, whether it has it or not; SLAB_NONE. */
static inline uint32_t table_head_first(const struct table *table, uint64_t hash)
{
    if (!table->bucket_count)
        return SLAB_NONE;
    return *table_head(table, table_bucket(table, (uint32_t)hash));
}

/* Ask for the memory that finding this hash needs: for many hashes the heads of their chains first,
 * then the links, so that all of it comes together. The table has buckets. (Always in line: gcc
 * takes a function that does nothing else for one without effect.) */
__attribute__((always_inline)) static inline void table_fetch_head(const struct table *table,
                                                                   uint64_t hash)
{
    __builtin_prefetch(table_head(table, table_bucket(table, (uint32_t)hash)));
}
__attribute__((always_inline)) static inline void table_fetch_link(const struct table *table,
                                                                   uint32_t bucket)
{
    uint32_t id = *table_head(table, bucket);
    if (id != SLAB_NONE)
        __builtin_prefetch(slab_link(table->items, id));
}

#endif
