/* worker.c - a worker as docs/protocol.md asks for: honest, but slow, crashing and reconnecting. */
#include "sim.h"

#include <string.h>

/* --- what all peers do ------------------------------------------------------------------------ */

void peer_send(struct sim *sim, uint32_t number, struct packet packet)
{
    struct peer *peer = &sim->peers[number];
    packet.peer = number;
    packet.connection = sim->network.connections[number];
    packet.is_to_host = true;
    peer->said_us = sim->now.mono_us;
    network_send(sim, &packet);
}

/* What is worked on, but what is detached lives on without its session. */
static bool is_to_announce(const struct sim_task *task)
{
    return task->is_there && !task->is_reported && !task->is_detached;
}

/* A new connection, and HELLO on it. */
void peer_greet(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    network_connect(sim, number);
    peer->state = PEER_GREETING;
    peer->greeted_us = sim->now.mono_us;
    struct packet packet = {
        .kind = PACKET_HELLO,
        .id = ++peer->ids,
        .queue = peer->uid,
        .number = peer->credit,
        .lease_ms = peer->lease_ms,
        .heartbeat_ms = peer->heartbeat_ms,
        .queue_count = peer->queue_count,
    };
    memcpy(packet.queues, peer->queues, sizeof(packet.queues));
    for (int i = 0; i < SIM_TASKS_MAX; i++) {
        peer->tasks[i].sent_us = 0;
        peer->tasks[i].is_announced = is_to_announce(&peer->tasks[i]);
        packet.key += peer->tasks[i].is_announced;
    }
    peer_send(sim, number, packet);
}

bool peer_keep_up(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    int64_t now = sim->now.mono_us, heartbeat_us = SIM_MS(peer->heartbeat_ms);
    bool is_open = sim->network.peers[number].is_open;
    if (peer->state == PEER_LIVE && (!is_open || now - peer->heard_us > 3 * heartbeat_us))
        peer->state = PEER_OFF;
    if (peer->state == PEER_GREETING && (!is_open || now - peer->greeted_us > SIM_S(3)))
        peer->state = PEER_OFF;
    if (peer->state == PEER_OFF)
        peer_greet(sim, number);
    if (peer->state == PEER_LIVE && now - peer->said_us > heartbeat_us / 2)
        peer_send(sim, number, (struct packet){.kind = PACKET_SEEN});
    if (peer->state == PEER_LIVE && now - peer->heard_us > heartbeat_us)
        peer_send(sim, number, (struct packet){.kind = PACKET_ASK});
    return peer->state == PEER_LIVE;
}

/* --- tasks ------------------------------------------------------------------------------------ */

static struct sim_task *find_task(struct peer *peer, uint64_t lease)
{
    for (int i = 0; i < peer->task_end; i++)
        if (peer->tasks[i].is_there && peer->tasks[i].lease == lease)
            return &peer->tasks[i];
    return NULL;
}

static void receive_task(struct sim *sim, uint32_t number, const struct packet *packet)
{
    struct peer *peer = &sim->peers[number];
    for (int i = 0; i < SIM_TASKS_MAX; i++) {
        if (peer->tasks[i].is_there)
            continue;
        int64_t run_us = dice_delay(&sim->dice, sim->character.run_us,
                                    sim->is_quiet ? SIM_MS(500) : sim->character.run_max_us);
        if (sim->is_quiet && run_us > SIM_MS(500))
            run_us = SIM_MS(500);
        peer->task_end = i < peer->task_end ? peer->task_end : i + 1;
        peer->tasks[i] = (struct sim_task){
            .is_there = true,
            .is_detached = packet->id >> 8 & 1, /* what it asked for itself */
            .queue = packet->queue,
            .key = packet->key,
            .lease = packet->lease,
            .state = packet->state,
            .done_us = sim->now.mono_us + run_us,
            .touch_us = sim->now.mono_us + SIM_MS(packet->lease_ms) / 2,
        };
        overlap_arrive(sim, number, &peer->tasks[i]);
        return;
    }
}

static void send_report(struct sim *sim, uint32_t number, struct sim_task *task)
{
    task->sent_us = sim->now.mono_us;
    peer_send(sim, number, task->report);
}

