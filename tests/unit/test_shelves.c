/* The heap when it is large (test_heap.c has the small ones): what its shelves promise. */
#include "shelves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "heap_model.h"
#include "memory.h"
#include "moment.h"

/* --- orders of arrival ------------------------------------------------------------------------ */

static int64_t at_random(struct model *model, uint32_t i)
{
    (void)i;
    return model_draw(model, 1000000);
}

static int64_t at_few_times(struct model *model, uint32_t i)
{
    (void)i;
    return model_draw(model, 3);
}

static int64_t all_at_once(struct model *model, uint32_t i)
{
    (void)model;
    (void)i;
    return 7;
}

static int64_t in_order(struct model *model, uint32_t i)
{
    (void)model;
    return i;
}

static int64_t backwards(struct model *model, uint32_t i)
{
    (void)model;
    return TIME_US_END - 1 - (int64_t)i;
}

static int64_t from_both_ends(struct model *model, uint32_t i)
{
    (void)model;
    return i % 2 ? i : 1000000 - i;
}

static int64_t ever_nearer_to_the_middle(struct model *model, uint32_t i)
{
    (void)model;
    return i % 2 ? 1000000 + i : 2000000 - i;
}

static int64_t in_saw_teeth(struct model *model, uint32_t i)
{
    (void)model;
    return i % 700 * 1000;
}

static int64_t (*const patterns[])(struct model *model, uint32_t i) = {
    at_random, backwards,      all_at_once,  at_few_times,
    in_order,  from_both_ends, in_saw_teeth, ever_nearer_to_the_middle,
};

enum { PATTERNS = sizeof(patterns) / sizeof(*patterns) };

static void whatever_the_order_of_arrival_they_leave_by_time_and_arrival(void **state)
{
    struct model *model = *state;
    for (uint32_t k = 0; k < PATTERNS; k++) {
        model->arrivals = 0;
        for (uint32_t i = 0; i < MODEL_ITEMS; i++) {
            model_push(model, i, patterns[k](model, i));
            if (i % 997 == 0)
                model_check(model);
        }
        model_check_peek(model, MODEL_ITEMS);
        model_drain(model);
    }
}

/* The run takes what comes in order; a node that stays behind all keeps it from doing so. */
static void what_comes_in_order_fills_the_shelves(void **state)
{
    struct model *model = *state;
    model_push(model, 0, TIME_US_END - 1);
    for (uint32_t i = 1; i < MODEL_ITEMS; i++)
        model_push(model, i, i);
    const struct shelves *shelves = &model->heap.shelves;
    model_check(model);
    assert_true(shelves->end - shelves->begin <= MODEL_ITEMS / SHELF_NODES + 1);
    model_check_peek(model, MODEL_ITEMS);
    model_drain(model);
}

/* A shelf of 2,048 is cut at the middle of its nodes 0, 32, 64 ...: here half of these are as early
 * as the shelf's first, and nearly all others late. (A small one's sample of two leads nobody so
 * far astray.) */
static void a_sample_that_misleads_does_not_decide_where_a_shelf_is_cut(void **state)
{
    struct model *model = *state;
    uint32_t item = 0;
    model_push(model, item++, TIME_US_END - 1); /* to the run, which takes nothing before it */
    for (int64_t i = 0; i < SHELVES_TREE_NODES; i++)
        model_push(model, item++, i);
    for (uint32_t i = 0; i <= SHELF_NODES / 2; i++)
        model_push(model, item++, i % 32 ? 5000 : SHELVES_TREE_NODES / 2);
    const struct shelves *shelves = &model->heap.shelves;
    assert_int_equal(shelves->end - shelves->begin, 2);
    for (uint32_t i = shelves->begin; i < shelves->end; i++)
        assert_true(shelves->list[i].pile.count >= SHELF_LEAST || EVERDUE_SEGMENT_BITS_LESS);
    model_check(model);
    model_drain(model);
}

static void few_around_each_limit_are_ordered_too(void **state)
{
    struct model *model = *state;
    const uint32_t limits[] = {CHUNK_NODES, SHELF_LEAST, SHELF_NODES, 2 * SHELF_NODES,
                               3 * SHELF_NODES};
    for (uint32_t k = 0; k < sizeof(limits) / sizeof(*limits); k++)
        for (uint32_t count = limits[k] - 2; count <= limits[k] + 2; count++) {
            model->arrivals = 0;
            for (uint32_t i = 0; i < count; i++)
                model_push(model, i, model_draw(model, 5000));
            model_check(model);
            model_check_peek(model, count);
            model_drain(model);
        }
}

