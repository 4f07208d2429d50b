#include "exchange.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"

enum {
    HEARTBEAT_MS =
        HEARTBEAT_MS_MAX,       /* a client asks now and then; nobody waits for it to be heard */
    PROBE_US = 500 * US_PER_MS, /* of silence before a PING asks whether the session lives */
    SILENCE_MAX_US = 10 * US_PER_S, /* then the connection is given up */
    GREETING_US = 2 * US_PER_S,     /* then hello is said again over another connection */
    BACKOFF_US = 100 * US_PER_MS,
    WAIT_MS_MAX = 500,
    FULL_WAIT_MS = 5,
};

struct exchange {
    struct exchange_options options;
    struct link *link;
    uint8_t uid[SESSION_UID_BYTES];
    struct flight flights[EXCHANGE_FLIGHTS_MAX];
    struct wire_buffer frame; /* hello, ping, pong */
    uint64_t last_id;
    uint64_t hello_id;
    bool is_hello_sent;
    bool is_greeted;
    bool is_fragile;
    bool is_refused; /* libzmq does not try again with this socket */
    bool heard_of;   /* something came since the deadline was set */
    int64_t deadline_us;
    int64_t opened_us;
    int64_t heard_us;
    int64_t probed_us;
    int64_t hello_from_us; /* hello is said then, after a back-off */
    enum status failure;
    char text[EXCHANGE_TEXT_BYTES];
    char version[64];
};

static int64_t now_us(void)
{
    return clock_now().mono_us;
}

enum status exchange_new(struct exchange **exchange, const struct exchange_options *options)
{
    struct exchange *made = calloc(1, sizeof(*made));
    if (!made)
        return STATUS_NO_MEMORY;
    made->options = *options;
    link_setup();
    enum status status = STATUS_IO;
    if (getrandom(made->uid, sizeof(made->uid), 0) == (ssize_t)sizeof(made->uid))
        status = link_new(&made->link, &options->link);
    if (status) {
        free(made);
        return status;
    }
    *exchange = made;
    return STATUS_OK;
}

bool exchange_has_posted(const struct exchange *exchange)
{
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++)
        if (exchange->flights[i].is_posted)
            return true;
    return false;
}

void exchange_set_deadline(struct exchange *exchange, uint64_t wait_ms)
{
    int64_t now = now_us();
    if (!exchange_has_posted(exchange)) {
        /* What came meanwhile has not been looked at, so silence begins now. */
        exchange->heard_us = now;
        exchange->probed_us = now;
    }
    exchange->deadline_us = now + (int64_t)wait_ms * US_PER_MS;
    exchange->heard_of = false;
    exchange->failure = STATUS_OK;
    exchange->text[0] = '\0';
}

void exchange_set_fragile(struct exchange *exchange, bool fragile)
{
    exchange->is_fragile = fragile;
}

const char *exchange_text(const struct exchange *exchange)
{
    return exchange->text;
}

const char *exchange_broker_version(const struct exchange *exchange)
{
    return exchange->version;
}

/* --- flights ---------------------------------------------------------------------------------- */

struct flight *exchange_begin(struct exchange *exchange)
{
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++) {
        struct flight *flight = &exchange->flights[i];
        if (flight->is_used)
            continue;
        struct wire_buffer frame = flight->frame;
        wire_buffer_clear(&frame);
        *flight = (struct flight){.frame = frame, .id = ++exchange->last_id, .is_used = true};
        return flight;
    }
    return NULL;
}

void exchange_end(struct exchange *exchange, struct flight *flight)
{
    assert(flight >= exchange->flights && flight < exchange->flights + EXCHANGE_FLIGHTS_MAX);
    flight->is_used = false;
    flight->is_posted = false;
}

void exchange_end_all(struct exchange *exchange)
{
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++)
        exchange_end(exchange, &exchange->flights[i]);
}

static struct flight *find_flight(struct exchange *exchange, uint64_t id)
{
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++) {
        struct flight *flight = &exchange->flights[i];
        if (flight->is_posted && flight->id == id)
            return flight;
    }
    return NULL;
}

/* The oldest that waits to be sent. */
static struct flight *next_unsent(struct exchange *exchange)
{
    struct flight *oldest = NULL;
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++) {
        struct flight *flight = &exchange->flights[i];
        if (flight->is_posted && !flight->is_sent && (!oldest || flight->id < oldest->id))
            oldest = flight;
    }
    return oldest;
}

/* --- sending ---------------------------------------------------------------------------------- */

static enum status send_frame(struct exchange *exchange)
{
    if (exchange->frame.failed)
        return STATUS_NO_MEMORY;
    return link_send(exchange->link, exchange->frame.data, exchange->frame.count);
}

static enum status send_number(struct exchange *exchange, enum message_type type, uint64_t number)
{
    wire_buffer_clear(&exchange->frame);
    message_write_head(&exchange->frame, type, 1);
    wire_write_uint(&exchange->frame, number);
    return send_frame(exchange);
}

