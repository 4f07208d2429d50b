#include <string.h>

#include "server_internal.h"
#include "version.h"

/* --- refused ---------------------------------------------------------------------------------- */

void input_refuse(struct server *server, const struct request *request, enum status status,
                  const char *text)
{
    uint64_t held_back;
    server->counts.refused++;
    server->counts.refused_malformed += status == STATUS_MALFORMED;
    server->counts.refused_unknown += status == STATUS_UNKNOWN_TYPE;
    server->counts.refused_session += status == STATUS_NO_SESSION;
    server->counts.refused_version += status == STATUS_VERSION;
    if (log_limit_allows(&server->mistakes_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "a message was refused", "why", text, "more", log_u64(held_back),
                 NULL);
    wire_buffer_clear(&server->out);
    error_write(&server->out, status, bytes_of(text));
    output_now(server, request);
    if (status == STATUS_MALFORMED)
        guard_mistake(server, request, false);
}

void input_refuse_and_cut(struct server *server, const struct request *request, enum status status,
                          const char *text)
{
    server->counts.refused_denied += status == STATUS_DENIED;
    input_refuse(server, request, status, text);
    guard_mistake(server, request, true);
}

void input_busy(struct server *server, struct request *request, const char *why)
{
    request->id = wire_read_uint(&request->reader);
    server->counts.refused++;
    if (input_is_well_read(server, request))
        output_status(server, request, STATUS_BUSY, why);
}

struct event input_event(const struct server *server, const struct request *request,
                         enum event_kind kind)
{
    return (struct event){
        .kind = kind,
        .now = server->now,
        .session = request->worker,
        .request = request->id,
    };
}

bool input_is_well_read(struct server *server, const struct request *request)
{
    if (request->reader.status == STATUS_OK)
        return true;
    input_refuse(server, request, STATUS_MALFORMED, "a field is not what the protocol says");
    return false;
}

bool input_items(struct server *server, struct request *request, input_item *read, uint32_t *count)
{
    *count = wire_read_array(&request->reader, ITEMS_MAX);
    for (uint32_t i = 0; i < *count && request->reader.status == STATUS_OK; i++)
        read(&request->reader, &server->items[i]);
    server->turn_items += *count;
    return input_is_well_read(server, request);
}

struct bytes input_queue(struct request *request)
{
    request->id = wire_read_uint(&request->reader);
    if (request->head.fields < 2)
        return (struct bytes){NULL, 0};
    return wire_read_bytes(&request->reader, MESSAGE_BYTES_MAX);
}

void input_key(struct wire_reader *reader, union item *item)
{
    item->key = wire_read_bytes(reader, MESSAGE_BYTES_MAX);
}

/* --- sessions --------------------------------------------------------------------------------- */

static bool answer_hello(struct server *server, const struct request *request, uint64_t id)
{
    struct sched_agreed agreed;
    sched_get_agreed(server->sched, request->worker, &agreed);
    struct welcome welcome = {
        .id = id,
        .credit_max = server->options->sched.limits.credit_max,
        .lease_ms = agreed.lease_ms,
        .heartbeat_ms = agreed.heartbeat_ms,
        .payload_bytes_max = server->options->sched.limits.payload_bytes_max,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .known = agreed.is_known,
        .version = bytes_of(EVERDUE_VERSION),
        .now_us = server->now.wall_us,
    };
    memcpy(welcome.store_id, server->store->id, STORE_ID_BYTES);
    wire_buffer_clear(&server->out);
    welcome_write(&server->out, &welcome);
    return output_now(server, request);
}

/* Why it is too early for this session to begin; NULL: it is not. Those that were here before may
 * come back, whatever others with the same key did. */
static const char *too_early(struct server *server, const struct request *request,
                             const struct hello *hello)
{
    struct connection *connection = connections_find(&server->connections, request->fd);
    int64_t mono_us = server->now.mono_us;
    if (!hello_limit_allows(&server->hello_limit, hello->uid, mono_us))
        return "this session began too often; wait a few seconds";
    if (connection && !connection_may_greet(connection, mono_us))
        return "too many sessions over one connection; wait a few seconds";
    if (penalty_holds(&server->penalties, guard_who(server, request), mono_us) &&
        sched_find_session(server->sched, hello->uid) == SLAB_NONE)
        return "somebody with this key at this address broke the protocol; wait a minute";
    return NULL;
}

static bool may_begin(struct server *server, struct request *request, struct hello *hello)
{
    const char *why = too_early(server, request, hello);
    enum status status = why ? STATUS_BUSY : access_hello(server, request, hello, &why);
    if (!status && server->is_safe && hello->queue_count) {
        status = STATUS_BUSY;
        why = safe_why;
    }
    if (status == STATUS_OK)
        return true;
    server->counts.refused++;
    server->counts.refused_denied += status == STATUS_DENIED;
    server->counts.refused_hello++;
    output_status(server, request, status, why);
    return false;
}

static void on_hello(struct server *server, struct request *request)
{
    struct hello hello;
    hello_read(&request->reader, request->head.fields, &hello);
    request->id = hello.id;
    if (!input_is_well_read(server, request))
        return;
    if (!may_begin(server, request, &hello))
        return;
    bool is_new = request->worker == SLAB_NONE;
    uint64_t who = guard_who(server, request);
    if (is_new) {
        socket_read_monitor(server); /* what it says of the descriptor so far is of others before */
        request->worker = workers_add(&server->workers, request->identity, request->fd);
    }
    if (request->worker == SLAB_NONE) {
        output_status(server, request, STATUS_NO_MEMORY, NULL);
        return;
    }
    workers_at(&server->workers, request->worker)->peer = request->peer;
    workers_at(&server->workers, request->worker)->who = who;
    workers_at(&server->workers, request->worker)->is_streamed_to |= hello.credit > 0;
    struct event event = input_event(server, request, EVENT_HELLO);
    event.hello = &hello;
    enum status status = server_step(server, &event);
    if (status == STATUS_OK) {
        server->is_awaited = true; /* it is given nothing before it is written down */
        connections_set_session(&server->connections, request->fd, true);
        bool is_sent = answer_hello(server, request, hello.id);
        if (!is_sent || (is_new && workers_was_stranger(&server->workers, request->fd)))
            socket_suspect(server, request->worker); /* it broke before its HELLO was read */
        return;
    }
    if (is_new)
        workers_remove(&server->workers, request->worker);
    output_status(server, request, status, status_text(status));
}

static void on_credit(struct server *server, struct request *request)
{
    struct event event = input_event(server, request, EVENT_CREDIT);
    uint64_t credit = wire_read_uint(&request->reader);
    uint32_t most = request->peer ? request->peer->credit_max : CREDIT_MAX;
    event.credit = credit < most ? (uint32_t)credit : most;
    if (!input_is_well_read(server, request))
        return;
    workers_at(&server->workers, request->worker)->is_streamed_to |= event.credit > 0;
    server_step(server, &event);
}

static void on_goodbye(struct server *server, struct request *request)
{
    struct event event = input_event(server, request, EVENT_GOODBYE);
    request->id = event.request = wire_read_uint(&request->reader);
    if (!input_is_well_read(server, request))
        return;
    enum status status = server_step(server, &event);
    output_status(server, request, status, NULL);
    connections_set_session(&server->connections, request->fd, false);
    workers_remove(&server->workers, request->worker);
}

static void on_ping(struct server *server, struct request *request)
{
    uint64_t id = wire_read_uint(&request->reader);
    struct event event = input_event(server, request, EVENT_SEEN);
    if (!input_is_well_read(server, request))
        return;
    server_step(server, &event);
    wire_buffer_clear(&server->out);
    message_write_head(&server->out, MESSAGE_PONG, 1);
    wire_write_uint(&server->out, id);
    output_now(server, request);
}

static void on_pong(struct server *server, struct request *request)
{
    struct event event = input_event(server, request, EVENT_SEEN);
    server_step(server, &event);
}

/* --- work ------------------------------------------------------------------------------------- */

static void item_report(struct wire_reader *reader, union item *item)
{
    report_read(reader, &item->report);
}

static void item_lease_name(struct wire_reader *reader, union item *item)
{
    lease_name_read(reader, &item->name);
}

static void item_give_back(struct wire_reader *reader, union item *item)
{
    give_back_read(reader, &item->give_back);
}

static void item_resume(struct wire_reader *reader, union item *item)
{
    resume_read(reader, &item->resume);
}

/* A step for an item of a batch. Its effects wait until the batch is answered: they use the same
 * buffer. */
static void step_item(struct server *server, const struct event *event)
{
    wire_write_int(&server->out, sched_step(server->sched, event, &server->effects));
}

static void on_report(struct server *server, struct request *request)
{
    uint64_t leases[ITEMS_MAX];
    uint32_t slots[ITEMS_MAX], count;
    request->id = wire_read_uint(&request->reader);
    if (!input_items(server, request, item_report, &count))
        return;
    server->turn_reports += count;
    for (uint32_t i = 0; i < count; i++)
        leases[i] = server->items[i].report.name.lease;
    struct event event = input_event(server, request, EVENT_REPORT);
    pressure_hurry(&server->pressure, server->now.mono_us);
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i % FETCH_MAX == 0) /* what the next reports are about is asked for together */
            sched_fetch_leases(server->sched, leases, slots, count, i);
        event.report = &server->items[i].report;
        step_item(server, &event);
    }
    output_end_statuses(server, request);
}

