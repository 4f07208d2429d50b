/* heap_model.h - a heap, and beside it the same as a sorted array.
 *
 * Whatever is done is done to both, and what the heap shows must be what the array shows.
 */
#ifndef EVERDUE_TEST_HEAP_MODEL_H
#define EVERDUE_TEST_HEAP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "heap.h"

enum { MODEL_ITEMS = 9000 };

struct model_key {
    int64_t time_us;
    uint64_t arrival;
    uint32_t item;
};

/* `of`: what each item's key is. */
struct model {
    struct slab slab;
    struct chunks chunks;
    struct heap heap;
    struct model_key sorted[MODEL_ITEMS];
    struct model_key of[MODEL_ITEMS];
    bool is_in[MODEL_ITEMS];
    uint32_t count;
    uint64_t arrivals, arrivals_max;
    uint64_t random;
};

/* For cmocka: `*state` is the model. */
int model_begin(void **state);
int model_end(void **state);

/* The same numbers in each run. */
uint32_t model_draw(struct model *model, uint32_t end_of_range);

/* The array alone. */
void model_add(struct model *model, uint32_t item, int64_t time_us);
void model_remove(struct model *model, uint32_t item);

/* Both. */
void model_push(struct model *model, uint32_t item, int64_t time_us);
void model_move(struct model *model, uint32_t item, int64_t time_us);
void model_take_out(struct model *model, uint32_t item);
uint32_t model_pop(struct model *model);

/* All that must hold in the heap; its first `max`; and that they leave it in order. */
void model_check(const struct model *model);
void model_check_peek(const struct model *model, uint32_t max);
void model_drain(struct model *model);

#endif
