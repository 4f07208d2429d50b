#include "overflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"

static struct overflows all;

static bool put(struct overflow **overflow, uint32_t owner, const char *text)
{
    return overflow_put(&all, overflow, owner, bytes_of(text));
}

static void expect_first(const struct overflow *overflow, const char *text)
{
    assert_true(bytes_equal(overflow_first(overflow), bytes_of(text)));
}

static int release(void **state)
{
    (void)state;
    overflows_release(&all);
    return 0;
}

static void messages_leave_in_the_order_in_which_they_came(void **state)
{
    struct overflow *overflow = NULL;
    char text[16];
    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        assert_true(put(&overflow, 7, text));
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        expect_first(overflow, text);
        overflow_drop_first(&all, &overflow);
    }
    assert_null(overflow);
    assert_int_equal(all.count, 0);
    assert_int_equal(all.bytes, 0);
}

static void what_comes_while_others_leave_goes_behind_them(void **state)
{
    struct overflow *overflow = NULL;
    (void)state;
    put(&overflow, 0, "a");
    put(&overflow, 0, "b");
    overflow_drop_first(&all, &overflow);
    put(&overflow, 0, "");
    expect_first(overflow, "b");
    overflow_drop_first(&all, &overflow);
    expect_first(overflow, "");
    overflow_drop_first(&all, &overflow);
    assert_null(overflow);
    assert_int_equal(overflow_bytes(overflow), 0);
}

static void those_of_one_connection_are_not_in_the_way_of_anothers(void **state)
{
    struct overflow *of[3] = {NULL, NULL, NULL};
    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        put(&of[i], 10 + i, "x");
    assert_int_equal(all.count, 3);
    overflow_destroy(&all, &of[0]);
    assert_null(of[0]);
    assert_int_equal(all.count, 2);
    assert_int_equal(overflows_owner(&all, 0) + overflows_owner(&all, 1), 11 + 12);
    assert_int_equal(all.bytes, overflow_bytes(of[1]) + overflow_bytes(of[2]));
    overflow_drop_first(&all, &of[2]);
    assert_int_equal(overflows_owner(&all, 0), 11);
    overflow_destroy(&all, &of[1]);
    overflow_destroy(&all, &of[1]); /* nothing waits: nothing happens */
    assert_int_equal(all.count, 0);
}

static void a_connection_has_a_bound_and_room_again_when_something_left(void **state)
{
    struct overflow *overflow = NULL, *other = NULL;
    uint32_t count = 1 << 20, kept = 0;
    uint8_t *data = calloc(1, count);
    (void)state;
    while (overflow_put(&all, &overflow, 1, (struct bytes){data, count})) /* ends at the bound */
        kept++;
    assert_int_equal(kept, OVERFLOW_MAX / count - 1); /* what each costs beside its bytes */
    uint64_t before = all.bytes;
    assert_true(before <= OVERFLOW_MAX);
    assert_false(overflow_put(&all, &overflow, 1, (struct bytes){data, count}));
    assert_int_equal(all.bytes, before);
    assert_true(overflow_put(&all, &other, 2, (struct bytes){data, count}));
    overflow_drop_first(&all, &overflow);
    assert_true(overflow_put(&all, &overflow, 1, (struct bytes){data, count}));
    overflow_destroy(&all, &overflow);
    overflow_destroy(&all, &other);
    free(data);
}

static void small_messages_count_with_what_they_cost(void **state)
{
    struct overflow *overflow = NULL;
    (void)state;
    put(&overflow, 1, "x");
    assert_true(overflow_bytes(overflow) >= 1 + sizeof(void *));
    overflow_destroy(&all, &overflow);
}

static void all_together_have_a_bound(void **state)
{
    enum { COUNT = 1 << 20, CONNECTIONS = 2 * (OVERFLOW_ALL / OVERFLOW_MAX) };
    struct overflow *of[CONNECTIONS] = {NULL};
    uint8_t *data = calloc(1, COUNT);
    uint32_t refused = 0;
    (void)state;
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        for (int k = 0; k < 10; k++)
            refused += !overflow_put(&all, &of[i], i, (struct bytes){data, COUNT});
    assert_true(refused > 0);
    assert_true(all.bytes <= OVERFLOW_ALL && all.bytes + 2 * COUNT > OVERFLOW_ALL);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        overflow_destroy(&all, &of[i]);
    assert_int_equal(all.bytes, 0);
    free(data);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    for (uint64_t first = 1; first <= 3; first++) { /* the message, the list, its place in it */
        struct overflow *overflow = NULL;
        overflows_release(&all);
        memory_plan(first, false);
        memory_enter();
        bool is_kept = put(&overflow, 1, "x");
        memory_leave();
        assert_int_equal(memory_failures(), 1);
        assert_false(is_kept);
        assert_null(overflow);
        assert_int_equal(all.count + all.bytes, 0);
    }
    memory_plan(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(messages_leave_in_the_order_in_which_they_came, release),
        cmocka_unit_test_teardown(what_comes_while_others_leave_goes_behind_them, release),
        cmocka_unit_test_teardown(those_of_one_connection_are_not_in_the_way_of_anothers, release),
        cmocka_unit_test_teardown(a_connection_has_a_bound_and_room_again_when_something_left,
                                  release),
        cmocka_unit_test_teardown(small_messages_count_with_what_they_cost, release),
        cmocka_unit_test_teardown(all_together_have_a_bound, release),
        cmocka_unit_test_teardown(without_memory_nothing_changes, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
