#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the character of a seed ------------------------------------------------------------------ */

/* Some faults are absent from some seeds, so that others are seen alone. */
static uint32_t fault_rate(struct dice *dice, uint32_t most)
{
    return dice_chance(dice, 600) ? dice_below(dice, most + 1) : 0;
}

static void draw_character(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    sim->character = (struct sim_character){
        .delay_us = dice_between(dice, 50, SIM_MS(20)),
        .delay_max_us = dice_chance(dice, 300) ? SIM_S(5) : SIM_MS(200),
        .disk_us = dice_between(dice, 50, SIM_MS(20)),
        .disk_max_us = dice_chance(dice, 300) ? SIM_S(4) : SIM_MS(100),
        .run_us = dice_between(dice, SIM_MS(1), SIM_S(1)),
        .run_max_us = SIM_S(20),
        .due_max_us = dice_between(dice, SIM_MS(200), SIM_S(60)),
        .think_us = dice_between(dice, SIM_MS(1), SIM_MS(500)),
        .keys = 4 + dice_below(dice, MODEL_KEYS - 3),
        .workers = 1 + dice_below(dice, 8),
        .clients = 1 + dice_below(dice, 4),
        .lease_ms = 100 + dice_below(dice, 8000),
        .heartbeat_ms = 200 + dice_below(dice, 4000),
        .credit = 1 + dice_below(dice, 12),
        .breaks = fault_rate(dice, 300),
        .invisible = dice_below(dice, 1000),
        .freezes = fault_rate(dice, 200),
        .worker_crashes = fault_rate(dice, 200),
        .host_crashes = fault_rate(dice, 60),
        .stalls = fault_rate(dice, 100),
        .wall_steps = fault_rate(dice, 100),
        .failing = fault_rate(dice, 500),
        .syncs = fault_rate(dice, 1000),
        .takes = fault_rate(dice, 40),
        .lost_deliveries = fault_rate(dice, 50),
        .forgets = fault_rate(dice, 300),
        .slices = dice_chance(dice, 300) ? 1000 : 50 + dice_below(dice, 900),
        .slice_most = dice_chance(dice, 300) ? 100 : 1 + dice_below(dice, 6),
        .commit_crashes = fault_rate(dice, 600),
        .cancel_crashes = fault_rate(dice, 300),
        .memory = fault_rate(dice, 100),
    };
}

static void draw_settings(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    struct sched_settings *settings = &sim->host.settings;
    sched_settings_init(settings);
    settings->limits.sessions_max = MODEL_SESSIONS;
    settings->policy.failures_max = 2 + dice_below(dice, 6);
    settings->policy.crashes_max = 2 + dice_below(dice, 6);
    settings->policy.backoff_first_us = dice_between(dice, SIM_MS(10), SIM_S(2));
    settings->policy.backoff_max_us = SIM_S(20);
    settings->policy.parks_per_minute_least = 1 + dice_below(dice, 10);
    settings->policy.parks_per_minute_ppm = 0;
    settings->grace_us = dice_between(dice, SIM_MS(500), SIM_S(5));
    settings->suspect_us = dice_chance(dice, 300) ? dice_between(dice, SIM_S(1), SIM_S(20)) : 0;
    settings->sync_idle_us = dice_chance(dice, 300) ? dice_between(dice, SIM_MS(20), SIM_MS(500))
                                                    : dice_between(dice, SIM_S(1), SIM_S(60));
}

/* --- faults ----------------------------------------------------------------------------------- */

static void break_or_freeze(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    const struct sim_character *character = &sim->character;
    uint32_t number = dice_below(dice, character->workers + character->clients);
    if (dice_chance(dice, character->breaks))
        network_break(sim, number, !dice_chance(dice, character->invisible));
    number = dice_below(dice, character->workers + character->clients);
    if (dice_chance(dice, character->freezes))
        sim->peers[number].frozen_until_us = sim->now.mono_us + dice_between(dice, 0, SIM_S(30));
    number = dice_below(dice, character->workers);
    if (dice_chance(dice, character->worker_crashes))
        worker_crash(sim, number);
}

