#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* --- found ------------------------------------------------------------------------------------ */

struct bytes session_name(const struct sched *sched, uint32_t slot)
{
    if (slot == SLAB_NONE)
        return (struct bytes){NULL, 0};
    const struct session *session = session_at(sched, slot);
    return (struct bytes){(const uint8_t *)session->name, session->name_bytes};
}

static uint64_t uid_hash(const uint8_t *uid)
{
    return key_hash((struct bytes){uid, SESSION_UID_BYTES}, 0);
}

/* When a network is back, thousands come within one turn. */
uint32_t session_find_uid(const struct sched *sched, const uint8_t *uid)
{
    uint32_t slot = table_first(&sched->uids, uid_hash(uid));
    while (slot != SLAB_NONE && memcmp(session_at(sched, slot)->uid, uid, SESSION_UID_BYTES) != 0)
        slot = table_next(&sched->uids, slot);
    return slot;
}

static bool require_number(struct sched *sched, uint32_t number)
{
    if (number < sched->session_slot_room)
        return true;
    uint32_t room = sched->session_slot_room ? sched->session_slot_room : 64;
    while (room <= number)
        room *= 2;
    uint32_t *slots = realloc(sched->session_slots, room * sizeof(*slots));
    if (!slots)
        return false;
    for (uint32_t i = sched->session_slot_room; i < room; i++)
        slots[i] = SLAB_NONE;
    sched->session_slots = slots;
    sched->session_slot_room = room;
    return true;
}

/* --- subscriptions ---------------------------------------------------------------------------- */

static bool subscribe(struct queue *queue, uint32_t slot)
{
    if (queue->subscriber_count == queue->subscriber_room) {
        uint32_t room = queue->subscriber_room ? queue->subscriber_room * 2 : 8;
        uint32_t *subscribers = realloc(queue->subscribers, room * sizeof(*subscribers));
        if (!subscribers)
            return false;
        queue->subscribers = subscribers;
        queue->subscriber_room = room;
    }
    queue->subscribers[queue->subscriber_count++] = slot;
    return true;
}

static void unsubscribe(struct queue *queue, uint32_t slot)
{
    for (uint32_t i = 0; i < queue->subscriber_count; i++)
        if (queue->subscribers[i] == slot) {
            queue->subscriber_count--;
            memmove(&queue->subscribers[i], &queue->subscribers[i + 1],
                    (queue->subscriber_count - (size_t)i) * sizeof(uint32_t));
            return;
        }
}

/* Makes the queues that a hello names. A queue named twice counts once. */
static enum status read_queues(struct sched *sched, const struct hello *hello,
                               struct session *session)
{
    for (uint32_t i = 0; i < hello->queue_count; i++) {
        struct queue *queue;
        enum status status = queue_require(sched, hello->queues[i], &queue);
        if (status)
            return status;
        session->queues[i] = queue->id;
    }
    session->queue_count = (uint16_t)hello->queue_count;
    return STATUS_OK;
}

