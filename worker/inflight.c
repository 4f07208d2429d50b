#include "inflight.h"

#include <assert.h>
#include <stdlib.h>

static void free_chain(struct request *request)
{
    while (request) {
        struct request *next = request->next;
        free(request->numbers);
        free(request);
        request = next;
    }
}

void inflight_release(struct inflight *inflight)
{
    free_chain(inflight->first);
    free_chain(inflight->spare);
    *inflight = (struct inflight){0};
}

struct request *inflight_new(struct inflight *inflight, uint32_t numbers)
{
    struct request *request = inflight->spare;
    if (request)
        inflight->spare = request->next;
    else
        request = malloc(sizeof(*request));
    if (!request)
        return NULL;
    *request = (struct request){0};
    if (numbers == 0)
        return request;
    request->numbers = malloc(numbers * sizeof(uint64_t));
    if (request->numbers)
        return request;
    inflight_free(inflight, request);
    return NULL;
}

void inflight_free(struct inflight *inflight, struct request *request)
{
    assert(request->leases.count == 0);
    free(request->numbers);
    request->numbers = NULL;
    request->next = inflight->spare;
    inflight->spare = request;
}

void inflight_put(struct inflight *inflight, struct request *request)
{
    request->next = NULL;
    *(inflight->last ? &inflight->last->next : &inflight->first) = request;
    inflight->last = request;
}

/* `before` is the one in front of it, NULL for the first. */
static void unlink_request(struct inflight *inflight, struct request *before,
                           struct request *request)
{
    *(before ? &before->next : &inflight->first) = request->next;
    if (inflight->last == request)
        inflight->last = before;
    request->next = NULL;
}

struct request *inflight_take(struct inflight *inflight, uint64_t id)
{
    struct request *before = NULL;
    struct request *request = inflight->first;
    while (request && request->id != id) {
        before = request;
        request = request->next;
    }
    if (request)
        unlink_request(inflight, before, request);
    return request;
}

struct request *inflight_take_first(struct inflight *inflight)
{
    struct request *request = inflight->first;
    if (request)
        unlink_request(inflight, NULL, request);
    return request;
}
