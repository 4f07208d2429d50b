/* One of a hundred workers is a thousand times slower: it costs its own share and no more.
 *
 * The core alone, in virtual time, with a disk that is as fast as thought. Each worker has one
 * handler, which ends a run each millisecond, or each second; what it reports is due at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched.h"

enum {
    WORKERS = 100,
    SLOW = 17,         /* which of them, where one is slow */
    TICKS = 400,       /* milliseconds */
    SLOW_TICKS = 1000, /* of its run */
    CREDIT_MAX_HERE = 64,
    KEY_BYTES = 12,
};

struct held {
    char key[KEY_BYTES];
    uint64_t lease, state;
};

struct worker {
    struct held held[CREDIT_MAX_HERE]; /* the one that runs is the first */
    uint32_t count;
    uint32_t left; /* ticks until its run ends */
    uint32_t done;
};

struct shop {
    struct sched *sched;
    struct store_batch *batch;
    struct effects effects;
    struct moment now;
    struct worker workers[WORKERS];
    bool has_slow;
};

static uint32_t run_ticks(const struct shop *shop, uint32_t worker)
{
    return shop->has_slow && worker == SLOW ? SLOW_TICKS : 1;
}

static enum status step(struct shop *shop, struct event event)
{
    event.now = shop->now;
    return sched_step(shop->sched, &event, &shop->effects);
}

static void write_changes(struct shop *shop)
{
    uint64_t wanted = sched_reserve_wanted(shop->sched);
    store_batch_clear(shop->batch);
    assert_int_equal(sched_seal(shop->sched, shop->batch), STATUS_OK);
    assert_int_equal(step(shop, (struct event){.kind = EVENT_DURABLE}), STATUS_OK);
    if (wanted)
        assert_int_equal(step(shop, (struct event){.kind = EVENT_RESERVED, .number = wanted}),
                         STATUS_OK);
}

static void hand_out(struct shop *shop)
{
    assert_int_equal(step(shop, (struct event){.kind = EVENT_GRANT}), STATUS_OK);
    for (size_t i = 0; i < shop->effects.count; i++) {
        const struct effect *effect = &shop->effects.list[i];
        struct task task;
        if (effect->kind != EFFECT_TASK)
            continue;
        struct worker *worker = &shop->workers[effect->session];
        assert_true(worker->count < CREDIT_MAX_HERE);
        assert_true(sched_view_task(shop->sched, effect, shop->now, &task));
        struct held *held = &worker->held[worker->count++];
        snprintf(held->key, sizeof(held->key), "%.*s", (int)task.name.key.count,
                 (const char *)task.name.key.data);
        held->lease = task.name.lease;
        held->state = task.state;
        if (worker->count == 1)
            worker->left = run_ticks(shop, effect->session);
    }
    shop->effects.count = 0;
}

static void end_run(struct shop *shop, uint32_t number)
{
    struct worker *worker = &shop->workers[number];
    const struct held *held = &worker->held[0];
    struct report report = {
        .name = {.queue = 0, .key = bytes_of(held->key), .lease = held->lease},
        .state = held->state,
        .due_us = TIME_US_NEVER,
        .in_us = 0,
    };
    struct event event = {.kind = EVENT_REPORT, .session = number, .report = &report};
    assert_int_equal(step(shop, event), STATUS_OK);
    worker->done++;
    worker->count--;
    memmove(worker->held, worker->held + 1, worker->count * sizeof(*held));
    worker->left = run_ticks(shop, number);
}

static void tick(struct shop *shop)
{
    shop->now.mono_us += US_PER_MS;
    shop->now.wall_us += US_PER_MS;
    assert_int_equal(step(shop, (struct event){.kind = EVENT_TIME}), STATUS_OK);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (shop->workers[i].count && --shop->workers[i].left == 0)
            end_run(shop, i);
    write_changes(shop);
    hand_out(shop);
}

