/* What a burst took goes back when nothing has come in, or gone out, for a while. */
#include <malloc.h>
#include <stdlib.h>

#include "server_internal.h"

/* Less traffic leaves nothing behind that is worth the look. */
enum { BURST_BYTES_LEAST = 256 << 10, QUIET_US = 100000 };

/* Their pages were touched by the largest message so far; new ones are not. */
static void renew_items(struct server *server)
{
    union item *items = malloc(ITEMS_MAX * sizeof(*items));
    if (!items)
        return;
    free(server->items);
    server->items = items;
}

static void give_back(struct server *server)
{
    wire_buffer_release(&server->out);
    wire_buffer_release(&server->take_out);
    if (!server->filling.count)
        answers_release(&server->filling);
    if (!server->sealed.count)
        answers_release(&server->sealed);
    if (!server->effects.count)
        effects_release(&server->effects);
    if (server->batch && !server->batch_has_content)
        store_batch_empty(server->batch);
    if (!server->workers.overflows.count)
        overflows_release(&server->workers.overflows);
    if (!server->workers.held.count)
        overflows_release(&server->workers.held);
    renew_items(server);
    sched_rest(server->sched);
    malloc_trim(0);
}

void rest_turn(struct server *server)
{
    uint64_t bytes = server->counts.bytes_in + server->counts.bytes_out;
    if (bytes != server->quiet_bytes) {
        bool is_burst = bytes - server->rested_bytes >= BURST_BYTES_LEAST;
        server->quiet_bytes = bytes;
        server->quiet_end_mono_us = is_burst ? server->now.mono_us + QUIET_US : TIME_US_NEVER;
    }
    if (server->now.mono_us < server->quiet_end_mono_us)
        return;
    if (server->is_in_flight || sched_has_work(server->sched)) {
        server->quiet_end_mono_us = server->now.mono_us + QUIET_US;
        return;
    }
    give_back(server);
    server->rested_bytes = bytes;
    server->quiet_end_mono_us = TIME_US_NEVER;
}
