#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "moment.h"

struct item {
    uint32_t number;
    uint32_t other;
};

enum { ITEMS_END = 3000 };

/* The model: entries in a sorted array. */
struct entry {
    int64_t rank;
    int64_t time_us;
    uint64_t arrival;
    uint32_t item;
};

struct bench {
    struct slab slab;
    struct chunks chunks;
    struct heap heap;
    struct entry sorted[ITEMS_END];
    uint32_t count;
    uint64_t arrivals;
    bool is_in[ITEMS_END];
    uint64_t random;
};

static int begin(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    if (!bench)
        return -1;
    slab_init(&bench->slab, sizeof(struct item));
    heap_init(&bench->heap, &bench->slab, &bench->chunks);
    for (int i = 0; i < ITEMS_END; i++)
        if (slab_take(&bench->slab) == SLAB_NONE)
            return -1;
    bench->random = 88172645463325252u;
    *state = bench;
    return 0;
}

static int end(void **state)
{
    struct bench *bench = *state;
    heap_release(&bench->heap);
    chunks_release(&bench->chunks);
    slab_release(&bench->slab);
    free(bench);
    return 0;
}

/* xorshift64 (G. Marsaglia, 2003): the same numbers in each run. */
static uint32_t draw(struct bench *bench, uint32_t end_of_range)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return (uint32_t)(bench->random >> 32) % end_of_range;
}

static bool is_before(const struct entry *a, const struct entry *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us;
    return a->arrival < b->arrival;
}

static void model_add(struct bench *bench, struct entry entry)
{
    uint32_t place = bench->count++;
    for (; place > 0 && is_before(&entry, &bench->sorted[place - 1]); place--)
        bench->sorted[place] = bench->sorted[place - 1];
    bench->sorted[place] = entry;
    bench->is_in[entry.item] = true;
}

static struct entry model_remove(struct bench *bench, uint32_t item)
{
    uint32_t place = 0;
    while (bench->sorted[place].item != item)
        place++;
    struct entry entry = bench->sorted[place];
    for (bench->count--; place < bench->count; place++)
        bench->sorted[place] = bench->sorted[place + 1];
    bench->is_in[item] = false;
    return entry;
}

static void push(struct bench *bench, uint32_t item, int64_t rank, int64_t time_us)
{
    assert_true(heap_reserve(&bench->heap, bench->heap.count + 1));
    if (rank)
        heap_push_ranked(&bench->heap, item, rank, time_us);
    else
        heap_push(&bench->heap, item, time_us);
    model_add(bench, (struct entry){rank, time_us, bench->arrivals++, item});
}

static void move(struct bench *bench, uint32_t item, int64_t time_us)
{
    heap_move(&bench->heap, item, time_us);
    struct entry entry = model_remove(bench, item);
    entry.time_us = time_us;
    entry.arrival = bench->arrivals++;
    model_add(bench, entry);
}

static void check_first(const struct bench *bench)
{
    assert_int_equal(bench->heap.count, bench->count);
    if (bench->count) {
        assert_int_equal(heap_first(&bench->heap), bench->sorted[0].item);
        assert_int_equal(heap_first_time(&bench->heap), bench->sorted[0].time_us);
    } else {
        assert_int_equal(heap_first(&bench->heap), SLAB_NONE);
        assert_true(heap_first_time(&bench->heap) == TIME_US_NEVER);
    }
}

static void check_peek(const struct bench *bench, uint32_t max)
{
    uint32_t *items = malloc(sizeof(*items) * (max + 1));
    assert_non_null(items);
    uint32_t found = heap_peek(&bench->heap, items, max);
    assert_int_equal(found, max < bench->count ? max : bench->count);
    for (uint32_t i = 0; i < found; i++)
        assert_int_equal(items[i], bench->sorted[i].item);
    free(items);
}

static void drain(struct bench *bench)
{
    while (bench->count) {
        check_first(bench);
        uint32_t first = bench->sorted[0].item;
        assert_int_equal(heap_pop(&bench->heap), first);
        model_remove(bench, first);
    }
    check_first(bench);
    assert_int_equal(heap_pop(&bench->heap), SLAB_NONE);
}

static void act_at_random(struct bench *bench, int64_t rank, uint32_t times)
{
    uint32_t item = draw(bench, ITEMS_END);
    int64_t time_us = (int64_t)draw(bench, times);
    if (!bench->is_in[item])
        push(bench, item, rank, time_us);
    else if (draw(bench, 3) == 0)
        move(bench, item, time_us);
    else if (draw(bench, 2) == 0) {
        heap_remove(&bench->heap, item);
        model_remove(bench, item);
    } else {
        uint32_t first = bench->sorted[0].item;
        assert_int_equal(heap_pop(&bench->heap), first);
        model_remove(bench, first);
    }
    check_first(bench);
}

static void random_changes_keep_the_order_of_a_sorted_list(void **state)
{
    struct bench *bench = *state;
    for (int i = 0; i < 30000; i++) {
        act_at_random(bench, 0, i % 2 ? 50 : 1000000);
        if (i % 500 == 0)
            check_peek(bench, draw(bench, ITEMS_END));
    }
    drain(bench);
}

static void ranks_come_before_times(void **state)
{
    struct bench *bench = *state;
    assert_true(heap_use_ranks(&bench->heap));
    for (int i = 0; i < 30000; i++) {
        act_at_random(bench, (int64_t)draw(bench, 5) - 2, 100);
        if (i % 500 == 0)
            check_peek(bench, draw(bench, ITEMS_END));
    }
    drain(bench);
}

