#include "overflow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct message {
    struct message *next;
    uint32_t count;
    uint8_t data[];
};

struct overflow {
    struct message *first, *last;
    uint64_t bytes;
    uint32_t owner;
    uint32_t place; /* in the list of all */
};

static uint64_t cost_of(uint32_t count)
{
    return sizeof(struct message) + count;
}

void overflows_release(struct overflows *all)
{
    assert(all->count == 0);
    free(all->list);
    memset(all, 0, sizeof(*all));
}

uint32_t overflows_owner(const struct overflows *all, uint32_t place)
{
    assert(place < all->count);
    return all->list[place]->owner;
}

/* An empty one, in the list. */
static struct overflow *begin(struct overflows *all, uint32_t owner)
{
    if (all->count == all->room) {
        uint32_t room = all->room ? all->room * 2 : 16;
        struct overflow **list = realloc(all->list, room * sizeof(struct overflow *));
        if (!list)
            return NULL;
        all->list = list;
        all->room = room;
    }
    struct overflow *overflow = calloc(1, sizeof(*overflow));
    if (!overflow)
        return NULL;
    overflow->owner = owner;
    overflow->place = all->count;
    all->list[all->count++] = overflow;
    return overflow;
}

static void end(struct overflows *all, struct overflow **overflow)
{
    uint32_t place = (*overflow)->place;
    all->list[place] = all->list[--all->count];
    all->list[place]->place = place;
    free(*overflow);
    *overflow = NULL;
}

bool overflow_put(struct overflows *all, struct overflow **overflow, uint32_t owner,
                  struct bytes message)
{
    uint64_t cost = cost_of(message.count);
    if (overflow_bytes(*overflow) + cost > OVERFLOW_MAX || all->bytes + cost > OVERFLOW_ALL)
        return false;
    struct message *added = malloc(sizeof(*added) + message.count);
    if (added && !*overflow)
        *overflow = begin(all, owner);
    if (!added || !*overflow) {
        free(added);
        return false;
    }
    *added = (struct message){.count = message.count};
    memcpy(added->data, message.data, message.count);
    if ((*overflow)->last)
        (*overflow)->last->next = added;
    else
        (*overflow)->first = added;
    (*overflow)->last = added;
    (*overflow)->bytes += cost;
    all->bytes += cost;
    return true;
}

struct bytes overflow_first(const struct overflow *overflow)
{
    return (struct bytes){overflow->first->data, overflow->first->count};
}

void *overflow_take_first(struct overflows *all, struct overflow **overflow, struct bytes *message)
{
    struct message *taken = (*overflow)->first;
    uint64_t cost = cost_of(taken->count);
    (*overflow)->first = taken->next;
    (*overflow)->bytes -= cost;
    all->bytes -= cost;
    if (!(*overflow)->first)
        end(all, overflow);
    *message = (struct bytes){taken->data, taken->count};
    return taken;
}

void overflow_drop_first(struct overflows *all, struct overflow **overflow)
{
    struct bytes message;
    free(overflow_take_first(all, overflow, &message));
}

void overflow_destroy(struct overflows *all, struct overflow **overflow)
{
    while (*overflow) /* ends: each takes one of its messages */
        overflow_drop_first(all, overflow);
}

uint64_t overflow_bytes(const struct overflow *overflow)
{
    return overflow ? overflow->bytes : 0;
}
