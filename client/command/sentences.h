/* sentences.h - how things are, the way somebody reads it at three in the morning: what is wrong
 * and what to do about it first, then the rest. Pure. */
#ifndef EVERDUE_SENTENCES_H
#define EVERDUE_SENTENCES_H

#include "row.h"
#include "text.h"

/* What `queues` tells in sum. */
struct sentences_queues {
    uint64_t count;
    struct text paused; /* names with commas; empty: none */
    struct text syncs;  /* a sentence for each full set of which nothing came lately */
};

/* Adds one when the full set that a queue has under way seems to be stuck. */
void sentences_add_sync(struct text *text, const struct row *queue);

/* Adds the sentences, a line each. `stats` is the row of the whole broker. Returns whether all is
 * well. */
bool sentences_write(struct text *text, const struct row *stats,
                     const struct sentences_queues *queues);

#endif
