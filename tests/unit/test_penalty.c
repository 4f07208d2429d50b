#include "penalty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_penalty_lasts_a_minute_from_the_last_time(void **state)
{
    (void)state;
    struct penalties *penalties = calloc(1, sizeof(*penalties));
    assert_false(penalty_holds(penalties, 7, 0));
    penalty_begin(penalties, 7, 100);
    assert_true(penalty_holds(penalties, 7, 100));
    assert_false(penalty_holds(penalties, 7 + PENALTY_PLACES, 100));
    penalty_begin(penalties, 7, 200);
    assert_true(penalty_holds(penalties, 7, 200 + PENALTY_US - 1));
    assert_false(penalty_holds(penalties, 7, 200 + PENALTY_US));
    free(penalties);
}

static void nobody_in_particular_gets_none(void **state)
{
    (void)state;
    struct penalties *penalties = calloc(1, sizeof(*penalties));
    penalty_begin(penalties, 0, 100);
    assert_false(penalty_holds(penalties, 0, 100));
    free(penalties);
}

static void a_key_is_another_peer_at_each_address(void **state)
{
    (void)state;
    uint64_t here = penalty_who("key", "10.0.0.1");
    assert_int_equal(here, penalty_who("key", "10.0.0.1"));
    assert_int_not_equal(here, penalty_who("key", "10.0.0.2"));
    assert_int_not_equal(here, penalty_who("other", "10.0.0.1"));
    assert_int_not_equal(here, penalty_who(NULL, "10.0.0.1"));
    assert_int_not_equal(penalty_who("key", "127.0.0.1"), 0);
}

static void without_a_key_it_is_the_address_but_not_of_loopback(void **state)
{
    (void)state;
    assert_int_not_equal(penalty_who(NULL, "10.0.0.1"), 0);
    assert_int_not_equal(penalty_who(NULL, "fe80::1"), 0);
    assert_int_not_equal(penalty_who(NULL, "::2"), 0);
    assert_int_equal(penalty_who(NULL, "127.0.0.1"), 0);
    assert_int_equal(penalty_who(NULL, "::1"), 0);
    assert_int_equal(penalty_who(NULL, "::ffff:127.0.0.1"), 0);
    assert_int_equal(penalty_who(NULL, ""), 0);
    assert_int_equal(penalty_who(NULL, NULL), 0);
}

static void over_ipc_it_is_the_user_whatever_his_process(void **state)
{
    (void)state;
    assert_int_equal(penalty_who("1000", ":1000:1000:17"), penalty_who("1000", ":1000:1000:18"));
    assert_int_not_equal(penalty_who("1000", ":1000:1000:17"), 0);
    assert_int_equal(penalty_who(NULL, ":1000:1000:17"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_penalty_lasts_a_minute_from_the_last_time),
        cmocka_unit_test(nobody_in_particular_gets_none),
        cmocka_unit_test(a_key_is_another_peer_at_each_address),
        cmocka_unit_test(without_a_key_it_is_the_address_but_not_of_loopback),
        cmocka_unit_test(over_ipc_it_is_the_user_whatever_his_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
