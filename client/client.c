#include "everdue/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_private.h"
#include "clock.h"
#include "hello_options.h"

enum { TIMEOUT_MS_DEFAULT = 3000 };

/* --- life ------------------------------------------------------------------------------------- */

static const char *start(struct everdue_client *client)
{
    const struct exchange_options options = {
        .link = {client->endpoint, client->curve_server_key, client->curve_key_file, true},
        .name = client->name,
        .queues = (const char *const *)client->queues,
        .queue_count = client->queue_count,
    };
    enum status status = exchange_new(&client->exchange, &options);
    if (!status)
        return NULL;
    const char *wrong = link_check(&options.link);
    return wrong ? wrong : status == STATUS_BAD_FIELD ? "not an endpoint" : status_text(status);
}

static void client_free(struct everdue_client *client)
{
    exchange_destroy(&client->exchange);
    hello_options_free_queues(client->queues);
    free(client->endpoint);
    free(client->name);
    free(client->curve_server_key);
    free(client->curve_key_file);
    free(client);
}

static const char *prepare(struct everdue_client *client,
                           const struct everdue_client_options *options)
{
    client->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    const char *endpoint = options->endpoint ? options->endpoint : EVERDUE_ENDPOINT;
    if (!hello_options_copy(&client->endpoint, endpoint) ||
        !hello_options_copy_name(&client->name, options->name) ||
        !hello_options_copy_queues(&client->queues, options->queues) ||
        !hello_options_copy(&client->curve_server_key, options->curve_server_key) ||
        !hello_options_copy(&client->curve_key_file, options->curve_key_file))
        return "no memory";
    while (client->queues[client->queue_count])
        client->queue_count++;
    return start(client);
}

struct everdue_client *everdue_client_new(const struct everdue_client_options *options,
                                          const char **why)
{
    struct everdue_client *client = NULL;
    const char *wrong = hello_options_check(options->queues);
    if (!wrong) {
        client = calloc(1, sizeof(*client));
        wrong = client ? prepare(client, options) : "no memory";
    }
    if (!wrong)
        return client;
    if (client)
        client_free(client);
    if (why)
        *why = wrong;
    return NULL;
}

void everdue_client_destroy(struct everdue_client **client)
{
    struct everdue_client *old = *client;
    *client = NULL;
    if (old)
        client_free(old);
}

void everdue_client_set_timeout(struct everdue_client *client, uint32_t timeout_ms)
{
    client->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS_DEFAULT;
}

int client_queue_index(const struct everdue_client *client, const char *queue)
{
    for (uint32_t i = 0; i < client->queue_count; i++)
        if (strcmp(client->queues[i], queue) == 0)
            return (int)i;
    return -1;
}

/* --- errors ----------------------------------------------------------------------------------- */

const char *everdue_client_error(struct everdue_client *client)
{
    return client->error;
}

enum status client_fail(struct everdue_client *client, enum status status, struct bytes text)
{
    if (!text.data || text.count == 0)
        text = bytes_of(status_text(status));
    text = bytes_cut_utf8(text, sizeof(client->error) - 1);
    memcpy(client->error, text.data, text.count);
    client->error[text.count] = '\0';
    return status;
}

enum status client_fail_exchange(struct everdue_client *client, enum status status)
{
    if (status != STATUS_UNREACHABLE)
        return client_fail(client, status, bytes_of(exchange_text(client->exchange)));
    snprintf(client->error, sizeof(client->error), "nobody answers at %s", client->endpoint);
    return status;
}

/* --- one request ------------------------------------------------------------------------------ */

enum status client_begin(struct everdue_client *client, uint64_t extra_ms)
{
    if (client->is_visiting)
        return client_fail(client, STATUS_BUSY, bytes_of("a visitor cannot make calls itself"));
    if (client->sync.is_active)
        return client_fail(client, STATUS_BUSY, bytes_of("a sync is under way on this client"));
    client->error[0] = '\0';
    exchange_end_all(client->exchange);
    exchange_set_deadline(client->exchange, client->timeout_ms + extra_ms);
    return STATUS_OK;
}

struct flight *client_request(struct everdue_client *client, enum message_type type,
                              uint32_t fields)
{
    struct flight *flight = exchange_begin(client->exchange);
    if (!flight)
        return NULL;
    message_write_head(&flight->frame, type, fields + 1);
    wire_write_uint(&flight->frame, flight->id);
    return flight;
}

enum status client_call(struct everdue_client *client, struct flight *flight, struct answer *answer)
{
    enum status status = exchange_post(client->exchange, flight);
    if (status)
        return client_fail(client, status, (struct bytes){NULL, 0});
    status = exchange_wait(client->exchange, answer);
    if (status)
        return client_fail_exchange(client, status);
    exchange_end(client->exchange, answer->flight);
    if (answer->status < 0)
        return client_fail(client, answer->status, answer->text);
    return answer->status;
}

enum status client_call_plain(struct everdue_client *client, struct flight *flight)
{
    struct answer answer;
    return client_call(client, flight, &answer);
}

enum status client_check_body(struct everdue_client *client, const struct answer *answer)
{
    if (answer->body.status == STATUS_OK)
        return STATUS_OK;
    return client_fail(client, STATUS_MALFORMED, bytes_of("the broker's answer makes no sense"));
}

void client_read_statuses(struct answer *answer, int *statuses, size_t count)
{
    bool has_array = answer->has_body && wire_is_array(&answer->body);
    size_t there = has_array ? wire_read_array(&answer->body, ITEMS_MAX) : 0;
    for (size_t i = 0; i < count; i++) {
        int64_t status = i < there ? wire_read_int_saturated(&answer->body) : STATUS_MALFORMED;
        bool is_status = !answer->body.status && status >= INT32_MIN && status <= INT32_MAX;
        statuses[i] = is_status ? (int)status : STATUS_MALFORMED;
    }
}

int everdue_ping(struct everdue_client *client, int64_t *round_trip_us, const char **version)
{
    enum status status = client_begin(client, 0);
    if (status)
        return (int)status;
    /* The first one pays for connection and hello, so the second is measured. */
    int64_t begun_us = 0;
    for (int i = 0; i < 2 && !status; i++) {
        begun_us = clock_now().mono_us;
        status = client_call_plain(client, client_request(client, MESSAGE_PING, 0));
    }
    if (!status && round_trip_us)
        *round_trip_us = clock_now().mono_us - begun_us;
    if (!status && version)
        *version = exchange_broker_version(client->exchange);
    return (int)status;
}
