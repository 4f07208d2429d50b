#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "server_internal.h"

#define CORRUPT_ADVICE                                                                             \
    "everdue-broker --check-store says more; start on a backup, or save with --salvage what is "   \
    "whole"

static bool is_in_memory(const struct server *server)
{
    return store_fd(server->store) < 0;
}

/* --- loading ---------------------------------------------------------------------------------- */

static enum status visit_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    struct server *server = user;
    return sched_load_row(server->sched, row, bytes);
}

static enum status visit_record(const struct store_state *state, const uint8_t *body,
                                uint32_t count, void *user)
{
    struct server *server = user;
    return sched_load_record(server->sched, state, body, count);
}

static int exit_code_of(enum status status)
{
    return status == STATUS_LOCKED    ? EX_UNAVAILABLE
           : status == STATUS_CORRUPT ? EX_DATAERR
           : status == STATUS_VERSION ? EX_CONFIG
                                      : EX_IOERR;
}

static bool open_store(struct server *server)
{
    const struct server_options *options = server->options;
    char why[1024] = "";
    struct store_options store = {
        .directory = options->store_directory,
        .sync = options->sync == SYNC_NEVER ? STORE_SYNC_NEVER : STORE_SYNC_ALWAYS,
        .journal_bytes_max = options->journal_bytes_max,
    };
    enum status status = options->store_directory
                             ? store_open_lmdb(&server->store, &store, why, sizeof(why))
                             : store_open_memory(&server->store);
    if (status == STATUS_OK)
        return true;
    log_line(LOG_ERR, "the store cannot be opened", "directory", options->store_directory, "why",
             why[0] ? why : status_text(status), "try",
             status == STATUS_CORRUPT ? CORRUPT_ADVICE : NULL, NULL);
    server->exit_code = exit_code_of(status);
    return false;
}

/* Numbers are drawn from durably reserved ones only: the first block is written before anything
 * else. */
static void reserve_first(struct server *server)
{
    while (!server->exit_code && sched_reserve_wanted(server->sched)) {
        storage_turn(server);
        if (server->is_in_flight && !is_in_memory(server)) {
            struct timespec pause = {.tv_nsec = 1000000};
            nanosleep(&pause, NULL); /* the process serves nobody yet */
        }
    }
}

bool storage_open(struct server *server)
{
    struct store_visitor visitor = {.row = visit_row, .record = visit_record, .user = server};
    if (!open_store(server))
        return false;
    server->batch = store_batch_new();
    enum status status = server->batch ? STATUS_OK : STATUS_NO_MEMORY;
    if (!status)
        server->batch->drops = server->store->drops_batches;
    if (!status)
        status = store_load(server->store, &visitor);
    if (!status)
        status = sched_load_end(server->sched, server->now);
    if (status) {
        log_line(LOG_ERR, "the store cannot be loaded", "directory",
                 server->options->store_directory, "why", status_text(status), "what",
                 store_why(server->store), "try", status == STATUS_CORRUPT ? CORRUPT_ADVICE : NULL,
                 NULL);
        server->exit_code = exit_code_of(status);
        return false;
    }
    server->fence = server->store->fence;
    reserve_first(server);
    return server->exit_code == 0;
}

void storage_close(struct server *server)
{
    store_batch_destroy(&server->batch);
    store_destroy(&server->store);
    answers_release(&server->filling);
    answers_release(&server->sealed);
}

/* --- batches ---------------------------------------------------------------------------------- */

/* The batch on its way is on disk: what it acknowledges may be said. */
static void finish_batch(struct server *server, struct store_batch *batch)
{
    if (batch->status) {
        log_line(LOG_CRIT, "the store failed; nothing more is acknowledged", "why",
                 status_text(batch->status), "what", store_why(server->store), "directory",
                 server->options->store_directory, NULL);
        server_fail(server, exit_code_of(batch->status));
    } else {
        if (server->options->sync != SYNC_INTERVAL) {
            struct event event = {.kind = EVENT_DURABLE, .now = server->now};
            server_step(server, &event);
            output_answers(server, &server->sealed);
        }
        if (server->reserve_in_flight) {
            struct event event = {
                .kind = EVENT_RESERVED, .now = server->now, .number = server->reserve_in_flight};
            server_step(server, &event);
        }
    }
    pressure_done(&server->pressure, batch->state_count,
                  server->now.mono_us - server->submitted_mono_us);
    server->reserve_in_flight = 0;
    server->is_in_flight = false;
    if (!sched_is_dirty(server->sched)) /* nothing follows: what a burst took goes back */
        store_batch_clear(batch);
    store_batch_trim(batch, 0, 0);
    server->batch = batch;
}

static void take_done(struct server *server)
{
    struct store_batch *batch = store_take_done(server->store);
    if (batch)
        finish_batch(server, batch);
}

static void submit(struct server *server)
{
    server->fence.sequence++;
    server->batch->fence = server->fence;
    enum status status = store_submit(server->store, server->batch);
    if (status) {
        log_line(LOG_CRIT, "the store takes no more", "why", status_text(status), "what",
                 store_why(server->store), NULL);
        server_fail(server, EX_IOERR);
        return;
    }
    server->batch = NULL;
    pressure_seal(&server->pressure, server->now.mono_us);
    server->submitted_mono_us = server->now.mono_us;
    server->is_in_flight = true;
    server->batch_has_content = false;
    server->reserve_in_flight = server->reserve_wanted;
    server->reserve_wanted = 0;
}

