/* store_lmdb_scavenge.c - finds the values of a damaged LMDB file without trusting a byte of it.
 *
 * LMDB copies what it changes, so a file is full of pages of older times: complete, with checksums
 * that match, and wrong. Only two things tell them from those that count: a tree that is whole from
 * its root on, or the list of free pages.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_lmdb_snapshot.h"

struct candidate {
    struct snapshot_header header;
    bool is_read;
    bool is_usable; /* the list of tables or that of free pages is whole */
    uint64_t transaction;
};

struct search {
    struct store_lmdb_scavenger *scavenger;
    struct snapshot snapshot;
    uint64_t file_pages;
    int table;           /* of the tree under way */
    const uint8_t *free; /* a bit for each page that does not count; NULL: trees are walked */
};

/* --- headers --------------------------------------------------------------------------------- */

/* Its number, as `info` has it: the header's own may be damaged, and then the other one would be
 * taken for the newest. NO_MEMORY, or OK. */
static enum status weigh(const struct tree_file *file, struct candidate *candidate)
{
    char why[STORE_WHY_BYTES];
    struct snapshot part = {.file = *file, .header = &candidate->header};
    struct snapshot list = {.file = *file, .header = &candidate->header};
    part.file.why = list.file.why = why;
    candidate->transaction = candidate->header.transaction;
    enum status status = snapshot_walk(&part, false);
    if (!status) {
        candidate->transaction = part.info.transaction;
        candidate->is_usable = true;
    }
    if (!status || status == STATUS_NO_MEMORY)
        return status;
    list.file.met = calloc(file->page_last / 8 + 1, 1);
    if (!list.file.met)
        return STATUS_NO_MEMORY;
    status = snapshot_walk_free(&list);
    candidate->is_usable = !status;
    free(list.file.met);
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

static bool header_read(struct tree_file *file, unsigned slot, struct candidate *candidate)
{
    candidate->is_read = snapshot_header_read(file, slot, &candidate->header) == STATUS_OK;
    return candidate->is_read;
}

/* Where header 0 does not tell the size of pages, header 1 stands where it says that it does. */
static void headers_read(struct tree_file *file, struct candidate candidates[2])
{
    file->page_bytes = 0;
    if (header_read(file, 0, &candidates[0])) {
        header_read(file, 1, &candidates[1]);
        return;
    }
    for (uint64_t bytes = 512; bytes <= 65536 && !candidates[1].is_read; bytes *= 2) {
        file->page_bytes = bytes;
        header_read(file, 1, &candidates[1]);
    }
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
    if (a->is_usable != b->is_usable)
        return a->is_usable;
    return a->transaction > b->transaction;
}

/* Whether the last commit may have been another than this one, for all that header says. The header
 * that was chosen says so itself when it leads to the tables of an older one. */
static bool may_be_newer(const struct candidate *candidate, uint64_t transaction)
{
    return !candidate->is_read || candidate->transaction > transaction ||
           candidate->header.transaction > transaction;
}

/* CORRUPT: neither can be read. */
static enum status choose(const struct search *search, struct candidate candidates[2],
                          const struct candidate **chosen)
{
    const struct store_lmdb_scavenger *scavenger = search->scavenger;
    char text[STORE_WHY_BYTES];
    for (unsigned slot = 0; slot < 2; slot++) {
        enum status status = STATUS_OK;
        if (candidates[slot].is_read)
            status = weigh(&search->snapshot.file, &candidates[slot]);
        if (status)
            return status;
    }
    unsigned slot = candidates[1].is_read &&
                    (!candidates[0].is_read || is_better(&candidates[1], &candidates[0]));
    if (!candidates[slot].is_read) {
        store_lmdb_say(search->snapshot.file.why,
                       "both headers of data.mdb are damaged: nothing can be found");
        return STATUS_CORRUPT;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!may_be_newer(&candidates[i], candidates[slot].transaction))
            continue;
        store_lmdb_say(text,
                       "data.mdb, header %u is damaged: if it was the newer one, what the "
                       "last commit changed is as it was before",
                       i);
        scavenger->lost(text, scavenger->user);
    }
    *chosen = &candidates[slot];
    return STATUS_OK;
}

/* --- values ---------------------------------------------------------------------------------- */

static enum status take_entry(struct tree_file *file, const struct tree_entry *entry, void *user)
{
    const struct search *search = user;
    const struct store_lmdb_scavenger *scavenger = search->scavenger;
    char text[STORE_WHY_BYTES];
    if (entry->is_database)
        return STATUS_OK;
    bool is_old =
        search->free && !entry->data &&
        (entry->page > file->page_last || search->free[entry->page / 8] & 1u << entry->page % 8);
    if (is_old) {
        store_lmdb_say(text, "page %" PRIu64 " of data.mdb is no page of a value", entry->page);
        scavenger->lost(text, scavenger->user);
        return STATUS_OK;
    }
    const struct store_lmdb_value value = {
        .key = {.mv_size = entry->key_count, .mv_data = (void *)(uintptr_t)entry->key},
        .offset = entry->offset,
        .count = entry->count,
        .table = search->free ? -1 : search->table,
    };
    return scavenger->value(&value, scavenger->user);
}

