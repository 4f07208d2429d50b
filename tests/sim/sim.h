/* sim.h - a broker's core, its disk, its network, its workers and its clients, in virtual time.
 *
 *   workers, clients  <-- network: delays, breaks -->  host: the caller that sched.h describes
 *                                                       |- core (perhaps with a planted bug)
 *                                                       |- model, stepped beside it
 *                                                       '- disk: late, and lost in part at a crash
 *
 * Everything is drawn from one seed, so a run can be repeated to the bit; the hash over all events
 * and effects says so. Which faults there are, how often, and how fast everything goes differs from
 * seed to seed. After the last event the faults stop, and all that is due must come to rest.
 */
#ifndef EVERDUE_SIM_H
#define EVERDUE_SIM_H

#include "core.h"
#include "disk.h"
#include "model.h"

enum {
    SIM_PEERS = 14,
    SIM_TASKS_MAX = 64,
    SIM_TEXTS = 64,
    SIM_STORY = 4096,
    SIM_PACKETS_MAX = 1 << 16,
    SIM_ANSWERS_MAX = 8192,
    SIM_EFFECTS_MAX = 4096, /* so many never lack memory */
    SIM_HOLDINGS = 4096,
};

#define SIM_MS(ms) ((int64_t)(ms)*US_PER_MS)
#define SIM_S(s) ((int64_t)(s)*US_PER_S)

/* --- random numbers --------------------------------------------------------------------------- */

struct dice {
    uint64_t state;
};
uint64_t dice_draw(struct dice *dice);
/* From 0 to end - 1. */
uint32_t dice_below(struct dice *dice, uint32_t end);
int64_t dice_between(struct dice *dice, int64_t low, int64_t high);
bool dice_chance(struct dice *dice, uint32_t permille);
/* Mostly near `low`, now and then up to `high`. */
int64_t dice_delay(struct dice *dice, int64_t low, int64_t high);

/* --- the network ------------------------------------------------------------------------------ */

enum packet_kind {
    PACKET_BREAK, /* the connection broke, and the host sees it */
    PACKET_HELLO,
    PACKET_SEEN,
    PACKET_ASK, /* something must come back */
    PACKET_CREDIT,
    PACKET_REPORT,
    PACKET_TOUCH,
    PACKET_GIVE_BACK,
    PACKET_RESUME,
    PACKET_TAKE,
    PACKET_GOODBYE,
    PACKET_PUT,
    PACKET_REMOVE,
    PACKET_RUN_NOW,
    PACKET_KICK,
    PACKET_KICK_ALL,
    PACKET_PAUSE,
    PACKET_UNPAUSE,
    PACKET_DRAIN,
    PACKET_UNDRAIN,
    PACKET_SYNC_BEGIN,
    PACKET_SYNC_ITEM,
    PACKET_SYNC_COMMIT,
    PACKET_SYNC_ABORT,
    /* to peers */
    PACKET_WELCOME,
    PACKET_TASK,
    PACKET_CANCEL,
    PACKET_ANSWER,
    PACKET_PING,
    PACKET_PONG,
    PACKET_NO_SESSION,
};

/* Fields of a put; texts by number: 0 is absent, 1 is empty. */
struct line {
    int64_t due_us, in_us, every_us, rank;
    bool has_rank, has_once, once;
    uint32_t payload, memo, group;
};

struct packet {
    int64_t at_us;
    uint64_t order;
    enum packet_kind kind;
    uint32_t peer, connection;
    bool is_to_host;
    uint64_t id;
    uint32_t queue, key; /* of work: the index into the queues of the hello */
    uint64_t lease, state;
    enum status status;
    enum outcome outcome;
    uint32_t number; /* credit, milliseconds, how many */
    uint32_t lease_ms, heartbeat_ms;
    uint32_t queues[MODEL_QUEUES], queue_count;
    bool flag; /* begun, detached, prune, due=take */
    struct line line;
};

struct connection {
    bool is_open;
    uint64_t drains_until; /* broken: packets up to this order still arrive */
    int64_t last_to_host_us, last_to_peer_us;
};

struct network {
    struct packet *heap; /* by time, then order */
    uint32_t count;
    uint64_t orders;
    struct connection peers[SIM_PEERS];
    uint32_t connections[SIM_PEERS]; /* the number of the one that is open */
};