/* What the handler says, drawn. */
static void make_report(struct sim *sim, struct peer *peer, struct sim_task *task)
{
    struct dice *dice = &sim->dice;
    struct packet *report = &task->report;
    *report = (struct packet){
        .kind = PACKET_REPORT,
        .id = ++peer->ids,
        .queue = task->queue,
        .key = task->key,
        .lease = task->lease,
        .state = task->state,
        .line = {.due_us = TIME_US_NEVER, .in_us = TIME_US_NEVER},
    };
    task->is_reported = true;
    if (sim->is_quiet) {
        report->line.in_us = SIM_S(36000);
        return;
    }
    if (dice_chance(dice, sim->character.failing))
        report->outcome = OUTCOME_RETRY;
    else if (dice_chance(dice, 30))
        report->outcome = dice_chance(dice, 500) ? OUTCOME_PARK : OUTCOME_REMOVE;
    uint32_t choice = dice_below(dice, 10);
    if (choice < 5 && (report->outcome != OUTCOME_RETRY || choice == 0))
        report->line.in_us = dice_between(dice, 0, sim->character.due_max_us);
    else if (choice == 5)
        report->line.due_us =
            sim->now.wall_us + dice_between(dice, -SIM_S(5), sim->character.due_max_us);
    if (dice_chance(dice, 200))
        report->line.memo = 1 + dice_below(dice, 9);
    if (dice_chance(dice, 50))
        report->line.payload = 2 + dice_below(dice, 9);
    report->line.has_rank = dice_chance(dice, 50);
    report->line.rank = report->line.has_rank ? dice_between(dice, -2, 2) : 0;
}