/* --- trees ----------------------------------------------------------------------------------- */

static int table_number(const char *name)
{
    for (int i = 0; i < STORE_LMDB_TABLES; i++)
        if (strcmp(store_lmdb_table_names[i], name) == 0)
            return i;
    return -1;
}

static bool is_damage(enum status status)
{
    return status == STATUS_CORRUPT || status == STATUS_IO || status == STATUS_VERSION;
}

/* Each tree as far as it is whole. *whole: all of them are, and the list of free pages. */
static enum status walk_trees(struct search *search, bool *whole)
{
    struct store_lmdb_scavenger *scavenger = search->scavenger;
    struct snapshot *snapshot = &search->snapshot;
    unsigned known = 0;
    enum status status = snapshot_walk_main(snapshot);
    *whole = !status;
    if (status && !is_damage(status))
        return status;
    for (unsigned i = 0; !status && i < snapshot->table_count; i++) {
        const struct snapshot_table *table = &snapshot->tables[i];
        search->table = table_number(table->name);
        if (search->table < 0)
            continue;
        known++;
        scavenger->counts[search->table] = table->db.entries;
        const struct tree_visit visit = {table->name, false, take_entry, search};
        status = tree_walk(&snapshot->file, &table->db, &visit);
        if (!is_damage(status) && status)
            return status;
        if (status)
            scavenger->note(snapshot->file.why, scavenger->user);
        *whole = *whole && !status;
        status = STATUS_OK;
    }
    scavenger->has_counts = !status && known == STORE_LMDB_TABLES;
    if (!status && *whole)
        status = snapshot_walk_free(snapshot);
    *whole = *whole && !status && scavenger->has_counts;
    if (status && !is_damage(status))
        return status;
    if (status)
        scavenger->note(snapshot->file.why, scavenger->user);
    return STATUS_OK;
}

/* --- pages ----------------------------------------------------------------------------------- */

static enum status scan_pages(struct search *search)
{
    struct store_lmdb_scavenger *scavenger = search->scavenger;
    struct tree_file *file = &search->snapshot.file;
    const struct tree_visit visit = {"of unknown name", false, take_entry, search};
    uint64_t pages = 1;
    for (uint64_t page = 2; page <= file->page_last && page < search->file_pages; page += pages) {
        pages = 1;
        if (search->free[page / 8] & 1u << page % 8)
            continue;
        enum status status = tree_scan(file, page, &visit, &pages);
        if (is_damage(status))
            scavenger->lost(file->why, scavenger->user);
        else if (status)
            return status;
    }
    return STATUS_OK;
}

static enum status scan_what_is_not_free(struct search *search)
{
    struct store_lmdb_scavenger *scavenger = search->scavenger;
    struct tree_file *file = &search->snapshot.file;
    memset(file->met, 0, file->page_last / 8 + 1);
    enum status status = snapshot_walk_free(&search->snapshot);
    if (is_damage(status)) {
        scavenger->lost("the list of free pages of data.mdb is damaged, too: what lies behind the "
                        "damaged pages cannot be told from what is older",
                        scavenger->user);
        return STATUS_OK;
    }
    if (status)
        return status;
    scavenger->restart(scavenger->user);
    search->free = file->met;
    if (file->page_last >= search->file_pages)
        scavenger->lost("data.mdb is cut off, or its header is damaged", scavenger->user);
    return scan_pages(search);
}

/* --- all ------------------------------------------------------------------------------------- */

enum status store_lmdb_scavenge(struct store_lmdb_scavenger *scavenger, char *why)
{
    struct stat found;
    struct candidate candidates[2] = {{.is_read = false}};
    struct search search = {.scavenger = scavenger};
    struct tree_file *file = &search.snapshot.file;
    *file = (struct tree_file){.fd = scavenger->fd, .why = why};
    if (fstat(scavenger->fd, &found)) {
        store_lmdb_say(why, "cannot look at data.mdb: %s", strerror(errno));
        return STATUS_IO;
    }
    /* For pages of the smallest size: how large they are is not known yet. */
    file->page_last = ((uint64_t)found.st_size + SNAPSHOT_SLACK_BYTES) / 512;
    headers_read(file, candidates);
    const struct candidate *candidate = NULL;
    enum status status = choose(&search, candidates, &candidate);
    if (status)
        return status;
    search.file_pages = (uint64_t)found.st_size / file->page_bytes;
    uint64_t most = search.file_pages + SNAPSHOT_SLACK_BYTES / file->page_bytes;
    search.snapshot.header = &candidate->header;
    file->page_last = candidate->header.page_last < most ? candidate->header.page_last : most;
    file->met = calloc(file->page_last / 8 + 1, 1);
    if (!file->met)
        return STATUS_NO_MEMORY;
    bool is_whole = false;
    status = walk_trees(&search, &is_whole);
    if (!status && !is_whole)
        status = scan_what_is_not_free(&search);
    free(file->met);
    return status;
}
