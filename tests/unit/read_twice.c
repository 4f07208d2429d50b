#include "read_twice.h"

#include <stdlib.h>
#include <string.h>

#include "message.h"

enum { BEHIND = 200 };

/* What one way of reading gave: written again, which shows every field. */
struct outcome_of {
    enum status status;
    size_t left;
    struct wire_buffer again;
};

static void read_task(struct wire_reader *reader, bool by_field, struct wire_buffer *again)
{
    struct task task;
    if (by_field)
        task_read_any(reader, &task);
    else
        task_read(reader, &task);
    if (reader->status == STATUS_OK)
        task_write(again, &task);
}

static void read_report(struct wire_reader *reader, bool by_field, struct wire_buffer *again)
{
    struct report report;
    if (by_field)
        report_read_any(reader, &report);
    else
        report_read(reader, &report);
    if (reader->status == STATUS_OK)
        report_write(again, &report);
}

typedef void read_item(struct wire_reader *reader, bool by_field, struct wire_buffer *again);

static struct outcome_of read_one(read_item *read, const uint8_t *data, size_t count, bool by_field)
{
    struct wire_reader reader;
    struct outcome_of out;
    wire_buffer_init(&out.again);
    wire_reader_init(&reader, data, count);
    read(&reader, by_field, &out.again);
    out.status = reader.status;
    out.left = (size_t)(reader.end - reader.at);
    return out;
}

static const char *compare(read_item *read, const uint8_t *data, size_t count)
{
    struct outcome_of quick = read_one(read, data, count, false);
    struct outcome_of by_field = read_one(read, data, count, true);
    const char *what = NULL;
    if (quick.status != by_field.status)
        what = "the status";
    else if (quick.left != by_field.left)
        what = "how much was read";
    else if (quick.again.count != by_field.again.count ||
             (quick.again.count &&
              memcmp(quick.again.data, by_field.again.data, quick.again.count) != 0))
        what = "a field";
    wire_buffer_release(&quick.again);
    wire_buffer_release(&by_field.again);
    return what;
}

const char *read_twice(const uint8_t *data, size_t count)
{
    /* Of its own size each, so that a read beyond it is found. */
    uint8_t *alone = malloc(count + 1);
    uint8_t *longer = malloc(count + BEHIND);
    if (!alone || !longer) {
        free(alone);
        free(longer);
        return "no memory";
    }
    if (count) {
        memcpy(alone + 1, data, count);
        memcpy(longer, data, count);
    }
    memset(longer + count, 0, BEHIND);
    read_item *const items[] = {read_task, read_report};
    const char *what = NULL;
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]) && !what; i++) {
        what = compare(items[i], alone + 1, count);
        if (!what)
            what = compare(items[i], longer, count + BEHIND);
    }
    free(alone);
    free(longer);
    return what;
}