/* Memory for the copy may be out: then the turn goes on and it is tried again in the next. */
static bool seal(struct server *server)
{
    uint64_t wanted = sched_reserve_wanted(server->sched);
    size_t states = server->batch->state_count, rows = server->batch->row_count;
    if (sched_seal(server->sched, server->batch)) {
        server->batch->state_count = states;
        server->batch->row_count = rows;
        return false;
    }
    if (wanted)
        server->reserve_wanted = wanted;
    server->batch_has_content = true;
    return true;
}

/* Every change is acknowledged at once; the disk gets two batches an interval. While one takes
 * longer than half an interval (a slow disk, a full one) answers wait: so what a crash can lose was
 * acknowledged within one interval, whatever the disk does. */
static void turn_interval(struct server *server)
{
    bool is_late = server->is_in_flight && server->now.mono_us >= server->next_submit_mono_us;
    if (server->batch && sched_is_dirty(server->sched) && seal(server)) {
        struct event event = {.kind = EVENT_DURABLE, .now = server->now};
        server_step(server, &event);
    }
    if (!is_late)
        output_answers(server, &server->filling);
    bool is_time = server->now.mono_us >= server->next_submit_mono_us || server->reserve_wanted;
    if (server->batch && server->batch_has_content && is_time) {
        server->next_submit_mono_us = server->now.mono_us + server->options->sync_interval_us / 2;
        submit(server);
    }
}

/* A commit costs some pages, however little it holds. Reports alone can wait for others: a worker
 * keeps them until they are answered, and works on. A full set that is carried out waits for each
 * commit. */
static bool is_paced(const struct server *server)
{
    return server->options->sync != SYNC_INTERVAL && !is_in_memory(server) &&
           !server->is_in_flight && !server->is_awaited && sched_is_dirty(server->sched) &&
           server->now.mono_us < server->paced_mono_us && !sched_waits_for_seal(server->sched);
}

/* In memory a batch is done at once. The answers to reports alone keep a distance there, too: who
 * is given one record after the other is sent one message a cycle then instead of two. */
static bool keeps_answers(const struct server *server)
{
    return is_in_memory(server) && !server->is_awaited &&
           server->now.mono_us < server->paced_mono_us;
}

static int64_t pace_us(const struct server *server, uint64_t states)
{
    if (is_in_memory(server))
        return PACE_MEMORY_US;
    return states >= PACE_BUSY_STATES ? PACE_BUSY_US : PACE_US;
}

/* Nothing waits for the disk: what has filled may be said. */
static void turn_clean(struct server *server)
{
    if (!server->filling.count || keeps_answers(server))
        return;
    output_answers(server, &server->filling);
    if (is_in_memory(server)) {
        server->is_awaited = false;
        server->paced_mono_us = server->now.mono_us + PACE_MEMORY_US;
    }
}

static void turn_durable(struct server *server)
{
    if (server->is_in_flight || is_paced(server))
        return;
    if (!sched_is_dirty(server->sched)) {
        turn_clean(server);
        return;
    }
    if (!seal(server)) { /* it is tried again */
        server->paced_mono_us = server->now.mono_us + PACE_US;
        return;
    }
    if (!keeps_answers(server)) {
        struct answers sealed = server->sealed; /* empty: nothing is in flight */
        server->sealed = server->filling;
        server->filling = sealed;
        server->is_awaited = false;
        server->paced_mono_us = server->now.mono_us + pace_us(server, server->batch->state_count);
    }
    submit(server);
}

static void check_space(struct server *server)
{
    struct store_health health;
    if (!server->options->store_directory || server->now.mono_us < server->next_space_mono_us)
        return;
    server->next_space_mono_us = server->now.mono_us + SPACE_CHECK_US;
    store_get_health(server->store, &health);
    bool is_short = health.full || health.disk_free_bytes < server->options->free_bytes_least;
    if (is_short != server->is_disk_short)
        log_line(is_short ? LOG_ERR : LOG_NOTICE,
                 is_short ? "the disk is nearly full: puts and syncs are refused"
                          : "there is room on the disk again",
                 "directory", server->options->store_directory, "free_bytes",
                 log_u64(health.disk_free_bytes), NULL);
    server->is_disk_short = is_short;
    server->is_store_full = health.full;
}

void storage_turn(struct server *server)
{
    if (server->exit_code)
        return;
    check_space(server);
    take_done(server);
    if (server->options->sync == SYNC_INTERVAL)
        turn_interval(server);
    else
        turn_durable(server);
    if (is_in_memory(server)) /* done at once */
        take_done(server);
}

int64_t storage_next_mono_us(const struct server *server)
{
    if (server->batch_has_content && server->batch)
        return server->next_submit_mono_us;
    /* The distance may have been kept at the beginning of the turn and be over now: a batch for
     * which somebody waits is made at once then, for nothing else may come. */
    bool is_held_up = server->filling.count && !server->is_in_flight &&
                      server->options->sync != SYNC_INTERVAL &&
                      (sched_is_dirty(server->sched) || is_in_memory(server));
    if (is_held_up || is_paced(server))
        return server->paced_mono_us;
    return TIME_US_NEVER;
}

bool storage_is_short(const struct server *server)
{
    return server->is_disk_short;
}
