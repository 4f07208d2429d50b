/* fuzz_sched.c - the core as raw bytes drive it: any event at any time with any numbers, batches
 * that become durable late or never, crashes. After each step all invariants of the core hold
 * (sched_check), records = created - removed, and what it wrote it can load.
 *
 * The caller's side of sched.h is kept: one batch on its way at a time, a session number is a
 * connection's own, a step of time after each event.
 */
#include "disk.h"
#include "fuzz.h"
#include "sched.h"

enum { SESSIONS = 6, TASKS = 16, STEPS_MAX = 400, BYTES_ROOM = 256, RECORDS_MAX = 24 };

struct known_task {
    struct lease_name name;
    uint8_t key[32];
    uint64_t state;
    uint32_t session;
};

struct fuzzed {
    struct sched_settings settings;
    struct sched *sched;
    struct disk disk;
    struct store_batch *batch;
    bool is_in_flight;
    uint64_t reserve;
    struct moment now;
    struct effects effects;
    struct known_task tasks[TASKS];
    size_t task_count;
    uint64_t generation;
    uint64_t request;
};

/* --- fields ---------------------------------------------------------------------------------- */

static struct bytes draw_queue(struct fuzz_input *input)
{
    static const char *const names[] = {"a", "b", "c", "", "no name", "a"};
    uint8_t which = fuzz_byte(input);
    return which % 7 == 6 ? (struct bytes){0} : bytes_of(names[which % 7]);
}

static struct bytes draw_key(struct fuzz_input *input)
{
    static const char letters[] = "abcdefghijklmnop";
    uint8_t which = fuzz_byte(input);
    if (which < 0xf0)
        return (struct bytes){(const uint8_t *)letters + which % 16, 1};
    size_t count = 0;
    const uint8_t *bytes = fuzz_take(input, 31, &count);
    return (struct bytes){bytes, (uint32_t)count};
}

static struct bytes draw_bytes(struct fuzz_input *input)
{
    size_t count = 0;
    if (fuzz_byte(input) % 2)
        return (struct bytes){0};
    const uint8_t *bytes = fuzz_take(input, BYTES_ROOM, &count);
    return (struct bytes){bytes, (uint32_t)count};
}

/* Near ones, absent, and any 64 bits. */
static int64_t draw_time(struct fuzz_input *input, int64_t base_us)
{
    switch (fuzz_byte(input) % 4) {
    case 0:
        return base_us + (int64_t)fuzz_number(input, 3) * 100;
    case 1:
        return (int64_t)fuzz_number(input, 8);
    default:
        return TIME_US_NEVER;
    }
}

static void draw_put(struct fuzz_input *input, struct fuzzed *fuzzed, struct put *put)
{
    *put = (struct put){.key = draw_key(input),
                        .due_us = draw_time(input, fuzzed->now.wall_us),
                        .in_us = draw_time(input, 0),
                        .every_us = draw_time(input, 0)};
    uint8_t flags = fuzz_byte(input);
    put->has_rank = flags & 1;
    put->rank = flags & 2 ? (int64_t)fuzz_number(input, 8) : (int64_t)(flags >> 6);
    put->has_once = flags & 4;
    put->once = flags & 8;
    if (flags & 16)
        put->payload = draw_bytes(input);
    if (flags & 32)
        put->memo = draw_bytes(input);
    put->group = draw_bytes(input);
}

static const struct known_task *draw_task(struct fuzz_input *input, const struct fuzzed *fuzzed)
{
    static const struct known_task none = {.name = {.key = {(const uint8_t *)"a", 1}, .lease = 1}};
    uint8_t which = fuzz_byte(input);
    return fuzzed->task_count ? &fuzzed->tasks[which % fuzzed->task_count] : &none;
}

/* --- stepping -------------------------------------------------------------------------------- */

static void note_task(struct fuzzed *fuzzed, const struct effect *effect)
{
    struct task task;
    struct known_task *known = &fuzzed->tasks[fuzzed->task_count % TASKS];
    if (!sched_view_task(fuzzed->sched, effect, fuzzed->now, &task) ||
        task.name.key.count > sizeof(known->key))
        return;
    FUZZ_CHECK(task.due_us <= fuzzed->now.wall_us);
    if (fuzzed->task_count < TASKS)
        fuzzed->task_count++;
    else
        known = &fuzzed->tasks[effect->number % TASKS];
    memcpy(known->key, task.name.key.data, task.name.key.count);
    known->name = task.name;
    known->name.key.data = known->key;
    known->state = task.state;
    known->session = effect->session;
}

