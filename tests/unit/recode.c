#include "recode.h"

#include <string.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* u unsigned, i int, b bool, s str, x any value, copied as it is.
 * h hello, w welcome, a take, y sync_begin, z sync_commit: all fields of the message.
 * Items: p put, r report, t task, l lease name, g give_back, m resume, c sync_counts,
 *        v record view or status, L [ cursor or nil, [ *record view ] ].
 * ? before a letter: may be nil. * before a letter: an array of these. */
static const struct recode_shape shapes[] = {
    {MESSAGE_PING, "PING", "u"},
    {MESSAGE_PONG, "PONG", "u"},
    {MESSAGE_HELLO, "HELLO", "h"},
    {MESSAGE_CREDIT, "CREDIT", "u"},
    {MESSAGE_REPORT, "REPORT", "u*r"},
    {MESSAGE_TOUCH, "TOUCH", "uu*l"},
    {MESSAGE_GIVE_BACK, "GIVE_BACK", "u*g"},
    {MESSAGE_RESUME, "RESUME", "u*m"},
    {MESSAGE_TAKE, "TAKE", "a"},
    {MESSAGE_GOODBYE, "GOODBYE", "u"},
    {MESSAGE_PUT, "PUT", "us*p"},
    {MESSAGE_REMOVE, "REMOVE", "us*s"},
    {MESSAGE_RUN_NOW, "RUN_NOW", "us*s"},
    {MESSAGE_KICK, "KICK", "us?*s"},
    {MESSAGE_GET, "GET", "us*s"},
    {MESSAGE_LIST, "LIST", "usu?suu"},
    {MESSAGE_PEEK, "PEEK", "usu"},
    {MESSAGE_SYNC_BEGIN, "SYNC_BEGIN", "y"},
    {MESSAGE_SYNC_CHUNK, "SYNC_CHUNK", "uu*p"},
    {MESSAGE_SYNC_COMMIT, "SYNC_COMMIT", "z"},
    {MESSAGE_SYNC_ABORT, "SYNC_ABORT", "uu"},
    {MESSAGE_PAUSE, "PAUSE", "us"},
    {MESSAGE_UNPAUSE, "UNPAUSE", "u?s"},
    {MESSAGE_DRAIN, "DRAIN", "uu"},
    {MESSAGE_STATS, "STATS", "u?s"},
    {MESSAGE_WORKERS, "WORKERS", "u"},
    {MESSAGE_QUEUES, "QUEUES", "u"},
    {MESSAGE_BACKUP, "BACKUP", "us"},
    {MESSAGE_WELCOME, "WELCOME", "w"},
    {MESSAGE_TASKS, "TASKS", "*t"},
    {MESSAGE_CANCEL, "CANCEL", "*u"},
    {MESSAGE_ANSWER, "ANSWER", "ui?x?s"},
    {MESSAGE_ERROR, "ERROR", "i?s"},
    {MESSAGE_BYE, "BYE", "s"},
};

static const struct {
    const char *name;
    const char *body;
} bodies[] = {
    {"TAKE", "*t"},      {"GET", "*v"},        {"LIST", "L"},     {"PEEK", "*v"},
    {"SYNC_BEGIN", "u"}, {"SYNC_COMMIT", "c"}, {"KICK all", "u"}, {"STATS", "x"},
};

const struct recode_shape *recode_find(int type)
{
    for (size_t i = 0; i < ROWS(shapes); i++)
        if (shapes[i].type == type)
            return &shapes[i];
    return NULL;
}

const char *recode_find_body(const char *name)
{
    for (size_t i = 0; i < ROWS(bodies); i++)
        if (strcmp(bodies[i].name, name) == 0)
            return bodies[i].body;
    return "*i"; /* an array of item statuses */
}

/* --- whole messages --------------------------------------------------------------------------- */

static void recode_message(struct wire_reader *reader, uint32_t count, char letter,
                           struct wire_buffer *out)
{
    static struct hello hello;
    struct welcome welcome;
    struct take take;
    struct sync_begin begin;
    struct sync_commit commit;

    switch (letter) {
    case 'h':
        hello_read(reader, count, &hello);
        hello_write(out, &hello);
        break;
    case 'w':
        welcome_read(reader, count, &welcome);
        welcome_write(out, &welcome);
        break;
    case 'a':
        take_read(reader, count, &take);
        take_write(out, &take);
        break;
    case 'y':
        sync_begin_read(reader, count, &begin);
        sync_begin_write(out, &begin);
        break;
    default:
        sync_commit_read(reader, count, &commit);
        sync_commit_write(out, &commit);
        break;
    }
}

