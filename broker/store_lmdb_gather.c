/* store_lmdb_gather.c - reads the journal and keeps the newest state of each record.
 *
 * Numbers that lie close together, as they do unless most records were removed, name a place in a
 * table of who is the newest. Others are sorted by a radix sort, which keeps the order of equal
 * ones: the journal's order, so the last of each number is the newest.
 */
#include "store_lmdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"

enum {
    DIGIT_BITS = 8,
    DIGITS = 1 << DIGIT_BITS,
    STATES_ROOM_FIRST = 1 << SEGMENT_BITS(16),
    SPREAD_MAX = 8,  /* numbers to a state: a table of them has no more bytes than the states */
    PICK_AHEAD = 16, /* states asked for before they are picked */
};
#define NOBODY UINT32_MAX

void store_lmdb_states_release(struct store_lmdb_states *states)
{
    free(states->states);
    free(states->other);
    memset(states, 0, sizeof(*states));
}

static void sort_digit(const struct store_state *from, struct store_state *to, size_t count,
                       unsigned shift)
{
    size_t starts[DIGITS] = {0};
    for (size_t i = 0; i < count; i++)
        starts[from[i].number >> shift & (DIGITS - 1)]++;
    size_t start = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        size_t here = starts[i];
        starts[i] = start;
        start += here;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[from[i].number >> shift & (DIGITS - 1)]++] = from[i];
}

static void exchange(struct store_lmdb_states *states)
{
    struct store_state *other = states->other;
    states->other = states->states;
    states->states = other;
}

static void sort(struct store_lmdb_states *states)
{
    uint64_t all = 0;
    for (size_t i = 0; i < states->count; i++)
        all |= states->states[i].number;
    for (unsigned shift = 0; shift < 64 && all >> shift; shift += DIGIT_BITS) {
        sort_digit(states->states, states->other, states->count, shift);
        exchange(states);
    }
}

static void keep_newest(struct store_lmdb_states *states)
{
    size_t kept = 0;
    for (size_t i = 0; i < states->count; i++) {
        bool is_last =
            i + 1 == states->count || states->states[i + 1].number != states->states[i].number;
        if (is_last)
            states->states[kept++] = states->states[i];
    }
    states->count = kept;
}

/* Copies the states that the table names, in the order of their numbers. */
static void pick(struct store_lmdb_states *states, const uint32_t *newest, size_t numbers)
{
    size_t picked = 0;
    for (size_t i = 0; i < numbers; i++) {
        if (i + PICK_AHEAD < numbers && newest[i + PICK_AHEAD] != NOBODY)
            __builtin_prefetch(&states->states[newest[i + PICK_AHEAD]]);
        if (newest[i] != NOBODY)
            states->other[picked++] = states->states[newest[i]];
    }
    exchange(states);
    states->count = picked;
}

/* The range of their numbers, when it is small enough for a table. */
static bool are_close(const struct store_lmdb_states *states, uint64_t *least, size_t *numbers)
{
    uint64_t most = 0;
    *least = UINT64_MAX;
    for (size_t i = 0; i < states->count; i++) {
        uint64_t number = states->states[i].number;
        *least = number < *least ? number : *least;
        most = number > most ? number : most;
    }
    *numbers = (size_t)(most - *least) + 1;
    return states->count < NOBODY && (most - *least) / SPREAD_MAX < states->count;
}

/* False: no memory, nothing changed. */
static bool pick_newest(struct store_lmdb_states *states, uint64_t least, size_t numbers)
{
    uint32_t *newest = malloc(numbers * sizeof(*newest));
    if (!newest)
        return false;
    memset(newest, 0xff, numbers * sizeof(*newest)); /* NOBODY */
    for (size_t i = 0; i < states->count; i++)
        newest[states->states[i].number - least] = (uint32_t)i;
    pick(states, newest, numbers);
    free(newest);
    return true;
}

/* By number, the newest of each. There is at least one. False: no memory, nothing changed. */
static bool reduce(struct store_lmdb_states *states)
{
    uint64_t least;
    size_t numbers;
    if (!states->other)
        states->other = malloc(states->room * sizeof(*states->other));
    if (!states->other)
        return false;
    if (are_close(states, &least, &numbers))
        return pick_newest(states, least, numbers);
    sort(states);
    keep_newest(states);
    return true;
}

/* When the room is used up the older states of each record go first, so that a long journal of few
 * records needs little. What was sorted before stays in front, where it is the older. */
