/* message.h - the messages of the protocol: one struct for each shape, written and read here and
 * nowhere else. docs/protocol.md is the specification; its byte examples are run by a test.
 *
 * Every message is one array [version, type, ...]. Readers take a `wire_reader` that stands behind
 * version and type (message_begin) and leave errors in it; all bytes are borrowed from the message.
 * Trailing fields that are missing are absent (nil); trailing fields that are unknown are skipped.
 * Optional fields at the end that are absent are not written.
 *
 * MALFORMED is what a struct cannot hold: another type, a queue index of SESSION_QUEUES_MAX or
 * more, a lease or state of 2^53 or more, an unknown outcome. What one item of a batch may be
 * refused for is left to the core: keys, payloads and texts of any length, times of a put, report
 * or sync out of their range (above INT64_MAX - 1 they are INT64_MAX - 1, so that TIME_US_NEVER is
 * nil alone).
 */
#ifndef EVERDUE_MESSAGE_H
#define EVERDUE_MESSAGE_H

#include "bounds.h"
#include "moment.h"
#include "wire.h"

enum { PROTOCOL_VERSION = 1 };

enum message_type {
    /* both ways */
    MESSAGE_PING = 9,
    MESSAGE_PONG = 10,
    /* to the broker: sessions and work */
    MESSAGE_HELLO = 1,
    MESSAGE_CREDIT = 2,
    MESSAGE_REPORT = 3,
    MESSAGE_TOUCH = 4,
    MESSAGE_GIVE_BACK = 5,
    MESSAGE_RESUME = 6,
    MESSAGE_TAKE = 7,
    MESSAGE_GOODBYE = 8,
    /* to the broker: records */
    MESSAGE_PUT = 16,
    MESSAGE_REMOVE = 17,
    MESSAGE_RUN_NOW = 18,
    MESSAGE_KICK = 19,
    MESSAGE_GET = 20,
    MESSAGE_LIST = 21,
    MESSAGE_PEEK = 22,
    /* to the broker: full sets */
    MESSAGE_SYNC_BEGIN = 24,
    MESSAGE_SYNC_CHUNK = 25,
    MESSAGE_SYNC_COMMIT = 26,
    MESSAGE_SYNC_ABORT = 27,
    /* to the broker: control and looking */
    MESSAGE_PAUSE = 32,
    MESSAGE_UNPAUSE = 33,
    MESSAGE_DRAIN = 34,
    MESSAGE_STATS = 36,
    MESSAGE_WORKERS = 37,
    MESSAGE_QUEUES = 38,
    MESSAGE_BACKUP = 39,
    /* from the broker */
    MESSAGE_WELCOME = 64,
    MESSAGE_TASKS = 65,
    MESSAGE_CANCEL = 66,
    MESSAGE_ANSWER = 67,
    MESSAGE_ERROR = 68,
    MESSAGE_BYE = 69,
};

/* Starts a message in an empty or partly filled buffer: [version, type, ... `fields` more]. */
void message_write_head(struct wire_buffer *buffer, enum message_type type, uint32_t fields);

struct message_head {
    int type;        /* not checked against the list; -1 for what no version will ever use */
    uint32_t fields; /* elements behind version and type */
    int version;
};

/* Reads [version, type. STATUS_MALFORMED when it is no such array, STATUS_VERSION when it is of
 * another version; `head` is filled in as far as it was read. */
enum status message_read_head(struct wire_reader *reader, struct message_head *head);

/* --- sessions --------------------------------------------------------------------------------- */

struct hello {
    uint64_t id;
    uint8_t uid[SESSION_UID_BYTES]; /* drawn at random by each process, kept over reconnects */
    struct bytes name;              /* for people: host, process, version */
    struct bytes queues[SESSION_QUEUES_MAX];
    uint32_t queue_count;
    uint32_t credit;
    uint32_t lease_ms;     /* wanted for each lease; 0: the broker's default */
    uint32_t heartbeat_ms; /* 0: the broker's default */
    uint32_t resume_count; /* leases that will be announced before anything else */
};
void hello_write(struct wire_buffer *buffer, const struct hello *hello);
void hello_read(struct wire_reader *reader, uint32_t fields, struct hello *hello);

