#include "pressure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A disk on which a commit takes so long, and so much for each put. */
struct disk {
    int64_t commit_us;
    double put_us;
};

/* Commits that are as full as they may be, one after the other; what the last one took. */
static int64_t flood(struct pressure *pressure, struct disk disk, int commits, int64_t mono_us)
{
    int64_t took_us = 0;
    for (int i = 0; i < commits; i++) {
        while (!pressure_is_full(pressure, mono_us)) /* ends at PRESSURE_MOST */
            pressure_add(pressure, 100, 100 * 50);
        uint32_t puts = pressure->filling;
        pressure_seal(pressure, mono_us);
        took_us = disk.commit_us + (int64_t)(puts * disk.put_us);
        pressure_done(pressure, puts, took_us);
    }
    return took_us;
}

static void a_small_commit(struct pressure *pressure, int64_t took_us)
{
    pressure_seal(pressure, 0);
    pressure_done(pressure, 1, took_us);
}

static void commits_are_as_long_as_they_may_be(void **state)
{
    (void)state;
    struct disk quick = {500, 0.5}, slower = {1000, 8};
    struct pressure pressure;
    pressure_init(&pressure);
    pressure_hurry(&pressure, 0);
    for (int i = 0; i < 20; i++) {
        int64_t took_us = flood(&pressure, quick, 20 + i, 0);
        assert_in_range(took_us, PRESSURE_HURRY_US / 2, PRESSURE_HURRY_US * 5 / 4);
    }
    for (int i = 0; i < 20; i++) {
        int64_t took_us = flood(&pressure, slower, 20 + i, 0);
        assert_in_range(took_us, PRESSURE_HURRY_US / 2, PRESSURE_HURRY_US * 3 / 2);
    }
}

static void
they_are_longer_while_nobody_else_waits_and_short_at_once_when_somebody_does(void **state)
{
    (void)state;
    struct disk disk = {500, 2};
    struct pressure pressure;
    pressure_init(&pressure);
    pressure_hurry(&pressure, 0);
    flood(&pressure, disk, 50, 0);
    int64_t calm_us = 5 * 1000000;
    assert_in_range(flood(&pressure, disk, 50, calm_us), PRESSURE_CALM_US / 2,
                    PRESSURE_CALM_US * 5 / 4);
    pressure_hurry(&pressure, calm_us);
    assert_in_range(flood(&pressure, disk, 1, calm_us), 500, PRESSURE_HURRY_US * 5 / 4);
    assert_in_range(flood(&pressure, disk, 1, calm_us + 999999), 500, PRESSURE_HURRY_US * 5 / 4);
    assert_true(flood(&pressure, disk, 1, calm_us + 1000000) > 2 * PRESSURE_HURRY_US);
}

static void on_a_slow_disk_they_are_twice_as_long_as_the_shortest(void **state)
{
    (void)state;
    struct disk disk = {20000, 2};
    struct pressure pressure;
    pressure_init(&pressure);
    pressure_hurry(&pressure, 0);
    a_small_commit(&pressure, disk.commit_us);
    assert_in_range(flood(&pressure, disk, 50, 0), 30000, 50000);
}

static void one_sync_that_took_long_is_soon_made_good(void **state)
{
    (void)state;
    struct disk disk = {500, 1};
    struct pressure pressure;
    pressure_init(&pressure);
    pressure_hurry(&pressure, 0);
    a_small_commit(&pressure, 500);
    a_small_commit(&pressure, 900000);
    flood(&pressure, disk, 50, 0);
    uint32_t before = pressure.limits[1];
    flood(&pressure, (struct disk){900000, 1}, 1, 0);
    assert_true(pressure.limits[1] < before);
    flood(&pressure, disk, 4, 0);
    assert_true(pressure.limits[1] >= before * 3 / 4);
}

static void a_batch_that_was_not_full_teaches_nothing(void **state)
{
    (void)state;
    struct pressure pressure;
    pressure_init(&pressure);
    for (int i = 0; i < 100; i++) {
        pressure_add(&pressure, 1000, 0);
        pressure_seal(&pressure, 0);
        pressure_done(&pressure, 1000, 1000000); /* a full set was in it, too */
    }
    assert_int_equal(pressure.limits[0], PRESSURE_FIRST);
}

static void puts_make_no_room_for_reports_that_fill_commits_themselves(void **state)
{
    (void)state;
    struct pressure pressure;
    pressure_init(&pressure);
    for (int i = 0; i < 100; i++) {
        pressure_add(&pressure, pressure.limits[0], 0);
        pressure_seal(&pressure, 0);
        pressure_done(&pressure, 8000 + pressure.sealed, 20000);
    }
    assert_in_range(pressure.limits[0], 2000, 3000);
}

static void a_limit_has_its_own_limits(void **state)
{
    (void)state;
    struct pressure pressure;
    pressure_init(&pressure);
    flood(&pressure, (struct disk){0, 0}, 100, 0);
    assert_int_equal(pressure.limits[0], PRESSURE_MOST);
    flood(&pressure, (struct disk){1000000, 0}, 100, 0);
    assert_int_equal(pressure.limits[0], PRESSURE_LEAST);
}

static void large_puts_count_for_more(void **state)
{
    (void)state;
    struct pressure pressure;
    pressure_init(&pressure);
    pressure_add(&pressure, 16, 1 << 20);
    assert_int_equal(pressure.filling, 16 + 2048);
    pressure_add(&pressure, UINT32_MAX, UINT64_MAX / 2);
    assert_true(pressure_is_full(&pressure, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_are_as_long_as_they_may_be),
        cmocka_unit_test(
            they_are_longer_while_nobody_else_waits_and_short_at_once_when_somebody_does),
        cmocka_unit_test(on_a_slow_disk_they_are_twice_as_long_as_the_shortest),
        cmocka_unit_test(one_sync_that_took_long_is_soon_made_good),
        cmocka_unit_test(a_batch_that_was_not_full_teaches_nothing),
        cmocka_unit_test(puts_make_no_room_for_reports_that_fill_commits_themselves),
        cmocka_unit_test(a_limit_has_its_own_limits),
        cmocka_unit_test(large_puts_count_for_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
