/* store.h - what the broker asks of a disk, and the backends that give it.
 *
 * Three parts: *rows* (small tables of bytes: record bodies, pending changes, queues, sessions,
 * syncs, meta), an append-only *journal* of record states, and a *checkpoint* that folds the
 * journal into the hot table, where each record's newest state has its fixed place. One batch = one
 * commit: all rows and states of it are there after a crash, or none.
 *
 *   turn --- store_submit(batch) ---> store thread: commit (fsync) ---> eventfd --->
 * store_take_done
 *
 * The store thread never reads the core's memory: a batch is a copy of absolute states. It folds
 * the journal by itself, in slices between commits. Batches become durable in the order submitted.
 *
 * Failures. A full disk: the batch stays queued and is tried again each second; store_health says
 * so. A failed fsync or write error: the batch comes back with STATUS_IO (with STATUS_CORRUPT when
 * a damaged page was found), and the caller must end the process without acknowledging anything;
 * the store writes nothing more, and store_why tells what happened. STATUS_LOCKED, see Fence, is as
 * final.
 *
 * Records. A batch that brings a record's body for the first time brings its first state, too, and
 * a batch that removes the body brings the state without STATE_PRESENT: a load finds each record
 * with both, and calls anything else corrupt. Several states of one record in one batch: the last
 * counts.
 *
 * Fence. Each batch carries (owner, epoch, sequence) of its partition; a batch whose fence is not
 * the stored one's successor is refused with STATUS_LOCKED and nothing is written (design: two
 * brokers can never both commit).
 */
#ifndef EVERDUE_STORE_H
#define EVERDUE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "status.h"

/* The journalled state of a record: 32 bytes, no padding. */
struct store_state {
    uint64_t number; /* of the record: from 1, dense, never used again */
    uint64_t state;
    int64_t due_us;
    uint16_t failures;
    uint16_t crashes;
    uint8_t flags; /* STATE_... ; 0: removed */
    uint8_t unused[3];
};
_Static_assert(sizeof(struct store_state) == 32, "a state is 32 bytes");

enum { STATE_PRESENT = 1, STATE_PARKED = 2 };

enum store_table {
    STORE_META,     /* a: which (persist.h) */
    STORE_QUEUES,   /* a: queue id */
    STORE_SESSIONS, /* a, b: the uid */
    STORE_SYNCS,    /* a: generation, b: part */
    STORE_PENDING,  /* a: record number */
    STORE_RECORDS,  /* a: record number. Body; written in growing numbers as a rule */
};
enum { STORE_TABLE_COUNT = 6 };

struct store_row {
    enum store_table table;
    uint64_t a;
    uint64_t b;
    size_t offset; /* of its bytes in the batch's `bytes` */
    uint32_t count;
    bool remove; /* the row goes; removing what is not there is no error */
};

struct store_fence {
    uint8_t owner[16];
    uint64_t epoch;
    uint64_t sequence; /* of the batch: the last stored plus 1 */
};

struct store_batch {
    struct store_fence fence;
    struct store_state *states;
    size_t state_count, state_room;
    struct store_row *rows;
    size_t row_count, row_room;
    uint8_t *bytes;
    size_t byte_count, byte_room;
    enum status status; /* set by the store when it is done */
    void *user;         /* the caller's: answers to release */
    bool drops;         /* for a store that reads no batches: what is added is dropped */
    struct store_batch *next;
};

struct store_batch *store_batch_new(void);
void store_batch_destroy(struct store_batch **batch);
/* Forget the content, keep the memory, and whether it drops. */
void store_batch_clear(struct store_batch *batch);
/* Forget the content, and give back memory that is far more than it took, as after a burst. Room
 * for so many rows with so many bytes stays, if it was there. */
void store_batch_trim(struct store_batch *batch, size_t rows, size_t bytes);
/* Forget the content and give back all of its memory. */
void store_batch_empty(struct store_batch *batch);
/* On failure (memory) false, nothing added. */
bool store_batch_add_state(struct store_batch *batch, const struct store_state *state);
/* Room for so many more rows with so many bytes in all. On failure false. */
bool store_batch_reserve(struct store_batch *batch, size_t rows, size_t bytes);
bool store_batch_add_row(struct store_batch *batch, const struct store_row *row,
                         const void *bytes); /* row->offset is set here */

enum store_sync { STORE_SYNC_ALWAYS, STORE_SYNC_NEVER };

struct store_options {
    const char *directory;
    enum store_sync sync;       /* NEVER: MDB_NOSYNC. `interval` is the caller's: fewer batches */
    uint64_t map_bytes;         /* 0: 1 TiB */
    uint64_t journal_bytes_max; /* begin a checkpoint here; 0: 64 MiB or half the hot table */
    uint32_t parts_at_once;     /* of the journal, written by one transaction; 0: 128, half a MiB */
    uint64_t reserve_bytes;     /* reserve file, deleted to finish what was accepted; 0: 64 MiB */
};