static void work_on(struct sim *sim, uint32_t number, struct sim_task *task)
{
    struct peer *peer = &sim->peers[number];
    int64_t now = sim->now.mono_us;
    struct packet packet = {.id = ++peer->ids,
                            .queue = task->queue,
                            .key = task->key,
                            .lease = task->lease,
                            .state = task->state};
    if (task->is_reported) {
        if (now - task->sent_us > SIM_S(1) || dice_chance(&sim->dice, 5))
            send_report(sim, number, task);
    } else if (task->done_us <= now && dice_chance(&sim->dice, sim->is_quiet ? 0 : 40)) {
        packet.kind = PACKET_GIVE_BACK;
        packet.flag = dice_chance(&sim->dice, 400);
        peer_send(sim, number, packet);
        overlap_end(sim, number, task->lease);
        task->is_there = false;
    } else if (task->done_us <= now) {
        make_report(sim, peer, task);
        overlap_end(sim, number, task->lease);
        send_report(sim, number, task);
    } else if (task->touch_us <= now) {
        packet.kind = PACKET_TOUCH;
        task->touch_us = now + SIM_MS(peer->lease_ms ? peer->lease_ms : 1000) / 2;
        if (dice_chance(&sim->dice, 700))
            peer_send(sim, number, packet);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

/* Announce what is still worked on, then send again what was not answered, in any order. */
static void come_back(struct sim *sim, uint32_t number, const struct packet *packet)
{
    struct peer *peer = &sim->peers[number];
    peer->state = PEER_LIVE;
    if (peer->credit != packet->number) /* it changed since the hello was written */
        peer_send(sim, number, (struct packet){.kind = PACKET_CREDIT, .number = peer->credit});
    for (int i = 0; i < SIM_TASKS_MAX; i++) {
        struct sim_task *task = &peer->tasks[i];
        bool is_forgotten = !sim->is_quiet && dice_chance(&sim->dice, sim->character.forgets);
        task->resume = ++peer->ids;
        task->is_announced &= !is_forgotten;
        if (is_to_announce(task) && !is_forgotten)
            peer_send(sim, number,
                      (struct packet){.kind = PACKET_RESUME,
                                      .id = task->resume,
                                      .queue = task->queue,
                                      .key = task->key,
                                      .lease = task->lease,
                                      .state = task->state});
        else if (is_to_announce(task))
            overlap_forget(sim, number, task->lease);
    }
    uint32_t first = dice_below(&sim->dice, SIM_TASKS_MAX);
    for (uint32_t i = 0; i < SIM_TASKS_MAX; i++) {
        struct sim_task *task = &peer->tasks[(first + i * 7) % SIM_TASKS_MAX];
        if (task->is_there && task->is_reported)
            send_report(sim, number, task);
    }
}

/* It is announced no more; what was begun is not stopped at once. */
static void drop_task(struct sim *sim, uint32_t number, struct sim_task *task)
{
    task->is_there = false;
    overlap_cancel(sim, number, task->lease);
}

static void receive_answer(struct sim *sim, uint32_t number, const struct packet *packet)
{
    struct peer *peer = &sim->peers[number];
    struct sim_task *task = find_task(peer, packet->lease);
    bool is_final = packet->status == STATUS_OK || packet->status == STATUS_GONE ||
                    packet->status == STATUS_STALE;
    if (!task)
        return;
    task->is_announced &= packet->id != task->resume;
    if (task->is_reported && packet->id == task->report.id) {
        if (is_final)
            task->is_there = false;
        if (packet->status == STATUS_NO_NEXT) { /* the handler's mistake: it says when, then */
            task->is_reported = false;
            make_report(sim, peer, task);
            task->report.line.in_us = SIM_S(20);
            task->sent_us = 0;
        }
    } else if (!task->is_reported && packet->status != STATUS_OK && is_final) {
        drop_task(sim, number, task); /* touched or resumed in vain */
    }
}

void worker_receive(struct sim *sim, uint32_t number, const struct packet *packet)
{
    struct peer *peer = &sim->peers[number];
    peer->heard_us = sim->now.mono_us;
    switch (packet->kind) {
    case PACKET_WELCOME:
        if (peer->state == PEER_GREETING)
            come_back(sim, number, packet);
        break;
    case PACKET_TASK:
        receive_task(sim, number, packet);
        break;
    case PACKET_CANCEL: {
        struct sim_task *task = find_task(peer, packet->lease);
        /* Of what is announced the answer, which comes behind, tells more. */
        if (task && !task->is_reported && !task->is_announced && dice_chance(&sim->dice, 700))
            drop_task(sim, number, task);
        break;
    }
    case PACKET_ANSWER:
        receive_answer(sim, number, packet);
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

/* --- acting ----------------------------------------------------------------------------------- */

static void maybe_take(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    struct dice *dice = &sim->dice;
    if (sim->is_quiet || !dice_chance(dice, sim->character.takes))
        return;
    bool is_detached = dice_chance(dice, 500);
    peer->ids += (peer->ids & 1) == is_detached ? 2 : 1; /* the number tells them apart */
    peer_send(sim, number,
              (struct packet){.kind = PACKET_TAKE,
                              .id = peer->ids,
                              .queue = dice_below(dice, peer->queue_count),
                              .number = 1 + dice_below(dice, 4),
                              .heartbeat_ms = dice_chance(dice, 300) ? 0 : dice_below(dice, 3000),
                              .lease_ms = dice_chance(dice, 500) ? 0 : 100 + dice_below(dice, 5000),
                              .flag = is_detached});
}

void worker_act(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    struct dice *dice = &sim->dice;
    peer->next_us = sim->now.mono_us + dice_delay(dice, SIM_MS(20), SIM_MS(400));
    if (!peer_keep_up(sim, number))
        return;
    for (int i = 0; i < peer->task_end; i++)
        if (peer->tasks[i].is_there)
            work_on(sim, number, &peer->tasks[i]);
    while (peer->task_end && !peer->tasks[peer->task_end - 1].is_there)
        peer->task_end--;
    maybe_take(sim, number);
    if (sim->is_quiet)
        return;
    if (dice_chance(dice, 5)) {
        peer->credit = dice_below(dice, sim->character.credit + 1);
        peer_send(sim, number, (struct packet){.kind = PACKET_CREDIT, .number = peer->credit});
    }
    if (dice_chance(dice, 1)) {
        peer_send(sim, number, (struct packet){.kind = PACKET_GOODBYE, .id = ++peer->ids});
        worker_crash(sim, number);
    }
}

/* Everything is lost; another process takes its place. */
void worker_crash(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    memset(peer->tasks, 0, sizeof(peer->tasks));
    overlap_end_process(sim, number);
    peer->task_end = 0;
    peer->state = PEER_OFF;
    do /* ends: there are more uids than sessions */
        peer->uid = ++sim->uids;
    while (peer->uid == 0);
    if (dice_chance(&sim->dice, 1000 - sim->character.invisible))
        network_break(sim, number, true);
    else
        network_break(sim, number, false);
    peer->next_us = sim->now.mono_us + dice_delay(&sim->dice, SIM_MS(100), SIM_S(10));
}

void worker_init(struct sim *sim, uint32_t number)
{
    struct peer *peer = &sim->peers[number];
    struct dice *dice = &sim->dice;
    *peer = (struct peer){
        .is_worker = true,
        .uid = ++sim->uids,
        .credit = 1 + dice_below(dice, sim->character.credit),
        .lease_ms = dice_chance(dice, 200) ? 0 : sim->character.lease_ms,
        .heartbeat_ms = sim->character.heartbeat_ms,
        .next_us = sim->now.mono_us + dice_below(dice, 1000000),
    };
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        if (number == 0 || dice_chance(dice, 600))
            peer->queues[peer->queue_count++] = queue;
    if (!peer->queue_count)
        peer->queues[peer->queue_count++] = dice_below(dice, MODEL_QUEUES);
}
