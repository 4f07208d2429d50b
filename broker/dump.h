/* dump.h - what a stopped store holds, as lines of JSON.
 *
 * Of one queue: its records in the very form of `everdue export`, which `everdue sync` reads, and
 * nothing else. Of all: each record with its queue, state and counts (as `everdue list -o jsonl`
 * shows it), and a line with "table" for everything that is no record.
 *
 *   {"table":"queues","queue":"feeds","paused":false,"records":300000,"created_total":300000,...}
 *   {"key":"a","queue":"feeds","state":"parked","due":"...","failures":20,"crashes":0}
 *   {"table":"sessions","uid":"1f0c...","name":"worker-7"}
 *   {"table":"pending","record":17,"run_now":false,"change":{"key":"a","rank":3}}
 *   {"table":"syncs","generation":5,"part":"items 0","bytes":4096}
 */
#ifndef EVERDUE_DUMP_H
#define EVERDUE_DUMP_H

#include <stdio.h>

#include "store.h"
#include "text.h"

struct dump_queue {
    char name[QUEUE_NAME_BYTES_MAX + 1]; /* queue-NUMBER where its row is lost */
    bool is_stored;                      /* its row came */
    uint64_t records_stored;             /* as its row counts them */
    uint64_t records;                    /* that came */
};

struct dump {
    FILE *stream;       /* NULL: only count */
    const char *only;   /* a queue; NULL: all */
    bool without_state; /* records in the form of export, also where all queues are printed */
    struct dump_queue *queues; /* by their numbers */
    uint32_t queue_count;
    uint64_t printed; /* records */
    struct text line;
    char why[STORE_WHY_BYTES]; /* of a row or record that is refused */
};

void dump_init(struct dump *dump, FILE *stream, const char *only);
void dump_release(struct dump *dump);

/* For a store_visitor whose user is the dump. A state of 0 is one that is lost: no due is printed.
 * CORRUPT: `why` says what is no row or record of ours. */
enum status dump_row(const struct store_row *row, const uint8_t *bytes, void *user);
enum status dump_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                        void *user);

/* The queue of this name, NULL: there is none. Borrowed until the next row. */
const struct dump_queue *dump_find_queue(const struct dump *dump, const char *name);

#endif
