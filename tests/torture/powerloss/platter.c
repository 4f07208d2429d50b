/* platter.c - taking the log in. */
#include "platter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platter_private.h"

/* --- memory ---------------------------------------------------------------------------------- */

bool platter_room(void **items, size_t *room, size_t count, size_t item_bytes)
{
    if (count < *room)
        return true;
    size_t wanted = *room ? 2 * *room : 64;
    void *grown = realloc(*items, wanted * item_bytes);
    if (!grown)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

bool platter_content_grow(struct content *content, size_t count)
{
    if (count > content->room) {
        size_t room = 2 * count;
        uint8_t *grown = realloc(content->bytes, room);
        if (!grown)
            return false;
        memset(grown + content->room, 0, room - content->room);
        content->bytes = grown;
        content->room = room;
    }
    if (count > content->count)
        content->count = count;
    return true;
}

static void content_cut(struct content *content, size_t count)
{
    if (count >= content->count)
        return;
    memset(content->bytes + count, 0, content->count - count);
    content->count = count;
}

static struct inode *inode_new(struct platter *platter, bool is_directory)
{
    struct inode *inode = calloc(1, sizeof(*inode));
    if (!inode)
        return NULL;
    inode->is_directory = is_directory;
    inode->number = ++platter->inode_count;
    inode->next = platter->inodes;
    platter->inodes = inode;
    return inode;
}

struct platter *platter_new(unsigned ignored)
{
    struct platter *platter = calloc(1, sizeof(*platter));
    if (!platter)
        return NULL;
    platter->ignored = ignored;
    platter->root = inode_new(platter, true);
    if (!platter->root)
        platter_destroy(&platter);
    return platter;
}

void platter_destroy(struct platter **platter)
{
    if (!*platter)
        return;
    struct inode *inode = (*platter)->inodes;
    while (inode) {
        struct inode *next = inode->next;
        free(inode->durable.bytes);
        free(inode->current.bytes);
        free(inode->changes);
        free(inode->name_changes);
        free(inode);
        inode = next;
    }
    free((*platter)->handles);
    free(*platter);
    *platter = NULL;
}

/* --- names ----------------------------------------------------------------------------------- */

struct inode *platter_names_find(const struct names *names, const char *text)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (names->list[i].text[0] && strcmp(names->list[i].text, text) == 0)
            return names->list[i].inode;
    }
    return NULL;
}

static struct name *slot_of(struct names *names, const char *text)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    }
    return NULL;
}

/* False: too many names. */
bool platter_names_apply(struct names *names, const struct name_change *change)
{
    struct name *gone = change->removed[0] ? slot_of(names, change->removed) : NULL;
    if (gone)
        *gone = (struct name){0};
    if (!change->added[0])
        return true;
    struct name *slot = slot_of(names, change->added);
    if (!slot)
        slot = slot_of(names, "");
    if (!slot)
        return false;
    memcpy(slot->text, change->added, sizeof(slot->text));
    slot->inode = change->inode;
    return true;
}

static bool change_names(struct inode *directory, const char *removed, const char *added,
                         struct inode *inode)
{
    struct name_change change = {.inode = inode};
    void *items = directory->name_changes;
    if (!platter_room(&items, &directory->name_change_room, directory->name_change_count,
                      sizeof(change)))
        return false;
    directory->name_changes = items;
    snprintf(change.removed, sizeof(change.removed), "%s", removed);
    snprintf(change.added, sizeof(change.added), "%s", added);
    directory->name_changes[directory->name_change_count++] = change;
    return platter_names_apply(&directory->current_names, &change);
}

/* The directory of a path, and the last part of it. NULL: there is none. */
static struct inode *parent_of(const struct platter *platter, const char *path, const char **last)
{
    struct inode *at = platter->root;
    char part[NAME_BYTES];
    for (*last = path; at && strchr(*last, '/'); *last = strchr(*last, '/') + 1) {
        size_t count = strcspn(*last, "/");
        if (count >= sizeof(part))
            return NULL;
        memcpy(part, *last, count);
        part[count] = '\0';
        at = platter_names_find(&at->current_names, part);
    }
    return at && at->is_directory && strlen(*last) < NAME_BYTES ? at : NULL;
}

