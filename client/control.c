#include "everdue/client.h"

#include <stdlib.h>

#include "client_private.h"
#include "convert.h"

/* --- control ---------------------------------------------------------------------------------- */

/* A request whose only field is a text, or nil. */
static enum status call_with_text(struct everdue_client *client, enum message_type type,
                                  const char *text, struct answer *answer)
{
    enum status status = client_begin(client, 0);
    if (status)
        return status;
    struct flight *flight = client_request(client, type, 1);
    wire_write_str(&flight->frame, bytes_of(text));
    return client_call(client, flight, answer);
}

int everdue_pause(struct everdue_client *client, const char *queue)
{
    struct answer answer;
    return (int)call_with_text(client, MESSAGE_PAUSE, queue, &answer);
}

int everdue_unpause(struct everdue_client *client, const char *queue)
{
    struct answer answer;
    return (int)call_with_text(client, MESSAGE_UNPAUSE, queue, &answer);
}

int everdue_backup(struct everdue_client *client, const char *directory)
{
    struct answer answer;
    return (int)call_with_text(client, MESSAGE_BACKUP, directory, &answer);
}

int everdue_drain(struct everdue_client *client, uint32_t wait_ms)
{
    enum status status = client_begin(client, wait_ms);
    if (status)
        return (int)status;
    struct flight *flight = client_request(client, MESSAGE_DRAIN, 1);
    wire_write_uint(&flight->frame, wait_ms);
    return (int)client_call_plain(client, flight);
}

/* --- rows of names with numbers or texts -------------------------------------------------------
 */

enum { VALUES_MAX = 4096 };

enum value_kind { VALUE_NUMBER, VALUE_TEXT, VALUE_BOOL, VALUE_OTHER };

/* What begins with this byte (the format's table of first bytes). */
static enum value_kind kind_of(uint8_t first)
{
    if (first < 0x80 || first >= 0xe0 || (first >= 0xcc && first <= 0xd3))
        return VALUE_NUMBER;
    if ((first & 0xe0) == 0xa0 || (first >= 0xd9 && first <= 0xdb) ||
        (first >= 0xc4 && first <= 0xc6))
        return VALUE_TEXT;
    return first == 0xc2 || first == 0xc3 ? VALUE_BOOL : VALUE_OTHER;
}

/* False: a value of a kind that this version does not know; it was passed over. */
static bool read_value(struct wire_reader *body, struct everdue_value *value)
{
    *value = (struct everdue_value){.name = convert_out(wire_read_bytes(body, MESSAGE_BYTES_MAX))};
    enum value_kind kind = body->at < body->end ? kind_of(*body->at) : VALUE_OTHER;
    switch (kind) {
    case VALUE_NUMBER:
        value->number = wire_read_int_saturated(body);
        return true;
    case VALUE_TEXT:
        value->is_text = true;
        value->text = convert_out(wire_read_bytes(body, MESSAGE_BYTES_MAX));
        return true;
    case VALUE_BOOL:
        value->number = wire_read_bool(body);
        return true;
    case VALUE_OTHER:
        wire_skip(body);
        return false;
    }
    return false;
}

static enum status visit_row(struct everdue_client *client, struct wire_reader *body,
                             everdue_row_visitor *visit, void *user, bool *go_on)
{
    uint32_t pairs = wire_read_map(body, VALUES_MAX);
    if (body->status)
        return STATUS_MALFORMED;
    struct everdue_value *values = malloc((pairs + 1) * sizeof(*values));
    if (!values)
        return STATUS_NO_MEMORY;
    size_t count = 0;
    for (uint32_t i = 0; i < pairs; i++)
        count += read_value(body, &values[count]);
    if (!body->status) {
        client->is_visiting = true;
        *go_on = visit(values, count, user);
        client->is_visiting = false;
    }
    free(values);
    return body->status;
}

static enum status finish_rows(struct everdue_client *client, const struct answer *answer,
                               enum status status)
{
    if (status == STATUS_NO_MEMORY)
        return client_fail(client, status, (struct bytes){NULL, 0});
    return client_check_body(client, answer);
}

int everdue_stats(struct everdue_client *client, const char *queue, everdue_row_visitor *visit,
                  void *user)
{
    struct answer answer;
    bool go_on = true;
    enum status status = call_with_text(client, MESSAGE_STATS, queue, &answer);
    if (status)
        return (int)status;
    status = visit_row(client, &answer.body, visit, user, &go_on);
    return (int)finish_rows(client, &answer, status);
}

static int visit_rows(struct everdue_client *client, enum message_type type,
                      everdue_row_visitor *visit, void *user)
{
    struct answer answer;
    enum status status = client_begin(client, 0);
    if (!status)
        status = client_call(client, client_request(client, type, 0), &answer);
    if (status)
        return (int)status;
    uint32_t rows = wire_read_array(&answer.body, MESSAGE_BYTES_MAX);
    bool go_on = true;
    for (uint32_t i = 0; i < rows && go_on && !status; i++)
        status = visit_row(client, &answer.body, visit, user, &go_on);
    return (int)finish_rows(client, &answer, status);
}

int everdue_workers(struct everdue_client *client, everdue_row_visitor *visit, void *user)
{
    return visit_rows(client, MESSAGE_WORKERS, visit, user);
}

int everdue_queues(struct everdue_client *client, everdue_row_visitor *visit, void *user)
{
    return visit_rows(client, MESSAGE_QUEUES, visit, user);
}
