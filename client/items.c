#include "client_private.h"

/* Where a call with many items stands. */
struct items_state {
    const struct client_items *items;
    int *statuses;
    size_t next;         /* the first item that is in no message yet */
    size_t under_way;    /* messages */
    enum status failure; /* of the call as a whole */
};

static bool has_room(const struct wire_buffer *frame, size_t count)
{
    return count < ITEMS_MAX && frame->count < MESSAGE_BYTES_SOFT;
}

/* Fills a message from `next` on. It ends early at an item that cannot be sent, so that the items
 * of a message are always neighbours. Returns how many items it has. */
static size_t fill(struct items_state *state, struct flight *flight)
{
    const struct client_items *items = state->items;
    wire_write_str(&flight->frame, bytes_of(items->queue));
    size_t array = wire_write_array_later(&flight->frame);
    flight->place = state->next;
    flight->count = 0;
    while (state->next < items->count && has_room(&flight->frame, flight->count)) {
        enum status status = items->write(items->items, state->next, &flight->frame);
        if (status && flight->count > 0)
            break;
        if (status) {
            state->statuses[state->next++] = (int)status;
            flight->place = state->next;
            continue;
        }
        state->next++;
        flight->count++;
    }
    wire_patch_array(&flight->frame, array, (uint32_t)flight->count);
    return flight->count;
}

static void post_what_fits(struct everdue_client *client, struct items_state *state)
{
    while (state->next < state->items->count && !state->failure) {
        struct flight *flight = client_request(client, state->items->type, 2);
        if (!flight)
            return;
        if (fill(state, flight) == 0) {
            exchange_end(client->exchange, flight);
            continue;
        }
        size_t place = flight->place;
        state->failure = exchange_post(client->exchange, flight);
        if (state->failure)
            state->next = place;
        else
            state->under_way++;
    }
}

/* One message's answer. An error of a message as a whole is that of its items, and ends the call
 * when what is under way has been answered. */
static void settle(struct everdue_client *client, struct items_state *state, struct answer *answer)
{
    const struct flight *flight = answer->flight;
    if (answer->status == STATUS_OK) {
        client_read_statuses(answer, state->statuses + flight->place, flight->count);
    } else {
        for (size_t i = 0; i < flight->count; i++)
            state->statuses[flight->place + i] = (int)answer->status;
        if (!state->failure)
            state->failure = client_fail(client, answer->status, answer->text);
    }
    exchange_end(client->exchange, answer->flight);
    exchange_set_deadline(client->exchange, client->timeout_ms);
    state->under_way--;
}

enum status client_send_items(struct everdue_client *client, const struct client_items *items,
                              int *statuses)
{
    enum status status = client_begin(client, 0);
    struct items_state state = {items, statuses, 0, 0, status};
    /* What no answer says: the item was not carried out, as far as this side knows. */
    for (size_t i = 0; i < items->count; i++)
        statuses[i] = status ? (int)status : STATUS_UNREACHABLE;
    if (status)
        return status;

    for (;;) { /* ends: each turn ends one message, or fails */
        post_what_fits(client, &state);
        if (state.under_way == 0)
            break;
        struct answer answer;
        status = exchange_wait(client->exchange, &answer);
        if (status)
            return client_fail_exchange(client, status);
        settle(client, &state, &answer);
    }
    for (size_t i = state.next; i < items->count; i++)
        statuses[i] = (int)state.failure;
    if (state.failure && client->error[0] == '\0')
        client_fail(client, state.failure, (struct bytes){NULL, 0});
    return state.failure;
}
