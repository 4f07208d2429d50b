/* store_lmdb_snapshot.h - one header of an LMDB 0.9 file and the tables that it leads to, read
 * without LMDB. store_lmdb_pages.c demands that all of it is whole, store_lmdb_scavenge.c takes
 * what there is. */
#ifndef EVERDUE_STORE_LMDB_SNAPSHOT_H
#define EVERDUE_STORE_LMDB_SNAPSHOT_H

#include "store_lmdb.h"
#include "store_lmdb_tree.h"

enum {
    SNAPSHOT_TABLES_MAX = 16,
    SNAPSHOT_NAME_BYTES = 32,
    SNAPSHOT_SLACK_BYTES = 64 << 20, /* pages at the end that were freed before they were written */
};

/* As in the file, behind the page's head. */
struct snapshot_header {
    uint32_t magic;
    uint32_t version;
    uint64_t address;
    uint64_t map_bytes;
    struct tree_db free;
    struct tree_db main;
    uint64_t page_last;
    uint64_t transaction;
};
_Static_assert(sizeof(struct snapshot_header) == 136, "as in the file");

struct snapshot_table {
    char name[SNAPSHOT_NAME_BYTES];
    struct tree_db db;
};

struct snapshot {
    struct tree_file file;
    const struct snapshot_header *header;
    struct snapshot_table tables[SNAPSHOT_TABLES_MAX];
    unsigned table_count;
    struct store_lmdb_info info;
    bool info_found;
    uint64_t free;
};

/* Header 0 tells the size of pages, which leads to header 1; file->page_bytes is set by either. */
enum status snapshot_header_read(struct tree_file *file, unsigned slot,
                                 struct snapshot_header *header);

/* Reads the whole of it, or (not `whole`) only as much as leads to `info`. */
enum status snapshot_walk(struct snapshot *snapshot, bool whole);

/* Its parts, with file.met the caller's: the list of tables, one table, the list of free pages. */
enum status snapshot_walk_main(struct snapshot *snapshot);
enum status snapshot_walk_free(struct snapshot *snapshot);

#endif
