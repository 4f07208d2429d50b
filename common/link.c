#include "link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <czmq.h>

#include "certificate.h"
#include "bounds.h"
#include "link_watch.h"

enum {
    RECEIVE_HWM = 2 * CREDIT_MAX, /* never reached: credit bounds what is under way */
    FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + 4096,
    LINGER_MS = 2000,
};

struct link {
    char *endpoint;
    bool curve;
    bool watches;
    uint8_t server_key[CURVE_KEY_BYTES];
    struct certificate own;
    void *context;
    void *socket; /* NULL: the last reopen failed */
    struct link_watch watch;
    bool heard;    /* a frame came through this socket */
    bool has_sent; /* or may have input: not found empty since */
    bool holds_frame;
    zmq_msg_t frame; /* what link_receive has lent out */
};

/* --- process ---------------------------------------------------------------------------------- */

static void seed(void)
{
    unsigned number;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        number = (unsigned)time.tv_nsec ^ (unsigned)getpid();
    }
    srand(number);
}

static void seed_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, seed);
}

static void refuse_signals(void)
{
    zsys_handler_set(NULL);
}

void link_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    seed_once();
    pthread_once(&once, refuse_signals);
}

/* One context for all links, because libzmq 4.3.4 can crash when several contexts use CURVE. It
 * ends with the last link, so that what lingers has left before the process ends. */
static struct {
    pthread_mutex_t lock;
    void *context;
    unsigned users;
    pid_t owner; /* a forked child inherits the pointer, but no threads behind it */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *context_take(void)
{
    pthread_mutex_lock(&shared.lock);
    if (shared.owner != getpid()) {
        shared.context = NULL;
        shared.users = 0;
        shared.owner = getpid();
    }
    if (!shared.context)
        shared.context = zmq_ctx_new();
    if (shared.context)
        shared.users++;
    void *context = shared.context;
    pthread_mutex_unlock(&shared.lock);
    return context;
}

static void context_give_back(void)
{
    pthread_mutex_lock(&shared.lock);
    if (shared.owner == getpid() && --shared.users == 0) {
        /* Ends: interrupted by signals only, and bounded by what lingers. */
        while (zmq_ctx_term(shared.context) && errno == EINTR)
            continue;
        shared.context = NULL;
    }
    pthread_mutex_unlock(&shared.lock);
}

/* --- keys ------------------------------------------------------------------------------------- */

/* Keys for one life of the link, for brokers that let everybody in. */
static enum status passing_keys(struct certificate *own)
{
    char public_text[41];
    char secret_text[41];
    if (zmq_curve_keypair(public_text, secret_text))
        return STATUS_IO;
    bool good = certificate_key(own->public_key, public_text) &&
                certificate_key(own->secret_key, secret_text);
    explicit_bzero(secret_text, sizeof(secret_text));
    return good ? STATUS_OK : STATUS_IO;
}

static enum status set_keys(struct link *link, const struct link_options *options)
{
    if (!options->curve_server_key)
        return options->curve_key_file ? STATUS_BAD_FIELD : STATUS_OK;
    if (!certificate_public_key(link->server_key, options->curve_server_key))
        return STATUS_BAD_FIELD;
    link->curve = true;
    return options->curve_key_file ? certificate_read(&link->own, options->curve_key_file)
                                   : passing_keys(&link->own);
}

/* --- socket ----------------------------------------------------------------------------------- */

/* docs/architecture.md, "Sockets", says why. Not set: a routing id, ZMTP heartbeats. */
static bool set_options(void *socket)
{
    static const struct {
        int option;
        int value;
    } options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, HWM_MESSAGES},
        {ZMQ_RCVHWM, RECEIVE_HWM},
        {ZMQ_IMMEDIATE, 0},
        {ZMQ_RECONNECT_IVL, 100},
        {ZMQ_RECONNECT_IVL_MAX, 900}, /* and up to RECONNECT_IVL more, drawn at random */
        {ZMQ_HANDSHAKE_IVL, 5000},
        {ZMQ_CONNECT_TIMEOUT, 5000},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 30},
        {ZMQ_TCP_KEEPALIVE_INTVL, 10},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
        {ZMQ_TCP_MAXRT, 30000},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (!link_socket_set(socket, options[i].option, options[i].value))
            return false;
    int64_t frame_bytes_max = FRAME_BYTES_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof(int64_t)) == 0;
}

