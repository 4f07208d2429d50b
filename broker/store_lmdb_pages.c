/* store_lmdb_pages.c - an LMDB file as a whole: its two headers, its tables, its free pages.
 *
 * LMDB writes its headers in turn, so the older one is the last commit but one; its header carries
 * no checksum. Each of our transactions therefore stores its own number in `info`, and a header is
 * believed when both agree. When the write of a header fails, LMDB sets its number back and leaves
 * the rest; the same bytes are left when the newest header's number is damaged, and then a commit
 * that was acknowledged would be gone in silence. Both are mended alike: what was committed
 * completely and is the newer one's successor gets its number back.
 */
#include "store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_lmdb_snapshot.h"

enum {
    PAGE_META = 8,
    HEADER_VERSION = 1,
    FLAGS_FREE = 8,           /* of the free list's description: native keys */
    FLAGS_FREE_FILE = 0x4000, /* and with it: made as a file, not in a directory; means nothing */
};
#define HEADER_MAGIC 0xBEEFC0DEu

/* --- what is in the tables ------------------------------------------------------------------- */

static enum status note_table(struct tree_file *file, const struct tree_entry *entry, void *user)
{
    struct snapshot *snapshot = user;
    struct snapshot_table *table = &snapshot->tables[snapshot->table_count];
    if (snapshot->table_count == SNAPSHOT_TABLES_MAX || !entry->is_database || !entry->data ||
        entry->count != sizeof(table->db) || entry->key_count >= sizeof(table->name)) {
        store_lmdb_say(file->why, "data.mdb: its list of tables is damaged");
        return STATUS_CORRUPT;
    }
    memcpy(table->name, entry->key, entry->key_count);
    memcpy(&table->db, entry->data, sizeof(table->db));
    if (table->db.flags || table->db.pad) {
        store_lmdb_say(file->why, "table %s: its description is damaged", table->name);
        return STATUS_CORRUPT;
    }
    snapshot->table_count++;
    return STATUS_OK;
}

static enum status note_info(struct tree_file *file, const struct tree_entry *entry, void *user)
{
    struct snapshot *snapshot = user;
    if (!entry->data || entry->is_database) {
        store_lmdb_say(file->why, "table info: not a store of everdue");
        return STATUS_CORRUPT;
    }
    MDB_val value = {.mv_size = entry->count, .mv_data = (void *)(uintptr_t)entry->data};
    snapshot->info_found = true;
    return store_lmdb_info_read(&value, &snapshot->info, file->why);
}

/* A value of the free list: a count, then so many page numbers. */
static enum status note_free(struct tree_file *file, const struct tree_entry *entry, void *user)
{
    struct snapshot *snapshot = user;
    uint64_t chunk[512];
    uint64_t count = 0;
    size_t room = entry->count / sizeof(count);
    uint64_t offset = entry->page * file->page_bytes + TREE_PAGE_HEAD_BYTES;
    enum status status = STATUS_OK;
    for (size_t at = 0; at < room && at <= count && !status; at += 512) {
        size_t items = room - at < 512 ? room - at : 512;
        if (entry->data)
            memcpy(chunk, entry->data + at * sizeof(count), items * sizeof(count));
        else
            status = tree_read(file, chunk, items * sizeof(count), offset + at * sizeof(count));
        if (!status && at == 0)
            count = chunk[0];
        for (size_t i = at == 0; i < items && at + i <= count && !status; i++)
            status = tree_meet(file, "of free pages", chunk[i]);
    }
    if (!status && (count >= room || entry->is_database)) {
        store_lmdb_say(file->why, "data.mdb: its list of free pages is damaged");
        status = STATUS_CORRUPT;
    }
    snapshot->free += count;
    return status;
}

/* --- a snapshot ------------------------------------------------------------------------------ */

enum status snapshot_walk_main(struct snapshot *snapshot)
{
    const struct tree_visit visit = {"of tables", false, note_table, snapshot};
    return tree_walk(&snapshot->file, &snapshot->header->main, &visit);
}

