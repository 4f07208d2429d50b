/* sentences.h - how things are, the way somebody reads it at three in the morning: what is wrong
 * and what to do about it first, then the rest. Pure. */
#ifndef EVERDUE_SENTENCES_H
#define EVERDUE_SENTENCES_H

#include "row.h"
#include "text.h"

/* What `queues` tells in sum. */
struct sentences_queues {
    uint64_t count;
    /* Names with commas; empty: none. */
    struct text paused;
    struct text parked; /* with records that are set aside */
    struct text idle;   /* with records that are due, and nobody who works on them */
    struct text syncs;  /* a sentence for each full set of which nothing came lately */
};

void sentences_queues_init(struct sentences_queues *queues);
void sentences_queues_release(struct sentences_queues *queues);

/* Adds what the row of a queue tells. */
void sentences_add_queue(struct sentences_queues *queues, const struct row *queue);

/* Adds the sentences, a line each. `stats` is the row of the whole broker. Returns whether all is
 * well. */
bool sentences_write(struct text *text, const struct row *stats,
                     const struct sentences_queues *queues);

#endif