static bool set_curve(void *socket, const struct link *link)
{
    return zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, link->server_key, CURVE_KEY_BYTES) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, link->own.public_key, CURVE_KEY_BYTES) ==
               0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, link->own.secret_key, CURVE_KEY_BYTES) == 0;
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static enum status socket_connect(struct link *link, void *socket)
{
    /* Only for addresses that are written so: a name may resolve to an address of version 6 behind
     * which nobody listens. */
    bool version_6 = begins_with(link->endpoint, "tcp://[");
    if (!set_options(socket) || !link_socket_set(socket, ZMQ_IPV6, version_6) ||
        (link->curve && !set_curve(socket, link)))
        return STATUS_IO;
    link->watch.is_encrypted = link->curve;
    if (link->watches && !link_watch_open(&link->watch, link->context, socket))
        return STATUS_IO;
    if (zmq_connect(socket, link->endpoint))
        return errno == EMFILE || errno == ENOMEM ? STATUS_IO : STATUS_BAD_FIELD;
    return STATUS_OK;
}

static enum status socket_open(struct link *link)
{
    void *socket = zmq_socket(link->context, ZMQ_DEALER);
    if (!socket)
        return STATUS_IO;
    enum status status = socket_connect(link, socket);
    if (status) {
        link_watch_close(&link->watch, socket);
        zmq_close(socket);
        return status;
    }
    link->socket = socket;
    link->has_sent = true;
    link->heard = false;
    return STATUS_OK;
}

static void frame_release(struct link *link)
{
    if (link->holds_frame)
        zmq_msg_close(&link->frame);
    link->holds_frame = false;
}

static void socket_close(struct link *link, int linger_ms)
{
    frame_release(link);
    if (!link->socket)
        return;
    link_watch_close(&link->watch, link->socket);
    link_socket_set(link->socket, ZMQ_LINGER, linger_ms);
    zmq_close(link->socket);
    link->socket = NULL;
}

/* --- links ------------------------------------------------------------------------------------ */

/* libzmq looks at a port only when it connects, in the background. */
static bool ends_with_port(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return false;
    int port = atoi(colon + 1);
    return port > 0 && port < 65536;
}

const char *link_check_endpoint(const char *endpoint)
{
    bool is_good = endpoint && (begins_with(endpoint, "ipc://") ||
                                (begins_with(endpoint, "tcp://") && ends_with_port(endpoint)));
    return is_good ? NULL : "not an endpoint; write tcp://HOST:PORT or ipc://PATH";
}

static const char *check_pair(const char *file)
{
    struct certificate own;
    enum status status = certificate_read(&own, file);
    explicit_bzero(&own, sizeof(own));
    switch ((int)status) {
    case STATUS_OK:
        return NULL;
    case STATUS_IO:
        return "the file of the key (curve-key) cannot be read";
    case STATUS_DENIED:
        return "the key is no secret: others than its owner can read its file; chmod 600";
    default:
        return "the file of the key (curve-key) holds no pair of keys; everdue keygen makes one";
    }
}

const char *link_check(const struct link_options *options)
{
    uint8_t key[CURVE_KEY_BYTES];
    const char *wrong = link_check_endpoint(options->endpoint);
    if (wrong)
        return wrong;
    if (!options->curve_server_key)
        return options->curve_key_file ? "curve-key needs the broker's public key (curve-server)"
                                       : NULL;
    if (!certificate_public_key(key, options->curve_server_key))
        return "the broker's public key (curve-server) is neither forty characters of Z85 nor a "
               "file that begins with them (FILE.pub)";
    return options->curve_key_file ? check_pair(options->curve_key_file) : NULL;
}

enum status link_new(struct link **link, const struct link_options *options)
{
    *link = NULL;
    if (link_check_endpoint(options->endpoint))
        return STATUS_BAD_FIELD;
    seed_once();
    struct link *self = calloc(1, sizeof(*self));
    char *endpoint = strdup(options->endpoint);
    if (!self || !endpoint) {
        free(endpoint);
        free(self);
        return STATUS_NO_MEMORY;
    }
    self->endpoint = endpoint;
    self->watches = options->watches;
    enum status status = set_keys(self, options);
    if (!status) {
        self->context = context_take();
        status = self->context ? socket_open(self) : STATUS_IO;
    }
    if (status) {
        link_destroy(&self);
        return status;
    }
    *link = self;
    return STATUS_OK;
}