/* What waits is shown, each once, behind what is ready, and in order. */
static void check_peek(const struct fuzzed *fuzzed, struct bytes queue)
{
    struct sched_numbers numbers = {0};
    struct record_view before, view;
    uint32_t slots[RECORDS_MAX + 1], waiting = 0;
    sched_get_numbers(fuzzed->sched, queue, fuzzed->now, &numbers);
    uint32_t count = sched_peek(fuzzed->sched, queue, slots, RECORDS_MAX + 1);
    FUZZ_CHECK(count <= RECORDS_MAX);
    for (uint32_t i = 0; i < count; i++, before = view) {
        sched_view_slot(fuzzed->sched, slots[i], &view);
        bool is_waiting = view.status == RECORD_WAITING;
        waiting += is_waiting;
        FUZZ_CHECK(is_waiting || (view.status == RECORD_READY && !waiting));
        FUZZ_CHECK(!i || !bytes_equal(before.key, view.key));
        bool is_alike =
            i && before.status == view.status && (is_waiting || before.rank == view.rank);
        FUZZ_CHECK(!is_alike || before.due_us <= view.due_us);
    }
    FUZZ_CHECK(waiting == numbers.waiting && count - waiting <= numbers.ready);
}

static void check(const struct fuzzed *fuzzed)
{
    struct sched_numbers numbers;
    const char *what = "";
    bool holds = sched_check(fuzzed->sched, &what);
    if (!holds)
        fprintf(stderr, "sched_check: %s\n", what);
    FUZZ_CHECK(holds);
    FUZZ_CHECK(sched_get_numbers(fuzzed->sched, (struct bytes){0}, fuzzed->now, &numbers));
    FUZZ_CHECK(numbers.records == numbers.totals.created - numbers.totals.removed);
    FUZZ_CHECK(numbers.records ==
               numbers.waiting + numbers.ready + numbers.leased + numbers.parked);
    check_peek(fuzzed, bytes_of("a"));
    check_peek(fuzzed, bytes_of("b"));
}

static enum status step(struct fuzzed *fuzzed, struct event *event)
{
    event->now = fuzzed->now;
    fuzzed->effects.count = 0;
    enum status status = sched_step(fuzzed->sched, event, &fuzzed->effects);
    for (size_t i = 0; i < fuzzed->effects.count; i++) {
        const struct effect *effect = &fuzzed->effects.list[i];
        if (effect->kind == EFFECT_TASK)
            note_task(fuzzed, effect);
        if (effect->kind == EFFECT_SYNC_BEGUN)
            fuzzed->generation = effect->number;
    }
    return status;
}

/* --- the disk -------------------------------------------------------------------------------- */

static void seal(struct fuzzed *fuzzed)
{
    if (fuzzed->is_in_flight || !sched_is_dirty(fuzzed->sched))
        return;
    uint64_t wanted = sched_reserve_wanted(fuzzed->sched);
    store_batch_clear(fuzzed->batch);
    FUZZ_CHECK(sched_seal(fuzzed->sched, fuzzed->batch) == STATUS_OK);
    fuzzed->is_in_flight = true;
    fuzzed->reserve = wanted;
}

static void make_durable(struct fuzzed *fuzzed)
{
    if (!fuzzed->is_in_flight)
        return;
    disk_write(&fuzzed->disk, fuzzed->batch);
    fuzzed->is_in_flight = false;
    struct event durable = {.kind = EVENT_DURABLE};
    step(fuzzed, &durable);
    struct event reserved = {.kind = EVENT_RESERVED, .number = fuzzed->reserve};
    if (fuzzed->reserve)
        step(fuzzed, &reserved);
    fuzzed->reserve = 0;
}

static enum status visit_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    return sched_load_row(user, row, bytes);
}

static enum status visit_record(const struct store_state *state, const uint8_t *body,
                                uint32_t count, void *user)
{
    return sched_load_record(user, state, body, count);
}

static void start(struct fuzzed *fuzzed)
{
    fuzzed->sched = sched_new(&fuzzed->settings);
    if (!fuzzed->sched)
        abort();
    struct store_visitor visitor = {visit_row, visit_record, fuzzed->sched};
    FUZZ_CHECK(disk_load(&fuzzed->disk, &visitor) == STATUS_OK);
    FUZZ_CHECK(sched_load_end(fuzzed->sched, fuzzed->now) == STATUS_OK);
    /* As the broker does: numbers are reserved before anybody is served. */
    for (int i = 0; i < 4 && sched_reserve_wanted(fuzzed->sched); i++) {
        seal(fuzzed);
        make_durable(fuzzed);
    }
}