/* --- content --------------------------------------------------------------------------------- */

static bool note_change(struct inode *inode, const struct change *change)
{
    void *items = inode->changes;
    if (!platter_room(&items, &inode->change_room, inode->change_count, sizeof(*change)))
        return false;
    inode->changes = items;
    inode->changes[inode->change_count++] = *change;
    return true;
}

static bool apply_write(struct inode *inode, const struct record_entry *entry, const uint8_t *data)
{
    struct change change = {entry->offset, entry->count, data};
    if (!platter_content_grow(&inode->current, entry->offset + entry->count))
        return false;
    memcpy(inode->current.bytes + entry->offset, data, entry->count);
    return note_change(inode, &change);
}

static bool apply_size(struct inode *inode, uint64_t size)
{
    struct change change = {.offset = size};
    content_cut(&inode->current, size);
    return platter_content_grow(&inode->current, size) && note_change(inode, &change);
}

static bool apply_sync(struct inode *inode)
{
    if (!platter_content_grow(&inode->durable, inode->current.count))
        return false;
    content_cut(&inode->durable, inode->current.count);
    for (size_t i = 0; i < inode->change_count; i++) {
        const struct change *change = &inode->changes[i];
        uint64_t end = change->offset + change->count;
        if (!change->data || change->offset >= inode->current.count)
            continue;
        if (end > inode->current.count)
            end = inode->current.count;
        memcpy(inode->durable.bytes + change->offset, inode->current.bytes + change->offset,
               end - change->offset);
    }
    inode->change_count = 0;
    inode->durable_names = inode->current_names;
    inode->name_change_count = 0;
    return true;
}

/* The sectors of the range are durable, nothing else. Pieces of earlier writes that lie outside of
 * them stay pending. */
