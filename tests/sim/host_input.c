/* host_input.c - packets become events, as the server makes events of messages. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* --- texts ------------------------------------------------------------------------------------ */

static struct bytes text(struct sim *sim, char prefix, uint32_t number)
{
    struct host *host = &sim->host;
    char *place = host->texts[host->text_next++ % SIM_TEXTS];
    snprintf(place, sizeof(host->texts[0]), "%c%u", prefix, number);
    return bytes_of(place);
}

/* 0 is absent, 1 is empty. */
static struct bytes text_or_none(struct sim *sim, char prefix, uint32_t number)
{
    if (number == 0)
        return (struct bytes){NULL, 0};
    return number == 1 ? bytes_of("") : text(sim, prefix, number);
}

static struct put put_of(struct sim *sim, const struct packet *packet)
{
    const struct line *line = &packet->line;
    return (struct put){
        .key = text(sim, 'k', packet->key),
        .due_us = line->due_us,
        .in_us = line->in_us,
        .every_us = line->every_us,
        .has_rank = line->has_rank,
        .rank = line->rank,
        .group = text_or_none(sim, 'g', line->group),
        .has_once = line->has_once,
        .once = line->once,
        .payload = text_or_none(sim, 'p', line->payload),
        .memo = text_or_none(sim, 'm', line->memo),
    };
}

/* --- sessions --------------------------------------------------------------------------------- */

static uint32_t find_session(const struct sim *sim, const struct packet *packet)
{
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++) {
        const struct host_session *session = &sim->host.sessions[i];
        if (session->is_there && session->peer == packet->peer &&
            session->connection == packet->connection)
            return i;
    }
    return MODEL_SESSIONS;
}

static void greet(struct sim *sim, const struct packet *packet)
{
    struct host *host = &sim->host;
    struct hello hello = {
        .id = packet->id,
        .name = text(sim, 's', packet->peer),
        .queue_count = packet->queue_count,
        .credit = packet->number,
        .lease_ms = packet->lease_ms,
        .heartbeat_ms = packet->heartbeat_ms,
        .resume_count = packet->key,
    };
    hello.uid[0] = (uint8_t)packet->queue;
    for (uint32_t i = 0; i < packet->queue_count; i++)
        hello.queues[i] = text(sim, 'q', packet->queues[i]);
    uint32_t number = dice_below(&sim->dice, MODEL_SESSIONS), tried = 0;
    for (; host->sessions[number].is_there && tried < MODEL_SESSIONS; tried++)
        number = (number + 1) % MODEL_SESSIONS;
    if (tried == MODEL_SESSIONS)
        return; /* it says hello again later */
    struct event event = {.kind = EVENT_HELLO, .session = number, .hello = &hello};
    if (host_step(sim, &event))
        return;
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++)
        if (host->sessions[i].is_there && host->sessions[i].uid == hello.uid[0])
            host->sessions[i].is_there = false;
    host->sessions[number] =
        (struct host_session){true, packet->peer, packet->connection, hello.uid[0]};
    struct packet welcome = *packet;
    welcome.kind = PACKET_WELCOME;
    welcome.is_to_host = false;
    network_send(sim, &welcome);
}

/* --- work ------------------------------------------------------------------------------------- */

static struct lease_name name_of(struct sim *sim, const struct packet *packet)
{
    return (struct lease_name){packet->queue, text(sim, 'k', packet->key), packet->lease};
}

static enum status input_report(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct report report = {
        .name = name_of(sim, packet),
        .state = packet->state,
        .outcome = packet->outcome,
        .due_us = packet->line.due_us,
        .in_us = packet->line.in_us,
        .memo = text_or_none(sim, 'm', packet->line.memo),
        .payload = text_or_none(sim, 'p', packet->line.payload),
        .has_rank = packet->line.has_rank,
        .rank = packet->line.rank,
    };
    struct event event = {.kind = EVENT_REPORT, .session = session, .report = &report};
    return host_step(sim, &event);
}

static enum status input_lease(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct event event = {.session = session};
    struct lease_name name = name_of(sim, packet);
    struct give_back give_back = {name, packet->flag};
    struct resume resume = {name, packet->state};
    if (packet->kind == PACKET_TOUCH) {
        event.kind = EVENT_TOUCH;
        event.touch.name = &name;
        event.touch.lease_ms = packet->lease_ms;
    } else if (packet->kind == PACKET_GIVE_BACK) {
        event.kind = EVENT_GIVE_BACK;
        event.give_back = &give_back;
    } else {
        event.kind = EVENT_RESUME;
        event.resume = &resume;
    }
    return host_step(sim, &event);
}

