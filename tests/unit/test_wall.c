#include "wall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define S(seconds) ((int64_t)(seconds)*US_PER_S)

enum { BEGIN_S = 1763800000 };

struct clocks {
    struct wall wall;
    struct moment read;
};

static struct clocks begin(void)
{
    struct clocks clocks = {.read = {.wall_us = S(BEGIN_S), .mono_us = S(100)}};
    wall_init(&clocks.wall, clocks.read, US_PER_S / 2);
    return clocks;
}

/* Time passes, and the clock is set; returns what is told, in seconds since the begin. */
static int64_t pass_us(struct clocks *clocks, int64_t us, int64_t set_us)
{
    clocks->read.mono_us += us;
    clocks->read.wall_us += us + set_us;
    struct moment told = wall_tell(&clocks->wall, clocks->read);
    assert_int_equal(told.mono_us, clocks->read.mono_us);
    return told.wall_us - S(BEGIN_S);
}

static void a_clock_that_nobody_sets_is_told_as_it_is(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(5), 0), S(5));
    assert_int_equal(pass_us(&clocks, S(86400), 1000), S(86405) + 1000);
    assert_int_equal(clocks.wall.step_us, 0);
    assert_int_equal(wall_end_mono_us(&clocks.wall), TIME_US_NEVER);
    assert_int_equal(wall_timer_us(&clocks.wall, 17), 17);
}

static void a_clock_that_is_set_far_ahead_counts_ten_seconds_later(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(1), S(3600)), S(1));
    assert_int_equal(clocks.wall.step_us, S(3600));
    assert_int_equal(wall_end_mono_us(&clocks.wall), S(111));
    assert_int_equal(wall_timer_us(&clocks.wall, S(BEGIN_S + 2)), S(BEGIN_S + 3602));
    assert_int_equal(wall_timer_us(&clocks.wall, TIME_US_NEVER), TIME_US_NEVER);
    assert_int_equal(pass_us(&clocks, S(9), 0), S(10));
    assert_int_equal(clocks.wall.step_us, 0);
    assert_int_equal(pass_us(&clocks, S(1) - 1, 0), S(11) - 1);
    assert_int_equal(pass_us(&clocks, 1, 0), S(3611));
    assert_int_equal(wall_end_mono_us(&clocks.wall), TIME_US_NEVER);
}

static void a_clock_that_is_put_right_within_them_has_done_nothing(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(1), S(315360000)), S(1));
    assert_int_equal(pass_us(&clocks, S(3), -S(315360000)), S(4));
    assert_int_equal(wall_end_mono_us(&clocks.wall), TIME_US_NEVER);
    assert_int_equal(pass_us(&clocks, S(60), 0), S(64));
}

static void one_that_is_set_further_while_it_is_held_does_not_wait_longer(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(1), S(100)), S(1));
    assert_int_equal(pass_us(&clocks, S(5), S(200)), S(6));
    assert_int_equal(pass_us(&clocks, S(1), -S(50)), S(7));
    assert_int_equal(pass_us(&clocks, S(4), 0), S(261));
}

static void a_clock_that_is_set_back_counts_at_once(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(1), -S(3600)), S(1 - 3600));
    assert_int_equal(clocks.wall.step_us, -S(3600));
    assert_int_equal(pass_us(&clocks, S(1), S(90)), S(2 - 3600));
    assert_int_equal(pass_us(&clocks, S(1), -S(200)), S(3 - 3710));
}

static void less_than_a_minute_counts_at_once(void **state)
{
    (void)state;
    struct clocks clocks = begin();
    assert_int_equal(pass_us(&clocks, S(1), S(60) - 1), S(61) - 1);
    assert_int_equal(clocks.wall.step_us, S(60) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_nobody_sets_is_told_as_it_is),
        cmocka_unit_test(a_clock_that_is_set_far_ahead_counts_ten_seconds_later),
        cmocka_unit_test(a_clock_that_is_put_right_within_them_has_done_nothing),
        cmocka_unit_test(one_that_is_set_further_while_it_is_held_does_not_wait_longer),
        cmocka_unit_test(a_clock_that_is_set_back_counts_at_once),
        cmocka_unit_test(less_than_a_minute_counts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
