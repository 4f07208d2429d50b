#include "places.h"

#include <stdlib.h>

void places_init(struct places *places)
{
    *places = (struct places){0};
}

void places_release(struct places *places)
{
    free(places->breaks);
    places_init(places);
}

bool places_put(struct places *places, uint64_t place, uint64_t line)
{
    if (places->count > 0) {
        const struct place *last = &places->breaks[places->count - 1];
        if (line - place == last->line - last->place)
            return true;
    }
    if (places->count == places->room) {
        size_t room = places->room ? places->room * 2 : 16;
        struct place *breaks = realloc(places->breaks, room * sizeof(*breaks));
        if (!breaks)
            return false;
        places->breaks = breaks;
        places->room = room;
    }
    places->breaks[places->count++] = (struct place){place, line};
    return true;
}

uint64_t places_find(const struct places *places, uint64_t place)
{
    size_t low = 0;
    size_t high = places->count;
    /* The last break at or before the place. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (places->breaks[middle].place <= place)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return place + 1;
    const struct place *found = &places->breaks[low - 1];
    return found->line + (place - found->place);
}
