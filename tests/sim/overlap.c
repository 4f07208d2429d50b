/* overlap.c - the promise that the broker alone cannot check: no record is handed out while another
 * process works on it, restarts included, unless there is a good reason.
 *
 * The model knows the leases of a broker, which a crash takes from both. This is the world's side:
 * who really works on what, from the moment at which the task arrives until the report is made.
 * One that was told by a CANCEL that its lease has ended announces it no more, but what it has
 * begun may go on for a while. Reasons are: the lease ran out, or was displaced; its session was
 * lost, or was back and did not announce it; a grace passed in which it was not announced; the
 * record was removed, or reported by whoever had it before.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* So long what has lost its lease may go on: the longer, the more it takes to keep it alone. */
enum { LINGER_US = 10 * US_PER_S };

/* --- the list --------------------------------------------------------------------------------- */

static struct holding *add_holding(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_HOLDINGS; i++)
        if (!sim->holdings[i].lease) {
            sim->holding_end = i < sim->holding_end ? sim->holding_end : i + 1;
            return &sim->holdings[i];
        }
    abort();
}

static void drop(struct sim *sim, struct holding *holding)
{
    holding->lease = 0;
    while (sim->holding_end && !sim->holdings[sim->holding_end - 1].lease)
        sim->holding_end--;
}

static struct holding *find(struct sim *sim, uint32_t peer, uint64_t lease)
{
    for (uint32_t i = 0; lease && i < sim->holding_end; i++)
        if (sim->holdings[i].lease == lease && sim->holdings[i].peer == peer)
            return &sim->holdings[i];
    return NULL;
}

static struct model_record *record_of(struct sim *sim, const struct holding *holding)
{
    return model_record(&sim->model, holding->queue, holding->key);
}

/* --- reasons ---------------------------------------------------------------------------------- */

/* Its process is back, or a grace is over, and it was not announced. One that was told that the
 * lease has ended does not announce it: then that must be true. */
static bool is_unannounced(const struct sim *sim, const struct holding *holding)
{
    if (holding->is_cancelled)
        return false;
    if (!holding->is_announced && holding->announce_end_us <= sim->now.mono_us)
        return true;
    return holding->start != sim->crashes && sim->now.mono_us >= sim->model.grace_end_mono_us;
}

static bool is_ended(const struct sim *sim, const struct holding *holding)
{
    if (holding->is_over || holding->is_forgotten || is_unannounced(sim, holding))
        return true;
    if (holding->start != sim->crashes) /* nobody waits for these after a restart */
        return holding->is_detached || holding->was_not_held;
    return holding->end_us <= sim->now.mono_us;
}

/* It may also have been removed, and put again. */
static bool is_excused(struct sim *sim, const struct holding *holding)
{
    return is_ended(sim, holding) || record_of(sim, holding)->life != holding->life;
}

static void end_those_of(struct sim *sim, uint8_t uid)
{
    for (uint32_t i = 0; i < sim->holding_end; i++)
        if (sim->holdings[i].uid == uid && !sim->holdings[i].is_detached)
            sim->holdings[i].is_over = true;
}

static void begin_announcing(struct sim *sim, const struct hello *hello)
{
    int64_t grace_us = sim->host.settings.grace_us;
    for (uint32_t i = 0; i < sim->holding_end; i++) {
        struct holding *holding = &sim->holdings[i];
        if (holding->uid != hello->uid[0] || holding->is_detached)
            continue;
        holding->is_over |= is_unannounced(sim, holding); /* to the HELLO before this one */
        holding->is_announced = false;
        holding->announce_end_us = sim->now.mono_us + (grace_us < US_PER_S ? US_PER_S : grace_us);
    }
}

static void confirm(struct sim *sim, struct holding *holding)
{
    holding->confirmed_seal = sim->model.seal + 1;
    holding->was_over = holding->is_over;
    holding->is_over = false;
    holding->is_forgotten = holding->was_ended = false;
    holding->is_announced = true;
    holding->start = sim->crashes;
}

/* The others that had it have lost it: of several old holders the first to report wins, and the
 * last of those that come back keeps it. */
static void end_others(struct sim *sim, const struct holding *named, bool is_reported)
{
    for (uint32_t i = 0; i < sim->holding_end; i++) {
        struct holding *holding = &sim->holdings[i];
        bool is_its = holding->queue == named->queue && holding->key == named->key;
        bool is_before = is_reported || holding->lease < named->lease;
        /* What was given out since that report has its lease as its state. */
        if (is_its && is_before && holding->lease != named->lease && holding->state != named->lease)
            holding->is_over = true;
    }
}

static void see_cancel(struct sim *sim, uint64_t lease)
{
    for (uint32_t i = 0; i < sim->holding_end; i++)
        if (sim->holdings[i].lease == lease)
            sim->holdings[i].is_over = sim->holdings[i].was_ended = true;
}

static void see_named(struct sim *sim, const struct event *event, const struct lease_name *name)
{
    const struct model_session *session = &sim->model.sessions[event->session];
    struct holding named = {
        .lease = name->lease, .queue = session->queues[name->queue], .key = model_index(name->key)};
    if (event->kind != EVENT_TOUCH)
        end_others(sim, &named, event->kind == EVENT_REPORT);
    struct holding *holding = find(sim, sim->host.sessions[event->session].peer, name->lease);
    if (holding && event->kind == EVENT_RESUME) /* a touch does not make good for it */
        confirm(sim, holding);
    if (holding && event->kind != EVENT_REPORT)
        holding->end_us = record_of(sim, holding)->lease_end_mono_us;
}

