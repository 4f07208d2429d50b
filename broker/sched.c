#include "sched.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* --- settings and effects --------------------------------------------------------------------- */

void sched_settings_init(struct sched_settings *settings)
{
    *settings = (struct sched_settings){
        .limits =
            {
                .records_max = 100000000,
                .bytes_max = (uint64_t)1 << 40,
                .payload_bytes_max = PAYLOAD_BYTES_DEFAULT,
                .queues_max = QUEUES_MAX,
                .sessions_max = 10000,
                .credit_max = CREDIT_MAX,
                .backlog_max = 262144,
            },
        .policy =
            {
                .failures_max = 20,
                .crashes_max = 10,
                .backoff_first_us = US_PER_S,
                .backoff_max_us = (int64_t)3600 * US_PER_S,
                .parks_per_minute_least = 100,
                .parks_per_minute_ppm = 10000,
            },
        .lease_us = (int64_t)LEASE_MS_DEFAULT * US_PER_MS,
        .heartbeat_us = (int64_t)HEARTBEAT_MS_DEFAULT * US_PER_MS,
        .grace_us = (int64_t)5 * US_PER_S,
        .sync_idle_us = (int64_t)600 * US_PER_S,
        .suspect_us = (int64_t)600 * US_PER_S,
    };
}

void effects_init(struct effects *effects)
{
    memset(effects, 0, sizeof(*effects));
}

void effects_release(struct effects *effects)
{
    free(effects->list);
    effects_init(effects);
}

bool effects_reserve(struct effects *effects, size_t count)
{
    if (effects->count + count <= effects->room)
        return true;
    size_t room = effects->room ? effects->room : 64;
    while (room < effects->count + count)
        room *= 2;
    struct effect *list = realloc(effects->list, room * sizeof(*list));
    if (!list)
        return false;
    effects->list = list;
    effects->room = room;
    return true;
}

/* --- made and ended --------------------------------------------------------------------------- */

struct sched *sched_new(const struct sched_settings *settings)
{
    struct sched *sched = calloc(1, sizeof(*sched));
    struct store_batch *rows = store_batch_new();
    if (!sched || !rows) {
        free(sched);
        store_batch_destroy(&rows);
        return NULL;
    }
    sched->settings = *settings;
    sched->rows = rows;
    slab_init_placed(&sched->records, sizeof(struct record), offsetof(struct record, place));
    table_init_dense(&sched->keys, &sched->records);
    heap_init(&sched->waiting, &sched->records, &sched->chunks);
    slab_init(&sched->leases, sizeof(struct lease));
    table_init(&sched->live, &sched->leases);
    table_init(&sched->ended, &sched->leases);
    ends_init(sched);
    slab_init(&sched->sessions, sizeof(struct session));
    table_init(&sched->uids, &sched->sessions);
    heap_init(&sched->session_ends, &sched->sessions, &sched->chunks);
    slab_init(&sched->takes, sizeof(struct take_wait));
    heap_init(&sched->take_ends, &sched->takes, &sched->chunks);
    slab_init(&sched->pendings, sizeof(struct pending));
    table_init(&sched->pending_of, &sched->pendings);
    sched->next_number = 1;
    sched->next_record = 1;
    sched->next_generation = 1;
    sched->grace_end_mono_us = TIME_US_NEVER;
    sched->sync_look_mono_us = TIME_US_NEVER;
    sched->is_loading = true;
    sched->is_meta_dirty = true;
    return sched;
}

static void release_records(struct sched *sched)
{
    for (uint32_t slot = 0; slot < sched->records.used_end; slot++)
        bodies_give(&sched->bodies, record_at(sched, slot)->body);
    bodies_release(&sched->bodies);
    for (uint32_t id = 0; id < sched->pendings.used_end; id++)
        free(((struct pending *)slab_at(&sched->pendings, id))->put);
}

static void release_queue(struct sched *sched, struct queue *queue)
{
    sync_destroy(sched, queue);
    heap_release(&queue->ready);
    heap_release(&queue->parked);
    free(queue->subscribers);
    free(queue);
}

void sched_destroy(struct sched **self)
{
    struct sched *sched = *self;
    if (!sched)
        return;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        release_queue(sched, sched->queues[i]);
    release_records(sched);
    heap_release(&sched->waiting);
    heap_release(&sched->lease_ends);
    heap_release(&sched->session_ends);
    heap_release(&sched->take_ends);
    chunks_release(&sched->chunks);
    table_release(&sched->keys);
    table_release(&sched->live);
    table_release(&sched->ended);
    table_release(&sched->uids);
    table_release(&sched->pending_of);
    slab_release(&sched->records);
    slab_release(&sched->leases);
    slab_release(&sched->sessions);
    slab_release(&sched->takes);
    slab_release(&sched->pendings);
    store_batch_destroy(&sched->rows);
    free(sched->dirty[0]);
    free(sched->dirty[1]);
    free(sched->session_slots);
    free(sched->expected);
    free(sched);
    *self = NULL;
}

