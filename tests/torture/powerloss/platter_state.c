/* platter_state.c - choosing one of the states that a disk may be in, and writing it down. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "platter_private.h"

const char *const platter_choice_names[CHOICES] = {
    [CHOOSE_NONE] = "nothing but what was synced", [CHOOSE_ALL] = "all that was done",
    [CHOOSE_SECTORS] = "sectors at random",        [CHOOSE_PAGES] = "pages at random",
    [CHOOSE_WRITES] = "writes at random",          [CHOOSE_ALL_BUT_ONE] = "all but one sector",
    [CHOOSE_ONLY_ONE] = "one sector only",         [CHOOSE_LAST_TORN] = "the last write torn",
};

/* --- dice ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t parts[3] = {seed, a, b};
    return XXH3_64bits(parts, sizeof(parts));
}

/* Of `count` + 1 moments one: never, always and any between with about the same weight. */
static uint64_t pick_moment(uint64_t dice, uint64_t count)
{
    if (dice % 3 == 0)
        return 0;
    return dice % 3 == 1 ? count : dice / 3 % (count + 1);
}

/* --- content --------------------------------------------------------------------------------- */

struct chooser {
    enum platter_choice choice;
    uint64_t seed;
    uint64_t only_sector; /* of ALL_BUT_ONE and ONLY_ONE */
    uint64_t only_inode;
};

/* Up to which change (not included) this sector has been written. */
static uint64_t moment_of(const struct chooser *chooser, const struct inode *inode, uint64_t sector)
{
    uint64_t all = inode->change_count;
    bool is_chosen = sector == chooser->only_sector && inode->number == chooser->only_inode;
    switch (chooser->choice) {
    case CHOOSE_NONE:
        return 0;
    case CHOOSE_ALL:
    case CHOOSE_WRITES:
    case CHOICES:
        return all;
    case CHOOSE_SECTORS:
        return pick_moment(mix(chooser->seed, inode->number, sector), all);
    case CHOOSE_PAGES:
        return pick_moment(mix(chooser->seed, inode->number, sector / (PAGE_BYTES / SECTOR_BYTES)),
                           all);
    case CHOOSE_ALL_BUT_ONE:
        return is_chosen ? 0 : all;
    case CHOOSE_ONLY_ONE:
        return is_chosen ? all : 0;
    case CHOOSE_LAST_TORN:
        return all - (all && mix(chooser->seed, inode->number, sector) % 2);
    }
    return all;
}

static bool write_arrives(const struct chooser *chooser, const struct inode *inode, uint64_t index)
{
    return chooser->choice != CHOOSE_WRITES ||
           mix(chooser->seed, inode->number, index ^ UINT64_C(0x5ec70)) % 2;
}

/* The size after `moment` changes. */
static uint64_t size_at(const struct inode *inode, uint64_t moment)
{
    uint64_t size = inode->durable.count;
    for (uint64_t i = 0; i < moment; i++) {
        const struct change *change = &inode->changes[i];
        uint64_t end = change->offset + change->count;
        if (!change->data || end > size)
            size = end;
    }
    return size;
}

static uint64_t choose_size(const struct chooser *chooser, const struct inode *inode)
{
    if (chooser->choice == CHOOSE_NONE)
        return inode->durable.count;
    if (chooser->choice == CHOOSE_ALL || chooser->choice == CHOOSE_LAST_TORN)
        return inode->current.count;
    uint64_t dice = mix(chooser->seed, inode->number, UINT64_MAX);
    return size_at(inode, pick_moment(dice, inode->change_count));
}

/* A change may have cut the file: what a sector holds then is zeros, and so it is here. */
static void apply_change(const struct chooser *chooser, const struct inode *inode, uint64_t index,
                         struct content *content)
{
    const struct change *change = &inode->changes[index];
    uint64_t from = change->offset;
    uint64_t end = change->data ? change->offset + change->count : content->count;
    if (end > content->count)
        end = content->count;
    while (from < end) {
        uint64_t sector = from / SECTOR_BYTES;
        uint64_t to = (sector + 1) * SECTOR_BYTES < end ? (sector + 1) * SECTOR_BYTES : end;
        if (index < moment_of(chooser, inode, sector)) {
            if (change->data)
                memcpy(content->bytes + from, change->data + (from - change->offset), to - from);
            else
                memset(content->bytes + from, 0, to - from);
        }
        from = to;
    }
}

static bool choose_content(const struct chooser *chooser, const struct inode *inode,
                           struct platter_file *file)
{
    struct content content = {0};
    uint64_t size = choose_size(chooser, inode);
    if (!platter_content_grow(&content, size ? size : 1))
        return false;
    uint64_t durable = inode->durable.count < size ? inode->durable.count : size;
    content.count = size;
    if (durable)
        memcpy(content.bytes, inode->durable.bytes, durable);
    for (uint64_t i = 0; i < inode->change_count; i++) {
        if (write_arrives(chooser, inode, i))
            apply_change(chooser, inode, i, &content);
    }
    file->bytes = content.bytes;
    file->count = size;
    return true;
}

/* --- names ----------------------------------------------------------------------------------- */