/* --- what is answered by an effect ------------------------------------------------------------ */

static void wait_for_effect(struct sim *sim, const struct packet *packet, uint64_t request)
{
    struct host *host = &sim->host;
    if (host->waiting_count == 64) /* those of peers that went away */
        memmove(host->waiting, host->waiting + 1, --host->waiting_count * sizeof(host->waiting[0]));
    struct answer *waiting = &host->waiting[host->waiting_count++];
    waiting->packet = *packet;
    waiting->packet.state = packet->id;
    waiting->packet.id = request;
}

static void forget_waiting(struct sim *sim, uint64_t request)
{
    struct host *host = &sim->host;
    for (uint32_t i = 0; i < host->waiting_count; i++)
        if (host->waiting[i].packet.id == request) {
            host->waiting[i] = host->waiting[--host->waiting_count];
            return;
        }
}

/* Unique over all peers: what a request is called in the core. */
static uint64_t request_of(const struct packet *packet)
{
    return packet->id << 8 | packet->peer;
}

static void input_deferred(struct sim *sim, const struct packet *packet, struct event *event)
{
    event->request = request_of(packet);
    wait_for_effect(sim, packet, event->request);
    enum status status = host_step(sim, event);
    if (!status)
        return;
    forget_waiting(sim, event->request);
    host_answer(sim, packet, status, 0);
}

static void input_take(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct take take = {
        .id = packet->id,
        .queue = packet->queue,
        .max = packet->number,
        .wait_ms = packet->heartbeat_ms,
        .lease_ms = packet->lease_ms,
        .detached = packet->flag,
    };
    struct event event = {.kind = EVENT_TAKE, .session = session, .take = &take};
    input_deferred(sim, packet, &event);
}

/* --- full sets -------------------------------------------------------------------------------- */

static uint32_t sync_place(const struct sim *sim, uint64_t generation)
{
    uint32_t place = 0;
    while (place < MODEL_QUEUES && (!generation || sim->host.syncs[place].generation != generation))
        place++;
    return place;
}

static void input_sync_begin(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct host *host = &sim->host;
    struct sync_begin begin = {
        .id = packet->id,
        .queue = text(sim, 'q', packet->queue),
        .spread_us = packet->line.in_us,
        .due_take = packet->flag,
    };
    struct event event = {.kind = EVENT_SYNC_BEGIN,
                          .session = session,
                          .request = request_of(packet),
                          .sync_begin = &begin};
    size_t first = host->effects.count;
    enum status status = host_step(sim, &event);
    uint64_t generation = 0;
    for (size_t i = first; i < host->effects.count; i++)
        if (host->effects.list[i].kind == EFFECT_SYNC_BEGUN)
            generation = host->effects.list[i].number;
    if (!status) {
        host->syncs[packet->queue].generation = generation;
        host->syncs[packet->queue].count = host->syncs[packet->queue].sum = 0;
    }
    host_answer(sim, packet, status, generation);
}

static void input_sync_item(struct sim *sim, const struct packet *packet, uint32_t session)
{
    uint32_t place = sync_place(sim, packet->lease);
    struct put put = put_of(sim, packet);
    struct event event = {.kind = EVENT_SYNC_ITEM, .session = session};
    event.sync_item.generation = packet->lease;
    event.sync_item.put = &put;
    enum status status = host_step(sim, &event);
    if (place < MODEL_QUEUES) {
        sim->host.syncs[place].count++;
        sim->host.syncs[place].sum = sim->host.syncs[place].sum * 31 + packet->key;
    }
    host_answer(sim, packet, status, 0);
}

static void input_sync_commit(struct sim *sim, const struct packet *packet, uint32_t session)
{
    uint32_t place = sync_place(sim, packet->lease);
    struct sync_commit commit = {
        .id = packet->id,
        .generation = packet->lease,
        .count = packet->number,
        .checksum = (uint32_t)packet->state,
        .prune = packet->flag,
        .prune_max_ppm = packet->lease_ms,
        .dry_run = packet->heartbeat_ms,
    };
    struct event event = {.kind = EVENT_SYNC_COMMIT, .session = session};
    event.sync_commit.commit = &commit;
    event.sync_commit.count = place < MODEL_QUEUES ? sim->host.syncs[place].count : 0;
    event.sync_commit.checksum = place < MODEL_QUEUES ? sim->host.syncs[place].sum : 0;
    input_deferred(sim, packet, &event);
    if (dice_chance(&sim->dice, sim->character.commit_crashes))
        sim->crash_us = sim->now.mono_us + dice_between(&sim->dice, 0, SIM_MS(60));
}

/* --- all of them ------------------------------------------------------------------------------ */