static void ranks_can_begin_while_items_are_there(void **state)
{
    struct bench *bench = *state;
    for (uint32_t item = 0; item < 100; item++)
        push(bench, item, 0, draw(bench, 50));
    assert_true(heap_use_ranks(&bench->heap));
    assert_true(heap_use_ranks(&bench->heap));
    for (uint32_t item = 100; item < 200; item++)
        push(bench, item, item % 2 ? INT64_MIN : INT64_MAX, draw(bench, 50));
    check_peek(bench, 200);
    drain(bench);
}

static void ranks_can_begin_in_an_empty_heap(void **state)
{
    struct bench *bench = *state;
    assert_true(heap_use_ranks(&bench->heap));
    push(bench, 0, 1, 10);
    push(bench, 1, -1, 20);
    push(bench, 2, 0, 0);
    drain(bench);
}

static void equal_times_keep_arrival_order(void **state)
{
    struct bench *bench = *state;
    for (uint32_t i = 0; i < ITEMS_END; i++)
        push(bench, ITEMS_END - 1 - i, 0, 5);
    for (uint32_t i = 0; i < ITEMS_END; i++)
        assert_int_equal(heap_pop(&bench->heap), bench->sorted[i].item);
}

static void a_moved_item_arrives_anew_and_keeps_its_rank(void **state)
{
    struct bench *bench = *state;
    assert_true(heap_use_ranks(&bench->heap));
    push(bench, 0, 0, 5);
    push(bench, 1, 0, 5);
    push(bench, 2, -1, 5);
    move(bench, 0, 5);
    move(bench, 2, 9);
    assert_int_equal(heap_pop(&bench->heap), 2);
    assert_int_equal(heap_pop(&bench->heap), 1);
    assert_int_equal(heap_pop(&bench->heap), 0);
}

/* What a broker with one long lease among many short ones does to the heap of their ends: the long
 * one stands in front of the run, and what has ended behind it must not be kept. */
static void one_that_stays_does_not_keep_room_for_all_that_pass(void **state)
{
    struct bench *bench = *state;
    push(bench, 0, 0, 1);
    for (uint32_t i = 1; i < 40000; i++) {
        uint32_t item = 1 + i % (ITEMS_END - 1);
        push(bench, item, 0, 1 + (int64_t)i);
        heap_remove(&bench->heap, item);
        model_remove(bench, item);
        push(bench, item, 0, 2 + (int64_t)i);
        if (i > 3) {
            uint32_t old = 1 + (i - 3) % (ITEMS_END - 1);
            heap_remove(&bench->heap, old);
            model_remove(bench, old);
        }
    }
    struct run *run = &bench->heap.run;
    assert_true(run->end - run->begin < 10000);
    drain(bench);
}

static void it_grows_over_segments_and_takes_the_whole_range_of_times(void **state)
{
    struct bench *bench = *state;
    enum { COUNT = (1 << HEAP_SEGMENT_BITS) * 3 };
    for (uint32_t item = ITEMS_END; item < COUNT; item++)
        assert_int_not_equal(slab_take(&bench->slab), SLAB_NONE);
    assert_true(heap_reserve(&bench->heap, COUNT));
    for (uint32_t item = 0; item < COUNT; item++)
        heap_push(&bench->heap, item, TIME_US_END - 1 - (int64_t)item);
    heap_move(&bench->heap, 0, 0);
    assert_int_equal(heap_pop(&bench->heap), 0);
    for (uint32_t item = COUNT - 1; item > 0; item--)
        assert_int_equal(heap_pop(&bench->heap), item);
    assert_int_equal(heap_first(&bench->heap), SLAB_NONE);
}

/* What was reserved before is for the tree and shelves; then all goes to the tree. */
static void ranks_that_begin_leave_the_room_that_there_is(void **state)
{
    struct bench *bench = *state;
    enum { COUNT = (1 << HEAP_SEGMENT_BITS) * 3 };
    for (uint32_t item = ITEMS_END; item < COUNT; item++)
        assert_int_not_equal(slab_take(&bench->slab), SLAB_NONE);
    assert_true(heap_reserve(&bench->heap, COUNT));
    assert_true(heap_use_ranks(&bench->heap));
    for (uint32_t item = 0; item < COUNT; item++)
        heap_push_ranked(&bench->heap, item, -(int64_t)item, 1);
    for (uint32_t item = COUNT; item > 0; item--)
        assert_int_equal(heap_pop(&bench->heap), item - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_changes_keep_the_order_of_a_sorted_list, begin, end),
        cmocka_unit_test_setup_teardown(ranks_come_before_times, begin, end),
        cmocka_unit_test_setup_teardown(ranks_can_begin_while_items_are_there, begin, end),
        cmocka_unit_test_setup_teardown(ranks_can_begin_in_an_empty_heap, begin, end),
        cmocka_unit_test_setup_teardown(equal_times_keep_arrival_order, begin, end),
        cmocka_unit_test_setup_teardown(a_moved_item_arrives_anew_and_keeps_its_rank, begin, end),
        cmocka_unit_test_setup_teardown(one_that_stays_does_not_keep_room_for_all_that_pass, begin,
                                        end),
        cmocka_unit_test_setup_teardown(it_grows_over_segments_and_takes_the_whole_range_of_times,
                                        begin, end),
        cmocka_unit_test_setup_teardown(ranks_that_begin_leave_the_room_that_there_is, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