static void choose_names(const struct chooser *chooser, const struct inode *inode,
                         struct names *names)
{
    uint64_t all = inode->name_change_count;
    uint64_t dice = mix(chooser->seed, inode->number, UINT64_MAX - 1);
    uint64_t upto = pick_moment(dice >> 8, all);
    bool in_order = dice % 2;
    *names = inode->durable_names;
    if (chooser->choice == CHOOSE_NONE)
        return;
    for (uint64_t i = 0; i < all; i++) {
        bool arrives = in_order ? i < upto : mix(chooser->seed, inode->number, ~i) % 2;
        /* Too many names were refused when they came. */
        if (chooser->choice == CHOOSE_ALL || arrives)
            platter_names_apply(names, &inode->name_changes[i]);
    }
}

/* --- states ---------------------------------------------------------------------------------- */

static void pick_sector(const struct platter *platter, struct chooser *chooser)
{
    uint64_t dice = mix(chooser->seed, 1, 2);
    uint64_t met = 0;
    for (const struct inode *inode = platter->inodes; inode; inode = inode->next) {
        for (size_t i = 0; i < inode->change_count; i++) {
            const struct change *change = &inode->changes[i];
            met += change->data != NULL;
            /* Each with the same chance. */
            if (!change->data || mix(dice, met, 0) % met)
                continue;
            chooser->only_inode = inode->number;
            chooser->only_sector = (change->offset + dice % change->count) / SECTOR_BYTES;
        }
    }
}

bool platter_choose(const struct platter *platter, enum platter_choice choice, uint64_t seed,
                    struct platter_state *state)
{
    enum { FILES_MAX = sizeof(state->files) / sizeof(state->files[0]) };
    struct chooser chooser = {.choice = choice, .seed = seed};
    const struct inode *inodes[FILES_MAX] = {platter->root};
    struct names names;
    pick_sector(platter, &chooser);
    state->count = 1;
    state->files[0] = (struct platter_file){.is_directory = true};
    /* Breadth first: the list is the queue. */
    for (size_t at = 0; at < state->count; at++) {
        struct platter_file *file = &state->files[at];
        if (!inodes[at]->is_directory) {
            if (!choose_content(&chooser, inodes[at], file))
                return false;
            continue;
        }
        choose_names(&chooser, inodes[at], &names);
        for (size_t i = 0; i < NAMES_MAX && state->count < FILES_MAX; i++) {
            if (!names.list[i].text[0])
                continue;
            struct platter_file *next = &state->files[state->count];
            *next = (struct platter_file){.is_directory = names.list[i].inode->is_directory};
            snprintf(next->path, sizeof(next->path), "%.180s%s%s", file->path,
                     file->path[0] ? "/" : "", names.list[i].text);
            inodes[state->count++] = names.list[i].inode;
        }
    }
    return state->count < FILES_MAX;
}

void platter_state_release(struct platter_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        free(state->files[i].bytes);
    state->count = 0;
}

uint64_t platter_state_hash(const struct platter_state *state)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < state->count; i++) {
        const struct platter_file *file = &state->files[i];
        hash = mix(hash, XXH3_64bits(file->path, strlen(file->path)),
                   file->bytes ? XXH3_64bits(file->bytes, file->count) + file->count : 0);
    }
    return hash;
}

bool platter_state_write(const struct platter_state *state, const char *root)
{
    char path[1024];
    for (size_t i = 1; i < state->count; i++) {
        const struct platter_file *file = &state->files[i];
        snprintf(path, sizeof(path), "%s/%s", root, file->path);
        if (file->is_directory) {
            if (mkdir(path, 0700))
                return false;
            continue;
        }
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        bool written = fd >= 0 && write(fd, file->bytes, file->count) == (ssize_t)file->count;
        if (fd >= 0)
            close(fd);
        if (!written)
            return false;
    }
    return true;
}

/* --- against the real files ------------------------------------------------------------------ */

static bool file_is_at(const struct platter_file *file, const char *path)
{
    struct stat found;
    if (stat(path, &found) || S_ISDIR(found.st_mode) != file->is_directory)
        return false;
    if (file->is_directory)
        return true;
    uint8_t *bytes = malloc(file->count + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool same = bytes && fd >= 0 && read(fd, bytes, file->count + 1) == (ssize_t)file->count &&
                memcmp(bytes, file->bytes, file->count) == 0;
    if (fd >= 0)
        close(fd);
    free(bytes);
    return same;
}

/* Names in the directory that are recorded. */
static size_t count_names(const char *path)
{
    size_t count = 0;
    DIR *stream = opendir(path);
    if (!stream)
        return 0;
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream))
        count += entry->d_name[0] != '.' && strcmp(entry->d_name, "lock.mdb") != 0 &&
                 strcmp(entry->d_name, "reserve") != 0;
    closedir(stream);
    return count;
}

bool platter_state_is_at(const struct platter_state *state, const char *root, char *why,
                         size_t room)
{
    char path[1024];
    size_t names = 0;
    for (size_t i = 0; i < state->count; i++) {
        const struct platter_file *file = &state->files[i];
        snprintf(path, sizeof(path), "%s/%s", root, file->path);
        if (file->is_directory)
            names += count_names(path);
        if (file_is_at(file, path))
            continue;
        snprintf(why, room, "%s is not what was recorded", path);
        return false;
    }
    if (names != state->count - 1)
        snprintf(why, room, "%zu files in %s, and %zu were recorded", names, root,
                 state->count - 1);
    return names == state->count - 1;
}
