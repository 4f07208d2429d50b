/* life.c - the process whose writes are recorded: a store is made, filled, closed, opened again,
 * copied. What it was told to be durable is marked in the log.
 *
 *   powerloss_life DIRECTORY LOG SEED BATCHES always|never
 *
 *   open ID      store_open_lmdb has returned; ID in hexadecimal
 *   submit N     batch N may be stored from now on
 *   ack N        the store said that batch N is durable
 *   backup A B   the copy is made, of a moment between batches A and B
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

#include "record.h"
#include "test_store_help.h"

enum { ROUNDS = 3, BATCHES_AHEAD = 3 };

struct life {
    const char *directory;
    int log_fd;
    bool is_synced;
    uint64_t batches;
    struct model *model;
    struct store *store;
    struct store_fence fence;
    uint64_t acknowledged;
};

static void mark(const struct life *life, const char *what, uint64_t number)
{
    assert_true(record_mark(life->log_fd, "%s %" PRIu64, what, number));
}

static void open_store(struct life *life, int round)
{
    char path[HELP_PATH_BYTES];
    char id[2 * STORE_ID_BYTES + 1] = "";
    snprintf(path, sizeof(path), "%s/store", life->directory);
    struct store_options options = help_options(path);
    options.sync = life->is_synced ? STORE_SYNC_ALWAYS : STORE_SYNC_NEVER;
    options.journal_bytes_max = round == 1 ? 30000 : 1;
    life->store = help_open(&options);
    life->fence = life->store->fence;
    for (size_t i = 0; i < STORE_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", life->store->id[i]);
    assert_true(record_mark(life->log_fd, "open %s", id));
}

static void submit(struct life *life)
{
    struct store_batch *batch = store_batch_new();
    assert_non_null(batch);
    model_step(life->model, batch);
    life->fence.sequence++;
    batch->fence = life->fence;
    mark(life, "submit", life->fence.sequence);
    assert_int_equal(store_submit(life->store, batch), STATUS_OK);
}

static void take(struct life *life)
{
    struct store_batch *batch = help_wait(life->store);
    assert_int_equal(batch->status, STATUS_OK);
    life->acknowledged = batch->fence.sequence;
    mark(life, "ack", life->acknowledged);
    store_batch_destroy(&batch);
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
    enum status status = store_backup(life->store, path, why, sizeof(why));
    if (status)
        print_error("backup: %s\n", why);
    assert_int_equal(status, STATUS_OK);
    assert_true(
        record_mark(life->log_fd, "backup %" PRIu64 " %" PRIu64, before, life->fence.sequence));
    take(life);
}

int main(int count, char **arguments)
{
    if (count != 6)
        return 64;
    struct life life = {
        .directory = arguments[1],
        .log_fd = record_log_open(arguments[2]),
        .model = model_new(strtoull(arguments[3], NULL, 10)),
        .batches = strtoull(arguments[4], NULL, 10),
        .is_synced = strcmp(arguments[5], "always") == 0,
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
