/* life.c - the process whose writes are recorded: a store is made, filled, closed, opened again,
 * copied. What it was told to be durable is marked in the log.
 *
 *   powerloss_life DIRECTORY LOG SEED BATCHES always|never PATIENCE_MS
 *
 *   open ID      store_open_lmdb has returned; ID in hexadecimal
 *   submit N     batch N may be stored from now on
 *   ack N        the store said that batch N is durable
 *   backup A B   the copy is made, of a moment between batches A and B
 *
 * Ends with 0, or when something failed as a broker would: with LIFE_REFUSED the store did not
 * open, with LIFE_FAILED it gave a batch back, with LIFE_FULL a batch has waited for space for
 * PATIENCE_MS. Any other end is a bug.
 */
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "life.h"
#include "record.h"
#include "test_store_help.h"

enum { ROUNDS = 3, BATCHES_AHEAD = 3, TICK_MS = 20, HANGS_MS = 20000 };

struct life {
    const char *directory;
    int log_fd;
    bool is_synced;
    uint64_t batches;
    struct model *model;
    struct store *store;
    struct store_fence fence;
    uint64_t acknowledged;
    long patience_ms;
};

static void mark(const struct life *life, const char *what, uint64_t number)
{
    assert_true(record_mark(life->log_fd, "%s %" PRIu64, what, number));
}

/* A failure without a text would leave the operator with nothing. */
static void end(struct life *life, int status, const char *why)
{
    store_destroy(&life->store);
    free(life->model);
    fprintf(stderr, "life: %d: %s\n", status, why);
    exit(why[0] ? status : 1);
}

static void open_store(struct life *life, int round)
{
    char path[HELP_PATH_BYTES];
    char why[STORE_WHY_BYTES] = "";
    char id[2 * STORE_ID_BYTES + 1] = "";
    snprintf(path, sizeof(path), "%s/store", life->directory);
    struct store_options options = help_options(path);
    options.sync = life->is_synced ? STORE_SYNC_ALWAYS : STORE_SYNC_NEVER;
    options.journal_bytes_max = round == 1 ? 30000 : 1;
    if (store_open_lmdb(&life->store, &options, why, sizeof(why)))
        end(life, LIFE_REFUSED, why);
    life->fence = life->store->fence;
    for (size_t i = 0; i < STORE_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", life->store->id[i]);
    assert_true(record_mark(life->log_fd, "open %s", id));
}

static void end_failed(struct life *life)
{
    char why[STORE_WHY_BYTES];
    snprintf(why, sizeof(why), "%s", store_why(life->store));
    end(life, LIFE_FAILED, why);
}

static void submit(struct life *life)
{
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    model_step(life->model, batch);
    life->fence.sequence++;
    batch->fence = life->fence;
    mark(life, "submit", life->fence.sequence);
    if (!store_submit(life->store, batch))
        return;
    store_batch_destroy(&batch);
    end_failed(life);
}

/* The next batch that is done. A disk that stays full ends the life. */
static struct store_batch *wait_for_batch(struct life *life)
{
    struct store_health health;
    struct store_batch *batch = store_take_done(life->store);
    for (long waited_ms = 0; !batch; waited_ms += TICK_MS) {
        struct pollfd wait = {.fd = store_fd(life->store), .events = POLLIN};
        poll(&wait, 1, TICK_MS);
        batch = store_take_done(life->store);
        store_get_health(life->store, &health);
        if (!batch && health.full && waited_ms >= life->patience_ms)
            end(life, LIFE_FULL, "the disk stays full");
        assert_true(waited_ms < HANGS_MS);
    }
    return batch;
}

static void take(struct life *life)
{
    struct store_batch *batch = wait_for_batch(life);
    bool is_good = batch->status == STATUS_OK;
    uint64_t sequence = batch->fence.sequence;
    store_batch_destroy(&batch);
    if (!is_good)
        end_failed(life);
    life->acknowledged = sequence;
    mark(life, "ack", sequence);
}

/* Up to that batch, some ahead of what is durable. */
static void commit_until(struct life *life, uint64_t sequence)
{
    while (life->acknowledged < sequence) {
        while (life->fence.sequence < sequence &&
               life->fence.sequence < life->acknowledged + BATCHES_AHEAD)
            submit(life);
        take(life);
    }
}

static void back_up(struct life *life)
{
    char path[HELP_PATH_BYTES];
    char why[STORE_WHY_BYTES] = "";
    uint64_t before = life->acknowledged;
    snprintf(path, sizeof(path), "%s/backup", life->directory);
    submit(life);
    if (store_backup(life->store, path, why, sizeof(why)) == STATUS_OK) {
        assert_true(
            record_mark(life->log_fd, "backup %" PRIu64 " %" PRIu64, before, life->fence.sequence));
    } else {
        assert_true(why[0] && access(path, F_OK)); /* nothing is left of it */
    }
    take(life);
}

int main(int count, char **arguments)
{
    if (count != 7)
        return 64;
    struct life life = {
        .directory = arguments[1],
        .log_fd = record_log_open(arguments[2]),
        .model = model_new(strtoull(arguments[3], NULL, 10)),
        .batches = strtoull(arguments[4], NULL, 10),
        .is_synced = strcmp(arguments[5], "always") == 0,
        .patience_ms = strtol(arguments[6], NULL, 10),
    };
    assert_true(life.log_fd >= 0);
    for (int round = 0; round < ROUNDS; round++) {
        open_store(&life, round);
        commit_until(&life, life.batches * (uint64_t)(round + 1) / ROUNDS);
        if (round == 1)
            back_up(&life);
        store_destroy(&life.store);
    }
    free(life.model);
    return 0;
}
