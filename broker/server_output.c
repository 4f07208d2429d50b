#include <stdlib.h>
#include <string.h>

#include "server_internal.h"

/* --- answers ---------------------------------------------------------------------------------- */

bool output_now(struct server *server, const struct request *request)
{
    if (server->out.failed) /* without memory there is no answer; the peer asks again */
        return false;
    return socket_send_to(server, request->identity, server->out.data, server->out.count);
}

static bool hold(struct answers *answers, struct bytes identity, const struct wire_buffer *message)
{
    if (answers->count == answers->room) {
        size_t room = answers->room ? answers->room * 2 : 64;
        struct answer *list = realloc(answers->list, room * sizeof(*list));
        if (!list)
            return false;
        answers->list = list;
        answers->room = room;
    }
    size_t offset = answers->bytes.count;
    wire_write_raw(&answers->bytes, identity.data, identity.count);
    wire_write_raw(&answers->bytes, message->data, message->count);
    if (answers->bytes.failed) {
        answers->bytes.failed = false;
        answers->bytes.count = offset;
        return false;
    }
    answers->list[answers->count++] = (struct answer){offset, identity.count, message->count};
    return true;
}

static void hold_out(struct server *server, struct bytes identity)
{
    if (!server->out.failed)
        hold(&server->filling, identity, &server->out);
}

void output_durable(struct server *server, struct bytes identity)
{
    server->is_awaited = true;
    hold_out(server, identity);
}

/* What goes with its connection is asked for again over the next one. */
void output_answers(struct server *server, struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = &answers->list[i];
        const uint8_t *at = answers->bytes.data + answer->offset;
        struct bytes identity = {at, answer->identity_bytes};
        socket_send_to(server, identity, at + answer->identity_bytes, answer->count);
    }
    answers->count = 0;
    wire_buffer_clear(&answers->bytes);
}

void answers_release(struct answers *answers)
{
    wire_buffer_release(&answers->bytes);
    free(answers->list);
    memset(answers, 0, sizeof(*answers));
}

void output_status(struct server *server, const struct request *request, enum status status,
                   const char *text)
{
    wire_buffer_clear(&server->out);
    answer_write(&server->out, request->id, status, bytes_of(text));
    output_now(server, request);
}

void output_begin_statuses(struct server *server, const struct request *request, uint32_t count)
{
    wire_buffer_clear(&server->out);
    answer_write_head(&server->out, request->id, STATUS_OK);
    wire_write_array(&server->out, count);
}

/* Nobody waits for the answer to a report who is given work as it comes due. Who takes it may: that
 * is not worth a commit of its own, but costs nothing in memory. */
static bool may_wait(const struct server *server, const struct request *request)
{
    return request->head.type == MESSAGE_REPORT &&
           (store_fd(server->store) >= 0 ||
            workers_at(&server->workers, request->worker)->is_streamed_to);
}

void output_end_statuses(struct server *server, const struct request *request)
{
    answer_write_end(&server->out, (struct bytes){NULL, 0});
    if (may_wait(server, request))
        hold_out(server, request->identity);
    else
        output_durable(server, request->identity);
    output_effects(server);
}

/* --- tasks ------------------------------------------------------------------------------------ */

/* A TASKS message, or the body of a take's answer, that grows. */
struct parcel {
    const struct effect *first; /* NULL: nothing is in it */
    size_t effects;
    size_t count_at;
    uint32_t tasks;
};

static void begin_parcel(struct server *server, struct parcel *parcel, const struct effect *effect)
{
    *parcel = (struct parcel){.first = effect};
    wire_buffer_clear(&server->out);
    if (effect->request)
        answer_write_head(&server->out, effect->request, STATUS_OK);
    else
        message_write_head(&server->out, MESSAGE_TASKS, 1);
    parcel->count_at = wire_write_array_later(&server->out);
}

/* As if never granted. No effects follow from it, so that the list may be walked meanwhile. */
static void undo_task(struct server *server, const struct effect *effect)
{
    struct event event = {.kind = EVENT_UNDELIVERED, .now = server->now, .number = effect->number};
    sched_step(server->sched, &event, &server->effects);
}

/* Sent, or given back as if never granted. */
static void end_parcel(struct server *server, struct parcel *parcel)
{
    if (!parcel->first)
        return;
    wire_patch_array(&server->out, parcel->count_at, parcel->tasks);
    if (parcel->first->request)
        answer_write_end(&server->out, (struct bytes){NULL, 0});
    bool is_sent = !server->out.failed &&
                   socket_send(server, parcel->first->session, server->out.data, server->out.count);
    for (size_t i = 0; !is_sent && i < parcel->effects; i++) {
        if (parcel->first[i].kind != EFFECT_TASK)
            continue;
        undo_task(server, &parcel->first[i]);
        server->counts.undelivered++;
    }
    if (!is_sent)
        socket_suspect(server, parcel->first->session);
    parcel->first = NULL;
}

static bool belongs(const struct server *server, const struct parcel *parcel,
                    const struct effect *effect)
{
    if (!parcel->first || parcel->first->session != effect->session ||
        parcel->first->request != effect->request)
        return false;
    /* A take is one answer; a stream is cut into messages. */
    return effect->request || (server->out.count < MESSAGE_BYTES_SOFT && parcel->tasks < ITEMS_MAX);
}

