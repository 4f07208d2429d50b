/* server.h - the broker's turn: bytes in, events to the core, effects out.
 *
 *   wait -> take in at most a batch -> let time pass -> collect what must be durable -> grant ->
 * send
 *
 * One thread owns the ROUTER and the core. The store's thread commits; acknowledgements are held
 * until their batch is on disk. No step blocks and each is bounded, so neither input nor due work
 * can starve the other.
 */
#ifndef EVERDUE_SERVER_H
#define EVERDUE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "sched.h"
#include "store.h"

enum sync_policy { SYNC_ALWAYS, SYNC_INTERVAL, SYNC_NEVER };

struct server_options {
    const char *const *endpoints; /* NULL-terminated */
    const char *store_directory;  /* NULL: in memory */
    const char *curve_key_file;   /* NULL: plain */
    const char *allow_file;       /* NULL: everybody may do everything. Read again at SIGHUP */
    enum sync_policy sync;
    int64_t sync_interval_us;
    int64_t reconnect_us;       /* tcp: how long a broken connection may take to come back */
    int64_t stop_us;            /* SIGTERM: how long to wait for reports */
    uint64_t journal_bytes_max; /* a checkpoint begins here; 0: the store decides */
    uint64_t free_bytes_least;  /* below this much free disk, puts and syncs are refused */
    struct sched_settings sched;
};

/* Called when the store is loaded (queues keep their places in it, so that they must not be made
 * before), and at each SIGHUP: sets the policies of queues and gives the settings. False: they are
 * wrong (said already), the old ones stay. */
typedef bool server_configure(struct sched_settings *settings, struct sched *sched, void *user);

/* Run until SIGTERM or SIGINT (drains) or a fatal error (logged). Returns a sysexits code. */
int server_run(const struct server_options *options, server_configure *configure, void *user);

#endif
