#include "list.h"

#include <stdint.h>
#include <stdlib.h>

void *list_add(struct list *list, size_t item_bytes, size_t count)
{
    if (list->count + count > list->room) {
        size_t room = (list->count + count) * 2 + 64;
        void *grown = realloc(list->items, room * item_bytes);
        if (!grown)
            return NULL;
        list->items = grown;
        list->room = room;
    }
    void *added = (uint8_t *)list->items + list->count * item_bytes;
    list->count += count;
    return added;
}