static void add_task(struct server *server, struct parcel *parcel, const struct effect *effect)
{
    struct task task;
    if (!belongs(server, parcel, effect)) {
        end_parcel(server, parcel);
        begin_parcel(server, parcel, effect);
    }
    parcel->effects++;
    if (effect->request && server->out.count >= MESSAGE_BYTES_SOFT) {
        undo_task(server, effect); /* a take's one answer is full: somebody else may have it */
        return;
    }
    if (!sched_view_task(server->sched, effect, server->now, &task))
        return;
    task_write(&server->out, &task);
    parcel->tasks++;
}

/* --- the others ------------------------------------------------------------------------------- */

static void end_take(struct server *server, struct parcel *parcel, const struct effect *effect)
{
    if (belongs(server, parcel, effect)) {
        parcel->effects++;
        end_parcel(server, parcel);
        return;
    }
    end_parcel(server, parcel);
    wire_buffer_clear(&server->out);
    answer_write_head(&server->out, effect->request, STATUS_OK);
    wire_write_array(&server->out, 0);
    answer_write_end(&server->out, (struct bytes){NULL, 0});
    socket_send(server, effect->session, server->out.data, server->out.count);
}

/* Not before its cause is on disk: after a crash that takes a removal back, a worker that had
 * dropped the lease would not announce it, and somebody else would be given what it still works on.
 */
static void send_cancel(struct server *server, const struct effect *effect)
{
    struct bytes identity = workers_identity(&server->workers, effect->session);
    wire_buffer_clear(&server->out);
    message_write_head(&server->out, MESSAGE_CANCEL, 1);
    wire_write_array(&server->out, 1);
    wire_write_uint(&server->out, effect->number);
    if (identity.data)
        hold_out(server, identity);
}

static void lose(struct server *server, uint32_t worker)
{
    wire_buffer_clear(&server->out);
    error_write(&server->out, STATUS_NO_SESSION, bytes_of("the session has ended"));
    socket_send(server, worker, server->out.data, server->out.count);
    connections_set_session(&server->connections, workers_at(&server->workers, worker)->fd, false);
    workers_remove(&server->workers, worker);
}

static void write_number(struct server *server, const struct effect *effect, uint64_t number)
{
    wire_buffer_clear(&server->out);
    answer_write_head(&server->out, effect->request, effect->status);
    wire_write_uint(&server->out, number);
    answer_write_end(&server->out, (struct bytes){NULL, 0});
}

static void write_sync_done(struct server *server, const struct effect *effect)
{
    struct sync_counts counts = {0};
    sched_sync_counts(server->sched, effect->number, &counts);
    records_forget_tally(server, effect->number);
    wire_buffer_clear(&server->out);
    answer_write_head(&server->out, effect->request, effect->status);
    sync_counts_write(&server->out, &counts);
    answer_write_end(&server->out, effect->status ? bytes_of(status_text(effect->status))
                                                  : (struct bytes){NULL, 0});
}

static void carry_out(struct server *server, struct parcel *parcel, const struct effect *effect)
{
    if (effect->kind == EFFECT_TASK) {
        add_task(server, parcel, effect);
        return;
    }
    if (effect->kind == EFFECT_TAKEN) {
        end_take(server, parcel, effect);
        return;
    }
    end_parcel(server, parcel);
    switch (effect->kind) {
    case EFFECT_TASK:
    case EFFECT_TAKEN:
        break;
    case EFFECT_CANCEL:
        send_cancel(server, effect);
        break;
    case EFFECT_PING:
        socket_ping(server, workers_identity(&server->workers, effect->session));
        break;
    case EFFECT_LOST:
        lose(server, effect->session);
        break;
    case EFFECT_KICKED:
        write_number(server, effect, effect->count);
        output_durable(server, workers_identity(&server->workers, effect->session));
        break;
    case EFFECT_DRAINED:
        if (effect->session == SLAB_NONE) /* our own drain, before the end */
            break;
        write_number(server, effect, 0);
        socket_send(server, effect->session, server->out.data, server->out.count);
        break;
    case EFFECT_SYNC_BEGUN:
        records_begin_tally(server, effect->session, effect->number);
        write_number(server, effect, effect->number);
        socket_send(server, effect->session, server->out.data, server->out.count);
        break;
    case EFFECT_SYNC_IDLE:
        records_sync_idle(server, effect);
        break;
    case EFFECT_SYNC_DONE:
        write_sync_done(server, effect);
        output_durable(server, workers_identity(&server->workers, effect->session));
        break;
    }
}

void output_effects(struct server *server)
{
    struct parcel parcel = {.first = NULL};
    const struct effects *effects = &server->effects;
    for (size_t i = 0; i < effects->count; i++) {
        if (i % FETCH_MAX == 0) /* what the next tasks are about is asked for together */
            sched_fetch_tasks(server->sched, effects, i);
        carry_out(server, &parcel, &effects->list[i]);
    }
    end_parcel(server, &parcel);
    server->effects.count = 0;
}

enum status server_step(struct server *server, const struct event *event)
{
    enum status status = sched_step(server->sched, event, &server->effects);
    if (server->effects.count)
        output_effects(server);
    return status;
}
