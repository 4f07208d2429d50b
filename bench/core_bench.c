/* core_bench - cycles of the core alone: no socket, no disk, no clock but the virtual one.
 *
 *   core_bench [RECORDS [CYCLES [wire]]]
 *
 * One session with a credit of 4,096 reports each record as soon as it has it, with a new time
 * drawn from one virtual second. Prints nanoseconds per cycle (due, granted, reported, pushed
 * again). With `wire` each task, report and answer also goes through the messages of the protocol,
 * 256 to a message, written and read as broker and worker do; bench/guard counts the instructions
 * of this form.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sched.h"

enum { CREDIT = 4096, SPAN_US = US_PER_S, BATCH = 256 };

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
    bool by_wire;
    struct wire_buffer down, up; /* by wire: what the broker, what the worker wrote last */
    struct report reports[BATCH];
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

static int64_t next_in_us(void)
{
    return 1 + (int64_t)(next_random() % SPAN_US);
}

static void report_at_once(struct bench *bench, const struct effect *effect)
{
    struct task task;
    check(sched_view_task(bench->sched, effect, bench->now, &task), "task");
    struct report report = {
        .name = task.name,
        .state = task.state,
        .due_us = TIME_US_NEVER,
        .in_us = next_in_us(),
    };
    struct event event = {.kind = EVENT_REPORT, .session = 1};
    event.report = &report;
    check(step(bench, event) == STATUS_OK, "report");
}

/* --- by wire ---------------------------------------------------------------------------------- */

/* Reads [version, type, and the array in which the items are, behind an id where there is one. */
static uint32_t open_message(struct wire_reader *reader, const struct wire_buffer *frame,
                             enum message_type type)
{
    struct message_head head;
    wire_reader_init(reader, frame->data, frame->count);
    check(message_read_head(reader, &head) == STATUS_OK && (int)type == head.type, "head");
    if (type != MESSAGE_TASKS)
        wire_read_uint(reader);
    if (type == MESSAGE_ANSWER)
        check(wire_read_int(reader) == STATUS_OK, "answer");
    return wire_read_array(reader, ITEMS_MAX);
}

static void write_tasks(struct bench *bench, size_t from, uint32_t count)
{
    const struct effect *effects = bench->effects.list + from;
    wire_buffer_clear(&bench->down);
    message_write_head(&bench->down, MESSAGE_TASKS, 1);
    wire_write_array(&bench->down, count);
    for (uint32_t i = 0; i < count; i++) {
        struct task task;
        if ((from + i) % FETCH_MAX == 0) /* as the server does */
            sched_fetch_tasks(bench->sched, &bench->effects, from + i);
        check(effects[i].kind == EFFECT_TASK, "effect");
        check(sched_view_task(bench->sched, &effects[i], bench->now, &task), "task");
        task_write(&bench->down, &task);
    }
}

/* The worker: each task it reads is a report it writes. */
static void write_reports(struct bench *bench)
{
    struct wire_reader reader;
    uint32_t count = open_message(&reader, &bench->down, MESSAGE_TASKS);
    wire_buffer_clear(&bench->up);
    message_write_head(&bench->up, MESSAGE_REPORT, 2);
    wire_write_uint(&bench->up, 1);
    wire_write_array(&bench->up, count);
    for (uint32_t i = 0; i < count; i++) {
        struct task task;
        task_read(&reader, &task);
        const struct report report = {
            .name = task.name,
            .state = task.state,
            .due_us = TIME_US_NEVER,
            .in_us = next_in_us(),
        };
        report_write(&bench->up, &report);
    }
    check(reader.status == STATUS_OK && !bench->up.failed, "tasks by wire");
}

