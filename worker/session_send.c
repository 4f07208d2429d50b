#include "session_private.h"

#include <assert.h>
#include <stdlib.h>

/* Around the items of a message: version, type, id, the array's count, one item more. */
enum { ROOM_BYTES = KEY_BYTES_MAX + 128 };

static uint64_t next_id(struct session *session)
{
    return ++session->last_id;
}

/* Whether a message of `items` may take one more. */
static bool has_room(const struct wire_buffer *frame, size_t items)
{
    return items < ITEMS_MAX && frame->count < MESSAGE_BYTES_SOFT;
}

/* Room first, so that a message is written as a whole or not at all. */
static bool reserve(struct session *session, size_t bytes)
{
    wire_buffer_clear(&session->frame);
    return wire_buffer_reserve(&session->frame, bytes);
}

static struct bytes key_of(const struct lease *lease)
{
    return (struct bytes){lease->task.key.data, (uint32_t)lease->task.key.count};
}

static struct lease_name name_of(const struct lease *lease)
{
    return (struct lease_name){lease->queue, key_of(lease), lease->task.lease};
}

/* --- hello and what it announces ----------------------------------------------------------------
 */

static struct announcement *announcement_new(struct session *session)
{
    struct announcement *made = calloc(1, sizeof(*made));
    if (!made)
        return NULL;
    made->request = inflight_new(&session->inflight, ITEMS_MAX);
    if (!made->request) {
        free(made);
        return NULL;
    }
    made->request->type = MESSAGE_RESUME;
    made->request->id = next_id(session);
    wire_buffer_init(&made->frame);
    message_write_head(&made->frame, MESSAGE_RESUME, 2);
    wire_write_uint(&made->frame, made->request->id);
    made->array = wire_write_array_later(&made->frame);
    return made;
}

/* Into the last announcement, or another one when that is full. False: no memory. */
static bool announce(struct session *session, struct announcement **last, struct lease *lease)
{
    if (!*last || !has_room(&(*last)->frame, (*last)->request->number_count)) {
        struct announcement *made = announcement_new(session);
        if (!made)
            return false;
        *(*last ? &(*last)->next : &session->announcements) = made;
        *last = made;
    }
    struct request *request = (*last)->request;
    const struct resume item = {name_of(lease), lease->task.state};
    resume_write(&(*last)->frame, &item);
    request->numbers[request->number_count++] = lease->task.lease;
    lease->announced = true;
    wire_patch_array(&(*last)->frame, (*last)->array, request->number_count);
    return !(*last)->frame.failed;
}

static bool announce_list(struct session *session, struct announcement **last,
                          const struct lease_list *list)
{
    for (struct lease *lease = list->first; lease; lease = lease->next)
        if (!announce(session, last, lease))
            return false;
    return true;
}

/* The leases that are held, those to be given back as crashes, and those whose report was not
 * answered, as they stand now. (A lease that is not announced is with somebody else at once, though
 * its report would be here in a moment.) False: no memory. */
static bool announce_all(struct session *session, uint32_t *count)
{
    struct announcement *last = NULL;
    session_drop_announcements(session);
    session_forget_unbegun(session);
    if (!announce_list(session, &last, &session->held) ||
        !announce_list(session, &last, &session->returning) ||
        !announce_list(session, &last, &session->ready)) {
        session_drop_announcements(session);
        return false;
    }
    *count = (uint32_t)(session->held.count + session->returning.count + session->ready.count);
    return true;
}

static bool write_hello(struct session *session)
{
    const struct session_options *options = &session->options;
    struct hello hello = {
        .id = next_id(session),
        .name = options->name,
        .queue_count = options->queue_count,
        .credit = session->credit,
        .lease_ms = options->lease_ms,
        .heartbeat_ms = options->heartbeat_ms,
    };
    for (size_t i = 0; i < SESSION_UID_BYTES; i++)
        hello.uid[i] = options->uid[i];
    for (uint32_t i = 0; i < options->queue_count; i++)
        hello.queues[i] = bytes_of(options->queues[i]);
    if (!announce_all(session, &hello.resume_count))
        return false;

    wire_buffer_clear(&session->frame);
    hello_write(&session->frame, &hello);
    if (session->frame.failed) {
        session_drop_announcements(session);
        return false;
    }
    session->hello_id = hello.id;
    session->hello_sent = true;
    session->announced_some = hello.resume_count > 0;
    session->credit_changed = false;
    return true;
}