static void crash(struct fuzzed *fuzzed)
{
    sched_destroy(&fuzzed->sched);
    fuzzed->is_in_flight = false;
    fuzzed->reserve = 0;
    start(fuzzed);
}

/* --- events ---------------------------------------------------------------------------------- */

static void hello(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    struct hello hello = {.id = 1, .name = draw_bytes(input)};
    hello.uid[0] = fuzz_byte(input) % 4;
    hello.queue_count = fuzz_byte(input) % 4;
    for (uint32_t i = 0; i < hello.queue_count; i++)
        hello.queues[i] = draw_queue(input);
    hello.credit = (uint32_t)fuzz_number(input, 2);
    hello.lease_ms = (uint32_t)fuzz_number(input, 2);
    hello.heartbeat_ms = (uint32_t)fuzz_number(input, 2);
    hello.resume_count = fuzz_byte(input) % 3;
    event->kind = EVENT_HELLO;
    event->hello = &hello;
    step(fuzzed, event);
}

static void take(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    struct take take = {.id = ++fuzzed->request,
                        .queue = fuzz_byte(input) % 4,
                        .max = fuzz_byte(input),
                        .wait_ms = (uint32_t)fuzz_number(input, 2),
                        .lease_ms = (uint32_t)fuzz_number(input, 2),
                        .detached = fuzz_byte(input) % 2};
    event->kind = EVENT_TAKE;
    event->request = take.id;
    event->take = &take;
    step(fuzzed, event);
}

static void report(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    const struct known_task *task = draw_task(input, fuzzed);
    uint8_t flags = fuzz_byte(input);
    struct report report = {.name = task->name,
                            .state = task->state + (flags & 1),
                            .outcome = (enum outcome)(flags >> 1 & 3),
                            .due_us = draw_time(input, fuzzed->now.wall_us),
                            .in_us = draw_time(input, 0),
                            .has_rank = flags & 8,
                            .rank = fuzz_byte(input),
                            .memo = draw_bytes(input),
                            .payload = draw_bytes(input),
                            .note = draw_bytes(input),
                            .error = draw_bytes(input),
                            .cause = (enum cause)(flags >> 6)};
    report.name.lease += flags >> 4 & 1;
    event->kind = EVENT_REPORT;
    event->report = &report;
    if (flags & 32)
        event->session = task->session;
    step(fuzzed, event);
}

static void about_lease(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    const struct known_task *task = draw_task(input, fuzzed);
    uint8_t flags = fuzz_byte(input);
    struct give_back give_back = {task->name, flags & 1};
    struct resume resume = {task->name, task->state + (flags >> 1 & 1)};
    if (flags & 4)
        event->session = task->session;
    switch (flags >> 4 & 3) {
    case 0:
        event->kind = EVENT_TOUCH;
        event->touch.name = &task->name;
        event->touch.lease_ms = (uint32_t)fuzz_number(input, 4);
        break;
    case 1:
        event->kind = EVENT_GIVE_BACK;
        event->give_back = &give_back;
        break;
    case 2:
        event->kind = EVENT_RESUME;
        event->resume = &resume;
        break;
    case 3:
        event->kind = EVENT_UNDELIVERED;
        event->number = task->name.lease;
        break;
    }
    step(fuzzed, event);
}

static void put(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    struct put put;
    event->kind = EVENT_PUT;
    event->put.queue = draw_queue(input);
    draw_put(input, fuzzed, &put);
    event->put.put = &put;
    step(fuzzed, event);
}

static void about_key(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    static const enum event_kind kinds[] = {EVENT_REMOVE,   EVENT_RUN_NOW, EVENT_KICK,
                                            EVENT_KICK_ALL, EVENT_PAUSE,   EVENT_UNPAUSE};
    event->kind = kinds[fuzz_byte(input) % 6];
    event->request = ++fuzzed->request;
    event->key.queue = draw_queue(input);
    event->key.key = draw_key(input);
    step(fuzzed, event);
}

static void sync_begin(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    struct sync_begin begin = {.id = ++fuzzed->request,
                               .queue = draw_queue(input),
                               .spread_us = (int64_t)fuzz_number(input, 4),
                               .due_take = fuzz_byte(input) % 2};
    event->kind = EVENT_SYNC_BEGIN;
    event->request = begin.id;
    event->sync_begin = &begin;
    step(fuzzed, event);
}

