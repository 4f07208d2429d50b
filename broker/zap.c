#include "zap.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "clock.h"
#include "log.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"

/* ZMQ_ZAP_ENFORCE_DOMAIN: without it a socket whose handler is gone lets everybody in. libzmq has
 * it, its header names it for drafts only. */
enum { ENFORCE_DOMAIN = 93 };

enum { FRAMES_MAX = 8, FRAME_BYTES = 256, ADDRESS_BYTES = 128 };

struct zap {
    void *socket;
    pthread_t thread;
    int stop_fd; /* we to the thread */
    int dead_fd; /* the thread to us */
    pthread_mutex_t lock;
    const struct allow *allow; /* NULL: nobody */
    atomic_uint_fast64_t let_in, refused;
    struct log_limit limit; /* the thread's */
};

/* --- a question ------------------------------------------------------------------------------- */

struct frame {
    uint8_t bytes[FRAME_BYTES + 1]; /* terminated, for those that are texts */
    size_t count;                   /* as it came; more than FRAME_BYTES: cut */
};

/* In the order of the RFC. */
enum { VERSION, REQUEST, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS };

struct question {
    struct frame frames[FRAMES_MAX];
    int count;
};

/* False: nothing came. */
static bool receive(void *socket, struct question *question)
{
    int more = 1;
    size_t size = sizeof(more);
    question->count = 0;
    while (more) { /* ends with the message */
        struct frame spare,
            *frame = question->count < FRAMES_MAX ? &question->frames[question->count] : &spare;
        int count = zmq_recv(socket, frame->bytes, FRAME_BYTES, ZMQ_DONTWAIT);
        if (count < 0)
            return false;
        frame->count = (size_t)count;
        frame->bytes[frame->count < FRAME_BYTES ? frame->count : FRAME_BYTES] = '\0';
        question->count++;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size))
            return false;
    }
    return true;
}

static const char *text_of(const struct question *question, int frame)
{
    return question->count > frame ? (const char *)question->frames[frame].bytes : "";
}

/* "localhost:UID:GID:PID" is what libzmq writes of a peer on ipc, by the kernel's word. */
static bool user_of_address(const char *address, char user[ALLOW_USER_BYTES])
{
    unsigned uid, gid, pid;
    char rest;
    if (sscanf(address, "localhost:%u:%u:%u%c", &uid, &gid, &pid, &rest) != 3)
        return false;
    snprintf(user, ALLOW_USER_BYTES, "uid:%u", uid);
    return true;
}

/* Who it is; false: nobody whom a list could name. */
static bool read_user(const struct question *question, char user[ALLOW_USER_BYTES])
{
    char text[41];
    user[0] = '\0';
    if (strcmp(text_of(question, VERSION), "1.0") != 0 || question->count <= MECHANISM ||
        question->count > FRAMES_MAX)
        return false;
    if (strcmp(text_of(question, MECHANISM), "NULL") == 0)
        return user_of_address(text_of(question, ADDRESS), user);
    if (strcmp(text_of(question, MECHANISM), "CURVE") != 0 || question->count <= CREDENTIALS ||
        question->frames[CREDENTIALS].count != CURVE_KEY_BYTES ||
        !zmq_z85_encode(text, question->frames[CREDENTIALS].bytes, CURVE_KEY_BYTES))
        return false;
    snprintf(user, ALLOW_USER_BYTES, "key:%s", text);
    return true;
}

/* --- an answer -------------------------------------------------------------------------------- */

static void say_refused(struct zap *zap, const struct question *question, const char *user)
{
    uint64_t held_back;
    if (log_limit_allows(&zap->limit, clock_now().mono_us, &held_back))
        log_line(LOG_WARNING, "a peer was refused: it is not on the list", "user",
                 user[0] ? user : "nobody", "address", text_of(question, ADDRESS), "more",
                 log_u64(held_back), NULL);
}