static bool write_announcement(struct session *session, struct moment now)
{
    struct announcement *first = session->announcements;
    if (!first)
        return false;
    session->announcements = first->next;
    wire_buffer_release(&session->frame);
    session->frame = first->frame;
    first->request->sent_us = now.mono_us;
    first->request->lease_ms = (uint32_t)(session->lease_us / US_PER_MS);
    inflight_put(&session->inflight, first->request);
    free(first);
    return true;
}

/* --- reports and leases that are given back -----------------------------------------------------
 */

static struct request *begin_request(struct session *session, enum message_type type,
                                     uint32_t numbers, struct moment now)
{
    struct request *request = inflight_new(&session->inflight, numbers);
    if (!request)
        return NULL;
    request->type = type;
    request->id = next_id(session);
    request->sent_us = now.mono_us;
    return request;
}

static bool write_reports(struct session *session, struct moment now)
{
    struct lease *lease = session->ready.first;
    if (!lease || !reserve(session, MESSAGE_BYTES_SOFT + lease->report_bytes + ROOM_BYTES))
        return false;
    struct request *request = begin_request(session, MESSAGE_REPORT, 0, now);
    if (!request)
        return false;

    struct wire_buffer *frame = &session->frame;
    message_write_head(frame, MESSAGE_REPORT, 2);
    wire_write_uint(frame, request->id);
    size_t array = wire_write_array_later(frame);
    while ((lease = session->ready.first) && request->leases.count < ITEMS_MAX) {
        bool fits = frame->count + lease->report_bytes <= MESSAGE_BYTES_SOFT;
        if (!fits && request->leases.count > 0)
            break;
        wire_write_raw(frame, lease->sheet->bytes.data + lease->report_offset, lease->report_bytes);
        lease_list_append(&request->leases, lease, LEASE_SENT);
    }
    wire_patch_array(frame, array, (uint32_t)request->leases.count);
    assert(!frame->failed);
    inflight_put(&session->inflight, request);
    return true;
}

static bool write_give_backs(struct session *session, struct moment now)
{
    if (!session->returning.first || !reserve(session, MESSAGE_BYTES_SOFT + ROOM_BYTES))
        return false;
    struct request *request = begin_request(session, MESSAGE_GIVE_BACK, 0, now);
    if (!request)
        return false;

    struct wire_buffer *frame = &session->frame;
    message_write_head(frame, MESSAGE_GIVE_BACK, 2);
    wire_write_uint(frame, request->id);
    size_t array = wire_write_array_later(frame);
    while (session->returning.first && has_room(frame, request->leases.count)) {
        struct lease *lease = session->returning.first;
        const struct give_back item = {name_of(lease), lease->give_back_begun};
        give_back_write(frame, &item);
        lease_list_append(&request->leases, lease, LEASE_SENT);
    }
    wire_patch_array(frame, array, (uint32_t)request->leases.count);
    assert(!frame->failed);
    inflight_put(&session->inflight, request);
    return true;
}

/* --- touches ---------------------------------------------------------------------------------- */

static size_t begin_touch(struct session *session, const struct request *request, uint32_t lease_ms)
{
    message_write_head(&session->frame, MESSAGE_TOUCH, 3);
    wire_write_uint(&session->frame, request->id);
    wire_write_uint(&session->frame, lease_ms);
    return wire_write_array_later(&session->frame);
}

static bool end_touch(struct session *session, struct request *request, size_t array)
{
    wire_patch_array(&session->frame, array, request->number_count);
    assert(!session->frame.failed);
    if (request->number_count == 0) {
        inflight_free(&session->inflight, request);
        return false;
    }
    inflight_put(&session->inflight, request);
    return true;
}

static void add_touch(struct session *session, struct request *request, const struct lease *lease)
{
    const struct lease_name name = name_of(lease);
    lease_name_write(&session->frame, &name);
    request->numbers[request->number_count++] = lease->task.lease;
}

/* What the caller wished: all wishes in front that name the same length. A longer lease is touched
 * by itself only when less than the session's length is left, for that would shorten it. */
static bool write_wishes(struct session *session, struct moment now)
{
    if (session->wish_count == 0 || !reserve(session, MESSAGE_BYTES_SOFT + ROOM_BYTES))
        return false;
    struct request *request = begin_request(session, MESSAGE_TOUCH, session->wish_count, now);
    if (!request)
        return false;
    request->lease_ms = session->wishes[0].lease_ms;
    const int64_t wish_us = (int64_t)request->lease_ms * US_PER_MS;
    size_t array = begin_touch(session, request, request->lease_ms);

    uint32_t i = 0;
    for (; i < session->wish_count && session->wishes[i].lease_ms == request->lease_ms; i++) {
        if (!has_room(&session->frame, request->number_count))
            break;
        struct lease *lease = lease_table_find(&session->table, session->wishes[i].lease);
        if (!lease)
            continue;
        add_touch(session, request, lease);
        bool is_longer = wish_us >= session->lease_us;
        lease->due_us =
            now.mono_us + (is_longer ? wish_us - session->lease_us * 2 / 3 : wish_us / 3);
        if (lease->due_us < session->touch_us)
            session->touch_us = lease->due_us;
    }
    session->wish_count -= i;
    for (uint32_t rest = 0; rest < session->wish_count; rest++)
        session->wishes[rest] = session->wishes[rest + i];
    return end_touch(session, request, array);
}

