#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "zap.h"

/* libzmq's header has these for all; their numbers are in its documentation. */
enum {
    OUTCOMES = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
};
enum { TRIAL_MS = 5000, REFUSED = 400 };

struct trial {
    void *door;     /* as protected as the socket that will listen */
    void *stranger; /* with keys that nobody has seen */
    void *monitor;  /* of the door */
};

static bool open_door(struct trial *trial, void *context, const struct zap_keys *keys)
{
    static const char name[] = "inproc://everdue-trial";
    char endpoint[64] = "";
    size_t bytes = sizeof(endpoint);
    trial->door = zmq_socket(context, ZMQ_ROUTER);
    trial->monitor = zmq_socket(context, ZMQ_PAIR);
    trial->stranger = zmq_socket(context, ZMQ_DEALER);
    return trial->door && trial->monitor && trial->stranger && zap_protect(trial->door, keys) &&
           zmq_socket_monitor(trial->door, name, OUTCOMES) == 0 &&
           zmq_connect(trial->monitor, name) == 0 &&
           zmq_bind(trial->door, "tcp://127.0.0.1:*") == 0 &&
           zmq_getsockopt(trial->door, ZMQ_LAST_ENDPOINT, endpoint, &bytes) == 0 &&
           (!keys->is_curve || zmq_setsockopt(trial->stranger, ZMQ_CURVE_SERVERKEY,
                                              keys->own.public_key, CURVE_KEY_BYTES) == 0);
}

static bool knock(struct trial *trial, bool is_curve)
{
    char public_key[41], secret_key[41], endpoint[64] = "";
    size_t bytes = sizeof(endpoint);
    if (is_curve &&
        (zmq_curve_keypair(public_key, secret_key) ||
         zmq_setsockopt(trial->stranger, ZMQ_CURVE_PUBLICKEY, public_key, sizeof(public_key)) ||
         zmq_setsockopt(trial->stranger, ZMQ_CURVE_SECRETKEY, secret_key, sizeof(secret_key))))
        return false;
    return zmq_getsockopt(trial->door, ZMQ_LAST_ENDPOINT, endpoint, &bytes) == 0 &&
           zmq_connect(trial->stranger, endpoint) == 0;
}

/* NULL: he was refused. */
static const char *wait_for_outcome(struct trial *trial)
{
    uint8_t event[6];
    uint16_t kind;
    uint32_t value;
    zmq_pollitem_t item = {.socket = trial->monitor, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, TRIAL_MS) != 1 ||
        zmq_recv(trial->monitor, event, sizeof(event), ZMQ_DONTWAIT) != sizeof(event))
        return "a stranger who knocks hears nothing for 5 s";
    memcpy(&kind, event, sizeof(kind));
    memcpy(&value, event + sizeof(kind), sizeof(value));
    if (kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
        return "a stranger was let in";
    return kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == REFUSED
               ? NULL
               : "a stranger failed, but was not refused";
}

static void close_all(struct trial *trial)
{
    void *const sockets[] = {trial->stranger, trial->door, trial->monitor};
    int linger = 0;
    if (trial->door) /* libzmq's own thread would wait for the monitor that is gone */
        zmq_socket_monitor(trial->door, NULL, 0);
    for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
        if (!sockets[i])
            continue;
        zmq_setsockopt(sockets[i], ZMQ_LINGER, &linger, sizeof(linger));
        zmq_close(sockets[i]);
    }
}

bool zap_refuses_strangers(void *context, const struct zap_keys *keys, const char **why)
{
    struct trial trial = {NULL, NULL, NULL};
    if (open_door(&trial, context, keys) && knock(&trial, keys->is_curve))
        *why = wait_for_outcome(&trial);
    else
        *why = zmq_strerror(errno);
    close_all(&trial);
    return *why == NULL;
}