struct welcome {
    uint64_t id;
    uint8_t store_id[STORE_ID_BYTES];
    uint32_t credit_max;
    uint32_t lease_ms;
    uint32_t heartbeat_ms;
    uint32_t payload_bytes_max;
    uint32_t message_bytes_max;
    bool known; /* the broker remembers this uid: announced leases keep their records */
    struct bytes version;
    int64_t now_us;
};
void welcome_write(struct wire_buffer *buffer, const struct welcome *welcome);
void welcome_read(struct wire_reader *reader, uint32_t fields, struct welcome *welcome);

/* --- work ------------------------------------------------------------------------------------- */

/* Names one lease. `queue` is an index into the queues of the session's hello. */
struct lease_name {
    uint32_t queue;
    struct bytes key;
    uint64_t lease;
};

struct task {
    struct lease_name name;
    uint64_t state;
    int64_t due_us;
    int64_t lateness_us; /* dispatch minus due */
    uint32_t failures;
    uint32_t crashes;
    uint32_t lease_ms;
    struct bytes payload;
    struct bytes memo;
    struct bytes group;
    int64_t every_us; /* 0: none */
    int64_t rank;
    bool once; /* the first ok removes the record, and needs no next time */
};
void task_write(struct wire_buffer *buffer, const struct task *task);
void task_read(struct wire_reader *reader, struct task *task);
/* The same, field by field: task_read's way for what is not as usual, and what tests hold it to. */
void task_read_any(struct wire_reader *reader, struct task *task);

enum outcome { OUTCOME_OK = 0, OUTCOME_RETRY = 1, OUTCOME_PARK = 2, OUTCOME_REMOVE = 3 };
enum { OUTCOME_COUNT = 4 };

/* Why a run failed; counted apart, treated alike. */
enum cause { CAUSE_NONE = 0, CAUSE_FAILED = 1, CAUSE_TIMED_OUT = 2, CAUSE_KILLED = 3 };
enum { CAUSE_COUNT = 4 };

struct report {
    struct lease_name name;
    uint64_t state;
    enum outcome outcome;
    int64_t due_us;       /* next time; TIME_US_NEVER: not named */
    int64_t in_us;        /* or: from now on the broker's clock; TIME_US_NEVER: not named */
    uint32_t waited_us;   /* from arrival at the worker to the handler's begin, saturated */
    uint32_t ran_us;      /* of the handler, saturated */
    struct bytes memo;    /* absent: kept. Empty: cleared */
    struct bytes payload; /* absent: kept */
    bool has_rank;
    int64_t rank;
    struct bytes note; /* absent: kept */
    struct bytes error;
    enum cause cause;
};
void report_write(struct wire_buffer *buffer, const struct report *report);
/* An outcome or cause that is not of its list is an error in the reader. */
void report_read(struct wire_reader *reader, struct report *report);
/* The same, field by field, as task_read_any. */
void report_read_any(struct wire_reader *reader, struct report *report);

/* The item of TOUCH: [queue, key, lease]. */
void lease_name_write(struct wire_buffer *buffer, const struct lease_name *name);
void lease_name_read(struct wire_reader *reader, struct lease_name *name);

/* The item of GIVE_BACK: [queue, key, lease, begun]. */
struct give_back {
    struct lease_name name;
    bool begun; /* the run had begun: counts as a crash */
};
void give_back_write(struct wire_buffer *buffer, const struct give_back *item);
void give_back_read(struct wire_reader *reader, struct give_back *item);

/* The item of RESUME: [queue, key, lease, state]. */
struct resume {
    struct lease_name name;
    uint64_t state;
};
void resume_write(struct wire_buffer *buffer, const struct resume *item);
void resume_read(struct wire_reader *reader, struct resume *item);

struct take {
    uint64_t id;
    uint32_t queue;    /* index into the queues of the hello */
    uint32_t max;      /* how many at most, 1 to CREDIT_MAX */
    uint32_t wait_ms;  /* 0: answer at once */
    uint32_t lease_ms; /* 0: the session's */
    bool detached;     /* ended by report or expiry, not by disconnect */
};
void take_write(struct wire_buffer *buffer, const struct take *take);
void take_read(struct wire_reader *reader, uint32_t fields, struct take *take);