/* --- peers ------------------------------------------------------------------------------------ */

struct sim_task {
    bool is_there, is_detached, is_reported;
    bool is_announced; /* and the answer, by this id, is to come */
    uint64_t resume;
    uint32_t queue, key; /* `queue`: the index */
    uint64_t lease, state;
    int64_t done_us, touch_us;
    struct packet report; /* in the outbox when is_reported */
    int64_t sent_us;
};

enum peer_state { PEER_OFF, PEER_GREETING, PEER_LIVE };

struct peer {
    bool is_worker;
    enum peer_state state;
    uint8_t uid;
    uint32_t queues[MODEL_QUEUES], queue_count, credit, lease_ms, heartbeat_ms;
    int64_t next_us, heard_us, said_us, greeted_us;
    int64_t frozen_until_us;
    uint64_t ids;
    struct sim_task tasks[SIM_TASKS_MAX];
    int task_end; /* behind the last that is there */
    /* a client's request under way; id 0: none */
    struct packet request;
    int64_t request_sent_us;
    uint64_t generation; /* of its sync */
    uint32_t sync_lines, sync_sum, sync_lines_max, sync_queue, paused;
    bool is_draining, is_aborting; /* of its sync: it lacked memory */
};

/* --- the host --------------------------------------------------------------------------------- */

struct host_session {
    bool is_there;
    uint32_t peer, connection;
    uint8_t uid;
};

struct answer {
    struct packet packet;
    uint64_t seal;
};

struct host {
    struct core core;
    struct model *model;
    struct disk disk;
    struct sched_settings settings;
    struct effects effects;
    bool is_up, is_in_flight;
    struct store_batch *batch;
    uint64_t reserving;
    int64_t disk_done_us, wake_us, frozen_until_us, restart_us;
    struct packet *inbox;
    uint32_t inbox_count;
    struct host_session sessions[MODEL_SESSIONS];
    struct answer *answers;
    uint32_t answer_count;
    struct {
        uint64_t generation;
        uint64_t count;
        uint32_t sum;
    } syncs[MODEL_QUEUES];
    struct answer waiting[64]; /* for an effect: by id as request */
    uint32_t waiting_count;
    char texts[SIM_TEXTS][16];
    uint32_t text_next;
};

/* --- who works on what ------------------------------------------------------------------------ */

/* A task that was handed out, until the work on it is over. */
struct holding {
    uint64_t lease;       /* 0: none */
    uint64_t state, life; /* of the record */
    uint64_t start; /* of the broker that confirmed it last: how many crashes there had been */
    uint32_t peer, connection, queue, key;
    uint8_t uid;
    bool is_there;     /* it has arrived */
    bool is_detached;  /* its session does not announce it */
    bool is_cancelled; /* it is announced no more, but worked on until `done_us` */
    bool is_over;      /* there was a good reason to give the record to others */
    bool was_ended;    /* and a CANCEL says so */
    bool is_forgotten; /* its process did not announce it: its own mistake */
    bool is_announced; /* since its process has said hello */
    bool was_not_held; /* at the last restart: it was not due by a clock that was set back */
    bool was_over;     /* before a RESUME that is durable with this seal */
    uint64_t confirmed_seal;
    uint64_t doubled; /* the lease that was given out while this one was on its way */
    int64_t end_us, announce_end_us, done_us;
};

/* --- the simulation --------------------------------------------------------------------------- */

/* How this seed behaves; chances in permille. */
struct sim_character {
    int64_t delay_us, delay_max_us;
    int64_t disk_us, disk_max_us;
    int64_t run_us, run_max_us;
    int64_t due_max_us;
    int64_t think_us;
    uint32_t keys, workers, clients;
    uint32_t lease_ms, heartbeat_ms, credit;
    uint32_t breaks, invisible, freezes, worker_crashes, host_crashes, stalls, wall_steps;
    uint32_t failing, syncs, takes, lost_deliveries, forgets;
    uint32_t slices, slice_most; /* how often there is one, and of how many items at most */
    uint32_t commit_crashes;     /* the host dies soon after a commit */
    uint32_t cancel_crashes;     /* or after the end of a lease */
    uint32_t memory;             /* what an event, a seal or a start asks for is not there */
};

