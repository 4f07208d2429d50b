#include "slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct item {
    uint32_t link;
    uint32_t mark[5];
};

static void items_are_zeroed_and_numbered_from_0(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct item));
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(slab_take(&slab), i);
        struct item zero = {0};
        assert_memory_equal(slab_at(&slab, i), &zero, sizeof(zero));
        memset(slab_at(&slab, i), 0xff, sizeof(struct item));
    }
    assert_int_equal(slab.count, 3);
    slab_release(&slab);
}

static void a_freed_item_is_used_again_last_freed_first_and_zeroed(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct item));
    for (uint32_t i = 0; i < 5; i++)
        memset(slab_at(&slab, slab_take(&slab)), 0xff, sizeof(struct item));
    slab_give(&slab, 1);
    slab_give(&slab, 4);
    slab_give(&slab, 0);
    assert_int_equal(slab.count, 2);
    assert_int_equal(slab_take(&slab), 0);
    assert_int_equal(slab_take(&slab), 4);
    assert_int_equal(slab_take(&slab), 1);
    assert_int_equal(slab_take(&slab), 5);
    struct item zero = {0};
    assert_memory_equal(slab_at(&slab, 4), &zero, sizeof(zero));
    slab_release(&slab);
}

static void addresses_never_change_while_it_grows_over_segments(void **state)
{
    (void)state;
    enum { COUNT = 20 * SLAB_SEGMENT_ITEMS + 7 };
    struct slab slab;
    slab_init(&slab, sizeof(struct item));
    struct item *first = slab_at(&slab, slab_take(&slab));
    first->mark[0] = 77;
    for (uint32_t i = 1; i < COUNT; i++) {
        assert_int_equal(slab_take(&slab), i);
        ((struct item *)slab_at(&slab, i))->mark[0] = i;
    }
    assert_ptr_equal(slab_at(&slab, 0), first);
    assert_int_equal(first->mark[0], 77);
    for (uint32_t i = 1; i < COUNT; i++)
        assert_int_equal(((struct item *)slab_at(&slab, i))->mark[0], i);
    slab_release(&slab);
}

static void items_of_4_bytes_can_be_freed_and_taken_again(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, 4);
    uint32_t a = slab_take(&slab), b = slab_take(&slab);
    slab_give(&slab, a);
    slab_give(&slab, b);
    assert_int_equal(slab_take(&slab), b);
    assert_int_equal(slab_take(&slab), a);
    assert_int_equal(*(uint32_t *)slab_at(&slab, a), 0);
    slab_release(&slab);
}

static void links_and_places_stand_beside_the_items_and_stay_where_they_are(void **state)
{
    (void)state;
    enum { COUNT = 2 * SLAB_SEGMENT_ITEMS + 3 };
    struct slab slab;
    slab_init(&slab, sizeof(struct item));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(slab_take(&slab), i);
        *slab_link(&slab, i) = (struct slab_link){.next = i + 1, .tag = i ^ 5};
        *slab_place(&slab, i) = ~i;
        memset(slab_at(&slab, i), 0xff, sizeof(struct item));
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(slab_link(&slab, i)->next, i + 1);
        assert_int_equal(slab_link(&slab, i)->tag, i ^ 5);
        assert_int_equal(*slab_place(&slab, i), ~i);
    }
    slab_release(&slab);
}

struct placed_item {
    uint32_t number;
    uint32_t place;
};

static void items_may_have_their_places_themselves(void **state)
{
    (void)state;
    enum { COUNT = SLAB_SEGMENT_ITEMS + 3 };
    struct slab slab;
    slab_init_placed(&slab, sizeof(struct placed_item), offsetof(struct placed_item, place));
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(slab_take(&slab), i);
            *slab_link(&slab, i) = (struct slab_link){.next = i + 1, .tag = i ^ 5};
            *slab_place(&slab, i) = ~i;
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(((struct placed_item *)slab_at(&slab, i))->place, ~i);
            assert_int_equal(slab_link(&slab, i)->tag, i ^ 5);
        }
        slab_release(&slab);
    }
}

static void a_released_slab_can_be_used_anew(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, sizeof(struct item));
    slab_take(&slab);
    slab_give(&slab, 0);
    slab_release(&slab);
    assert_int_equal(slab.count, 0);
    assert_int_equal(slab_take(&slab), 0);
    slab_release(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_zeroed_and_numbered_from_0),
        cmocka_unit_test(a_freed_item_is_used_again_last_freed_first_and_zeroed),
        cmocka_unit_test(addresses_never_change_while_it_grows_over_segments),
        cmocka_unit_test(items_of_4_bytes_can_be_freed_and_taken_again),
        cmocka_unit_test(links_and_places_stand_beside_the_items_and_stay_where_they_are),
        cmocka_unit_test(items_may_have_their_places_themselves),
        cmocka_unit_test(a_released_slab_can_be_used_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
