#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"

static struct bytes filled(uint8_t *room, uint32_t count, char with)
{
    memset(room, with, count);
    return (struct bytes){room, count};
}

static void keys_are_utf8_without_control_characters(void **state)
{
    static const char *const keys[] = {
        "a",
        "https://example.org/feed.xml",
        "eight by~",
        "Zürich, Gärtnerstraße",
        "\xe2\x82\xac and \xf0\x9f\x8c\xb1 and \xf4\x8f\xbf\xbf and \xee\x80\x80",
        "\xc2\x80 is allowed: only those below space and 7f are not",
    };
    static const char *const others[] = {
        "",
        "\x01",
        "tab\there",
        "seven and then\x7f",
        "1234567\x1f",
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xe2(\xa1",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x9f\x8c",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "12345678\xff",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!bytes_are_key(bytes_of(keys[i])))
            fail_msg("not taken for a key: %s", keys[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (bytes_are_key(bytes_of(others[i])))
            fail_msg("taken for a key: number %zu", i);
    assert_false(bytes_are_key(bytes_of(NULL)));
    assert_false(bytes_are_key((struct bytes){(const uint8_t *)"a\0b", 3}));
}

static void every_single_byte_is_judged_alike_at_every_place(void **state)
{
    (void)state;

    for (unsigned byte = 0; byte < 256; byte++) {
        for (uint32_t place = 0; place < 20; place++) {
            uint8_t text[20];
            struct bytes key = filled(text, sizeof(text), 'k');
            text[place] = (uint8_t)byte;
            assert_int_equal(bytes_are_key(key), byte >= 0x20 && byte < 0x7f);
        }
    }
}

static void keys_have_1_to_1024_bytes(void **state)
{
    uint8_t room[KEY_BYTES_MAX + 1];
    (void)state;

    assert_true(bytes_are_key(filled(room, KEY_BYTES_MAX, 'k')));
    assert_false(bytes_are_key(filled(room, KEY_BYTES_MAX + 1, 'k')));
    assert_false(bytes_are_key((struct bytes){room, 0}));
}

static void queue_names_are_1_to_64_letters_digits_dots_lines_and_hyphens(void **state)
{
    uint8_t room[QUEUE_NAME_BYTES_MAX + 1];
    (void)state;

    assert_true(bytes_are_queue_name(bytes_of("feeds")));
    assert_true(bytes_are_queue_name(bytes_of("Az09._-")));
    assert_true(bytes_are_queue_name(filled(room, QUEUE_NAME_BYTES_MAX, 'q')));
    assert_false(bytes_are_queue_name(filled(room, QUEUE_NAME_BYTES_MAX + 1, 'q')));
    assert_false(bytes_are_queue_name(bytes_of("")));
    assert_false(bytes_are_queue_name(bytes_of(NULL)));
    assert_false(bytes_are_queue_name(bytes_of("a b")));
    assert_false(bytes_are_queue_name(bytes_of("a/b")));
    assert_false(bytes_are_queue_name(bytes_of("ä")));
}

static void absent_bytes_equal_only_absent_ones(void **state)
{
    struct bytes absent = bytes_of(NULL);
    struct bytes empty = bytes_of("");
    (void)state;

    assert_true(bytes_equal(absent, absent));
    assert_true(bytes_equal(empty, bytes_of("")));
    assert_false(bytes_equal(absent, empty));
    assert_false(bytes_equal(empty, absent));
    assert_true(bytes_equal(bytes_of("one"), bytes_of("one")));
    assert_false(bytes_equal(bytes_of("one"), bytes_of("two")));
    assert_false(bytes_equal(bytes_of("one"), bytes_of("ones")));
}

static void texts_are_cut_between_characters(void **state)
{
    static const struct {
        const char *text;
        uint32_t count_max;
        const char *cut;
    } rows[] = {
        {"note", 10, "note"},
        {"note", 4, "note"},
        {"note", 2, "no"},
        {"note", 0, ""},
        {"a\xc3\xa4z", 2, "a"},
        {"a\xc3\xa4z", 3, "a\xc3\xa4"},
        {"\xe2\x82\xac", 2, ""},
        {"x\xf0\x9f\x8c\xb1", 4, "x"},
        {"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bytes cut = bytes_cut_utf8(bytes_of(rows[i].text), rows[i].count_max);
        if (!bytes_equal(cut, bytes_of(rows[i].cut)))
            fail_msg("row %zu: %u bytes", i, cut.count);
    }
    assert_null(bytes_cut_utf8(bytes_of(NULL), 4).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_utf8_without_control_characters),
        cmocka_unit_test(every_single_byte_is_judged_alike_at_every_place),
        cmocka_unit_test(keys_have_1_to_1024_bytes),
        cmocka_unit_test(queue_names_are_1_to_64_letters_digits_dots_lines_and_hyphens),
        cmocka_unit_test(absent_bytes_equal_only_absent_ones),
        cmocka_unit_test(texts_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
