#include "everdue/client.h"

#include <zlib.h>

#include "client_private.h"
#include "convert.h"

/* A set goes to the broker as chunks, several under way at once:
 *
 *   begin -> generation;  add, add, ... -> chunk, chunk, ... (7 sent ahead, one being filled);
 *   commit -> what is left is sent, all answers are awaited, then COMMIT with count and checksum.
 *
 * The checksum runs over the item arrays as they stand in the messages, so a chunk's share is added
 * when it is closed. Any failure ends the sync: the broker then changes nothing.
 */

enum {
    COMMIT_ITEMS_PER_MS = 20, /* a large set takes the broker a while: that much more time */
};

static void sync_end(struct everdue_client *client)
{
    client->sync.is_active = false;
    client->sync.chunk = NULL;
    exchange_end_all(client->exchange);
    exchange_set_fragile(client->exchange, false);
}

/* The broker may have the set still, and would refuse another one for as long as the session lives;
 * to wait for the answer to an abort would double the wait that has just failed. */
static enum status sync_fail(struct everdue_client *client, enum status status)
{
    sync_end(client);
    exchange_renew(client->exchange);
    client->sync.failure = status;
    return status;
}

/* OK while a sync is under way and no visitor runs. */
static enum status check_active(struct everdue_client *client)
{
    if (client->is_visiting)
        return client_fail(client, STATUS_BUSY, bytes_of("a visitor cannot make calls itself"));
    if (client->sync.is_active)
        return STATUS_OK;
    if (client->sync.failure)
        return client->sync.failure; /* with the text that stands there already */
    return client_fail(client, STATUS_BAD_FIELD, bytes_of("no sync is under way"));
}

static bool is_of_connection(enum status status)
{
    return status == STATUS_UNREACHABLE || status == STATUS_TIMED_OUT ||
           status == STATUS_NO_SESSION || status == STATUS_IO;
}

int everdue_sync_begin(struct everdue_client *client, const char *queue,
                       const struct everdue_sync_options *options, everdue_sync_refusal *refused,
                       void *user)
{
    enum status status = client_begin(client, 0);
    if (status)
        return (int)status;
    struct flight *flight = exchange_begin(client->exchange);
    const struct sync_begin begin = {
        .id = flight->id,
        .queue = bytes_of(queue),
        .spread_us = options ? options->spread_us : 0,
        .due_take = options && options->due_take,
    };
    sync_begin_write(&flight->frame, &begin);
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (is_of_connection(status)) /* it may have begun, under a name that nobody knows */
        exchange_renew(client->exchange);
    if (status)
        return (int)status;
    uint64_t generation = wire_read_uint(&answer.body);
    status = client_check_body(client, &answer);
    if (status)
        return (int)status;
    client->sync = (struct client_sync){
        .is_active = true,
        .generation = generation,
        .refused = refused,
        .user = user,
        .checksum = (uint32_t)crc32(0, NULL, 0),
    };
    exchange_set_fragile(client->exchange, true);
    return 0;
}

/* --- chunks ----------------------------------------------------------------------------------- */

static void tell_refused(const struct client_sync *sync, uint64_t place, int status)
{
    if (sync->refused)
        sync->refused(place, status, sync->user);
}

/* Waits for one chunk's answer. */
static enum status settle_one(struct everdue_client *client)
{
    struct answer answer;
    exchange_set_deadline(client->exchange, client->timeout_ms);
    enum status status = exchange_wait(client->exchange, &answer);
    if (status) {
        client_fail_exchange(client, status);
        return sync_fail(client, status);
    }
    if (answer.status < 0) {
        client_fail(client, answer.status, answer.text);
        return sync_fail(client, answer.status);
    }
    size_t left = answer.flight->count;
    uint64_t place = answer.flight->place;
    uint32_t there = answer.has_body ? wire_read_array(&answer.body, ITEMS_MAX) : 0;
    exchange_end(client->exchange, answer.flight);
    for (uint32_t i = 0; i < there && left > 0; i++, left--) {
        int64_t item = wire_read_int_saturated(&answer.body);
        if (item < 0 && item >= INT32_MIN)
            tell_refused(&client->sync, place + i, (int)item);
    }
    if (left == 0 && !answer.body.status)
        return STATUS_OK;
    client_fail(client, STATUS_MALFORMED, bytes_of("the broker's answer makes no sense"));
    return sync_fail(client, STATUS_MALFORMED);
}

static enum status close_chunk(struct everdue_client *client)
{
    struct client_sync *sync = &client->sync;
    struct flight *chunk = sync->chunk;
    if (!chunk)
        return STATUS_OK;
    sync->chunk = NULL;
    struct wire_buffer *frame = &chunk->frame;
    wire_patch_array(frame, sync->chunk_array, (uint32_t)chunk->count);
    if (!frame->failed)
        sync->checksum = (uint32_t)crc32(sync->checksum, frame->data + sync->chunk_array,
                                         (unsigned)(frame->count - sync->chunk_array));
    enum status status = exchange_post(client->exchange, chunk);
    if (!status)
        return STATUS_OK;
    client_fail(client, status, (struct bytes){NULL, 0});
    return sync_fail(client, status);
}