static void crash_host(struct sim *sim)
{
    host_crash(sim);
    sim->crash_us = TIME_US_NEVER;
    sim->host.restart_us = sim->now.mono_us + dice_delay(&sim->dice, SIM_MS(100), SIM_S(20));
}

static void make_faults(struct sim *sim)
{
    struct dice *dice = &sim->dice;
    const struct sim_character *character = &sim->character;
    sim->next_fault_us = sim->now.mono_us + dice_between(dice, 0, SIM_S(1));
    break_or_freeze(sim);
    if (dice_chance(dice, character->wall_steps)) {
        int64_t most = dice_chance(dice, 100) ? SIM_S(86400) : SIM_S(60);
        sim->now.wall_us += dice_between(dice, -most, most);
    }
    if (dice_chance(dice, character->stalls))
        sim->host.frozen_until_us = sim->now.mono_us + dice_between(dice, 0, SIM_S(20));
    if (sim->host.is_up && dice_chance(dice, character->host_crashes))
        crash_host(sim);
}

/* --- time ------------------------------------------------------------------------------------- */

static int64_t peer_next_us(const struct peer *peer)
{
    return peer->next_us > peer->frozen_until_us ? peer->next_us : peer->frozen_until_us;
}

static int64_t next_us(const struct sim *sim)
{
    int64_t next = network_next_us(&sim->network);
    uint32_t peers = sim->character.workers + sim->character.clients;
    for (uint32_t i = 0; i < peers; i++)
        if (peer_next_us(&sim->peers[i]) < next)
            next = peer_next_us(&sim->peers[i]);
    if (host_next_us(sim) < next)
        next = host_next_us(sim);
    if (!sim->is_quiet && sim->next_fault_us < next)
        next = sim->next_fault_us;
    if (!sim->is_quiet && sim->crash_us < next)
        next = sim->crash_us;
    return next > sim->now.mono_us ? next : sim->now.mono_us;
}

static void deliver(struct sim *sim)
{
    struct packet packet;
    while (network_receive(sim, &packet)) { /* ends: sending takes time */
        struct peer *peer = &sim->peers[packet.peer];
        if (packet.is_to_host)
            host_receive(sim, &packet);
        else if (peer->is_worker)
            worker_receive(sim, packet.peer, &packet);
        else
            client_receive(sim, packet.peer, &packet);
    }
}

static void move_on(struct sim *sim)
{
    int64_t next = next_us(sim);
    sim->now.wall_us += next - sim->now.mono_us;
    sim->now.mono_us = next;
    deliver(sim);
    uint32_t peers = sim->character.workers + sim->character.clients;
    for (uint32_t i = 0; i < peers; i++) {
        if (peer_next_us(&sim->peers[i]) > next)
            continue;
        if (sim->peers[i].is_worker)
            worker_act(sim, i);
        else
            client_act(sim, i);
    }
    if (host_next_us(sim) <= next) {
        if (sim->host.is_up)
            host_turn(sim);
        else
            host_start(sim);
    }
    if (!sim->is_quiet && sim->crash_us <= next && sim->host.is_up)
        crash_host(sim);
    if (!sim->is_quiet && sim->next_fault_us <= next)
        make_faults(sim);
}

/* --- runs ------------------------------------------------------------------------------------- */

static void begin(struct sim *sim, uint64_t seed, enum bug bug)
{
    memset(sim, 0, sizeof(*sim));
    sim->seed = seed;
    sim->crash_us = TIME_US_NEVER;
    sim->dice.state = seed * 0x9e3779b97f4a7c15u + 1;
    sim->now = (struct moment){1763800000 * SIM_S(1), 5000 * SIM_S(1)};
    draw_character(sim);
    if (bug == BUG_EARLY_CANCEL) { /* it shows at a crash before a slow disk is done */
        sim->character.cancel_crashes = 500;
        sim->character.delay_us = 50;
        sim->character.disk_us = SIM_MS(20);
    }
    network_init(&sim->network);
    host_init(sim, bug);
    draw_settings(sim);
    model_init(&sim->model, &sim->host.settings, sim->character.keys);
    for (uint32_t i = 0; i < sim->character.workers; i++)
        worker_init(sim, i);
    for (uint32_t i = 0; i < sim->character.clients; i++)
        client_init(sim, sim->character.workers + i);
    host_start(sim);
}

