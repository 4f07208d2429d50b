/* server_internal.h - what the files of the turn share; nobody else includes it.
 *
 *   server.c         the turn: waiting, the order of things, start and stop
 *   server_socket.c  the ROUTER and its monitor: opened, read, connections that break
 *   server_send.c    the ROUTER: written, and what finds no room there
 *   server_access.c  who may come in, and what each may do
 *   server_guard.c   connections that do harm are cut
 *   server_input.c   messages: sessions and work
 *   server_hold.c    messages that wait: puts that find their batch full
 *   server_records.c messages: records and full sets
 *   server_look.c    messages: looking
 *   server_output.c  effects and answers to bytes
 *   server_store.c   loading, sealing, what is durable
 */
#ifndef EVERDUE_SERVER_INTERNAL_H
#define EVERDUE_SERVER_INTERNAL_H

#include "allow.h"
#include "backup.h"
#include "connections.h"
#include "hello_limit.h"
#include "log.h"
#include "notify.h"
#include "penalty.h"
#include "pressure.h"
#include "server.h"
#include "wall.h"
#include "workers.h"
#include "zap.h"

enum {
    INPUT_MESSAGES_MAX = 256,  /* taken in in one turn */
    INPUT_ITEMS_MAX = 4096,    /* or so many items, and the message in which they are reached, */
    INPUT_BYTES_MAX = 2 << 20, /* or so many bytes, */
    INPUT_REPORTS_LEAST = 512, /* or half of what is out has come back, and so many at least */
    WORK_BUDGET = 512,         /* items of long work between two looks at the clock */
    WORK_US_MAX = 2000,        /* long work in one turn */
    PACE_US = 4000,            /* between two commits of reports alone */
    PACE_BUSY_US = 8000,       /* the same after one with so many states: */
    PACE_BUSY_STATES = 256,
    PACE_MEMORY_US = 1000,        /* in memory: between two times when answers to reports leave */
    DUE_GAP_US = 100,             /* between two turns that only something due has caused */
    DUE_GAP_SATURATED_US = 10000, /* the same while nobody has credit */
    DUE_AHEAD_US = 80,            /* so much before it is due the broker wakes, */
    DUE_AHEAD_PAUSE_US = 8000,    /* when it sleeps for so long: a hundredth of it at most, and */
    DUE_AHEAD_LOOKS_MAX = 10000,  /* so many looks, should the clock stand still */
    DESCRIPTORS_KEPT = 384,       /* for files, and for connections until they are cut */
    EVENTS_MAX = 4096,            /* of connections, looked at together */
    MISTAKES_MAX = 3,             /* malformed messages before a connection is cut */
    CUTS_MAX = 64,                /* connections that wait to be cut */
    PROBES = 50,                  /* looks at a connection that seems broken */
    SPACE_CHECK_US = 1000000,
    CLOCK_STEP_US = 500000, /* what the wall clock gains on the other between two looks is a step
                               from here on */
};

/* Answers that wait for their batch: encoded messages, one behind the other, each behind the
 * identity of its peer. A session's number would not do: it may be another's by then. */
struct answer {
    size_t offset;
    uint32_t identity_bytes;
    size_t count;
};
struct answers {
    struct wire_buffer bytes;
    struct answer *list;
    size_t count, room;
};

/* What the chunks of a sync added up to, those of its own session; the core is told at the commit.
 */
struct tally {
    uint64_t generation;
    uint32_t worker;
    uint64_t count;
    uint32_t checksum;
};

struct server_counts {
    uint64_t messages_in, bytes_in, messages_out, bytes_out;
    uint64_t refused, refused_malformed, refused_unknown, refused_session, refused_version;
    uint64_t refused_denied, refused_hello;
    uint64_t penalties;
    uint64_t refused_connections, cut_connections;
    uint64_t undelivered;
    uint64_t held;              /* messages of peers that had to wait */
    uint64_t deferred, dropped; /* messages that found no room at first, and none at all */
    int64_t turn_us_max;
    int64_t turn_cpu_us_max; /* what the turn itself used: without what kept it off the CPU */
    int64_t cpu_us;          /* at the end of the last turn */
    uint64_t turns;
    int64_t busy_us;
};

/* A connection that is to be cut when its peer has had time to read why. */
struct cut {
    uint8_t identity_bytes;
    uint8_t identity[IDENTITY_BYTES_MAX];
    int fd;
    int64_t at_mono_us;
};

