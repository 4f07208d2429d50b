/* list.h - items of one size in a row that grows. Zeroed is empty; `items` is the caller's to free.
 */
#ifndef EVERDUE_LIST_H
#define EVERDUE_LIST_H

#include <stddef.h>

struct list {
    void *items;
    size_t count;
    size_t room;
};

/* `count` more, not initialised, at the end; borrowed until the next call. NULL: no memory, nothing
 * changed. */
void *list_add(struct list *list, size_t item_bytes, size_t count);

#endif
