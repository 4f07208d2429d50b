/* fuzz_load.c - the core loads a store whose rows are not what a core of ours writes: whatever they
 * say, it refuses them or it goes on, and no assertion is reached. (Checksums do not help against a
 * fault of our own, or of another version.)
 *
 * The input is a list of changes to the rows and states of a sound store, which has all kinds of
 * them: which, how, and the bytes.
 */
#include "disk.h"
#include "fuzz.h"
#include "sched.h"

enum { ROWS_MAX = 64, CHANGES_MAX = 12, STEPS = 24 };

/* A row, or a record with its body. */
struct item {
    bool is_record;
    bool is_dropped;
    struct store_row row;
    struct store_state state;
    uint8_t *bytes;
};

static struct item items[ROWS_MAX];
static size_t item_count;
static struct sched_settings settings;

int LLVMFuzzerInitialize(int *count, char ***arguments);

/* --- a sound store --------------------------------------------------------------------------- */

struct maker {
    struct sched *sched;
    struct disk disk;
    struct store_batch *batch;
    struct effects effects;
};

static const struct moment begin = {1000000000, 1000000};

static enum status act(struct maker *maker, struct event event)
{
    event.now = begin;
    maker->effects.count = 0;
    return sched_step(maker->sched, &event, &maker->effects);
}

static void make_durable(struct maker *maker)
{
    uint64_t reserve = sched_reserve_wanted(maker->sched);
    store_batch_clear(maker->batch);
    FUZZ_CHECK(sched_seal(maker->sched, maker->batch) == STATUS_OK);
    disk_write(&maker->disk, maker->batch);
    act(maker, (struct event){.kind = EVENT_DURABLE});
    if (reserve)
        act(maker, (struct event){.kind = EVENT_RESERVED, .number = reserve});
}

static void put_one(struct maker *maker, const char *queue, const char *key)
{
    struct put put = {.key = bytes_of(key),
                      .due_us = key[0] == 'x' ? begin.wall_us + 5000000 : TIME_US_NEVER,
                      .in_us = TIME_US_NEVER,
                      .every_us = 60000000,
                      .has_rank = true,
                      .rank = key[0] - 'x',
                      .payload = bytes_of("payload"),
                      .memo = bytes_of("memo"),
                      .group = bytes_of("group")};
    struct event event = {.kind = EVENT_PUT, .put = {bytes_of(queue), &put}};
    FUZZ_CHECK(act(maker, event) >= 0);
}

static void report(struct maker *maker, const struct effect *granted, enum outcome outcome)
{
    struct task task;
    struct effect effect = *granted; /* the list is used again */
    FUZZ_CHECK(sched_view_task(maker->sched, &effect, begin, &task));
    struct report report = {.name = task.name,
                            .state = task.state,
                            .outcome = outcome,
                            .due_us = TIME_US_NEVER,
                            .in_us = 1000000,
                            .error = bytes_of("it failed"),
                            .memo = bytes_of("etag")};
    FUZZ_CHECK(act(maker, (struct event){.kind = EVENT_REPORT, .report = &report}) == STATUS_OK);
}

/* One parked, one with a failure, one out at a worker and changed meanwhile. */
static void make_records(struct maker *maker)
{
    struct hello hello = {.id = 1, .uid = {1}, .queues = {bytes_of("a")}, .queue_count = 1};
    static const char *const keys[] = {"a1", "a2", "a3", "x4", "x5"};
    hello.credit = 3;
    FUZZ_CHECK(act(maker, (struct event){.kind = EVENT_HELLO, .hello = &hello}) == STATUS_OK);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        put_one(maker, "a", keys[i]);
    make_durable(maker);
    act(maker, (struct event){.kind = EVENT_TIME});
    act(maker, (struct event){.kind = EVENT_GRANT});
    FUZZ_CHECK(maker->effects.count == 3);
    struct effect granted[3];
    memcpy(granted, maker->effects.list, sizeof(granted));
    report(maker, &granted[0], OUTCOME_PARK);
    report(maker, &granted[1], OUTCOME_RETRY);
    put_one(maker, "a", "a3");
    put_one(maker, "b", "x1");
    put_one(maker, "b", "x2");
}

