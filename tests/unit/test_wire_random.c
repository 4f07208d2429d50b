/* Against msgpack-c's own unpacker: random documents, whole and damaged, must mean the same to
 * both. */
#include "wire.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <msgpack.h>

enum { DOCUMENTS = 20000, DEPTH_MAX = 8 };

static uint64_t random_state;

static uint64_t draw(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint32_t below(uint32_t end)
{
    return (uint32_t)(draw() % end);
}

/* --- writing ---------------------------------------------------------------------------------- */

static uint8_t junk[70000];

static void write_scalar(struct wire_buffer *buffer)
{
    uint32_t count = below(20) ? below(40) : below(20) ? below(300) : below(sizeof(junk));
    switch (below(7)) {
    case 0:
        wire_write_nil(buffer);
        break;
    case 1:
        wire_write_bool(buffer, below(2));
        break;
    case 2:
        wire_write_uint(buffer, draw() >> below(64));
        break;
    case 3:
        wire_write_int(buffer, (int64_t)draw() >> below(64));
        break;
    case 4:
        wire_write_str(buffer, (struct bytes){junk, count});
        break;
    case 5:
        wire_write_bin(buffer, (struct bytes){junk, count});
        break;
    default:
        wire_write_raw(buffer, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9);
        break;
    }
}

/* A value with up to `depth` levels of containers, written without recursion. */
static void write_value(struct wire_buffer *buffer, uint32_t depth)
{
    uint32_t open[DEPTH_MAX + 1] = {1};
    uint32_t level = 0;
    for (;;) {
        while (open[level] == 0)
            if (level-- == 0)
                return;
        open[level]--;
        if (level == depth || below(3)) {
            write_scalar(buffer);
            continue;
        }
        uint32_t count = below(10) ? below(5) : below(40);
        bool map = below(4) == 0;
        if (map)
            wire_write_map(buffer, count);
        else
            wire_write_array(buffer, count);
        open[++level] = map ? 2 * count : count;
    }
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool same_int(struct wire_reader *reader, const msgpack_object *object)
{
    if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return wire_read_int(reader) == object->via.i64;
    return wire_read_uint(reader) == object->via.u64;
}

static bool same_bytes(struct wire_reader *reader, const char *data, uint32_t count)
{
    struct bytes bytes = wire_read_bytes(reader, UINT32_MAX);
    return bytes.data && bytes.count == count &&
           (count == 0 || memcmp(bytes.data, data, count) == 0);
}

static bool same_by_length(struct wire_reader *reader)
{
    wire_skip(reader);
    return true;
}

/* Reads one value, or the head of a container, and compares it. */
static bool same_head(struct wire_reader *reader, const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return wire_take_nil(reader);
    case MSGPACK_OBJECT_BOOLEAN:
        return wire_read_bool(reader) == object->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return same_int(reader, object);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
    case MSGPACK_OBJECT_EXT:
        return same_by_length(reader);
    case MSGPACK_OBJECT_STR:
        return same_bytes(reader, object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return same_bytes(reader, object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_ARRAY:
        return wire_read_array(reader, UINT32_MAX) == object->via.array.size;
    case MSGPACK_OBJECT_MAP:
        return wire_read_map(reader, UINT32_MAX) == object->via.map.size;
    }
    return false;
}

struct place {
    const msgpack_object *object;
    uint32_t next;
};

/* The next element of a container, keys and values of a map in turn; NULL when there is none. */
static const msgpack_object *element(struct place *place)
{
    const msgpack_object *object = place->object;
    uint32_t i = place->next++;
    if (object->type == MSGPACK_OBJECT_ARRAY && i < object->via.array.size)
        return &object->via.array.ptr[i];
    if (object->type == MSGPACK_OBJECT_MAP && i / 2 < object->via.map.size)
        return i % 2 ? &object->via.map.ptr[i / 2].val : &object->via.map.ptr[i / 2].key;
    return NULL;
}

static bool same_value(struct wire_reader *reader, const msgpack_object *object)
{
    struct place open[40] = {{object, 0}};
    int level = 0;
    if (!same_head(reader, object))
        return false;
    while (level >= 0) {
        const msgpack_object *inner = element(&open[level]);
        if (!inner) {
            level--;
            continue;
        }
        if (!same_head(reader, inner))
            return false;
        open[++level] = (struct place){inner, 0};
    }
    return reader->status == STATUS_OK;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void random_documents_mean_the_same_to_both_readers(void **state)
{
    struct wire_buffer buffer;
    (void)state;

    wire_buffer_init(&buffer);
    for (int i = 0; i < DOCUMENTS; i++) {
        wire_buffer_clear(&buffer);
        write_value(&buffer, below(DEPTH_MAX + 1));

        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t used = 0;
        int result = msgpack_unpack_next(&unpacked, (const char *)buffer.data, buffer.count, &used);
        assert_int_equal(result, MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(used, buffer.count);

        struct wire_reader reader;
        wire_reader_init(&reader, buffer.data, buffer.count);
        if (!same_value(&reader, &unpacked.data) || reader.at != reader.end)
            fail_msg("document %d differs", i);
        wire_reader_init(&reader, buffer.data, buffer.count);
        wire_skip(&reader);
        assert_int_equal(reader.status, STATUS_OK);
        assert_ptr_equal(reader.at, reader.end);
        msgpack_unpacked_destroy(&unpacked);
    }
    wire_buffer_release(&buffer);
}

/* What is passed over here is one value to msgpack-c, of the same length. The unpacker is asked
 * only then: it believes counts that the bytes do not bear out. */
static void what_is_passed_over_of_a_damaged_document_is_one_value_to_both(void **state)
{
    struct wire_buffer buffer;
    int taken = 0;
    (void)state;

    wire_buffer_init(&buffer);
    for (int i = 0; i < DOCUMENTS; i++) {
        wire_buffer_clear(&buffer);
        write_value(&buffer, below(4));
        size_t count = 1 + draw() % buffer.count;
        uint8_t *bytes = malloc(count);
        assert_non_null(bytes);
        memcpy(bytes, buffer.data, count);
        for (uint32_t hits = below(3); hits > 0; hits--)
            bytes[draw() % count] = (uint8_t)draw();

        struct wire_reader reader;
        wire_reader_init(&reader, bytes, count);
        wire_skip(&reader);
        if (reader.status == STATUS_OK) {
            msgpack_unpacked unpacked;
            msgpack_unpacked_init(&unpacked);
            size_t used = 0;
            int result = msgpack_unpack_next(&unpacked, (const char *)bytes, count, &used);
            assert_int_equal(result, MSGPACK_UNPACK_SUCCESS);
            assert_int_equal(used, reader.at - bytes);
            msgpack_unpacked_destroy(&unpacked);
            taken++;
        }
        free(bytes);
    }
    assert_in_range(taken, DOCUMENTS / 20, DOCUMENTS - DOCUMENTS / 20);
    wire_buffer_release(&buffer);
}

int main(void)
{
    const char *seed = getenv("EVERDUE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %" PRIu64 " (EVERDUE_TEST_SEED)\n", random_state);
    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (uint8_t)draw();

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_documents_mean_the_same_to_both_readers),
        cmocka_unit_test(what_is_passed_over_of_a_damaged_document_is_one_value_to_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