void sched_set_settings(struct sched *sched, const struct sched_settings *settings)
{
    sched->settings = *settings;
    if (sched->sync_look_mono_us != TIME_US_NEVER)
        sched->sync_look_mono_us = 0; /* the limit of those that are open may be lower now */
}

enum status sched_set_policy(struct sched *sched, struct bytes name,
                             const struct sched_policy *policy)
{
    struct queue *queue;
    enum status status = queue_require(sched, name, &queue);
    if (status)
        return status;
    queue->policy = *policy;
    queue->has_policy = true;
    return STATUS_OK;
}

/* --- numbers ---------------------------------------------------------------------------------- */

uint64_t sched_draw(struct sched *sched)
{
    if (sched->next_number >= sched->reserved_end)
        return 0;
    return sched->next_number++;
}

uint64_t sched_reserve_wanted(const struct sched *sched)
{
    uint64_t least = sched->next_number + NUMBER_BLOCK / 2;
    return sched->reserved_end < least ? sched->next_number + NUMBER_BLOCK : 0;
}

static void reserve(struct sched *sched, uint64_t end)
{
    if (end > sched->reserved_end)
        sched->reserved_end = end;
    sched->work_mono_us = 0;
}

/* --- stepping --------------------------------------------------------------------------------- */

/* Records are rarely in the cache: those of a group are asked for together, before the first of
 * them is needed. Returns how many came due. */
static uint32_t promote_group(struct sched *sched, struct moment now)
{
    uint32_t slots[PROMOTIONS_GROUP];
    uint32_t count = 0;
    while (count < PROMOTIONS_GROUP) {
        uint32_t slot = heap_pop_until(&sched->waiting, now.wall_us);
        if (slot == SLAB_NONE)
            break;
        slots[count++] = slot;
        record_fetch(sched, slot);
    }
    for (uint32_t i = 0; i < count; i++)
        record_make_ready(sched, slots[i]);
    return count;
}

/* What is due becomes ready. */
static void promote(struct sched *sched, struct moment now)
{
    uint32_t count = 0;
    while (count < PROMOTIONS_MAX) {
        uint32_t group = promote_group(sched, now);
        count += group;
        if (group < PROMOTIONS_GROUP)
            return;
    }
}

/* What the grace holds counts as leased: after a stall it is held on, too, unless all are back. */
static int64_t grace_end_us(const struct sched *sched)
{
    int64_t end_us = sched->grace_end_mono_us;
    return sched->expected_left && end_us < sched->hold_mono_us ? sched->hold_mono_us : end_us;
}

static void pass_time(struct sched *sched, const struct event *event, struct effects *effects)
{
    if (event->stalled_us >= STALL_US)
        sched->hold_mono_us = event->now.mono_us + STALL_HOLD_US;
    if (event->now.mono_us >= grace_end_us(sched))
        load_end_grace(sched);
    if (event->now.mono_us >= sched->work_mono_us)
        sched->work_mono_us = 0;
    if (event->now.mono_us >= sched->hold_mono_us) {
        session_pass_time(sched, event->now, effects);
        lease_expire(sched, event->now, effects);
        sync_pass_time(sched, event->now, effects);
    }
    promote(sched, event->now);
    take_pass_time(sched, event->now, effects);
    drain_pass_time(sched, event->now, effects);
}

static void work(struct sched *sched, const struct event *event, struct effects *effects)
{
    uint32_t budget = event->budget;
    if (sched->is_letting_go)
        load_let_go(sched, &budget, event->now);
    record_tidy(sched, &budget);
    for (uint32_t i = 0; i < sched->queue_count && budget; i++) {
        change_kick_slice(sched, sched->queues[i], &budget, event->now, effects);
        sync_slice(sched, sched->queues[i], &budget, event->now, effects);
    }
    /* Nothing went on, for numbers or memory are out, or what is left waits for records that come
     * due: the caller would ask again and again. */
    if (budget == event->budget && sched_has_work(sched))
        sched->work_mono_us = event->now.mono_us + WORK_PAUSE_US;
}