void overlap_step(struct sim *sim, const struct event *event, enum status status,
                  const struct effect *effects, size_t effect_count)
{
    const struct host_session *sessions = sim->host.sessions;
    for (size_t i = 0; i < effect_count; i++) {
        /* That of a removal is none yet: a crash may take the removal back. */
        if (effects[i].kind == EFFECT_CANCEL &&
            (event->kind == EVENT_TIME || event->kind == EVENT_RESUME))
            see_cancel(sim, effects[i].number);
        if (effects[i].kind == EFFECT_LOST && event->kind != EVENT_HELLO) /* else it goes on */
            end_those_of(sim, sessions[effects[i].session].uid);
    }
    if (event->kind == EVENT_RESUME && status == STATUS_NO_MEMORY) /* our workers ask once */
        overlap_forget(sim, sessions[event->session].peer, event->resume->name.lease);
    if (status)
        return;
    if (event->kind == EVENT_HELLO)
        begin_announcing(sim, event->hello);
    else if (event->kind == EVENT_GOODBYE ||
             (event->kind == EVENT_DISCONNECT && event->wait_us == 0))
        end_those_of(sim, sessions[event->session].uid);
    else if (event->kind == EVENT_RESUME)
        see_named(sim, event, &event->resume->name);
    else if (event->kind == EVENT_TOUCH)
        see_named(sim, event, event->touch.name);
    else if (event->kind == EVENT_REPORT)
        see_named(sim, event, &event->report->name);
}

/* Who did not come back in a whole grace is waited for once. */
void overlap_crash(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->holding_end; i++) {
        struct holding *holding = &sim->holdings[i];
        holding->is_over |= holding->start != sim->crashes && is_unannounced(sim, holding);
        /* That it was announced too late and all the same was lost again. */
        if (holding->confirmed_seal > sim->model.durable_seal)
            holding->is_over |= holding->was_over;
        holding->confirmed_seal = 0;
    }
}

void overlap_restart(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->holding_end; i++) {
        struct holding *holding = &sim->holdings[i];
        const struct model_record *record = record_of(sim, holding);
        /* Only what was due or lost, or has a change pending, waits for those who may have it. */
        holding->was_not_held =
            record->is_parked || (record->due_us > sim->now.wall_us && !record->crashes &&
                                  !record->pending.is_given && !record->run_now);
    }
}

/* --- grants ----------------------------------------------------------------------------------- */

static void fail(struct sim *sim, const struct holding *holding, uint64_t lease)
{
    model_fail(&sim->model,
               "overlap: q%u k%u was given out as lease %llu while process %u has %llu",
               holding->queue, holding->key, (unsigned long long)lease, holding->uid,
               (unsigned long long)holding->lease);
}

void overlap_grant(struct sim *sim, const struct effect *effect, const struct packet *packet)
{
    const struct model_session *session = &sim->model.sessions[effect->session];
    uint32_t queue = session->queues[packet->queue];
    const struct model_record *record = model_record(&sim->model, queue, packet->key);
    for (uint32_t i = 0; i < sim->holding_end; i++) {
        struct holding *holding = &sim->holdings[i];
        bool is_its = holding->lease && holding->queue == queue && holding->key == packet->key;
        if (is_its && holding->is_cancelled && holding->done_us <= sim->now.mono_us)
            drop(sim, holding);
        else if (is_its && is_excused(sim, holding))
            holding->is_over = true; /* whatever comes, until it is resumed */
        else if (is_its && holding->is_there)
            fail(sim, holding, packet->lease);
        else if (is_its)
            holding->doubled = packet->lease;
    }
    *add_holding(sim) = (struct holding){
        .lease = packet->lease,
        .state = packet->state,
        .life = record->life,
        .start = sim->crashes,
        .peer = packet->peer,
        .connection = packet->connection,
        .uid = sim->host.sessions[effect->session].uid,
        .queue = queue,
        .key = packet->key,
        .is_detached = record->session == MODEL_DETACHED,
        .is_announced = true,
        .end_us = record->lease_end_mono_us,
    };
}

/* --- what workers do -------------------------------------------------------------------------- */

void overlap_arrive(struct sim *sim, uint32_t peer, const struct sim_task *task)
{
    struct holding *holding = find(sim, peer, task->lease);
    if (!holding)
        return;
    holding->is_there = true;
    holding->done_us = task->done_us;
    if (holding->doubled)
        fail(sim, holding, holding->doubled);
}

void overlap_end(struct sim *sim, uint32_t peer, uint64_t lease)
{
    struct holding *holding = find(sim, peer, lease);
    if (holding)
        drop(sim, holding);
}

void overlap_cancel(struct sim *sim, uint32_t peer, uint64_t lease)
{
    struct holding *holding = find(sim, peer, lease);
    if (!holding)
        return;
    holding->is_over |= is_ended(sim, holding);
    holding->is_cancelled = true;
    holding->done_us += LINGER_US;
}

void overlap_forget(struct sim *sim, uint32_t peer, uint64_t lease)
{
    struct holding *holding = find(sim, peer, lease);
    if (holding)
        holding->is_forgotten = true;
}

void overlap_end_process(struct sim *sim, uint32_t peer)
{
    for (uint32_t i = 0; i < sim->holding_end; i++)
        if (sim->holdings[i].peer == peer)
            sim->holdings[i].lease = 0;
}

/* What was on its way on a connection before this one does not arrive any more. */
void overlap_connect(struct sim *sim, uint32_t peer)
{
    for (uint32_t i = 0; i < sim->holding_end; i++)
        if (sim->holdings[i].peer == peer && !sim->holdings[i].is_there)
            sim->holdings[i].lease = 0;
}