/* One decoded item of a batch of any kind. */
union item {
    struct report report;
    struct lease_name name;
    struct give_back give_back;
    struct resume resume;
    struct put put;
    struct bytes key;
};

struct timer {
    int fd;
    int64_t armed_us; /* TIME_US_NEVER: it is not */
};

struct server {
    const struct server_options *options;
    server_configure *configure;
    void *configure_user;
    void *context;
    void *router;
    void *monitor;
    int fd_end;          /* connections with this descriptor or a higher one are cut */
    struct allow *allow; /* NULL: everybody who reaches us may do everything */
    struct zap *zap;     /* NULL: the same */
    struct zap_keys keys;
    struct connections connections;
    struct hello_limit hello_limit;
    struct penalties penalties;
    struct cut cuts[CUTS_MAX];
    uint32_t cut_count;
    int next_look_fd;            /* of the round over all connections */
    int64_t next_look_mono_us;   /* TIME_US_NEVER: at rest, until bytes come (`watch_fd`) */
    int64_t rest_mono_us;        /* since when it was at rest, the last time */
    int64_t stir_mono_us;        /* and when that ended */
    int watch_fd;                /* epoll: connections whose next bytes end the rest; -1: none */
    int stirred_count;           /* connections that ended it and were not looked at since */
    bool has_unwatched;          /* in this round there was one that is to be looked at again */
    bool has_read_all;           /* in this round there was a moment without unread messages */
    int64_t next_unread_mono_us; /* of a look for who reads least */
    uint64_t unfinished_bytes;   /* of this round */
    unsigned unfinished_halved;  /* how often the limit of each connection has been halved */
    int router_fd, monitor_fd;   /* libzmq's: to be polled, nothing else */
    bool may_have_input;         /* the ROUTER; not found empty since something was sent */
    bool monitor_has_more;       /* than were read at once */
    struct timer wall_timer, mono_timer;
    int signals;
    struct workers workers;
    uint32_t next_held; /* behind the place in workers.held of whom it is the turn; 0: the last */
    struct sched *sched;
    struct store *store;
    struct effects effects;
    struct moment now;
    struct moment started;
    struct wall wall;
    int64_t clock_step_us; /* how far the wall clock was set when it was set last; 0: never */
    int64_t clock_step_mono_us;
    int64_t turn_began_mono_us;
    int64_t awaited_us; /* due then by the wall clock, and waited out awake; 0: no such thing */
    int64_t planned_mono_us; /* when the wait should have ended at the latest */

    struct answers filling;    /* of changes since the last seal */
    struct answers sealed;     /* of the batch that is on its way */
    struct store_batch *batch; /* that fills, or is to be used next */
    struct pressure pressure;
    int64_t submitted_mono_us; /* the batch on its way */
    bool is_in_flight;
    bool is_awaited;        /* somebody waits for the batch that fills */
    int64_t paced_mono_us;  /* it is not sealed before, unless somebody does */
    bool batch_has_content; /* sync interval: sealed, not submitted */
    int64_t next_submit_mono_us;
    uint64_t reserve_wanted; /* in the batch that fills, 0: none */
    uint64_t reserve_in_flight;
    struct store_fence fence;

    struct wire_buffer out;      /* one message being built */
    struct wire_buffer take_out; /* the tasks of a take being built */
    union item *items;           /* ITEMS_MAX */
    uint32_t turn_items;         /* taken in in this turn, */
    uint32_t turn_reports;       /* among them, */
    uint32_t turn_reports_max;   /* and how many of these at most */
    struct tally *tallies;
    uint32_t tally_count, tally_room;
    struct backup backup;
    struct notify notify;

    uint64_t quiet_bytes;      /* in and out, when some came last, */
    uint64_t rested_bytes;     /* and when memory was given back last */
    int64_t quiet_end_mono_us; /* when it is given back; TIME_US_NEVER: no burst since then */

    bool is_stopping;
    bool has_stopped;
    int64_t stop_mono_us;
    bool is_disk_short; /* puts and syncs are refused */
    bool is_store_full; /* a batch waits for space: nothing is granted */
    bool is_safe;       /* it crashed several times lately: nobody works, nothing is put */
    int64_t next_space_mono_us;
    int exit_code;
    struct server_counts counts;
    struct log_limit mistakes_limit, backup_limit, connections_limit, denied_limit, guard_limit,
        idle_limit, dropped_limit;
};