/* --- items ------------------------------------------------------------------------------------ */

static void recode_lease_item(struct wire_reader *reader, char letter, struct wire_buffer *out)
{
    struct lease_name name;
    struct give_back give_back;
    struct resume resume;

    switch (letter) {
    case 'l':
        lease_name_read(reader, &name);
        lease_name_write(out, &name);
        break;
    case 'g':
        give_back_read(reader, &give_back);
        give_back_write(out, &give_back);
        break;
    default:
        resume_read(reader, &resume);
        resume_write(out, &resume);
        break;
    }
}

static void recode_record_item(struct wire_reader *reader, char letter, struct wire_buffer *out)
{
    struct put put;
    struct report report;
    struct task task;
    struct sync_counts counts;

    switch (letter) {
    case 'p':
        put_read(reader, &put);
        put_write(out, &put);
        break;
    case 'r':
        report_read(reader, &report);
        report_write(out, &report);
        break;
    case 't':
        task_read(reader, &task);
        task_write(out, &task);
        break;
    default:
        sync_counts_read(reader, &counts);
        sync_counts_write(out, &counts);
        break;
    }
}

static void recode_view(struct wire_reader *reader, struct wire_buffer *out)
{
    if (!wire_is_array(reader)) {
        wire_write_int(out, wire_read_int(reader));
        return;
    }
    struct record_view view;
    record_view_read(reader, &view);
    record_view_write(out, &view);
}

static void recode_list(struct wire_reader *reader, struct wire_buffer *out)
{
    wire_write_array(out, wire_read_array(reader, 2));
    if (wire_take_nil(reader))
        wire_write_nil(out);
    else
        wire_write_uint(out, wire_read_uint(reader));
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    wire_write_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        recode_view(reader, out);
}

static void copy_any(struct wire_reader *reader, struct wire_buffer *out)
{
    const uint8_t *begin = reader->at;
    wire_skip(reader);
    if (reader->status == STATUS_OK)
        wire_write_raw(out, begin, (size_t)(reader->at - begin));
}

static void recode_value(struct wire_reader *reader, char letter, struct wire_buffer *out)
{
    if (letter == 'u')
        wire_write_uint(out, wire_read_uint(reader));
    else if (letter == 'i')
        wire_write_int(out, wire_read_int(reader));
    else if (letter == 'b')
        wire_write_bool(out, wire_read_bool(reader));
    else if (letter == 's')
        wire_write_str(out, wire_read_bytes(reader, MESSAGE_BYTES_MAX));
    else if (letter == 'x')
        copy_any(reader, out);
    else if (letter == 'v')
        recode_view(reader, out);
    else if (letter == 'L')
        recode_list(reader, out);
    else if (strchr("lgm", letter))
        recode_lease_item(reader, letter, out);
    else
        recode_record_item(reader, letter, out);
}

/* One field by its shape; returns the shape of the next. */
static const char *recode_field(struct wire_reader *reader, const char *shape,
                                struct wire_buffer *out)
{
    bool nil = *shape == '?' && wire_take_nil(reader);
    shape += *shape == '?';
    bool array = *shape == '*';
    shape += array;
    if (nil) {
        wire_write_nil(out);
    } else if (array) {
        uint32_t count = wire_read_array(reader, ITEMS_MAX);
        wire_write_array(out, count);
        for (uint32_t i = 0; i < count && reader->status == STATUS_OK; i++)
            recode_value(reader, *shape, out);
    } else {
        recode_value(reader, *shape, out);
    }
    return shape + 1;
}

enum status recode(const void *data, size_t count, const char *body, struct wire_buffer *out)
{
    struct wire_reader reader;
    struct message_head head;
    wire_reader_init(&reader, data, count);
    enum status status = message_read_head(&reader, &head);
    if (status)
        return status;
    const struct recode_shape *shape = recode_find(head.type);
    if (!shape)
        return STATUS_UNKNOWN_TYPE;
    if (strchr("hwayz", shape->fields[0])) {
        recode_message(&reader, head.fields, shape->fields[0], out);
        return reader.status;
    }

    const char *fields = shape->fields;
    message_write_head(out, (enum message_type)head.type, head.fields);
    uint32_t done = 0;
    for (; done < head.fields && *fields; done++) {
        bool is_body = strncmp(fields, "?x", 2) == 0 && body;
        if (is_body && reader.at < reader.end && *reader.at != 0xc0) {
            recode_field(&reader, body, out);
            fields += 2;
        } else {
            fields = recode_field(&reader, fields, out);
        }
    }
    wire_skip_rest(&reader, head.fields, done);
    return reader.status;
}