/* Committed, and not yet carried out: two new keys, one changed, one that goes, one that was put
 * meanwhile. */
static void make_sync(struct maker *maker)
{
    static const char *const keys[] = {"x1", "y1", "y2"};
    struct sync_begin open = {.id = 2, .queue = bytes_of("b")};
    act(maker, (struct event){.kind = EVENT_SYNC_BEGIN, .sync_begin = &open});
    FUZZ_CHECK(maker->effects.count == 1);
    uint64_t generation = maker->effects.list[0].number;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct put put = {.key = bytes_of(keys[i]),
                          .due_us = TIME_US_NEVER,
                          .in_us = TIME_US_NEVER,
                          .every_us = TIME_US_NEVER,
                          .payload = bytes_of("new")};
        struct event event = {.kind = EVENT_SYNC_ITEM, .sync_item = {generation, &put}};
        FUZZ_CHECK(act(maker, event) >= 0);
    }
    struct sync_commit commit = {
        .id = 3, .generation = generation, .count = 3, .prune = true, .prune_max_ppm = 1000000};
    struct event event = {.kind = EVENT_SYNC_COMMIT, .sync_commit = {&commit, 3, 0}};
    FUZZ_CHECK(act(maker, event) == STATUS_OK);
    for (int i = 0; i < 2; i++)
        act(maker, (struct event){.kind = EVENT_WORK, .budget = 2});
    put_one(maker, "b", "y2");
}

static void keep_item(struct item item, const uint8_t *bytes, uint32_t count)
{
    FUZZ_CHECK(item_count < ROWS_MAX);
    item.row.count = count;
    item.bytes = (uint8_t *)fuzz_copy(bytes, count);
    items[item_count++] = item;
}

static enum status keep_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)user;
    keep_item((struct item){.row = *row}, bytes, row->count);
    return STATUS_OK;
}

static enum status keep_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    (void)user;
    keep_item((struct item){.is_record = true, .state = *state}, body, count);
    return STATUS_OK;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    struct store_visitor visitor = {keep_row, keep_record, NULL};
    sched_settings_init(&settings);
    settings.limits.records_max = 24;
    settings.limits.queues_max = 3;
    struct maker maker = {.sched = sched_new(&settings), .batch = store_batch_new()};
    FUZZ_CHECK(maker.sched && maker.batch);
    disk_init(&maker.disk);
    effects_init(&maker.effects);
    FUZZ_CHECK(sched_load_end(maker.sched, begin) == STATUS_OK);
    make_durable(&maker);
    make_records(&maker);
    make_sync(&maker);
    make_durable(&maker);
    FUZZ_CHECK(disk_load(&maker.disk, &visitor) == STATUS_OK);
    disk_release(&maker.disk);
    effects_release(&maker.effects);
    store_batch_destroy(&maker.batch);
    sched_destroy(&maker.sched);
    return 0;
}

/* --- changed --------------------------------------------------------------------------------- */

/* In a copy, which ends where the row ends. */
static void change_bytes(struct fuzz_input *input, struct item *item, uint8_t how)
{
    size_t added = 0;
    const uint8_t *bytes = NULL;
    uint32_t kept = item->row.count ? fuzz_byte(input) % (item->row.count + 1) : 0;
    uint32_t skipped = kept;
    if (how % 4)
        bytes = fuzz_take(input, 32, &added);
    if (how % 4 == 1) /* in their place */
        skipped = item->row.count - kept < added ? item->row.count : kept + (uint32_t)added;
    if (how % 4 == 0) /* cut off */
        skipped = item->row.count;
    uint32_t rest = item->row.count - skipped;
    uint8_t *changed = malloc(kept + added + rest + 1);
    if (!changed)
        abort();
    memcpy(changed, item->bytes, kept);
    if (added)
        memcpy(changed + kept, bytes, added);
    memcpy(changed + kept + added, item->bytes + skipped, rest);
    item->row.count = (uint32_t)(kept + added + rest);
    free(item->bytes);
    item->bytes = (uint8_t *)fuzz_copy(changed, item->row.count);
    free(changed);
}

static void change_number(struct fuzz_input *input, uint64_t *number)
{
    uint8_t how = fuzz_byte(input);
    if (how % 2)
        *number += how / 2;
    else
        *number = fuzz_number(input, 1 + how / 2 % 8);
}