enum status snapshot_walk_free(struct snapshot *snapshot)
{
    const struct tree_visit visit = {"of free pages", true, note_free, snapshot};
    return tree_walk(&snapshot->file, &snapshot->header->free, &visit);
}

enum status snapshot_walk(struct snapshot *snapshot, bool whole)
{
    struct tree_file *file = &snapshot->file;
    file->met = calloc(file->page_last / 8 + 1, 1);
    if (!file->met)
        return STATUS_NO_MEMORY;
    enum status status = snapshot_walk_main(snapshot);
    for (unsigned i = 0; i < snapshot->table_count && !status; i++) {
        const struct snapshot_table *table = &snapshot->tables[i];
        bool is_info = strcmp(table->name, store_lmdb_table_names[STORE_LMDB_INFO]) == 0;
        struct tree_visit visit = {table->name, false, is_info ? note_info : NULL, snapshot};
        if (is_info || whole)
            status = tree_walk(file, &table->db, &visit);
    }
    if (whole && !status)
        status = snapshot_walk_free(snapshot);
    free(file->met);
    file->met = NULL;
    if (!status && !snapshot->info_found) {
        store_lmdb_say(file->why, "data.mdb has no table info: not a store of everdue");
        status = STATUS_CORRUPT;
    }
    return status;
}

/* --- the file -------------------------------------------------------------------------------- */

enum status snapshot_header_read(struct tree_file *file, unsigned slot,
                                 struct snapshot_header *header)
{
    uint8_t head[TREE_PAGE_HEAD_BYTES];
    uint64_t number = 0;
    uint16_t flags = 0;
    uint64_t offset = slot * file->page_bytes;
    enum status status = tree_read(file, head, sizeof(head), offset);
    if (!status)
        status = tree_read(file, header, sizeof(*header), offset + sizeof(head));
    if (status)
        return status;
    memcpy(&number, head, sizeof(number));
    memcpy(&flags, head + 10, sizeof(flags));
    uint32_t page_bytes = header->free.pad; /* where LMDB keeps it */
    if (number != slot || flags != PAGE_META || header->magic != HEADER_MAGIC ||
        header->version != HEADER_VERSION ||
        (header->free.flags & ~FLAGS_FREE_FILE) != FLAGS_FREE || header->main.flags ||
        page_bytes < 512 || page_bytes > 65536 || page_bytes & (page_bytes - 1) ||
        (slot && page_bytes != file->page_bytes)) {
        store_lmdb_say(file->why, "data.mdb: header %u is damaged, or not of LMDB 0.9", slot);
        return STATUS_CORRUPT;
    }
    file->page_bytes = page_bytes;
    return STATUS_OK;
}

static enum status headers_read(struct tree_file *file, struct snapshot_header headers[2])
{
    file->page_bytes = 0;
    enum status status = snapshot_header_read(file, 0, &headers[0]);
    return status ? status : snapshot_header_read(file, 1, &headers[1]);
}

/* What the loads and commits to come will read: in one go, as far as it fits memory. */
static void read_ahead(int fd, uint64_t bytes)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (bytes < memory / 2)
        posix_fadvise(fd, 0, (off_t)bytes, POSIX_FADV_WILLNEED);
}

/* Sets a header's number to that of the transaction that it really describes. All of it is written:
 * what LMDB left there was never synced, and the number alone, on a disk that has the header of
 * before, would describe nothing. */
static enum status header_set_forward(const struct tree_file *file, unsigned slot,
                                      const struct snapshot_header *header)
{
    uint64_t offset = slot * file->page_bytes + TREE_PAGE_HEAD_BYTES;
    if (pwrite(file->fd, header, sizeof(*header), (off_t)offset) != (ssize_t)sizeof(*header) ||
        fdatasync(file->fd)) {
        store_lmdb_say(file->why, "cannot write the header of data.mdb: %s", strerror(errno));
        return STATUS_IO;
    }
    return STATUS_OK;
}

