#include "sim.h"

#include <stdlib.h>
#include <string.h>

void network_init(struct network *network)
{
    memset(network, 0, sizeof(*network));
    network->heap = malloc(SIM_PACKETS_MAX * sizeof(struct packet));
    if (!network->heap)
        abort();
}

void network_release(struct network *network)
{
    free(network->heap);
    network->heap = NULL;
}

void network_connect(struct sim *sim, uint32_t peer)
{
    struct network *network = &sim->network;
    if (network->peers[peer].is_open)
        network_break(sim, peer, true);
    network->connections[peer]++;
    overlap_connect(sim, peer);
    network->peers[peer] = (struct connection){
        .is_open = true, .last_to_host_us = sim->now.mono_us, .last_to_peer_us = sim->now.mono_us};
}

static bool is_before(const struct packet *a, const struct packet *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct packet *a, struct packet *b)
{
    struct packet packet = *a;
    *a = *b;
    *b = packet;
}

static void push(struct network *network, const struct packet *packet)
{
    if (network->count == SIM_PACKETS_MAX)
        abort();
    uint32_t i = network->count++;
    network->heap[i] = *packet;
    for (; i > 0 && is_before(&network->heap[i], &network->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&network->heap[i], &network->heap[(i - 1) / 2]);
}

static void pop(struct network *network)
{
    network->heap[0] = network->heap[--network->count];
    for (uint32_t i = 0;;) { /* ends at the bottom */
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < network->count && is_before(&network->heap[child], &network->heap[least]))
                least = child;
        if (least == i)
            return;
        swap(&network->heap[i], &network->heap[least]);
        i = least;
    }
}

void network_break(struct sim *sim, uint32_t peer, bool is_seen_by_host)
{
    struct network *network = &sim->network;
    struct connection *connection = &network->peers[peer];
    if (!connection->is_open)
        return;
    connection->is_open = false;
    connection->drains_until = network->orders - dice_below(&sim->dice, 30);
    struct packet packet = {
        .kind = PACKET_BREAK,
        .peer = peer,
        .connection = network->connections[peer],
        .is_to_host = true,
        .at_us = connection->last_to_host_us + SIM_MS(1),
        .order = ++network->orders,
    };
    if (is_seen_by_host)
        push(network, &packet);
}

void network_send(struct sim *sim, struct packet *packet)
{
    struct network *network = &sim->network;
    struct connection *connection = &network->peers[packet->peer];
    if (!connection->is_open || packet->connection != network->connections[packet->peer])
        return;
    int64_t *last_us =
        packet->is_to_host ? &connection->last_to_host_us : &connection->last_to_peer_us;
    int64_t at_us = sim->now.mono_us +
                    dice_delay(&sim->dice, sim->character.delay_us, sim->character.delay_max_us);
    packet->at_us = at_us > *last_us ? at_us : *last_us;
    *last_us = packet->at_us;
    packet->order = ++network->orders;
    push(network, packet);
}

int64_t network_next_us(const struct network *network)
{
    return network->count ? network->heap[0].at_us : TIME_US_NEVER;
}

/* Packets of an old connection arrive only if they were on their way before it broke. */
static bool arrives(const struct network *network, const struct packet *packet)
{
    const struct connection *connection = &network->peers[packet->peer];
    if (packet->kind == PACKET_BREAK)
        return true;
    if (packet->connection != network->connections[packet->peer])
        return false;
    return connection->is_open || packet->order <= connection->drains_until;
}

bool network_receive(struct sim *sim, struct packet *packet)
{
    struct network *network = &sim->network;
    while (network->count && network->heap[0].at_us <= sim->now.mono_us) {
        *packet = network->heap[0];
        pop(network);
        if (arrives(network, packet))
            return true;
    }
    return false;
}
