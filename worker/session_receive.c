#include "session_private.h"

#include <stddef.h>
#include <string.h>

enum { SETTLE_AHEAD = 8 }; /* leases */

/* --- welcome ---------------------------------------------------------------------------------- */

static uint32_t clamp(uint32_t number, uint32_t least, uint32_t most)
{
    if (number < least)
        return least;
    return number < most ? number : most;
}

static bool is_same_store(const struct session *session, const struct welcome *welcome)
{
    return session->has_store && memcmp(session->store_id, welcome->store_id, STORE_ID_BYTES) == 0;
}

static void receive_welcome(struct session *session, struct wire_reader *reader, uint32_t fields,
                            struct moment now)
{
    struct welcome welcome;
    welcome_read(reader, fields, &welcome);
    if (reader->status) {
        session->counts.malformed++;
        return;
    }
    if (session->state != SESSION_GREETING || !session->hello_sent ||
        welcome.id != session->hello_id)
        return;

    bool other_store = session->has_store && !is_same_store(session, &welcome);
    memcpy(session->store_id, welcome.store_id, STORE_ID_BYTES);
    session->has_store = true;
    if (other_store)
        session_drop_all(session);
    if (other_store && session->announced_some) {
        /* This broker waits for announcements that mean nothing to it. */
        session_break_at_once(session, now);
        return;
    }
    session->lease_us = (int64_t)clamp(welcome.lease_ms, LEASE_MS_MIN, LEASE_MS_MAX) * US_PER_MS;
    session->heartbeat_us =
        (int64_t)clamp(welcome.heartbeat_ms, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX) * US_PER_MS;
    session->payload_bytes_max = clamp(welcome.payload_bytes_max, 1, PAYLOAD_BYTES_MAX);
    session->greeting_us = SESSION_GREETING_FIRST_US;
    session->state = SESSION_LIVE;
    session->counts.welcomes++;
}

/* --- work ------------------------------------------------------------------------------------- */

static void take_in(struct session *session, struct lease *lease)
{
    if (lease_table_find(&session->table, lease->task.lease)) {
        session->counts.malformed++;
        lease_blocks_drop(&session->blocks, lease);
        return;
    }
    session->counts.received++;
    if (session->stopping) {
        lease_list_append(&session->returning, lease, LEASE_RETURNING);
        return;
    }
    lease->at_caller = true;
    lease_list_append(&session->held, lease, LEASE_HELD);
    lease_table_put(&session->table, lease);
    lease_chain_append(&session->arrived, lease);
    if (lease->due_us < session->touch_us)
        session->touch_us = lease->due_us;
}

static void receive_tasks(struct session *session, struct wire_reader *reader, struct moment now)
{
    const struct lease_source source = {session->options.queues, session->options.queue_count,
                                        now.mono_us};
    struct lease_block *block;
    enum status status = lease_block_read(&block, reader, &source);
    if (status) {
        session->counts.malformed += status == STATUS_MALFORMED;
        return;
    }
    lease_blocks_put(&session->blocks, block);
    /* The block goes with its last lease, so it is kept by one of our own meanwhile. */
    uint32_t count = block->count;
    block->live++;
    for (uint32_t i = 0; i < count; i++)
        take_in(session, &block->leases[i]);
    lease_blocks_let_go(&session->blocks, block);
}

/* A CANCEL of what is announced left before the announcement was read: its answer comes behind, and
 * says whether the lease goes on. */
