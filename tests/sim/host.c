/* host.c - the caller that sched.h describes: turns, the disk, answers, crashes. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* --- stepping --------------------------------------------------------------------------------- */

static void mix(struct sim *sim, uint64_t value)
{
    sim->hash = (sim->hash ^ value) * 0x100000001b3u;
    sim->hash ^= sim->hash >> 29;
}

static void note_effect(struct sim *sim, const struct effect *effect)
{
    mix(sim, (uint64_t)effect->kind << 32 | effect->session);
    mix(sim, effect->number);
    mix(sim, effect->request ^ effect->count << 20 ^ (uint64_t)(uint32_t)effect->status);
    struct story_line line = {
        .mono_us = sim->now.mono_us,
        .wall_us = sim->now.wall_us,
        .kind = -1,
        .session = effect->session,
        .queue = -1,
        .key = -1,
        .lease = effect->number,
        .detail = (int)effect->kind,
        .status = effect->status,
    };
    struct task task;
    if (effect->kind == EFFECT_TASK &&
        sched_view_task(sim->host.core.sched, effect, sim->now, &task)) {
        const struct model_session *session = &sim->model.sessions[effect->session];
        line.queue = (int)session->queues[task.name.queue];
        line.key = (int)model_index(task.name.key);
        line.state = task.state;
    }
    sim_note(sim, &line);
}

static void note_event(struct sim *sim, const struct event *event, enum status status)
{
    struct story_line line = {
        .mono_us = sim->now.mono_us,
        .wall_us = sim->now.wall_us,
        .kind = (int)event->kind,
        .session = event->session,
        .queue = -1,
        .key = -1,
        .status = status,
        .is_short = sim->host.core.is_short,
    };
    const struct model_session *session = &sim->model.sessions[event->session];
    if (event->kind == EVENT_REPORT) {
        line.queue = (int)session->queues[event->report->name.queue];
        line.key = (int)model_index(event->report->name.key);
        line.lease = event->report->name.lease;
        line.state = event->report->state;
        line.detail = (int)event->report->outcome;
        line.due_us = event->report->due_us;
        line.in_us = event->report->in_us;
    } else if (event->kind == EVENT_RESUME) {
        line.queue = (int)session->queues[event->resume->name.queue];
        line.key = (int)model_index(event->resume->name.key);
        line.lease = event->resume->name.lease;
        line.state = event->resume->state;
    } else if (event->kind == EVENT_GIVE_BACK) {
        line.queue = (int)session->queues[event->give_back->name.queue];
        line.key = (int)model_index(event->give_back->name.key);
        line.lease = event->give_back->name.lease;
        line.detail = event->give_back->begun;
    } else if (event->kind == EVENT_TOUCH) {
        line.queue = (int)session->queues[event->touch.name->queue];
        line.key = (int)model_index(event->touch.name->key);
        line.lease = event->touch.name->lease;
    } else if (event->kind == EVENT_PUT) {
        line.queue = (int)model_index(event->put.queue);
        line.key = (int)model_index(event->put.put->key);
        line.due_us = event->put.put->due_us;
        line.in_us = event->put.put->in_us;
    } else if (event->kind == EVENT_SYNC_ITEM) {
        line.lease = event->sync_item.generation;
        line.key = (int)model_index(event->sync_item.put->key);
        line.due_us = event->sync_item.put->due_us;
        line.in_us = event->sync_item.put->in_us;
    } else if (event->kind >= EVENT_REMOVE && event->kind <= EVENT_UNPAUSE) {
        line.queue = (int)model_index(event->key.queue);
        if (event->kind <= EVENT_KICK)
            line.key = (int)model_index(event->key.key);
    } else if (event->kind == EVENT_HELLO) {
        line.detail = event->hello->uid[0];
        line.lease = event->hello->resume_count;
    } else if (event->kind == EVENT_UNDELIVERED) {
        line.lease = event->number;
    }
    sim_note(sim, &line);
}

/* Mostly one allocation, now and then all from one on. */
static void maybe_fail_memory(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    if (!sim->is_quiet && dice_chance(dice, sim->character.memory))
        core_fail_memory(&sim->host.core, 1 + dice_below(dice, 3), dice_chance(dice, 400));
}

