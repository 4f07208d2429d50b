/* crowd.c - many workers in one process, for tests/torture/soak.
 *
 *   crowd ENDPOINT CONNECTIONS EVERY_MS WARM HEARTBEAT_MS < KEYS
 *
 * Each of CONNECTIONS is a session of its own, with credit for one record, which it reports at once
 * as due again in EVERY_MS. KEYS is an empty line, or three lines: the
 * broker's public key, ours, our secret one. The end of the standard input ends the process.
 *
 * A queue of libzmq has its memory after 512 messages each way (docs/operations.md): so each
 * session sends WARM pings after its WELCOME.
 *
 * Once a second a line of JSON: sessions that are live, those that had all their warming pings
 * answered, runs, and messages that are no answers, which no session should get. The first of these
 * are told on stderr, with what the session had done.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include "message.h"

enum {
    SESSIONS_MAX = 50000,
    GREETING_MAX = 64, /* without a session: a broker cuts some when there are many */
    WINDOW = 16,       /* warming pings of a session that are not answered yet */
    EVENTS = 256,
    LEASE_MS = 60000,
    TOLD_MAX = 20,
    KEY_LINE = 64,
};

struct session {
    void *socket;
    double heard_s, asked_s;
    uint32_t warm_unsent, warm_unanswered;
    uint32_t runs;
    bool is_live;
};

struct crowd {
    void *context;
    const char *endpoint;
    char keys[3][KEY_LINE]; /* the broker's, ours, our secret one; empty: none */
    int64_t every_us;
    uint32_t warm, heartbeat_ms;
    struct session *sessions;
    int room, opened, live, warmed;
    unsigned long long runs, errors;
    int epoll;
    bool is_over;
    struct wire_buffer out;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "crowd: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- to the broker ---------------------------------------------------------------------------- */

static void send_out(struct crowd *crowd, struct session *session)
{
    if (crowd->out.failed ||
        zmq_send(session->socket, crowd->out.data, crowd->out.count, ZMQ_DONTWAIT) < 0)
        fail("cannot send");
    wire_buffer_clear(&crowd->out);
}

static void send_number(struct crowd *crowd, struct session *session, enum message_type type,
                        uint64_t number)
{
    message_write_head(&crowd->out, type, 1);
    wire_write_uint(&crowd->out, number);
    send_out(crowd, session);
}

static void send_hello(struct crowd *crowd, struct session *session)
{
    struct hello hello = {.id = 1,
                          .name = bytes_of("crowd"),
                          .queues = {bytes_of("soak")},
                          .queue_count = 1,
                          .credit = 1,
                          .lease_ms = LEASE_MS,
                          .heartbeat_ms = crowd->heartbeat_ms};
    if (getrandom(hello.uid, sizeof(hello.uid), 0) != sizeof(hello.uid))
        fail("no random numbers");
    hello_write(&crowd->out, &hello);
    send_out(crowd, session);
}

static void warm_up(struct crowd *crowd, struct session *session)
{
    while (session->warm_unsent && session->warm_unanswered < WINDOW) {
        session->warm_unsent--;
        session->warm_unanswered++;
        send_number(crowd, session, MESSAGE_PING, 2);
    }
}

static void report(struct crowd *crowd, struct session *session, const struct task *task)
{
    struct report report = {.name = task->name,
                            .state = task->state,
                            .due_us = TIME_US_NEVER,
                            .in_us = crowd->every_us};
    message_write_head(&crowd->out, MESSAGE_REPORT, 2);
    wire_write_uint(&crowd->out, 3);
    wire_write_array(&crowd->out, 1);
    report_write(&crowd->out, &report);
    send_out(crowd, session);
    session->runs++;
    crowd->runs++;
}

/* --- from the broker -------------------------------------------------------------------------- */

static void tell_error(struct crowd *crowd, const struct session *session, int type,
                       struct wire_reader *reader)
{
    if (crowd->errors++ >= TOLD_MAX)
        return;
    fprintf(stderr,
            "crowd: session %d, %.1f s after its last word, %u runs: type %d, status %lld\n",
            (int)(session - crowd->sessions), now_s() - session->heard_s, session->runs, type,
            (long long)wire_read_int(reader));
}

static void take_pong(struct crowd *crowd, struct session *session, uint64_t id)
{
    if (id != 2)
        return;
    session->warm_unanswered--;
    warm_up(crowd, session);
    crowd->warmed += !session->warm_unanswered;
}

static void take_message(struct crowd *crowd, struct session *session, struct wire_reader *reader)
{
    struct message_head head;
    struct task task;
    if (message_read_head(reader, &head) != STATUS_OK)
        fail("a message that cannot be read");
    switch (head.type) {
    case MESSAGE_TASKS:
        for (uint32_t left = wire_read_array(reader, 1); left; left--) {
            task_read(reader, &task);
            report(crowd, session, &task);
        }
        break;
    case MESSAGE_PING:
        send_number(crowd, session, MESSAGE_PONG, wire_read_uint(reader));
        break;
    case MESSAGE_PONG:
        take_pong(crowd, session, wire_read_uint(reader));
        break;
    case MESSAGE_WELCOME:
        session->is_live = true;
        session->warm_unsent = crowd->warm;
        crowd->live++;
        crowd->warmed += !crowd->warm;
        warm_up(crowd, session);
        break;
    case MESSAGE_ANSWER:
        break;
    default:
        tell_error(crowd, session, head.type, reader);
    }
    if (reader->status != STATUS_OK)
        fail("a message that is malformed");
}

/* All that is there: the descriptor tells of changes only, and sending may eat one. */
static void read_all(struct crowd *crowd, struct session *session)
{
    for (;;) { /* until nothing is left */
        zmq_msg_t message;
        struct wire_reader reader;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, session->socket, ZMQ_DONTWAIT) < 0) {
            if (zmq_errno() != EAGAIN)
                fail("cannot receive");
            return;
        }
        wire_reader_init(&reader, zmq_msg_data(&message), zmq_msg_size(&message));
        take_message(crowd, session, &reader);
        session->heard_s = now_s();
        zmq_msg_close(&message);
    }
}

