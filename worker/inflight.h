/* inflight.h - requests that were sent and not answered yet, in the order of their sending.
 *
 * Answers come nearly in that order, so a request is found by walking from the oldest.
 */
#ifndef EVERDUE_WORKER_INFLIGHT_H
#define EVERDUE_WORKER_INFLIGHT_H

#include <stdint.h>

#include "lease.h"
#include "message.h"

struct request {
    struct request *next;
    enum message_type type;
    uint64_t id;
    int64_t sent_us;          /* monotonic */
    struct lease_list leases; /* REPORT, GIVE_BACK: its items, in order */
    uint64_t *numbers;        /* TOUCH, RESUME: its items' leases, in order; owned */
    uint32_t number_count;
    uint32_t lease_ms; /* TOUCH, RESUME: the length of each from sent_us on */
};

struct inflight {
    struct request *first;
    struct request *last;
    struct request *spare; /* the requests of a busy session come and go with every message */
};

void inflight_release(struct inflight *inflight);

/* A request with room for `numbers` leases, not in flight yet. NULL: no memory. */
struct request *inflight_new(struct inflight *inflight, uint32_t numbers);
/* Its list must be empty. */
void inflight_free(struct inflight *inflight, struct request *request);

void inflight_put(struct inflight *inflight, struct request *request);
/* The one with this id, taken out, or NULL. */
struct request *inflight_take(struct inflight *inflight, uint64_t id);
/* The oldest, taken out, or NULL. */
struct request *inflight_take_first(struct inflight *inflight);

#endif
