#include "run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MANY = 5 * RUN_SEGMENT_NODES };

static struct heap_node node_of(uint32_t time, uint32_t item)
{
    return (struct heap_node){.high = time, .low = item};
}

static uint32_t item_of(struct heap_node node)
{
    return (uint32_t)node.low;
}

/* Returns the index of the first. */
static uint32_t add(struct run *run, uint32_t from, uint32_t end)
{
    uint32_t first = 0, index;
    for (uint32_t item = from; item < end; item++) {
        assert_true(run_takes(run, node_of(item, item)));
        assert_true(run_add(run, node_of(item, item), &index));
        if (item == from)
            first = index;
    }
    return first;
}

static void expect(const struct run *run, const uint32_t *items, uint32_t count)
{
    struct heap_node node;
    uint32_t index = run->begin;
    assert_int_equal(run->count, count);
    for (uint32_t i = 0; i < count; i++, index++) {
        assert_true(run_next(run, &index, &node));
        assert_int_equal(item_of(node), items[i]);
    }
    assert_false(run_next(run, &index, &node));
}

static void it_takes_only_what_is_behind_its_last(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    add(&run, 10, 11);
    assert_false(run_takes(&run, node_of(9, 0)));
    assert_false(run_takes(&run, node_of(10, 10)));
    assert_true(run_takes(&run, node_of(10, 11)));
    assert_true(run_takes(&run, node_of(11, 0)));
    run_remove(&run, run.begin);
    assert_true(run_takes(&run, node_of(0, 0)));
    run_release(&run);
}

static void what_is_taken_out_of_the_middle_is_passed_over(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    uint32_t first = add(&run, 0, 6);
    run_remove(&run, first + 2);
    run_remove(&run, first + 1);
    run_remove(&run, first + 4);
    expect(&run, (const uint32_t[]){0, 3, 5}, 3);
    run_remove(&run, first);
    assert_int_equal(item_of(run_first(&run)), 3);
    run_remove(&run, first + 5); /* the last now is the one of 3 */
    assert_true(run_takes(&run, node_of(4, 4)));
    expect(&run, (const uint32_t[]){3}, 1);
    run_release(&run);
}

/* In, and out again in the same order, with a few in it: through all segments of the ring. */
static void a_run_that_moves_on_needs_no_more_memory(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    add(&run, 0, 1500);
    uint32_t room = run.segment_room;
    for (uint32_t item = 1500; item < 20 * MANY; item++) {
        assert_int_equal(item_of(run_first(&run)), item - 1500);
        run_remove(&run, run.begin);
        add(&run, item, item + 1);
    }
    assert_int_equal(run.segment_room, room);
    run_release(&run);
}

static void indices_begin_anew_and_the_order_stays(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    run.begin = run.end = (uint32_t)0 - 2 * RUN_SEGMENT_NODES;
    uint32_t first = add(&run, 0, MANY);
    assert_true(run.end < run.begin);
    for (uint32_t i = 0; i < MANY; i += 2)
        run_remove(&run, first + i);
    assert_int_equal(run.count, MANY / 2);
    for (uint32_t i = 1; i < MANY; i += 2) {
        assert_int_equal(item_of(run_first(&run)), i);
        run_remove(&run, first + i);
    }
    assert_int_equal(run.count, 0);
    run_release(&run);
}

/* The last ones leave first: its end goes back over segments, and forward again. */
static void it_shrinks_from_behind(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    uint32_t first = add(&run, 0, MANY);
    for (uint32_t i = MANY; i-- > 3;)
        run_remove(&run, first + i);
    expect(&run, (const uint32_t[]){0, 1, 2}, 3);
    add(&run, 3, MANY);
    assert_int_equal(run.count, MANY);
    for (uint32_t i = MANY; i-- > 0;)
        run_remove(&run, first + i);
    assert_int_equal(run.count, 0);
    add(&run, 0, 1);
    expect(&run, (const uint32_t[]){0}, 1);
    run_release(&run);
}

static void one_that_stays_behind_makes_it_sparse(void **state)
{
    (void)state;
    struct run run = {.segments = NULL};
    uint32_t first = add(&run, 0, 2 * MANY);
    assert_false(run_is_sparse(&run));
    for (uint32_t i = 1; i < 2 * MANY - 1; i++)
        run_remove(&run, first + i);
    assert_true(run_is_sparse(&run));
    run_remove(&run, first);
    assert_false(run_is_sparse(&run));
    expect(&run, (const uint32_t[]){2 * MANY - 1}, 1);
    run_release(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_only_what_is_behind_its_last),
        cmocka_unit_test(what_is_taken_out_of_the_middle_is_passed_over),
        cmocka_unit_test(a_run_that_moves_on_needs_no_more_memory),
        cmocka_unit_test(indices_begin_anew_and_the_order_stays),
        cmocka_unit_test(it_shrinks_from_behind),
        cmocka_unit_test(one_that_stays_behind_makes_it_sparse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