/* --- changes ---------------------------------------------------------------------------------- */

static void act(struct model *model, uint32_t times, uint32_t pushes_in_10)
{
    uint32_t item = model_draw(model, MODEL_ITEMS);
    if (!model->is_in[item]) {
        if (model_draw(model, 10) < pushes_in_10)
            model_push(model, item, model_draw(model, times));
    } else if (model_draw(model, 4) == 0) {
        model_move(model, item, model_draw(model, times));
    } else if (model_draw(model, 10) >= pushes_in_10) {
        model_take_out(model, item);
    } else if (model_draw(model, 3) == 0) {
        model_pop(model);
    }
}

static void random_changes_keep_the_order_while_it_grows_and_shrinks(void **state)
{
    struct model *model = *state;
    static const uint32_t pushes_in_10[] = {9, 5, 1, 8, 0};
    for (uint32_t phase = 0; phase < 5; phase++)
        for (uint32_t i = 0; i < 12000; i++) {
            act(model, phase % 2 ? 400 : 100000000, pushes_in_10[phase]);
            if (i % 1000 == 0) {
                model_check(model);
                model_check_peek(model, model_draw(model, MODEL_ITEMS));
            }
        }
    model_drain(model);
}

/* As records do that are given a new time within a second each time they come due. */
static void what_leaves_and_comes_back_for_ever_needs_no_more_memory(void **state)
{
    struct model *model = *state;
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    for (uint32_t i = 0; i < 2 * MODEL_ITEMS; i++) {
        int64_t now_us = model->sorted[0].time_us;
        model_push(model, model_pop(model), now_us + model_draw(model, 1000000));
        if (i % 4999 == 0)
            model_check(model);
    }
    uint32_t used = model->chunks.used_end;
    assert_true(used <= (MODEL_ITEMS / CHUNK_NODES) * 5 / 4);
    model_drain(model);
    assert_int_equal(model->chunks.used_end, used);
}

/* As records do that come due faster than they are handed out: from the waiting heap to the ready
 * one, and back. */
static void what_goes_from_heap_to_heap_needs_no_more_memory(void **state)
{
    struct model *model = *state;
    struct heap other;
    const char *what = "";
    heap_init(&other, &model->slab, &model->chunks);
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    uint32_t used = model->chunks.used_end;
    for (uint32_t i = 0; i < MODEL_ITEMS; i++) {
        uint32_t chunks = 0;
        assert_true(heap_reserve(&other, i + 1));
        heap_push(&other, model_pop(model), model_draw(model, 1000000));
        if (i % 5000)
            continue;
        assert_true(heap_check(&model->heap, &chunks, &what));
        assert_true(heap_check(&other, &chunks, &what));
        assert_int_equal(chunks, model->chunks.used_end - model->chunks.free_count);
    }
    assert_true(model->chunks.used_end <= used + MODEL_ITEMS / SHELF_NODES + 2);
    while (other.count)
        model_push(model, heap_pop(&other), model_draw(model, 1000000));
    heap_release(&other);
    model_check(model);
    model_drain(model);
}

static void shelves_that_became_small_are_joined(void **state)
{
    struct model *model = *state;
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        if (i % 40)
            model_take_out(model, i);
    model_check(model);
    const struct shelves *shelves = &model->heap.shelves;
    uint32_t left = MODEL_ITEMS / 40 + 1, most = 2 * (left / SHELF_LEAST) + 3;
    assert_true(shelves->end - shelves->begin <= most);
    assert_true(model->chunks.used_end - model->chunks.free_count <=
                left / CHUNK_NODES + 2 * most + 2);
    model_check_peek(model, MODEL_ITEMS);
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        if (!model->is_in[i])
            model_push(model, i, model_draw(model, 1000000));
    model_drain(model);
}

/* Of shelf `i` no more than `left` nodes stay. */
static void thin_shelf(struct model *model, uint32_t i, uint32_t left)
{
    static struct heap_node nodes[SHELF_NODES];
    uint32_t index = i + 1; /* the front is 0 */
    uint32_t count = shelves_next(&model->heap.shelves, &index, nodes);
    for (uint32_t k = left; k < count; k++)
        model_take_out(model, node_item(nodes[k]));
}

/* The most shelves that so many nodes may have: every other has one, those between SHELF_LEAST, so
 * that none are joined. What has been reserved suffices for them. */
