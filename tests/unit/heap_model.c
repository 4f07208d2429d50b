#include "heap_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moment.h"

int model_begin(void **state)
{
    struct model *model = calloc(1, sizeof(*model));
    if (!model)
        return -1;
    slab_init(&model->slab, sizeof(uint64_t));
    heap_init(&model->heap, &model->slab, &model->chunks);
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        if (slab_take(&model->slab) == SLAB_NONE)
            return -1;
    model->arrivals_max = ((uint64_t)1 << 44) - 1;
    model->random = 88172645463325252u;
    *state = model;
    return 0;
}

int model_end(void **state)
{
    struct model *model = *state;
    heap_release(&model->heap);
    chunks_release(&model->chunks);
    slab_release(&model->slab);
    free(model);
    return 0;
}

/* xorshift64 (G. Marsaglia, 2003): the same numbers in each run. */
uint32_t model_draw(struct model *model, uint32_t end_of_range)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)(model->random >> 32) % end_of_range;
}

static bool is_before(const struct model_key *a, const struct model_key *b)
{
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us;
    return a->arrival != b->arrival ? a->arrival < b->arrival : a->item < b->item;
}

/* How many of the model are before `key`. */
static uint32_t model_find(const struct model *model, const struct model_key *key)
{
    uint32_t low = 0, high = model->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (is_before(&model->sorted[middle], key))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void model_add(struct model *model, uint32_t item, int64_t time_us)
{
    struct model_key key = {time_us, model->arrivals, item};
    uint32_t at = model_find(model, &key);
    memmove(&model->sorted[at + 1], &model->sorted[at], (model->count - at) * sizeof(key));
    model->sorted[at] = model->of[item] = key;
    model->count++;
    model->is_in[item] = true;
    if (model->arrivals < model->arrivals_max)
        model->arrivals++;
}

void model_remove(struct model *model, uint32_t item)
{
    uint32_t at = model_find(model, &model->of[item]);
    model->count--;
    memmove(&model->sorted[at], &model->sorted[at + 1],
            (model->count - at) * sizeof(struct model_key));
    model->is_in[item] = false;
}

void model_push(struct model *model, uint32_t item, int64_t time_us)
{
    assert_true(heap_reserve(&model->heap, model->heap.count + 1));
    heap_push(&model->heap, item, time_us);
    model_add(model, item, time_us);
}

void model_move(struct model *model, uint32_t item, int64_t time_us)
{
    heap_move(&model->heap, item, time_us);
    model_remove(model, item);
    model_add(model, item, time_us);
}

void model_take_out(struct model *model, uint32_t item)
{
    heap_remove(&model->heap, item);
    model_remove(model, item);
}

uint32_t model_pop(struct model *model)
{
    uint32_t item = model->sorted[0].item;
    assert_int_equal(heap_first(&model->heap), item);
    assert_int_equal(heap_first_time(&model->heap), model->sorted[0].time_us);
    assert_int_equal(heap_pop(&model->heap), item);
    model_remove(model, item);
    return item;
}

void model_check(const struct model *model)
{
    const char *what = "";
    uint32_t chunks = 0;
    if (!heap_check(&model->heap, &chunks, &what))
        fail_msg("%s", what);
    assert_int_equal(chunks, model->chunks.used_end - model->chunks.free_count);
    assert_int_equal(model->heap.count, model->count);
}

void model_check_peek(const struct model *model, uint32_t max)
{
    static uint32_t items[MODEL_ITEMS];
    uint32_t found = heap_peek(&model->heap, items, max);
    assert_int_equal(found, max < model->count ? max : model->count);
    for (uint32_t i = 0; i < found; i++)
        assert_int_equal(items[i], model->sorted[i].item);
}

void model_drain(struct model *model)
{
    for (uint32_t i = 0; model->count; i++) {
        model_pop(model);
        if (i % 997 == 0)
            model_check(model);
    }
    model_check(model);
    assert_int_equal(heap_pop(&model->heap), SLAB_NONE);
}
