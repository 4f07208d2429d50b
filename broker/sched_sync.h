/* sched_sync.h - a full set under way: what the two halves of it share.
 *
 *   OPEN --commit--> PLAN --> APPLY --> CLEAN --> answered
 *     |               | guard
 *     +--abort, idle--+--------> DROP  --> (answered)
 *
 * OPEN: items are compared as they come. New keys become records at once, but staged: nobody sees
 * them. Known keys that differ are kept as encoded items. Both are spooled to the store in parts,
 * so that the commit itself is one small row. PLAN: a walk over all records finds those that are
 * absent. The marker row then makes the commit durable; APPLY carries it out in slices and goes on
 * after a crash. Keys that are put or removed meanwhile are noted and left alone. (sched_sync.c:
 * OPEN and commit; sched_sync_open.c: those that stay open; sched_sync_apply.c: the slices;
 * sched_sync_change.c: known keys; sched_sync_load.c: after a crash.)
 *
 * A record waits for the disk with its change. So one that is about to be handed out is changed
 * last: by then a worker has had it, or has it still and the change is pending.
 */
#ifndef EVERDUE_SCHED_SYNC_H
#define EVERDUE_SCHED_SYNC_H

#include "sched_internal.h"

enum sync_phase { SYNC_OPEN, SYNC_PLAN, SYNC_APPLY, SYNC_CLEAN, SYNC_DROP };

/* Rows of STORE_SYNCS: a is the generation, b tells what. */
#define SYNC_MARKER ((uint64_t)0)
#define SYNC_TOUCHED ((uint64_t)1 << 32) /* + part: one key */
#define SYNC_ITEMS ((uint64_t)2 << 32)   /* + part: encoded items, each behind "it was new" */
#define SYNC_PRUNES ((uint64_t)3 << 32)  /* + part: record numbers */

/* Which of `parts` counts them. */
enum { PARTS_TOUCHED = 1, PARTS_ITEMS, PARTS_PRUNES, PARTS_END };

enum {
    SYNC_PART_BYTES = 3500,    /* of a row that is spooled */
    SYNC_BATCH_RECORDS = 4096, /* carried out before the disk has taken them */
    SYNC_BATCH_ROWS = 4096,    /* written or removed before that: they are copied in one turn */
    SYNC_SEGMENT_BITS = SEGMENT_BITS(17),
};

/* A key that was put or removed since BEGIN. */
struct touched {
    bool is_in_set; /* a line named it, too */
    uint32_t key_bytes;
    uint8_t *key;
};

struct prune {
    uint64_t number;
    uint32_t slot;
};

struct sync {
    enum sync_phase phase;
    uint64_t generation;
    uint32_t session; /* the caller's number: of BEGIN, then of COMMIT */
    uint8_t holder_bytes;
    char holder[SESSION_NAME_BYTES_MAX]; /* its name at BEGIN, for people */
    int64_t began_mono_us, heard_mono_us;
    uint64_t request;
    bool is_asked;    /* COMMIT came: its answer is remembered, whoever is there to hear it */
    bool has_request; /* somebody waits for an answer */
    enum status status;
    int64_t spread_us;
    bool due_take;
    bool prunes;
    bool dry_run;
    bool has_marker;
    uint32_t prune_max_ppm;
    uint64_t records_before;
    struct sync_counts counts;
    uint64_t displaced; /* of counts.kept: new keys that were spooled before they were put */

    uint8_t *matched;      /* a bit for each slot whose key is in the set */
    uint32_t matched_room; /* in bits */
    uint32_t **staged;     /* slots of new records, in segments */
    uint32_t staged_room;  /* segments */
    uint32_t staged_count, staged_done;
    struct wire_buffer changed; /* items of known keys */
    size_t changed_done;
    size_t *later; /* where in `changed` items begin that were put off */
    uint32_t later_count, later_room, later_next;
    int64_t later_end_mono_us; /* they are carried out then, whatever comes; 0: not begun */
    struct prune *prunes_list;
    uint32_t prune_count, prune_room, prune_done;
    uint32_t plan_cursor;

    uint8_t *spare_key; /* room for the next touched key */
    bool spare_is_in_set;
    struct slab touches;
    struct table touched;
    struct wire_buffer part;   /* items that are not spooled yet */
    uint32_t parts[PARTS_END]; /* rows written */
    uint32_t clean_kind, clean_part;
};

struct sync *sync_new(uint64_t generation);
bool sync_has_touched(const struct sync *sync, struct bytes key);
/* Room for one more; a key longer than that which is then added is no harm. */
bool sync_reserve_touch(struct sync *sync, uint32_t key_bytes);
/* There must be room. */
void sync_add_touched(struct sync *sync, struct bytes key, bool is_in_set);
bool sync_has_matched(const struct sync *sync, uint32_t slot);
bool sync_reserve_matched(struct sync *sync, uint32_t slot);
/* There must be room. */
void sync_set_matched(struct sync *sync, uint32_t slot);

/* Compares one item with what is stored and stages it. `spools`: write it to the store, too (not
 * when it comes from there). */
enum status sync_stage(struct sched *sched, struct queue *queue, const struct put *put, bool spools,
                       struct moment now);
/* Write what is not spooled yet. */
enum status sync_flush_part(struct sched *sched, struct sync *sync);

/* Changes nothing, and goes: COMMIT is answered so. */
void sync_drop(struct sync *sync, enum status status);

/* The next of the staged records, and going past it: what is behind goes back by and by. */
uint32_t sync_staged_slot(const struct sync *sync);
void sync_pass_staged(struct sync *sync);

/* Carries out items of known keys: all but those that it puts off, and then those. Lowers *budget
 * by each. True: that was the last; false: it goes on later, for the budget is used up, the batch
 * full, numbers or memory are out, or what was put off is to wait. */
bool sync_change_items(struct sched *sched, struct queue *queue, uint32_t *budget,
                       struct moment now);
bool sync_change_put_off(struct sched *sched, struct queue *queue, uint32_t *budget,
                         struct moment now);
/* Whether the disk has to take something before more is carried out: a batch that grew faster than
 * the disk takes it would hold up a turn. */
bool sync_batch_is_full(const struct sched *sched);

/* Another record that is to go. */
enum status sync_add_prune(struct sync *sync, uint64_t number, uint32_t slot);

/* The marker row of a sync: its queue and options. */
enum status sync_write_marker(struct sched *sched, const struct queue *queue,
                              const struct sync *sync);

#endif
