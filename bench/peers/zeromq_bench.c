/* zeromq_bench - the ceiling: a ROUTER and DEALERs that pass the bytes of a cycle and do nothing.
 *
 *   zeromq_bench WORKERS SECONDS BATCH MESSAGES
 *
 * Each of WORKERS processes has MESSAGES messages of BATCH records before it; a record is 120 bytes
 * down and 40 up, as in Everdue's messages for a key of 16 bytes and a payload of 64. Over loopback
 * TCP. Prints one line of JSON.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include "crew.h"

enum { DOWN_BYTES = 120, UP_BYTES = 40, IDENTITY_BYTES = 5 };

static const char usage[] = "zeromq_bench WORKERS SECONDS BATCH MESSAGES";

static void *open_socket(void *context, int type)
{
    void *socket = zmq_socket(context, type);
    int none = 0;
    if (!socket)
        crew_fail("no socket");
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof(none));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof(none));
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none));
    return socket;
}

/* Reads every record and answers each; an empty message ends it. */
static _Noreturn void echo(const char *endpoint, size_t batch)
{
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER);
    uint8_t *up = malloc(batch * UP_BYTES);
    if (!up || zmq_connect(dealer, endpoint) || zmq_send(dealer, "R", 1, 0) < 0)
        crew_fail("a worker cannot connect");
    for (;;) { /* until the empty message */
        zmq_msg_t message;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, dealer, 0) < 0)
            crew_fail("a worker cannot receive");
        size_t count = zmq_msg_size(&message) / DOWN_BYTES;
        const uint8_t *down = zmq_msg_data(&message);
        for (size_t i = 0; i < count; i++)
            memcpy(up + i * UP_BYTES, down + i * DOWN_BYTES, UP_BYTES);
        zmq_msg_close(&message);
        if (count == 0)
            _exit(0);
        if (zmq_send(dealer, up, count * UP_BYTES, 0) < 0)
            crew_fail("a worker cannot send");
    }
}

struct router {
    void *socket;
    uint8_t identities[CREW_MAX][IDENTITY_BYTES];
    uint8_t *down;
    size_t down_bytes;
};

static void send_batch(struct router *router, const uint8_t *identity, size_t bytes)
{
    if (zmq_send(router->socket, identity, IDENTITY_BYTES, ZMQ_SNDMORE) < 0 ||
        zmq_send(router->socket, router->down, bytes, 0) < 0)
        crew_fail("the router cannot send");
}

/* Returns the bytes of a message; its sender in `identity`. */
static size_t receive(struct router *router, uint8_t *identity)
{
    zmq_msg_t message;
    if (zmq_recv(router->socket, identity, IDENTITY_BYTES, 0) != IDENTITY_BYTES)
        crew_fail("not an identity");
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, router->socket, 0) < 0)
        crew_fail("the router cannot receive");
    size_t bytes = zmq_msg_size(&message);
    zmq_msg_close(&message);
    return bytes;
}

static void measure(struct router *router, int workers, double seconds, long messages)
{
    uint8_t identity[IDENTITY_BYTES];
    uint64_t cycles = 0, sent = 0, received = 0;
    double begin_s = crew_now_s(), now_s = begin_s;
    for (; sent < (uint64_t)(messages * workers); sent++)
        send_batch(router, router->identities[sent % (uint64_t)workers], router->down_bytes);
    for (; received < sent; received++) { /* ends: nothing more is sent once the time is over */
        size_t bytes = receive(router, identity);
        if (bytes * DOWN_BYTES != router->down_bytes * UP_BYTES)
            crew_fail("an answer of %zu bytes", bytes);
        if (received % 16 == 0)
            now_s = crew_now_s();
        if (now_s >= begin_s + seconds)
            continue;
        cycles += bytes / UP_BYTES;
        sent++;
        send_batch(router, identity, router->down_bytes);
    }
    printf("{\"cycles\": %llu, \"seconds\": %.6f}\n", (unsigned long long)cycles, seconds);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        crew_fail("usage: %s", usage);
    int workers = (int)crew_number(argv[1], CREW_MAX, usage);
    size_t batch = (size_t)crew_number(argv[3], CREW_BATCH_MAX, usage);
    long messages = crew_number(argv[4], CREW_BATCH_MAX, usage);
    char endpoint[64];
    size_t endpoint_bytes = sizeof(endpoint);
    int to_child[2];
    if (pipe(to_child))
        crew_fail("no pipe");
    for (int i = 0; i < workers; i++) { /* before there is a context, whose threads do not fork */
        if (fork() == 0) {
            if (read(to_child[0], endpoint, sizeof(endpoint)) != sizeof(endpoint))
                _exit(1);
            echo(endpoint, batch);
        }
    }
    struct router router = {.down_bytes = batch * DOWN_BYTES, .down = calloc(batch, DOWN_BYTES)};
    router.socket = open_socket(zmq_ctx_new(), ZMQ_ROUTER);
    memset(endpoint, 0, sizeof(endpoint));
    if (!router.down || zmq_bind(router.socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(router.socket, ZMQ_LAST_ENDPOINT, endpoint, &endpoint_bytes))
        crew_fail("the router cannot bind");
    for (int i = 0; i < workers; i++)
        if (write(to_child[1], endpoint, sizeof(endpoint)) != sizeof(endpoint))
            crew_fail("a worker cannot be told");
    for (int i = 0; i < workers; i++)
        receive(&router, router.identities[i]);
    measure(&router, workers, strtod(argv[2], NULL), messages);
    for (int i = 0; i < workers; i++)
        send_batch(&router, router.identities[i], 0);
    while (wait(NULL) > 0) /* until the last worker has ended */
        continue;
    return 0;
}