static bool make_room(struct store_lmdb_states *states, size_t count)
{
    if (states->count + count <= states->room)
        return true;
    if (states->count && !reduce(states))
        return false;
    if (states->room && states->count <= states->room / 2)
        return true;
    size_t room = states->room ? states->room * 4 : STATES_ROOM_FIRST;
    free(states->other);
    states->other = NULL;
    struct store_state *grown = realloc(states->states, room * sizeof(*grown));
    if (!grown)
        return false;
    states->states = grown;
    states->room = room;
    return true;
}

bool store_lmdb_states_add(struct store_lmdb_states *states, const struct store_state *added,
                           size_t count)
{
    if (!make_room(states, count))
        return false;
    memcpy(states->states + states->count, added, count * sizeof(*added));
    states->count += count;
    return true;
}

bool store_lmdb_states_finish(struct store_lmdb_states *states)
{
    bool is_reduced = !states->count || reduce(states);
    free(states->other);
    states->other = NULL;
    return is_reduced;
}

/* --- reading --------------------------------------------------------------------------------- */

static enum status damaged(uint64_t sequence, uint64_t number, const char *what, char *why)
{
    store_lmdb_say(why, "table journal, sequence %" PRIu64 ", part %" PRIu64 ": %s", sequence,
                   number, what);
    return STATUS_CORRUPT;
}

enum status store_lmdb_journal_add(struct store_lmdb_journal *journal, const MDB_val *key,
                                   const MDB_val *value, char *why)
{
    struct store_lmdb_part part;
    uint64_t sequence = 0;
    uint64_t number = 0;
    if (!store_lmdb_key_read(key, STORE_LMDB_JOURNAL, &sequence, &number))
        return damaged(0, 0, "a key is damaged", why);
    uint32_t count = store_lmdb_part_read(value, sequence, number, &part);
    if (!count)
        return damaged(sequence, number, "its checksum does not match", why);
    bool follows = sequence == journal->sequence
                       ? number == journal->part_next && part.part_count == journal->part_count
                       : number == 0 && journal->part_next == journal->part_count;
    if (!follows)
        return damaged(sequence, number, "parts are missing before it", why);
    for (uint32_t i = 0; i < count; i++) {
        if (!part.states[i].number)
            return damaged(sequence, number, "holds a state of no record", why);
    }
    journal->sequence = sequence;
    journal->part_next = (uint32_t)number + 1;
    journal->part_count = part.part_count;
    journal->states->parts++;
    bool is_added = store_lmdb_states_add(journal->states, part.states, count);
    return is_added ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status store_lmdb_journal_end(const struct store_lmdb_journal *journal, char *why)
{
    if (journal->part_next != journal->part_count)
        return damaged(journal->sequence, journal->part_next, "parts are missing from here", why);
    return STATUS_OK;
}

/* 0 of a damaged key, which is then read, and refused. */
static uint64_t sequence_of(const MDB_val *key)
{
    uint64_t sequence = 0;
    uint64_t number = 0;
    store_lmdb_key_read(key, STORE_LMDB_JOURNAL, &sequence, &number);
    return sequence;
}

static enum status read_parts(MDB_cursor *cursor, uint64_t after, uint64_t upto,
                              struct store_lmdb_states *states, char *why)
{
    struct store_lmdb_key from;
    struct store_lmdb_journal journal = {.states = states};
    MDB_val value;
    store_lmdb_key_write(&from, STORE_LMDB_JOURNAL, after + 1, 0);
    MDB_val key = store_lmdb_key_value(&from);
    int error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (!error && sequence_of(&key) <= upto) {
        enum status status = store_lmdb_journal_add(&journal, &key, &value, why);
        if (status)
            return status;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (error && error != MDB_NOTFOUND) {
        store_lmdb_say(why, "table journal: %s", mdb_strerror(error));
        return STATUS_CORRUPT;
    }
    return store_lmdb_journal_end(&journal, why);
}

enum status store_lmdb_gather(const struct store_lmdb_env *env, MDB_txn *txn, uint64_t after,
                              uint64_t upto, struct store_lmdb_states *states, char *why)
{
    MDB_cursor *cursor = NULL;
    memset(states, 0, sizeof(*states));
    int error = mdb_cursor_open(txn, env->tables[STORE_LMDB_JOURNAL], &cursor);
    if (error) {
        store_lmdb_say(why, "table journal: %s", mdb_strerror(error));
        return error == ENOMEM ? STATUS_NO_MEMORY : STATUS_IO;
    }
    enum status status = read_parts(cursor, after, upto, states, why);
    mdb_cursor_close(cursor);
    if (!status && !store_lmdb_states_finish(states))
        status = STATUS_NO_MEMORY;
    if (status == STATUS_NO_MEMORY)
        store_lmdb_say(why, "not enough memory to sort the journal");
    if (status)
        store_lmdb_states_release(states);
    return status;
}
