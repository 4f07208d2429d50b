/* sched_internal.h - what the files of the core share; nobody else includes it.
 *
 *   sched.c          the machine: made, stepped, time passing
 *   sched_seal.c     what changed, for the store
 *   sched_record.c   a record's life: made, placed, parked, removed, marked as changed
 *   sched_session.c  sessions: hello, credit, heartbeats, end
 *   sched_lease.c    leases: granted, ended, lost, touched
 *   sched_resume.c   leases that workers bring back
 *   sched_ends.c     which lease ends next
 *   sched_grant.c    who gets what is ready
 *   sched_report.c   the report: accepted or not, and what it does
 *   sched_change.c   put, remove, run-now, kick, pause, drain
 *   sched_pending.c  changes to what is out at a worker
 *   sched_sync.c     full sets
 *   sched_load.c     from the store
 *   sched_view.c     looking
 */
#ifndef EVERDUE_SCHED_INTERNAL_H
#define EVERDUE_SCHED_INTERNAL_H

#include "sched_types.h"

/* --- sched.c ---------------------------------------------------------------------------------- */

/* A fresh number; 0 when the reserved ones are used up (until the next EVENT_RESERVED). */
uint64_t sched_draw(struct sched *sched);

/* Room for `count` more effects. */
bool effects_reserve(struct effects *effects, size_t count);
/* There must be room. (In line, so that it is written where it stays.) */
static inline void effects_add(struct effects *effects, const struct effect *effect)
{
    assert(effects->count < effects->room);
    effects->list[effects->count++] = *effect;
}

/* --- sched_seal.c ------------------------------------------------------------------------------
 */

/* Room for so many rows for the next seal, with so many bytes in all: on top of those by which each
 * session, each one that is waited for and each pending change can come to an end, which are always
 * there. */
bool sched_reserve_rows(struct sched *sched, uint32_t rows, size_t bytes);
/* A row for the next seal. */
enum status sched_write_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b,
                            const void *bytes, size_t count);
enum status sched_remove_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b);
/* The same for what has its room: rows of sessions and pending changes. */
void sched_add_row(struct sched *sched, const struct store_row *row, const void *bytes);

/* --- sched_record.c --------------------------------------------------------------------------- */

static inline struct record *record_at(const struct sched *sched, uint32_t slot)
{
    return slab_at(&sched->records, slot);
}
/* Borrowed until a body changes, or WORK is done. */
static inline const uint8_t *record_body(const struct sched *sched, const struct record *record)
{
    return bodies_at(&sched->bodies, record->body);
}
static inline uint32_t record_lease(const struct sched *sched, uint32_t slot)
{
    return *slab_place(&sched->records, slot);
}
/* Asks for a record's memory, and then for its body's: in groups, so that they come together.
 * (Always in line: gcc takes a function that does nothing else for one without effect.) */
__attribute__((always_inline)) static inline void record_fetch(const struct sched *sched,
                                                               uint32_t slot)
{
    __builtin_prefetch(record_at(sched, slot));
}
__attribute__((always_inline)) static inline void record_fetch_body(const struct sched *sched,
                                                                    uint32_t slot)
{
    if (!record_at(sched, slot)->body)
        return;
    const uint8_t *body = record_body(sched, record_at(sched, slot));
    __builtin_prefetch(body);
    __builtin_prefetch(body + 64);
    __builtin_prefetch(body + 83); /* 16 bytes of key and 64 of payload end here */
}
/* Its header and the first bytes of its key. */
__attribute__((always_inline)) static inline void record_fetch_key(const struct sched *sched,
                                                                   uint32_t slot)
{
    if (!record_at(sched, slot)->body)
        return;
    const uint8_t *body = record_body(sched, record_at(sched, slot));
    __builtin_prefetch(body);
    __builtin_prefetch(body + 19);
}
static inline struct queue *queue_of(const struct sched *sched, const struct record *record)
{
    return sched->queues[record->queue];
}
static inline void record_set_flag(struct record *record, enum flag flag)
{
    record->flags = (record->flags | flag) & MASK_BITS(8);
}
static inline void record_clear_flag(struct record *record, enum flag flag)
{
    record->flags = record->flags & ~(unsigned)flag & MASK_BITS(8);
}
static inline void record_set_state(struct record *record, uint64_t state)
{
    record->state = state & MASK_BITS(53);
}
static inline void record_set_due(struct record *record, int64_t due_us)
{
    record->due_us = (uint64_t)due_us & MASK_BITS(52);
}
static inline void record_set_failures(struct record *record, uint32_t failures)
{
    record->failures = (failures < FAILURES_MAX ? failures : FAILURES_MAX) & MASK_BITS(14);
}
static inline void record_set_crashes(struct record *record, uint32_t crashes)
{
    record->crashes = (crashes < CRASHES_MAX ? crashes : CRASHES_MAX) & MASK_BITS(12);
}
/* Whether clients can see it. */
static inline bool record_is_visible(const struct record *record)
{
    return record->where >= PLACE_WAITING && record->where <= PLACE_HELD;
}
/* Whether a worker has it, or may have it still. */
static inline bool record_is_out(const struct record *record)
{
    return record->where == PLACE_LEASED || record->where == PLACE_HELD;
}