/* --- all of them ------------------------------------------------------------------------------ */

static void set_key(void *socket, int option, const char *key)
{
    if (zmq_setsockopt(socket, option, key, strlen(key) + 1))
        fail("a key that is none");
}

static void open_session(struct crowd *crowd)
{
    struct session *session = &crowd->sessions[crowd->opened];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)crowd->opened};
    int none = 0, fd;
    size_t size = sizeof(fd);
    session->heard_s = now_s();
    session->socket = zmq_socket(crowd->context, ZMQ_DEALER);
    if (!session->socket)
        fail("no socket");
    zmq_setsockopt(session->socket, ZMQ_LINGER, &none, sizeof(none));
    if (crowd->keys[0][0]) {
        set_key(session->socket, ZMQ_CURVE_SERVERKEY, crowd->keys[0]);
        set_key(session->socket, ZMQ_CURVE_PUBLICKEY, crowd->keys[1]);
        set_key(session->socket, ZMQ_CURVE_SECRETKEY, crowd->keys[2]);
    }
    if (zmq_connect(session->socket, crowd->endpoint) ||
        zmq_getsockopt(session->socket, ZMQ_FD, &fd, &size) ||
        epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fd, &event))
        fail("cannot connect");
    crowd->opened++;
    send_hello(crowd, session);
    read_all(crowd, session);
}

/* Who heard nothing for a heartbeat asks; whatever an edge was missed for is read then. */
static void keep_up(struct crowd *crowd)
{
    double now = now_s();
    for (int i = 0; i < crowd->opened; i++) {
        struct session *session = &crowd->sessions[i];
        double since = session->heard_s > session->asked_s ? session->heard_s : session->asked_s;
        if (now - since <= crowd->heartbeat_ms / 1000.0)
            continue;
        session->asked_s = now;
        send_number(crowd, session, MESSAGE_PING, 1);
        read_all(crowd, session);
    }
}

static void say(const struct crowd *crowd)
{
    printf("{\"live\": %d, \"warmed\": %d, \"runs\": %llu, \"errors\": %llu}\n", crowd->live,
           crowd->warmed, crowd->runs, crowd->errors);
    fflush(stdout);
}

static void run(struct crowd *crowd)
{
    double said_s = now_s();
    while (!crowd->is_over) { /* until the standard input ends */
        struct epoll_event events[EVENTS];
        while (crowd->opened < crowd->room && crowd->opened - crowd->live < GREETING_MAX)
            open_session(crowd);
        int count = epoll_wait(crowd->epoll, events, EVENTS, 100);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == SESSIONS_MAX)
                crowd->is_over = true;
            else
                read_all(crowd, &crowd->sessions[events[i].data.u32]);
        }
        if (now_s() - said_s >= 1) {
            said_s = now_s();
            keep_up(crowd);
            say(crowd);
        }
    }
}

static void read_keys(struct crowd *crowd)
{
    for (int i = 0; i < 3; i++) {
        if (!fgets(crowd->keys[i], KEY_LINE, stdin))
            fail("no keys on standard input");
        crowd->keys[i][strcspn(crowd->keys[i], "\n")] = '\0';
        if (!crowd->keys[0][0])
            return;
    }
}

int main(int argc, char **argv)
{
    struct crowd crowd = {.epoll = epoll_create1(EPOLL_CLOEXEC), .context = zmq_ctx_new()};
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = SESSIONS_MAX};
    if (argc != 6 || crowd.epoll < 0 || !crowd.context) {
        fputs("usage: crowd ENDPOINT CONNECTIONS EVERY_MS WARM HEARTBEAT_MS < KEYS\n", stderr);
        return 64;
    }
    crowd.endpoint = argv[1];
    crowd.room = atoi(argv[2]);
    crowd.every_us = atoll(argv[3]) * 1000;
    crowd.warm = (uint32_t)atoi(argv[4]);
    crowd.heartbeat_ms = (uint32_t)atoi(argv[5]);
    if (crowd.room < 1 || crowd.room >= SESSIONS_MAX)
        return 64;
    crowd.sessions = calloc((size_t)crowd.room, sizeof(*crowd.sessions));
    zmq_ctx_set(crowd.context, ZMQ_MAX_SOCKETS, crowd.room + 16);
    wire_buffer_init(&crowd.out);
    read_keys(&crowd);
    if (!crowd.sessions || epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event))
        fail("cannot begin");
    run(&crowd);
    say(&crowd);
    return 0; /* the system closes what is open */
}