/* No more faults, no more requests but those that let work go on; all credit is there. */
static void become_quiet(struct sim *sim)
{
    sim->is_quiet = true;
    sim->character.delay_max_us = sim->character.disk_max_us = SIM_MS(25);
    sim->host.frozen_until_us = 0;
    for (uint32_t i = 0; i < sim->character.workers; i++) {
        struct peer *peer = &sim->peers[i];
        peer->frozen_until_us = 0;
        peer->credit = sim->character.credit;
        if (peer->state == PEER_LIVE)
            peer_send(sim, i, (struct packet){.kind = PACKET_CREDIT, .number = peer->credit});
    }
}

/* Whoever paused may have given up: the operator lets everything go on. */
static void open_everything(struct sim *sim)
{
    static const char *const names[MODEL_QUEUES] = {"q0", "q1", "q2"};
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        struct event event = {.kind = EVENT_UNPAUSE};
        event.key.queue = bytes_of(names[queue]);
        host_step(sim, &event);
    }
    host_step(sim, &(struct event){.kind = EVENT_UNDRAIN});
}

/* Nothing is left behind in the store: no row of a set that is over, of a change that was applied,
 * of a session that ended. */
static void check_disk(struct sim *sim)
{
    uint32_t expected[STORE_TABLE_COUNT] = {0}, rows[STORE_TABLE_COUNT] = {0};
    const struct model_image *image = &sim->model.durable;
    for (int uid = 0; uid < 256; uid++)
        expected[STORE_SESSIONS] += image->is_known[uid];
    for (uint32_t i = 0; i < MODEL_QUEUES * sim->model.keys; i++) {
        const struct model_record *record = &image->records[0][0] + i;
        expected[STORE_PENDING] += record->pending.is_given || record->run_now;
    }
    for (size_t i = 0; i < sim->host.disk.row_count; i++)
        rows[sim->host.disk.rows[i].row.table]++;
    for (int table = STORE_SESSIONS; table <= STORE_PENDING; table++)
        if (rows[table] != expected[table])
            model_fail(&sim->model, "the store has %u rows in table %d, expected %u", rows[table],
                       table, expected[table]);
}

static void come_to_rest(struct sim *sim)
{
    int64_t open_us = sim->now.mono_us + SIM_S(40);
    become_quiet(sim);
    while (!sim->model.fault[0] && (sim->now.mono_us < open_us || !sim->host.is_up))
        move_on(sim);
    open_everything(sim);
    int64_t end_us = sim->now.mono_us + SIM_S(100);
    while (!sim->model.fault[0] && sim->now.mono_us < end_us)
        move_on(sim);
    if (sim->model.fault[0])
        return;
    model_compare_all(&sim->model, sim->now);
    struct moment before = sim->now;
    before.wall_us -= SIM_S(20);
    model_check_rest(&sim->model, before);
    check_disk(sim);
}

bool sim_run(struct sim *sim, uint64_t seed, uint64_t events, enum bug bug)
{
    begin(sim, seed, bug);
    while (!sim->model.fault[0] && sim->events < events)
        move_on(sim);
    if (!sim->model.fault[0])
        come_to_rest(sim);
    return !sim->model.fault[0];
}

void sim_release(struct sim *sim)
{
    host_release(sim);
    network_release(&sim->network);
}

/* --- the story -------------------------------------------------------------------------------- */

