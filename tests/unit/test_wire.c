#include "wire.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The bytes of a string literal, and how many: two columns of a row. */
#define BYTES(text) (text), sizeof(text) - 1
#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

enum { ANY = 1000000 };

/* Heap memory of exactly `count` bytes: a sanitizer sees the first byte read behind it. */
static uint8_t *exactly(const void *bytes, size_t count)
{
    uint8_t *copy = malloc(count ? count : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    return copy;
}

static struct wire_reader over(const void *bytes, size_t count)
{
    struct wire_reader reader;
    wire_reader_init(&reader, bytes, count);
    return reader;
}

static void expect_all_read(const struct wire_reader *reader)
{
    assert_int_equal(reader->status, STATUS_OK);
    assert_ptr_equal(reader->at, reader->end);
}

/* --- values that are right -------------------------------------------------------------------- */

static void integers_of_every_form_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
        int64_t value;
    } rows[] = {
        {BYTES("\x00"), 0},
        {BYTES("\x7f"), 127},
        {BYTES("\xff"), -1},
        {BYTES("\xe0"), -32},
        {BYTES("\xcc\x05"), 5},
        {BYTES("\xcc\xff"), 255},
        {BYTES("\xcd\x01\x00"), 256},
        {BYTES("\xce\xff\xff\xff\xff"), UINT32_MAX},
        {BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX},
        {BYTES("\xd0\x05"), 5},
        {BYTES("\xd0\x80"), -128},
        {BYTES("\xd1\xff\x00"), -256},
        {BYTES("\xd2\x80\x00\x00\x00"), INT32_MIN},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
        {BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x07"), 7},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct wire_reader reader = over(rows[i].bytes, rows[i].count);
        assert_int_equal(wire_read_int(&reader), rows[i].value);
        expect_all_read(&reader);
        reader = over(rows[i].bytes, rows[i].count);
        assert_int_equal(wire_read_int_saturated(&reader), rows[i].value);
        expect_all_read(&reader);
        reader = over(rows[i].bytes, rows[i].count);
        uint64_t number = wire_read_uint(&reader);
        assert_int_equal(number, rows[i].value < 0 ? 0 : rows[i].value);
        assert_int_equal(reader.status, rows[i].value < 0 ? STATUS_MALFORMED : STATUS_OK);
    }
}

static void a_number_above_int64_is_unsigned_or_saturated_or_an_error(void **state)
{
    static const char most[] = "\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
    (void)state;

    struct wire_reader reader = over(most, 9);
    assert_true(wire_read_uint(&reader) == UINT64_MAX);
    expect_all_read(&reader);
    reader = over(most, 9);
    assert_int_equal(wire_read_int_saturated(&reader), INT64_MAX);
    expect_all_read(&reader);
    reader = over(most, 9);
    assert_int_equal(wire_read_int(&reader), 0);
    assert_int_equal(reader.status, STATUS_MALFORMED);
}

static void str_and_bin_of_every_length_form_are_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
        const char *value;
    } rows[] = {
        {BYTES("\xa0"), ""},
        {BYTES("\xa3key"), "key"},
        {BYTES("\xd9\x03key"), "key"},
        {BYTES("\xda\x00\x03key"), "key"},
        {BYTES("\xdb\x00\x00\x00\x03key"), "key"},
        {BYTES("\xc4\x00"), ""},
        {BYTES("\xc4\x03key"), "key"},
        {BYTES("\xc5\x00\x03key"), "key"},
        {BYTES("\xc6\x00\x00\x00\x03key"), "key"},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct wire_reader reader = over(rows[i].bytes, rows[i].count);
        struct bytes value = wire_read_bytes(&reader, 3);
        assert_true(bytes_equal(value, bytes_of(rows[i].value)));
        expect_all_read(&reader);
    }
}

static void nil_is_absent_bytes_and_the_other_integer(void **state)
{
    struct wire_reader reader = over("\xc0\xc0\x07\xc0", 4);
    (void)state;

    assert_null(wire_read_bytes(&reader, ANY).data);
    assert_int_equal(wire_read_int_or(&reader, -5), -5);
    assert_int_equal(wire_read_int_or(&reader, -5), 7);
    assert_true(wire_take_nil(&reader));
    assert_false(wire_take_nil(&reader));
    expect_all_read(&reader);
}

