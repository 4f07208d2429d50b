#include "store_lmdb_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_lmdb.h"

/* LMDB's marks on pages and entries. */
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4 };
enum { ENTRY_OVERFLOW = 1, ENTRY_DATABASE = 2, ENTRY_HEAD_BYTES = 8 };

#define ROOT_NONE UINT64_MAX

struct span {
    const uint8_t *bytes; /* NULL: no bound */
    size_t count;
};

struct level {
    uint8_t *page;
    uint64_t number;
    unsigned count; /* of entries */
    unsigned at;
    struct span low;  /* first key that may be below */
    struct span high; /* first key that may not */
};

struct node {
    struct span key;
    uint64_t page; /* branch: the child */
    unsigned flags;
    size_t count; /* leaf: of the value */
    const uint8_t *data;
};

struct walk {
    struct tree_file *file;
    const struct tree_db *db;
    const struct tree_visit *visit;
    struct level levels[TREE_DEPTH_MAX];
    struct tree_db counted;
};

static unsigned read_u16(const uint8_t *bytes)
{
    return bytes[0] | (unsigned)bytes[1] << 8;
}

static enum status damaged(const struct walk *walk, uint64_t page, const char *what)
{
    store_lmdb_say(walk->file->why, "table %s, page %" PRIu64 " of data.mdb: %s", walk->visit->name,
                   page, what);
    return STATUS_CORRUPT;
}

enum status tree_meet(struct tree_file *file, const char *name, uint64_t page)
{
    const char *what = NULL;
    if (page < 2 || page > file->page_last)
        what = "is outside of the file";
    else if (file->met[page / 8] & 1u << page % 8)
        what = "is used twice";
    if (what) {
        store_lmdb_say(file->why, "table %s, page %" PRIu64 " of data.mdb %s", name, page, what);
        return STATUS_CORRUPT;
    }
    file->met[page / 8] |= (uint8_t)(1u << page % 8);
    file->met_count++;
    if (page > file->page_highest)
        file->page_highest = page;
    return STATUS_OK;
}