/* Whether the older header is really the newest, and all that it describes is there. What else may
 * be wrong with it does not matter: LMDB will overwrite it. */
static bool older_is_successor(const struct tree_file *file, const struct snapshot_header *older,
                               const struct snapshot_header *newest, uint64_t *page_last)
{
    char why[STORE_WHY_BYTES];
    struct snapshot part = {.file = *file, .header = older};
    struct snapshot whole = {.file = *file, .header = older};
    part.file.why = why;
    whole.file.why = why;
    if (snapshot_walk(&part, false) || part.info.transaction != newest->transaction + 1 ||
        snapshot_walk(&whole, true))
        return false;
    *page_last = whole.file.page_highest;
    if (*page_last < newest->page_last)
        *page_last = newest->page_last;
    return true;
}

static enum status mend_headers(struct tree_file *file, struct snapshot_header headers[2],
                                bool *repaired)
{
    unsigned slot = headers[1].transaction > headers[0].transaction;
    uint64_t page_last = 0;
    *repaired = older_is_successor(file, &headers[!slot], &headers[slot], &page_last);
    if (!*repaired)
        return STATUS_OK;
    headers[!slot].page_last = page_last;
    headers[!slot].transaction = headers[slot].transaction + 1;
    enum status status = header_set_forward(file, !slot, &headers[!slot]);
    return status ? status : headers_read(file, headers);
}

static enum status check_newest(const struct tree_file *file,
                                const struct snapshot_header headers[2],
                                struct store_lmdb_pages *pages)
{
    unsigned slot = headers[1].transaction > headers[0].transaction;
    const struct snapshot_header *newest = &headers[slot];
    struct snapshot snapshot = {.file = *file, .header = newest};
    if (newest->page_last > file->page_last) {
        store_lmdb_say(file->why, "data.mdb is cut off, or its header is damaged");
        return STATUS_CORRUPT;
    }
    snapshot.file.page_last = newest->page_last;
    enum status status = snapshot_walk(&snapshot, true);
    if (!status && snapshot.info.transaction != newest->transaction) {
        store_lmdb_say(file->why, "data.mdb: the number of header %u is damaged", slot);
        status = STATUS_CORRUPT;
    }
    pages->page_bytes = file->page_bytes;
    pages->transaction = newest->transaction;
    pages->free = snapshot.free;
    pages->in_use = 2 + snapshot.file.met_count - snapshot.free;
    pages->leaked = newest->page_last + 1 - pages->in_use - pages->free;
    return status;
}

static enum status check_open_file(struct tree_file *file, struct store_lmdb_pages *pages)
{
    struct stat found;
    struct snapshot_header headers[2];
    if (fstat(file->fd, &found)) {
        store_lmdb_say(file->why, "cannot look at data.mdb: %s", strerror(errno));
        return STATUS_IO;
    }
    enum status status = headers_read(file, headers);
    if (status)
        return status;
    read_ahead(file->fd, (uint64_t)found.st_size);
    file->page_last = ((uint64_t)found.st_size + SNAPSHOT_SLACK_BYTES) / file->page_bytes;
    status = mend_headers(file, headers, &pages->repaired);
    return status ? status : check_newest(file, headers, pages);
}

enum status store_lmdb_pages_check(const char *directory, struct store_lmdb_pages *pages, char *why)
{
    char path[STORE_LMDB_PATH_BYTES + 16];
    struct tree_file file = {.why = why};
    memset(pages, 0, sizeof(*pages));
    snprintf(path, sizeof(path), "%s/data.mdb", directory);
    file.fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (file.fd < 0) {
        store_lmdb_say(why, "cannot open %s: %s", path, strerror(errno));
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    enum status status = check_open_file(&file, pages);
    close(file.fd);
    return status;
}
