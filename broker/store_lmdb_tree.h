/* store_lmdb_tree.h - walks one B+tree of an LMDB 0.9 file without trusting a byte of it.
 *
 * Verified: each page is in the file, used once, what its parent takes it for; each entry lies
 * within its page; keys are in order, within the page and between pages; depth and counts are the
 * description's. The bytes of values are not looked at.
 */
#ifndef EVERDUE_STORE_LMDB_TREE_H
#define EVERDUE_STORE_LMDB_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { TREE_PAGE_HEAD_BYTES = 16, TREE_DEPTH_MAX = 32 };

struct tree_file {
    int fd;
    uint64_t page_bytes;
    uint64_t page_last;    /* no page is above */
    uint64_t page_highest; /* that was met */
    uint8_t *met;          /* a bit for each page */
    uint64_t met_count;
    char *why;
};

/* A database, as LMDB writes it into headers and the main database. */
struct tree_db {
    uint32_t pad;
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
};
_Static_assert(sizeof(struct tree_db) == 48, "as in the file");

struct tree_entry {
    const uint8_t *key;
    size_t key_count;
    bool is_database;    /* the value describes one */
    const uint8_t *data; /* NULL: in pages of its own, from `page` on */
    uint64_t page;
    size_t count;    /* of the value */
    uint64_t offset; /* of the value, in the file */
};

struct tree_visit {
    const char *name; /* for texts */
    bool native_keys; /* 8 bytes, in the machine's order */
    enum status (*entry)(struct tree_file *file, const struct tree_entry *entry, void *user);
    void *user;
};

/* OK, CORRUPT, IO, NO_MEMORY, or what `entry` (may be NULL) returned. */
enum status tree_walk(struct tree_file *file, const struct tree_db *db,
                      const struct tree_visit *visit);

/* One page by itself, whatever tree it is of: `entry` gets those of a leaf that lie within it, the
 * rest of the page is passed over. `*pages` is how many it stands for (values of their own have
 * several), 1 where it is damaged. CORRUPT: `why` says what of it is; IO; what `entry` returned. */
enum status tree_scan(struct tree_file *file, uint64_t page, const struct tree_visit *visit,
                      uint64_t *pages);

/* Notes a page as met; CORRUPT when it is outside of the file or was met before. */
enum status tree_meet(struct tree_file *file, const char *name, uint64_t page);

/* Reads bytes of the file; a short file is CORRUPT. */
enum status tree_read(struct tree_file *file, void *bytes, size_t count, uint64_t offset);

#endif