/* When this lease is to be touched: never, once its run has lasted too long. */
static int64_t touch_due_us(const struct session *session, struct lease *lease, struct moment now)
{
    int64_t begun_us = atomic_load(&lease->begun_us);
    if (begun_us > 0 && now.mono_us - begun_us >= session->options.timeout_us)
        return TIME_US_NEVER;
    return lease->due_us;
}

/* All that is due, and what will be shortly: one message instead of many. */
static bool write_touches(struct session *session, struct moment now)
{
    if (now.mono_us < session->touch_us || session->held.count == 0)
        return false;
    const int64_t third_us = session->lease_us / 3;
    const int64_t soon_us = now.mono_us + third_us / 4;
    session->touch_us = soon_us; /* without memory: tried again then */
    uint32_t most = session->held.count < ITEMS_MAX ? (uint32_t)session->held.count : ITEMS_MAX;
    struct request *request = NULL;
    if (reserve(session, MESSAGE_BYTES_SOFT + ROOM_BYTES))
        request = begin_request(session, MESSAGE_TOUCH, most, now);
    if (!request)
        return false;
    request->lease_ms = (uint32_t)(session->lease_us / US_PER_MS);
    size_t array = begin_touch(session, request, 0);

    session->touch_us = TIME_US_NEVER;
    for (struct lease *lease = session->held.first; lease; lease = lease->next) {
        int64_t due_us = touch_due_us(session, lease, now);
        if (due_us <= soon_us && !has_room(&session->frame, request->number_count)) {
            session->touch_us = now.mono_us; /* the rest goes into another message */
            break;
        }
        if (due_us <= soon_us) {
            add_touch(session, request, lease);
            due_us = now.mono_us + third_us;
        }
        lease->due_us = due_us;
        if (due_us < session->touch_us)
            session->touch_us = due_us;
    }
    return end_touch(session, request, array);
}

/* --- small ones ------------------------------------------------------------------------------- */

static bool write_number(struct session *session, enum message_type type, uint64_t number)
{
    wire_buffer_clear(&session->frame);
    message_write_head(&session->frame, type, 1);
    wire_write_uint(&session->frame, number);
    return !session->frame.failed;
}

static bool write_pong(struct session *session)
{
    if (session->pong_count == 0 ||
        !write_number(session, MESSAGE_PONG, session->pongs[session->pong_count - 1]))
        return false;
    session->pong_count--;
    return true;
}

static bool write_credit(struct session *session)
{
    if (!session->credit_changed || !write_number(session, MESSAGE_CREDIT, session->credit))
        return false;
    session->credit_changed = false;
    return true;
}

static bool write_ping(struct session *session, struct moment now)
{
    if (!session->ping_wanted || !write_number(session, MESSAGE_PING, next_id(session)))
        return false;
    session->ping_wanted = false;
    session->pinged_us = now.mono_us;
    return true;
}

static bool write_goodbye(struct session *session)
{
    if (!session->leaving || session->goodbye_id != 0 || !session_has_settled(session))
        return false;
    uint64_t id = next_id(session);
    if (!write_number(session, MESSAGE_GOODBYE, id))
        return false;
    session->goodbye_id = id;
    return true;
}

/* Announcements come before anything else but PONG; CREDIT 0 before what makes room for new tasks;
 * what is given back before reports, so that it is quickly with somebody else. */
static bool write_live(struct session *session, struct moment now)
{
    return write_pong(session) || write_announcement(session, now) || write_credit(session) ||
           write_give_backs(session, now) || write_reports(session, now) ||
           write_wishes(session, now) || write_touches(session, now) || write_ping(session, now) ||
           write_goodbye(session);
}

bool session_next_frame(struct session *session, struct moment now, struct bytes *frame)
{
    bool written = false;
    if (session->state == SESSION_GREETING)
        written = session->hello_sent ? write_pong(session) : write_hello(session);
    else if (session->state == SESSION_LIVE)
        written = write_live(session, now);
    if (!written)
        return false;
    *frame = (struct bytes){session->frame.data, (uint32_t)session->frame.count};
    return true;
}
