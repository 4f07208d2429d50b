#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <zmq.h>

#include "server_internal.h"

/* --- begin and end ---------------------------------------------------------------------------- */

static bool fail(struct server *server, int exit_code, const char *what, const char *where,
                 const char *why)
{
    log_line(LOG_ERR, what, "file", where, "why", why, NULL);
    server_fail(server, exit_code);
    return false;
}

static bool read_keys(struct server *server)
{
    const char *file = server->options->curve_key_file;
    enum status status = file ? certificate_read(&server->keys.own, file) : STATUS_OK;
    server->keys.is_curve = file != NULL;
    if (status == STATUS_DENIED)
        return fail(server, EX_NOPERM, "the key is no secret", file,
                    "others than its owner can read it; make another one, or chmod 600");
    if (status)
        return fail(server, EX_CONFIG, "the key cannot be read", file,
                    status == STATUS_IO ? strerror(errno) : "it holds no pair of keys");
    if (file)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a core would hold the secret */
    return true;
}

/* Without a list the handler must refuse whoever comes, and that is tried before it gets one. */
static bool start_handler(struct server *server)
{
    const char *why = NULL;
    server->zap = zap_new(server->context);
    bool is_well = server->zap && zap_refuses_strangers(server->context, &server->keys, &why);
    if (server->zap)
        zap_set_allow(server->zap, server->allow);
    return is_well || fail(server, EX_SOFTWARE, "admission does not work, so nobody is let in",
                           server->options->allow_file, why ? why : "out of memory");
}

bool access_open(struct server *server)
{
    char why[ALLOW_WHY_BYTES];
    const char *file = server->options->allow_file;
    if (!file)
        return true;
    if (!read_keys(server))
        return false;
    server->allow = allow_read(file, why);
    if (!server->allow)
        return fail(server, EX_CONFIG, "the list of peers is wrong", NULL, why);
    if (!start_handler(server))
        return false;
    log_line(LOG_NOTICE, "only peers on the list are let in", "file", file, "peers",
             log_u64(allow_count(server->allow)), NULL);
    return true;
}

bool access_protect(struct server *server)
{
    return !server->allow || zap_protect(server->router, &server->keys);
}

void access_close(struct server *server)
{
    zap_destroy(&server->zap);
    allow_destroy(&server->allow);
    explicit_bzero(&server->keys, sizeof(server->keys));
}

/* --- who -------------------------------------------------------------------------------------- */

const struct allow_entry *access_find(const struct server *server, uint32_t number,
                                      const char *user)
{
    const struct allow_entry *peer =
        number == SLAB_NONE ? NULL : workers_at(&server->workers, number)->peer;
    if (!user)
        return NULL;
    return peer && strcmp(peer->user, user) == 0 ? peer : allow_find(server->allow, user);
}

/* --- what ------------------------------------------------------------------------------------- */

enum { ANY = ROLE_WORKER | ROLE_CLIENT | ROLE_MONITOR | ROLE_ADMIN };

/* What the second field of a message says about a queue. */
enum scope { SCOPE_NONE, SCOPE_QUEUE, SCOPE_GENERATION };

static const struct right {
    uint8_t roles;
    uint8_t scope;
} rights[MESSAGE_BYE] = {
    [MESSAGE_HELLO] = {ANY, SCOPE_NONE},
    [MESSAGE_PING] = {ANY, SCOPE_NONE},
    [MESSAGE_PONG] = {ANY, SCOPE_NONE},
    [MESSAGE_GOODBYE] = {ANY, SCOPE_NONE},
    /* Work names its queues by their places in HELLO, which has been looked at. */
    [MESSAGE_CREDIT] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_REPORT] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_TOUCH] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_GIVE_BACK] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_RESUME] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_TAKE] = {ROLE_WORKER | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_PUT] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_REMOVE] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_RUN_NOW] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_KICK] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_GET] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_LIST] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_PEEK] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_SYNC_BEGIN] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_QUEUE},
    [MESSAGE_SYNC_CHUNK] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_GENERATION},
    [MESSAGE_SYNC_COMMIT] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_GENERATION},
    [MESSAGE_SYNC_ABORT] = {ROLE_CLIENT | ROLE_ADMIN, SCOPE_GENERATION},
    [MESSAGE_PAUSE] = {ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_UNPAUSE] = {ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_DRAIN] = {ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_STATS] = {ANY, SCOPE_QUEUE},
    [MESSAGE_WORKERS] = {ROLE_MONITOR | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_QUEUES] = {ROLE_MONITOR | ROLE_ADMIN, SCOPE_NONE},
    [MESSAGE_BACKUP] = {ROLE_ADMIN, SCOPE_NONE},
};

/* Refused for its content: what is not well read the handler refuses itself. A monitor sees the
 * numbers of all queues. */
static bool may_touch(const struct server *server, const struct request *request,
                      const struct right *right)
{
    struct wire_reader reader = request->reader;
    struct bytes queue = {NULL, 0};
    wire_read_uint(&reader);
    if (right->scope == SCOPE_NONE ||
        (request->head.type == MESSAGE_STATS && (request->peer->roles & ROLE_MONITOR)))
        return true;
    if (right->scope == SCOPE_GENERATION) {
        queue = sched_sync_queue(server->sched, wire_read_uint(&reader));
        return !queue.data || allow_has_queue(request->peer, queue);
    }
    if (request->head.fields >= 2)
        queue = wire_read_bytes(&reader, MESSAGE_BYTES_MAX);
    return reader.status || allow_has_queue(request->peer, queue);
}

