/* client.c - one request at a time, sent again after a reconnect until it is answered. */
#include "sim.h"

#include <string.h>

/* --- what to ask ------------------------------------------------------------------------------ */

static struct line draw_line(struct sim *sim, bool is_of_set)
{
    struct dice *dice = &sim->dice;
    struct line line = {.due_us = TIME_US_NEVER, .in_us = TIME_US_NEVER, .every_us = TIME_US_NEVER};
    uint32_t choice = dice_below(dice, 10);
    if (choice < 2)
        line.due_us = sim->now.wall_us + dice_between(dice, -SIM_S(10), sim->character.due_max_us);
    else if (choice < 5)
        line.in_us = dice_between(dice, 0, sim->character.due_max_us);
    if (dice_chance(dice, is_of_set ? 800 : 400))
        line.every_us = dice_between(dice, SIM_MS(50), sim->character.due_max_us);
    if (dice_chance(dice, 30))
        line.every_us = 0;
    line.has_rank = dice_chance(dice, 200);
    line.rank = line.has_rank ? dice_between(dice, -1, 1) : 0;
    line.has_once = dice_chance(dice, 60);
    line.once = dice_chance(dice, 500);
    line.payload = dice_chance(dice, 500) ? 2 + dice_below(dice, 4) : 0;
    line.memo = dice_chance(dice, 100) ? 1 + dice_below(dice, 4) : 0;
    line.group = dice_chance(dice, 100) ? 1 + dice_below(dice, 4) : 0;
    return line;
}

static void begin(struct sim *sim, struct peer *peer, struct packet request)
{
    request.id = ++peer->ids;
    peer->request = request;
    peer->request_sent_us = 0;
    (void)sim;
}

static void ask_something(struct sim *sim, struct peer *peer)
{
    struct dice *dice = &sim->dice;
    struct packet request = {.queue = dice_below(dice, MODEL_QUEUES),
                             .key = dice_below(dice, sim->character.keys)};
    uint32_t choice = dice_below(dice, 1000);
    if (choice < 550) {
        request.kind = PACKET_PUT;
        request.line = draw_line(sim, false);
    } else if (choice < 700) {
        request.kind = PACKET_REMOVE;
    } else if (choice < 800) {
        request.kind = PACKET_RUN_NOW;
    } else if (choice < 880) {
        request.kind = PACKET_KICK;
    } else if (choice < 890) {
        request.kind = PACKET_KICK_ALL;
    } else if (choice < 920) {
        request.kind = PACKET_PAUSE;
        peer->paused |= 1u << request.queue;
    } else if (choice < 925) {
        request.kind = PACKET_DRAIN;
        request.number = dice_below(dice, 5000);
        peer->is_draining = true;
    } else if (dice_chance(dice, sim->character.syncs)) {
        request.kind = PACKET_SYNC_BEGIN;
        request.flag = dice_chance(dice, 300);
        request.line.in_us = dice_chance(dice, 300) ? sim->character.due_max_us : 0;
        peer->sync_queue = request.queue;
        peer->sync_lines_max = dice_below(dice, sim->character.keys * 3 / 2);
    } else {
        request.kind = PACKET_PUT;
        request.line = draw_line(sim, false);
    }
    begin(sim, peer, request);
}

/* What is paused or draining goes on soon. */
static bool ask_to_go_on(struct sim *sim, struct peer *peer)
{
    if (!sim->is_quiet && !dice_chance(&sim->dice, 300))
        return false;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        if (peer->paused & 1u << queue) {
            peer->paused &= ~(1u << queue);
            begin(sim, peer, (struct packet){.kind = PACKET_UNPAUSE, .queue = queue});
            return true;
        }
    if (peer->is_draining) {
        peer->is_draining = false;
        begin(sim, peer, (struct packet){.kind = PACKET_UNDRAIN});
        return true;
    }
    return false;
}

/* --- full sets -------------------------------------------------------------------------------- */

