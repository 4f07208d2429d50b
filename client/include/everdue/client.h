/* everdue/client.h - put, look at and control records. Part of libeverdue.
 *
 * A client is one session with one broker, used by one thread. Calls wait for the broker's answer:
 * with a status of 0 or above the change is durable there. A call that meets a broken connection
 * says hello again and repeats itself until `timeout_ms` has passed (a sync does not: it ends).
 */
#ifndef EVERDUE_CLIENT_H
#define EVERDUE_CLIENT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct everdue_client_options {
    const char *endpoint;      /* NULL: EVERDUE_ENDPOINT */
    const char *name;          /* NULL: host:pid */
    const char *const *queues; /* that will be taken from; NULL-terminated, NULL: none */
    uint32_t timeout_ms;       /* of a call; 0: 3,000 */
    const char *curve_server_key;
    const char *curve_key_file;
};

struct everdue_client;

/* Opens a socket; the broker is met by the first call. NULL: no memory, no socket, or a bad
 * endpoint; `why` (may be NULL) points to a static text. */
EVERDUE_API struct everdue_client *everdue_client_new(const struct everdue_client_options *options,
                                                      const char **why);
EVERDUE_API void everdue_client_destroy(struct everdue_client **client);

/* What the broker said to the last refused call, or a text of our own; "" when there is nothing.
 * Borrowed until the next call. */
EVERDUE_API const char *everdue_client_error(struct everdue_client *client);

/* Another time limit for the calls that follow. */
EVERDUE_API void everdue_client_set_timeout(struct everdue_client *client, uint32_t timeout_ms);

/* Meet the broker; `round_trip_us`, `version` (borrowed from the client) may be NULL. */
EVERDUE_API int everdue_ping(struct everdue_client *client, int64_t *round_trip_us,
                             const char **version);

/* --- records ---------------------------------------------------------------------------------- */

struct everdue_put {
    struct everdue_bytes key;
    int64_t due_us;   /* or EVERDUE_ABSENT */
    int64_t in_us;    /* or EVERDUE_ABSENT */
    int64_t every_us; /* or EVERDUE_ABSENT; 0: none */
    bool has_rank;
    int64_t rank;
    struct everdue_bytes group;
    bool has_once;
    bool once;
    struct everdue_bytes payload;
    struct everdue_bytes memo;
};
EVERDUE_API void everdue_put_init(struct everdue_put *put);

/* Each fills `statuses` (count of them) and returns the status of the request as a whole. Any
 * number of items: split into messages as needed. */
EVERDUE_API int everdue_put_many(struct everdue_client *client, const char *queue,
                                 const struct everdue_put *puts, size_t count, int *statuses);
EVERDUE_API int everdue_remove(struct everdue_client *client, const char *queue,
                               const struct everdue_bytes *keys, size_t count, int *statuses);
EVERDUE_API int everdue_run_now(struct everdue_client *client, const char *queue,
                                const struct everdue_bytes *keys, size_t count, int *statuses);
EVERDUE_API int everdue_kick(struct everdue_client *client, const char *queue,
                             const struct everdue_bytes *keys, size_t count, int *statuses);
EVERDUE_API int everdue_kick_all(struct everdue_client *client, const char *queue,
                                 uint64_t *kicked);

enum everdue_record_status {
    EVERDUE_WAITING = 1,
    EVERDUE_READY = 2,
    EVERDUE_LEASED = 4,
    EVERDUE_PARKED = 8,
    EVERDUE_ANY = 15,
};

struct everdue_record {
    struct everdue_bytes key;
    enum everdue_record_status status;
    int64_t due_us;
    int64_t every_us; /* 0: none */
    int64_t rank;
    struct everdue_bytes group;
    bool once;
    uint32_t failures;
    uint32_t crashes;
    uint64_t state;
    struct everdue_bytes payload;
    struct everdue_bytes memo;
    struct everdue_bytes note;
    struct everdue_bytes error;
    struct everdue_bytes park_reason;
    int64_t parked_us;
    struct everdue_bytes last_worker;
};

/* Called for each record of an answer; the record is borrowed during the call. false ends the walk.
 */