static void answer_denied(struct server *server, struct request *request, const char *text)
{
    struct wire_reader reader = request->reader;
    uint64_t held_back;
    server->counts.refused++;
    server->counts.refused_denied++;
    if (log_limit_allows(&server->denied_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "a message was denied", "user", request->peer->user, "name",
                 request->peer->name[0] ? request->peer->name : NULL, "type",
                 log_i64(request->head.type), "why", text, "more", log_u64(held_back), NULL);
    request->id = wire_read_uint(&reader);
    if (request->head.type != MESSAGE_CREDIT) { /* which has no answer */
        output_status(server, request, STATUS_DENIED, text);
        return;
    }
    wire_buffer_clear(&server->out);
    error_write(&server->out, STATUS_DENIED, bytes_of(text));
    output_now(server, request);
}

bool access_allows(struct server *server, struct request *request)
{
    const struct right *right = &rights[request->head.type];
    if (!(right->roles & request->peer->roles)) {
        answer_denied(server, request, "the role of this peer does not allow that");
        return false;
    }
    if (may_touch(server, request, right))
        return true;
    answer_denied(server, request, "this queue is not open to this peer");
    return false;
}

/* --- sessions --------------------------------------------------------------------------------- */

static bool fits(const struct allow_entry *peer, const struct bytes *queues, uint32_t count,
                 uint32_t credit)
{
    if ((count || credit) && !(peer->roles & (ROLE_WORKER | ROLE_ADMIN)))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!allow_has_queue(peer, queues[i]))
            return false;
    return true;
}

/* Those that are connected: one that broke and may come back does not stand in its own way. */
static uint32_t connections_of(const struct server *server, const struct request *request)
{
    uint32_t count = 0, number = workers_next(&server->workers, 0);
    for (; number != SLAB_NONE; number = workers_next(&server->workers, number + 1)) {
        const struct worker *worker = workers_at(&server->workers, number);
        count += worker->peer == request->peer && worker->fd >= 0 && number != request->worker;
    }
    return count;
}

enum status access_hello(struct server *server, const struct request *request, struct hello *hello,
                         const char **why)
{
    const struct allow_entry *peer = request->peer;
    if (!peer)
        return STATUS_OK;
    uint32_t other = sched_find_session(server->sched, hello->uid);
    *why = "this session is another peer's";
    if (other != SLAB_NONE && workers_at(&server->workers, other)->peer != peer)
        return STATUS_DENIED;
    *why = "this peer may not work on these queues";
    if (!fits(peer, hello->queues, hello->queue_count, hello->credit))
        return STATUS_DENIED;
    *why = "this peer has as many connections as it may";
    if (connections_of(server, request) >= peer->connections_max)
        return STATUS_TOO_MANY;
    if (hello->credit > peer->credit_max)
        hello->credit = peer->credit_max;
    return STATUS_OK;
}

/* --- another list ----------------------------------------------------------------------------- */

static bool still_fits(const struct server *server, uint32_t number, const struct allow_entry *peer)
{
    struct sched_session_view view;
    return peer && (!sched_view_session(server->sched, number, &view) ||
                    fits(peer, view.queues, view.queue_count, view.credit));
}

/* What it says from now on is refused. */
static void revoke(struct server *server, uint32_t number)
{
    struct worker *worker = workers_at(&server->workers, number);
    struct bytes identity = {worker->identity, worker->identity_bytes};
    wire_buffer_clear(&server->out);
    error_write(&server->out, STATUS_DENIED, bytes_of("this peer is not on the list any more"));
    socket_send(server, number, server->out.data, server->out.count);
    guard_cut(server, identity, worker->fd);
    guard_end_session(server, number);
}

void access_reload(struct server *server)
{
    char why[ALLOW_WHY_BYTES];
    uint64_t revoked = 0;
    if (!server->allow)
        return;
    struct allow *fresh = allow_read(server->options->allow_file, why);
    if (!fresh) {
        log_line(LOG_ERR, "the list of peers is wrong; the one before stays in force", "why", why,
                 NULL);
        return;
    }
    zap_set_allow(server->zap, fresh);
    uint32_t number = workers_next(&server->workers, 0);
    for (; number != SLAB_NONE; number = workers_next(&server->workers, number + 1)) {
        struct worker *worker = workers_at(&server->workers, number);
        const struct allow_entry *peer =
            worker->peer ? allow_find(fresh, worker->peer->user) : NULL;
        bool fits = still_fits(server, number, peer);
        worker->peer = peer;
        revoked += !fits;
        if (!fits)
            revoke(server, number);
    }
    allow_destroy(&server->allow);
    server->allow = fresh;
    log_line(LOG_NOTICE, "the list of peers was read again", "peers", log_u64(allow_count(fresh)),
             "sessions_ended", log_u64(revoked), NULL);
}