struct story_line {
    int64_t mono_us, wall_us;
    int kind; /* an event; -1: an effect; -2: a crash; -3: a restart */
    uint32_t session;
    int queue, key;
    uint64_t lease, state;
    int64_t due_us, in_us; /* TIME_US_NEVER or 0: not named */
    int detail;
    int status;
    bool is_short; /* of memory */
};

struct sim {
    uint64_t seed;
    struct dice dice;
    struct sim_character character;
    struct moment now;
    struct network network;
    struct peer peers[SIM_PEERS];
    struct host host;
    struct model model;
    bool is_quiet; /* faults have stopped */
    int64_t next_fault_us;
    int64_t crash_us; /* of the host, soon; TIME_US_NEVER: none is planned */
    uint8_t uids;
    uint64_t quiet_events; /* after the last fault */
    uint64_t hash, events, crashes, tasks, shortages;
    struct holding holdings[SIM_HOLDINGS];
    uint32_t holding_end; /* behind the last that is used */
    struct story_line story[SIM_STORY];
    uint64_t story_count;
};

/* Runs a seed until so many events have been stepped, and then to its rest. Returns whether nothing
 * was wrong; else the model's fault says what. */
bool sim_run(struct sim *sim, uint64_t seed, uint64_t events, enum bug bug);
void sim_release(struct sim *sim);
/* The last events, for people. */
void sim_print_story(const struct sim *sim, uint32_t lines);
void sim_note(struct sim *sim, const struct story_line *line);

/* network.c */
void network_init(struct network *network);
void network_release(struct network *network);
void network_connect(struct sim *sim, uint32_t peer);
/* The peer, the network, or the host (`is_seen_by_host` false then) closes it. */
void network_break(struct sim *sim, uint32_t peer, bool is_seen_by_host);
void network_send(struct sim *sim, struct packet *packet);
int64_t network_next_us(const struct network *network);
/* The next packet that arrives by now; false: none. */
bool network_receive(struct sim *sim, struct packet *packet);

/* host.c */
void host_init(struct sim *sim, enum bug bug);
void host_release(struct sim *sim);
void host_start(struct sim *sim);
void host_crash(struct sim *sim);
void host_receive(struct sim *sim, const struct packet *packet);
void host_turn(struct sim *sim);
/* When it wants to take a turn. */
int64_t host_next_us(const struct sim *sim);
enum status host_step(struct sim *sim, struct event *event);
void host_carry_out(struct sim *sim);
void host_answer(struct sim *sim, const struct packet *request, enum status status,
                 uint64_t number);

/* host_input.c: one packet becomes one event. */
void host_input(struct sim *sim, const struct packet *packet);

/* overlap.c: nobody is given what another works on. */
void overlap_step(struct sim *sim, const struct event *event, enum status status,
                  const struct effect *effects, size_t effect_count);
void overlap_crash(struct sim *sim);
void overlap_restart(struct sim *sim);
/* The task leaves, as this packet. */
void overlap_grant(struct sim *sim, const struct effect *effect, const struct packet *packet);
void overlap_arrive(struct sim *sim, uint32_t peer, const struct sim_task *task);
/* The report is made, or the task was given back. */
void overlap_end(struct sim *sim, uint32_t peer, uint64_t lease);
void overlap_cancel(struct sim *sim, uint32_t peer, uint64_t lease);
void overlap_forget(struct sim *sim, uint32_t peer, uint64_t lease);
void overlap_end_process(struct sim *sim, uint32_t peer);
void overlap_connect(struct sim *sim, uint32_t peer);

/* worker.c, client.c */
void worker_init(struct sim *sim, uint32_t peer);
void worker_act(struct sim *sim, uint32_t peer);
void worker_receive(struct sim *sim, uint32_t peer, const struct packet *packet);
void worker_crash(struct sim *sim, uint32_t peer);
void client_init(struct sim *sim, uint32_t peer);
void client_act(struct sim *sim, uint32_t peer);
void client_receive(struct sim *sim, uint32_t peer, const struct packet *packet);
void peer_greet(struct sim *sim, uint32_t peer);
void peer_send(struct sim *sim, uint32_t peer, struct packet packet);
/* Heartbeats and reconnecting; false: it is not live. */
bool peer_keep_up(struct sim *sim, uint32_t peer);

#endif
