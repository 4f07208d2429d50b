/* core_bench - cycles of the core alone: no socket, no disk, no clock but the virtual one.
 *
 *   core_bench [RECORDS] [CYCLES]
 *
 * One session with a credit of 4,096 reports each record as soon as it has it, with a new time
 * drawn from one virtual second. Prints nanoseconds per cycle (due, granted, reported, pushed
 * again).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sched.h"

enum { CREDIT = 4096, SPAN_US = US_PER_S };

static uint64_t random_state = 88172645463325252u;

/* G. Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

struct bench {
    struct sched *sched;
    struct effects effects;
    struct store_batch *batch;
    struct moment now;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "core_bench: %s\n", what);
    exit(1);
}

static enum status step(struct bench *bench, struct event event)
{
    event.now = bench->now;
    return sched_step(bench->sched, &event, &bench->effects);
}

static void commit(struct bench *bench)
{
    uint64_t wanted = sched_reserve_wanted(bench->sched);
    check(sched_seal(bench->sched, bench->batch) == STATUS_OK, "seal");
    store_batch_clear(bench->batch);
    step(bench, (struct event){.kind = EVENT_DURABLE});
    if (wanted)
        step(bench, (struct event){.kind = EVENT_RESERVED, .number = wanted});
}

static void fill(struct bench *bench, uint32_t records)
{
    static const uint8_t payload[64];
    for (uint32_t i = 0; i < records; i++) {
        char key[17];
        snprintf(key, sizeof(key), "%016u", i);
        struct put put = {
            .key = bytes_of(key),
            .due_us = bench->now.wall_us + 1 + (int64_t)(next_random() % SPAN_US),
            .in_us = TIME_US_NEVER,
            .every_us = TIME_US_NEVER,
            .payload = {payload, sizeof(payload)},
        };
        struct event event = {.kind = EVENT_PUT};
        event.put.queue = bytes_of("default");
        event.put.put = &put;
        check(step(bench, event) == STATUS_CREATED, "put");
        if (i % 8192 == 8191)
            commit(bench);
    }
    commit(bench);
}

static void report(struct bench *bench, const struct effect *effect)
{
    struct task task;
    check(sched_view_task(bench->sched, effect, bench->now, &task), "task");
    struct report report = {
        .name = task.name,
        .state = task.state,
        .due_us = bench->now.wall_us + 1 + (int64_t)(next_random() % SPAN_US),
        .in_us = TIME_US_NEVER,
    };
    struct event event = {.kind = EVENT_REPORT, .session = 1};
    event.report = &report;
    check(step(bench, event) == STATUS_OK, "report");
}

/* As the server does. */
static void fetch(const struct bench *bench, size_t from)
{
    uint64_t numbers[FETCH_MAX];
    uint32_t count = 0;
    for (size_t i = from; i < bench->effects.count && i < from + FETCH_MAX; i++)
        numbers[count++] = bench->effects.list[i].number;
    sched_fetch_leases(bench->sched, numbers, count);
}

/* What came due is granted and reported. Returns how many. */
static size_t turn(struct bench *bench)
{
    step(bench, (struct event){.kind = EVENT_TIME});
    step(bench, (struct event){.kind = EVENT_GRANT});
    size_t count = bench->effects.count;
    for (size_t i = 0; i < count; i++) {
        if (i % FETCH_MAX == 0)
            fetch(bench, i);
        if (bench->effects.list[i].kind == EFFECT_TASK)
            report(bench, &bench->effects.list[i]);
    }
    bench->effects.count = 0;
    commit(bench);
    return count;
}

int main(int argc, char **argv)
{
    uint32_t records = argc > 1 ? (uint32_t)atol(argv[1]) : 300000;
    uint64_t cycles = argc > 2 ? (uint64_t)atoll(argv[2]) : 3000000;
    struct sched_settings settings;
    sched_settings_init(&settings);
    struct bench bench = {.sched = sched_new(&settings), .batch = store_batch_new()};
    bench.now = (struct moment){.wall_us = (int64_t)1700000000 * US_PER_S, .mono_us = US_PER_S};
    effects_init(&bench.effects);
    check(bench.sched && bench.batch, "memory");
    check(sched_load_end(bench.sched, bench.now) == STATUS_OK, "load");
    commit(&bench);
    fill(&bench, records);
    struct hello hello = {.credit = CREDIT, .queue_count = 1, .queues = {bytes_of("default")}};
    struct event event = {.kind = EVENT_HELLO, .session = 1};
    event.hello = &hello;
    check(step(&bench, event) == STATUS_OK, "hello");

    struct timespec begin, end;
    uint64_t done = 0;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    while (done < cycles) {
        int64_t pass_us = (int64_t)((uint64_t)256 * SPAN_US / records) + 1;
        bench.now.wall_us += pass_us;
        bench.now.mono_us += pass_us;
        done += turn(&bench);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("records=%u cycles=%llu ns_per_cycle=%.0f\n", records, (unsigned long long)done,
           seconds * 1e9 / (double)done);
    sched_destroy(&bench.sched);
    store_batch_destroy(&bench.batch);
    effects_release(&bench.effects);
    return 0;
}
