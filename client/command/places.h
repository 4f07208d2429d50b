/* places.h - from an item's place in a set back to the line of the file it stood in.
 *
 * Blank and bad lines are no items, so places and lines drift apart; only where they do something
 * is kept. A file without such lines costs one entry.
 */
#ifndef EVERDUE_PLACES_H
#define EVERDUE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
    uint64_t place;
    uint64_t line;
};

struct places {
    struct place *breaks; /* from each place on, lines are this far ahead */
    size_t count;
    size_t room;
};

void places_init(struct places *places);
void places_release(struct places *places);

/* The item at `place` stood in `line`; both grow. False when memory is out. */
bool places_put(struct places *places, uint64_t place, uint64_t line);

/* The line of a place that was put. O(log n). */
uint64_t places_find(const struct places *places, uint64_t place);

#endif
