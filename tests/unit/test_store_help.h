/* test_store_help.h - what the tests of the store share: directories, waiting, and a model.
 *
 * The model is a plain array that takes the same random batches as the store. Batches follow from
 * the seed and their number alone, so the model of any sequence can be made again.
 */
#ifndef EVERDUE_TEST_STORE_HELP_H
#define EVERDUE_TEST_STORE_HELP_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"

enum { MODEL_RECORDS = 4000, MODEL_KEYS = 12, MODEL_BODY_BYTES = 6000, HELP_PATH_BYTES = 256 };

/* A directory that does not exist yet, in a new temporary one. */
void help_directory(char path[HELP_PATH_BYTES]);
/* With all that is in it, and the temporary one around it. */
void help_remove(const char *path);

/* One of a test's own: what is to be set up before it and torn down after it. */
extern char help_own_directory[HELP_PATH_BYTES];
int help_make_own(void **state);
int help_remove_own(void **state);

/* Ends a child that was forked. Nothing is done that a process does at its end, but the branches
 * that it took are counted where they are counted at all. */
_Noreturn void help_end_child(int exit_status);

uint64_t help_random(uint64_t *state);
/* From 0 to below - 1. */
uint64_t help_below(uint64_t *state, uint64_t below);

/* Opens; on failure the text is printed and the test fails. */
struct store *help_open(const struct store_options *options);
/* A small reserve file, and batches of more than 126 states in several transactions. */
struct store_options help_options(const char *directory);

/* Waits for the next batch that is done. */
struct store_batch *help_wait(struct store *store);
/* Numbers the batch, submits it, waits, and returns its status. The batch is cleared. */
enum status help_commit(struct store *store, struct store_fence *fence, struct store_batch *batch);

/* Loads a store that has no rows but those of records. */
enum status help_count_records(struct store *store, uint64_t *records);

struct model_record {
    bool present;
    struct store_state state;
    uint32_t body_count;
    uint64_t body_seed;
};

struct model_row {
    bool present;
    uint32_t count;
    uint64_t seed;
};

struct model {
    uint64_t seed;
    uint64_t sequence;
    uint64_t numbers; /* given out */
    struct model_record records[MODEL_RECORDS + 1];
    struct model_row rows[STORE_TABLE_COUNT][MODEL_KEYS];
};

struct model *model_new(uint64_t seed);
/* The next batch; the fence is the caller's. */
void model_step(struct model *model, struct store_batch *batch);
/* Loads the store and compares. False, and the first difference in `difference`. */
bool model_equals(const struct model *model, struct store *store, char *difference, size_t room);

/* Whether this is what the model has. */
bool model_has_row(const struct model *model, const struct store_row *row, const uint8_t *bytes);
bool model_has_body(const struct model *model, uint64_t number, const uint8_t *body,
                    uint32_t count);

#endif
