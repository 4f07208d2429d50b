#include "nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES_MAX = 5000 };

static int compare(const void *left, const void *right)
{
    struct heap_node a, b;
    memcpy(&a, left, sizeof(a));
    memcpy(&b, right, sizeof(b));
    return node_is_before(a, b) ? -1 : node_is_before(b, a);
}

/* xorshift64 (G. Marsaglia, 2003): the same numbers in each run. */
static uint64_t draw(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* Each count by itself, so that a step outside of what was given is seen. */
static void expect_sorted(uint32_t count, uint64_t range, uint64_t *random)
{
    struct heap_node *nodes = malloc((count + 1) * sizeof(*nodes));
    struct heap_node *scratch = malloc((count + 1) * sizeof(*nodes));
    struct heap_node *expected = malloc((count + 1) * sizeof(*nodes));
    assert_true(nodes && scratch && expected);
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (struct heap_node){.high = draw(random) % range, .low = draw(random)};
    memcpy(expected, nodes, count * sizeof(*nodes));
    qsort(expected, count, sizeof(*nodes), compare);
    nodes[count] = scratch[count] = (struct heap_node){1, 2};
    nodes_sort(nodes, scratch, count);
    assert_memory_equal(nodes, expected, count * sizeof(*nodes));
    nodes_sort(nodes, scratch, count);
    assert_memory_equal(nodes, expected, count * sizeof(*nodes));
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = expected[count - 1 - i];
    nodes_sort(nodes, scratch, count);
    assert_memory_equal(nodes, expected, count * sizeof(*nodes));
    assert_true(nodes[count].low == 2 && scratch[count].low == 2);
    free(nodes);
    free(scratch);
    free(expected);
}

static void any_number_in_any_order_is_sorted(void **state)
{
    uint64_t random = 88172645463325252u;
    (void)state;
    for (uint32_t count = 0; count < NODES_MAX; count += count < 300 ? 1 : 211) {
        expect_sorted(count, UINT64_MAX, &random);
        expect_sorted(count, 3, &random);
    }
}

static void time_is_above_serial_and_serial_above_item(void **state)
{
    (void)state;
    const struct heap_node nodes[] = {{0, UINT64_MAX}, {1, 0}, {1, 1}, {UINT64_MAX, 0}};
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 4; k++)
            assert_int_equal(node_is_before(nodes[i], nodes[k]), i < k);
    assert_true(node_is_gap((struct heap_node){7, UINT64_MAX}));
    assert_false(node_is_gap((struct heap_node){UINT64_MAX, UINT64_MAX - 1}));
    assert_int_equal(node_item((struct heap_node){7, ((uint64_t)9 << 32) + 5}), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_in_any_order_is_sorted),
        cmocka_unit_test(time_is_above_serial_and_serial_above_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
