/* platter_private.h - what the files of the platter share. */
#ifndef EVERDUE_PLATTER_PRIVATE_H
#define EVERDUE_PLATTER_PRIVATE_H

#include "platter.h"

enum { SECTOR_BYTES = 512, PAGE_BYTES = 4096, NAMES_MAX = 16, NAME_BYTES = 64 };

struct content {
    uint8_t *bytes;
    size_t count;
    size_t room;
};

/* A write since the last sync, or (no data) a new size. */
struct change {
    uint64_t offset; /* or the size */
    uint64_t count;
    const uint8_t *data;
};

struct name {
    char text[NAME_BYTES]; /* empty: not there */
    struct inode *inode;
};

struct names {
    struct name list[NAMES_MAX];
};

/* removed: goes. added: comes, for the inode. A rename has both. */
struct name_change {
    char removed[NAME_BYTES];
    char added[NAME_BYTES];
    struct inode *inode;
};

struct inode {
    struct inode *next; /* of all */
    bool is_directory;
    unsigned number;
    struct content durable;
    struct content current;
    struct change *changes;
    size_t change_count;
    size_t change_room;
    struct names durable_names;
    struct names current_names;
    struct name_change *name_changes;
    size_t name_change_count;
    size_t name_change_room;
};

struct handle {
    uint64_t number;
    struct inode *inode;
};

struct platter {
    unsigned ignored;
    struct inode *inodes;
    struct inode *root;
    unsigned inode_count;
    struct handle *handles;
    size_t handle_count;
    size_t handle_room;
};

/* Room for one more item; false: no memory. */
bool platter_room(void **items, size_t *room, size_t count, size_t item_bytes);
/* At least `count` bytes, zeros behind the end. */
bool platter_content_grow(struct content *content, size_t count);
bool platter_names_apply(struct names *names, const struct name_change *change);
struct inode *platter_names_find(const struct names *names, const char *text);

#endif
