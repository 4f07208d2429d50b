/* store_bench.c - what the LMDB store does on this disk.
 *
 *   store_bench DIR [--records N] [--seconds S] [--states N] [--sync never] [--load]
 *
 * Fills an empty DIR with records of 80 bytes, then commits batches of states of random records,
 * two batches in flight, and prints states a second, bytes written for each state (all that the
 * process handed to write, from /proc/self/io), and the longest commit. With --load: opens DIR and
 * loads.
 */
#include "store.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { BODY_BYTES = 80, FILL_ROWS = 4096, IN_FLIGHT = 2 };

struct bench {
    const char *directory;
    uint64_t records;
    uint64_t seconds;
    uint64_t states; /* in a batch; 0: 1,000 and then 4,000 */
    enum store_sync sync;
    bool load;
    struct store *store;
    struct store_fence fence;
    uint64_t random;
    int64_t submitted_us[IN_FLIGHT]; /* by sequence */
    int64_t longest_us;
};

static uint64_t written_bytes(void)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "wchar: %" SCNu64, &bytes) == 1)
            break;
    }
    fclose(file);
    return bytes;
}

static uint64_t next_random(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

static struct store_batch *wait_done(struct bench *bench)
{
    struct store_batch *batch = store_take_done(bench->store);
    while (!batch) {
        struct pollfd wait = {.fd = store_fd(bench->store), .events = POLLIN};
        poll(&wait, 1, -1);
        batch = store_take_done(bench->store);
    }
    if (batch->status) {
        fprintf(stderr, "store_bench: %s: %s\n", status_name(batch->status),
                store_why(bench->store));
        exit(74);
    }
    int64_t took_us = clock_now().mono_us - bench->submitted_us[batch->fence.sequence % IN_FLIGHT];
    if (took_us > bench->longest_us)
        bench->longest_us = took_us;
    store_batch_clear(batch);
    return batch;
}

static void submit(struct bench *bench, struct store_batch *batch)
{
    bench->fence.sequence++;
    bench->submitted_us[bench->fence.sequence % IN_FLIGHT] = clock_now().mono_us;
    batch->fence = bench->fence;
    if (store_submit(bench->store, batch)) {
        fprintf(stderr, "store_bench: %s\n", store_why(bench->store));
        exit(74);
    }
}

static void add_state(struct bench *bench, struct store_batch *batch, uint64_t number)
{
    struct store_state state = {
        .number = number,
        .state = next_random(bench) >> 11,
        .due_us = (int64_t)(next_random(bench) >> 12),
        .flags = STATE_PRESENT,
    };
    if (!store_batch_add_state(batch, &state))
        exit(70);
}

static void fill(struct bench *bench)
{
    uint8_t body[BODY_BYTES];
    struct store_batch *batch = store_batch_new();
    int64_t began_us = clock_now().mono_us;
    for (uint64_t number = 1; number <= bench->records; number++) {
        memset(body, (int)number, sizeof(body));
        struct store_row row = {.table = STORE_RECORDS, .a = number, .count = sizeof(body)};
        if (!store_batch_add_row(batch, &row, body))
            exit(70);
        add_state(bench, batch, number);
        if (number % FILL_ROWS == 0 || number == bench->records) {
            submit(bench, batch);
            batch = wait_done(bench);
        }
    }
    double seconds = (double)(clock_now().mono_us - began_us) / US_PER_S;
    printf("put %" PRIu64 " records of %d bytes in %.2f s: %.0f/s\n", bench->records, BODY_BYTES,
           seconds, (double)bench->records / seconds);
    store_batch_destroy(&batch);
}

static void cycle(struct bench *bench, uint64_t states)
{
    struct store_health before;
    struct store_health after;
    uint64_t batches = 0;
    uint64_t flying = 0;
    struct store_batch *batch = store_batch_new();
    bench->longest_us = 0;
    store_get_health(bench->store, &before);
    uint64_t written = written_bytes();
    int64_t began_us = clock_now().mono_us;
    while (clock_now().mono_us - began_us < (int64_t)bench->seconds * US_PER_S || flying) {
        bool more = clock_now().mono_us - began_us < (int64_t)bench->seconds * US_PER_S;
        if (more && flying < IN_FLIGHT) {
            for (uint64_t i = 0; i < states; i++)
                add_state(bench, batch, 1 + next_random(bench) % bench->records);
            submit(bench, batch);
            flying++;
            batches++;
            batch = flying < IN_FLIGHT ? store_batch_new() : NULL;
        }
        if (flying == IN_FLIGHT || !more) {
            store_batch_destroy(&batch);
            batch = wait_done(bench);
            flying--;
        }
    }
    double seconds = (double)(clock_now().mono_us - began_us) / US_PER_S;
    written = written_bytes() - written;
    store_get_health(bench->store, &after);
    uint64_t commits = after.commits_total - before.commits_total;
    printf("%5" PRIu64 " states a batch: %9.0f states/s, %6.0f commits/s, %.2f ms a commit, "
           "longest %.1f ms, %.1f bytes written a state, %" PRIu64 " checkpoints, %" PRIu64
           " MiB on disk\n",
           states, (double)(batches * states) / seconds, (double)commits / seconds,
           (double)(after.commit_us_total - before.commit_us_total) / 1000 / (double)commits,
           (double)bench->longest_us / 1000, (double)written / (double)(batches * states),
           after.checkpoints_total - before.checkpoints_total, after.disk_bytes >> 20);
    store_batch_destroy(&batch);
}

struct sums {
    uint64_t records;
    uint64_t sum;
};

static enum status load_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    (void)user;
    return STATUS_OK;
}