static void counts_of_arrays_and_maps_are_read_in_every_form(void **state)
{
    struct wire_reader reader = over("\x93\x01\x02\x03", 4);
    (void)state;

    assert_true(wire_is_array(&reader));
    assert_int_equal(wire_read_array(&reader, 3), 3);
    assert_false(wire_is_array(&reader));
    reader = over("\xdc\x00\x02\x01\x02", 5);
    assert_true(wire_is_array(&reader));
    assert_int_equal(wire_read_array(&reader, 3), 2);
    reader = over("\xdd\x00\x00\x00\x02\x01\x02", 7);
    assert_true(wire_is_array(&reader));
    assert_int_equal(wire_read_array(&reader, 3), 2);
    reader = over("\x90", 1);
    assert_int_equal(wire_read_array(&reader, 0), 0);
    expect_all_read(&reader);
    reader = over("\x82\x01\x02\x03\x04", 5);
    assert_false(wire_is_array(&reader));
    assert_int_equal(wire_read_map(&reader, 2), 2);
    reader = over("\xde\x00\x01\x01\x02", 5);
    assert_int_equal(wire_read_map(&reader, 2), 1);
    reader = over("\xdf\x00\x00\x00\x01\x01\x02", 7);
    assert_int_equal(wire_read_map(&reader, 2), 1);
    assert_int_equal(reader.status, STATUS_OK);
}

static void booleans_are_read(void **state)
{
    struct wire_reader reader = over("\xc3\xc2", 2);
    (void)state;

    assert_true(wire_read_bool(&reader));
    assert_false(wire_read_bool(&reader));
    expect_all_read(&reader);
}

/* --- values that are wrong -------------------------------------------------------------------- */

static void read_uint(struct wire_reader *reader)
{
    assert_int_equal(wire_read_uint(reader), 0);
}

static void read_int(struct wire_reader *reader)
{
    assert_int_equal(wire_read_int(reader), 0);
}

static void read_int_or(struct wire_reader *reader)
{
    assert_int_equal(wire_read_int_or(reader, 5), 0);
}

static void read_bool(struct wire_reader *reader)
{
    assert_false(wire_read_bool(reader));
}

static void read_bytes(struct wire_reader *reader)
{
    assert_null(wire_read_bytes(reader, 40).data);
}

static void read_array(struct wire_reader *reader)
{
    assert_int_equal(wire_read_array(reader, 40), 0);
}

static void read_map(struct wire_reader *reader)
{
    assert_int_equal(wire_read_map(reader, 40), 0);
}

static void what_is_malformed_is_an_error_that_sticks(void **state)
{
    static const struct {
        void (*read)(struct wire_reader *);
        const char *bytes;
        size_t count;
    } rows[] = {
        /* another type */
        {read_uint, BYTES("\xc0")},
        {read_uint, BYTES("\xc3")},
        {read_uint, BYTES("\xff")},
        {read_uint, BYTES("\xd0\x80")},
        {read_uint, BYTES("\xca\x00\x00\x00\x00")},
        {read_int, BYTES("\xa1x")},
        {read_int, BYTES("\xc0")},
        {read_int, BYTES("\xcb\x00\x00\x00\x00\x00\x00\x00\x00")},
        {read_int, BYTES("\xcf\x80\x00\x00\x00\x00\x00\x00\x00")},
        {read_int, BYTES("\xc1")},
        {read_int_or, BYTES("\x91\x01")},
        {read_bool, BYTES("\x01")},
        {read_bool, BYTES("\xc0")},
        {read_bytes, BYTES("\x05")},
        {read_bytes, BYTES("\x91\x05")},
        {read_bytes, BYTES("\xd4\x01\x01")},
        {read_bytes, BYTES("\xc1")},
        {read_array, BYTES("\x81\x01\x01")},
        {read_array, BYTES("\xc0")},
        {read_array, BYTES("\xa1x")},
        {read_map, BYTES("\x92\x01\x01")},
        {read_map, BYTES("\xc0")},
        /* more than there is, or than was asked for */
        {read_bytes, BYTES("\xa4key")},
        {read_bytes, BYTES("\xd9\x29"
                           "123456789 123456789 123456789 123456789 1")},
        {read_bytes, BYTES("\xc6\xff\xff\xff\xffkey")},
        {read_array, BYTES("\xdd\x00\xff\xff\xff")},
        {read_array, BYTES("\xdd\xff\xff\xff\xff\x00")},
        {read_array, BYTES("\x92\x01")},
        {read_array, BYTES("\xdc\x00\x29"
                           "123456789 123456789 123456789 123456789 1")},
        {read_map, BYTES("\x82\x01\x02\x03")},
        {read_map, BYTES("\xdf\x80\x00\x00\x01\x01\x02")},
        {read_map, BYTES("\xdf\xff\xff\xff\xff\x01\x02")},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        uint8_t *bytes = exactly(rows[i].bytes, rows[i].count);
        struct wire_reader reader = over(bytes, rows[i].count);
        rows[i].read(&reader);
        if (reader.status != STATUS_MALFORMED)
            fail_msg("row %zu was taken", i);
        read_uint(&reader);
        read_bool(&reader);
        read_bytes(&reader);
        read_array(&reader);
        read_map(&reader);
        assert_false(wire_take_nil(&reader));
        assert_false(wire_is_array(&reader));
        assert_int_equal(reader.status, STATUS_MALFORMED);
        free(bytes);
    }
}