/* --- records ---------------------------------------------------------------------------------- */

/* The item of PUT and of SYNC_CHUNK. */
struct put {
    struct bytes key;
    int64_t due_us;   /* TIME_US_NEVER: not given */
    int64_t in_us;    /* or: from now on the broker's clock; TIME_US_NEVER: not given */
    int64_t every_us; /* TIME_US_NEVER: not given. 0: none */
    bool has_rank;
    int64_t rank;
    struct bytes group; /* absent: not given. Empty: none */
    bool has_once;
    bool once;
    struct bytes payload; /* absent: not given */
    struct bytes memo;    /* absent: not given; of a sync: for a new key only */
};
void put_write(struct wire_buffer *buffer, const struct put *put);
void put_read(struct wire_reader *reader, struct put *put);

/* What clients see of a record's state. The values are bits, for LIST. */
enum record_status {
    RECORD_WAITING = 1,
    RECORD_READY = 2,
    RECORD_LEASED = 4,
    RECORD_PARKED = 8,
};
enum { RECORD_ANY = 15 };

/* A record as GET, LIST and PEEK answer it. */
struct record_view {
    struct bytes key;
    enum record_status status;
    int64_t due_us;
    int64_t every_us; /* 0: none */
    int64_t rank;
    struct bytes group;
    bool once;
    uint32_t failures;
    uint32_t crashes;
    uint64_t state;
    struct bytes payload;
    struct bytes memo;
    struct bytes note;
    struct bytes error;       /* of the last failed run */
    struct bytes park_reason; /* absent unless parked */
    int64_t parked_us;        /* 0 unless parked */
    struct bytes last_worker; /* name of the session that held it when it was parked */
};
void record_view_write(struct wire_buffer *buffer, const struct record_view *view);
void record_view_read(struct wire_reader *reader, struct record_view *view);

struct sync_begin {
    uint64_t id;
    struct bytes queue;
    int64_t spread_us; /* 0: none. Window over which new records without a due are spread */
    bool due_take;     /* known keys take the due of the line, too */
};
void sync_begin_write(struct wire_buffer *buffer, const struct sync_begin *begin);
void sync_begin_read(struct wire_reader *reader, uint32_t fields, struct sync_begin *begin);

struct sync_commit {
    uint64_t id;
    uint64_t generation;
    uint64_t count;    /* lines sent, rejected ones too */
    uint32_t checksum; /* CRC-32 (zlib's) over the item arrays of all chunks, in order */
    bool prune;
    uint32_t prune_max_ppm; /* refused when more than this share of the queue would go */
    bool dry_run;           /* count, change nothing */
};
void sync_commit_write(struct wire_buffer *buffer, const struct sync_commit *commit);
void sync_commit_read(struct wire_reader *reader, uint32_t fields, struct sync_commit *commit);

/* Body of the answer to SYNC_COMMIT. */
struct sync_counts {
    uint64_t created;
    uint64_t changed; /* those that are pending, too */
    uint64_t unchanged;
    uint64_t rejected;
    uint64_t kept;   /* put or removed since BEGIN: left as they are */
    uint64_t absent; /* not in the set, before pruning */
    uint64_t pruned;
    uint64_t due_now; /* new ones that are due at once for lack of a due, an every and a spread */
};
void sync_counts_write(struct wire_buffer *buffer, const struct sync_counts *counts);
void sync_counts_read(struct wire_reader *reader, struct sync_counts *counts);

/* --- answers ---------------------------------------------------------------------------------- */

/* [1, ANSWER, id, status, body, text]: `body` follows at once, msgpack of the shape that the
 * request's section names; write nil when there is none. */
void answer_write_head(struct wire_buffer *buffer, uint64_t id, enum status status);
/* Ends an answer: the text for people, absent where there is nothing to add. */
void answer_write_end(struct wire_buffer *buffer, struct bytes text);

/* A whole answer without a body. */
void answer_write(struct wire_buffer *buffer, uint64_t id, enum status status, struct bytes text);

/* [1, ERROR, status, text]: to a message that is no request. */
void error_write(struct wire_buffer *buffer, enum status status, struct bytes text);

#endif