static void receive_cancel(struct session *session, struct wire_reader *reader)
{
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    for (uint32_t i = 0; i < count && !reader->status; i++) {
        uint64_t number = wire_read_uint(reader);
        struct lease *lease = reader->status ? NULL : lease_table_find(&session->table, number);
        if (lease && !lease->announced)
            session_cancel(session, lease);
    }
    session->counts.malformed += reader->status != STATUS_OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The statuses of a request's items, one after the other. */
struct item_statuses {
    enum status whole;
    struct wire_reader *reader;
    uint32_t left;
};

/* An answer that has fewer statuses than the request had items says nothing about the rest. */
static enum status next_status(struct item_statuses *statuses)
{
    if (statuses->whole != STATUS_OK)
        return statuses->whole;
    if (statuses->left == 0)
        return STATUS_BUSY;
    statuses->left--;
    int64_t status = wire_read_int_saturated(statuses->reader);
    bool is_status = !statuses->reader->status && status >= INT32_MIN && status <= INT32_MAX;
    return is_status ? (enum status)status : STATUS_BUSY;
}

/* TOUCH, RESUME: those that are ours still last from the sending on. */
static void settle_extension(struct session *session, const struct request *request,
                             struct item_statuses *statuses, struct moment now)
{
    int64_t ends_us = request->sent_us + (int64_t)request->lease_ms * US_PER_MS;
    for (uint32_t i = 0; i < request->number_count; i++) {
        enum status status = next_status(statuses);
        struct lease *lease = lease_table_find(&session->table, request->numbers[i]);
        if (!lease)
            continue;
        if (request->type == MESSAGE_RESUME)
            lease->announced = false;
        if (status == STATUS_STALE || status == STATUS_GONE) {
            session_cancel(session, lease);
        } else if (status == STATUS_OK) {
            atomic_store(&lease->ends_us, ends_us);
            if (request->type == MESSAGE_RESUME)
                lease->due_us = now.mono_us;
            if (lease->due_us < session->touch_us)
                session->touch_us = lease->due_us;
        }
    }
}

/* What an answer is about was sent a commit ago, and is rarely in the cache. The leases of a
 * request lie one behind the other as a rule: so the memory that one of the next needs is asked
 * for. What lies elsewhere is asked for in vain. (Always in line: gcc takes a function that does
 * nothing else for one without effect.) */
__attribute__((always_inline)) static inline void fetch_ahead(const struct lease *lease)
{
    uintptr_t ahead = (uintptr_t)lease + SETTLE_AHEAD * sizeof(*lease);
    __builtin_prefetch((const void *)(ahead + offsetof(struct lease, sheet)), 1);
    __builtin_prefetch((const void *)(ahead + offsetof(struct lease, block)), 1);
}

static void settle_items(struct session *session, struct request *request,
                         struct item_statuses *statuses, struct moment now)
{
    while (request->leases.first) {
        struct lease *lease = request->leases.first;
        fetch_ahead(lease);
        enum status status = next_status(statuses);
        if (request->type == MESSAGE_REPORT) {
            session_settle_report(session, lease, status, now);
        } else if (status == STATUS_BUSY || status == STATUS_NO_SPACE) {
            lease->due_us = now.mono_us + SESSION_LATER_US;
            lease_list_append(&session->later, lease, LEASE_LATER);
        } else {
            session_end_lease(session, lease);
        }
    }
}

/* Whether it answers the hello or the goodbye. */
static bool receive_own_answer(struct session *session, uint64_t id, enum status status,
                               struct wire_reader *reader, struct moment now)
{
    if (id == session->goodbye_id && id != 0) {
        session->state = SESSION_ENDED;
        return true;
    }
    if (id != session->hello_id || session->state != SESSION_GREETING || status >= 0)
        return false;
    wire_skip(reader);
    struct bytes text = {NULL, 0};
    if (!reader->status && reader->at < reader->end)
        text = wire_read_bytes(reader, MESSAGE_BYTES_MAX);
    session_note_refusal(session, status, text);
    session_break(session, now);
    return true;
}

static void receive_answer(struct session *session, struct wire_reader *reader, uint32_t fields,
                           struct moment now)
{
    uint64_t id = wire_read_uint(reader);
    int64_t whole = wire_read_int_saturated(reader);
    if (reader->status || fields < 2 || whole < INT32_MIN || whole > INT32_MAX) {
        session->counts.malformed++;
        return;
    }
    enum status status = (enum status)whole;
    if (receive_own_answer(session, id, status, reader, now))
        return;
    struct request *request = inflight_take(&session->inflight, id);
    if (!request)
        return; /* answered before: the request was repeated under another id */

    session->backoff_us = SESSION_BACKOFF_FIRST_US;
    struct item_statuses statuses = {status, reader, 0};
    bool has_items = status == STATUS_OK && fields > 2 && wire_is_array(reader);
    statuses.left = has_items ? wire_read_array(reader, ITEMS_MAX) : 0;
    settle_extension(session, request, &statuses, now);
    settle_items(session, request, &statuses, now);
    session->counts.malformed += reader->status != STATUS_OK;
    inflight_free(&session->inflight, request);
}

/* --- everything else -------------------------------------------------------------------------- */

static void receive_error(struct session *session, struct wire_reader *reader, uint32_t fields,
                          struct moment now)
{
    int64_t number = wire_read_int_saturated(reader);
    struct bytes text = {NULL, 0};
    if (fields > 1 && !wire_take_nil(reader))
        text = wire_read_bytes(reader, MESSAGE_BYTES_MAX);
    if (reader->status || fields < 1 || number < INT32_MIN || number > INT32_MAX) {
        session->counts.malformed++;
        return;
    }
    enum status status = (enum status)number;
    if (status != STATUS_NO_SESSION)
        session_note_refusal(session, status, text);
    if (status == STATUS_NO_SESSION || status == STATUS_VERSION || status == STATUS_DENIED)
        session_break(session, now);
}

static void receive_ping(struct session *session, struct wire_reader *reader)
{
    uint64_t id = wire_read_uint(reader);
    if (reader->status)
        session->counts.malformed++;
    else if (session->pong_count < PONGS_MAX)
        session->pongs[session->pong_count++] = id;
}

static void receive_type(struct session *session, const struct message_head *head,
                         struct wire_reader *reader, struct moment now)
{
    switch (head->type) {
    case MESSAGE_WELCOME:
        receive_welcome(session, reader, head->fields, now);
        break;
    case MESSAGE_TASKS:
        session->backoff_us = SESSION_BACKOFF_FIRST_US;
        if (session->state == SESSION_LIVE)
            receive_tasks(session, reader, now);
        break;
    case MESSAGE_CANCEL:
        receive_cancel(session, reader);
        break;
    case MESSAGE_ANSWER:
        receive_answer(session, reader, head->fields, now);
        break;
    case MESSAGE_ERROR:
        receive_error(session, reader, head->fields, now);
        break;
    case MESSAGE_PING:
        receive_ping(session, reader);
        break;
    case MESSAGE_PONG:
        session->backoff_us = SESSION_BACKOFF_FIRST_US;
        break;
    case MESSAGE_BYE:
        session_break(session, now);
        break;
    default: /* not an enum: what a later version may send is passed over */
        session->counts.malformed++;
    }
}

void session_receive(struct session *session, const uint8_t *data, size_t count, struct moment now)
{
    if (session->state == SESSION_CLOSED || session->state == SESSION_ENDED)
        return;
    struct wire_reader reader;
    struct message_head head;
    wire_reader_init(&reader, data, count);
    session->heard_us = now.mono_us;
    enum status status = message_read_head(&reader, &head);
    if (status) {
        session->counts.malformed++;
        if (status == STATUS_VERSION)
            session_note_refusal(session, status, (struct bytes){NULL, 0});
        return;
    }
    receive_type(session, &head, &reader, now);
}