static bool apply_sync_range(struct inode *inode, uint64_t from, uint64_t count)
{
    uint64_t begin = from / SECTOR_BYTES * SECTOR_BYTES;
    uint64_t end = (from + count + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
    uint64_t known = end < inode->current.count ? end : inode->current.count;
    size_t before = inode->change_count;
    if (!platter_content_grow(&inode->durable, known))
        return false;
    memcpy(inode->durable.bytes + begin, inode->current.bytes + begin, known - begin);
    for (size_t i = 0; i < before; i++) {
        struct change change = inode->changes[i];
        uint64_t change_end = change.offset + change.count;
        if (!change.data || change_end <= begin || change.offset >= end)
            continue;
        inode->changes[i].count = change.offset < begin ? begin - change.offset : 0;
        struct change rest = {end, change_end - end, change.data + (end - change.offset)};
        if (change_end > end && !note_change(inode, &rest))
            return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < inode->change_count; i++) {
        if (!inode->changes[i].data || inode->changes[i].count)
            inode->changes[kept++] = inode->changes[i];
    }
    inode->change_count = kept;
    return true;
}

/* --- entries --------------------------------------------------------------------------------- */

static struct inode *handle_inode(const struct platter *platter, uint64_t number)
{
    for (size_t i = platter->handle_count; i > 0; i--) {
        if (platter->handles[i - 1].number == number)
            return platter->handles[i - 1].inode;
    }
    return NULL;
}

static const char *apply_open(struct platter *platter, const struct record_entry *entry,
                              const char *path)
{
    const char *last = NULL;
    struct inode *parent = parent_of(platter, path, &last);
    bool is_root = strcmp(path, ".") == 0;
    struct inode *inode = is_root  ? platter->root
                          : parent ? platter_names_find(&parent->current_names, last)
                                   : NULL;
    if (!inode && (!parent || !(entry->flags & RECORD_CREATE)))
        return "a file was opened that nobody made";
    if (!inode) {
        inode = inode_new(platter, false);
        if (!inode || !change_names(parent, "", last, inode))
            return "too many names, or no memory";
    }
    if (entry->flags & RECORD_TRUNCATE && !apply_size(inode, 0))
        return "no memory";
    void *items = platter->handles;
    if (!platter_room(&items, &platter->handle_room, platter->handle_count, sizeof(struct handle)))
        return "no memory";
    platter->handles = items;
    platter->handles[platter->handle_count++] = (struct handle){entry->handle, inode};
    return NULL;
}

static const char *apply_name(struct platter *platter, enum record_kind kind, const char *path,
                              const char *to)
{
    const char *last = NULL;
    const char *to_last = NULL;
    struct inode *parent = parent_of(platter, path, &last);
    if (!parent)
        return "a name was changed in a directory that nobody made";
    if (kind == RECORD_UNLINK)
        return change_names(parent, last, "", NULL) ? NULL : "no memory";
    if (kind == RECORD_MKDIR) {
        struct inode *made = inode_new(platter, true);
        return made && change_names(parent, "", last, made) ? NULL : "no memory, or too many names";
    }
    struct inode *inode = platter_names_find(&parent->current_names, last);
    if (!inode || parent_of(platter, to, &to_last) != parent)
        return "a rename from nowhere, or between directories";
    return change_names(parent, last, to_last, inode) ? NULL : "no memory, or too many names";
}

static const char *apply_to_handle(const struct platter *platter, const struct record_entry *entry,
                                   const uint8_t *data)
{
    struct inode *inode = handle_inode(platter, entry->handle);
    unsigned ignored = platter->ignored;
    bool is_done = true;
    if (!inode)
        return "a descriptor that nobody opened";
    if (entry->kind == RECORD_WRITE)
        is_done = apply_write(inode, entry, data);
    else if (entry->kind == RECORD_SIZE)
        is_done = apply_size(inode, entry->offset);
    else if (entry->kind == RECORD_SYNC_RANGE && !(ignored & IGNORE_DSYNC))
        is_done = apply_sync_range(inode, entry->offset, entry->count);
    else if (entry->kind == RECORD_SYNC &&
             !(ignored & (inode->is_directory ? IGNORE_NAMES : IGNORE_SYNC)))
        is_done = apply_sync(inode);
    return is_done ? NULL : "no memory";
}

bool platter_apply(struct platter *platter, const struct record_entry *entry, const uint8_t *data,
                   char *why, size_t room)
{
    char text[512] = "";
    const char *problem = "its data are too long";
    bool has_text = entry->kind != RECORD_WRITE;
    if (has_text && entry->bytes < sizeof(text))
        memcpy(text, data, entry->bytes);
    if (!has_text || entry->bytes < sizeof(text)) {
        switch ((enum record_kind)entry->kind) {
        case RECORD_OPEN:
            problem = apply_open(platter, entry, text);
            break;
        case RECORD_WRITE:
        case RECORD_SIZE:
        case RECORD_SYNC:
        case RECORD_SYNC_RANGE:
            problem = apply_to_handle(platter, entry, data);
            break;
        case RECORD_RENAME:
        case RECORD_UNLINK:
        case RECORD_MKDIR:
            problem =
                apply_name(platter, (enum record_kind)entry->kind, text, text + strlen(text) + 1);
            break;
        case RECORD_MARK:
            return true;
        case RECORD_UNSUPPORTED:
            problem = "the recorder could not follow it";
            break;
        }
    }
    if (problem)
        snprintf(why, room, "entry of kind %u (%s): %s", entry->kind, text, problem);
    return !problem;
}

bool platter_has_pending(const struct platter *platter)
{
    for (const struct inode *inode = platter->inodes; inode; inode = inode->next) {
        if (inode->change_count || inode->name_change_count)
            return true;
    }
    return false;
}
