#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    uint32_t key;
};

static uint64_t hash_key(uint32_t key)
{
    uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t hash_one_chain(uint32_t key)
{
    (void)key;
    return 5;
}

/* Differs above the low 32 bits only. */
static uint64_t hash_high(uint32_t key)
{
    return (uint64_t)key << 32;
}

struct index {
    struct slab slab;
    struct table table;
    uint64_t (*hash)(uint32_t key);
};

static struct index *begin(uint64_t (*hash)(uint32_t key))
{
    struct index *index = calloc(1, sizeof(*index));
    assert_non_null(index);
    slab_init(&index->slab, sizeof(struct item));
    table_init(&index->table, &index->slab);
    index->hash = hash;
    return index;
}

static void end(struct index *index)
{
    table_release(&index->table);
    slab_release(&index->slab);
    free(index);
}

static uint32_t add(struct index *index, uint32_t key)
{
    uint32_t id = slab_take(&index->slab);
    assert_int_not_equal(id, SLAB_NONE);
    ((struct item *)slab_at(&index->slab, id))->key = key;
    assert_true(table_reserve(&index->table));
    table_put(&index->table, id, index->hash(key));
    return id;
}

static uint32_t find(const struct index *index, uint32_t key, uint64_t hash)
{
    uint32_t id = table_first(&index->table, hash);
    while (id != SLAB_NONE && ((struct item *)slab_at(&index->slab, id))->key != key)
        id = table_next(&index->table, id);
    return id;
}

static void an_empty_table_finds_nothing(void **state)
{
    (void)state;
    struct index *index = begin(hash_key);
    assert_int_equal(find(index, 7, hash_key(7)), SLAB_NONE);
    assert_true(table_reserve(&index->table));
    assert_int_equal(find(index, 7, hash_key(7)), SLAB_NONE);
    end(index);
}

static void everything_is_found_after_each_step_of_growth(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    struct index *index = begin(hash_key);
    for (uint32_t key = 0; key < COUNT; key++) {
        add(index, key);
        assert_int_equal(find(index, key, hash_key(key)), key);
        assert_int_equal(find(index, key / 2, hash_key(key / 2)), key / 2);
        if ((key & (key + 1)) && key % 5000)
            continue;
        for (uint32_t old = 0; old <= key; old++)
            assert_int_equal(find(index, old, hash_key(old)), old);
    }
    assert_int_equal(index->table.count, COUNT);
    assert_in_range(index->table.bucket_count, COUNT * 9 / 10, COUNT * 11 / 10);
    end(index);
}

static void a_dense_table_has_a_bucket_for_two_items(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    struct index *index = begin(hash_key);
    table_init_dense(&index->table, &index->slab);
    for (uint32_t key = 0; key < COUNT; key++) {
        add(index, key);
        assert_int_equal(find(index, key / 2, hash_key(key / 2)), key / 2);
    }
    for (uint32_t key = 0; key < COUNT; key++)
        assert_int_equal(find(index, key, hash_key(key)), key);
    assert_in_range(index->table.bucket_count, COUNT / 2 * 9 / 10, COUNT / 2 * 11 / 10);
    table_release(&index->table);
    assert_true(table_prepare(&index->table, COUNT));
    assert_int_equal(index->table.bucket_count, COUNT / 2);
    end(index);
}

static void one_insert_splits_one_bucket_at_most(void **state)
{
    (void)state;
    struct index *index = begin(hash_key);
    add(index, 0);
    for (uint32_t key = 1; key < 10000; key++) {
        uint32_t before = index->table.bucket_count;
        add(index, key);
        assert_in_range(index->table.bucket_count, before, before + 1);
    }
    end(index);
}

static void a_removed_item_is_not_found_and_the_others_are(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct index *index = begin(hash_key);
    for (uint32_t key = 0; key < COUNT; key++)
        add(index, key);
    for (uint32_t key = 0; key < COUNT; key += 3) {
        table_remove(&index->table, key);
        slab_give(&index->slab, key);
    }
    for (uint32_t key = 0; key < COUNT; key++)
        assert_int_equal(find(index, key, hash_key(key)), key % 3 ? key : SLAB_NONE);
    for (uint32_t key = 0; key < COUNT; key += 3)
        add(index, key);
    for (uint32_t key = 0; key < COUNT; key++)
        assert_int_not_equal(find(index, key, hash_key(key)), SLAB_NONE);
    assert_int_equal(index->table.count, COUNT);
    end(index);
}

static void items_of_one_hash_are_one_chain(void **state)
{
    (void)state;
    struct index *index = begin(hash_one_chain);
    for (uint32_t key = 0; key < 100; key++)
        add(index, key);
    for (uint32_t removed = 0; removed < 100; removed += 2)
        table_remove(&index->table, removed);
    uint32_t found = 0;
    for (uint32_t id = table_first(&index->table, 5); id != SLAB_NONE;
         id = table_next(&index->table, id)) {
        assert_int_equal(id % 2, 1);
        found++;
    }
    assert_int_equal(found, 50);
    end(index);
}

static void a_walk_shows_no_item_of_another_hash(void **state)
{
    (void)state;
    struct index *index = begin(hash_key);
    for (uint32_t key = 0; key < 40; key++)
        add(index, key);
    for (uint32_t key = 0; key < 40; key++) {
        uint32_t id = table_first(&index->table, hash_key(key));
        assert_int_equal(id, key);
        assert_int_equal(table_next(&index->table, id), SLAB_NONE);
    }
    for (uint32_t key = 40; key < 1000; key++)
        assert_int_equal(table_first(&index->table, hash_key(key)), SLAB_NONE);
    end(index);
}

static void hashes_that_differ_above_their_low_bits_share_a_chain(void **state)
{
    (void)state;
    struct index *index = begin(hash_high);
    for (uint32_t key = 0; key < 50; key++)
        add(index, key);
    for (uint32_t key = 0; key < 50; key++)
        assert_int_equal(find(index, key, hash_high(key)), key);
    end(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing),
        cmocka_unit_test(everything_is_found_after_each_step_of_growth),
        cmocka_unit_test(a_dense_table_has_a_bucket_for_two_items),
        cmocka_unit_test(one_insert_splits_one_bucket_at_most),
        cmocka_unit_test(a_removed_item_is_not_found_and_the_others_are),
        cmocka_unit_test(items_of_one_hash_are_one_chain),
        cmocka_unit_test(a_walk_shows_no_item_of_another_hash),
        cmocka_unit_test(hashes_that_differ_above_their_low_bits_share_a_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