void exchange_destroy(struct exchange **exchange)
{
    struct exchange *old = *exchange;
    if (!old)
        return;
    *exchange = NULL;
    /* Nobody waits for the answer; but a session that has ended in order is not waited for after a
     * restart of the broker. */
    if (old->is_greeted)
        send_number(old, MESSAGE_GOODBYE, ++old->last_id);
    link_destroy(&old->link);
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++)
        wire_buffer_release(&old->flights[i].frame);
    wire_buffer_release(&old->frame);
    free(old);
}

static void send_hello(struct exchange *exchange, int64_t now)
{
    struct hello hello = {
        .id = ++exchange->last_id,
        .name = bytes_of(exchange->options.name),
        .queue_count = exchange->options.queue_count,
        .heartbeat_ms = HEARTBEAT_MS,
    };
    memcpy(hello.uid, exchange->uid, sizeof(hello.uid));
    for (uint32_t i = 0; i < hello.queue_count; i++)
        hello.queues[i] = bytes_of(exchange->options.queues[i]);
    wire_buffer_clear(&exchange->frame);
    hello_write(&exchange->frame, &hello);
    if (send_frame(exchange) != STATUS_OK)
        return;
    exchange->hello_id = hello.id;
    exchange->is_hello_sent = true;
    exchange->opened_us = now;
}

/* Returns whether the socket took all that there is. */
static bool send_all(struct exchange *exchange, int64_t now)
{
    if (!exchange->is_hello_sent && now >= exchange->hello_from_us)
        send_hello(exchange, now);
    if (!exchange->is_greeted)
        return true;
    struct flight *flight;
    while ((flight = next_unsent(exchange))) {
        if (link_send(exchange->link, flight->frame.data, flight->frame.count) == STATUS_BUSY)
            return false;
        flight->is_sent = true;
    }
    return true;
}

static void fail(struct exchange *exchange, enum status status, const char *text)
{
    if (exchange->failure)
        return;
    exchange->failure = status;
    snprintf(exchange->text, sizeof(exchange->text), "%s", text);
}

/* Another socket, hello, and all that is not answered once more. */
static void reconnect(struct exchange *exchange, int64_t now)
{
    exchange->is_greeted = false;
    exchange->is_hello_sent = false;
    exchange->is_refused = false;
    exchange->hello_from_us = now + BACKOFF_US;
    for (size_t i = 0; i < EXCHANGE_FLIGHTS_MAX; i++)
        exchange->flights[i].is_sent = false;
    if (exchange->is_fragile)
        fail(exchange, STATUS_NO_SESSION, "the connection to the broker broke");
    if (link_reopen(exchange->link) != STATUS_OK)
        fail(exchange, STATUS_IO, "cannot open a socket");
}

void exchange_renew(struct exchange *exchange)
{
    exchange_end_all(exchange);
    reconnect(exchange, now_us());
}

/* --- receiving -------------------------------------------------------------------------------- */

static void fail_with(struct exchange *exchange, enum status status, struct bytes text)
{
    char copy[EXCHANGE_TEXT_BYTES] = "";
    text = bytes_cut_utf8(text, sizeof(copy) - 1);
    if (text.count > 0)
        memcpy(copy, text.data, text.count);
    fail(exchange, status, text.count > 0 ? copy : status_text(status));
}

static void receive_welcome(struct exchange *exchange, struct wire_reader *reader, uint32_t fields)
{
    struct welcome welcome;
    welcome_read(reader, fields, &welcome);
    if (reader->status || !exchange->is_hello_sent || welcome.id != exchange->hello_id)
        return;
    struct bytes version = bytes_cut_utf8(welcome.version, sizeof(exchange->version) - 1);
    memset(exchange->version, 0, sizeof(exchange->version));
    if (version.count > 0)
        memcpy(exchange->version, version.data, version.count);
    exchange->is_greeted = true;
}

/* Whether the answer is one that the caller waits for. */
static bool receive_answer(struct exchange *exchange, struct wire_reader *reader, uint32_t fields,
                           struct answer *answer)
{
    uint64_t id = wire_read_uint(reader);
    int64_t status = wire_read_int_saturated(reader);
    if (reader->status || fields < 2 || status < INT32_MIN || status > INT32_MAX)
        return false;
    *answer = (struct answer){.flight = find_flight(exchange, id), .status = (enum status)status};
    answer->has_body = fields > 2 && !wire_take_nil(reader);
    answer->body = *reader;
    if (status < 0 && fields > 3) {
        if (answer->has_body)
            wire_skip(reader);
        answer->text = wire_read_bytes(reader, MESSAGE_BYTES_MAX);
    }
    if (answer->flight)
        return true;
    if (id == exchange->hello_id && !exchange->is_greeted && status < 0) {
        exchange->is_hello_sent = false; /* it may be said again by the next call */
        fail_with(exchange, (enum status)status, answer->text);
    }
    return false;
}