static enum status open_chunk(struct everdue_client *client)
{
    struct client_sync *sync = &client->sync;
    struct flight *chunk;
    while (!(chunk = client_request(client, MESSAGE_SYNC_CHUNK, 2))) {
        enum status status = settle_one(client); /* ends: it frees a flight, or fails */
        if (status)
            return status;
    }
    wire_write_uint(&chunk->frame, sync->generation);
    sync->chunk_array = wire_write_array_later(&chunk->frame);
    chunk->place = sync->place;
    chunk->count = 0;
    sync->chunk = chunk;
    return STATUS_OK;
}

/* An item that cannot be sent. The chunk ends before it, so that the items of a chunk are
 * neighbours and a status finds its place. */
static enum status keep_back(struct everdue_client *client, enum status why)
{
    struct client_sync *sync = &client->sync;
    sync->kept_back++;
    tell_refused(sync, sync->place++, (int)why);
    return close_chunk(client);
}

int everdue_sync_add(struct everdue_client *client, const struct everdue_put *put)
{
    struct client_sync *sync = &client->sync;
    enum status status = check_active(client);
    if (status)
        return (int)status;
    struct put item;
    status = convert_put(put, &item);
    if (status)
        return (int)keep_back(client, status);
    if (!sync->chunk)
        status = open_chunk(client);
    if (status)
        return (int)status;
    put_write(&sync->chunk->frame, &item);
    sync->chunk->count++;
    sync->place++;
    sync->sent++;
    if (sync->chunk->count < ITEMS_MAX && sync->chunk->frame.count < MESSAGE_BYTES_SOFT)
        return 0;
    return (int)close_chunk(client);
}

/* --- the end ---------------------------------------------------------------------------------- */

static enum status settle_all(struct everdue_client *client)
{
    enum status status = close_chunk(client);
    while (!status && exchange_has_posted(client->exchange))
        status = settle_one(client);
    return status;
}

int everdue_sync_flush(struct everdue_client *client)
{
    enum status status = check_active(client);
    return (int)(status ? status : settle_all(client));
}

static enum status call_abort(struct everdue_client *client)
{
    exchange_set_deadline(client->exchange, client->timeout_ms);
    struct flight *flight = client_request(client, MESSAGE_SYNC_ABORT, 1);
    wire_write_uint(&flight->frame, client->sync.generation);
    return client_call_plain(client, flight);
}

/* The text of the first failure stands; whether the abort came through does not matter then: a sync
 * ends with its session, too. */
static void abort_quietly(struct everdue_client *client)
{
    char text[CLIENT_ERROR_BYTES];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = client->error[i];
    call_abort(client);
    for (size_t i = 0; i < sizeof(text); i++)
        client->error[i] = text[i];
}

static enum status call_commit(struct everdue_client *client, const struct sync_commit *wanted,
                               struct sync_counts *counts)
{
    struct sync_commit commit = *wanted;
    struct flight *flight = exchange_begin(client->exchange);
    commit.id = flight->id;
    sync_commit_write(&flight->frame, &commit);
    exchange_set_deadline(client->exchange,
                          client->timeout_ms + commit.count / COMMIT_ITEMS_PER_MS);
    struct answer answer;
    enum status status = client_call(client, flight, &answer);
    if (status)
        return status;
    sync_counts_read(&answer.body, counts);
    return client_check_body(client, &answer);
}

int everdue_sync_commit(struct everdue_client *client, bool prune, uint32_t prune_max_ppm,
                        bool dry_run, struct everdue_sync_result *result)
{
    struct client_sync *sync = &client->sync;
    enum status status = check_active(client);
    if (!status)
        status = settle_all(client);
    if (status)
        return (int)status;
    /* The broker does not know of items that were kept back, and would prune their records. */
    const struct sync_commit commit = {
        .generation = sync->generation,
        .count = sync->sent,
        .checksum = sync->checksum,
        .prune = prune && sync->kept_back == 0,
        .prune_max_ppm = prune_max_ppm,
        .dry_run = dry_run,
    };
    struct sync_counts counts;
    status = call_commit(client, &commit, &counts);
    if (status && !is_of_connection(status))
        abort_quietly(client);
    uint64_t kept_back = sync->kept_back;
    sync_end(client);
    if (is_of_connection(status)) /* it may be refused yet, and stand open */
        exchange_renew(client->exchange);
    if (status)
        return (int)status;
    if (result)
        *result = (struct everdue_sync_result){
            .created = counts.created,
            .changed = counts.changed,
            .unchanged = counts.unchanged,
            .rejected = counts.rejected + kept_back,
            .kept = counts.kept,
            .absent = counts.absent,
            .pruned = counts.pruned,
            .due_now = counts.due_now,
        };
    return 0;
}

int everdue_sync_abort(struct everdue_client *client)
{
    enum status status = check_active(client);
    if (status)
        return (int)status;
    exchange_end_all(
        client->exchange); /* nobody wants to know any more what became of the chunks */
    client->sync.chunk = NULL;
    status = call_abort(client);
    sync_end(client);
    return (int)status;
}
