/* lease_text.h - the lease that `take` prints and `report` reads: opaque text.
 *
 * It names all that a report needs (queue, key, state, lease) in letters that every shell leaves
 * alone, and carries a check sum, so that half of one, or one with a letter changed, is refused
 * here and not taken for another record's.
 */
#ifndef EVERDUE_LEASE_TEXT_H
#define EVERDUE_LEASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "everdue/types.h"
#include "text.h"

enum { LEASE_TEXT_QUEUE_BYTES = 64, LEASE_TEXT_KEY_BYTES = 1024 };

struct lease_text {
    char queue[LEASE_TEXT_QUEUE_BYTES + 1];
    char key[LEASE_TEXT_KEY_BYTES];
    size_t key_count;
    uint64_t lease;
    uint64_t state;
};

/* Adds the text of a lease. `queue` and `key` must be within their limits. */
void lease_text_write(struct text *text, const char *queue, struct everdue_bytes key,
                      uint64_t lease, uint64_t state);

/* False when it is no such text, or not all of it. */
bool lease_text_read(struct lease_text *lease, const char *text);

#endif