/* One value of each form; cut short, each must be an error and nothing read behind its end. */
static const struct {
    void (*read)(struct wire_reader *);
    const char *bytes;
    size_t count;
} forms[] = {
    {read_uint, BYTES("\xcc\x80")},
    {read_uint, BYTES("\xcd\x80\x00")},
    {read_uint, BYTES("\xce\x80\x00\x00\x00")},
    {read_uint, BYTES("\xcf\x80\x00\x00\x00\x00\x00\x00\x00")},
    {read_int, BYTES("\xd0\x80")},
    {read_int, BYTES("\xd1\x80\x00")},
    {read_int, BYTES("\xd2\x80\x00\x00\x00")},
    {read_int, BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00")},
    {read_bool, BYTES("\xc3")},
    {read_bytes, BYTES("\xa3key")},
    {read_bytes, BYTES("\xd9\x03key")},
    {read_bytes, BYTES("\xda\x00\x03key")},
    {read_bytes, BYTES("\xdb\x00\x00\x00\x03key")},
    {read_bytes, BYTES("\xc4\x03key")},
    {read_bytes, BYTES("\xc5\x00\x03key")},
    {read_bytes, BYTES("\xc6\x00\x00\x00\x03key")},
    {read_array, BYTES("\x92\x01\x02")},
    {read_array, BYTES("\xdc\x00\x02\x01\x02")},
    {read_array, BYTES("\xdd\x00\x00\x00\x02\x01\x02")},
    {read_map, BYTES("\x81\x01\x02")},
    {read_map, BYTES("\xde\x00\x01\x01\x02")},
    {read_map, BYTES("\xdf\x00\x00\x00\x01\x01\x02")},
    {wire_skip, BYTES("\xca\x00\x00\x00\x00")},
    {wire_skip, BYTES("\xcb\x00\x00\x00\x00\x00\x00\x00\x00")},
    {wire_skip, BYTES("\xd4\x01\x01")},
    {wire_skip, BYTES("\xd8\x01\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08")},
    {wire_skip, BYTES("\xc7\x02\x01\x01\x02")},
    {wire_skip, BYTES("\xc8\x00\x02\x01\x01\x02")},
    {wire_skip, BYTES("\xc9\x00\x00\x00\x02\x01\x01\x02")},
    {wire_skip, BYTES("\x93\x01\x81\xa1k\x92\xc0\xc4\x02yz\xcd\x01\x00")},
};

static void every_form_cut_at_every_byte_is_malformed(void **state)
{
    (void)state;

    for (size_t i = 0; i < ROWS(forms); i++) {
        for (size_t count = 0; count < forms[i].count; count++) {
            uint8_t *bytes = exactly(forms[i].bytes, count);
            struct wire_reader reader = over(bytes, count);
            forms[i].read(&reader);
            if (reader.status != STATUS_MALFORMED)
                fail_msg("row %zu cut to %zu bytes was taken", i, count);
            free(bytes);
        }
    }
}

/* --- passing over ----------------------------------------------------------------------------- */

static void every_form_is_passed_over_whole(void **state)
{
    (void)state;

    for (size_t i = 0; i < ROWS(forms); i++) {
        struct wire_reader reader = over(forms[i].bytes, forms[i].count);
        wire_skip(&reader);
        expect_all_read(&reader);
    }
}

static void values_are_passed_over_to_a_depth_of_8(void **state)
{
    static const char deep[] = "\x91\x91\x91\x91\x81\x01\x91\x91\x91\x91\x91";
    (void)state;

    struct wire_reader reader = over("\x91\x91\x91\x91\x81\x01\x91\x91\x91\x05", 10);
    wire_skip(&reader);
    expect_all_read(&reader);
    reader = over("\x91\x91\x91\x91\x81\x01\x91\x91\x91\x90", 10);
    wire_skip(&reader);
    assert_int_equal(reader.status, STATUS_MALFORMED);
    reader = over(deep, sizeof(deep) - 1);
    wire_skip(&reader);
    assert_int_equal(reader.status, STATUS_MALFORMED);
}

static void a_bomb_of_nested_arrays_is_refused_at_once(void **state)
{
    enum { COUNT = 1 << 20 };
    uint8_t *bytes = malloc(COUNT);
    (void)state;

    assert_non_null(bytes);
    memset(bytes, 0x9f, COUNT);
    struct wire_reader reader = over(bytes, COUNT);
    wire_skip(&reader);
    assert_int_equal(reader.status, STATUS_MALFORMED);
    free(bytes);
}

static void what_is_no_value_is_not_passed_over(void **state)
{
    static const char *const values[] = {"\xc1", "\x91\xc1", "\x82\x01\x02\x03",
                                         "\xdd\xff\xff\xff\xff"};
    (void)state;

    for (size_t i = 0; i < ROWS(values); i++) {
        struct wire_reader reader = over(values[i], strlen(values[i]));
        wire_skip(&reader);
        assert_int_equal(reader.status, STATUS_MALFORMED);
    }
}

static void the_rest_of_an_array_is_passed_over(void **state)
{
    struct wire_reader reader = over("\x94\x01\xa3new\x92\x01\x02\xc0\x07", 11);
    (void)state;

    uint32_t count = wire_read_array(&reader, ANY);
    assert_int_equal(wire_read_int(&reader), 1);
    wire_skip_rest(&reader, count, 1);
    assert_int_equal(wire_read_int(&reader), 7);
    expect_all_read(&reader);
    wire_skip_rest(&reader, 3, 3);
    wire_skip_rest(&reader, 3, 4);
    expect_all_read(&reader);
    wire_skip_rest(&reader, UINT32_MAX, 0);
    assert_int_equal(reader.status, STATUS_MALFORMED);
}

static void a_reader_over_nothing_reads_nothing(void **state)
{
    struct wire_reader reader = over(NULL, 0);
    (void)state;

    assert_false(wire_take_nil(&reader));
    assert_false(wire_is_array(&reader));
    assert_int_equal(reader.status, STATUS_OK);
    wire_skip(&reader);
    assert_int_equal(reader.status, STATUS_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_form_are_read),
        cmocka_unit_test(a_number_above_int64_is_unsigned_or_saturated_or_an_error),
        cmocka_unit_test(str_and_bin_of_every_length_form_are_bytes),
        cmocka_unit_test(nil_is_absent_bytes_and_the_other_integer),
        cmocka_unit_test(counts_of_arrays_and_maps_are_read_in_every_form),
        cmocka_unit_test(booleans_are_read),
        cmocka_unit_test(what_is_malformed_is_an_error_that_sticks),
        cmocka_unit_test(every_form_cut_at_every_byte_is_malformed),
        cmocka_unit_test(every_form_is_passed_over_whole),
        cmocka_unit_test(values_are_passed_over_to_a_depth_of_8),
        cmocka_unit_test(a_bomb_of_nested_arrays_is_refused_at_once),
        cmocka_unit_test(what_is_no_value_is_not_passed_over),
        cmocka_unit_test(the_rest_of_an_array_is_passed_over),
        cmocka_unit_test(a_reader_over_nothing_reads_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
