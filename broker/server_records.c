#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "quantity.h"
#include "server_internal.h"
#include "utf8.h"

/* --- put and its kind ------------------------------------------------------------------------- */

static void item_put(struct wire_reader *reader, union item *item)
{
    put_read(reader, &item->put);
}

/* Into server->items. A record may be made of each, which takes as long as several reports. */
static bool read_puts(struct server *server, struct request *request, uint32_t *count)
{
    bool is_read = input_items(server, request, item_put, count);
    server->turn_items += *count;
    return is_read;
}

/* What the next puts are about is asked for from memory together. */
static void fetch_puts(const struct server *server, const struct event *event, uint32_t from,
                       uint32_t end)
{
    struct bytes keys[FETCH_MAX];
    uint32_t count = 0;
    for (uint32_t i = from; i < end && count < FETCH_MAX; i++)
        keys[count++] = server->items[i].put.key;
    sched_fetch_keys(server->sched, event, keys, count);
}

/* At once: nothing was changed, and the batch before may wait until somebody makes room. */
static void refuse_puts(struct server *server, const struct request *request, uint32_t count)
{
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++)
        wire_write_int(&server->out, STATUS_NO_SPACE);
    answer_write_end(&server->out, (struct bytes){NULL, 0});
    output_now(server, request);
}

void records_put(struct server *server, struct request *request)
{
    uint32_t count;
    struct bytes queue = input_queue(request);
    const uint8_t *begin = request->reader.at;
    if (!read_puts(server, request, &count))
        return;
    if (storage_is_short(server)) {
        refuse_puts(server, request, count);
        return;
    }
    pressure_add(&server->pressure, count, (uint64_t)(request->reader.at - begin));
    struct event event = input_event(server, request, EVENT_PUT);
    event.put.queue = queue;
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i % FETCH_MAX == 0)
            fetch_puts(server, &event, i, count);
        event.put.put = &server->items[i].put;
        wire_write_int(&server->out, sched_step(server->sched, &event, &server->effects));
    }
    output_end_statuses(server, request);
}

/* REMOVE, RUN_NOW and KICK: a step for each key. */
static void each_key(struct server *server, struct request *request, enum event_kind kind,
                     struct bytes queue)
{
    uint32_t count;
    if (!input_items(server, request, input_key, &count))
        return;
    struct event event = input_event(server, request, kind);
    event.key.queue = queue;
    pressure_hurry(&server->pressure, server->now.mono_us);
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        event.key.key = server->items[i].key;
        wire_write_int(&server->out, sched_step(server->sched, &event, &server->effects));
    }
    output_end_statuses(server, request);
}

void records_remove(struct server *server, struct request *request)
{
    each_key(server, request, EVENT_REMOVE, input_queue(request));
}

void records_run_now(struct server *server, struct request *request)
{
    each_key(server, request, EVENT_RUN_NOW, input_queue(request));
}

void records_kick(struct server *server, struct request *request)
{
    struct bytes queue = input_queue(request);
    if (!wire_take_nil(&request->reader) && request->head.fields >= 3) {
        each_key(server, request, EVENT_KICK, queue);
        return;
    }
    if (!input_is_well_read(server, request))
        return;
    struct event event = input_event(server, request, EVENT_KICK_ALL);
    event.key.queue = queue;
    enum status status = server_step(server, &event);
    if (status)
        output_status(server, request, status, status_text(status));
}

/* --- control ---------------------------------------------------------------------------------- */

/* One step, whose answer comes when it is durable. */
static void step_durable(struct server *server, const struct request *request,
                         const struct event *event)
{
    if (!input_is_well_read(server, request))
        return;
    enum status status = server_step(server, event);
    wire_buffer_clear(&server->out);
    answer_write(&server->out, request->id, status, bytes_of(status ? status_text(status) : NULL));
    output_durable(server, request->identity);
}

void records_pause(struct server *server, struct request *request)
{
    struct event event = input_event(server, request, EVENT_PAUSE);
    event.key.queue = input_queue(request);
    step_durable(server, request, &event);
}

void records_unpause(struct server *server, struct request *request)
{
    struct bytes queue = input_queue(request);
    struct event event = input_event(server, request, queue.data ? EVENT_UNPAUSE : EVENT_UNDRAIN);
    event.key.queue = queue;
    if (!queue.data)
        safe_end(server);
    step_durable(server, request, &event);
}

void records_drain(struct server *server, struct request *request)
{
    request->id = wire_read_uint(&request->reader);
    struct event event = input_event(server, request, EVENT_DRAIN);
    uint64_t wait_ms = wire_read_uint(&request->reader);
    event.wait_us = (int64_t)(wait_ms < UINT32_MAX ? wait_ms : UINT32_MAX) * US_PER_MS;
    if (!input_is_well_read(server, request))
        return;
    enum status status = server_step(server, &event);
    if (status)
        output_status(server, request, status, status_text(status));
}

/* --- full sets -------------------------------------------------------------------------------- */

static struct tally *find_tally(const struct server *server, uint64_t generation)
{
    for (uint32_t i = 0; i < server->tally_count; i++)
        if (server->tallies[i].generation == generation)
            return &server->tallies[i];
    return NULL;
}