enum status host_step(struct sim *sim, struct event *event)
{
    struct host *host = &sim->host;
    if (sim->model.fault[0])
        return STATUS_INTERRUPTED;
    event->now = sim->now;
    size_t first = host->effects.count;
    maybe_fail_memory(sim);
    enum status status = core_step(&host->core, event, &host->effects);
    sim->events++;
    sim->quiet_events += sim->is_quiet;
    mix(sim, (uint64_t)event->kind << 32 | event->session);
    sim->model.is_short = host->core.is_short;
    sim->shortages += host->core.is_short;
    mix(sim, (uint64_t)(uint32_t)status ^ (uint64_t)sim->now.mono_us << 8);
    bool is_routine =
        (event->kind <= EVENT_WORK || event->kind == EVENT_SEEN) && !host->core.is_short;
    if (!is_routine || host->effects.count > first)
        note_event(sim, event, status);
    for (size_t i = first; i < host->effects.count; i++)
        note_effect(sim, &host->effects.list[i]);
    const struct effect *effects = host->effects.list + first;
    model_step(&sim->model, event, status, effects, host->effects.count - first);
    overlap_step(sim, event, status, effects, host->effects.count - first);
    if (sim->events % 256 == 0 && !sim->model.fault[0])
        model_compare_all(&sim->model, sim->now);
    return status;
}

/* --- the disk and the answers ----------------------------------------------------------------- */

static void release_answers(struct sim *sim)
{
    struct host *host = &sim->host;
    uint32_t left = 0;
    for (uint32_t i = 0; i < host->answer_count; i++) {
        if (host->answers[i].seal <= sim->model.durable_seal)
            network_send(sim, &host->answers[i].packet);
        else
            host->answers[left++] = host->answers[i];
    }
    host->answer_count = left;
}

/* It waits until everything that was done before is durable. */
static void send_durable(struct sim *sim, const struct packet *packet)
{
    struct host *host = &sim->host;
    if (host->answer_count == SIM_ANSWERS_MAX)
        abort();
    uint64_t seal = sim->model.seal + sched_is_dirty(host->core.sched);
    host->answers[host->answer_count++] = (struct answer){*packet, seal};
}

void host_answer(struct sim *sim, const struct packet *request, enum status status, uint64_t number)
{
    struct packet packet = *request;
    packet.kind = PACKET_ANSWER;
    packet.is_to_host = false;
    packet.status = status;
    packet.lease = number;
    send_durable(sim, &packet);
}

static void seal(struct sim *sim)
{
    struct host *host = &sim->host;
    if (host->is_in_flight || sim->model.fault[0])
        return;
    host->reserving = sched_reserve_wanted(host->core.sched);
    if (!sched_is_dirty(host->core.sched) && !host->reserving)
        return;
    store_batch_clear(host->batch);
    maybe_fail_memory(sim);
    if (core_seal(&host->core, host->batch)) { /* nothing was sealed: the next turn tries again */
        if (!host->core.is_short)
            model_fail(&sim->model, "a seal failed for no reason");
        sim->shortages++;
        return;
    }
    model_seal(&sim->model);
    host->is_in_flight = true;
    host->disk_done_us = sim->now.mono_us +
                         dice_delay(&sim->dice, sim->character.disk_us, sim->character.disk_max_us);
}

static void become_durable(struct sim *sim)
{
    struct host *host = &sim->host;
    if (!host->is_in_flight || sim->now.mono_us < host->disk_done_us)
        return;
    core_write(&host->core, &host->disk, host->batch);
    host->is_in_flight = false;
    host_step(sim, &(struct event){.kind = EVENT_DURABLE});
    if (host->reserving)
        host_step(sim, &(struct event){.kind = EVENT_RESERVED, .number = host->reserving});
    release_answers(sim);
}

/* --- effects ---------------------------------------------------------------------------------- */

static struct packet packet_for(const struct sim *sim, uint32_t session, enum packet_kind kind)
{
    const struct host_session *to = &sim->host.sessions[session];
    return (struct packet){.kind = kind, .peer = to->peer, .connection = to->connection};
}

static void deliver_task(struct sim *sim, const struct effect *effect)
{
    struct task task;
    const struct host_session *to = &sim->host.sessions[effect->session];
    if (!sched_view_task(sim->host.core.sched, effect, sim->now, &task))
        return;
    struct packet packet = packet_for(sim, effect->session, PACKET_TASK);
    packet.queue = task.name.queue;
    packet.key = model_index(task.name.key);
    packet.lease = task.name.lease;
    packet.state = task.state;
    packet.lease_ms = task.lease_ms;
    packet.id = effect->request;
    bool is_open = sim->network.peers[to->peer].is_open &&
                   sim->network.connections[to->peer] == to->connection;
    sim->tasks++;
    if ((!is_open && dice_chance(&sim->dice, 500)) ||
        dice_chance(&sim->dice, sim->is_quiet ? 0 : sim->character.lost_deliveries))
        host_step(sim, &(struct event){.kind = EVENT_UNDELIVERED,
                                       .session = effect->session,
                                       .number = effect->number});
    else {
        overlap_grant(sim, effect, &packet);
        network_send(sim, &packet);
    }
}