static void sync_commit(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    uint8_t flags = fuzz_byte(input);
    struct sync_commit commit = {.id = ++fuzzed->request,
                                 .generation = fuzzed->generation + (flags & 1),
                                 .count = 3,
                                 .checksum = 7,
                                 .prune = flags & 2,
                                 .prune_max_ppm = (uint32_t)fuzz_number(input, 4),
                                 .dry_run = flags & 4};
    event->kind = EVENT_SYNC_COMMIT;
    event->request = commit.id;
    event->sync_commit.commit = &commit;
    event->sync_commit.count = 3 + (flags >> 3 & 1);
    event->sync_commit.checksum = 7;
    step(fuzzed, event);
}

static void sync_item(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    struct put put;
    uint8_t flags = fuzz_byte(input);
    event->kind = flags % 16 ? EVENT_SYNC_ITEM : EVENT_SYNC_ABORT;
    event->sync_item.generation = fuzzed->generation + (flags >> 7);
    draw_put(input, fuzzed, &put);
    event->sync_item.put = &put;
    step(fuzzed, event);
}

static void simple(struct fuzzed *fuzzed, struct fuzz_input *input, struct event *event)
{
    static const enum event_kind kinds[] = {EVENT_SEEN, EVENT_CREDIT, EVENT_GOODBYE, EVENT_DRAIN,
                                            EVENT_UNDRAIN};
    uint8_t which = fuzz_byte(input);
    event->request = ++fuzzed->request;
    if (which % 8 < 5) {
        event->kind = kinds[which % 8];
        event->credit = (uint32_t)fuzz_number(input, 2) % (CREDIT_MAX + 1);
        if (event->kind == EVENT_DRAIN)
            event->wait_us = (int64_t)fuzz_number(input, 4);
    } else {
        event->kind = EVENT_DISCONNECT;
        event->wait_us = (int64_t)fuzz_number(input, 3);
    }
    step(fuzzed, event);
}

/* Time only passes; the wall clock may be set. */
static void pass_time(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    int64_t us = (int64_t)fuzz_number(input, 3) * 100;
    uint8_t flags = fuzz_byte(input);
    fuzzed->now.mono_us += us;
    fuzzed->now.wall_us += us;
    if (flags % 32 == 1)
        fuzzed->now.wall_us = (int64_t)(fuzz_number(input, 8) % (uint64_t)TIME_US_END);
    struct event event = {.kind = EVENT_TIME, .stalled_us = flags % 32 == 2 ? us : 0};
    step(fuzzed, &event);
}

static void one(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    typedef void drive(struct fuzzed * fuzzed, struct fuzz_input * input, struct event * event);
    static drive *const drives[] = {hello,     take,       report,      report,    about_lease,
                                    put,       put,        about_key,   sync_item, simple,
                                    sync_item, sync_begin, sync_commit, put};
    enum { DRIVES = sizeof(drives) / sizeof(drives[0]) };
    uint8_t which = fuzz_byte(input) % (DRIVES + 8);
    struct event event = {.session = fuzz_byte(input) % SESSIONS};
    if (which < DRIVES) {
        drives[which](fuzzed, input, &event);
        return;
    }
    switch (which - DRIVES) {
    case 0:
    case 1:
        pass_time(fuzzed, input);
        break;
    case 2:
    case 3:
        event.kind = EVENT_GRANT;
        step(fuzzed, &event);
        break;
    case 4:
        event.kind = EVENT_WORK;
        event.budget = fuzz_byte(input);
        step(fuzzed, &event);
        break;
    case 5:
        seal(fuzzed);
        break;
    case 6:
        make_durable(fuzzed);
        break;
    case 7:
        if (fuzz_byte(input) % 4 == 0)
            crash(fuzzed);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct fuzz_input input = {data, count};
    struct fuzzed fuzzed = {.now = {1000000000, 1000000}, .batch = store_batch_new()};
    if (!fuzzed.batch)
        abort();
    sched_settings_init(&fuzzed.settings);
    fuzzed.settings.limits.records_max = RECORDS_MAX;
    fuzzed.settings.limits.sessions_max = SESSIONS;
    fuzzed.settings.limits.queues_max = 3;
    fuzzed.settings.limits.payload_bytes_max = 128;
    fuzzed.settings.limits.bytes_max = 4096;
    fuzzed.settings.limits.backlog_max = 20;
    disk_init(&fuzzed.disk);
    effects_init(&fuzzed.effects);
    start(&fuzzed);
    for (int i = 0; i < STEPS_MAX && input.left; i++) {
        one(&fuzzed, &input);
        check(&fuzzed);
    }
    seal(&fuzzed);
    make_durable(&fuzzed);
    crash(&fuzzed);
    check(&fuzzed);
    sched_destroy(&fuzzed.sched);
    effects_release(&fuzzed.effects);
    disk_release(&fuzzed.disk);
    store_batch_destroy(&fuzzed.batch);
    return 0;
}