/* The sealed batch is on disk. */
static void durable(struct sched *sched)
{
    unsigned parity = sched->parity ^ 1;
    unsigned flag = parity ? FLAG_DIRTY_1 : FLAG_DIRTY_0;
    for (uint32_t i = 0; i < sched->dirty_count[parity]; i++) {
        sched_fetch_dirty(sched, parity, i);
        uint32_t slot = sched->dirty[parity][i];
        struct record *record = record_at(sched, slot);
        record_clear_flag(record, flag);
        if (record->flags & FLAG_DIRTY)
            continue;
        if (record->where == PLACE_REMOVED) {
            record_free(sched, slot);
        } else if (record->flags & FLAG_AWAIT) {
            record_clear_flag(record, FLAG_AWAIT);
            record_move_to(sched, slot, PLACE_NOWHERE);
            record_make_ready(sched, slot);
        }
    }
    sched->dirty_count[parity] = 0;
    sched->durable_seals = sched->seals;
    take_look_again(sched);
}

enum status sched_step(struct sched *sched, const struct event *event, struct effects *effects)
{
    session_seen(sched, event);
    switch (event->kind) {
    case EVENT_TIME:
        pass_time(sched, event, effects);
        return STATUS_OK;
    case EVENT_GRANT:
        grant_ready(sched, event->now, effects);
        return STATUS_OK;
    case EVENT_WORK:
        work(sched, event, effects);
        return STATUS_OK;
    case EVENT_DURABLE:
        durable(sched);
        return STATUS_OK;
    case EVENT_RESERVED:
        reserve(sched, event->number);
        return STATUS_OK;
    case EVENT_SEEN:
        return session_find(sched, event->session) == SLAB_NONE ? STATUS_NO_SESSION : STATUS_OK;
    case EVENT_HELLO:
        return session_hello(sched, event, effects);
    case EVENT_CREDIT:
        return session_credit(sched, event);
    case EVENT_TAKE:
        return take_begin(sched, event, effects);
    case EVENT_REPORT:
        return report_step(sched, event);
    case EVENT_TOUCH:
        return lease_touch(sched, event);
    case EVENT_GIVE_BACK:
        return lease_give_back(sched, event);
    case EVENT_RESUME:
        return lease_resume(sched, event, effects);
    case EVENT_GOODBYE:
        return session_goodbye(sched, event);
    case EVENT_DISCONNECT:
        return session_disconnect(sched, event);
    case EVENT_UNDELIVERED:
        return lease_undelivered(sched, event);
    case EVENT_PUT:
        return change_put(sched, event);
    case EVENT_REMOVE:
        return change_remove(sched, event, effects);
    case EVENT_RUN_NOW:
        return change_run_now(sched, event);
    case EVENT_KICK:
        return change_kick(sched, event);
    case EVENT_KICK_ALL:
        return change_kick_all(sched, event, effects);
    case EVENT_PAUSE:
        return change_pause(sched, event, true);
    case EVENT_UNPAUSE:
        return change_pause(sched, event, false);
    case EVENT_DRAIN:
        return change_drain(sched, event, effects);
    case EVENT_UNDRAIN:
        return change_undrain(sched);
    case EVENT_SYNC_BEGIN:
        return sync_begin(sched, event, effects);
    case EVENT_SYNC_ITEM:
        return sync_item(sched, event);
    case EVENT_SYNC_COMMIT:
        return sync_commit(sched, event, effects);
    case EVENT_SYNC_ABORT:
        return sync_abort(sched, event);
    }
    return STATUS_MALFORMED;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t sched_next_wall_us(const struct sched *sched)
{
    return heap_first_time(&sched->waiting);
}

int64_t sched_next_mono_us(const struct sched *sched)
{
    if (sched->has_more_grants)
        return 0;
    int64_t ends = least(ends_first_mono_us(sched), heap_first_time(&sched->session_ends));
    ends = least(ends, sched->sync_look_mono_us);
    if (ends < sched->hold_mono_us)
        ends = sched->hold_mono_us;
    int64_t next = least(ends, heap_first_time(&sched->take_ends));
    for (uint32_t i = 0; i < sched->drain_count; i++)
        next = least(next, sched->drains[i].deadline_mono_us);
    if (sched->work_mono_us)
        next = least(next, sched->work_mono_us);
    return least(next, grace_end_us(sched));
}

bool sched_waits_for_seal(const struct sched *sched)
{
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sync_has_work(sched->queues[i]) && sync_waits(sched, sched->queues[i]))
            return true;
    return false;
}

bool sched_has_work(const struct sched *sched)
{
    if (sched->work_mono_us)
        return false;
    if (sched->is_letting_go || record_has_tidying(sched))
        return true;
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        const struct queue *queue = sched->queues[i];
        if (queue->kick_left || (sync_has_work(queue) && !sync_waits(sched, queue)))
            return true;
    }
    return false;
}