static void shelves_as_sparse_as_they_may_be_find_room(void **state)
{
    struct model *model = *state;
    const struct shelves *shelves = &model->heap.shelves;
    int64_t time_us = 0;
    assert_true(heap_reserve(&model->heap, MODEL_ITEMS));
    model_push(model, 0, TIME_US_END - 1); /* to the run, which takes nothing before it */
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t item = 1; item < MODEL_ITEMS; item++)
            if (!model->is_in[item])
                model_push(model, item, time_us++);
        uint32_t count = shelves->end - shelves->begin;
        for (uint32_t i = 0; i + 2 < count; i += 2) /* the last may have few: it would join */
            thin_shelf(model, i, 1);
        for (uint32_t i = 1; i + 3 < count; i += 2)
            thin_shelf(model, i, SHELF_LEAST);
        assert_int_equal(shelves->end - shelves->begin, count);
        model_check(model);
    }
    assert_true(shelves->end - shelves->begin >= 3 * (MODEL_ITEMS / SHELF_NODES));
    model_check_peek(model, MODEL_ITEMS);
    model_drain(model);
}

/* After 2^44 arrivals the serial number stays, and equal times go by item. */
static void equal_times_go_by_item_when_serials_have_run_out(void **state)
{
    struct model *model = *state;
    model_push(model, 0, 5);
    model->heap.serial = model->arrivals = model->arrivals_max - 3000;
    for (uint32_t i = 1; i < MODEL_ITEMS; i++)
        model_push(model, i % 2 ? i : MODEL_ITEMS - i, 5);
    for (uint32_t i = 0; i < MODEL_ITEMS; i += 3)
        model_move(model, i, 5);
    model_check(model);
    model_check_peek(model, MODEL_ITEMS);
    model_drain(model);
}

/* --- no long step ----------------------------------------------------------------------------- */

enum { WATCHED = 4 * SHELF_NODES, BLOCK = SLAB_SEGMENT_ITEMS < 64 ? SLAB_SEGMENT_ITEMS : 64 };
_Static_assert(WATCHED % BLOCK == 0, "a block lies in one segment");

/* Whole blocks of places are compared first: there are many calls. */
static uint32_t count_moved(const struct model *model, uint32_t *places)
{
    uint32_t moved = 0;
    for (uint32_t block = 0; block < WATCHED; block += BLOCK) {
        const uint32_t *now = slab_place(&model->slab, block);
        if (memcmp(places + block, now, BLOCK * sizeof(*now)) == 0)
            continue;
        for (uint32_t i = 0; i < BLOCK; i++)
            moved += places[block + i] != now[i];
        memcpy(places + block, now, BLOCK * sizeof(*now));
    }
    return moved;
}