/* The hash that spreads keys: also of jitter and spread. */
uint64_t record_hash(const struct sched *sched, const struct record *record, uint64_t seed);
uint64_t key_hash(struct bytes key, uint64_t seed);

/* NULL: no such queue. */
struct queue *queue_find(const struct sched *sched, struct bytes name);
/* Makes it when it is not there. BAD_FIELD, TOO_MANY, NO_MEMORY. */
enum status queue_require(struct sched *sched, struct bytes name, struct queue **queue);
void queue_mark(struct queue *queue);
const struct sched_policy *queue_policy(const struct sched *sched, const struct queue *queue);
uint64_t queue_records(const struct queue *queue);

/* The long way of record_reserve: room for so many in both batches, for a seal may come before the
 * leases end. */
bool record_make_room(struct sched *sched, uint32_t more);

/* A slot, staged ones too; SLAB_NONE. */
uint32_t record_find(const struct sched *sched, const struct queue *queue, struct bytes key);

/* Room for a change of `count` records, on top of the one that the end of each lease may make: that
 * is always there. */
static inline bool record_reserve(struct sched *sched, uint32_t count)
{
    uint32_t more = sched->live.count + count;
    bool has_room = sched->dirty_count[0] + more <= sched->dirty_room[0] &&
                    sched->dirty_count[1] + more <= sched->dirty_room[1];
    return has_room || record_make_room(sched, more);
}

/* Whether there may be another: TOO_MANY, NO_SPACE. */
enum status record_check_room(const struct sched *sched);
/* A new record in PLACE_NOWHERE, not found by its key yet. NO_MEMORY. */
enum status record_make(struct sched *sched, struct queue *queue, const struct body_fields *fields,
                        uint32_t *made);
/* The same where there is room, found by its key from now on. */
enum status record_new(struct sched *sched, struct queue *queue, const struct body_fields *fields,
                       uint32_t *slot);
/* From PLACE_NOWHERE or PLACE_STAGED, a record of its own from now on: it gets its number and its
 * state number, drawn by the caller. Counted as created. */
void record_begin(struct sched *sched, uint32_t slot, uint64_t state);
/* Frees a staged record, or one in PLACE_NOWHERE that never began, at once. */
void record_drop(struct sched *sched, uint32_t slot);

/* Written with the next batch. There must be room (record_reserve). */
static inline void record_mark(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    unsigned parity = sched->parity;
    enum flag flag = parity ? FLAG_DIRTY_1 : FLAG_DIRTY_0;
    queue_of(sched, record)->is_dirty = true;
    if (record->flags & flag)
        return;
    assert(sched->dirty_count[parity] < sched->dirty_room[parity]);
    sched->dirty[parity][sched->dirty_count[parity]++] = slot;
    record_set_flag(record, flag);
}
/* Walking over what is marked: asks for a record that comes a little later. */
__attribute__((always_inline)) static inline void sched_fetch_dirty(const struct sched *sched,
                                                                    unsigned parity, uint32_t i)
{
    if (i + DIRTY_AHEAD < sched->dirty_count[parity])
        __builtin_prefetch(record_at(sched, sched->dirty[parity][i + DIRTY_AHEAD]), 1);
}
/* Its body too. */
void record_mark_cold(struct sched *sched, uint32_t slot);

/* Replaces the body, taken. */
void record_set_body(struct sched *sched, uint32_t slot, uint32_t body);
/* Packs `fields` into a new body in place of the old when they differ. */
enum status record_repack(struct sched *sched, uint32_t slot, const struct body_fields *fields);

