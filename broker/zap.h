/* zap.h - answers libzmq's question (ZAP, RFC 27) whether a connection may come in.
 *
 *   libzmq's thread --(inproc://zeromq.zap.01)--> the handler's thread --> yes, as USER | no
 *
 * One thread, which looks at a list in memory and never waits for anything else. With CURVE a peer
 * is "key:" and its public key, over ipc:// without CURVE "uid:" and the number that the kernel
 * vouches for; plain TCP has no name and is never let in. Whoever is let in has that name as
 * `User-Id` on every message.
 */
#ifndef EVERDUE_ZAP_H
#define EVERDUE_ZAP_H

#include <stdbool.h>
#include <stdint.h>

#include "allow.h"
#include "certificate.h"

struct zap;

/* What a socket that listens is told, before bind. */
struct zap_keys {
    bool is_curve; /* else plain: users of ipc:// */
    struct certificate own;
};

/* Starts the thread in this context. It lets nobody in, counts nobody and says nothing until it is
 * given a list. NULL: said. */
struct zap *zap_new(void *context);

/* The list that holds from now on, borrowed until another is set; when this returns the one before
 * is not looked at any more. */
void zap_set_allow(struct zap *zap, const struct allow *allow);

/* Readable when the thread has ended though nobody asked it to: nothing must go on then. */
int zap_fd(const struct zap *zap);

struct zap_counts {
    uint64_t let_in, refused;
};
struct zap_counts zap_get_counts(const struct zap *zap);

/* After all sockets that ask it are closed. */
void zap_destroy(struct zap **zap);

/* Keys, domain, and that nobody comes in unasked, set and read back. False: errno says why. */
bool zap_protect(void *socket, const struct zap_keys *keys);

/* Connects to a socket of its own as one who is on no list, and sees that he is refused. Before
 * there is a list. False: he was let in, or nothing was heard; `why` says which. */
bool zap_refuses_strangers(void *context, const struct zap_keys *keys, const char **why);

#endif
