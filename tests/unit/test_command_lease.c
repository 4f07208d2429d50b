#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lease_text.h"

static void write_lease(struct text *text, const char *queue, const char *key, size_t key_count)
{
    text_init(text);
    lease_text_write(text, queue, (struct everdue_bytes){key, key_count}, 9007199254740991, 42);
}

static void a_lease_names_all_that_a_report_needs(void **state)
{
    struct text text;
    struct lease_text lease;
    (void)state;
    write_lease(&text, "feeds", "https://example.org/\xc3\xa9", 22);
    assert_true(lease_text_read(&lease, text.data));
    assert_string_equal(lease.queue, "feeds");
    assert_int_equal(lease.key_count, 22);
    assert_memory_equal(lease.key, "https://example.org/\xc3\xa9", 22);
    assert_int_equal(lease.lease, 9007199254740991);
    assert_int_equal(lease.state, 42);
    text_release(&text);
}

static void the_longest_names_fit(void **state)
{
    char queue[LEASE_TEXT_QUEUE_BYTES + 1], key[LEASE_TEXT_KEY_BYTES];
    struct text text;
    struct lease_text lease;
    (void)state;
    memset(queue, 'q', LEASE_TEXT_QUEUE_BYTES);
    queue[LEASE_TEXT_QUEUE_BYTES] = '\0';
    memset(key, 'k', sizeof(key));
    write_lease(&text, queue, key, sizeof(key));
    assert_true(lease_text_read(&lease, text.data));
    assert_string_equal(lease.queue, queue);
    assert_int_equal(lease.key_count, sizeof(key));
    text_add_string(&text, "AAAA");
    assert_false(lease_text_read(&lease, text.data));
    text_release(&text);
}

static void its_letters_need_no_quotes_in_a_shell(void **state)
{
    struct text text;
    (void)state;
    write_lease(&text, "q", "\xff\xfe\xfb", 3);
    assert_int_equal(
        strspn(text.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        text.count);
    assert_int_not_equal(text.data[0], '-');
    text_release(&text);
}

static void a_letter_that_was_changed_is_noticed(void **state)
{
    struct text text;
    struct lease_text lease;
    (void)state;
    write_lease(&text, "feeds", "key", 3);
    for (size_t i = 0; i < text.count; i++) {
        char letter = text.data[i];
        text.data[i] = letter == 'A' ? 'B' : 'A';
        assert_false(lease_text_read(&lease, text.data));
        text.data[i] = letter;
    }
    assert_true(lease_text_read(&lease, text.data));
    text_release(&text);
}

static void a_part_of_a_lease_is_noticed(void **state)
{
    struct text text;
    struct lease_text lease;
    (void)state;
    write_lease(&text, "feeds", "key", 3);
    while (text.count > 0) {
        text.data[--text.count] = '\0';
        assert_false(lease_text_read(&lease, text.data));
    }
    assert_false(lease_text_read(&lease, "17"));
    assert_false(lease_text_read(&lease, "https://example.org/feed.xml"));
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_names_all_that_a_report_needs),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(its_letters_need_no_quotes_in_a_shell),
        cmocka_unit_test(a_letter_that_was_changed_is_noticed),
        cmocka_unit_test(a_part_of_a_lease_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
