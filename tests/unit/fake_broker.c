#include "fake_broker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

enum { PEERS_MAX = 64, IDENTITY_BYTES = 5, WAIT_MS = 2 };

struct peer {
    uint8_t identity[IDENTITY_BYTES];
};

struct fake_broker {
    fake_broker_script *script;
    void (*_Atomic welcomed)(struct fake_broker *broker, void *user);
    void *user;
    char folder[64];
    char endpoint[96];
    void *context;
    void *router;
    pthread_t thread;
    atomic_bool stop;
    atomic_bool forget;
    atomic_bool restart;
    atomic_int store;
    atomic_int refusal;
    atomic_uint hellos;
    struct peer peers[PEERS_MAX]; /* that have said hello */
    uint32_t peer_count;
    struct peer current;
    struct hello hello;
};

/* --- sessions --------------------------------------------------------------------------------- */

static bool is_known(const struct fake_broker *broker)
{
    for (uint32_t i = 0; i < broker->peer_count; i++)
        if (memcmp(&broker->peers[i], &broker->current, sizeof(struct peer)) == 0)
            return true;
    return false;
}

static void welcome(struct fake_broker *broker, const struct message_head *head,
                    struct wire_reader *reader)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    hello_read(reader, head->fields, &broker->hello);
    atomic_fetch_add(&broker->hellos, 1);
    enum status refusal = (enum status)atomic_load(&broker->refusal);
    if (refusal) {
        fake_broker_answer(broker, broker->hello.id, refusal, "this one is refused");
        return;
    }
    struct welcome message = {
        .id = broker->hello.id,
        .credit_max = CREDIT_MAX,
        .lease_ms = broker->hello.lease_ms ? broker->hello.lease_ms : LEASE_MS_DEFAULT,
        .heartbeat_ms =
            broker->hello.heartbeat_ms ? broker->hello.heartbeat_ms : HEARTBEAT_MS_DEFAULT,
        .payload_bytes_max = PAYLOAD_BYTES_DEFAULT,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .version = bytes_of("0.1.0-fake"),
    };
    memset(message.store_id, atomic_load(&broker->store), STORE_ID_BYTES);
    if (!is_known(broker))
        broker->peers[broker->peer_count++ % PEERS_MAX] = broker->current;
    welcome_write(&frame, &message);
    fake_broker_send(broker, &frame);
    void (*welcomed)(struct fake_broker *, void *) = broker->welcomed;
    if (welcomed)
        welcomed(broker, broker->user);
}

/* Returns whether the message has been dealt with. */
static bool answer_by_itself(struct fake_broker *broker, const struct message_head *head,
                             struct wire_reader *reader)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    if (head->type == MESSAGE_HELLO) {
        welcome(broker, head, reader);
        return true;
    }
    if (!is_known(broker)) {
        error_write(&frame, STATUS_NO_SESSION, bytes_of("say hello first"));
        fake_broker_send(broker, &frame);
        return true;
    }
    if (head->type == MESSAGE_PING) {
        message_write_head(&frame, MESSAGE_PONG, 1);
        wire_write_uint(&frame, wire_read_uint(reader));
        fake_broker_send(broker, &frame);
        return true;
    }
    if (head->type == MESSAGE_GOODBYE)
        fake_broker_answer(broker, wire_read_uint(reader), STATUS_OK, NULL);
    return head->type == MESSAGE_GOODBYE || head->type == MESSAGE_PONG;
}

/* --- the thread ------------------------------------------------------------------------------- */

static void receive(struct fake_broker *broker)
{
    zmq_msg_t frame;
    int count = zmq_recv(broker->router, &broker->current, sizeof(struct peer), ZMQ_DONTWAIT);
    if (count != sizeof(struct peer))
        return;
    zmq_msg_init(&frame);
    zmq_msg_recv(&frame, broker->router, 0);
    if (atomic_exchange(&broker->forget, false))
        broker->peer_count = 0;
    struct wire_reader reader;
    struct message_head head;
    wire_reader_init(&reader, zmq_msg_data(&frame), zmq_msg_size(&frame));
    if (message_read_head(&reader, &head) == STATUS_OK && !answer_by_itself(broker, &head, &reader))
        broker->script(broker, &head, &reader, broker->user);
    zmq_msg_close(&frame);
}

