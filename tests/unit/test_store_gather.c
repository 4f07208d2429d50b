/* test_store_gather.c - of the states of a journal the newest of each record remain, by number. */
#include "store_lmdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 3000, STATES = 300000, PART = 120 };

/* Lehmer's generator: the same numbers in each run. */
static uint64_t next_random(uint64_t *random)
{
    return *random = *random * 48271 % 2147483647;
}

/* States of random records, whose numbers lie `step` apart. newest[i]: the last of record i. */
static void add_states(struct store_lmdb_states *states, uint64_t first, uint64_t step,
                       uint64_t *newest)
{
    struct store_state part[PART];
    uint64_t random = 1;
    memset(part, 0, sizeof(part));
    for (uint64_t at = 1; at <= STATES;) {
        size_t count = 1 + next_random(&random) % PART;
        for (size_t i = 0; i < count; i++, at++) {
            uint64_t record = next_random(&random) % RECORDS;
            part[i].number = first + record * step;
            part[i].state = newest[record] = at;
        }
        assert_true(store_lmdb_states_add(states, part, count));
    }
}

static void check_newest(uint64_t first, uint64_t step)
{
    struct store_lmdb_states states = {0};
    static uint64_t newest[RECORDS];
    memset(newest, 0, sizeof(newest));
    add_states(&states, first, step, newest);
    assert_true(store_lmdb_states_finish(&states));
    size_t at = 0;
    for (uint64_t record = 0; record < RECORDS; record++) {
        if (!newest[record])
            continue;
        assert_true(at < states.count);
        assert_int_equal(states.states[at].number, first + record * step);
        assert_int_equal(states.states[at].state, newest[record]);
        at++;
    }
    assert_int_equal(states.count, at);
    store_lmdb_states_release(&states);
}

static void the_newest_of_numbers_close_together_remain(void **state)
{
    (void)state;
    check_newest(1, 1);
    check_newest(UINT64_C(1) << 39, 3);
}

static void the_newest_of_numbers_far_apart_remain(void **state)
{
    (void)state;
    check_newest(1, 1000003);
    check_newest(7, UINT64_C(1) << 50); /* most of the range of 64 bits */
}

static void one_state_remains_and_none_is_none(void **state)
{
    (void)state;
    struct store_lmdb_states states = {0};
    assert_true(store_lmdb_states_finish(&states));
    assert_int_equal(states.count, 0);
    assert_true(store_lmdb_states_add(&states, &(struct store_state){.number = UINT64_MAX}, 1));
    assert_true(store_lmdb_states_finish(&states));
    assert_int_equal(states.count, 1);
    store_lmdb_states_release(&states);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_numbers_close_together_remain),
        cmocka_unit_test(the_newest_of_numbers_far_apart_remain),
        cmocka_unit_test(one_state_remains_and_none_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