static void on_touch(struct server *server, struct request *request)
{
    uint32_t count;
    request->id = wire_read_uint(&request->reader);
    uint64_t lease_ms = wire_read_uint(&request->reader);
    if (!input_items(server, request, item_lease_name, &count))
        return;
    struct event event = input_event(server, request, EVENT_TOUCH);
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        event.touch.name = &server->items[i].name;
        event.touch.lease_ms = lease_ms < UINT32_MAX ? (uint32_t)lease_ms : UINT32_MAX;
        step_item(server, &event);
    }
    answer_write_end(&server->out, (struct bytes){NULL, 0});
    output_now(server, request); /* touches are not written to disk */
}

static void on_give_back(struct server *server, struct request *request)
{
    uint32_t count;
    request->id = wire_read_uint(&request->reader);
    if (!input_items(server, request, item_give_back, &count))
        return;
    struct event event = input_event(server, request, EVENT_GIVE_BACK);
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        event.give_back = &server->items[i].give_back;
        step_item(server, &event);
    }
    output_end_statuses(server, request);
}

static void on_resume(struct server *server, struct request *request)
{
    uint32_t count;
    request->id = wire_read_uint(&request->reader);
    if (!input_items(server, request, item_resume, &count))
        return;
    struct event event = input_event(server, request, EVENT_RESUME);
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        event.resume = &server->items[i].resume;
        step_item(server, &event);
    }
    output_end_statuses(server, request);
}