static bool answer(struct zap *zap, const struct question *question)
{
    char user[ALLOW_USER_BYTES];
    bool is_named = read_user(question, user);
    pthread_mutex_lock(&zap->lock);
    bool has_list = zap->allow != NULL;
    bool is_allowed = has_list && is_named && allow_find(zap->allow, user);
    pthread_mutex_unlock(&zap->lock);
    atomic_fetch_add(is_allowed ? &zap->let_in : &zap->refused, has_list);
    if (!is_allowed && has_list)
        say_refused(zap, question, user);
    const char *const frames[] = {"1.0", text_of(question, REQUEST), is_allowed ? "200" : "400",
                                  is_allowed ? "OK" : "not on the list", is_allowed ? user : ""};
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
        if (zmq_send(zap->socket, frames[i], strlen(frames[i]), ZMQ_SNDMORE) < 0)
            return false;
    return zmq_send(zap->socket, "", 0, 0) == 0; /* no metadata */
}

static void *run(void *user)
{
    struct zap *zap = user;
    struct question question;
    zmq_pollitem_t items[] = {{.socket = zap->socket, .events = ZMQ_POLLIN},
                              {.fd = zap->stop_fd, .events = ZMQ_POLLIN}};
    pthread_setname_np(pthread_self(), "zap");
    for (;;) { /* until it is stopped, or something is wrong */
        int count = zmq_poll(items, 2, -1);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 || items[1].revents)
            break;
        if (receive(zap->socket, &question) && !answer(zap, &question))
            break;
    }
    zmq_close(zap->socket);
    eventfd_write(zap->dead_fd, 1);
    return NULL;
}

/* --- the thread ------------------------------------------------------------------------------- */

static bool open_zap(struct zap *zap, void *context)
{
    int linger = 0;
    zap->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    zap->dead_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    zap->socket = zmq_socket(context, ZMQ_REP);
    return zap->stop_fd >= 0 && zap->dead_fd >= 0 && zap->socket &&
           zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
           zmq_bind(zap->socket, ZAP_ENDPOINT) == 0 &&
           pthread_create(&zap->thread, NULL, run, zap) == 0;
}

static void free_zap(struct zap *zap)
{
    if (zap->stop_fd >= 0)
        close(zap->stop_fd);
    if (zap->dead_fd >= 0)
        close(zap->dead_fd);
    pthread_mutex_destroy(&zap->lock);
    free(zap);
}

struct zap *zap_new(void *context)
{
    struct zap *zap = calloc(1, sizeof(*zap));
    if (!zap)
        return NULL;
    zap->stop_fd = zap->dead_fd = -1;
    pthread_mutex_init(&zap->lock, NULL);
    if (open_zap(zap, context))
        return zap;
    log_line(LOG_ERR, "the handler that decides who may come in cannot be started", "why",
             zmq_strerror(errno), NULL);
    if (zap->socket)
        zmq_close(zap->socket);
    free_zap(zap);
    return NULL;
}

void zap_set_allow(struct zap *zap, const struct allow *allow)
{
    pthread_mutex_lock(&zap->lock);
    zap->allow = allow;
    pthread_mutex_unlock(&zap->lock);
}

int zap_fd(const struct zap *zap)
{
    return zap->dead_fd;
}

struct zap_counts zap_get_counts(const struct zap *zap)
{
    return (struct zap_counts){atomic_load(&zap->let_in), atomic_load(&zap->refused)};
}

void zap_destroy(struct zap **zap)
{
    struct zap *old = *zap;
    if (!old)
        return;
    eventfd_write(old->stop_fd, 1);
    pthread_join(old->thread, NULL);
    free_zap(old);
    *zap = NULL;
}

/* --- a socket's side -------------------------------------------------------------------------- */

static bool set_number(void *socket, int option, int value)
{
    int found = -1;
    size_t bytes = sizeof(found);
    if (zmq_setsockopt(socket, option, &value, sizeof(value)) ||
        zmq_getsockopt(socket, option, &found, &bytes))
        return false;
    errno = EPROTO;
    return found == value;
}

bool zap_protect(void *socket, const struct zap_keys *keys)
{
    static const char domain[] = "everdue";
    char found[sizeof(domain)] = "";
    size_t bytes = sizeof(found);
    if (keys->is_curve &&
        (!set_number(socket, ZMQ_CURVE_SERVER, 1) ||
         zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->own.secret_key, CURVE_KEY_BYTES)))
        return false;
    if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) ||
        zmq_getsockopt(socket, ZMQ_ZAP_DOMAIN, found, &bytes) ||
        !set_number(socket, ENFORCE_DOMAIN, 1))
        return false;
    errno = EPROTO;
    return strcmp(found, domain) == 0;
}
