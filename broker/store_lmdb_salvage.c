/* store_lmdb_salvage.c - verifies each value that the scavenger finds, puts records and states
 * together again, and names what is missing.
 *
 * A checksum covers table and key, too, so a value tells by itself where it belongs. The body says
 * that a record exists; the hot table and the journal say in which state.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "list.h"
#include "store_lmdb.h"
#include "store_lmdb_tree.h"

enum { VALUE_BYTES_MAX = 4 << 20 }; /* above anything that is ever stored */

struct place {
    uint64_t a;
    uint64_t b;
    uint64_t offset;
    uint32_t count; /* without the checksum */
    uint32_t table;
};

struct part {
    uint64_t sequence;
    uint32_t number;
    uint32_t part_count;
    size_t first; /* of its states */
    uint32_t count;
};

struct salvage {
    const struct store_salvage *asked;
    struct store_lmdb_scavenger scavenger;
    struct store_lmdb_info info;
    struct list places;
    struct list parts;
    struct list journal;             /* states of the parts, in the order found */
    struct store_lmdb_states states; /* of the hot table; then the newest of all */
    struct list damaged;             /* places; in `count` whether the key could be read */
    uint64_t found[STORE_LMDB_TABLES];
    uint64_t named[STORE_LMDB_TABLES]; /* values that are damaged or missing */
    bool journal_lost;                 /* some of it */
    bool is_scanned;                   /* pages were read by themselves: the info may be an older */
    uint8_t *bytes;                    /* of the value that is looked at */
    size_t bytes_room;
};