/* Bodies are moved where there are too many holes between them (bodies.h), as long as the budget
 * lasts: one for each record that is looked at. Stops where memory is out. */
bool record_has_tidying(const struct sched *sched);
void record_tidy(struct sched *sched, uint32_t *budget);

/* Into another state; the heap, or the lease, is the caller's. */
static inline void record_move_to(struct sched *sched, uint32_t slot, enum place where)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    queue->counts[record->where]--;
    queue->counts[where]++;
    record->where = where & MASK_BITS(3);
}
/* Out of whichever heap it is in, to PLACE_NOWHERE. Not for leased ones. */
void record_displace(struct sched *sched, uint32_t slot);
/* From PLACE_NOWHERE to waiting or ready, by its due. */
void record_schedule(struct sched *sched, uint32_t slot, int64_t due_us, struct moment now);
/* From PLACE_NOWHERE, or out of the waiting heap, to ready (or awaiting) with the due that it has.
 */
void record_make_ready(struct sched *sched, uint32_t slot);
/* From PLACE_NOWHERE, for the rest of the grace; its due may have come long before: it is not late.
 */
void record_hold(struct sched *sched, uint32_t slot);
/* From PLACE_NOWHERE. */
void record_park(struct sched *sched, uint32_t slot, struct moment now);

/* Gone for clients from now on. From any place but leased. Drops what is pending. */
void record_remove(struct sched *sched, uint32_t slot);

/* The slot may be used again: the removal is durable. */
void record_free(struct sched *sched, uint32_t slot);

/* A key is going to be put or removed: room to note that. */
enum status sync_reserve_touched(struct sched *sched, struct queue *queue, struct bytes key);
/* It was, the one for which room was made last: a sync under way must leave it as it is. */
void sync_note_touched(struct sched *sched, struct queue *queue, struct bytes key);
/* A record that a sync under way has staged is put, and so is no more the sync's. */
void sync_give_up_staged(struct queue *queue);

/* --- sched_lease.c ---------------------------------------------------------------------------- */

static inline struct lease *lease_at(const struct sched *sched, uint32_t id)
{
    return slab_at(&sched->leases, id);
}
/* The live one of this number; SLAB_NONE. */
static inline uint32_t lease_find(const struct sched *sched, uint64_t number)
{
    uint32_t id = table_head_first(&sched->live, number);
    while (id != SLAB_NONE && lease_at(sched, id)->number != number) /* ends with the chain */
        id = slab_link(&sched->leases, id)->next;
    return id;
}
/* The lease of this record that ended last, of those that may still report; SLAB_NONE. */
uint32_t lease_find_ended(const struct sched *sched, uint32_t slot);
void lease_forget_ended(struct sched *sched, uint32_t slot);
/* Room for `count` more and for their ends; of themselves only the first has its room yet: the
 * others need slab_reserve. */
bool lease_reserve(struct sched *sched, uint32_t count);
/* A new lease on a record that is in no heap. There must be room. session SLAB_NONE: detached. */
uint32_t lease_new(struct sched *sched, uint32_t slot, uint64_t number, uint32_t session,
                   int64_t lease_us, struct moment now);
/* Ends it; its record is in PLACE_NOWHERE then (if it is there still). */
void lease_end(struct sched *sched, uint32_t id);
/* Loses it: `counted` as a crash. When that needs memory or a number, and there is none, it belongs
 * to nobody from now on and is lost as soon as there is: until then a late report is in time. In
 * the grace the record of a lease that was resumed is held on: of several old holders others may
 * come back. */
void lease_lose(struct sched *sched, uint32_t id, bool counted, struct moment now);
/* It was taken, not streamed: it uses no credit. */
void lease_set_taken(struct sched *sched, uint32_t id);
void lease_move(struct sched *sched, uint32_t id, uint32_t session);
enum status lease_touch(struct sched *sched, const struct event *event);
enum status lease_give_back(struct sched *sched, const struct event *event);
enum status lease_undelivered(struct sched *sched, const struct event *event);
void lease_expire(struct sched *sched, struct moment now, struct effects *effects);
/* When a record is due after the back-off before try `count`. */
int64_t backoff_due_us(const struct sched *sched, const struct record *record, uint32_t count,
                       struct moment now);
