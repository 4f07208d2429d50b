/* test_store_crash.c - a process that commits without end is killed at any moment; what it was told
 * to be durable is there, and nothing is there by half. */
#include "store.h"

#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_store_help.h"

enum { KILLS_DEFAULT = 30, MODEL_SEED = 7, BATCHES_AHEAD = 3, WORK_BATCHES_MAX = 250 };

static char directory[HELP_PATH_BYTES];

static struct model *model_at(uint64_t sequence)
{
    struct model *model = model_new(MODEL_SEED);
    struct store_batch *batch = store_batch_new();
    while (model->sequence < sequence) {
        model_step(model, batch);
        store_batch_clear(batch);
    }
    store_batch_destroy(&batch);
    return model;
}

/* In the child: commits, some batches ahead, and writes the number of each that is durable. */
static void commit_for_ever(int pipe_fd, uint64_t sequence, uint64_t journal_bytes_max)
{
    struct store_options options = help_options(directory);
    char why[STORE_WHY_BYTES];
    struct store *store = NULL;
    struct model *model = model_at(sequence);
    options.journal_bytes_max = journal_bytes_max;
    if (store_open_lmdb(&store, &options, why, sizeof(why)))
        _exit(1);
    struct store_fence fence = store->fence;
    for (uint64_t ahead = 0;;) {
        if (ahead < BATCHES_AHEAD) {
            struct store_batch *batch = store_batch_new();
            model_step(model, batch);
            fence.sequence++;
            batch->fence = fence;
            if (store_submit(store, batch))
                _exit(2);
            ahead++;
        }
        struct pollfd wait = {.fd = store_fd(store), .events = POLLIN};
        poll(&wait, 1, ahead == BATCHES_AHEAD ? -1 : 0);
        struct store_batch *done = store_take_done(store);
        if (!done)
            continue;
        uint64_t number = done->fence.sequence;
        if (done->status || write(pipe_fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
            _exit(3);
        store_batch_destroy(&done);
        ahead--;
    }
}

/* Computes as much as that many batches cost the child without their commits, some milliseconds at
 * most: the kill falls anywhere into its next batches, on a slow machine as on a fast one. */
static void work_beside_it(uint64_t batches)
{
    struct model *model = model_at(batches);
    free(model);
}

/* Starts the child, kills it after so many acknowledgements and some work. Returns the last. */
static uint64_t run_and_kill(uint64_t sequence, uint64_t *random)
{
    int ends[2];
    uint64_t last = sequence;
    uint64_t number = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        commit_for_ever(ends[1], sequence, help_below(random, 2) ? 1 : 30000);
    }
    close(ends[1]);
    for (uint64_t left = help_below(random, 40); left > 0; left--) {
        assert_int_equal(read(ends[0], &number, sizeof(number)), sizeof(number));
        last = number;
    }
    work_beside_it(help_below(random, WORK_BATCHES_MAX));
    kill(child, SIGKILL);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], &number, sizeof(number)) == (ssize_t)sizeof(number))
        last = number;
    close(ends[0]);
    return last;
}

static void what_was_acknowledged_survives_kills_at_any_moment(void **state)
{
    (void)state;
    const char *text = getenv("EVERDUE_TEST_KILLS");
    int kills = text ? atoi(text) : KILLS_DEFAULT;
    uint64_t random = 11;
    uint64_t sequence = 0;
    char difference[STORE_WHY_BYTES + 64];
    help_directory(directory);
    struct store_options options = help_options(directory);
    for (int i = 0; i < kills; i++) {
        uint64_t acknowledged = run_and_kill(sequence, &random);
        struct store *store = help_open(&options);
        sequence = store->fence.sequence;
        assert_true(sequence >= acknowledged);
        assert_true(sequence <= acknowledged + BATCHES_AHEAD + 1);
        struct model *model = model_at(sequence);
        if (!model_equals(model, store, difference, sizeof(difference)))
            fail_msg("kill %d, sequence %" PRIu64 ": %s", i, sequence, difference);
        free(model);
        store_destroy(&store);
    }
    print_message("%d kills, %" PRIu64 " batches\n", kills, sequence);
    help_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_kills_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