void sim_note(struct sim *sim, const struct story_line *line)
{
    sim->story[sim->story_count++ % SIM_STORY] = *line;
}

static const char *const event_names[EVENT_COUNT] = {
    [EVENT_TIME] = "time",
    [EVENT_GRANT] = "grant",
    [EVENT_WORK] = "work",
    [EVENT_DURABLE] = "durable",
    [EVENT_RESERVED] = "reserved",
    [EVENT_HELLO] = "hello",
    [EVENT_SEEN] = "seen",
    [EVENT_CREDIT] = "credit",
    [EVENT_TAKE] = "take",
    [EVENT_REPORT] = "report",
    [EVENT_TOUCH] = "touch",
    [EVENT_GIVE_BACK] = "give-back",
    [EVENT_RESUME] = "resume",
    [EVENT_GOODBYE] = "goodbye",
    [EVENT_DISCONNECT] = "disconnect",
    [EVENT_UNDELIVERED] = "undelivered",
    [EVENT_PUT] = "put",
    [EVENT_REMOVE] = "remove",
    [EVENT_RUN_NOW] = "run-now",
    [EVENT_KICK] = "kick",
    [EVENT_KICK_ALL] = "kick-all",
    [EVENT_PAUSE] = "pause",
    [EVENT_UNPAUSE] = "unpause",
    [EVENT_DRAIN] = "drain",
    [EVENT_UNDRAIN] = "undrain",
    [EVENT_SYNC_BEGIN] = "sync-begin",
    [EVENT_SYNC_ITEM] = "sync-item",
    [EVENT_SYNC_COMMIT] = "sync-commit",
    [EVENT_SYNC_ABORT] = "sync-abort",
};

static const char *const effect_names[] = {
    [EFFECT_TASK] = "task",
    [EFFECT_TAKEN] = "taken",
    [EFFECT_CANCEL] = "cancel",
    [EFFECT_PING] = "ping",
    [EFFECT_LOST] = "lost",
    [EFFECT_KICKED] = "kicked",
    [EFFECT_DRAINED] = "drained",
    [EFFECT_SYNC_DONE] = "sync-done",
    [EFFECT_SYNC_BEGUN] = "sync-begun",
    [EFFECT_SYNC_IDLE] = "sync-idle",
};

static void print_line(const struct story_line *line)
{
    const char *name = line->kind == -1   ? effect_names[line->detail]
                       : line->kind == -2 ? "CRASH"
                       : line->kind == -3 ? "START"
                                          : event_names[line->kind];
    printf("%14.6f %17.6f %s%-12s", (double)line->mono_us / 1e6, (double)line->wall_us / 1e6,
           line->kind == -1 ? "   > " : "", name);
    if (line->kind >= -1)
        printf(" s%u", line->session);
    if (line->queue >= 0)
        printf(" q%d", line->queue);
    if (line->key >= 0)
        printf(" k%d", line->key);
    if (line->lease)
        printf(" #%llu", (unsigned long long)line->lease);
    if (line->state)
        printf(" state %llu", (unsigned long long)line->state);
    if (line->due_us && line->due_us != TIME_US_NEVER)
        printf(" due %.6f", (double)line->due_us / 1e6);
    if (line->in_us && line->in_us != TIME_US_NEVER)
        printf(" in %.6f", (double)line->in_us / 1e6);
    if (line->kind >= 0 && line->detail)
        printf(" (%d)", line->detail);
    if (line->status)
        printf(" -> %s", status_name(line->status));
    if (line->is_short)
        printf(" (memory was short)");
    printf("\n");
}

void sim_print_story(const struct sim *sim, uint32_t lines)
{
    uint64_t begin_at = sim->story_count > lines ? sim->story_count - lines : 0;
    if (sim->story_count > SIM_STORY && begin_at < sim->story_count - SIM_STORY)
        begin_at = sim->story_count - SIM_STORY;
    for (uint64_t i = begin_at; i < sim->story_count; i++)
        print_line(&sim->story[i % SIM_STORY]);
}