/* Whether the queue's budget allows another to be parked by count. */
bool park_is_allowed(const struct sched *sched, const struct queue *queue, struct moment now);
/* From PLACE_NOWHERE, its reason written and room in the heap: parks it, and counts that. */
void park_by_count(struct sched *sched, uint32_t slot, struct moment now);

/* --- sched_resume.c --------------------------------------------------------------------------- */

/* STALE: another has been given the record since, or its report was another's. */
enum status lease_resume(struct sched *sched, const struct event *event, struct effects *effects);

/* --- sched_ends.c ----------------------------------------------------------------------------- */

/* Of all live leases: each has an end, at which it is lost. */
void ends_init(struct sched *sched);
uint32_t ends_count(const struct sched *sched);
/* Room for so many more. */
bool ends_reserve(struct sched *sched, uint32_t count);
void ends_add(struct sched *sched, uint32_t id, int64_t end_mono_us);
void ends_remove(struct sched *sched, uint32_t id);
/* Another end, as if it had begun now. */
void ends_move(struct sched *sched, uint32_t id, int64_t end_mono_us);
/* The one that ends first, of equal ones the first that was given its end; SLAB_NONE. */
uint32_t ends_first(const struct sched *sched);
/* When; TIME_US_NEVER. */
int64_t ends_first_mono_us(const struct sched *sched);
/* All that must hold. */
bool ends_check(const struct sched *sched, uint32_t *chunk_count, const char **what);

/* --- sched_session.c -------------------------------------------------------------------------- */

static inline struct session *session_at(const struct sched *sched, uint32_t slot)
{
    return slab_at(&sched->sessions, slot);
}
/* The slot of the caller's number; SLAB_NONE. */
static inline uint32_t session_find(const struct sched *sched, uint32_t number)
{
    return number < sched->session_slot_room ? sched->session_slots[number] : SLAB_NONE;
}
uint32_t session_find_uid(const struct sched *sched, const uint8_t *uid);
enum status session_hello(struct sched *sched, const struct event *event, struct effects *effects);
enum status session_credit(struct sched *sched, const struct event *event);
enum status session_goodbye(struct sched *sched, const struct event *event);
enum status session_disconnect(struct sched *sched, const struct event *event);
void session_seen(struct sched *sched, const struct event *event);
void session_pass_time(struct sched *sched, struct moment now, struct effects *effects);
/* It may hold leases from now on: written down, so that it is waited for after a restart. */
void session_write(struct sched *sched, uint32_t slot);
/* Its row goes: no process of that uid is waited for after a restart. There is room. */
void session_remove_row(struct sched *sched, const uint8_t *uid);
/* Whether it may be given leases: after a crash nobody would wait for one whose row is not durable,
 * and what it holds would be given away. Without memory for a row there is no such promise. */
bool session_may_hold(const struct sched *sched, const struct session *session);
/* A lease of its own has run out. */
void session_note_expired(struct session *session, struct moment now);
bool session_is_suspect(const struct sched *sched, const struct session *session,
                        struct moment now);
/* One more of its leases was announced. */
void session_announced(struct sched *sched, uint32_t slot, struct moment now);
struct bytes session_name(const struct sched *sched, uint32_t slot);

/* --- sched_grant.c ---------------------------------------------------------------------------- */

void grant_ready(struct sched *sched, struct moment now, struct effects *effects);
/* Whether a record of this queue that is due would be handed out at once. O(sessions). */
bool grant_has_taker(const struct sched *sched, const struct queue *queue, struct moment now);
enum status take_begin(struct sched *sched, const struct event *event, struct effects *effects);
/* Takes that waited for the end of the grace, or for their session, are looked at again. */
void take_look_again(struct sched *sched);
void take_pass_time(struct sched *sched, struct moment now, struct effects *effects);
void take_drop_session(struct sched *sched, uint32_t session);
bool take_exists(const struct queue *queue);

/* --- sched_report.c --------------------------------------------------------------------------- */

enum status report_step(struct sched *sched, const struct event *event);

/* --- sched_change.c --------------------------------------------------------------------------- */

enum status change_put(struct sched *sched, const struct event *event);
enum status change_remove(struct sched *sched, const struct event *event, struct effects *effects);
enum status change_run_now(struct sched *sched, const struct event *event);
enum status change_kick(struct sched *sched, const struct event *event);
enum status change_kick_all(struct sched *sched, const struct event *event,
                            struct effects *effects);
