/* allow.h - the list of those who may connect, and what each of them may do.
 *
 *   # who                                          what
 *   key Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLD*X role=worker queues=feeds,hosts name=web1
 *   key rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf role=client,monitor queues=* credit=0
 *   uid 1000 role=worker queues=tokens-* connections=8
 *   uid 0 role=admin
 *
 * A line a peer: its public key (CURVE), or the user who runs it (ipc:// without CURVE). Workers
 * and clients name their queues: names, beginnings with a `*` behind them, or `*`. What is not said
 * is not allowed. A list is made as a whole and never changes: another one takes its place.
 */
#ifndef EVERDUE_ALLOW_H
#define EVERDUE_ALLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    ALLOW_BYTES_MAX = 8388608, /* of a file */
    ALLOW_ENTRIES_MAX = 65536,
    ALLOW_LINE_BYTES_MAX = 4096,
    ALLOW_USER_BYTES = 48, /* "key:" and forty characters, or "uid:" and a number */
    ALLOW_NAME_BYTES = 65,
    ALLOW_WHY_BYTES = 512,
    ALLOW_CONNECTIONS = 512, /* of one peer, unless its line says otherwise */
};

/* Bits: a line may give several. */
enum allow_role { ROLE_WORKER = 1, ROLE_CLIENT = 2, ROLE_MONITOR = 4, ROLE_ADMIN = 8 };

struct allow_entry {
    char user[ALLOW_USER_BYTES]; /* what the connection's admission notes it as */
    char name[ALLOW_NAME_BYTES]; /* for people; empty: none */
    unsigned roles;
    uint32_t credit_max; /* of each session */
    uint32_t connections_max;
    const char *queues; /* as the line has them; empty: none */
};

struct allow;

/* A list from its text. NULL: `why` says what is wrong, with the line. */
struct allow *allow_parse(const char *text, size_t count, char why[ALLOW_WHY_BYTES]);

/* From a file, which nobody but its owner may be able to write, and whose owner is root or us. */
struct allow *allow_read(const char *path, char why[ALLOW_WHY_BYTES]);

void allow_destroy(struct allow **allow);

/* NULL: not on the list. Borrowed until the list is destroyed. O(log n). */
const struct allow_entry *allow_find(const struct allow *allow, const char *user);

size_t allow_count(const struct allow *allow);

/* Whether a queue is one of the entry's; an absent name stands for all queues. */
bool allow_has_queue(const struct allow_entry *entry, struct bytes queue);

#endif
