#include "chunks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PILES = 5, NODES = 10 * CHUNK_NODES };

static struct heap_node node_of(uint32_t pile, uint32_t i)
{
    return (struct heap_node){.high = pile, .low = i};
}

static void fill(struct chunks *chunks, struct pile *piles)
{
    assert_true(chunks_reserve(chunks, PILES * NODES / CHUNK_NODES));
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t k = 0; k < PILES; k++) {
            uint32_t position = pile_add(chunks, &piles[k], node_of(k, i));
            assert_int_equal(position, pile_last(&piles[k]));
            assert_int_equal(chunks_at(chunks, position)->low, i);
        }
}

static void piles_keep_what_they_were_given(void **state)
{
    (void)state;
    struct chunks chunks = {.segments = NULL};
    struct pile piles[PILES] = {{0, 0}};
    struct heap_node nodes[NODES];
    uint32_t ids[NODES / CHUNK_NODES];
    fill(&chunks, piles);
    for (uint32_t k = 0; k < PILES; k++) {
        assert_int_equal(pile_chunks(&chunks, &piles[k], ids), NODES / CHUNK_NODES);
        pile_copy(&chunks, &piles[k], ids, nodes);
        for (uint32_t i = 0; i < NODES; i++) {
            assert_int_equal(nodes[i].high, k);
            assert_int_equal(nodes[i].low, i);
        }
    }
    chunks_release(&chunks);
}

static void the_last_leaves_first_and_chunks_are_used_again(void **state)
{
    (void)state;
    struct chunks chunks = {.segments = NULL};
    struct pile piles[PILES] = {{0, 0}};
    fill(&chunks, piles);
    uint32_t used = chunks.used_end;
    for (uint32_t i = NODES; i-- > 0;)
        assert_int_equal(pile_take(&chunks, &piles[1]).low, i);
    pile_clear(&chunks, &piles[2]);
    assert_int_equal(chunks.free_count, 2 * NODES / CHUNK_NODES);
    for (uint32_t i = 0; i < 2 * NODES; i++)
        pile_add(&chunks, &piles[3], node_of(3, NODES + i));
    assert_int_equal(chunks.free_count, 0);
    assert_int_equal(chunks.used_end, used);
    for (uint32_t i = 3 * NODES; i-- > 0;)
        assert_int_equal(pile_take(&chunks, &piles[3]).low, i);
    chunks_release(&chunks);
}

static void what_is_not_reserved_any_more_makes_room_for_others(void **state)
{
    (void)state;
    struct chunks chunks = {.segments = NULL};
    assert_true(chunks_reserve(&chunks, CHUNKS_SEGMENT_CHUNKS));
    assert_int_equal(chunks.segment_count, 1);
    assert_true(chunks_reserve(&chunks, 1));
    assert_int_equal(chunks.segment_count, 2);
    for (int i = 0; i < 10; i++) {
        chunks_unreserve(&chunks, CHUNKS_SEGMENT_CHUNKS);
        assert_true(chunks_reserve(&chunks, CHUNKS_SEGMENT_CHUNKS));
    }
    assert_int_equal(chunks.segment_count, 2);
    chunks_release(&chunks);
}

static void more_than_positions_can_name_is_refused(void **state)
{
    (void)state;
    struct chunks chunks = {.segments = NULL};
    assert_true(chunks_reserve(&chunks, 1));
    assert_false(chunks_reserve(&chunks, CHUNKS_MAX));
    assert_false(chunks_reserve(&chunks, UINT32_MAX));
    assert_int_equal(chunks.segment_count, 1);
    assert_int_equal(chunks.reserved, 1);
    chunks_release(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(piles_keep_what_they_were_given),
        cmocka_unit_test(the_last_leaves_first_and_chunks_are_used_again),
        cmocka_unit_test(what_is_not_reserved_any_more_makes_room_for_others),
        cmocka_unit_test(more_than_positions_can_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
