/* exchange.h - requests and answers of one client session, several under way at once.
 *
 *   flight = exchange_begin(x);          an empty frame and the id that goes into it
 *   (write the request into flight->frame)
 *   exchange_post(x, flight);
 *   exchange_wait(x, &answer);           of any flight
 *   exchange_end(x, answer.flight);
 *
 * Says hello when it is first needed. A connection that breaks is opened again, hello said, and all
 * flights sent again, unless the exchange is fragile: then they end. Waiting ends at the deadline.
 * Everything that a request changes may be sent twice without harm (docs/protocol.md, 1).
 */
#ifndef EVERDUE_CLIENT_EXCHANGE_H
#define EVERDUE_CLIENT_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"
#include "message.h"

enum { EXCHANGE_FLIGHTS_MAX = 8, EXCHANGE_TEXT_BYTES = 256 };

struct exchange;

struct exchange_options {
    struct link_options link; /* borrowed until exchange_destroy, like all texts here */
    const char *name;
    const char *const *queues;
    uint32_t queue_count;
};

struct flight {
    struct wire_buffer frame;
    uint64_t id;
    bool is_used;
    bool is_posted;
    bool is_sent; /* over the connection that there is */
    size_t place; /* for the caller: of its first item */
    size_t count; /* for the caller: of its items */
};

/* BAD_FIELD: the endpoint or a key is none; NO_MEMORY; IO: no socket. */
enum status exchange_new(struct exchange **exchange, const struct exchange_options *options);
void exchange_destroy(struct exchange **exchange);

/* Waiting ends this many milliseconds from now. */
void exchange_set_deadline(struct exchange *exchange, uint64_t wait_ms);
void exchange_set_fragile(struct exchange *exchange, bool fragile);
/* All flights end, and the next request goes over another connection, after another hello: what the
 * session had open at the broker, such as a set, ends with that. */
void exchange_renew(struct exchange *exchange);

/* NULL: all flights are used. */
struct flight *exchange_begin(struct exchange *exchange);
/* NO_MEMORY: the frame could not be written; the flight has ended. */
enum status exchange_post(struct exchange *exchange, struct flight *flight);
void exchange_end(struct exchange *exchange, struct flight *flight);
void exchange_end_all(struct exchange *exchange);
/* Whether an answer is awaited. */
bool exchange_has_posted(const struct exchange *exchange);

struct answer {
    struct flight *flight;
    enum status status;
    struct bytes text;
    bool has_body;
    struct wire_reader body; /* borrowed until the next exchange_wait */
};

/* The next answer to a posted flight. Otherwise all flights have ended: UNREACHABLE nobody answers,
 * TIMED_OUT the broker is there but does not answer this, NO_SESSION broken and fragile, or what
 * the broker refused with; exchange_text then says more. */
enum status exchange_wait(struct exchange *exchange, struct answer *answer);
const char *exchange_text(const struct exchange *exchange);

/* Of the last hello; "" before it. */
const char *exchange_broker_version(const struct exchange *exchange);

#endif
