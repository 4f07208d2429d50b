#include <string.h>

#include "server_internal.h"
#include "version.h"

enum { PEEK_MAX = 1000, LIST_LOOKS = 20000 };

bool look_refuses(struct server *server, struct request *request)
{
    int type = request->head.type;
    bool is_look = (type >= MESSAGE_GET && type <= MESSAGE_PEEK) ||
                   (type >= MESSAGE_STATS && type <= MESSAGE_QUEUES);
    if (!is_look || request->worker == SLAB_NONE ||
        worker_unread(workers_at(&server->workers, request->worker)) <= UNREAD_MAX)
        return false;
    input_busy(server, request, "read the answers to what you asked before");
    return true;
}

/* --- records ---------------------------------------------------------------------------------- */

static void begin_answer(struct server *server, const struct request *request)
{
    wire_buffer_clear(&server->out);
    answer_write_head(&server->out, request->id, STATUS_OK);
}

static void end_answer(struct server *server, const struct request *request)
{
    answer_write_end(&server->out, (struct bytes){NULL, 0});
    output_now(server, request);
}

void look_get(struct server *server, struct request *request)
{
    uint32_t count;
    struct bytes queue = input_queue(request);
    if (!input_items(server, request, input_key, &count))
        return;
    begin_answer(server, request);
    size_t count_at = wire_write_array_later(&server->out);
    for (uint32_t i = 0; i < count; i++) {
        struct record_view view;
        enum status status = sched_view_record(server->sched, queue, server->items[i].key, &view);
        if (!status && server->out.count > MESSAGE_BYTES_MAX / 2)
            status = STATUS_TOO_MANY; /* the answer is full: ask for the rest again */
        if (status)
            wire_write_int(&server->out, status);
        else
            record_view_write(&server->out, &view);
    }
    wire_patch_array(&server->out, count_at, count);
    end_answer(server, request);
}

void look_list(struct server *server, struct request *request)
{
    struct bytes queue = input_queue(request);
    unsigned statuses = (unsigned)wire_read_uint(&request->reader) & RECORD_ANY;
    struct bytes prefix = wire_read_bytes(&request->reader, MESSAGE_BYTES_MAX);
    uint64_t cursor = wire_read_uint(&request->reader);
    uint64_t max = wire_read_uint(&request->reader);
    if (!input_is_well_read(server, request))
        return;
    if (cursor > UINT32_MAX) {
        output_status(server, request, STATUS_BAD_FIELD, "a cursor is that of the answer before");
        return;
    }
    /* The cursor comes before the records, and is known after them: they are built apart. */
    uint32_t budget = LIST_LOOKS, count = 0;
    struct record_view view;
    struct wire_buffer *records = &server->take_out;
    wire_buffer_clear(records);
    while (count < max && count < ITEMS_MAX && records->count < MESSAGE_BYTES_SOFT &&
           sched_list_next(server->sched, queue, statuses, prefix, &cursor, &budget, &view)) {
        record_view_write(records, &view);
        count++;
    }
    begin_answer(server, request);
    wire_write_array(&server->out, 2);
    if (cursor)
        wire_write_uint(&server->out, cursor);
    else
        wire_write_nil(&server->out);
    wire_write_array(&server->out, count);
    wire_write_raw(&server->out, records->data, records->count);
    server->out.failed |= records->failed;
    end_answer(server, request);
}

