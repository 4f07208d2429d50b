#include "everdue/client.h"

#include "client_private.h"
#include "convert.h"

enum { PAGE_RECORDS = 1000, PEEK_RECORDS_MAX = 1000 };

/* --- many at once ----------------------------------------------------------------------------- */

static enum status write_put(const void *items, size_t place, struct wire_buffer *frame)
{
    const struct everdue_put *puts = items;
    struct put put;
    enum status status = convert_put(&puts[place], &put);
    if (status)
        return status;
    put_write(frame, &put);
    return STATUS_OK;
}

static enum status write_key(const void *items, size_t place, struct wire_buffer *frame)
{
    const struct everdue_bytes *keys = items;
    if (!keys[place].data || keys[place].count > KEY_BYTES_MAX)
        return STATUS_BAD_KEY;
    wire_write_str(frame, convert_in(keys[place]));
    return STATUS_OK;
}

int everdue_put_many(struct everdue_client *client, const char *queue,
                     const struct everdue_put *puts, size_t count, int *statuses)
{
    const struct client_items items = {MESSAGE_PUT, queue, puts, count, write_put};
    return (int)client_send_items(client, &items, statuses);
}

static int send_keys(struct everdue_client *client, enum message_type type, const char *queue,
                     const struct everdue_bytes *keys, size_t count, int *statuses)
{
    const struct client_items items = {type, queue, keys, count, write_key};
    return (int)client_send_items(client, &items, statuses);
}

int everdue_remove(struct everdue_client *client, const char *queue,
                   const struct everdue_bytes *keys, size_t count, int *statuses)
{
    return send_keys(client, MESSAGE_REMOVE, queue, keys, count, statuses);
}

int everdue_run_now(struct everdue_client *client, const char *queue,
                    const struct everdue_bytes *keys, size_t count, int *statuses)
{
    return send_keys(client, MESSAGE_RUN_NOW, queue, keys, count, statuses);
}

int everdue_kick(struct everdue_client *client, const char *queue, const struct everdue_bytes *keys,
                 size_t count, int *statuses)
{
    return send_keys(client, MESSAGE_KICK, queue, keys, count, statuses);
}

int everdue_kick_all(struct everdue_client *client, const char *queue, uint64_t *kicked)
{
    enum status status = client_begin(client, 0);
    if (status)
        return (int)status;
    struct flight *flight = client_request(client, MESSAGE_KICK, 2);
    wire_write_str(&flight->frame, bytes_of(queue));
    wire_write_nil(&flight->frame);
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (status)
        return (int)status;
    uint64_t count = wire_read_uint(&answer.body);
    status = client_check_body(client, &answer);
    if (!status && kicked)
        *kicked = count;
    return (int)status;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void read_record(struct wire_reader *reader, struct everdue_record *record)
{
    struct record_view view;
    record_view_read(reader, &view);
    convert_record(&view, record);
}

int everdue_get(struct everdue_client *client, const char *queue, struct everdue_bytes key,
                struct everdue_record *record)
{
    enum status status = client_begin(client, 0);
    if (status)
        return (int)status;
    if (!key.data || key.count > KEY_BYTES_MAX)
        return (int)client_fail(client, STATUS_BAD_KEY, (struct bytes){NULL, 0});
    struct flight *flight = client_request(client, MESSAGE_GET, 2);
    wire_write_str(&flight->frame, bytes_of(queue));
    wire_write_array(&flight->frame, 1);
    wire_write_str(&flight->frame, convert_in(key));
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (status)
        return (int)status;

    uint32_t count = wire_read_array(&answer.body, 1);
    int64_t refusal = STATUS_OK;
    if (wire_is_array(&answer.body))
        read_record(&answer.body, record);
    else
        refusal = wire_read_int(&answer.body);
    status = client_check_body(client, &answer);
    if (status)
        return (int)status;
    if (count == 1 && refusal < 0 && refusal >= INT32_MIN)
        return (int)client_fail(client, (enum status)refusal, (struct bytes){NULL, 0});
    return count == 1 && refusal == 0 ? 0 : STATUS_MALFORMED;
}

/* The array of records at which the body stands. `*go_on` becomes false when the visitor says so.
 */
static void visit_records(struct everdue_client *client, struct wire_reader *body,
                          everdue_record_visitor *visit, void *user, bool *go_on)
{
    uint32_t count = wire_read_array(body, ITEMS_MAX);
    client->is_visiting = true;
    for (uint32_t i = 0; i < count && *go_on; i++) {
        struct everdue_record record;
        read_record(body, &record);
        if (body->status)
            break;
        *go_on = visit(&record, user);
    }
    client->is_visiting = false;
}

/* One page from `*cursor` on; `*go_on` becomes false after the last. */
static enum status list_page(struct everdue_client *client, struct flight *flight,
                             everdue_record_visitor *visit, void *user, uint64_t *cursor,
                             bool *go_on)
{
    struct answer answer;
    enum status status = client_call(client, flight, &answer);
    if (status)
        return status;
    uint32_t fields = wire_read_array(&answer.body, 16);
    bool is_last = wire_take_nil(&answer.body);
    if (!is_last)
        *cursor = wire_read_uint(&answer.body);
    if (fields < 2)
        wire_fail(&answer.body);
    if (!answer.body.status)
        visit_records(client, &answer.body, visit, user, go_on);
    *go_on = *go_on && !is_last;
    return client_check_body(client, &answer);
}

int everdue_list(struct everdue_client *client, const char *queue, unsigned statuses,
                 struct everdue_bytes prefix, everdue_record_visitor *visit, void *user)
{
    if (prefix.data && prefix.count > KEY_BYTES_MAX)
        return (int)client_fail(client, STATUS_BAD_KEY, (struct bytes){NULL, 0});
    uint64_t cursor = 0;
    bool go_on = true;
    while (go_on) { /* ends with the broker's last page */
        enum status status = client_begin(client, 0);
        if (status)
            return (int)status;
        struct flight *flight = client_request(client, MESSAGE_LIST, 5);
        wire_write_str(&flight->frame, bytes_of(queue));
        wire_write_uint(&flight->frame, statuses);
        wire_write_str(&flight->frame, convert_in(prefix));
        wire_write_uint(&flight->frame, cursor);
        wire_write_uint(&flight->frame, PAGE_RECORDS);
        status = list_page(client, flight, visit, user, &cursor, &go_on);
        if (status)
            return (int)status;
    }
    return 0;
}

int everdue_peek(struct everdue_client *client, const char *queue, uint32_t max,
                 everdue_record_visitor *visit, void *user)
{
    enum status status = client_begin(client, 0);
    if (status)
        return (int)status;
    struct flight *flight = client_request(client, MESSAGE_PEEK, 2);
    wire_write_str(&flight->frame, bytes_of(queue));
    wire_write_uint(&flight->frame, max < PEEK_RECORDS_MAX ? max : PEEK_RECORDS_MAX);
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (status)
        return (int)status;
    bool go_on = true;
    visit_records(client, &answer.body, visit, user, &go_on);
    return (int)client_check_body(client, &answer);
}