static void open_socket(struct fake_broker *broker)
{
    broker->context = zmq_ctx_new();
    broker->router = zmq_socket(broker->context, ZMQ_ROUTER);
    assert_non_null(broker->router);
    assert_int_equal(zmq_setsockopt(broker->router, ZMQ_LINGER, &(int){0}, sizeof(int)), 0);
    assert_int_equal(zmq_bind(broker->router, broker->endpoint), 0);
}

static void close_socket(struct fake_broker *broker)
{
    zmq_close(broker->router);
    zmq_ctx_term(broker->context);
}

static void *run(void *argument)
{
    struct fake_broker *broker = argument;
    while (!atomic_load(&broker->stop)) {
        zmq_pollitem_t item = {.socket = broker->router, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, WAIT_MS) > 0)
            receive(broker);
        if (!atomic_exchange(&broker->restart, false))
            continue;
        close_socket(broker);
        broker->peer_count = 0;
        open_socket(broker);
    }
    return NULL;
}

struct fake_broker *fake_broker_start(fake_broker_script *script, void *user)
{
    struct fake_broker *broker = calloc(1, sizeof(*broker));
    assert_non_null(broker);
    broker->script = script;
    broker->user = user;
    atomic_init(&broker->store, 'A');
    snprintf(broker->folder, sizeof(broker->folder), "/tmp/everdue-fake-XXXXXX");
    assert_non_null(mkdtemp(broker->folder));
    snprintf(broker->endpoint, sizeof(broker->endpoint), "ipc://%s/broker", broker->folder);
    open_socket(broker);
    assert_int_equal(pthread_create(&broker->thread, NULL, run, broker), 0);
    return broker;
}

void fake_broker_on_welcome(struct fake_broker *broker,
                            void (*welcomed)(struct fake_broker *broker, void *user))
{
    broker->welcomed = welcomed;
}

void fake_broker_stop(struct fake_broker **broker)
{
    struct fake_broker *old = *broker;
    *broker = NULL;
    atomic_store(&old->stop, true);
    pthread_join(old->thread, NULL);
    close_socket(old);
    unlink(old->endpoint + strlen("ipc://"));
    rmdir(old->folder);
    free(old);
}

const char *fake_broker_endpoint(const struct fake_broker *broker)
{
    return broker->endpoint;
}

/* --- what scripts do -------------------------------------------------------------------------- */

void fake_broker_send(struct fake_broker *broker, struct wire_buffer *frame)
{
    zmq_send(broker->router, &broker->current, sizeof(struct peer), ZMQ_SNDMORE);
    zmq_send(broker->router, frame->data, frame->count, 0);
    wire_buffer_release(frame);
}

void fake_broker_answer(struct fake_broker *broker, uint64_t id, enum status status,
                        const char *text)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write(&frame, id, status, bytes_of(text));
    fake_broker_send(broker, &frame);
}

void fake_broker_answer_items(struct fake_broker *broker, uint64_t id, uint32_t count,
                              enum status status)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, id, STATUS_OK);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++)
        wire_write_int(&frame, (int)status);
    answer_write_end(&frame, (struct bytes){NULL, 0});
    fake_broker_send(broker, &frame);
}

void fake_broker_forget(struct fake_broker *broker)
{
    broker->peer_count = 0;
}

const struct hello *fake_broker_hello(const struct fake_broker *broker)
{
    return &broker->hello;
}

void fake_broker_forget_all(struct fake_broker *broker)
{
    atomic_store(&broker->forget, true);
}

void fake_broker_restart(struct fake_broker *broker)
{
    atomic_store(&broker->restart, true);
}

void fake_broker_set_store(struct fake_broker *broker, char store)
{
    atomic_store(&broker->store, store);
}

void fake_broker_refuse_hello(struct fake_broker *broker, enum status status)
{
    atomic_store(&broker->refusal, (int)status);
}

uint32_t fake_broker_hellos(const struct fake_broker *broker)
{
    return atomic_load(&broker->hellos);
}