/* --- server_socket.c -------------------------------------------------------------------------- */

/* Opens and binds; what failed is logged. */
bool socket_open(struct server *server);
void socket_close(struct server *server);
/* Takes in at most a batch; returns whether there may be more. */
bool socket_read(struct server *server);
/* Whether a socket of libzmq's has a message. To be asked before its descriptor is waited for: that
 * tells of changes only. */
bool socket_has_input(struct server *server);
/* The connection seems broken: it is looked at until that is certain, or seems wrong. */
void socket_suspect(struct server *server, uint32_t worker);
void socket_read_monitor(struct server *server);
/* Looks again at connections that seem broken. */
void socket_probe(struct server *server);

/* --- server_send.c ---------------------------------------------------------------------------- */

/* Sends, or keeps the message until there is room, behind what waits for the same connection.
 * False: the connection is gone, or too much waits; nothing was sent then. */
bool socket_send(struct server *server, uint32_t worker, const void *data, size_t count);
/* The same by identity; for a peer that has no entry nothing is kept. */
bool socket_send_to(struct server *server, struct bytes identity, const void *data, size_t count);
/* A PING, at once or not at all. zmq_errno is EHOSTUNREACH when the connection is gone and EAGAIN
 * when it is there and its queue is full. Overwrites server->out. */
bool socket_ping(struct server *server, struct bytes identity);
/* Sends what was kept, as far as there is room. To be called in each turn. */
void socket_flush(struct server *server);
/* Bytes that peers were sent and have not taken, large messages and those that were kept. */
uint64_t socket_unread(const struct server *server);

/* --- server_input.c --------------------------------------------------------------------------- */

/* A message of a connection: `worker` is SLAB_NONE when it has no session yet. */
struct request {
    uint32_t worker;
    struct bytes identity;
    int fd;
    void *frame;                    /* libzmq's; NULL: it was held */
    const struct allow_entry *peer; /* NULL: no list is in force */
    bool is_held;                   /* it came earlier, and waits no more */
    struct message_head head;
    struct wire_reader reader;
    uint64_t id;
};

void input_message(struct server *server, struct request *request, const void *data, size_t count);
/* The event of a kind, at this turn's moment. */
struct event input_event(const struct server *server, const struct request *request,
                         enum event_kind kind);
/* Answers that the message is not one of the protocol, and counts it, also against the connection.
 */
void input_refuse(struct server *server, const struct request *request, enum status status,
                  const char *text);
/* The same of who is not on the list (any more), and of what is no message at all: the connection
 * is cut, too. */
void input_refuse_and_cut(struct server *server, const struct request *request, enum status status,
                          const char *text);
/* Refuses a request as a whole, for a while. */
void input_busy(struct server *server, struct request *request, const char *why);
/* Reads an array of at most ITEMS_MAX items with `read` into server->items. False: refused. */
typedef void input_item(struct wire_reader *reader, union item *item);
bool input_items(struct server *server, struct request *request, input_item *read, uint32_t *count);
/* Reads the request's id and the queue behind it: absent when it is nil or missing at the end. */
struct bytes input_queue(struct request *request);
/* Whether all fields read so far are what the protocol says. False: refused. To be asked before
 * anything is done. */
bool input_is_well_read(struct server *server, const struct request *request);
void input_key(struct wire_reader *reader, union item *item);

typedef void handle(struct server *server, struct request *request);
handle records_put, records_remove, records_run_now, records_kick, records_sync_begin,
    records_sync_chunk, records_sync_commit, records_sync_abort, records_pause, records_unpause,
    records_drain;
/* Whether the peer has not read what it asked for before: then it is answered BUSY. */
bool look_refuses(struct server *server, struct request *request);
handle look_get, look_list, look_peek, look_stats, look_workers, look_queues, look_backup;

/* --- server_hold.c ---------------------------------------------------------------------------- */

/* Whether the message is to wait, or too much waits: then it is kept, or answered. */
bool hold_takes(struct server *server, struct request *request, struct bytes message);
/* Handles what waits, as far as there is room. In each turn, before anything is read. */
void hold_turn(struct server *server);
/* Whether hold_turn would handle something. */
bool hold_has_work(const struct server *server);

/* --- server_rest.c ---------------------------------------------------------------------------- */

/* At the end of a turn: what a burst took goes back when it has been quiet since. */
void rest_turn(struct server *server);