static const enum event_kind event_of[] = {
    [PACKET_GOODBYE] = EVENT_GOODBYE,   [PACKET_REMOVE] = EVENT_REMOVE,
    [PACKET_RUN_NOW] = EVENT_RUN_NOW,   [PACKET_KICK] = EVENT_KICK,
    [PACKET_KICK_ALL] = EVENT_KICK_ALL, [PACKET_PAUSE] = EVENT_PAUSE,
    [PACKET_UNPAUSE] = EVENT_UNPAUSE,   [PACKET_UNDRAIN] = EVENT_UNDRAIN,
};

static void input_control(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct event event = {.kind = event_of[packet->kind], .session = session};
    event.key.queue = text(sim, 'q', packet->queue);
    event.key.key = text(sim, 'k', packet->key);
    if (packet->kind == PACKET_KICK_ALL)
        input_deferred(sim, packet, &event);
    else
        host_answer(sim, packet, host_step(sim, &event), 0);
    if (packet->kind == PACKET_GOODBYE)
        sim->host.sessions[session].is_there = false;
}

static void input_change(struct sim *sim, const struct packet *packet, uint32_t session)
{
    struct event event = {.session = session};
    struct put put = put_of(sim, packet);
    if (packet->kind == PACKET_PUT) {
        event.kind = EVENT_PUT;
        event.put.queue = text(sim, 'q', packet->queue);
        event.put.put = &put;
        host_answer(sim, packet, host_step(sim, &event), 0);
    } else if (packet->kind == PACKET_DRAIN) {
        event.kind = EVENT_DRAIN;
        event.wait_us = packet->number * (int64_t)US_PER_MS;
        input_deferred(sim, packet, &event);
    } else {
        event.kind = EVENT_SYNC_ABORT;
        event.sync_item.generation = packet->lease;
        host_answer(sim, packet, host_step(sim, &event), 0);
    }
}

static void answer_ping(struct sim *sim, const struct packet *packet)
{
    struct packet pong = *packet;
    pong.kind = PACKET_PONG;
    pong.is_to_host = false;
    network_send(sim, &pong);
}

static void input_of_session(struct sim *sim, const struct packet *packet, uint32_t session)
{
    host_step(sim, &(struct event){.kind = EVENT_SEEN, .session = session});
    switch (packet->kind) {
    case PACKET_CREDIT:
        host_step(sim, &(struct event){
                           .kind = EVENT_CREDIT, .session = session, .credit = packet->number});
        break;
    case PACKET_REPORT:
        host_answer(sim, packet, input_report(sim, packet, session), packet->lease);
        break;
    case PACKET_TOUCH:
    case PACKET_GIVE_BACK:
    case PACKET_RESUME:
        host_answer(sim, packet, input_lease(sim, packet, session), packet->lease);
        break;
    case PACKET_TAKE:
        input_take(sim, packet, session);
        break;
    case PACKET_SYNC_BEGIN:
        input_sync_begin(sim, packet, session);
        break;
    case PACKET_SYNC_ITEM:
        input_sync_item(sim, packet, session);
        break;
    case PACKET_SYNC_COMMIT:
        input_sync_commit(sim, packet, session);
        break;
    case PACKET_PUT:
    case PACKET_DRAIN:
    case PACKET_SYNC_ABORT:
        input_change(sim, packet, session);
        break;
    case PACKET_SEEN:
        break;
    case PACKET_ASK:
        answer_ping(sim, packet);
        break;
    default:
        input_control(sim, packet, session);
        break;
    }
}

/* Peers of odd numbers come by tcp and are waited for, the others by ipc. */
static void lose_connection(struct sim *sim, const struct packet *packet, uint32_t session)
{
    bool is_waited_for = packet->peer % 2;
    host_step(sim, &(struct event){.kind = EVENT_DISCONNECT,
                                   .session = session,
                                   .wait_us = is_waited_for ? SIM_S(3) : 0});
    sim->host.sessions[session].is_there = is_waited_for;
}

void host_input(struct sim *sim, const struct packet *packet)
{
    uint32_t session = find_session(sim, packet);
    if (packet->kind == PACKET_HELLO) {
        if (session == MODEL_SESSIONS)
            greet(sim, packet);
        return;
    }
    if (packet->kind == PACKET_BREAK) {
        if (session < MODEL_SESSIONS)
            lose_connection(sim, packet, session);
        return;
    }
    if (session < MODEL_SESSIONS) {
        input_of_session(sim, packet, session);
        return;
    }
    struct packet refusal = *packet;
    refusal.kind = PACKET_NO_SESSION;
    refusal.is_to_host = false;
    network_send(sim, &refusal);
}
