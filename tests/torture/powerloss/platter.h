/* platter.h - a disk as the log of record.h tells it: what it certainly holds, what it may hold.
 *
 * Each file has a durable content and the writes since its last sync; each directory has durable
 * names and the changes since. After a power cut a disk may hold any of these states:
 *
 * - every sector of 512 bytes (or page of 4 KiB) is as it was at the sync or after any later write
 *   to it, whatever its neighbours are: so writes are torn, and reordered between two syncs;
 * - a file has its durable size or any it had since; what was never written reads as zeros;
 * - of the changes of names any may be missing; a rename is whole or not at all.
 *
 * A write inside a sector that was not synced is never seen half: disks write sectors whole.
 */
#ifndef EVERDUE_PLATTER_H
#define EVERDUE_PLATTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct platter;

/* How the pending changes are chosen. */
enum platter_choice {
    CHOOSE_NONE, /* only what was synced */
    CHOOSE_ALL,  /* all that was done, in order: a killed process */
    CHOOSE_SECTORS,
    CHOOSE_PAGES,
    CHOOSE_WRITES,      /* each write whole or not at all */
    CHOOSE_ALL_BUT_ONE, /* one sector is missing */
    CHOOSE_ONLY_ONE,    /* one sector has arrived */
    CHOOSE_LAST_TORN,   /* all in order, the last write by sectors */
    CHOICES,
};

extern const char *const platter_choice_names[CHOICES];

/* Which syncs are believed: an oracle is worth what it says when one kind is ignored. */
enum { IGNORE_SYNC = 1, IGNORE_DSYNC = 2, IGNORE_NAMES = 4 };

struct platter *platter_new(unsigned ignored);
void platter_destroy(struct platter **platter);

/* Takes the next entry; `data` is borrowed until the platter is destroyed. False, and a text: what
 * happened cannot be followed. */
bool platter_apply(struct platter *platter, const struct record_entry *entry, const uint8_t *data,
                   char *why, size_t room);

/* Whether more than one state is possible now. */
bool platter_has_pending(const struct platter *platter);

struct platter_file {
    char path[256]; /* relative */
    bool is_directory;
    uint8_t *bytes;
    size_t count;
};

struct platter_state {
    struct platter_file files[32]; /* directories before what is in them */
    size_t count;
};

/* One state that the disk may be in; the same seed gives the same. False: no memory. */
bool platter_choose(const struct platter *platter, enum platter_choice choice, uint64_t seed,
                    struct platter_state *state);
void platter_state_release(struct platter_state *state);
uint64_t platter_state_hash(const struct platter_state *state);

/* Writes it into an existing, empty directory. */
bool platter_state_write(const struct platter_state *state, const char *root);
/* Whether the directory holds exactly this, but for what the recorder passes over. */
bool platter_state_is_at(const struct platter_state *state, const char *root, char *why,
                         size_t room);

#endif
