#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#include "link.h"
#include "server_internal.h"

/* --- opened ----------------------------------------------------------------------------------- */

struct setting {
    int option;
    int value;
    const char *name;
};

/* docs/architecture.md, "Sockets", says why. */
static const struct setting settings[] = {
    {ZMQ_ROUTER_MANDATORY, 1, "ROUTER_MANDATORY"},
    {ZMQ_SNDHWM, HWM_MESSAGES, "SNDHWM"},
    {ZMQ_RCVHWM, HWM_MESSAGES, "RCVHWM"},
    {ZMQ_LINGER, 2000, "LINGER"},
    {ZMQ_HANDSHAKE_IVL, 5000, "HANDSHAKE_IVL"},
    {ZMQ_BACKLOG, 1024, "BACKLOG"},
    {ZMQ_TCP_KEEPALIVE, 1, "TCP_KEEPALIVE"},
    {ZMQ_TCP_KEEPALIVE_IDLE, 30, "TCP_KEEPALIVE_IDLE"},
    {ZMQ_TCP_KEEPALIVE_INTVL, 10, "TCP_KEEPALIVE_INTVL"},
    {ZMQ_TCP_KEEPALIVE_CNT, 3, "TCP_KEEPALIVE_CNT"},
    {ZMQ_TCP_MAXRT, 30000, "TCP_MAXRT"},
};

static bool fail(struct server *server, const char *what, const char *where)
{
    log_line(LOG_ERR, "the socket cannot be opened", "what", what, "where", where, "why",
             zmq_strerror(zmq_errno()), NULL);
    server->exit_code = EX_OSERR;
    return false;
}

/* The first descriptor that no connection may keep. */
static int end_of_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return (int)limit.rlim_cur - DESCRIPTORS_KEPT;
}

static bool open_monitor(struct server *server)
{
    const char *endpoint = "inproc://everdue-broker-monitor";
    int linger = 0;
    if (zmq_socket_monitor(server->router, endpoint, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED))
        return fail(server, "monitor", endpoint);
    server->monitor = zmq_socket(server->context, ZMQ_PAIR);
    if (!server->monitor || zmq_setsockopt(server->monitor, ZMQ_LINGER, &linger, sizeof(linger)) ||
        zmq_connect(server->monitor, endpoint))
        return fail(server, "monitor", endpoint);
    return true;
}

static bool fail_bind(struct server *server, const char *endpoint, int error)
{
    bool is_in_use = error == EADDRINUSE;
    log_line(LOG_ERR, "cannot listen", "endpoint", endpoint, "why", zmq_strerror(error), "try",
             is_in_use ? "stop the process that listens there, or choose another --listen" : NULL,
             NULL);
    server->exit_code = is_in_use                            ? EX_UNAVAILABLE
                        : error == EMFILE || error == ENOMEM ? EX_OSERR
                                                             : EX_CONFIG;
    return false;
}

/* libzmq removes whatever lies at the path and binds there: the socket of a broker that runs, or a
 * file that happens to have the name. 0: the path is free, or a socket that nobody listens at. */
static int check_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    if (lstat(path, &found))
        return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(found.st_mode))
        return EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    bool is_stale =
        connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return is_stale ? 0 : EADDRINUSE;
}

/* Between the look at the path and the bind another broker may come; so each holds a lock beside
 * its socket as long as it lives. The file stays: to remove it would part those who hold it. */
