/* disk.h - a store in memory that survives the core: what was durable, to be loaded again.
 *
 * It keeps rows and states sorted, as the backends of store.h do, and applies a batch at once. What
 * is late, torn or lost is the caller's affair: a batch that is not written here never was.
 */
#ifndef EVERDUE_DISK_H
#define EVERDUE_DISK_H

#include "store.h"

struct disk_row {
    struct store_row row;
    uint8_t *bytes;
};

struct disk {
    struct store_state *states; /* by number */
    size_t state_count, state_room;
    struct disk_row *rows; /* by table, a, b */
    size_t row_count, row_room;
};

void disk_init(struct disk *disk);
void disk_release(struct disk *disk);

/* All rows and states of the batch, as one commit. Aborts when memory is out. */
void disk_write(struct disk *disk, const struct store_batch *batch);

/* As store_load: everything, in the order of store_visitor. CORRUPT: a record without a body, or a
 * body without a record. */
enum status disk_load(const struct disk *disk, const struct store_visitor *visitor);

#endif
