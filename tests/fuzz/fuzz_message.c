/* fuzz_message.c - every decoder of the protocol: what was read is written, and reads as the same
 * again; and tasks and reports read alike in both ways of reading them. The first byte chooses the
 * decoder. */
#include "fuzz.h"
#include "message.h"
#include "read_twice.h"

union message {
    struct hello hello;
    struct welcome welcome;
    struct task task;
    struct report report;
    struct lease_name lease_name;
    struct give_back give_back;
    struct resume resume;
    struct take take;
    struct put put;
    struct record_view record_view;
    struct sync_begin sync_begin;
    struct sync_commit sync_commit;
    struct sync_counts sync_counts;
};

/* Either a message with a head or an item of one. */
struct codec {
    void (*read_message)(struct wire_reader *reader, uint32_t fields, union message *message);
    void (*read_item)(struct wire_reader *reader, union message *message);
    void (*write)(struct wire_buffer *buffer, const union message *message);
};

#define MESSAGE(name)                                                                              \
    static void read_##name(struct wire_reader *reader, uint32_t fields, union message *message)   \
    {                                                                                              \
        name##_read(reader, fields, &message->name);                                               \
    }                                                                                              \
    static void write_##name(struct wire_buffer *buffer, const union message *message)             \
    {                                                                                              \
        name##_write(buffer, &message->name);                                                      \
    }

#define ITEM(name)                                                                                 \
    static void read_##name(struct wire_reader *reader, union message *message)                    \
    {                                                                                              \
        name##_read(reader, &message->name);                                                       \
    }                                                                                              \
    static void write_##name(struct wire_buffer *buffer, const union message *message)             \
    {                                                                                              \
        name##_write(buffer, &message->name);                                                      \
    }

MESSAGE(hello)
MESSAGE(welcome)
MESSAGE(take)
MESSAGE(sync_begin)
MESSAGE(sync_commit)
ITEM(task)
ITEM(report)
ITEM(lease_name)
ITEM(give_back)
ITEM(resume)
ITEM(put)
ITEM(record_view)
ITEM(sync_counts)

static const struct codec codecs[] = {
    {read_hello, NULL, write_hello},
    {read_welcome, NULL, write_welcome},
    {read_take, NULL, write_take},
    {read_sync_begin, NULL, write_sync_begin},
    {read_sync_commit, NULL, write_sync_commit},
    {NULL, read_task, write_task},
    {NULL, read_report, write_report},
    {NULL, read_lease_name, write_lease_name},
    {NULL, read_give_back, write_give_back},
    {NULL, read_resume, write_resume},
    {NULL, read_put, write_put},
    {NULL, read_record_view, write_record_view},
    {NULL, read_sync_counts, write_sync_counts},
};

static bool read_with(const struct codec *codec, const void *data, size_t count,
                      union message *message)
{
    struct wire_reader reader;
    struct message_head head;
    memset(message, 0, sizeof(*message));
    wire_reader_init(&reader, data, count);
    if (codec->read_item) {
        codec->read_item(&reader, message);
        return reader.status == STATUS_OK;
    }
    if (message_read_head(&reader, &head))
        return false;
    codec->read_message(&reader, head.fields, message);
    return reader.status == STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    union message message;
    struct wire_buffer first;
    struct wire_buffer second;
    if (!count)
        return 0;
    FUZZ_CHECK(read_twice(data + 1, count - 1) == NULL);
    const struct codec *codec = &codecs[data[0] % (sizeof(codecs) / sizeof(codecs[0]))];
    if (!read_with(codec, data + 1, count - 1, &message))
        return 0;
    wire_buffer_init(&first);
    wire_buffer_init(&second);
    codec->write(&first, &message);
    FUZZ_CHECK(!first.failed);
    FUZZ_CHECK(read_with(codec, first.data, first.count, &message));
    codec->write(&second, &message);
    FUZZ_CHECK(first.count == second.count && memcmp(first.data, second.data, first.count) == 0);
    wire_buffer_release(&first);
    wire_buffer_release(&second);
    return 0;
}