static void ask_sync(struct sim *sim, struct peer *peer)
{
    struct dice *dice = &sim->dice;
    struct packet request = {.lease = peer->generation};
    if (sim->is_quiet || peer->is_aborting || dice_chance(dice, 5)) {
        request.kind = PACKET_SYNC_ABORT;
        peer->generation = 0;
    } else if (peer->sync_lines < peer->sync_lines_max) {
        request.kind = PACKET_SYNC_ITEM;
        /* Mostly another key each time. */
        request.key = dice_chance(dice, 5) ? dice_below(dice, sim->character.keys)
                                           : peer->sync_lines % sim->character.keys;
        request.line = draw_line(sim, true);
        peer->sync_lines++;
        peer->sync_sum = peer->sync_sum * 31 + request.key;
    } else {
        request.kind = PACKET_SYNC_COMMIT;
        request.number = peer->sync_lines + dice_chance(dice, 30);
        request.state = peer->sync_sum + dice_chance(dice, 30);
        request.flag = dice_chance(dice, 500);
        request.lease_ms = dice_chance(dice, 800) ? 1000000 : dice_below(dice, 1000000);
        request.heartbeat_ms = dice_chance(dice, 100);
        peer->generation = 0;
    }
    begin(sim, peer, request);
}

/* --- acting ----------------------------------------------------------------------------------- */

/* Whether it was done it does not know. Its session goes on, and with it a set that is open: one
 * that has a name is aborted, one whose BEGIN was not answered goes with the session. */
static void give_up(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    enum packet_kind kind = peer->request.kind;
    peer->generation = 0;
    if (kind == PACKET_SYNC_ITEM || kind == PACKET_SYNC_COMMIT) {
        peer->generation = peer->request.lease;
        peer->is_aborting = true;
    } else if (kind == PACKET_SYNC_BEGIN) {
        network_break(sim, number, true);
        peer->state = PEER_OFF;
    }
    peer->request.id = 0;
}

void client_act(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    peer->next_us = sim->now.mono_us +
                    dice_delay(&sim->dice, sim->character.think_us, sim->character.think_us * 20);
    if (!peer_keep_up(sim, number))
        return;
    if (peer->generation)
        peer->next_us = sim->now.mono_us + dice_delay(&sim->dice, SIM_MS(2), SIM_MS(50));
    if (!peer->request.id) {
        if (peer->generation)
            ask_sync(sim, peer);
        else if (!ask_to_go_on(sim, peer) && !sim->is_quiet)
            ask_something(sim, peer);
    }
    if (!peer->request.id)
        return;
    if (!peer->request_sent_us) {
        peer->request_sent_us = sim->now.mono_us;
        peer_send(sim, number, peer->request);
    } else if (sim->now.mono_us - peer->request_sent_us > SIM_S(30)) {
        give_up(sim, number);
    }
}

static void receive_answer(struct peer *peer, const struct packet *packet)
{
    if (!peer->request.id || packet->id != peer->request.id)
        return;
    if (peer->request.kind == PACKET_SYNC_BEGIN && packet->status == STATUS_OK) {
        peer->generation = packet->lease;
        peer->sync_lines = peer->sync_sum = 0;
        peer->is_aborting = false;
    }
    bool is_of_sync =
        peer->request.kind == PACKET_SYNC_ITEM || peer->request.kind == PACKET_SYNC_COMMIT;
    if (is_of_sync && packet->status == STATUS_NO_MEMORY) {
        peer->generation = peer->request.lease;
        peer->is_aborting = true;
    } else if (peer->request.kind == PACKET_SYNC_ITEM && packet->status < 0 &&
               packet->status != STATUS_DUPLICATE)
        peer->generation = 0; /* the sync is no more */
    peer->request.id = 0;
}

void client_receive(struct sim *sim, uint32_t number, const struct packet *packet)
{
    struct peer *peer = &sim->peers[number];
    peer->heard_us = sim->now.mono_us;
    switch (packet->kind) {
    case PACKET_WELCOME:
        peer->state = PEER_LIVE;
        peer->request_sent_us = 0; /* send again what was not answered */
        break;
    case PACKET_ANSWER:
        receive_answer(peer, packet);
        break;
    case PACKET_PING:
        peer_send(sim, number, (struct packet){.kind = PACKET_SEEN});
        break;
    case PACKET_NO_SESSION:
        peer->state = PEER_OFF;
        break;
    default:
        break;
    }
}

void client_init(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    *peer = (struct peer){
        .uid = ++sim->uids,
        .heartbeat_ms = sim->character.heartbeat_ms,
        .next_us = sim->now.mono_us + dice_below(&sim->dice, 1000000),
    };
}
