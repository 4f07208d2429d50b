#include "wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"

static void expect_bytes(const struct wire_buffer *buffer, const char *bytes, size_t count)
{
    assert_false(buffer->failed);
    assert_int_equal(buffer->count, count);
    assert_memory_equal(buffer->data, bytes, count);
}

static void integers_are_written_in_their_shortest_form(void **state)
{
    static const char expected[] =
        "\x00\x7f\xcc\x80\xcc\xff\xcd\x01\x00\xce\x00\x01\x00\x00"
        "\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
        "\xff\xe0\xd0\xdf\xd1\xff\x7f\xd2\xff\xff\x7f\xff\xd3\x80\x00\x00\x00\x00\x00\x00\x00"
        "\x05\xcf\x7f\xff\xff\xff\xff\xff\xff\xff";
    struct wire_buffer buffer;
    (void)state;

    wire_buffer_init(&buffer);
    static const uint64_t numbers[] = {0, 127, 128, 255, 256, 65536, 4294967296, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        wire_write_uint(&buffer, numbers[i]);
    static const int64_t signed_numbers[] = {-1, -32, -33, -129, -32769, INT64_MIN, 5, INT64_MAX};
    for (size_t i = 0; i < sizeof(signed_numbers) / sizeof(signed_numbers[0]); i++)
        wire_write_int(&buffer, signed_numbers[i]);
    expect_bytes(&buffer, expected, sizeof(expected) - 1);
    wire_buffer_release(&buffer);
}

static void everything_else_is_written(void **state)
{
    static const char expected[] = "\x92\x81\xc3\xc2\xc0\xa3key\xc4\x02\x00\x01\xa0\xc4\x00\xc0\xc0"
                                   "raw\xdd\x00\x01\x02\x03";
    struct wire_buffer buffer;
    (void)state;

    wire_buffer_init(&buffer);
    wire_write_array(&buffer, 2);
    wire_write_map(&buffer, 1);
    wire_write_bool(&buffer, true);
    wire_write_bool(&buffer, false);
    wire_write_nil(&buffer);
    wire_write_str(&buffer, bytes_of("key"));
    wire_write_bin(&buffer, (struct bytes){(const uint8_t *)"\x00\x01", 2});
    wire_write_str(&buffer, bytes_of(""));
    wire_write_bin(&buffer, bytes_of(""));
    wire_write_str(&buffer, bytes_of(NULL));
    wire_write_bin(&buffer, bytes_of(NULL));
    wire_write_raw(&buffer, "raw", 3);
    size_t offset = wire_write_array_later(&buffer);
    wire_patch_array(&buffer, offset, 0x010203);
    expect_bytes(&buffer, expected, sizeof(expected) - 1);
    wire_buffer_release(&buffer);
    assert_null(buffer.data);
}

static void a_cleared_buffer_keeps_its_memory(void **state)
{
    struct wire_buffer buffer;
    (void)state;

    wire_buffer_init(&buffer);
    assert_true(wire_buffer_reserve(&buffer, 100000));
    const uint8_t *data = buffer.data;
    size_t room = buffer.room;
    wire_write_nil(&buffer);
    wire_buffer_clear(&buffer);
    assert_int_equal(buffer.count, 0);
    wire_write_bool(&buffer, true);
    expect_bytes(&buffer, "\xc3", 1);
    assert_ptr_equal(buffer.data, data);
    assert_int_equal(buffer.room, room);
    wire_buffer_release(&buffer);
}

static void a_reservation_beyond_all_memory_fails(void **state)
{
    struct wire_buffer buffer;
    (void)state;

    wire_buffer_init(&buffer);
    wire_write_nil(&buffer);
    assert_false(wire_buffer_reserve(&buffer, SIZE_MAX - 1));
    assert_true(buffer.failed);
    wire_buffer_release(&buffer);
}

static void write_much(struct wire_buffer *buffer)
{
    for (uint32_t i = 0; i < 1000; i++) {
        wire_write_uint(buffer, i);
        wire_write_str(buffer, bytes_of("a key of middling length"));
    }
    size_t offset = wire_write_array_later(buffer);
    wire_patch_array(buffer, offset, 3);
}

/* Every allocation fails once; the failure sticks until the buffer is cleared. */
static void a_failed_allocation_sticks_and_leaves_the_beginning_whole(void **state)
{
    (void)state;
    struct wire_buffer whole;
    wire_buffer_init(&whole);
    write_much(&whole);
    assert_false(whole.failed);

    long failing = 0;
    bool failed = true;
    for (; failed; failing++) {
        struct wire_buffer buffer;
        wire_buffer_init(&buffer);
        memory_plan((uint64_t)failing + 1, true);
        memory_enter();
        write_much(&buffer);
        memory_leave();
        failed = buffer.failed;
        assert_true(failed ? buffer.count < whole.count : buffer.count == whole.count);
        if (buffer.count > 0)
            assert_memory_equal(buffer.data, whole.data, buffer.count);
        size_t count = buffer.count;
        wire_write_nil(&buffer);
        assert_int_equal(buffer.count, failed ? count : count + 1);
        wire_buffer_clear(&buffer);
        wire_write_nil(&buffer);
        assert_false(buffer.failed);
        wire_buffer_release(&buffer);
    }
    assert_true(failing > 5);
    wire_buffer_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_written_in_their_shortest_form),
        cmocka_unit_test(everything_else_is_written),
        cmocka_unit_test(a_cleared_buffer_keeps_its_memory),
        cmocka_unit_test(a_reservation_beyond_all_memory_fails),
        cmocka_unit_test(a_failed_allocation_sticks_and_leaves_the_beginning_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