struct store_health {
    uint64_t journal_bytes;
    uint64_t commits_total;
    uint64_t commit_us_total; /* time in commits */
    uint64_t commit_us_max;   /* of the last 60 s or so */
    uint64_t checkpoints_total;
    uint64_t disk_bytes;      /* used by the store's files */
    uint64_t disk_free_bytes; /* on its file system; UINT64_MAX for memory */
    bool full;                /* batches wait for space */
};

/* Visits of a load, in this order: meta, queues, sessions, records, pending, syncs; each table by
 * its key. A negative status ends the load and is returned by it. Bytes are borrowed for the call.
 */
struct store_visitor {
    enum status (*row)(const struct store_row *row, const uint8_t *bytes, void *user);
    enum status (*record)(const struct store_state *state, const uint8_t *body, uint32_t count,
                          void *user);
    void *user;
};

struct store;

/* The backend's functions; use the wrappers below. */
struct store_backend {
    const char *name;
    enum status (*load)(struct store *store, const struct store_visitor *visitor);
    enum status (*submit)(struct store *store, struct store_batch *batch);
    struct store_batch *(*take_done)(struct store *store);
    int (*fd)(const struct store *store);
    void (*health)(struct store *store, struct store_health *health);
    enum status (*backup)(struct store *store, const char *directory, char *why, size_t room);
    void (*destroy)(struct store *store);
};

enum { STORE_WHY_BYTES = 512 };

/* First member of each backend's own struct. */
struct store {
    const struct store_backend *backend;
    uint8_t
        id[STORE_ID_BYTES];    /* identity: new for each memory store, directory, restored backup */
    struct store_fence fence;  /* as found at open: epoch already raised by one and durable */
    bool drops_batches;        /* it reads no batches: the caller's may be made to drop, too */
    char why[STORE_WHY_BYTES]; /* see store_why */
};

/* Texts for people go to `why` (what, where, what to try). Memory never fails but for memory. */
enum status store_open_memory(struct store **store);
/* LOCKED: another process has the directory. CORRUPT: what and where is in `why`. VERSION: written
 * by a newer version. NO_SPACE: not even the epoch could be written. IO: with errno's text. The
 * directory is made when missing (mode 0700). Reads the file's whole structure once (about a second
 * for 10 million records), so that a damaged file is refused here and never crashes the process. */
enum status store_open_lmdb(struct store **store, const struct store_options *options, char *why,
                            size_t room);
/* Stops the thread after what was submitted, closes. */
void store_destroy(struct store **store);

/* Everything that is stored, once, before the first submit. CORRUPT: store_why says what and where.
 */
enum status store_load(struct store *store, const struct store_visitor *visitor);

/* Given: the store's until store_take_done returns it. On error you keep it: IO, CORRUPT after a
 * failure that ended the store. */
enum status store_submit(struct store *store, struct store_batch *batch);

/* The next batch that is done, in order, yours again; NULL: none yet. */
struct store_batch *store_take_done(struct store *store);

/* Readable when store_take_done has something; -1: it always has at once (memory). */
int store_fd(const struct store *store);

void store_get_health(struct store *store, struct store_health *health);

/* What went wrong in the last load that failed, or in the commit that ended the store: what, where,
 * what to try. Empty when nothing did. Borrowed; to be read after the call or batch that failed. */
const char *store_why(const struct store *store);

/* A hot copy into a directory that must not exist or be empty, with an identity of its own. Blocks:
 * call it from a thread of its own, which must have ended before store_destroy; safe beside the
 * store thread. As long as it runs no page that the copied moment uses is used again, so the file
 * grows by what is written meanwhile. NOT_FOUND: no such parent directory. IO, NO_SPACE; BAD_FIELD
 * for a directory with something in it and for a store without a disk. On error nothing is left
 * behind. */
enum status store_backup(struct store *store, const char *directory, char *why, size_t room);

/* For a stopped broker: verify all that can be verified, print a report line by line. OK, LOCKED,
 * CORRUPT, IO. */
enum status store_check_lmdb(const char *directory, void (*print)(const char *line, void *user),
                             void *user);

/* For a stopped broker: everything that is stored, in the order of a load. Refuses a store with any
 * damage. `why` has STORE_WHY_BYTES; it stays empty when the visitor ended the visit. OK, LOCKED,
 * CORRUPT, IO, VERSION, or what the visitor returned. */
enum status store_visit_lmdb(const char *directory, const struct store_visitor *visitor, char *why);

/* What is lost comes as a text each time; `note` is told of damage that costs nothing by itself. */
struct store_salvage {
    struct store_visitor visitor;
    void (*lost)(const char *what, void *user);
    void (*note)(const char *what, void *user);
    void *user;
};

/* For a stopped broker whose store is damaged: visits what is whole, as a load would, and names the
 * rest. A record whose state is lost comes with the state 0 and no due; one whose newest state may
 * be lost with the journal comes with the one before. Writes nothing to the store. OK, also where
 * much is lost; NOT_FOUND, LOCKED, IO; CORRUPT: nothing can be read at all; NO_MEMORY; or what the
 * visitor returned. `why` as above. Takes up to some hundred bytes of memory a record. */
enum status store_salvage_lmdb(const char *directory, const struct store_salvage *salvage,
                               char *why);

#endif
