#include "pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MS = 1000 };

/* A handler that needs `each_us` for a record and has `records` before it, seen every 5 ms, from
 * `now_us` on. Returns when it is done with them, or `most_us` later. */
static int64_t work(struct pace *pace, int64_t now_us, uint32_t records, int64_t each_us,
                    int64_t most_us)
{
    int64_t done_us = now_us, end_us = now_us + most_us;
    uint32_t left = records;
    pace_pass(pace, now_us, left > 0);
    while (left && now_us < end_us) {
        now_us += 5 * MS;
        for (; left && done_us + each_us <= now_us; left--, done_us += each_us)
            pace_finish(pace);
        pace_pass(pace, now_us, left > 0);
    }
    return now_us;
}

static struct pace begun(uint32_t least, uint32_t most)
{
    struct pace pace;
    pace_init(&pace, least, most);
    pace_begin(&pace, 0);
    return pace;
}

static void a_quick_handler_gets_more_at_most_twice_as_much_at_a_time(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = 0;
    const uint32_t expected[] = {128, 256, 512, 1024, 1024};
    for (int i = 0; i < 5; i++) {
        now_us = work(&pace, now_us, 4000, 5, 100 * MS);
        assert_int_equal(pace.credit, expected[i]);
    }
}

static void credit_is_what_twenty_milliseconds_finish(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = work(&pace, 0, 100000, 50, 200 * MS);
    assert_int_equal(pace.credit, 400);
    work(&pace, now_us, 100000, 100, 200 * MS); /* half of it: not yet less than half */
    assert_in_range(pace.credit, 200, 400);
}

static void a_handler_that_finishes_less_than_the_least_has_the_least(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    work(&pace, 0, 1000, 1000, 1000 * MS);
    assert_int_equal(pace.credit, 64);
    assert_int_equal(pace_wait_until(&pace), INT64_MAX);
}

static void a_handler_that_hangs_has_the_least_within_80_ms(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = work(&pace, 0, 100000, 10, 200 * MS);
    assert_int_equal(pace.credit, 1024);
    now_us = work(&pace, now_us, 100000, 10, 25 * MS);
    int64_t until_us = pace_wait_until(&pace);
    assert_int_equal(until_us, now_us + 15 * MS);
    assert_int_equal(pace_pass(&pace, until_us, true), 1024); /* it was quick for a part of them */
    until_us = pace_wait_until(&pace);
    assert_int_equal(until_us, now_us + 55 * MS);
    assert_int_equal(pace_pass(&pace, until_us - 1, true), 1024);
    assert_int_equal(pace_pass(&pace, until_us, true), 64);
    assert_int_equal(pace_wait_until(&pace), INT64_MAX);
}

static void a_handler_that_grows_slow_has_what_it_finishes(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = work(&pace, 0, 100000, 10, 200 * MS);
    work(&pace, now_us, 100000, 100, 200 * MS);
    assert_int_equal(pace.credit, 200);
}

static void who_has_nothing_to_do_keeps_its_credit_and_wants_no_wake_up(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = work(&pace, 0, 20000, 10, 300 * MS);
    assert_int_equal(pace.credit, 1024);
    assert_int_equal(pace_wait_until(&pace), INT64_MAX);
    now_us += 3600 * (int64_t)1000 * MS;
    assert_int_equal(pace_pass(&pace, now_us, true), 1024); /* the first to come is no judgement */
    work(&pace, now_us, 500, 10, 300 * MS);
    assert_int_equal(pace.credit, 1024);
}

static void a_few_records_now_and_then_ask_for_no_more(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    for (int64_t second = 0; second < 100; second++)
        work(&pace, second * 1000 * MS, 64, 5, 100 * MS);
    assert_int_equal(pace.credit, 64);
}

static void a_handler_that_works_in_bursts_is_judged_by_its_work_alone(void **state)
{
    (void)state;
    struct pace pace = begun(2, 1024);
    int64_t now_us = work(&pace, 0, 400, 1000, 500 * MS);
    assert_in_range(pace.credit, 16, 20);
    for (int64_t burst = 0; burst < 100; burst++) /* as quick as before, with long rests */
        work(&pace, now_us += 1000 * MS, 5, 1000, 100 * MS);
    assert_in_range(pace.credit, 16, 20);
    for (int64_t burst = 0; burst < 100; burst++) /* slower by far */
        work(&pace, now_us += 1000 * MS, 5, 10 * MS, 100 * MS);
    assert_int_equal(pace.credit, 2);
}

static void a_connection_begins_with_the_least(void **state)
{
    (void)state;
    struct pace pace = begun(64, 1024);
    int64_t now_us = work(&pace, 0, 100000, 10, 200 * MS);
    pace_begin(&pace, now_us);
    assert_int_equal(pace.credit, 64);
    assert_int_equal(pace_pass(&pace, now_us, false), 64);
}

static void a_credit_that_was_given_never_changes(void **state)
{
    (void)state;
    struct pace pace = begun(100, 0);
    int64_t now_us = work(&pace, 0, 100000, 1, 200 * MS);
    assert_int_equal(pace.credit, 100);
    work(&pace, now_us, 10, 100 * MS, 1000 * MS);
    assert_int_equal(pace.credit, 100);
    assert_int_equal(pace_wait_until(&pace), INT64_MAX);
}

/* A machine that slept, and counts that are as large as they get. */
static void nothing_overflows(void **state)
{
    (void)state;
    struct pace pace = begun(64, 16384);
    pace_pass(&pace, 0, true);
    pace.finished = pace.worked = UINT32_MAX;
    assert_int_equal(pace_pass(&pace, PACE_JUDGED_US, true), 128);
    assert_int_equal(pace_pass(&pace, INT64_MAX / 2, true), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quick_handler_gets_more_at_most_twice_as_much_at_a_time),
        cmocka_unit_test(credit_is_what_twenty_milliseconds_finish),
        cmocka_unit_test(a_handler_that_finishes_less_than_the_least_has_the_least),
        cmocka_unit_test(a_handler_that_hangs_has_the_least_within_80_ms),
        cmocka_unit_test(a_handler_that_grows_slow_has_what_it_finishes),
        cmocka_unit_test(who_has_nothing_to_do_keeps_its_credit_and_wants_no_wake_up),
        cmocka_unit_test(a_few_records_now_and_then_ask_for_no_more),
        cmocka_unit_test(a_handler_that_works_in_bursts_is_judged_by_its_work_alone),
        cmocka_unit_test(a_connection_begins_with_the_least),
        cmocka_unit_test(a_credit_that_was_given_never_changes),
        cmocka_unit_test(nothing_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