static enum status load_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    struct sums *sums = user;
    sums->records++;
    sums->sum += state->state + (count ? body[count - 1] : 0);
    return STATUS_OK;
}

static void load(struct bench *bench)
{
    struct sums sums = {0, 0};
    struct store_visitor visitor = {load_row, load_record, &sums};
    int64_t began_us = clock_now().mono_us;
    if (store_load(bench->store, &visitor)) {
        fprintf(stderr, "store_bench: %s\n", store_why(bench->store));
        exit(74);
    }
    printf("loaded %" PRIu64 " records in %.2f s (sum %" PRIu64 ")\n", sums.records,
           (double)(clock_now().mono_us - began_us) / US_PER_S, sums.sum);
}

static bool read_arguments(struct bench *bench, int count, char **arguments)
{
    for (int i = 2; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(arguments[i], "--load") == 0)
            bench->load = true;
        else if (strcmp(arguments[i], "--records") == 0)
            bench->records = strtoull(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "--seconds") == 0)
            bench->seconds = strtoull(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "--states") == 0)
            bench->states = strtoull(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "--sync") == 0 && strcmp(value, "never") == 0)
            bench->sync = (i++, STORE_SYNC_NEVER);
        else
            return false;
        if (i >= count)
            return false;
    }
    return count > 1 && bench->records && bench->seconds;
}

int main(int count, char **arguments)
{
    struct bench bench = {.records = 300000, .seconds = 5, .random = 88172645463325252u};
    char why[STORE_WHY_BYTES];
    if (!read_arguments(&bench, count, arguments)) {
        fprintf(stderr, "usage: store_bench DIR [--records N] [--seconds S] [--states N] "
                        "[--sync never] [--load]\n");
        return 64;
    }
    struct store_options options = {.directory = arguments[1], .sync = bench.sync};
    int64_t began_us = clock_now().mono_us;
    enum status status = store_open_lmdb(&bench.store, &options, why, sizeof(why));
    if (status) {
        fprintf(stderr, "store_bench: %s: %s\n", status_name(status), why);
        return 74;
    }
    printf("opened in %.2f s\n", (double)(clock_now().mono_us - began_us) / US_PER_S);
    bench.fence = bench.store->fence;
    if (bench.load) {
        load(&bench);
    } else {
        fill(&bench);
        cycle(&bench, bench.states ? bench.states : 1000);
        if (!bench.states)
            cycle(&bench, 4000);
    }
    store_destroy(&bench.store);
    return 0;
}
