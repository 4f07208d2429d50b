/* oracle_batches.c - the life of a store, see life.c: what is there equals the model after one of
 * the batches from the last acknowledged to the last submitted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oracle.h"
#include "test_store_help.h"

enum { BATCHES_MORE = 3, GOES_ON_EACH = 8, ID_TEXT_BYTES = 2 * STORE_ID_BYTES + 1 };

struct promise {
    uint64_t batches;
    struct model **models; /* by sequence */
    uint64_t acknowledged;
    uint64_t submitted;
    char id[ID_TEXT_BYTES]; /* of the store that was opened, or empty */
    bool has_backup;
    uint64_t backup_from;
    uint64_t backup_upto;
};

static bool record(const struct oracle_life *life)
{
    char seed[32];
    char batches[32];
    snprintf(seed, sizeof(seed), "%" PRIu64, life->seed);
    snprintf(batches, sizeof(batches), "%" PRIu64, life->batches);
    char *const arguments[] = {LIFE_PROGRAM,
                               (char *)(uintptr_t)life->directory,
                               (char *)(uintptr_t)life->log,
                               seed,
                               batches,
                               (char *)(uintptr_t)life->sync,
                               (char *)(uintptr_t)(life->fault ? life->patience_ms : "0"),
                               NULL};
    return oracle_run(life, true, arguments);
}

/* --- the promise ----------------------------------------------------------------------------- */

static void end(void *self)
{
    struct promise *promise = self;
    for (uint64_t i = 0; promise->models && i <= promise->batches; i++)
        free(promise->models[i]);
    free(promise->models);
    free(promise);
}

static void *begin(const struct oracle_life *life)
{
    struct promise *promise = calloc(1, sizeof(*promise));
    struct store_batch *batch = store_batch_new();
    if (!promise || !batch)
        abort();
    promise->batches = life->batches;
    promise->models = calloc(life->batches + 1, sizeof(promise->models[0]));
    bool good = promise->models != NULL;
    for (uint64_t i = 0; i <= life->batches && good; i++) {
        struct model *model = i ? malloc(sizeof(*model)) : model_new(life->seed);
        promise->models[i] = model;
        good = model != NULL;
        if (i && good) {
            *model = *promise->models[i - 1];
            model_step(model, batch);
            store_batch_clear(batch);
        }
    }
    store_batch_destroy(&batch);
    if (good)
        return promise;
    end(promise);
    return NULL;
}

static void take_mark(void *self, const char *text)
{
    struct promise *promise = self;
    if (sscanf(text, "submit %" SCNu64, &promise->submitted) == 1 ||
        sscanf(text, "ack %" SCNu64, &promise->acknowledged) == 1 ||
        sscanf(text, "open %32s", promise->id) == 1)
        return;
    promise->has_backup |= sscanf(text, "backup %" SCNu64 " %" SCNu64, &promise->backup_from,
                                  &promise->backup_upto) == 2;
}

static uint64_t promise_number(const void *self)
{
    return ((const struct promise *)self)->acknowledged;
}

/* --- looking --------------------------------------------------------------------------------- */

/* What was opened takes more, keeps it, and opens again. */
static bool take_more(struct trial *trial, struct store **store,
                      const struct store_options *options, const struct model *found)
{
    struct model *model = malloc(sizeof(*model)); /* of a process that ends soon */
    struct store_fence fence = (*store)->fence;
    char why[STORE_WHY_BYTES] = "";
    if (!model)
        return false;
    *model = *found;
    for (int i = 0; i < BATCHES_MORE; i++) {
        struct store_batch *batch = store_batch_new();
        model_step(model, batch);
        enum status status = help_commit(*store, &fence, batch);
        store_batch_destroy(&batch);
        if (status) {
            snprintf(trial->why, sizeof(trial->why), "a further batch: %s", store_why(*store));
            return false;
        }
    }
    store_destroy(store);
    if (store_open_lmdb(store, options, why, sizeof(why))) {
        snprintf(trial->why, sizeof(trial->why), "opened again: %s", why);
        return false;
    }
    if (model_equals(model, *store, trial->why, STORE_WHY_BYTES))
        return true;
    trial_say_where(trial, "after further batches");
    return false;
}

/* The batches from `from` to `upto` may be the last; 0 is none. */
static enum trial_outcome compare(struct trial *trial, const struct promise *promise,
                                  struct store *store, uint64_t from, uint64_t upto)
{
    uint64_t found = store->fence.sequence;
    if (found > upto) {
        snprintf(trial->why, sizeof(trial->why),
                 "batch %" PRIu64 " is there, and %" PRIu64 " was the last", found, upto);
        return TRIAL_WRONG;
    }
    if (!model_equals(promise->models[found], store, trial->why, STORE_WHY_BYTES))
        return store_why(store)[0] ? TRIAL_REFUSED : TRIAL_WRONG;
    if (found >= from)
        return TRIAL_SAME;
    snprintf(trial->why, sizeof(trial->why),
             "batch %" PRIu64 " was acknowledged, %" PRIu64 " is the last there", from, found);
    return TRIAL_LOST;
}

static enum trial_outcome open_and_compare(struct trial *trial, const struct promise *promise,
                                           const char *name, uint64_t from, uint64_t upto)
{
    char path[1024];
    char id[ID_TEXT_BYTES];
    struct store *store = NULL;
    snprintf(path, sizeof(path), "%s/%s", trial->directory, name);
    struct store_options options = help_options(path);
    options.sync = STORE_SYNC_NEVER; /* this process is not cut off */
    options.journal_bytes_max = 1;
    trial->why[0] = '\0';
    if (store_open_lmdb(&store, &options, trial->why, STORE_WHY_BYTES))
        return trial->why[0] ? TRIAL_REFUSED : TRIAL_CRASHED;
    for (size_t i = 0; i < STORE_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", store->id[i]);
    enum trial_outcome outcome = compare(trial, promise, store, from, upto);
    bool is_store = strcmp(name, "store") == 0;
    if (outcome == TRIAL_SAME && is_store && promise->id[0] && strcmp(promise->id, id) != 0) {
        snprintf(trial->why, sizeof(trial->why), "it is another store");
        outcome = TRIAL_LOST;
    }
    if (outcome == TRIAL_SAME && trial->number % GOES_ON_EACH == 0 &&
        !take_more(trial, &store, &options, promise->models[store->fence.sequence]))
        outcome = TRIAL_WRONG;
    store_destroy(&store);
    trial_say_where(trial, name);
    return outcome;
}

/* A copy that has its name is whole, also one whose making was not finished. */
static enum trial_outcome look(struct trial *trial, void *user)
{
    const struct promise *promise = user;
    char path[1024];
    enum trial_outcome outcome =
        open_and_compare(trial, promise, "store", promise->acknowledged, promise->submitted);
    if (outcome)
        return outcome;
    snprintf(path, sizeof(path), "%s/backup/data.mdb", trial->directory);
    if (access(path, F_OK)) {
        snprintf(trial->why, sizeof(trial->why), "the backup is gone");
        return promise->has_backup ? TRIAL_LOST : TRIAL_SAME;
    }
    return open_and_compare(trial, promise, "backup", promise->backup_from,
                            promise->has_backup ? promise->backup_upto : promise->submitted);
}

const struct oracle oracle_batches = {
    .name = "store",
    .record = record,
    .begin = begin,
    .end = end,
    .take_mark = take_mark,
    .promise = promise_number,
    .look = look,
};