void look_peek(struct server *server, struct request *request)
{
    struct bytes queue = input_queue(request);
    uint64_t max = wire_read_uint(&request->reader);
    if (!input_is_well_read(server, request))
        return;
    uint32_t slots[PEEK_MAX];
    uint32_t found =
        sched_peek(server->sched, queue, slots, max < PEEK_MAX ? (uint32_t)max : PEEK_MAX);
    uint32_t written = 0;
    begin_answer(server, request);
    size_t count_at = wire_write_array_later(&server->out);
    for (; written < found && server->out.count < MESSAGE_BYTES_MAX / 2; written++) {
        struct record_view view;
        sched_view_slot(server->sched, slots[written], &view);
        record_view_write(&server->out, &view);
    }
    wire_patch_array(&server->out, count_at, written);
    end_answer(server, request);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* A map that grows: its count is patched in at the end. */
struct map {
    struct wire_buffer *out;
    size_t at;
    uint32_t pairs;
};

static struct map begin_map(struct wire_buffer *out)
{
    struct map map = {.out = out, .at = wire_write_map_later(out)};
    return map;
}

static void add_number(struct map *map, const char *name, int64_t number)
{
    wire_write_str(map->out, bytes_of(name));
    wire_write_int(map->out, number);
    map->pairs++;
}

static void add_text(struct map *map, const char *name, struct bytes text)
{
    wire_write_str(map->out, bytes_of(name));
    wire_write_str(map->out, text);
    map->pairs++;
}

static void end_map(struct map *map)
{
    wire_patch_map(map->out, map->at, map->pairs);
}

static void add_scheduler(struct map *map, const struct sched_numbers *numbers)
{
    const struct {
        const char *name;
        uint64_t number;
    } rows[] = {
        {"records", numbers->records},
        {"waiting", numbers->waiting},
        {"ready", numbers->ready},
        {"leased", numbers->leased},
        {"parked", numbers->parked},
        {"workers", numbers->workers},
        {"credit", numbers->credit},
        {"body_bytes", numbers->body_bytes},
        {"body_hole_bytes", numbers->hole_bytes},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        add_number(map, rows[i].name, (int64_t)rows[i].number);
    for (uint32_t i = 0; i < SCHED_TOTALS; i++)
        add_number(map, sched_total_list[i].name, (int64_t)sched_total_get(&numbers->totals, i));
    add_number(map, "lateness_p50_us", numbers->lateness_p50_us);
    add_number(map, "lateness_p99_us", numbers->lateness_p99_us);
    add_number(map, "lateness_max_us", numbers->lateness_max_us);
    add_number(map, "start_lateness_p99_us", numbers->start_lateness_p99_us);
    add_number(map, "head_lateness_us", numbers->head_lateness_us);
}

/* The full set that a queue has under way: whose, since when, and when something came of it last.
 * Every row has them, for they are the columns of a table. */
static void add_sync(struct map *map, const struct server *server, uint32_t queue)
{
    struct sched_sync_view view = {.is_open = false};
    bool is_there = sched_view_sync(server->sched, queue, &view);
    int64_t began_us = view.began_mono_us ? view.began_mono_us : server->started.mono_us;
    int64_t heard_us = view.is_open ? view.heard_mono_us : server->now.mono_us;
    add_text(map, "sync", bytes_of(!is_there ? "" : view.is_open ? "open" : "carried out"));
    add_text(map, "sync_by", view.holder.data ? view.holder : bytes_of(""));
    add_number(map, "sync_age_s", is_there ? (server->now.mono_us - began_us) / US_PER_S : 0);
    add_number(map, "sync_idle_s", (server->now.mono_us - heard_us) / US_PER_S);
}

static uint32_t count_syncs(const struct server *server)
{
    uint32_t count = 0;
    struct sched_sync_view view;
    for (uint32_t i = 0; sched_queue_name(server->sched, i).data; i++)
        count += sched_view_sync(server->sched, i, &view);
    return count;
}

static void add_server(struct map *map, struct server *server, const struct sched_numbers *numbers)
{
    const struct server_counts *counts = &server->counts;
    struct store_health health;
    struct zap_counts handshakes = {0};
    if (server->zap)
        handshakes = zap_get_counts(server->zap);
    store_get_health(server->store, &health);
    const struct {
        const char *name;
        uint64_t number;
    } rows[] = {
        {"refused_total", counts->refused},
        {"refused_malformed_total", counts->refused_malformed},
        {"refused_denied_total", counts->refused_denied},
        {"refused_hello_total", counts->refused_hello},
        {"penalties_total", counts->penalties},
        {"refused_handshakes_total", handshakes.refused},
        {"cut_connections_total", counts->cut_connections},
        {"connections", (uint64_t)server->connections.open_count},
        {"refused_unknown_type_total", counts->refused_unknown},
        {"refused_no_session_total", counts->refused_session},
        {"refused_version_total", counts->refused_version},
        {"refused_connections_total", counts->refused_connections},
        {"undelivered_total", counts->undelivered},
        {"messages_in_total", counts->messages_in},
        {"messages_out_total", counts->messages_out},
        {"messages_deferred_total", counts->deferred},
        {"messages_dropped_total", counts->dropped},
        {"bytes_in_total", counts->bytes_in},
        {"bytes_out_total", counts->bytes_out},
        {"sessions", numbers->sessions},
        {"oldest_lease_us", (uint64_t)sched_oldest_lease_us(server->sched, server->now)},
        {"syncs", count_syncs(server)},
        {"backlog", numbers->backlog},
        {"unread_bytes", socket_unread(server)},
        {"held_total", counts->held},
        {"held_bytes", server->workers.held.bytes},
        {"draining", numbers->is_draining},
        {"in_grace", numbers->is_in_grace},
        {"disk_short", server->is_disk_short},
        {"safe_mode", server->is_safe},
        {"journal_bytes", health.journal_bytes},
        {"disk_bytes", health.disk_bytes},
        {"disk_free_bytes", health.disk_free_bytes > INT64_MAX ? 0 : health.disk_free_bytes},
        {"commits_total", health.commits_total},
        {"commit_us_total", health.commit_us_total},
        {"commit_us_max", health.commit_us_max},
        {"checkpoints_total", health.checkpoints_total},
        {"turns_total", counts->turns},
        {"turn_us_max", (uint64_t)counts->turn_us_max},
        {"turn_cpu_us_max", (uint64_t)counts->turn_cpu_us_max},
        {"busy_us_total", (uint64_t)counts->busy_us},
        {"started_s", (uint64_t)(server->started.wall_us / US_PER_S)},
        {"uptime_s", (uint64_t)((server->now.mono_us - server->started.mono_us) / US_PER_S)},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        add_number(map, rows[i].name, (int64_t)rows[i].number);
    if (server->clock_step_us) {
        add_number(map, "clock_step_ms", server->clock_step_us / US_PER_MS);
        add_number(map, "clock_step_ago_s",
                   (server->now.mono_us - server->clock_step_mono_us) / US_PER_S);
    }
    add_text(map, "store", bytes_of(server->store->backend->name));
    add_text(map, "directory",
             bytes_of(server->options->store_directory ? server->options->store_directory : ""));
    add_text(map, "version", bytes_of(EVERDUE_VERSION));
}

void look_stats(struct server *server, struct request *request)
{
    struct sched_numbers numbers;
    struct bytes queue = input_queue(request);
    if (!input_is_well_read(server, request))
        return;
    if (!sched_get_numbers(server->sched, queue, server->now, &numbers)) {
        output_status(server, request, STATUS_NOT_FOUND, "there is no such queue");
        return;
    }
    begin_answer(server, request);
    struct map map = begin_map(&server->out);
    add_scheduler(&map, &numbers);
    if (queue.data)
        add_sync(&map, server, sched_find_queue(server->sched, queue));
    add_server(&map, server, &numbers);
    end_map(&map);
    end_answer(server, request);
}

static void add_worker(struct server *server, uint32_t number,
                       const struct sched_session_view *view)
{
    char queues[SESSION_QUEUES_MAX * (QUEUE_NAME_BYTES_MAX + 1)];
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->queue_count; i++) {
        if (i)
            queues[count++] = ' ';
        memcpy(queues + count, view->queues[i].data, view->queues[i].count);
        count += view->queues[i].count;
    }
    struct map map = begin_map(&server->out);
    add_text(&map, "name", view->name);
    add_text(&map, "queues", (struct bytes){(const uint8_t *)queues, count});
    add_number(&map, "credit", view->credit);
    add_number(&map, "in_flight", view->in_flight);
    add_number(&map, "announcing", view->announcing);
    add_number(&map, "suspect", sched_is_suspect(server->sched, number, server->now));
    add_number(&map, "seen_ms", (server->now.mono_us - view->seen_mono_us) / US_PER_MS);
    add_number(&map, "connected_s", (server->now.mono_us - view->began_mono_us) / US_PER_S);
    add_number(&map, "reports_ok_total", (int64_t)view->reports_ok);
    add_number(&map, "reports_failed_total", (int64_t)view->reports_failed);
    end_map(&map);
}

void look_workers(struct server *server, struct request *request)
{
    uint32_t rows = 0;
    request->id = wire_read_uint(&request->reader);
    if (!input_is_well_read(server, request))
        return;
    begin_answer(server, request);
    size_t count_at = wire_write_array_later(&server->out);
    uint32_t number = workers_next(&server->workers, 0);
    for (; number != SLAB_NONE && server->out.count < MESSAGE_BYTES_MAX / 2;
         number = workers_next(&server->workers, number + 1)) {
        struct sched_session_view view;
        if (!sched_view_session(server->sched, number, &view) || !view.queue_count)
            continue;
        add_worker(server, number, &view);
        rows++;
    }
    wire_patch_array(&server->out, count_at, rows);
    end_answer(server, request);
}

void look_queues(struct server *server, struct request *request)
{
    uint32_t place = 0;
    request->id = wire_read_uint(&request->reader);
    if (!input_is_well_read(server, request))
        return;
    begin_answer(server, request);
    size_t count_at = wire_write_array_later(&server->out);
    for (;; place++) { /* ends behind the last queue */
        struct sched_numbers numbers;
        struct bytes name = sched_queue_name(server->sched, place);
        if (!name.data || !sched_get_numbers(server->sched, name, server->now, &numbers))
            break;
        struct map map = begin_map(&server->out);
        add_text(&map, "name", name);
        add_number(&map, "paused", sched_queue_is_paused(server->sched, place));
        add_scheduler(&map, &numbers);
        add_sync(&map, server, place);
        end_map(&map);
    }
    wire_patch_array(&server->out, count_at, place);
    end_answer(server, request);
}

void look_backup(struct server *server, struct request *request)
{
    request->id = wire_read_uint(&request->reader);
    struct bytes directory = wire_read_bytes(&request->reader, MESSAGE_BYTES_MAX);
    if (!input_is_well_read(server, request))
        return;
    enum status status = backup_begin(&server->backup, server->store, directory);
    if (status) {
        output_status(server, request, status,
                      status == STATUS_BUSY        ? "a backup is running"
                      : status == STATUS_BAD_FIELD ? "name a directory by its absolute path"
                                                   : status_text(status));
        return;
    }
    memcpy(server->backup.identity, request->identity.data, request->identity.count);
    server->backup.identity_bytes = request->identity.count;
    server->backup.request = request->id;
}
