/* Puts that find the batch full wait, so that what workers report is not late for them. */
#include <stdlib.h>

#include "server_internal.h"

/* What belongs to work: it goes ahead of puts that wait, also of those of its own connection. All
 * others keep their order behind them. */
static const bool goes_ahead[MESSAGE_BYE] = {
    [MESSAGE_CREDIT] = true,    [MESSAGE_REPORT] = true, [MESSAGE_TOUCH] = true,
    [MESSAGE_GIVE_BACK] = true, [MESSAGE_RESUME] = true, [MESSAGE_PING] = true,
    [MESSAGE_PONG] = true,
};

/* In memory a batch costs nothing, and with an interval nobody waits for it. Without room on the
 * disk puts are refused, so there is nothing to wait for. */
static bool is_full(const struct server *server)
{
    return server->options->sync != SYNC_INTERVAL && store_fd(server->store) >= 0 &&
           !storage_is_short(server) && pressure_is_full(&server->pressure, server->now.mono_us);
}

bool hold_takes(struct server *server, struct request *request, struct bytes message)
{
    if (request->is_held || request->worker == SLAB_NONE || goes_ahead[request->head.type])
        return false;
    struct worker *worker = workers_at(&server->workers, request->worker);
    bool waits = worker->held || (request->head.type == MESSAGE_PUT && is_full(server));
    if (!waits)
        return false;
    if (overflow_put(&server->workers.held, &worker->held, request->worker, message)) {
        server->counts.held++;
        return true;
    }
    input_busy(server, request, "too much of what was sent before waits");
    return true;
}

/* It may end the session of its own connection: so it is taken out first. */
static void handle_first(struct server *server, uint32_t number)
{
    struct worker *worker = workers_at(&server->workers, number);
    struct bytes message;
    struct request request = {
        .worker = number,
        .identity = workers_identity(&server->workers, number),
        .fd = worker->fd,
        .peer = worker->peer,
        .is_held = true,
    };
    void *memory = overflow_take_first(&server->workers.held, &worker->held, &message);
    input_message(server, &request, message.data, message.count);
    free(memory);
}

/* One message of each connection, then one more of each, on from where the turn before ended. As
 * bounded as what is read. */
void hold_turn(struct server *server)
{
    const struct overflows *held = &server->workers.held;
    uint64_t end_bytes = held->bytes > INPUT_BYTES_MAX ? held->bytes - INPUT_BYTES_MAX : 0;
    server->turn_items = 0;
    for (uint32_t i = 0; i < INPUT_MESSAGES_MAX && held->bytes > end_bytes && !is_full(server) &&
                         server->turn_items < INPUT_ITEMS_MAX;
         i++) {
        if (server->next_held == 0 || server->next_held > held->count) /* others may have gone */
            server->next_held = held->count;
        handle_first(server, overflows_owner(held, --server->next_held));
    }
}

bool hold_has_work(const struct server *server)
{
    return server->workers.held.count && !is_full(server);
}