static bool is_first_mention(const struct session *session, uint32_t place)
{
    for (uint32_t i = 0; i < place; i++)
        if (session->queues[i] == session->queues[place])
            return false;
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void lose_leases(struct sched *sched, struct session *session, bool unconfirmed_only,
                        struct moment now)
{
    uint32_t id = session->first_lease;
    while (id != SLAB_NONE) { /* ends with the list */
        uint32_t after = lease_at(sched, id)->after;
        bool unconfirmed = lease_at(sched, id)->unconfirmed;
        if (unconfirmed || !unconfirmed_only)
            lease_lose(sched, id, !unconfirmed, now);
        id = after;
    }
}

static struct store_row row_of(const uint8_t *uid)
{
    uint64_t parts[2];
    memcpy(parts, uid, sizeof(parts));
    return (struct store_row){.table = STORE_SESSIONS, .a = parts[0], .b = parts[1]};
}

void session_remove_row(struct sched *sched, const uint8_t *uid)
{
    struct store_row row = row_of(uid);
    row.remove = true;
    sched_add_row(sched, &row, NULL);
}

static void end_session(struct sched *sched, uint32_t slot, struct moment now)
{
    struct session *session = session_at(sched, slot);
    lose_leases(sched, session, false, now);
    take_drop_session(sched, slot);
    sync_drop_session(sched, session->number);
    change_drop_session(sched, session->number);
    for (uint32_t i = 0; i < session->queue_count; i++)
        unsubscribe(sched->queues[session->queues[i]], slot);
    if (session->is_stored)
        session_remove_row(sched, session->uid);
    heap_remove(&sched->session_ends, slot);
    table_remove(&sched->uids, slot);
    sched->session_slots[session->number] = SLAB_NONE;
    slab_give(&sched->sessions, slot);
}

void session_write(struct sched *sched, uint32_t slot)
{
    struct session *session = session_at(sched, slot);
    if (session->is_stored)
        return;
    struct store_row row = row_of(session->uid);
    row.count = session->name_bytes;
    sched_add_row(sched, &row, session->name);
    session->is_stored = true;
    session->stored_seal = sched->seals + 1;
}

bool session_may_hold(const struct sched *sched, const struct session *session)
{
    return !session->is_stored || session->stored_seal <= sched->durable_seals;
}

void session_note_expired(struct session *session, struct moment now)
{
    int64_t *expired = session->expired_mono_us;
    int64_t last_us = expired[SUSPECT_EXPIRIES - 1];
    if (last_us && now.mono_us - last_us < SUSPECT_APART_US)
        return;
    memmove(expired, expired + 1, (SUSPECT_EXPIRIES - 1) * sizeof(*expired));
    expired[SUSPECT_EXPIRIES - 1] = now.mono_us;
}

bool session_is_suspect(const struct sched *sched, const struct session *session, struct moment now)
{
    int64_t first_us = session->expired_mono_us[0];
    return first_us && now.mono_us - first_us < sched->settings.suspect_us;
}

/* --- hello ------------------------------------------------------------------------------------ */

/* All that the session will announce was announced, or is given up. */
static void end_announcing(struct sched *sched, uint32_t slot, struct moment now)
{
    struct session *session = session_at(sched, slot);
    session->resume_left = 0;
    session->resume_end_mono_us = TIME_US_NEVER;
    lose_leases(sched, session, true, now);
    load_session_is_back(sched, session->uid);
}

void session_announced(struct sched *sched, uint32_t slot, struct moment now)
{
    struct session *session = session_at(sched, slot);
    if (session->resume_left && --session->resume_left == 0)
        end_announcing(sched, slot, now);
}

/* When to look at the session: at that time, or before when something of it ends. */
static int64_t next_look_us(const struct session *session, int64_t time_us)
{
    if (session->lost_mono_us < time_us)
        time_us = session->lost_mono_us;
    return session->resume_end_mono_us < time_us ? session->resume_end_mono_us : time_us;
}

static int64_t in_range(uint32_t value_ms, int64_t otherwise_us, int64_t least_ms, int64_t most_ms)
{
    if (value_ms == 0)
        return otherwise_us;
    int64_t ms = value_ms < least_ms ? least_ms : value_ms;
    return (ms > most_ms ? most_ms : ms) * US_PER_MS;
}

static void read_hello(const struct sched *sched, const struct event *event,
                       struct session *session)
{
    const struct hello *hello = event->hello;
    const struct sched_settings *settings = &sched->settings;
    struct bytes name = bytes_cut_utf8(hello->name, SESSION_NAME_BYTES_MAX);
    session->number = event->session;
    memcpy(session->uid, hello->uid, SESSION_UID_BYTES);
    session->name_bytes = (uint8_t)name.count;
    if (name.count)
        memcpy(session->name, name.data, name.count);
    session->credit =
        hello->credit < settings->limits.credit_max ? hello->credit : settings->limits.credit_max;
    session->lease_us = in_range(hello->lease_ms, settings->lease_us, LEASE_MS_MIN, LEASE_MS_MAX);
    session->heartbeat_us =
        in_range(hello->heartbeat_ms, settings->heartbeat_us, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX);
    session->first_lease = SLAB_NONE;
    session->seen_mono_us = session->began_mono_us = event->now.mono_us;
    session->lost_mono_us = session->resume_end_mono_us = TIME_US_NEVER;
    session->resume_left = hello->resume_count;
    if (session->resume_left)
        session->resume_end_mono_us =
            event->now.mono_us +
            (settings->grace_us < RESUME_US_MIN ? RESUME_US_MIN : settings->grace_us);
}

/* The same process on a new connection, as suspect as before: what it held goes with it, until it
 * has announced what it knows of. */
static void take_over(struct sched *sched, uint32_t old, uint32_t slot)
{
    memcpy(session_at(sched, slot)->expired_mono_us, session_at(sched, old)->expired_mono_us,
           sizeof(session_at(sched, slot)->expired_mono_us));
    while (session_at(sched, old)->first_lease != SLAB_NONE) { /* ends with the list */
        uint32_t id = session_at(sched, old)->first_lease;
        lease_move(sched, id, slot);
        lease_at(sched, id)->unconfirmed = true;
    }
}

static enum status make_session(struct sched *sched, const struct event *event, uint32_t *made)
{
    bool replaces = session_find_uid(sched, event->hello->uid) != SLAB_NONE;
    if (sched->sessions.count - replaces >= sched->settings.limits.sessions_max)
        return STATUS_TOO_MANY;
    if (event->hello->queue_count > SESSION_QUEUES_MAX)
        return STATUS_BAD_FIELD;
    if (!require_number(sched, event->session) || !table_reserve(&sched->uids) ||
        !heap_reserve(&sched->session_ends, sched->session_ends.count + 1))
        return STATUS_NO_MEMORY;
    uint32_t slot = slab_take(&sched->sessions);
    if (slot == SLAB_NONE)
        return STATUS_NO_MEMORY;
    if (!sched_reserve_rows(sched, 0, 0)) { /* its own are counted already */
        slab_give(&sched->sessions, slot);
        return STATUS_NO_MEMORY;
    }
    struct session *session = session_at(sched, slot);
    read_hello(sched, event, session);
    enum status status = read_queues(sched, event->hello, session);
    uint32_t done = 0;
    for (; !status && done < session->queue_count; done++)
        if (is_first_mention(session, done) &&
            !subscribe(sched->queues[session->queues[done]], slot))
            status = STATUS_NO_MEMORY;
    if (status) {
        for (uint32_t i = 0; i < done; i++)
            unsubscribe(sched->queues[session->queues[i]], slot);
        slab_give(&sched->sessions, slot);
        return status;
    }
    heap_push(&sched->session_ends, slot,
              next_look_us(session, event->now.mono_us + session->heartbeat_us));
    *made = slot;
    return STATUS_OK;
}

enum status session_hello(struct sched *sched, const struct event *event, struct effects *effects)
{
    uint32_t old = session_find_uid(sched, event->hello->uid);
    uint32_t same = session_find(sched, event->session);
    uint32_t slot;
    if (!effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    enum status status = make_session(sched, event, &slot);
    if (status)
        return status;
    struct session *session = session_at(sched, slot);
    session->known = old != SLAB_NONE || load_uid_is_known(sched, session->uid);
    if (old != SLAB_NONE) {
        take_over(sched, old, slot);
        uint32_t number = session_at(sched, old)->number;
        end_session(sched, old, event->now);
        if (number != event->session)
            effects_add(effects, &(struct effect){.kind = EFFECT_LOST, .session = number});
    }
    if (same != SLAB_NONE && same != old) /* another uid on the same connection */
        end_session(sched, same, event->now);
    sched->session_slots[event->session] = slot;
    table_put(&sched->uids, slot, uid_hash(session->uid));
    /* One that was known before a restart is until it ends: its row is its own now. */
    if (session->credit || session->held || load_uid_is_known(sched, session->uid))
        session_write(sched, slot);
    if (session->resume_left == 0)
        end_announcing(sched, slot, event->now);
    return STATUS_OK;
}

/* --- in between ------------------------------------------------------------------------------- */

enum status session_credit(struct sched *sched, const struct event *event)
{
    uint32_t slot = session_find(sched, event->session);
    if (slot == SLAB_NONE)
        return STATUS_NO_SESSION;
    uint32_t most = sched->settings.limits.credit_max;
    session_at(sched, slot)->credit = event->credit < most ? event->credit : most;
    if (event->credit)
        session_write(sched, slot);
    return STATUS_OK;
}

enum status session_goodbye(struct sched *sched, const struct event *event)
{
    uint32_t slot = session_find(sched, event->session);
    if (slot == SLAB_NONE)
        return STATUS_NO_SESSION;
    /* What had begun was given back before, one by one: the rest was still on its way. */
    uint32_t id = session_at(sched, slot)->first_lease;
    for (; id != SLAB_NONE; id = lease_at(sched, id)->after)
        lease_at(sched, id)->unconfirmed = true;
    end_session(sched, slot, event->now);
    return STATUS_OK;
}

enum status session_disconnect(struct sched *sched, const struct event *event)
{
    uint32_t slot = session_find(sched, event->session);
    if (slot == SLAB_NONE)
        return STATUS_NO_SESSION;
    struct session *session = session_at(sched, slot);
    if (event->wait_us <= 0) {
        end_session(sched, slot, event->now);
        return STATUS_OK;
    }
    take_drop_session(sched, slot); /* an answer would not arrive; it asks again when it is back */
    session->lost_mono_us = event->now.mono_us + event->wait_us;
    heap_move(&sched->session_ends, slot, next_look_us(session, session->lost_mono_us));
    return STATUS_OK;
}

void session_seen(struct sched *sched, const struct event *event)
{
    if (event->kind <= EVENT_RESERVED || event->kind == EVENT_DISCONNECT ||
        event->kind == EVENT_UNDELIVERED)
        return;
    uint32_t slot = session_find(sched, event->session);
    if (slot != SLAB_NONE)
        session_at(sched, slot)->seen_mono_us = event->now.mono_us;
}

/* A session's time has come: it was silent for a heartbeat (ping), for three (lost), or neither
 * (look again later: messages only note the time, so that they cost nothing). One that has not
 * announced what it said it would is waited for no longer: it would be given nothing for ever.
 * Returns false when effects have no room. */
static bool check_session(struct sched *sched, uint32_t slot, struct moment now,
                          struct effects *effects)
{
    struct session *session = session_at(sched, slot);
    if (!effects_reserve(effects, 1))
        return false;
    int64_t silent_us = now.mono_us - session->seen_mono_us;
    bool is_here = session->lost_mono_us == TIME_US_NEVER;
    bool is_lost = is_here ? silent_us >= session->heartbeat_us * HEARTBEATS_LOST
                           : now.mono_us >= session->lost_mono_us;
    if (is_lost) {
        effects_add(effects, &(struct effect){.kind = EFFECT_LOST, .session = session->number});
        end_session(sched, slot, now);
        return true;
    }
    if (now.mono_us >= session->resume_end_mono_us)
        end_announcing(sched, slot, now);
    int64_t next_us = session->seen_mono_us + session->heartbeat_us;
    if (!is_here) { /* it cannot answer: its end was set when its connection broke */
        next_us = session->lost_mono_us;
    } else if (silent_us >= session->heartbeat_us) {
        effects_add(effects, &(struct effect){.kind = EFFECT_PING, .session = session->number});
        next_us = now.mono_us + session->heartbeat_us;
        int64_t end_us = session->seen_mono_us + session->heartbeat_us * HEARTBEATS_LOST;
        next_us = next_us < end_us ? next_us : end_us;
    }
    heap_move(&sched->session_ends, slot, next_look_us(session, next_us));
    return true;
}

void session_pass_time(struct sched *sched, struct moment now, struct effects *effects)
{
    for (int i = 0; i < ENDINGS_MAX && heap_first_time(&sched->session_ends) <= now.mono_us; i++)
        if (!check_session(sched, heap_first(&sched->session_ends), now, effects))
            return;
}
