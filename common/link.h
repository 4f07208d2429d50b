/* link.h - a DEALER socket that can be given up and opened again.
 *
 * The rule of the protocol: on `no-session`, or when nothing was heard for three heartbeats,
 * destroy the socket, open a new one, say HELLO. A link does no protocol: it owns one socket with
 * the settings that libzmq needs (docs/architecture.md, "Sockets"), and sends and receives single
 * frames without ever blocking. Connecting goes on in the background and is tried again every 0.1
 * to 1 s. A socket whose connection broke gets another one in the background, too, and says nothing
 * of it; a link that watches tells. A link is not thread-safe: one thread, like the socket. All
 * links of a process share one
 * context of libzmq, which lives as long as there is one; a forked child gets its own and leaves
 * its parent's links alone.
 */
#ifndef EVERDUE_LINK_H
#define EVERDUE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct link;

struct link_options {
    const char *endpoint;
    const char *curve_server_key; /* Z85, or the file that holds it; NULL: plain */
    const char *curve_key_file;   /* of certificate.h; NULL: a passing key */
    bool watches;                 /* for link_has_broken and link_take_refusal */
};

/* Once a process, before the first link or context, idempotent and thread-safe: seeds what libzmq
 * draws routing ids and jitter from, keeps czmq's hands off signals. (link_new itself only seeds: a
 * program that links us may use czmq in its own way.) */
void link_setup(void);

/* What is wrong with an endpoint, or NULL: tcp://HOST:PORT and ipc://PATH are good. */
const char *link_check_endpoint(const char *endpoint);

/* What is wrong with the options, or NULL, in words for who wrote them; reads the files of the
 * keys. What it finds nothing wrong with link_new may still refuse: a host that cannot be one. */
const char *link_check(const struct link_options *options);

/* Opens the socket; the options are copied. BAD_FIELD: not an endpoint of tcp or ipc, or not a key.
 * IO: the key file cannot be read, or there are no descriptors left. DENIED: others can read it. */
enum status link_new(struct link **link, const struct link_options *options);

/* What was sent to a broker that has answered before has up to 2 s to leave; the last link of a
 * process waits for that. NULL is allowed. */
void link_destroy(struct link **link);

/* Give up the socket and open a new one at once; link_fd changes. What was queued in the old one is
 * dropped (in the background: if the old connection comes up in that instant some of it arrives,
 * and the broker ignores it for lack of a HELLO). On IO the link has no socket: everything but
 * link_reopen and link_destroy is IO, too. */
enum status link_reopen(struct link *link);

/* BUSY: the socket's queue is full. TOO_LARGE: over MESSAGE_BYTES_MAX. Then nothing was sent. The
 * bytes are copied. */
enum status link_send(struct link *link, const void *data, size_t count);

/* The next frame, borrowed until the next call. BUSY: nothing there. Messages of several frames are
 * dropped whole. */
enum status link_receive(struct link *link, const uint8_t **data, size_t *count);

/* Whether the connection that the socket had has broken since the socket was opened: the peer
 * ended, was started anew, or sent us away. Told once. Everything that came before is there to be
 * received already. False for ever without `watches`. */
bool link_has_broken(struct link *link);

/* Why the peer did not let the socket in, or NULL; told once. Another socket may fare better later.
 * NULL for ever without `watches`. */
const char *link_take_refusal(struct link *link);

/* Readable when link_receive may have something. Edge-triggered: after every link_send and
 * link_receive, drain until BUSY before sleeping on it. -1 without a socket. */
int link_fd(const struct link *link);

/* What ended a wait; any of them together, none: the time has passed. */
enum link_wake {
    LINK_INPUT = 1,  /* link_receive is worth a call, and whether the link broke may be asked */
    LINK_ALSO = 2,   /* the second descriptor is readable */
    LINK_SIGNAL = 4, /* a signal came */
};

/* Wait until something is there, the connection broke, one of two descriptors (or -1) is readable,
 * `wait_ms` passed (-1: for ever), or a signal came. Returns what it was. */
unsigned link_wait_for(struct link *link, const int fds[2], int wait_ms);

/* Wait until something is there, the connection broke, `wake_fd` (or -1) is readable, `wait_ms`
 * passed (-1: for ever), or a signal came. Returns true when link_receive is worth a call; it may
 * still be BUSY. */
bool link_wait(struct link *link, int wake_fd, int wait_ms);

#endif