static void on_take(struct server *server, struct request *request)
{
    struct take take;
    take_read(&request->reader, request->head.fields, &take);
    request->id = take.id;
    if (!input_is_well_read(server, request))
        return;
    struct event event = input_event(server, request, EVENT_TAKE);
    event.take = &take;
    enum status status = take.id ? server_step(server, &event) : STATUS_BAD_FIELD;
    if (status)
        output_status(server, request, status, status_text(status));
}

/* --- which is which --------------------------------------------------------------------------- */

static handle *const handlers[MESSAGE_BYE] = {
    [MESSAGE_HELLO] = on_hello,
    [MESSAGE_CREDIT] = on_credit,
    [MESSAGE_REPORT] = on_report,
    [MESSAGE_TOUCH] = on_touch,
    [MESSAGE_GIVE_BACK] = on_give_back,
    [MESSAGE_RESUME] = on_resume,
    [MESSAGE_TAKE] = on_take,
    [MESSAGE_GOODBYE] = on_goodbye,
    [MESSAGE_PING] = on_ping,
    [MESSAGE_PONG] = on_pong,
    [MESSAGE_PUT] = records_put,
    [MESSAGE_REMOVE] = records_remove,
    [MESSAGE_RUN_NOW] = records_run_now,
    [MESSAGE_KICK] = records_kick,
    [MESSAGE_GET] = look_get,
    [MESSAGE_LIST] = look_list,
    [MESSAGE_PEEK] = look_peek,
    [MESSAGE_SYNC_BEGIN] = records_sync_begin,
    [MESSAGE_SYNC_CHUNK] = records_sync_chunk,
    [MESSAGE_SYNC_COMMIT] = records_sync_commit,
    [MESSAGE_SYNC_ABORT] = records_sync_abort,
    [MESSAGE_PAUSE] = records_pause,
    [MESSAGE_UNPAUSE] = records_unpause,
    [MESSAGE_DRAIN] = records_drain,
    [MESSAGE_STATS] = look_stats,
    [MESSAGE_WORKERS] = look_workers,
    [MESSAGE_QUEUES] = look_queues,
    [MESSAGE_BACKUP] = look_backup,
};

void input_message(struct server *server, struct request *request, const void *data, size_t count)
{
    wire_reader_init(&request->reader, data, count);
    enum status status = message_read_head(&request->reader, &request->head);
    if (status) {
        bool is_version = status == STATUS_VERSION;
        input_refuse(server, request, status,
                     is_version ? "this broker speaks version 1 of the protocol"
                                : "not a message of the protocol");
        return;
    }
    int type = request->head.type;
    handle *handler = type > 0 && type < MESSAGE_BYE ? handlers[type] : NULL;
    if (!handler) {
        input_refuse(server, request, STATUS_UNKNOWN_TYPE, "a message type that is not known");
    } else if (request->worker == SLAB_NONE && type != MESSAGE_HELLO) {
        input_refuse(server, request, STATUS_NO_SESSION, "say hello first");
    } else if ((!request->peer || access_allows(server, request)) &&
               !safe_refuses(server, request) && !look_refuses(server, request) &&
               !hold_takes(server, request, (struct bytes){data, (uint32_t)count})) {
        handler(server, request);
    }
}