enum status tree_read(struct tree_file *file, void *bytes, size_t count, uint64_t offset)
{
    size_t done = 0;
    while (done < count) {
        ssize_t got =
            pread(file->fd, (uint8_t *)bytes + done, count - done, (off_t)(offset + done));
        if (got > 0) {
            done += (size_t)got;
        } else if (got == 0) {
            store_lmdb_say(file->why, "data.mdb ends before byte %" PRIu64 ": it was cut off",
                           offset + count);
            return STATUS_CORRUPT;
        } else if (errno != EINTR) {
            store_lmdb_say(file->why, "cannot read data.mdb at byte %" PRIu64 ": %s", offset + done,
                           strerror(errno));
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

/* --- one page -------------------------------------------------------------------------------- */

static bool node_read(const struct walk *walk, const struct level *level, unsigned i, bool leaf,
                      struct node *node)
{
    const uint8_t *page = level->page;
    size_t offset = read_u16(page + TREE_PAGE_HEAD_BYTES + 2 * (size_t)i);
    size_t page_bytes = walk->file->page_bytes;
    if (offset < read_u16(page + 14) || offset % 2 || offset + ENTRY_HEAD_BYTES > page_bytes)
        return false;
    const uint8_t *at = page + offset;
    uint64_t low = read_u16(at) | (uint64_t)read_u16(at + 2) << 16;
    node->flags = read_u16(at + 4);
    node->key = (struct span){at + ENTRY_HEAD_BYTES, read_u16(at + 6)};
    node->count = leaf ? (size_t)low : 0;
    node->page = leaf ? 0 : low | (uint64_t)node->flags << 32;
    node->data = node->key.bytes + node->key.count;
    size_t inline_bytes = leaf && node->flags & ENTRY_OVERFLOW ? sizeof(node->page) : node->count;
    if (offset + ENTRY_HEAD_BYTES + node->key.count + inline_bytes > page_bytes)
        return false;
    if (leaf && node->flags & ENTRY_OVERFLOW) {
        memcpy(&node->page, node->data, sizeof(node->page));
        node->data = NULL;
    }
    return true;
}

/* Negative, 0, positive, as memcmp. */
static int compare(const struct walk *walk, struct span a, struct span b)
{
    if (walk->visit->native_keys && a.count == sizeof(uint64_t) && b.count == sizeof(uint64_t)) {
        uint64_t x = 0;
        uint64_t y = 0;
        memcpy(&x, a.bytes, sizeof(x));
        memcpy(&y, b.bytes, sizeof(y));
        return x < y ? -1 : x > y;
    }
    int order = memcmp(a.bytes, b.bytes, a.count < b.count ? a.count : b.count);
    if (order)
        return order;
    return a.count < b.count ? -1 : a.count > b.count;
}

/* Keys rise, and lie within the bounds that the pages above give. The first key of a branch page
 * means nothing. */
static enum status check_order(const struct walk *walk, const struct level *level, bool leaf)
{
    struct span last = {0};
    struct node node;
    for (unsigned i = 0; i < level->count; i++) {
        if (!node_read(walk, level, i, leaf, &node))
            return damaged(walk, level->number, "an entry does not lie within the page");
        if (!leaf && i == 0)
            continue;
        bool right_size = !walk->visit->native_keys || node.key.count == sizeof(uint64_t);
        if (!node.key.count || !right_size || (last.bytes && compare(walk, last, node.key) >= 0) ||
            (level->low.bytes && compare(walk, node.key, level->low) < 0) ||
            (level->high.bytes && compare(walk, node.key, level->high) >= 0))
            return damaged(walk, level->number, "its keys are out of order");
        last = node.key;
    }
    return STATUS_OK;
}

/* Reads a page of a tree, whose head says what it is. */
static enum status head_read(const struct walk *walk, struct level *level, unsigned *flags)
{
    struct tree_file *file = walk->file;
    enum status status =
        tree_read(file, level->page, file->page_bytes, level->number * file->page_bytes);
    if (status)
        return status;
    uint64_t number = 0;
    memcpy(&number, level->page, sizeof(number));
    *flags = read_u16(level->page + 10);
    unsigned lower = read_u16(level->page + 12);
    unsigned upper = read_u16(level->page + 14);
    if (number != level->number)
        return damaged(walk, level->number, "is not the page that should be there");
    if (*flags == PAGE_OVERFLOW)
        return STATUS_OK;
    if (lower <= TREE_PAGE_HEAD_BYTES || lower % 2 || upper < lower || upper > file->page_bytes)
        return damaged(walk, level->number, "its head is damaged");
    level->count = (lower - TREE_PAGE_HEAD_BYTES) / 2;
    level->at = 0;
    return STATUS_OK;
}

static enum status page_read(struct walk *walk, struct level *level, bool leaf)
{
    unsigned flags = 0;
    enum status status = tree_meet(walk->file, walk->visit->name, level->number);
    if (!status)
        status = head_read(walk, level, &flags);
    if (status)
        return status;
    if (flags != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        return damaged(walk, level->number, "is not the page that should be there");
    if (leaf)
        walk->counted.leaf_pages++;
    else
        walk->counted.branch_pages++;
    return check_order(walk, level, leaf);
}

/* --- values ---------------------------------------------------------------------------------- */

static enum status check_overflow(struct walk *walk, const struct node *node)
{
    struct tree_file *file = walk->file;
    uint8_t head[TREE_PAGE_HEAD_BYTES];
    enum status status = tree_meet(file, walk->visit->name, node->page);
    if (!status)
        status = tree_read(file, head, sizeof(head), node->page * file->page_bytes);
    if (status)
        return status;
    uint64_t number = 0;
    uint32_t pages = 0;
    memcpy(&number, head, sizeof(number));
    memcpy(&pages, head + 12, sizeof(pages));
    size_t needed = (sizeof(head) - 1 + node->count) / file->page_bytes + 1;
    if (number != node->page || read_u16(head + 10) != PAGE_OVERFLOW || pages < needed)
        return damaged(walk, node->page, "is not the page that should be there");
    for (uint32_t i = 1; i < pages && !status; i++)
        status = tree_meet(file, walk->visit->name, node->page + i);
    walk->counted.overflow_pages += pages;
    /* The last byte: what is cut off must not be read through a map. */
    uint8_t last = 0;
    uint64_t end = node->page * file->page_bytes + sizeof(head) + node->count;
    return status ? status : tree_read(file, &last, 1, end - 1);
}

static struct tree_entry entry_of(const struct walk *walk, const struct level *level,
                                  const struct node *node)
{
    uint64_t offset =
        node->data ? level->number * walk->file->page_bytes + (size_t)(node->data - level->page)
                   : node->page * walk->file->page_bytes + TREE_PAGE_HEAD_BYTES;
    return (struct tree_entry){
        .key = node->key.bytes,
        .key_count = node->key.count,
        .is_database = node->flags & ENTRY_DATABASE,
        .data = node->data,
        .page = node->page,
        .count = node->count,
        .offset = offset,
    };
}

static enum status visit_leaf(struct walk *walk, const struct level *level)
{
    struct node node;
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < level->count && !status; i++) {
        if (!node_read(walk, level, i, true, &node) ||
            node.flags & ~(unsigned)(ENTRY_OVERFLOW | ENTRY_DATABASE))
            return damaged(walk, level->number, "an entry is damaged");
        if (!node.data)
            status = check_overflow(walk, &node);
        struct tree_entry entry = entry_of(walk, level, &node);
        walk->counted.entries++;
        if (!status && walk->visit->entry)
            status = walk->visit->entry(walk->file, &entry, walk->visit->user);
        else if (!status && entry.is_database)
            return damaged(walk, level->number, "an entry is damaged");
    }
    return status;
}

/* --- the tree -------------------------------------------------------------------------------- */

/* The child that is next in `above`, with the bounds that follow from its neighbours. */
static void descend(const struct walk *walk, struct level *above, struct level *below)
{
    struct node node = {0};
    struct node after = {0};
    node_read(walk, above, above->at, false, &node); /* cannot fail: check_order read them all */
    below->number = node.page;
    below->low = above->at ? node.key : above->low;
    below->high = above->high;
    if (above->at + 1 < above->count) {
        node_read(walk, above, above->at + 1, false, &after);
        below->high = after.key;
    }
    above->at++;
}

static enum status walk_levels(struct walk *walk)
{
    unsigned depth = 0; /* of the level that is current */
    walk->levels[0].number = walk->db->root;
    enum status status = page_read(walk, &walk->levels[0], walk->db->depth == 1);
    if (!status && walk->db->depth == 1)
        return visit_leaf(walk, &walk->levels[0]);
    /* Ends: no page is met twice. */
    while (!status) {
        struct level *level = &walk->levels[depth];
        if (level->at == level->count) {
            if (depth == 0)
                return STATUS_OK;
            depth--;
            continue;
        }
        bool leaf = depth + 2 == walk->db->depth;
        descend(walk, level, level + 1);
        status = page_read(walk, level + 1, leaf);
        if (!status && leaf)
            status = visit_leaf(walk, level + 1);
        else
            depth++;
    }
    return status;
}

static bool counts_match(const struct tree_db *a, const struct tree_db *b)
{
    return a->branch_pages == b->branch_pages && a->leaf_pages == b->leaf_pages &&
           a->overflow_pages == b->overflow_pages && a->entries == b->entries;
}

enum status tree_walk(struct tree_file *file, const struct tree_db *db,
                      const struct tree_visit *visit)
{
    struct walk walk = {.file = file, .db = db, .visit = visit};
    enum status status = STATUS_OK;
    if (db->depth > TREE_DEPTH_MAX || (db->depth == 0) != (db->root == ROOT_NONE))
        return damaged(&walk, db->root, "the table's description is damaged");
    if (db->depth) {
        uint8_t *pages = malloc(db->depth * file->page_bytes);
        if (!pages)
            return STATUS_NO_MEMORY;
        for (unsigned i = 0; i < db->depth; i++)
            walk.levels[i].page = pages + i * file->page_bytes;
        status = walk_levels(&walk);
        free(pages);
    }
    if (!status && !counts_match(&walk.counted, db))
        return damaged(&walk, db->root, "the table has other counts than its description");
    return status;
}

/* --- one page by itself ---------------------------------------------------------------------- */

/* Goes on behind entries that are damaged. */
static enum status scan_leaf(const struct walk *walk, const struct level *level)
{
    enum status found = STATUS_OK;
    for (unsigned i = 0; i < level->count; i++) {
        struct node node;
        if (!node_read(walk, level, i, true, &node) ||
            node.flags & ~(unsigned)(ENTRY_OVERFLOW | ENTRY_DATABASE)) {
            found = damaged(walk, level->number, "an entry is damaged");
            continue;
        }
        struct tree_entry entry = entry_of(walk, level, &node);
        enum status status = walk->visit->entry(walk->file, &entry, walk->visit->user);
        if (status)
            return status;
    }
    return found;
}

enum status tree_scan(struct tree_file *file, uint64_t page, const struct tree_visit *visit,
                      uint64_t *pages)
{
    struct walk walk = {.file = file, .visit = visit};
    struct level level = {.number = page, .page = malloc(file->page_bytes)};
    unsigned flags = 0;
    *pages = 1;
    if (!level.page)
        return STATUS_NO_MEMORY;
    enum status status = head_read(&walk, &level, &flags);
    if (!status && flags == PAGE_LEAF) {
        status = scan_leaf(&walk, &level);
    } else if (!status && flags == PAGE_OVERFLOW) {
        uint32_t count = 0;
        memcpy(&count, level.page + 12, sizeof(count));
        if (count && page + count - 1 <= file->page_last)
            *pages = count;
        else
            status = damaged(&walk, page, "its head is damaged");
    } else if (!status && flags != PAGE_BRANCH) {
        status = damaged(&walk, page, "is not a page of a table");
    }
    free(level.page);
    return status;
}