typedef bool everdue_record_visitor(const struct everdue_record *record, void *user);

/* One record; not-found when there is none. Borrowed until the next call. */
EVERDUE_API int everdue_get(struct everdue_client *client, const char *queue,
                            struct everdue_bytes key, struct everdue_record *record);
EVERDUE_API int everdue_list(struct everdue_client *client, const char *queue, unsigned statuses,
                             struct everdue_bytes prefix, everdue_record_visitor *visit,
                             void *user);
EVERDUE_API int everdue_peek(struct everdue_client *client, const char *queue, uint32_t max,
                             everdue_record_visitor *visit, void *user);

/* --- full sets -------------------------------------------------------------------------------- */

struct everdue_sync_options {
    int64_t spread_us; /* 0: none */
    bool due_take;
};

struct everdue_sync_result {
    uint64_t created, changed, unchanged, rejected, kept, absent, pruned, due_now;
};

/* Called for an item that the broker refused: its place in the set (from 0) and the status. */
typedef void everdue_sync_refusal(uint64_t place, int status, void *user);

/* begin, add any number of times, then commit or abort. `add` copies the item into the current
 * chunk and sends chunks ahead, several at a time, without waiting for each answer. An error of the
 * connection, or an answer that does not come in time, ends the sync, at the broker too: the
 * session begins anew. */
EVERDUE_API int everdue_sync_begin(struct everdue_client *client, const char *queue,
                                   const struct everdue_sync_options *options,
                                   everdue_sync_refusal *refused, void *user);
EVERDUE_API int everdue_sync_add(struct everdue_client *client, const struct everdue_put *put);
/* Wait until all that was added so far is answered: refusals that are not known yet are told now.
 */
EVERDUE_API int everdue_sync_flush(struct everdue_client *client);
EVERDUE_API int everdue_sync_commit(struct everdue_client *client, bool prune,
                                    uint32_t prune_max_ppm, bool dry_run,
                                    struct everdue_sync_result *result);
EVERDUE_API int everdue_sync_abort(struct everdue_client *client);

/* --- by hand ---------------------------------------------------------------------------------- */

struct everdue_task;
struct everdue_result;
typedef bool everdue_task_visitor(const struct everdue_task *task, void *user);

/* Up to `max` records of a queue named in the options, waiting `wait_ms` for the first. */
EVERDUE_API int everdue_take(struct everdue_client *client, const char *queue, uint32_t max,
                             uint32_t wait_ms, uint32_t lease_ms, bool detached,
                             everdue_task_visitor *visit, void *user);

/* Report a lease taken by this or another client; queue must be one of the options' queues. */
EVERDUE_API int everdue_report(struct everdue_client *client, const char *queue,
                               struct everdue_bytes key, uint64_t lease, uint64_t state,
                               const struct everdue_result *result);

/* --- control and looking ---------------------------------------------------------------------- */

EVERDUE_API int everdue_pause(struct everdue_client *client, const char *queue);
/* NULL: end a drain. */
EVERDUE_API int everdue_unpause(struct everdue_client *client, const char *queue);
/* Grants stop; 0 when no lease is out any more, timed-out after `wait_ms`. */
EVERDUE_API int everdue_drain(struct everdue_client *client, uint32_t wait_ms);
EVERDUE_API int everdue_backup(struct everdue_client *client, const char *directory);

/* A row of names with numbers or texts, as STATS, WORKERS and QUEUES answer. */
struct everdue_value {
    struct everdue_bytes name;
    bool is_text;
    int64_t number;
    struct everdue_bytes text;
};
typedef bool everdue_row_visitor(const struct everdue_value *values, size_t count, void *user);

/* queue NULL: of the whole broker. One row. */
EVERDUE_API int everdue_stats(struct everdue_client *client, const char *queue,
                              everdue_row_visitor *visit, void *user);
EVERDUE_API int everdue_workers(struct everdue_client *client, everdue_row_visitor *visit,
                                void *user);
EVERDUE_API int everdue_queues(struct everdue_client *client, everdue_row_visitor *visit,
                               void *user);

#ifdef __cplusplus
}
#endif

#endif