static void receive_error(struct exchange *exchange, struct wire_reader *reader, uint32_t fields,
                          int64_t now)
{
    int64_t status = wire_read_int_saturated(reader);
    struct bytes text = {NULL, 0};
    if (fields > 1 && !wire_take_nil(reader))
        text = wire_read_bytes(reader, MESSAGE_BYTES_MAX);
    if (reader->status || fields < 1 || status >= 0 || status < INT32_MIN)
        return;
    if (status == STATUS_NO_SESSION)
        reconnect(exchange, now);
    else
        fail_with(exchange, (enum status)status, text);
}

/* A PONG answers the PING that is a flight; other ones are signs of life only. */
static bool receive_pong(struct exchange *exchange, struct wire_reader *reader,
                         struct answer *answer)
{
    uint64_t id = wire_read_uint(reader);
    if (reader->status)
        return false;
    *answer = (struct answer){.flight = find_flight(exchange, id), .status = STATUS_OK};
    return answer->flight != NULL;
}

static bool receive_frame(struct exchange *exchange, const uint8_t *data, size_t count,
                          struct answer *answer)
{
    struct wire_reader reader;
    struct message_head head;
    wire_reader_init(&reader, data, count);
    int64_t now = now_us();
    exchange->heard_us = now;
    exchange->heard_of = true;
    enum status status = message_read_head(&reader, &head);
    if (status == STATUS_VERSION)
        fail(exchange, status, status_text(status));
    if (status)
        return false;
    switch (head.type) {
    case MESSAGE_WELCOME:
        receive_welcome(exchange, &reader, head.fields);
        return false;
    case MESSAGE_ANSWER:
        return receive_answer(exchange, &reader, head.fields, answer);
    case MESSAGE_PONG:
        return receive_pong(exchange, &reader, answer);
    case MESSAGE_PING:
        send_number(exchange, MESSAGE_PONG, wire_read_uint(&reader));
        return false;
    case MESSAGE_ERROR:
        receive_error(exchange, &reader, head.fields, now);
        return false;
    case MESSAGE_BYE:
        reconnect(exchange, now);
        return false;
    default: /* not an enum: what is not for clients is passed over */
        return false;
    }
}

/* The next frame that is an answer. */
static bool receive(struct exchange *exchange, struct answer *answer)
{
    const uint8_t *data;
    size_t count;
    while (!exchange->failure && link_receive(exchange->link, &data, &count) == STATUS_OK)
        if (receive_frame(exchange, data, count, answer))
            return true;
    return false;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Asks whether the session lives; gives the connection up when nothing comes. */
static void look_after(struct exchange *exchange, int64_t now)
{
    if (!exchange->is_greeted) {
        if (exchange->is_hello_sent && now - exchange->opened_us >= GREETING_US)
            reconnect(exchange, now);
        return;
    }
    if (now - exchange->heard_us >= SILENCE_MAX_US) {
        reconnect(exchange, now);
        return;
    }
    if (now - exchange->heard_us >= PROBE_US && now - exchange->probed_us >= PROBE_US) {
        send_number(exchange, MESSAGE_PING, ++exchange->last_id);
        exchange->probed_us = now;
    }
}

static void pause_for(struct exchange *exchange, bool is_full, int64_t now)
{
    int64_t until_us = exchange->deadline_us;
    if (!exchange->is_hello_sent && exchange->hello_from_us < until_us)
        until_us = exchange->hello_from_us;
    int64_t ms = until_us <= now ? 1 : (until_us - now - 1) / US_PER_MS + 1;
    if (ms > WAIT_MS_MAX)
        ms = WAIT_MS_MAX;
    if (is_full && ms > FULL_WAIT_MS)
        ms = FULL_WAIT_MS;
    link_wait(exchange->link, -1, (int)ms);
}

static enum status give_up(struct exchange *exchange)
{
    if (!exchange->failure && exchange->is_greeted && exchange->heard_of)
        fail(exchange, STATUS_TIMED_OUT, "the broker did not answer in time");
    if (!exchange->failure)
        fail(exchange, STATUS_UNREACHABLE, "the broker does not answer");
    exchange_end_all(exchange);
    return exchange->failure;
}

/* Who was refused knocks again when it is asked for something again, not before. */
enum status exchange_wait(struct exchange *exchange, struct answer *answer)
{
    if (exchange->is_refused)
        reconnect(exchange, now_us());
    for (;;) { /* ends with an answer, a failure, or the deadline */
        if (receive(exchange, answer))
            return STATUS_OK;
        int64_t now = now_us();
        const char *refusal = link_take_refusal(exchange->link);
        if (refusal) {
            exchange->is_refused = true;
            fail(exchange, STATUS_DENIED, refusal);
        }
        if (exchange->failure || now >= exchange->deadline_us)
            return give_up(exchange);
        look_after(exchange, now);
        if (exchange->failure)
            return give_up(exchange);
        bool is_full = !send_all(exchange, now);
        pause_for(exchange, is_full, now);
    }
}

enum status exchange_post(struct exchange *exchange, struct flight *flight)
{
    assert(flight->is_used && !flight->is_posted);
    if (flight->frame.failed) {
        exchange_end(exchange, flight);
        return STATUS_NO_MEMORY;
    }
    flight->is_posted = true;
    if (exchange->is_greeted)
        send_all(exchange, now_us());
    return STATUS_OK;
}