static void change_state(struct fuzz_input *input, struct store_state *state)
{
    uint64_t due = (uint64_t)state->due_us;
    switch (fuzz_byte(input) % 5) {
    case 0:
        change_number(input, &state->number);
        break;
    case 1:
        change_number(input, &state->state);
        break;
    case 2:
        change_number(input, &due);
        state->due_us = (int64_t)due;
        break;
    case 3:
        state->flags = fuzz_byte(input);
        break;
    case 4:
        state->failures = (uint16_t)fuzz_number(input, 2);
        state->crashes = (uint16_t)fuzz_number(input, 2);
        break;
    }
}

static void change(struct fuzz_input *input, struct item *changed)
{
    struct item *item = &changed[fuzz_byte(input) % item_count];
    uint8_t how = fuzz_byte(input);
    switch (how % 8) {
    case 0:
        item->is_dropped = true;
        break;
    case 1:
        if (item->is_record)
            change_state(input, &item->state);
        else
            change_number(input, how & 128 ? &item->row.a : &item->row.b);
        break;
    case 2: /* another's bytes, under this name */
    {
        const struct item *other = &changed[fuzz_byte(input) % item_count];
        char *bytes = fuzz_copy(other->bytes, other->row.count);
        free(item->bytes);
        item->bytes = (uint8_t *)bytes;
        item->row.count = other->row.count;
        break;
    }
    case 3:
        if (!item->is_record)
            item->row.table = (enum store_table)(how / 8 % STORE_TABLE_COUNT);
        break;
    default:
        change_bytes(input, item, how);
        break;
    }
}

/* --- loaded ---------------------------------------------------------------------------------- */

static enum status load(struct sched *sched, const struct item *changed)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < item_count && status >= 0; i++) {
        const struct item *item = &changed[i];
        if (item->is_dropped)
            continue;
        status = item->is_record
                     ? sched_load_record(sched, &item->state, item->bytes, item->row.count)
                     : sched_load_row(sched, &item->row, item->bytes);
    }
    return status < 0 ? status : sched_load_end(sched, begin);
}

/* A little of what a broker would do with it. */
static void go_on(struct sched *sched)
{
    static const enum event_kind kinds[] = {EVENT_TIME, EVENT_WORK, EVENT_GRANT, EVENT_DURABLE};
    struct store_batch *batch = store_batch_new();
    struct effects effects;
    struct moment now = begin;
    struct hello hello = {.id = 1, .uid = {1}, .queues = {bytes_of("a"), bytes_of("b")}};
    hello.queue_count = 2;
    hello.credit = 4;
    effects_init(&effects);
    if (!batch)
        abort();
    for (int i = 0; i < STEPS; i++) {
        struct event event = {.kind = i == 8 ? EVENT_HELLO : kinds[i % 4]};
        if (event.kind == EVENT_HELLO)
            event.hello = &hello;
        if (event.kind == EVENT_WORK)
            event.budget = 3;
        if (event.kind == EVENT_DURABLE) {
            store_batch_clear(batch);
            if (sched_seal(sched, batch))
                break;
        }
        event.now = now;
        effects.count = 0;
        sched_step(sched, &event, &effects);
        now.mono_us += 700000;
        now.wall_us += 700000;
    }
    effects_release(&effects);
    store_batch_destroy(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct fuzz_input input = {data, count};
    struct item changed[ROWS_MAX];
    const char *what = "";
    struct sched *sched = sched_new(&settings);
    if (!sched)
        abort();
    memcpy(changed, items, item_count * sizeof(items[0]));
    for (size_t i = 0; i < item_count; i++)
        changed[i].bytes = (uint8_t *)fuzz_copy(items[i].bytes, items[i].row.count);
    for (int i = 0; i < CHANGES_MAX && input.left; i++)
        change(&input, changed);
    enum status status = load(sched, changed);
    if (!count) /* as it was written */
        FUZZ_CHECK(status == STATUS_OK && sched_check(sched, &what));
    if (!status)
        go_on(sched);
    for (size_t i = 0; i < item_count; i++)
        free(changed[i].bytes);
    sched_destroy(&sched);
    return 0;
}