static void put_records(struct shop *shop, uint32_t records)
{
    for (uint32_t i = 0; i < records; i++) {
        char key[KEY_BYTES];
        snprintf(key, sizeof(key), "k%u", i);
        struct put put = {.key = bytes_of(key),
                          .due_us = TIME_US_NEVER,
                          .in_us = TIME_US_NEVER,
                          .every_us = TIME_US_NEVER};
        struct event event = {.kind = EVENT_PUT, .session = 0};
        event.put.queue = bytes_of("q");
        event.put.put = &put;
        assert_int_equal(step(shop, event), STATUS_CREATED);
    }
}

static void open_shop(struct shop *shop, uint32_t credit, uint32_t records)
{
    struct sched_settings settings;
    sched_settings_init(&settings);
    shop->sched = sched_new(&settings);
    shop->batch = store_batch_new();
    effects_init(&shop->effects);
    shop->now = (struct moment){.wall_us = (int64_t)1763800000 * US_PER_S, .mono_us = US_PER_S};
    assert_non_null(shop->sched);
    assert_non_null(shop->batch);
    assert_int_equal(sched_load_end(shop->sched, shop->now), STATUS_OK);
    write_changes(shop);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct hello hello = {.uid = {(uint8_t)(i + 1)}, .credit = credit, .queue_count = 1};
        hello.queues[0] = bytes_of("q");
        struct event event = {.kind = EVENT_HELLO, .session = i, .hello = &hello};
        assert_int_equal(step(shop, event), STATUS_OK);
    }
    put_records(shop, records);
    write_changes(shop);
    hand_out(shop);
}

static void close_shop(struct shop *shop)
{
    effects_release(&shop->effects);
    store_batch_destroy(&shop->batch);
    sched_destroy(&shop->sched);
}

/* Runs that ended in all; `oldest_us`: how long the oldest lease is out at the end. */
static uint32_t work(bool has_slow, uint32_t credit, uint32_t records, int64_t *oldest_us)
{
    struct shop *shop = calloc(1, sizeof(*shop));
    assert_non_null(shop);
    shop->has_slow = has_slow;
    open_shop(shop, credit, records);
    for (int i = 0; i < TICKS; i++)
        tick(shop);
    uint32_t done = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        done += shop->workers[i].done;
        assert_true(shop->workers[i].count <= credit);
        if (!has_slow || i != SLOW) /* but where records do not go up evenly, none ever waited */
            assert_in_range(shop->workers[i].done, TICKS - 1, TICKS);
    }
    *oldest_us = sched_oldest_lease_us(shop->sched, shop->now);
    close_shop(shop);
    free(shop);
    return done;
}

/* Many records, or hardly more than there are workers; little credit, or much. */
static const struct {
    uint32_t credit, records;
} shops[] = {{1, 100}, {1, 5000}, {8, 120}, {8, 5000}, {64, 200}, {64, 6400}};

static void a_slow_worker_of_a_hundred_costs_its_share_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shops) / sizeof(shops[0]); i++) {
        int64_t oldest_us;
        uint32_t all = work(false, shops[i].credit, shops[i].records, &oldest_us);
        uint32_t with_slow = work(true, shops[i].credit, shops[i].records, &oldest_us);
        assert_in_range(all, WORKERS * (TICKS - 1), WORKERS * TICKS);
        assert_in_range(all - with_slow, 0, TICKS); /* what it did itself */
    }
}

static void the_age_of_the_oldest_lease_tells_of_it(void **state)
{
    (void)state;
    int64_t oldest_us;
    work(false, 1, 5000, &oldest_us);
    assert_int_equal(oldest_us, 0); /* all came in the last tick */
    work(false, 8, 5000, &oldest_us);
    assert_in_range(oldest_us, 1, 8 * US_PER_MS);
    work(true, 8, 5000, &oldest_us);
    assert_int_equal(oldest_us, TICKS * US_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_worker_of_a_hundred_costs_its_share_and_no_more),
        cmocka_unit_test(the_age_of_the_oldest_lease_tells_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
