/* store_lmdb.h - what the files of the LMDB backend share; nobody else includes it.
 *
 *   DIR/data.mdb    the LMDB file           DIR/lock.mdb   LMDB's own
 *   DIR/owner.lock  held with flock by the process that has the store; its pid is in it
 *   DIR/reserve     bytes that are given up to finish what was accepted when the disk is full
 *   DIR/data.new    a store that is being made; becomes data.mdb by a rename
 *
 *   database   key (big-endian)       value
 *   info       "info"                 struct store_lmdb_info
 *   meta, queues, sessions, syncs     a 8, b 8: bytes, checksum 8
 *   records, pending                  a 8: bytes, checksum 8
 *   journal    sequence 8, part 4     struct store_lmdb_part, as many states as it has
 *   hot        page 8                 struct store_lmdb_page: records page * 120 + 1 and on
 *
 * No value of journal and hot is larger than fits one page beside LMDB's header, so the file never
 * fragments. All integers in values are the machine's. Each checksum covers the value and its key.
 *
 * Life of a state: a commit appends it to the journal; a checkpoint pass gathers the newest state
 * of each record up to the sequence at its begin (in a thread of its own), folds them into their
 * pages in slices, stores that sequence as `folded`, and trims the journal up to it:
 *
 *   IDLE --journal too large--> GATHER --sorted--> FOLD --folded is durable--> TRIM --> IDLE
 *
 * A crash anywhere in it costs nothing but the work: states are absolute, and what is not above
 * `folded` is in the hot table.
 *
 * A large batch (the disk stood still, and reports went on) is written in several transactions, for
 * LMDB keeps as much memory as its largest one took: the first parts of its states go ahead, above
 * the sequence that is stored; they are nobody's until the last transaction brings the rest, its
 * rows and its sequence. What a crash left there is not read, and goes when the store is opened.
 */
#ifndef EVERDUE_STORE_LMDB_H
#define EVERDUE_STORE_LMDB_H

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

enum {
    STORE_LMDB_FORMAT = 1,
    STORE_LMDB_PATH_BYTES = 4096,
    PAGE_STATES = 120,
    PART_STATES = 126,
    ROW_CHECKSUM_BYTES = 8,
    KEY_BYTES_LONGEST = 16,
};

/* The databases: the caller's tables, then our own. */
enum {
    STORE_LMDB_HOT = STORE_TABLE_COUNT,
    STORE_LMDB_JOURNAL,
    STORE_LMDB_INFO,
    STORE_LMDB_TABLES,
};

struct store_lmdb_page {
    uint64_t checksum;
    struct store_state states[PAGE_STATES];
};

struct store_lmdb_part {
    uint64_t checksum;
    uint32_t part_count; /* of its commit */
    uint32_t unused;
    struct store_state states[PART_STATES];
};
_Static_assert(sizeof(struct store_lmdb_part) <= 4064, "a journal value fits one page");
_Static_assert(sizeof(struct store_lmdb_page) <= 4064, "a hot value fits one page");

/* The one row of `info`, rewritten by each transaction. */
struct store_lmdb_info {
    char magic[8];
    uint32_t format;
    uint32_t bytes; /* of this struct */
    uint64_t checksum;
    uint64_t transaction; /* LMDB's number of the transaction that wrote this */
    uint8_t id[STORE_ID_BYTES];
    struct store_fence fence;
    uint64_t folded; /* the hot table holds all states up to this sequence */
};

/* --- store_lmdb_row.c: keys, checksums, texts ------------------------------------------------ */

extern const char *const store_lmdb_table_names[STORE_LMDB_TABLES];

struct store_lmdb_key {
    uint8_t bytes[KEY_BYTES_LONGEST];
    size_t count;
};

void store_lmdb_key_write(struct store_lmdb_key *key, unsigned table, uint64_t a, uint64_t b);
/* False: no key of this table. */
bool store_lmdb_key_read(const MDB_val *key, unsigned table, uint64_t *a, uint64_t *b);
MDB_val store_lmdb_key_value(struct store_lmdb_key *key);

uint64_t store_lmdb_checksum(unsigned table, uint64_t a, uint64_t b, const void *bytes,
                             size_t count);