/* --- server_safe.c ---------------------------------------------------------------------------- */

/* Safe mode, when the broker crashed several times lately; crashes are marked from now on. */
void safe_begin(struct server *server);
/* An administrator says that the cause is gone. */
void safe_end(struct server *server);
/* Whether safe mode keeps it out: then it is answered. What is for workers is kept out by their
 * hello. */
bool safe_refuses(struct server *server, struct request *request);
extern const char safe_why[];

/* --- server_access.c -------------------------------------------------------------------------- */

/* Reads the list and the key, starts the handler and tries it: without a list, nothing. False:
 * said. */
bool access_open(struct server *server);
/* The ROUTER lets in only whom the handler lets in. Before bind. */
bool access_protect(struct server *server);
/* After the sockets are closed. */
void access_close(struct server *server);
/* The peer that libzmq noted on a message of a connection; NULL: not on the list. */
const struct allow_entry *access_find(const struct server *server, uint32_t worker,
                                      const char *user);
/* Whether the message is one that its peer may send. False: answered. */
bool access_allows(struct server *server, struct request *request);
/* Whether the session may begin; cuts its credit to the peer's. Otherwise `why` says why not. */
enum status access_hello(struct server *server, const struct request *request, struct hello *hello,
                         const char **why);
/* Reads the list again. Sessions that it does not allow any more end; a wrong one changes nothing.
 */
void access_reload(struct server *server);

/* --- server_guard.c --------------------------------------------------------------------------- */

/* A whole message came. */
void guard_message(struct server *server, const struct request *request);
/* Who it comes from, for penalties; 0: nobody in particular. */
uint64_t guard_who(const struct server *server, const struct request *request);
/* The session ends as if its worker had died: what it holds comes back. */
void guard_end_session(struct server *server, uint32_t number);
/* It was malformed: the connection is cut when there were several, or at once, and who it comes
 * from gets a penalty. */
void guard_mistake(struct server *server, const struct request *request, bool is_grave);
/* Cuts a connection in a moment, when what was sent to it has arrived. */
void guard_cut(struct server *server, struct bytes identity, int fd);
/* More is unread than may be: the connection with the most of it is cut. */
void guard_unread(struct server *server);
/* A connection began. */
void guard_begin(struct server *server, int fd);
/* What ends the guard's rest when it is readable; -1: it does not rest. */
int guard_fd(const struct server *server);
void guard_stir(struct server *server);
void guard_turn(struct server *server);
int64_t guard_next_mono_us(const struct server *server);

/* --- server_records.c ------------------------------------------------------------------------- */

/* A sync has begun. Without memory for it the commit will say mismatch: nothing is changed. */
void records_begin_tally(struct server *server, uint32_t worker, uint64_t generation);
void records_forget_tally(struct server *server, uint64_t generation);
/* A sync of which nothing came for too long was given up. */
void records_sync_idle(struct server *server, const struct effect *effect);

/* --- server_output.c -------------------------------------------------------------------------- */

/* The message in server->out: sent now (false: it was not), or held until what it acknowledges is
 * durable. */
bool output_now(struct server *server, const struct request *request);
void output_durable(struct server *server, struct bytes identity);
/* An answer without body, now. */
void output_status(struct server *server, const struct request *request, enum status status,
                   const char *text);
/* An answer with a status for each of `count` items, which the caller writes in between; held until
 * the changes are durable. Effects of its steps wait until then, too: they use the same buffer. */
void output_begin_statuses(struct server *server, const struct request *request, uint32_t count);
void output_end_statuses(struct server *server, const struct request *request);
/* Carries out what the last step asked for, and forgets it. */
void output_effects(struct server *server);
void output_answers(struct server *server, struct answers *answers);
void answers_release(struct answers *answers);

/* --- server_store.c --------------------------------------------------------------------------- */

bool storage_open(struct server *server);
void storage_close(struct server *server);
/* Seals and submits what changed, if the store is free; takes back what is done. */
void storage_turn(struct server *server);
/* When storage_turn has something to do by the clock; TIME_US_NEVER. */
int64_t storage_next_mono_us(const struct server *server);
/* Whether puts and syncs are refused for lack of disk. */
bool storage_is_short(const struct server *server);

/* A step of the core, then its effects. */
enum status server_step(struct server *server, const struct event *event);
/* A fatal error: the process ends with this code, nothing more is acknowledged. */
void server_fail(struct server *server, int exit_code);

#endif