static void answer_waiting(struct sim *sim, uint64_t request, enum status status, uint64_t number)
{
    struct host *host = &sim->host;
    for (uint32_t i = 0; i < host->waiting_count; i++)
        if (host->waiting[i].packet.id == request) {
            struct packet packet = host->waiting[i].packet;
            host->waiting[i] = host->waiting[--host->waiting_count];
            packet.id = packet.state; /* what the peer called it */
            host_answer(sim, &packet, status, number);
            return;
        }
}

/* It is told when its cause is on disk, as an answer is. */
static void cancel(struct sim *sim, const struct effect *effect)
{
    struct packet packet = packet_for(sim, effect->session, PACKET_CANCEL);
    packet.lease = effect->number;
    if (sim->host.core.bug == BUG_EARLY_CANCEL)
        network_send(sim, &packet);
    else
        send_durable(sim, &packet);
    if (dice_chance(&sim->dice, sim->character.cancel_crashes))
        sim->crash_us = sim->now.mono_us + dice_between(&sim->dice, 0, SIM_MS(20));
}

static void carry_out(struct sim *sim, const struct effect *effect)
{
    struct packet packet;
    switch (effect->kind) {
    case EFFECT_TASK:
        deliver_task(sim, effect);
        break;
    case EFFECT_CANCEL:
        cancel(sim, effect);
        break;
    case EFFECT_PING:
        packet = packet_for(sim, effect->session, PACKET_PING);
        network_send(sim, &packet);
        break;
    case EFFECT_LOST:
        if (sim->host.sessions[effect->session].connection ==
            sim->network.connections[sim->host.sessions[effect->session].peer])
            network_break(sim, sim->host.sessions[effect->session].peer, false);
        sim->host.sessions[effect->session].is_there = false;
        break;
    case EFFECT_TAKEN:
        answer_waiting(sim, effect->request, STATUS_OK, effect->count);
        break;
    case EFFECT_KICKED:
        answer_waiting(sim, effect->request, STATUS_OK, effect->count);
        break;
    case EFFECT_DRAINED:
    case EFFECT_SYNC_DONE:
        answer_waiting(sim, effect->request, effect->status, 0);
        break;
    case EFFECT_SYNC_BEGUN:
    case EFFECT_SYNC_IDLE:
        break;
    }
}