static int lock_path(const char *path)
{
    char name[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
    snprintf(name, sizeof(name), "%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0; /* for the life of the process */
    close(fd);
    return EADDRINUSE;
}

static int bind_ipc(struct server *server, const char *endpoint)
{
    const char *path = endpoint + strlen("ipc://");
    int error = lock_path(path);
    if (!error)
        error = check_path(path);
    if (error)
        return error;
    if (zmq_bind(server->router, endpoint))
        return zmq_errno();
    /* Its owner's alone, as the umask has it; with a list that says who may come in, open to all.
     */
    return server->allow && chmod(path, 0666) ? errno : 0;
}

static int bind_one(struct server *server, const char *endpoint)
{
    if (strncmp(endpoint, "ipc://", 6) == 0)
        return bind_ipc(server, endpoint);
    int is_v6 = strchr(endpoint, '[') != NULL;
    return zmq_setsockopt(server->router, ZMQ_IPV6, &is_v6, sizeof(is_v6)) ||
                   zmq_bind(server->router, endpoint)
               ? zmq_errno()
               : 0;
}

static bool bind_all(struct server *server)
{
    for (const char *const *endpoint = server->options->endpoints; *endpoint; endpoint++) {
        char bound[256] = "";
        size_t length = sizeof(bound);
        int error = bind_one(server, *endpoint);
        if (error)
            return fail_bind(server, *endpoint, error);
        /* A wildcard port is known only now. */
        if (zmq_getsockopt(server->router, ZMQ_LAST_ENDPOINT, bound, &length))
            return fail(server, "endpoint", *endpoint);
        log_line(LOG_NOTICE, "listening", "endpoint", bound, NULL);
    }
    return true;
}

static bool find_descriptors(struct server *server)
{
    size_t bytes = sizeof(int);
    if (zmq_getsockopt(server->router, ZMQ_FD, &server->router_fd, &bytes) ||
        zmq_getsockopt(server->monitor, ZMQ_FD, &server->monitor_fd, &bytes))
        return fail(server, "descriptor", NULL);
    return true;
}

bool socket_open(struct server *server)
{
    int64_t frame_bytes_max = MESSAGE_BYTES_MAX;
    server->fd_end = end_of_descriptors();
    link_setup();
    server->context = zmq_ctx_new();
    if (!server->context || zmq_ctx_set(server->context, ZMQ_IO_THREADS, 1))
        return fail(server, "context", NULL);
    server->router = zmq_socket(server->context, ZMQ_ROUTER);
    if (!server->router)
        return fail(server, "socket", NULL);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (zmq_setsockopt(server->router, settings[i].option, &settings[i].value, sizeof(int)))
            return fail(server, settings[i].name, NULL);
    if (zmq_setsockopt(server->router, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof(frame_bytes_max)))
        return fail(server, "MAXMSGSIZE", NULL);
    if (!access_open(server))
        return false;
    if (!access_protect(server))
        return fail(server, "CURVE, ZAP_DOMAIN", NULL);
    server->may_have_input = server->monitor_has_more = true;
    return open_monitor(server) && bind_all(server) && find_descriptors(server);
}

void socket_close(struct server *server)
{
    if (server->router) { /* told by libzmq's own thread, which waits while nobody listens */
        zmq_socket_monitor(server->router, NULL, 0);
        zmq_close(server->router);
    }
    if (server->monitor)
        zmq_close(server->monitor);
    access_close(server);
    if (server->context)
        zmq_ctx_term(server->context);
    connections_release(&server->connections);
    server->router = server->monitor = server->context = NULL;
}

/* --- read ------------------------------------------------------------------------------------- */

/* Frames behind the second break the protocol; they are read and dropped. */
static bool drop_rest(struct server *server, zmq_msg_t *frame)
{
    bool had_more = false;
    while (zmq_msg_more(frame)) { /* ends with the message: libzmq delivers whole ones only */
        had_more = true;
        if (zmq_msg_recv(frame, server->router, ZMQ_DONTWAIT) < 0)
            break;
    }
    return had_more;
}

static void handle_message(struct server *server, zmq_msg_t *identity, zmq_msg_t *frame)
{
    struct request request = {
        .identity = {zmq_msg_data(identity), (uint32_t)zmq_msg_size(identity)},
        .fd = zmq_msg_get(frame, ZMQ_SRCFD),
        .frame = frame,
    };
    request.worker = workers_find(&server->workers, request.identity);
    guard_message(server, &request);
    server->counts.messages_in++;
    server->counts.bytes_in += zmq_msg_size(frame);
    if (server->allow) { /* the frame of the identity may be without its metadata: see libzmq */
        request.peer = access_find(server, request.worker, zmq_msg_gets(frame, "User-Id"));
        if (!request.peer) {
            drop_rest(server, frame);
            input_refuse_and_cut(server, &request, STATUS_DENIED, "this peer is not on the list");
            return;
        }
    }
    if (zmq_msg_more(frame)) {
        drop_rest(server, frame);
        input_refuse_and_cut(server, &request, STATUS_MALFORMED, "a message is one frame");
        return;
    }
    input_message(server, &request, zmq_msg_data(frame), zmq_msg_size(frame));
}

/* One message. False: there is none. */
static bool read_one(struct server *server)
{
    zmq_msg_t identity, frame;
    zmq_msg_init(&identity);
    if (zmq_msg_recv(&identity, server->router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&identity);
        return false;
    }
    zmq_msg_init(&frame);
    if (zmq_msg_more(&identity) && zmq_msg_recv(&frame, server->router, ZMQ_DONTWAIT) >= 0)
        handle_message(server, &identity, &frame);
    zmq_msg_close(&frame);
    zmq_msg_close(&identity);
    return true;
}

/* Who has reported all that it had waits until this turn hands out, and what is out may all have
 * come back: so when half of it has, the turn goes on to that. Whoever has the other half works
 * meanwhile. */
static bool is_work_wanted(struct server *server)
{
    if (server->turn_reports < server->turn_reports_max)
        return false;
    uint64_t half = (sched_leased(server->sched) + server->turn_reports) / 2;
    server->turn_reports_max = half < INPUT_ITEMS_MAX ? (uint32_t)half : INPUT_ITEMS_MAX;
    return server->turn_reports >= server->turn_reports_max;
}

bool socket_read(struct server *server)
{
    uint32_t count = 0;
    uint64_t end_bytes = server->counts.bytes_in + INPUT_BYTES_MAX;
    server->turn_items = server->turn_reports = 0;
    server->turn_reports_max = INPUT_REPORTS_LEAST;
    while (count < INPUT_MESSAGES_MAX && server->turn_items < INPUT_ITEMS_MAX &&
           server->counts.bytes_in < end_bytes && !is_work_wanted(server)) {
        if (!read_one(server)) {
            server->has_read_all = true;
            server->may_have_input = false;
            return false;
        }
        count++;
    }
    return true;
}

/* The descriptor tells of changes that libzmq has not taken notice of; who sends may be the one
 * that took it. */
bool socket_has_input(struct server *server)
{
    int events = 0;
    size_t bytes = sizeof(events);
    if (!server->may_have_input)
        return false;
    return zmq_getsockopt(server->router, ZMQ_EVENTS, &events, &bytes) || events & ZMQ_POLLIN;
}

/* --- broken connections ----------------------------------------------------------------------- */

void socket_suspect(struct server *server, uint32_t number)
{
    struct worker *worker = workers_at(&server->workers, number);
    if (!worker->is_here)
        return;
    if (!worker->probes_left)
        server->workers.suspect_count++;
    worker->probes_left = PROBES;
}

/* Without a descriptor left libzmq ends the process (ipc) or spins (tcp). Connections cost one
 * each, those that never say HELLO, too: near the end new ones are cut. */
static void on_accept(struct server *server, int fd)
{
    uint64_t held_back;
    workers_forget_stranger(&server->workers, fd);
    connections_open(&server->connections, fd, server->now.mono_us);
    guard_begin(server, fd);
    if (fd < server->fd_end)
        return;
    shutdown(fd, SHUT_RDWR);
    server->counts.refused_connections++;
    if (log_limit_allows(&server->connections_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "too many connections: a new one was cut", "descriptor", log_i64(fd),
                 "more", log_u64(held_back), "try",
                 "raise the limit of file descriptors (ulimit -n)", NULL);
}

static void on_disconnect(struct server *server, int fd)
{
    uint32_t number = workers_find_fd(&server->workers, fd);
    connections_close(&server->connections, fd);
    if (number == SLAB_NONE) {
        workers_note_stranger(&server->workers, fd); /* its HELLO may still be to be read */
        return;
    }
    socket_suspect(server, number);
    workers_at(&server->workers, number)->fd = -1; /* may be another connection's from now on */
}

/* What libzmq says of a descriptor comes in order: the end of a connection before it is closed and
 * the beginning of the next one that has its number. */
void socket_read_monitor(struct server *server)
{
    server->monitor_has_more = false;
    for (int i = 0; i < EVENTS_MAX; i++) {
        uint8_t event[6];
        char address[256];
        uint16_t kind;
        int fd;
        if (zmq_recv(server->monitor, event, sizeof(event), ZMQ_DONTWAIT) != sizeof(event))
            return;
        zmq_recv(server->monitor, address, sizeof(address), ZMQ_DONTWAIT);
        memcpy(&kind, event, sizeof(kind));
        memcpy(&fd, event + 2, sizeof(fd));
        if (kind == ZMQ_EVENT_ACCEPTED)
            on_accept(server, fd);
        else
            on_disconnect(server, fd);
    }
    server->monitor_has_more = true;
}

/* The monitor's word is a hint: file descriptors are used again. A mandatory send says for certain.
 */
static bool is_broken(struct server *server, uint32_t number)
{
    return !socket_ping(server, workers_identity(&server->workers, number)) &&
           zmq_errno() == EHOSTUNREACH;
}

static void give_up(struct server *server, uint32_t number)
{
    const struct worker *worker = workers_at(&server->workers, number);
    struct event event = {
        .kind = EVENT_DISCONNECT,
        .now = server->now,
        .session = number,
        .wait_us = worker->is_ipc ? 0 : server->options->reconnect_us,
    };
    struct sched_session_view view;
    bool has_leases =
        sched_view_session(server->sched, number, &view) && (view.in_flight || view.credit);
    if (!has_leases)
        event.wait_us = 0; /* nothing to come back for */
    server_step(server, &event);
    if (event.wait_us == 0)
        workers_remove(&server->workers, number);
}

void socket_probe(struct server *server)
{
    if (!server->workers.suspect_count)
        return;
    uint32_t number = workers_next(&server->workers, 0);
    for (; number != SLAB_NONE; number = workers_next(&server->workers, number + 1)) {
        struct worker *worker = workers_at(&server->workers, number);
        if (!worker->probes_left)
            continue;
        bool broken = is_broken(server, number);
        worker->probes_left = broken ? 0 : (uint8_t)(worker->probes_left - 1);
        if (!worker->probes_left)
            server->workers.suspect_count--;
        if (broken)
            give_up(server, number);
    }
}