static void take_reports(struct bench *bench)
{
    struct wire_reader reader;
    struct event event = {.kind = EVENT_REPORT, .session = 1};
    uint64_t leases[BATCH];
    uint32_t slots[BATCH];
    uint32_t count = open_message(&reader, &bench->up, MESSAGE_REPORT);
    check(count <= BATCH, "count");
    for (uint32_t i = 0; i < count; i++) {
        report_read(&reader, &bench->reports[i]);
        leases[i] = bench->reports[i].name.lease;
    }
    check(reader.status == STATUS_OK, "reports by wire");
    wire_buffer_clear(&bench->down);
    answer_write_head(&bench->down, 1, STATUS_OK);
    wire_write_array(&bench->down, count);
    for (uint32_t i = 0; i < count; i++) {
        if (i % FETCH_MAX == 0)
            sched_fetch_leases(bench->sched, leases, slots, count, i);
        event.report = &bench->reports[i];
        wire_write_int(&bench->down, step(bench, event));
    }
    answer_write_end(&bench->down, (struct bytes){NULL, 0});
}

static void read_answer(struct bench *bench, uint32_t wanted)
{
    struct wire_reader reader;
    check(open_message(&reader, &bench->down, MESSAGE_ANSWER) == wanted, "answers");
    for (uint32_t i = 0; i < wanted; i++)
        check(wire_read_int(&reader) == STATUS_OK, "report");
}

static void report_by_wire(struct bench *bench, size_t count)
{
    for (size_t from = 0; from < count; from += BATCH) {
        uint32_t part = count - from < BATCH ? (uint32_t)(count - from) : BATCH;
        write_tasks(bench, from, part);
        write_reports(bench);
        take_reports(bench);
        read_answer(bench, part);
    }
}

/* --- the turn --------------------------------------------------------------------------------- */

/* What came due is granted and reported. Returns how many. */
static size_t turn(struct bench *bench)
{
    step(bench, (struct event){.kind = EVENT_TIME});
    step(bench, (struct event){.kind = EVENT_GRANT});
    size_t count = bench->effects.count;
    if (bench->by_wire)
        report_by_wire(bench, count);
    for (size_t i = 0; i < count && !bench->by_wire; i++) {
        if (i % FETCH_MAX == 0)
            sched_fetch_tasks(bench->sched, &bench->effects, i);
        if (bench->effects.list[i].kind == EFFECT_TASK)
            report_at_once(bench, &bench->effects.list[i]);
    }
    bench->effects.count = 0;
    commit(bench);
    return count;
}

/* Not in line: bench/guard counts what is called from here. */
__attribute__((noinline)) static uint64_t run_cycles(struct bench *bench, uint32_t records,
                                                     uint64_t cycles)
{
    uint64_t done = 0;
    while (done < cycles) { /* ends: time goes on, and all records come due within SPAN_US */
        int64_t pass_us = (int64_t)((uint64_t)BATCH * SPAN_US / records) + 1;
        bench->now.wall_us += pass_us;
        bench->now.mono_us += pass_us;
        done += turn(bench);
    }
    return done;
}

int main(int argc, char **argv)
{
    uint32_t records = argc > 1 ? (uint32_t)atol(argv[1]) : 300000;
    uint64_t cycles = argc > 2 ? (uint64_t)atoll(argv[2]) : 3000000;
    static struct bench bench;
    struct sched_settings settings;
    sched_settings_init(&settings);
    bench.by_wire = argc > 3 && strcmp(argv[3], "wire") == 0;
    bench.sched = sched_new(&settings);
    bench.batch = store_batch_new();
    wire_buffer_init(&bench.down);
    wire_buffer_init(&bench.up);
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
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    uint64_t done = run_cycles(&bench, records, cycles);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("records=%u cycles=%llu ns_per_cycle=%.0f\n", records, (unsigned long long)done,
           seconds * 1e9 / (double)done);
    sched_destroy(&bench.sched);
    store_batch_destroy(&bench.batch);
    effects_release(&bench.effects);
    wire_buffer_release(&bench.down);
    wire_buffer_release(&bench.up);
    return 0;
}