void change_kick_slice(struct sched *sched, struct queue *queue, uint32_t *budget,
                       struct moment now, struct effects *effects);
enum status change_pause(struct sched *sched, const struct event *event, bool is_paused);
enum status change_drain(struct sched *sched, const struct event *event, struct effects *effects);
/* Its answers are not waited for any more. */
void change_drop_session(struct sched *sched, uint32_t number);
enum status change_undrain(struct sched *sched);
void drain_pass_time(struct sched *sched, struct moment now, struct effects *effects);

/* The status of a put's fields, before anything is changed. */
enum status put_check(const struct sched *sched, const struct put *put);
/* NO_SPACE: over the byte limit, and the put makes the record larger. */
enum status put_check_room(const struct sched *sched, uint32_t slot, const struct put *put);
/* `fields` with what the put gives in place. `is_full`: payload, every, rank, group and once that
 * it does not give are cleared; its memo does not count. */
void put_overlay(const struct put *put, bool is_full, struct body_fields *fields);
/* A put on a record that is in no worker's hands. */
enum status put_change(struct sched *sched, uint32_t slot, const struct put *put, bool is_full,
                       struct moment now);
/* Removes a record wherever it is; room is reserved, effects too. */
void change_remove_slot(struct sched *sched, uint32_t slot, struct effects *effects);
/* Whether so much waits for the disk that no more changes are taken. */
bool change_is_backlogged(const struct sched *sched);
/* The due that a put names, absolute; TIME_US_NEVER: none. */
int64_t put_due(const struct put *put, struct moment now);

struct pending *pending_find(const struct sched *sched, uint32_t slot);
/* Merges a put (or NULL) or run-now into what is pending. */
enum status pending_add(struct sched *sched, uint32_t slot, const struct put *put, bool is_full,
                        struct moment now);
/* The pending put, borrowed until pending_drop; false: there is none. */
bool pending_put(const struct pending *pending, struct put *put);
void pending_drop(struct sched *sched, uint32_t slot);
enum status pending_load(struct sched *sched, uint32_t slot, const uint8_t *bytes, uint32_t count);

/* Applies what is pending to a record whose lease is being lost, under a fresh number; `due_us`:
 * what it names, or TIME_US_NEVER. False: memory or numbers are out, nothing was changed. */
bool pending_apply_lost(struct sched *sched, uint32_t slot, struct moment now, int64_t *due_us);
/* From PLACE_NOWHERE: by the due that a pending change named, or (TIME_US_NEVER) by its own. */
void lease_place_uncounted(struct sched *sched, uint32_t slot, int64_t due_us, struct moment now);

/* --- sched_sync.c ----------------------------------------------------------------------------- */

enum status sync_begin(struct sched *sched, const struct event *event, struct effects *effects);
enum status sync_item(struct sched *sched, const struct event *event);
enum status sync_commit(struct sched *sched, const struct event *event, struct effects *effects);
enum status sync_abort(struct sched *sched, const struct event *event);
void sync_drop_session(struct sched *sched, uint32_t number);
/* Gives up those of which nothing came for too long. */
void sync_pass_time(struct sched *sched, struct moment now, struct effects *effects);
void sync_slice(struct sched *sched, struct queue *queue, uint32_t *budget, struct moment now,
                struct effects *effects);
/* The queue of a sync under way, or of the last that was answered. */
struct queue *sync_find_queue(const struct sched *sched, uint64_t generation);
bool sync_has_work(const struct queue *queue);
/* Its work goes on when the disk has taken what it did so far. */
bool sync_waits(const struct sched *sched, const struct queue *queue);
enum status sync_load_row(struct sched *sched, const struct store_row *row, const uint8_t *bytes);
void sync_destroy(struct sched *sched, struct queue *queue);

/* --- sched_load.c ----------------------------------------------------------------------------- */

enum { META_NUMBERS = 1 };
/* By its number, while loading: slots are in the order of numbers then. SLAB_NONE. */
uint32_t record_find_number(const struct sched *sched, uint64_t number);
void load_let_go(struct sched *sched, uint32_t *budget, struct moment now);
void load_session_is_back(struct sched *sched, const uint8_t *uid);
bool load_uid_is_known(const struct sched *sched, const uint8_t *uid);
void load_end_grace(struct sched *sched);
enum status queue_write_row(const struct queue *queue, struct store_batch *batch);
enum status meta_write_row(struct sched *sched, struct store_batch *batch);

#endif