/* Of a page or part of `count` bytes in all, whose first field it is. */
uint64_t store_lmdb_states_checksum(unsigned table, uint64_t a, uint64_t b, const void *value,
                                    size_t count);
void store_lmdb_info_seal(struct store_lmdb_info *info);
/* OK, CORRUPT, VERSION. */
enum status store_lmdb_info_read(const MDB_val *value, struct store_lmdb_info *info, char *why);

/* Verifies a row; *count is its bytes without the checksum behind them. False: damaged. */
bool store_lmdb_row_read(const MDB_val *value, unsigned table, uint64_t a, uint64_t b,
                         uint32_t *count);
/* Copies and verifies; false: damaged. */
bool store_lmdb_page_read(const MDB_val *value, uint64_t number, struct store_lmdb_page *page);
/* The same for a part; 0: damaged, else the number of its states. */
uint32_t store_lmdb_part_read(const MDB_val *value, uint64_t sequence, uint64_t number,
                              struct store_lmdb_part *part);

/* Writes to `why`, which has STORE_WHY_BYTES. */
void store_lmdb_say(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- store_lmdb_files.c: the directory and what is in it beside LMDB's ----------------------- */

/* Links in the place of files of the store are not followed, so whoever may write to the directory
 * (or made it) cannot make the broker write elsewhere. The directory itself may be one. */

/* Makes it, with the directories above it. */
enum status store_lmdb_directory_make(const char *directory, char *why);
/* Fails with LOCKED and the holder's pid in the text. The lock ends when *fd is closed. */
enum status store_lmdb_lock(const char *directory, int *fd, char *why);
/* The names in it are durable, and its own name in the directories above. */
enum status store_lmdb_directory_sync(const char *directory, char *why);
/* Whether a call failed for want of space, or of a share of it. */
bool store_lmdb_lacks_space(int error);
uint64_t store_lmdb_free_bytes(const char *directory);
/* Allocates DIR/reserve when there is twice the room, unless it is there. Returns whether it is. */
bool store_lmdb_reserve_make(const char *directory, uint64_t bytes);
uint64_t store_lmdb_reserve_bytes(const char *directory);
/* Returns whether there was one. */
bool store_lmdb_reserve_drop(const char *directory);

/* --- store_lmdb_pages.c: LMDB's file, read without LMDB -------------------------------------- */

struct store_lmdb_pages {
    uint64_t page_bytes;
    uint64_t in_use;
    uint64_t free;
    uint64_t leaked; /* neither: harmless */
    uint64_t transaction;
    bool repaired; /* a header that was set back by a failed write was set forward again */
};

/* LMDB believes what it reads: a damaged page can crash the process or change other data. So the
 * whole structure is verified first: both headers, each page's place, type, bounds and order, each
 * free page, and all the counts. Values are not read; they have our own checksums. */
enum status store_lmdb_pages_check(const char *directory, struct store_lmdb_pages *pages,
                                   char *why);

/* --- store_lmdb_scavenge.c: what is whole in a damaged file ---------------------------------- */

/* A value as it stands in the file; its bytes are not looked at. The key is borrowed. */
struct store_lmdb_value {
    MDB_val key;
    uint64_t offset;
    uint64_t count;
    int table; /* negative: not known, the page was read by itself */
};

struct store_lmdb_scavenger {
    int fd;
    enum status (*value)(const struct store_lmdb_value *value, void *user);
    /* All values that came are to be forgotten; they come again, and more. */
    void (*restart)(void *user);
    void (*note)(const char *what, void *user); /* damage that costs nothing by itself */
    void (*lost)(const char *what, void *user);
    void *user;
    bool has_counts; /* set: how many values each table should have */
    uint64_t counts[STORE_LMDB_TABLES];
};

/* Where the trees are whole, what they hold. Else every page that the list of free pages does not
 * name is read by itself: damage above the leaves then costs nothing, and a leaf only what it held.
 * Where that list is damaged, too, pages of older times cannot be told from those that count, and
 * it stays at what the trees lead to. Writes nothing. CORRUPT: no header is usable. */
enum status store_lmdb_scavenge(struct store_lmdb_scavenger *scavenger, char *why);

/* --- store_lmdb_env.c: LMDB's environment ---------------------------------------------------- */

struct store_lmdb_env {
    MDB_env *env;
    MDB_dbi tables[STORE_LMDB_TABLES];
    struct store_lmdb_info info; /* as found */
};

struct store_lmdb_env_options {
    const char *path; /* a directory; with MDB_NOSUBDIR in flags, a file */
    unsigned flags;
    uint64_t map_bytes; /* 0: 1 TiB, less where the address space is limited */
};

/* Makes DIR/data.mdb, empty and durable, unless it is there. */
enum status store_lmdb_env_make(const char *directory, char *why);
enum status store_lmdb_env_open(struct store_lmdb_env *env,
                                const struct store_lmdb_env_options *options, char *why);
void store_lmdb_env_close(struct store_lmdb_env *env);
/* As of the transaction. OK, CORRUPT, VERSION. */
enum status store_lmdb_env_get_info(const struct store_lmdb_env *env, MDB_txn *txn,
                                    struct store_lmdb_info *info, char *why);
/* Stores `info` in the transaction, stamped and sealed. An error number of LMDB, or 0. */
int store_lmdb_env_put_info(const struct store_lmdb_env *env, MDB_txn *txn,
                            struct store_lmdb_info *info);
/* Of the pages of a table. */
uint64_t store_lmdb_env_table_bytes(const struct store_lmdb_env *env, MDB_txn *txn, unsigned table);
/* A store for a check or a dump: locked, verified, read-only. Closes what it opened on failure. */
enum status store_lmdb_env_open_stopped(struct store_lmdb_env *env, const char *directory,
                                        int *lock_fd, struct store_lmdb_pages *pages, char *why);

/* --- store_lmdb_gather.c: the newest states of the journal ----------------------------------- */

struct store_lmdb_states {
    struct store_state *states; /* by number, each once */
    struct store_state *other;  /* the same room again, while sorting */
    size_t count;
    size_t room;
    uint64_t parts;
};

/* The journal, part by part in the order of its keys: a part that is missing shows in the numbers
 * of its neighbours. Zeroed but for `states`, which is borrowed. */
struct store_lmdb_journal {
    struct store_lmdb_states *states;
    uint64_t sequence; /* of the last part */
    uint32_t part_next;
    uint32_t part_count;
};

/* Adds what a value holds. OK, CORRUPT (the key, the value, or a part is missing before it),
 * NO_MEMORY. */
enum status store_lmdb_journal_add(struct store_lmdb_journal *journal, const MDB_val *key,
                                   const MDB_val *value, char *why);
/* CORRUPT: the last commit is not whole. */
enum status store_lmdb_journal_end(const struct store_lmdb_journal *journal, char *why);

/* Those of the sequences above `after`, up to `upto`. OK, CORRUPT, NO_MEMORY, IO. */
enum status store_lmdb_gather(const struct store_lmdb_env *env, MDB_txn *txn, uint64_t after,
                              uint64_t upto, struct store_lmdb_states *states, char *why);
void store_lmdb_states_release(struct store_lmdb_states *states);
/* Those added later are the newer ones. False, nothing added: no memory. */
bool store_lmdb_states_add(struct store_lmdb_states *states, const struct store_state *added,
                           size_t count);
/* Sorted by number, the newest of each. False: no memory. */
bool store_lmdb_states_finish(struct store_lmdb_states *states);

/* --- store_lmdb_load.c ----------------------------------------------------------------------- */

enum status store_lmdb_load(const struct store_lmdb_env *env, const struct store_visitor *visitor,
                            char *why);

/* --- the open store -------------------------------------------------------------------------- */

enum store_lmdb_phase { PASS_IDLE, PASS_GATHER, PASS_FOLD, PASS_TRIM };

/* A checkpoint pass; the store thread's own but for `gathered`. */
struct store_lmdb_pass {
    enum store_lmdb_phase phase;
    uint64_t upto;
    struct store_lmdb_states found;
    size_t done;  /* of found, durable */
    size_t next;  /* of found, with the transaction under way */
    bool trimmed; /* by the transaction under way: nothing is left to trim */
    pthread_t thread;
    bool gathered; /* under the mutex */
    enum status gather_status;
    char why[STORE_WHY_BYTES];
    uint64_t not_before_bytes; /* after a failed gathering: the journal's size to try again at */
};

struct store_lmdb_list {
    struct store_batch *first;
    struct store_batch *last;
};

struct store_lmdb {
    struct store store; /* first */
    char directory[STORE_LMDB_PATH_BYTES];
    int lock_fd;
    int data_fd;  /* our own, opened before anything is written: see store_lmdb_thread.c */
    int event_fd; /* readable while `done` has something */
    struct store_lmdb_env lmdb;
    uint64_t journal_bytes_max; /* 0: by the size of the hot table */
    uint64_t reserve_bytes;
    uint64_t page_bytes;
    size_t parts_at_once;
    pthread_t thread;
    bool thread_runs;

    /* The store thread's own. */
    struct store_lmdb_info info; /* as last committed */
    uint64_t record_last;        /* no key of these tables is above */
    uint64_t hot_last;
    uint64_t allocated_end; /* of the file: writes below need no new space */
    bool space_low;         /* the last allocation failed */
    bool fenced_off;        /* another owner or epoch is stored: the journal is not ours to fold */
    uint64_t hot_bytes;     /* pages of the hot table and the journal, as last committed */
    uint64_t journal_bytes;
    uint64_t hot_bytes_next; /* with the transaction under way */
    uint64_t journal_bytes_next;
    int64_t retry_mono_us; /* while full */
    int64_t reserve_mono_us;
    bool reserve_there;
    struct store_lmdb_list group; /* being committed, or waiting for space */
    size_t parts_ahead;           /* of the first batch of the group, written already */
    struct store_lmdb_pass pass;
    int64_t worst_since_mono_us;
    uint64_t worst_before_us;
    uint64_t worst_now_us;

    /* Under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct store_lmdb_list waiting;
    struct store_lmdb_list done;
    bool stop;
    enum status failed; /* of the commit that ended the store, else OK */
    struct store_health health;
    int64_t space_mono_us; /* when health's disk figures were taken */
};

/* --- store_lmdb_commit.c --------------------------------------------------------------------- */

/* One transaction of the store thread: the group's batches, and a slice of a checkpoint pass when
 * `with_slice`; before it, others with what goes ahead. Sets each batch's status (OK or LOCKED). An
 * error number of LMDB, or 0; on error nothing is stored that counts, and it can be tried again. */
int store_lmdb_commit(struct store_lmdb *store, bool with_slice);
/* Removes what went ahead of a commit that never came. Before anything is submitted. An error
 * number of LMDB, or 0. */
int store_lmdb_drop_ahead(struct store_lmdb *store);

/* --- store_lmdb_checkpoint.c: the phases of a pass ------------------------------------------- */

/* What is left to trim, and what was never folded, of an earlier run. */
enum status store_lmdb_pass_resume(struct store_lmdb *store);
/* Begins a pass if the journal is large enough. */
void store_lmdb_pass_begin(struct store_lmdb *store);
/* Under the mutex: whether states come faster than they can be gathered. Commits wait then, or the
 * journal would grow without bound. */
bool store_lmdb_pass_is_behind(const struct store_lmdb *store);
/* Takes over what the gathering thread found, if it has ended. CORRUPT: damage, and the text. */
enum status store_lmdb_pass_take(struct store_lmdb *store);
/* Whether a slice could be done now. */
bool store_lmdb_pass_has_slice(const struct store_lmdb *store);
/* Adds a slice to the transaction; *changed when it wrote something. */
int store_lmdb_pass_slice(struct store_lmdb *store, MDB_txn *txn, struct store_lmdb_info *info,
                          bool *changed);
/* After the transaction's commit. */
void store_lmdb_pass_advance(struct store_lmdb *store);
/* Waits for the gathering thread, forgets the pass. */
void store_lmdb_pass_drop(struct store_lmdb *store);

/* --- store_lmdb_thread.c --------------------------------------------------------------------- */

bool store_lmdb_thread_start(struct store_lmdb *store);
/* After what was submitted. */
void store_lmdb_thread_stop(struct store_lmdb *store);
void store_lmdb_list_append(struct store_lmdb_list *list, struct store_batch *batch);
struct store_batch *store_lmdb_list_take(struct store_lmdb_list *list);

/* --- store_lmdb_backup.c --------------------------------------------------------------------- */

enum status store_lmdb_backup(const struct store_lmdb_env *env, const char *directory, char *why);

#endif