/* Tasks are borrowed until the next step, but an undelivered one is a step: its lease only. */
void host_carry_out(struct sim *sim)
{
    struct host *host = &sim->host;
    size_t count = host->effects.count;
    for (size_t i = 0; i < count && !sim->model.fault[0]; i++) {
        struct effect effect = host->effects.list[i];
        carry_out(sim, &effect);
    }
    host->effects.count = 0;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void plan_wake(struct sim *sim)
{
    struct host *host = &sim->host;
    const struct sched *sched = host->core.sched;
    int64_t wall_us = sched_next_wall_us(sched), mono_us = sched_next_mono_us(sched);
    int64_t wake_us = mono_us;
    if (wall_us != TIME_US_NEVER && sim->now.mono_us + (wall_us - sim->now.wall_us) < wake_us)
        wake_us = sim->now.mono_us + (wall_us - sim->now.wall_us);
    if (sched_has_work(sched))
        wake_us = 0;
    if (host->is_in_flight && host->disk_done_us < wake_us)
        wake_us = host->disk_done_us;
    if (!host->is_in_flight && (sched_is_dirty(sched) || sched_reserve_wanted(sched)))
        wake_us = 0;
    /* A turn takes some time, too. */
    host->wake_us = wake_us > sim->now.mono_us + 50 ? wake_us : sim->now.mono_us + 50;
}

void host_turn(struct sim *sim)
{
    struct host *host = &sim->host;
    int64_t late_us = sim->now.mono_us - host->wake_us;
    for (uint32_t i = 0; i < host->inbox_count && !sim->model.fault[0]; i++) {
        host_input(sim, &host->inbox[i]);
        host_carry_out(sim); /* before a session's number is drawn again */
    }
    host->inbox_count = 0;
    host_step(sim, &(struct event){.kind = EVENT_TIME, .stalled_us = late_us > 0 ? late_us : 0});
    if (sched_has_work(host->core.sched) && dice_chance(&sim->dice, sim->character.slices))
        host_step(sim,
                  &(struct event){.kind = EVENT_WORK,
                                  .budget = 1 + dice_below(&sim->dice, sim->character.slice_most)});
    host_carry_out(sim);
    seal(sim);
    become_durable(sim);
    host_step(sim, &(struct event){.kind = EVENT_GRANT});
    host_carry_out(sim);
    release_answers(sim);
    if (!sim->model.fault[0])
        plan_wake(sim);
}

int64_t host_next_us(const struct sim *sim)
{
    const struct host *host = &sim->host;
    if (!host->is_up)
        return host->restart_us;
    int64_t next_us = host->inbox_count ? sim->now.mono_us : host->wake_us;
    return next_us > host->frozen_until_us ? next_us : host->frozen_until_us;
}

void host_receive(struct sim *sim, const struct packet *packet)
{
    struct host *host = &sim->host;
    if (!host->is_up)
        return;
    if (host->inbox_count == SIM_PACKETS_MAX)
        abort();
    host->inbox[host->inbox_count++] = *packet;
}

/* --- life ------------------------------------------------------------------------------------- */

void host_init(struct sim *sim, enum bug bug)
{
    struct host *host = &sim->host;
    memset(host, 0, sizeof(*host));
    host->model = &sim->model;
    host->core.bug = bug;
    disk_init(&host->disk);
    effects_init(&host->effects);
    host->effects.list = malloc(SIM_EFFECTS_MAX * sizeof(struct effect));
    host->effects.room = SIM_EFFECTS_MAX;
    host->batch = store_batch_new();
    host->inbox = malloc(SIM_PACKETS_MAX * sizeof(struct packet));
    host->answers = malloc(SIM_ANSWERS_MAX * sizeof(struct answer));
    if (!host->batch || !host->inbox || !host->answers || !host->effects.list)
        abort();
}

void host_release(struct sim *sim)
{
    struct host *host = &sim->host;
    core_release(&host->core);
    disk_release(&host->disk);
    effects_release(&host->effects);
    store_batch_destroy(&host->batch);
    free(host->inbox);
    free(host->answers);
}

/* Everything but the disk begins anew; the first numbers are reserved before anything else. */
void host_start(struct sim *sim)
{
    struct host *host = &sim->host;
    sim_note(sim, &(struct story_line){
                      .mono_us = sim->now.mono_us, .wall_us = sim->now.wall_us, .kind = -3});
    core_init(&host->core, &host->settings, host->core.bug);
    maybe_fail_memory(sim);
    enum status status = core_load(&host->core, &host->disk, sim->now);
    if (status == STATUS_NO_MEMORY && host->core.is_short) { /* it is started again */
        sim->shortages++;
        core_release(&host->core);
        core_init(&host->core, &host->settings, host->core.bug);
        status = core_load(&host->core, &host->disk, sim->now);
    }
    if (status) {
        model_fail(&sim->model, "loading: %s", status_name(status));
        return;
    }
    model_restart(&sim->model, &host->core, sim->now);
    overlap_restart(sim);
    host->is_up = true;
    host->is_in_flight = false;
    host->wake_us = sim->now.mono_us;
    host->effects.count = 0;
    for (int i = 0; i < 64 && sched_reserve_wanted(host->core.sched); i++) {
        seal(sim);
        host->disk_done_us = sim->now.mono_us;
        become_durable(sim);
    }
    host_turn(sim);
}

void host_crash(struct sim *sim)
{
    struct host *host = &sim->host;
    sim_note(sim, &(struct story_line){
                      .mono_us = sim->now.mono_us, .wall_us = sim->now.wall_us, .kind = -2});
    core_release(&host->core);
    host->is_up = host->is_in_flight = false;
    host->inbox_count = host->answer_count = host->waiting_count = 0;
    memset(host->sessions, 0, sizeof(host->sessions));
    memset(host->syncs, 0, sizeof(host->syncs));
    for (uint32_t peer = 0; peer < SIM_PEERS; peer++)
        network_break(sim, peer, false);
    overlap_crash(sim);
    sim->crashes++;
}