static void say_lost(const struct salvage *salvage, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say_lost(const struct salvage *salvage, const char *format, ...)
{
    char text[STORE_WHY_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    salvage->asked->lost(text, salvage->asked->user);
}

/* --- values ---------------------------------------------------------------------------------- */

/* False: not readable; *status changes for NO_MEMORY only. */
static bool read_bytes(struct salvage *salvage, uint64_t offset, size_t count, enum status *status)
{
    if (count > salvage->bytes_room) {
        uint8_t *grown = realloc(salvage->bytes, count);
        if (!grown) {
            *status = STATUS_NO_MEMORY;
            return false;
        }
        salvage->bytes = grown;
        salvage->bytes_room = count;
    }
    char why[STORE_WHY_BYTES];
    struct tree_file file = {.fd = salvage->scavenger.fd, .why = why};
    return tree_read(&file, salvage->bytes, count, offset) == STATUS_OK;
}

static enum status keep_part(struct salvage *salvage, uint64_t sequence, uint64_t number,
                             const struct store_lmdb_part *part, uint32_t count)
{
    size_t first = salvage->journal.count;
    struct store_state *states = list_add(&salvage->journal, sizeof(*states), count);
    struct part *kept = list_add(&salvage->parts, sizeof(*kept), 1);
    if (!states || !kept)
        return STATUS_NO_MEMORY;
    memcpy(states, part->states, count * sizeof(*states));
    *kept = (struct part){sequence, (uint32_t)number, part->part_count, first, count};
    return STATUS_OK;
}

static enum status keep_page(struct salvage *salvage, const struct store_lmdb_page *page)
{
    for (size_t i = 0; i < PAGE_STATES; i++)
        if (page->states[i].number && !store_lmdb_states_add(&salvage->states, &page->states[i], 1))
            return STATUS_NO_MEMORY;
    return STATUS_OK;
}

/* Takes the value if it is one of this table: STATUS_OK. CORRUPT: it is not. */
static enum status take_as(struct salvage *salvage, const struct store_lmdb_value *found,
                           unsigned table)
{
    const MDB_val value = {.mv_size = (size_t)found->count, .mv_data = salvage->bytes};
    struct store_lmdb_page page;
    struct store_lmdb_part part;
    char why[STORE_WHY_BYTES];
    uint64_t a = 0, b = 0;
    uint32_t count = 0;
    if (table == STORE_LMDB_INFO)
        return store_lmdb_info_read(&value, &salvage->info, why) ? STATUS_CORRUPT : STATUS_OK;
    if (!store_lmdb_key_read(&found->key, table, &a, &b))
        return STATUS_CORRUPT;
    if (table == STORE_LMDB_HOT)
        return store_lmdb_page_read(&value, a, &page) ? keep_page(salvage, &page) : STATUS_CORRUPT;
    if (table == STORE_LMDB_JOURNAL) {
        count = store_lmdb_part_read(&value, a, b, &part);
        return count ? keep_part(salvage, a, b, &part, count) : STATUS_CORRUPT;
    }
    if (!store_lmdb_row_read(&value, table, a, b, &count))
        return STATUS_CORRUPT;
    struct place *place = list_add(&salvage->places, sizeof(*place), 1);
    if (!place)
        return STATUS_NO_MEMORY;
    *place = (struct place){a, b, found->offset, count, table};
    return STATUS_OK;
}

/* Noted, and named when all is read: the same value may come again with the whole of its page. */
static enum status note_damaged(struct salvage *salvage, const struct store_lmdb_value *value)
{
    struct place *place = list_add(&salvage->damaged, sizeof(*place), 1);
    if (!place)
        return STATUS_NO_MEMORY;
    *place = (struct place){.offset = value->offset, .table = STORE_LMDB_TABLES};
    if (value->table >= 0) {
        place->table = (uint32_t)value->table;
        place->count = store_lmdb_key_read(&value->key, place->table, &place->a, &place->b);
        salvage->named[place->table]++;
    }
    return STATUS_OK;
}

static enum status take_value(const struct store_lmdb_value *value, void *user)
{
    struct salvage *salvage = user;
    enum status status = STATUS_CORRUPT;
    salvage->is_scanned |= value->table < 0;
    unsigned first = value->table < 0 ? 0 : (unsigned)value->table;
    unsigned end = value->table < 0 ? STORE_LMDB_TABLES : first + 1;
    bool is_read = value->count <= VALUE_BYTES_MAX &&
                   read_bytes(salvage, value->offset, (size_t)value->count, &status);
    for (unsigned table = first; is_read && status == STATUS_CORRUPT && table < end; table++) {
        status = take_as(salvage, value, table);
        salvage->found[table] += status == STATUS_OK;
    }
    return status == STATUS_CORRUPT ? note_damaged(salvage, value) : status;
}

static void forget_values(void *user)
{
    struct salvage *salvage = user;
    salvage->places.count = salvage->parts.count = salvage->journal.count = 0;
    store_lmdb_states_release(&salvage->states);
    memset(&salvage->info, 0, sizeof(salvage->info));
    memset(salvage->found, 0, sizeof(salvage->found));
    memset(salvage->named, 0, sizeof(salvage->named));
    salvage->damaged.count = 0;
    salvage->is_scanned = false;
}

/* --- states ---------------------------------------------------------------------------------- */

static int compare_parts(const void *x, const void *y)
{
    const struct part *a = x;
    const struct part *b = y;
    if (a->sequence != b->sequence)
        return a->sequence < b->sequence ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Whether a part and the one before it follow each other, as far as their numbers tell. */
static bool part_follows(const struct part *part, const struct part *before)
{
    if (before && before->sequence == part->sequence)
        return part->number == before->number + 1;
    return part->number == 0 && (!before || before->number + 1 == before->part_count);
}

/* How many there are without those of a batch that was being written, and never counted. */
static size_t count_parts(const struct salvage *salvage)
{
    const struct part *parts = salvage->parts.items;
    size_t count = salvage->parts.count;
    bool is_known = salvage->info.format && !salvage->is_scanned;
    while (is_known && count && parts[count - 1].sequence > salvage->info.fence.sequence)
        count--;
    return count;
}

/* The journal on top of the hot table, oldest first. What a pass has folded is in the hot table
 * already, and does no harm. */
static enum status lay_journal(struct salvage *salvage)
{
    const struct part *parts = salvage->parts.items;
    const struct store_state *states = salvage->journal.items;
    const struct part *before = NULL;
    if (salvage->parts.count)
        qsort(salvage->parts.items, salvage->parts.count, sizeof(*parts), compare_parts);
    size_t count = count_parts(salvage);
    for (size_t i = 0; i < count; i++) {
        const struct part *part = &parts[i];
        bool is_last = i + 1 == count;
        bool is_whole =
            part_follows(part, before) && (!is_last || part->number + 1 == part->part_count);
        if (!is_whole && part->sequence > salvage->info.folded) {
            say_lost(salvage,
                     "table journal, sequence %" PRIu64 ", part %u: parts beside it are missing; "
                     "the records that they name keep an older state",
                     part->sequence, part->number);
            salvage->journal_lost = true;
        }
        if (!store_lmdb_states_add(&salvage->states, states + part->first, part->count))
            return STATUS_NO_MEMORY;
        before = part;
    }
    return store_lmdb_states_finish(&salvage->states) ? STATUS_OK : STATUS_NO_MEMORY;
}

/* --- what is missing ------------------------------------------------------------------------- */

static void name_damaged(const struct salvage *salvage)
{
    const struct place *places = salvage->damaged.items;
    for (size_t i = 0; i < salvage->damaged.count; i++) {
        const struct place *place = &places[i];
        if (place->table == STORE_LMDB_TABLES)
            say_lost(salvage, "byte %" PRIu64 " of data.mdb: a value or its key is damaged",
                     place->offset);
        else if (place->count)
            say_lost(salvage, "table %s, key %" PRIu64 ", %" PRIu64 ": its checksum does not match",
                     store_lmdb_table_names[place->table], place->a, place->b);
        else
            say_lost(salvage,
                     "table %s, byte %" PRIu64 " of data.mdb: a value or its key is "
                     "damaged",
                     store_lmdb_table_names[place->table], place->offset);
    }
}

/* By the counts that LMDB keeps. */
static bool name_missing(const struct salvage *salvage, unsigned table, const char *what_follows)
{
    uint64_t there = salvage->found[table] + salvage->named[table];
    uint64_t wanted = salvage->scavenger.counts[table];
    if (!salvage->scavenger.has_counts || there >= wanted)
        return false;
    say_lost(salvage, "table %s: %" PRIu64 " of %" PRIu64 " values are missing%s",
             store_lmdb_table_names[table], wanted - there, wanted, what_follows);
    return true;
}

static void name_what_is_lost_first(struct salvage *salvage)
{
    name_damaged(salvage);
    bool is_missing = name_missing(salvage, STORE_LMDB_JOURNAL,
                                   "; the records that they name keep an older state");
    salvage->journal_lost = is_missing || salvage->named[STORE_LMDB_JOURNAL];
    if (!salvage->scavenger.has_counts)
        say_lost(salvage, "the list of tables is damaged: whether rows of queues, pending changes, "
                          "syncs or the journal are missing cannot be told");
}

/* --- visits ---------------------------------------------------------------------------------- */

static int compare_places(const void *x, const void *y)
{
    const struct place *a = x;
    const struct place *b = y;
    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->a != b->a)
        return a->a < b->a ? -1 : 1;
    return a->b < b->b ? -1 : a->b > b->b;
}

/* Keys are unique: which of two counts cannot be told. */
static void drop_twins(struct salvage *salvage)
{
    struct place *places = salvage->places.items;
    size_t kept = 0;
    for (size_t i = 0; i < salvage->places.count;) {
        size_t next = i + 1;
        while (next < salvage->places.count && !compare_places(&places[i], &places[next]))
            next++;
        if (next == i + 1)
            places[kept++] = places[i];
        else
            say_lost(salvage, "table %s, key %" PRIu64 ", %" PRIu64 ": is there %zu times",
                     store_lmdb_table_names[places[i].table], places[i].a, places[i].b, next - i);
        i = next;
    }
    salvage->places.count = kept;
}

/* The first place of a table at or above a key. */
static size_t find_place(const struct salvage *salvage, struct place wanted)
{
    const struct place *places = salvage->places.items;
    size_t low = 0;
    size_t high = salvage->places.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_places(&places[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_record(const struct salvage *salvage, uint64_t number)
{
    const struct place *places = salvage->places.items;
    size_t at = find_place(salvage, (struct place){.table = STORE_RECORDS, .a = number});
    return at < salvage->places.count && places[at].table == STORE_RECORDS &&
           places[at].a == number;
}

/* Its bytes were whole a moment ago; a disk that fails may have other ones now. */
static enum status load_place(struct salvage *salvage, const struct place *place)
{
    enum status status = STATUS_IO;
    uint32_t count = 0;
    size_t all = (size_t)place->count + ROW_CHECKSUM_BYTES;
    if (!read_bytes(salvage, place->offset, all, &status))
        return status;
    const MDB_val value = {.mv_size = all, .mv_data = salvage->bytes};
    bool is_same = store_lmdb_row_read(&value, place->table, place->a, place->b, &count);
    return is_same ? STATUS_OK : STATUS_IO;
}

static enum status visit_table(struct salvage *salvage, enum store_table table)
{
    const struct store_visitor *visitor = &salvage->asked->visitor;
    const struct place *places = salvage->places.items;
    size_t at = find_place(salvage, (struct place){.table = table});
    for (; at < salvage->places.count && places[at].table == table; at++) {
        const struct place *place = &places[at];
        /* Left over from a record that has gone. */
        if (table == STORE_PENDING && !has_record(salvage, place->a))
            continue;
        struct store_row row = {
            .table = table, .a = place->a, .b = place->b, .count = place->count};
        enum status status = load_place(salvage, place);
        if (!status)
            status = visitor->row(&row, salvage->bytes, visitor->user);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static void name_bodiless(struct salvage *salvage, const struct store_state *state)
{
    if (!(state->flags & STATE_PRESENT))
        return;
    salvage->named[STORE_RECORDS]++;
    say_lost(salvage, "record %" PRIu64 ": its body is lost%s", state->number,
             salvage->journal_lost ? ", or it was removed in what is lost of the journal" : "");
}

static enum status visit_record(struct salvage *salvage, const struct place *place,
                                const struct store_state *state)
{
    const struct store_visitor *visitor = &salvage->asked->visitor;
    const struct store_state unknown = {.number = place->a, .flags = STATE_PRESENT};
    if (!state)
        say_lost(salvage, "record %" PRIu64 ": its state is lost, so its line has no due time",
                 place->a);
    else if (!(state->flags & STATE_PRESENT))
        say_lost(salvage, "record %" PRIu64 ": is there, though removed; its line has no due time",
                 place->a);
    if (!state || !(state->flags & STATE_PRESENT))
        state = &unknown;
    enum status status = load_place(salvage, place);
    return status ? status : visitor->record(state, salvage->bytes, place->count, visitor->user);
}

static enum status visit_records(struct salvage *salvage)
{
    const struct place *places = salvage->places.items;
    const struct store_lmdb_states *states = &salvage->states;
    size_t at = find_place(salvage, (struct place){.table = STORE_RECORDS});
    size_t state_at = 0;
    enum status status = STATUS_OK;
    for (; !status && at < salvage->places.count && places[at].table == STORE_RECORDS; at++) {
        while (state_at < states->count && states->states[state_at].number < places[at].a)
            name_bodiless(salvage, &states->states[state_at++]);
        bool is_his = state_at < states->count && states->states[state_at].number == places[at].a;
        status = visit_record(salvage, &places[at], is_his ? &states->states[state_at++] : NULL);
    }
    while (!status && state_at < states->count)
        name_bodiless(salvage, &states->states[state_at++]);
    return status;
}

static enum status visit_all(struct salvage *salvage)
{
    static const enum store_table before[] = {STORE_META, STORE_QUEUES, STORE_SESSIONS};
    static const enum store_table after[] = {STORE_PENDING, STORE_SYNCS};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]) && !status; i++)
        status = visit_table(salvage, before[i]);
    if (!status)
        status = visit_records(salvage);
    for (size_t i = 0; i < sizeof(after) / sizeof(after[0]) && !status; i++)
        status = visit_table(salvage, after[i]);
    return status;
}

/* --- all ------------------------------------------------------------------------------------- */

static void pass_note(const char *what, void *user)
{
    const struct salvage *salvage = user;
    salvage->asked->note(what, salvage->asked->user);
}

static void pass_lost(const char *what, void *user)
{
    say_lost(user, "%s", what);
}

static enum status salvage_file(struct salvage *salvage, char *why)
{
    enum status status = store_lmdb_scavenge(&salvage->scavenger, why);
    if (status)
        return status;
    name_what_is_lost_first(salvage);
    if (salvage->places.count)
        qsort(salvage->places.items, salvage->places.count, sizeof(struct place), compare_places);
    drop_twins(salvage);
    status = lay_journal(salvage);
    if (!status)
        status = visit_all(salvage);
    for (unsigned i = 0; i < STORE_LMDB_JOURNAL && !status; i++)
        name_missing(salvage, i, "");
    if (status == STATUS_IO)
        store_lmdb_say(why, "data.mdb cannot be read twice with the same result: the disk fails");
    return status;
}

enum status store_salvage_lmdb(const char *directory, const struct store_salvage *asked, char *why)
{
    char path[STORE_LMDB_PATH_BYTES + 16];
    int lock_fd = -1;
    struct salvage salvage = {.asked = asked};
    why[0] = '\0';
    snprintf(path, sizeof(path), "%s/data.mdb", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        store_lmdb_say(why, "cannot open %s: %s", path, strerror(errno));
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    salvage.scavenger = (struct store_lmdb_scavenger){.fd = fd,
                                                      .value = take_value,
                                                      .restart = forget_values,
                                                      .note = pass_note,
                                                      .lost = pass_lost,
                                                      .user = &salvage};
    enum status status = store_lmdb_lock(directory, &lock_fd, why);
    if (!status) {
        status = salvage_file(&salvage, why);
        close(lock_fd);
    }
    close(fd);
    forget_values(&salvage);
    free(salvage.places.items);
    free(salvage.parts.items);
    free(salvage.journal.items);
    free(salvage.damaged.items);
    free(salvage.bytes);
    return status;
}