void link_destroy(struct link **link)
{
    struct link *self = *link;
    if (!self)
        return;
    socket_close(self, self->heard ? LINGER_MS : 0);
    if (self->context)
        context_give_back();
    explicit_bzero(&self->own, sizeof(self->own));
    free(self->endpoint);
    free(self);
    *link = NULL;
}

enum status link_reopen(struct link *link)
{
    socket_close(link, 0);
    return socket_open(link);
}

enum status link_send(struct link *link, const void *data, size_t count)
{
    if (!link->socket)
        return STATUS_IO;
    if (count > MESSAGE_BYTES_MAX)
        return STATUS_TOO_LARGE;
    int sent;
    link->has_sent = true;
    /* Ends: a signal interrupts a call that does not wait at most once in a great while. */
    do
        sent = zmq_send(link->socket, data, count, ZMQ_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return STATUS_OK;
    return errno == EAGAIN ? STATUS_BUSY : STATUS_IO;
}

/* The next frame into link->frame. */
static enum status take_frame(struct link *link)
{
    frame_release(link);
    zmq_msg_init(&link->frame);
    int count;
    do
        count = zmq_msg_recv(&link->frame, link->socket, ZMQ_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count >= 0) {
        link->holds_frame = true;
        link->heard = true;
        return STATUS_OK;
    }
    link->has_sent = false;
    return errno == EAGAIN ? STATUS_BUSY : STATUS_IO;
}

enum status link_receive(struct link *link, const uint8_t **data, size_t *count)
{
    if (!link->socket)
        return STATUS_IO;
    bool dropping = false;
    /* Ends with a message of one frame, or when nothing more is there. */
    for (;;) {
        enum status status = take_frame(link);
        if (status)
            return status;
        bool more = zmq_msg_more(&link->frame);
        if (!more && !dropping)
            break;
        dropping = more;
    }
    *data = zmq_msg_data(&link->frame);
    *count = zmq_msg_size(&link->frame);
    return STATUS_OK;
}

bool link_has_broken(struct link *link)
{
    return link_watch_take_broken(&link->watch);
}

const char *link_take_refusal(struct link *link)
{
    return link_watch_take_refusal(&link->watch);
}

int link_fd(const struct link *link)
{
    return link_socket_fd(link->socket);
}

/* What zmq_poll does, with far fewer calls. libzmq's descriptors tell of changes only, and who
 * sends may be the one that took notice: so the socket is asked, unless it was found empty since.
 */
unsigned link_wait_for(struct link *link, const int fds[2], int wait_ms)
{
    struct pollfd all[] = {
        {.fd = link_socket_fd(link->socket), .events = POLLIN},
        {.fd = link_socket_fd(link->watch.socket), .events = POLLIN},
        {.fd = fds[0], .events = POLLIN}, /* -1: passed over */
        {.fd = fds[1], .events = POLLIN},
    };
    link->has_sent = link->has_sent && link_socket_has_input(link->socket);
    bool is_told = link_watch_has_input(&link->watch);
    unsigned wakes = link->has_sent ? LINK_INPUT : 0;
    if (wakes || is_told)
        wait_ms = 0;
    if (poll(all, sizeof(all) / sizeof(all[0]), wait_ms) < 0)
        return wakes | LINK_SIGNAL;
    if (all[0].revents)
        link->has_sent = true; /* not empty any more, until it is found so */
    link->watch.is_told |= all[1].revents != 0;
    wakes |= all[0].revents || all[1].revents ? LINK_INPUT : 0;
    return wakes | (all[3].revents ? LINK_ALSO : 0);
}

bool link_wait(struct link *link, int wake_fd, int wait_ms)
{
    link->has_sent = true; /* ask the socket, and look at the watch even where there is input */
    link_wait_for(link, (const int[]){wake_fd, -1}, wait_ms);
    return link_socket_has_input(link->socket);
}