void records_begin_tally(struct server *server, uint32_t worker, uint64_t generation)
{
    for (uint32_t i = server->tally_count; i-- > 0;) /* of syncs that broke off */
        if (!sched_sync_exists(server->sched, server->tallies[i].generation))
            server->tallies[i] = server->tallies[--server->tally_count];
    if (server->tally_count == server->tally_room) {
        uint32_t room = server->tally_room ? server->tally_room * 2 : 8;
        struct tally *tallies = realloc(server->tallies, room * sizeof(*tallies));
        if (!tallies)
            return;
        server->tallies = tallies;
        server->tally_room = room;
    }
    server->tallies[server->tally_count++] =
        (struct tally){.generation = generation, .worker = worker};
}

void records_forget_tally(struct server *server, uint64_t generation)
{
    struct tally *tally = find_tally(server, generation);
    if (tally)
        *tally = server->tallies[--server->tally_count];
}

void records_sync_idle(struct server *server, const struct effect *effect)
{
    struct sched_sync_view view;
    char holder[SESSION_NAME_BYTES_MAX + 1] = "";
    uint64_t held_back;
    records_forget_tally(server, effect->number);
    if (!sched_view_sync(server->sched, effect->record, &view) ||
        !log_limit_allows(&server->idle_limit, server->now.mono_us, &held_back))
        return;
    struct bytes name = sched_queue_name(server->sched, effect->record);
    char queue[QUEUE_NAME_BYTES_MAX + 1] = "";
    memcpy(queue, name.data, name.count);
    utf8_first_line(holder, sizeof(holder), view.holder.data, view.holder.count);
    log_line(LOG_WARNING, "a full set was given up: nothing came of it for too long", "queue",
             queue, "by", holder, "idle_s",
             log_i64((server->now.mono_us - view.heard_mono_us) / US_PER_S), "more",
             log_u64(held_back), NULL);
}

/* Whoever is refused must know whom to ask, or to stop. */
static void refuse_second(struct server *server, const struct request *request, struct bytes queue)
{
    char text[SESSION_NAME_BYTES_MAX + 256], holder[SESSION_NAME_BYTES_MAX + 1] = "";
    char age[QUANTITY_TEXT_BYTES], idle[QUANTITY_TEXT_BYTES];
    struct sched_sync_view view = {.is_open = false};
    sched_view_sync(server->sched, sched_find_queue(server->sched, queue), &view);
    utf8_first_line(holder, sizeof(holder), view.holder.data, view.holder.count);
    if (view.is_open)
        snprintf(
            text, sizeof(text),
            "another sync of this queue is under way: \"%s\" began it %s ago, and was heard %s "
            "ago",
            holder, span_format(server->now.mono_us - view.began_mono_us, age),
            span_format(server->now.mono_us - view.heard_mono_us, idle));
    else
        snprintf(text, sizeof(text),
                 "another sync of this queue is being carried out%s%s; try again in a moment",
                 holder[0] ? ": that of " : "", holder);
    output_status(server, request, STATUS_CONFLICT, text);
}

void records_sync_begin(struct server *server, struct request *request)
{
    struct sync_begin begin;
    sync_begin_read(&request->reader, request->head.fields, &begin);
    request->id = begin.id;
    if (!input_is_well_read(server, request))
        return;
    struct event event = input_event(server, request, EVENT_SYNC_BEGIN);
    event.sync_begin = &begin;
    enum status status = storage_is_short(server) ? STATUS_NO_SPACE : server_step(server, &event);
    if (status == STATUS_CONFLICT)
        refuse_second(server, request, begin.queue);
    else if (status)
        output_status(server, request, status, status_text(status));
}

void records_sync_chunk(struct server *server, struct request *request)
{
    uint32_t count;
    request->id = wire_read_uint(&request->reader);
    uint64_t generation = wire_read_uint(&request->reader);
    const uint8_t *begin = request->reader.at;
    if (!read_puts(server, request, &count))
        return;
    struct tally *tally = find_tally(server, generation);
    if (tally && tally->worker == request->worker) {
        uInt bytes = (uInt)(request->reader.at - begin);
        tally->checksum = (uint32_t)crc32(tally->checksum, begin, bytes);
        tally->count += count;
    }
    struct event event = input_event(server, request, EVENT_SYNC_ITEM);
    event.sync_item.generation = generation;
    output_begin_statuses(server, request, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i % FETCH_MAX == 0)
            fetch_puts(server, &event, i, count);
        event.sync_item.put = &server->items[i].put;
        wire_write_int(&server->out, sched_step(server->sched, &event, &server->effects));
    }
    /* Nothing is promised before the commit; but a chunk that waits for the disk keeps its client
     * from sending more than the disk can take. */
    output_end_statuses(server, request);
}

void records_sync_commit(struct server *server, struct request *request)
{
    struct sync_commit commit;
    sync_commit_read(&request->reader, request->head.fields, &commit);
    request->id = commit.id;
    if (!input_is_well_read(server, request))
        return;
    const struct tally *tally = find_tally(server, commit.generation);
    struct event event = input_event(server, request, EVENT_SYNC_COMMIT);
    event.sync_commit.commit = &commit;
    event.sync_commit.count = tally ? tally->count : 0;
    event.sync_commit.checksum = tally ? tally->checksum : 0;
    enum status status = server_step(server, &event);
    if (status)
        output_status(server, request, status, status_text(status));
}

void records_sync_abort(struct server *server, struct request *request)
{
    request->id = wire_read_uint(&request->reader);
    struct event event = input_event(server, request, EVENT_SYNC_ABORT);
    event.sync_item.generation = wire_read_uint(&request->reader);
    step_durable(server, request, &event);
}