/* Nodes are counted, not time; of each order a few shelves full, of the four that differ most. */
static void no_call_moves_more_than_two_shelves(void **state)
{
    struct model *model = *state;
    static uint32_t places[WATCHED];
    for (uint32_t k = 0; k < 4; k++) {
        uint64_t sum = 0;
        uint32_t calls = 0;
        model->arrivals = 0;
        for (uint32_t i = 0; i < MODEL_ITEMS; i++)
            *slab_place(&model->slab, i) = 0;
        count_moved(model, places);
        for (; calls < WATCHED; calls++) {
            model_push(model, calls, patterns[k](model, calls));
            uint32_t moved = count_moved(model, places);
            assert_true(moved <= 2 * SHELF_NODES + 1);
            sum += moved;
        }
        for (; model->count; calls++) {
            if (calls % 3)
                model_pop(model);
            else
                model_take_out(model, model->sorted[model_draw(model, model->count)].item);
            uint32_t moved = count_moved(model, places);
            assert_true(moved <= 2 * SHELF_NODES + 1);
            sum += moved;
        }
        assert_true(sum <= (uint64_t)calls * 6);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Each allocation fails once: nothing changed then, and the next try succeeds. */
static void a_reservation_without_memory_changes_nothing(void **state)
{
    struct model *model = *state;
    for (uint64_t k = 1;; k++) { /* ends: with k above the number of allocations none fails */
        heap_release(&model->heap);
        memory_plan(k, false);
        memory_enter();
        bool has_room = heap_reserve(&model->heap, MODEL_ITEMS);
        memory_leave();
        assert_true(has_room == !memory_failures());
        model_check(model);
        if (has_room) {
            assert_true(k > 4);
            return;
        }
        assert_true(heap_reserve(&model->heap, MODEL_ITEMS));
    }
}

static void what_there_is_room_for_needs_no_memory(void **state)
{
    struct model *model = *state;
    assert_true(heap_reserve(&model->heap, MODEL_ITEMS));
    memory_plan(1, true);
    for (uint32_t i = 0; i < MODEL_ITEMS; i++) {
        memory_enter();
        heap_push(&model->heap, i, i % 2 ? i : 1000000 - i);
        memory_leave();
        model_add(model, i, i % 2 ? i : 1000000 - i);
    }
    for (uint32_t i = 0; i < 2 * MODEL_ITEMS; i++) {
        uint32_t item = model_draw(model, MODEL_ITEMS);
        int64_t time_us = model_draw(model, 1000000);
        memory_enter();
        heap_move(&model->heap, item, time_us);
        memory_leave();
        model_remove(model, item);
        model_add(model, item, time_us);
    }
    assert_true(memory_failures() > 0); /* the run would have liked some */
    memory_come_back();
    model_check(model);
    model_drain(model);
}

static void a_walk_without_memory_shows_nothing(void **state)
{
    struct model *model = *state;
    uint32_t items[5];
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    for (uint64_t k = 1; k <= 2; k++) {
        memory_plan(k, false);
        memory_enter();
        uint32_t found = heap_peek(&model->heap, items, 5);
        memory_leave();
        assert_int_equal(found, 0);
    }
    model_check_peek(model, 5);
}

static void more_than_a_heap_may_have_is_refused(void **state)
{
    struct model *model = *state;
    assert_false(heap_reserve(&model->heap, HEAP_NODES_MAX + 1));
    model_push(model, 0, 1);
    model_drain(model);
}

/* --- ranks ------------------------------------------------------------------------------------ */

/* They stay on the shelves, and those with ranks go before and behind them. */
static void ranks_can_begin_while_shelves_are_full(void **state)
{
    struct model *model = *state;
    enum { LATER = 2000 };
    for (uint32_t i = 2 * LATER; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    assert_true(heap_use_ranks(&model->heap));
    assert_true(heap_reserve(&model->heap, MODEL_ITEMS));
    for (uint32_t i = 0; i < 2 * LATER; i++)
        heap_push_ranked(&model->heap, i, i < LATER ? -1 : 1, i);
    for (uint32_t i = 2 * LATER; i < MODEL_ITEMS; i += 5)
        model_move(model, i, model_draw(model, 1000000));
    const char *what = "";
    uint32_t chunks = 0;
    assert_true(heap_check(&model->heap, &chunks, &what));
    for (uint32_t i = 0; i < LATER; i++)
        assert_int_equal(heap_pop(&model->heap), i);
    for (; model->count; model_remove(model, model->sorted[0].item))
        assert_int_equal(heap_pop(&model->heap), model->sorted[0].item);
    for (uint32_t i = LATER; i < 2 * LATER; i++)
        assert_int_equal(heap_pop(&model->heap), i);
    assert_int_equal(heap_pop(&model->heap), SLAB_NONE);
}

static void ranks_without_memory_begin_later(void **state)
{
    struct model *model = *state;
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        model_push(model, i, model_draw(model, 1000000));
    uint64_t k = 1;
    for (bool has_ranks = false; !has_ranks; k++) { /* ends: see above */
        memory_plan(k, false);
        memory_enter();
        has_ranks = heap_use_ranks(&model->heap);
        memory_leave();
        assert_true(has_ranks == !memory_failures());
        model_check(model);
    }
    assert_true(k > 3);
    model_check_peek(model, MODEL_ITEMS);
    model_drain(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, model_begin, model_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_the_order_of_arrival_they_leave_by_time_and_arrival),
        TEST(what_comes_in_order_fills_the_shelves),
        TEST(a_sample_that_misleads_does_not_decide_where_a_shelf_is_cut),
        TEST(few_around_each_limit_are_ordered_too),
        TEST(random_changes_keep_the_order_while_it_grows_and_shrinks),
        TEST(what_leaves_and_comes_back_for_ever_needs_no_more_memory),
        TEST(what_goes_from_heap_to_heap_needs_no_more_memory),
        TEST(shelves_that_became_small_are_joined),
        TEST(shelves_as_sparse_as_they_may_be_find_room),
        TEST(equal_times_go_by_item_when_serials_have_run_out),
        TEST(no_call_moves_more_than_two_shelves),
        TEST(a_reservation_without_memory_changes_nothing),
        TEST(what_there_is_room_for_needs_no_memory),
        TEST(a_walk_without_memory_shows_nothing),
        TEST(more_than_a_heap_may_have_is_refused),
        TEST(ranks_can_begin_while_shelves_are_full),
        TEST(ranks_without_memory_begin_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
