#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- small things ----------------------------------------------------------------------------- */

void model_fail(struct model *model, const char *format, ...)
{
    if (model->fault[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(model->fault, sizeof(model->fault), format, arguments);
    va_end(arguments);
}

void model_expect(const struct model_step *step, enum status expected, const char *what)
{
    if (step->status != expected)
        model_fail(step->model, "%s: answered %s, expected %s", what, status_name(step->status),
                   status_name(expected));
}

uint32_t model_index(struct bytes name)
{
    uint32_t index = 0;
    for (uint32_t i = 1; i < name.count; i++)
        index = index * 10 + (uint32_t)(name.data[i] - '0');
    return index;
}

struct model_record *model_record(struct model *model, uint32_t queue, uint32_t key)
{
    return &model->now.records[key][queue];
}

uint32_t model_queue_of(const struct model *model, const struct model_record *record)
{
    return (uint32_t)(record - &model->now.records[0][0]) % MODEL_QUEUES;
}

uint32_t model_key_of(const struct model *model, const struct model_record *record)
{
    return (uint32_t)(record - &model->now.records[0][0]) / MODEL_QUEUES;
}

bool model_has_effect(const struct model_step *step, enum effect_kind kind, uint64_t number)
{
    for (size_t i = 0; i < step->effect_count; i++)
        if (step->effects[i].kind == kind && step->effects[i].number == number)
            return true;
    return false;
}

bool model_lost_session(const struct model_step *step, uint32_t session)
{
    for (size_t i = 0; i < step->effect_count; i++)
        if (step->effects[i].kind == EFFECT_LOST && step->effects[i].session == session)
            return true;
    return false;
}

void model_touch(struct model *model, struct model_record *record)
{
    for (uint32_t i = 0; i < model->touched_count; i++)
        if (model->touched[i] == record)
            return;
    if (model->touched_count == MODEL_TOUCHED)
        abort();
    model->touched[model->touched_count++] = record;
}

void model_change(struct model *model, struct model_record *record)
{
    record->changed_seal = model->seal + 1;
    model_touch(model, record);
}

bool model_view(struct model *model, const struct model_record *record, struct record_view *view)
{
    char queue[16], key[16];
    snprintf(queue, sizeof(queue), "q%u", model_queue_of(model, record));
    snprintf(key, sizeof(key), "k%u", model_key_of(model, record));
    return sched_view_record(model->core->sched, bytes_of(queue), bytes_of(key), view) == STATUS_OK;
}

void model_renumber(struct model *model, struct model_record *record)
{
    struct record_view view;
    record->numbered_seal = model->seal + 1;
    model_change(model, record);
    if (!model_view(model, record, &view))
        return; /* the comparison will say so */
    if (view.state <= model->number_max_before)
        model_fail(model, "q%u k%u: state %llu is not fresh, there was %llu",
                   model_queue_of(model, record), model_key_of(model, record),
                   (unsigned long long)view.state, (unsigned long long)model->number_max_before);
    record->state = view.state;
    if (view.state > model->number_max)
        model->number_max = view.state;
}

/* --- comparing -------------------------------------------------------------------------------- */

static bool status_fits(const struct model *model, const struct model_record *record,
                        enum record_status status, struct moment now)
{
    if (record->lease || record->is_held)
        return status == RECORD_LEASED;
    if (record->is_parked)
        return status == RECORD_PARKED;
    if (status == RECORD_WAITING) /* what came due since time passed last may wait for it */
        return record->due_us > model->time_wall_us || record->due_us > now.wall_us ||
               record->changed_seal > model->durable_seal || model->is_short_lately;
    /* What was ready stays so when the clock is set back, or so it may. */
    return status == RECORD_READY;
}

static const char *first_difference(const struct model *model, const struct model_record *record,
                                    const struct record_view *view, struct moment now)
{
    if (!status_fits(model, record, view->status, now))
        return "status";
    if (view->due_us != record->due_us)
        return "due";
    if (view->state != record->state)
        return "state";
    if (view->failures != record->failures)
        return "failures";
    if (view->crashes != record->crashes)
        return "crashes";
    if (view->every_us != record->fields.every_us)
        return "every";
    if (view->rank != record->fields.rank)
        return "rank";
    if (view->once != record->fields.once)
        return "once";
    if (model_index(view->payload) != record->fields.payload)
        return "payload";
    if (model_index(view->memo) != record->fields.memo)
        return "memo";
    if (model_index(view->group) != record->fields.group)
        return "group";
    return NULL;
}

static void compare(struct model *model, const struct model_record *record, struct moment now)
{
    struct record_view view;
    uint32_t queue = model_queue_of(model, record), key = model_key_of(model, record);
    bool exists = model_view(model, record, &view);
    if (exists != record->exists) {
        model_fail(model, "q%u k%u: %s", queue, key,
                   exists ? "is there and should not be" : "is missing");
        return;
    }
    const char *what = exists ? first_difference(model, record, &view, now) : NULL;
    if (!what)
        return;
    model_fail(model,
               "q%u k%u: %s differs. Core: status %d due %lld state %llu failures %u crashes %u "
               "every %lld p%u m%u. Model: lease %llu%s%s due %lld state %llu failures %u crashes "
               "%u every %lld p%u m%u, now %lld",
               queue, key, what, (int)view.status, (long long)view.due_us,
               (unsigned long long)view.state, view.failures, view.crashes,
               (long long)view.every_us, model_index(view.payload), model_index(view.memo),
               (unsigned long long)record->lease, record->is_held ? " held" : "",
               record->is_parked ? " parked" : "", (long long)record->due_us,
               (unsigned long long)record->state, record->failures, record->crashes,
               (long long)record->fields.every_us, record->fields.payload, record->fields.memo,
               (long long)now.wall_us);
}

static uint64_t count_records(const struct model *model)
{
    uint64_t count = 0;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        for (uint32_t key = 0; key < model->keys; key++)
            count += model->now.records[key][queue].exists;
    return count;
}

static void check_numbers(struct model *model, struct moment now)
{
    struct sched_numbers numbers;
    if (!sched_get_numbers(model->core->sched, (struct bytes){NULL, 0}, now, &numbers)) {
        model_fail(model, "there are no numbers");
        return;
    }
    uint64_t count = count_records(model);
    if (numbers.records != count ||
        numbers.records != numbers.waiting + numbers.ready + numbers.leased + numbers.parked)
        model_fail(model, "numbers: %llu records (%llu + %llu + %llu + %llu), expected %llu",
                   (unsigned long long)numbers.records, (unsigned long long)numbers.waiting,
                   (unsigned long long)numbers.ready, (unsigned long long)numbers.leased,
                   (unsigned long long)numbers.parked, (unsigned long long)count);
    if (numbers.totals.created - numbers.totals.removed != count)
        model_fail(model, "conservation: %llu created - %llu removed, but %llu records",
                   (unsigned long long)numbers.totals.created,
                   (unsigned long long)numbers.totals.removed, (unsigned long long)count);
}

static void compare_session(struct model *model, uint32_t number)
{
    struct sched_session_view view;
    bool is_there = sched_view_session(model->core->sched, number, &view);
    if (is_there != model->sessions[number].is_there)
        model_fail(model, "session %u %s", number,
                   is_there ? "is there and should not be" : "is missing");
    else if (is_there && view.in_flight != model_count_leases(model, number, true))
        model_fail(model, "session %u has %u in flight, expected %u", number, view.in_flight,
                   model_count_leases(model, number, true));
}

/* Whether a peek may show one record behind the other. */
static bool is_in_order(const struct record_view *first, const struct record_view *second)
{
    if (first->status != second->status)
        return first->status == RECORD_READY && second->status == RECORD_WAITING;
    if (first->status == RECORD_READY && first->rank != second->rank)
        return first->rank < second->rank;
    return first->due_us <= second->due_us;
}

/* All that wait are shown, each once, and those that are ready before them, in order. What is ready
 * and not durable yet is shown later. */
static void compare_peek(struct model *model, uint32_t queue, struct moment now)
{
    const struct sched *sched = model->core->sched;
    struct bytes name = sched_queue_name(sched, queue);
    struct sched_numbers numbers = {0};
    uint32_t slots[MODEL_KEYS + 1];
    if (name.data)
        sched_get_numbers(sched, name, now, &numbers);
    uint32_t count = name.data ? sched_peek(sched, name, slots, MODEL_KEYS + 1) : 0;
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct record_view view, before;
        sched_view_slot(sched, slots[i], &view);
        sched_view_slot(sched, slots[i ? i - 1 : 0], &before);
        waiting += view.status == RECORD_WAITING;
        for (uint32_t k = 0; k < i; k++)
            if (slots[k] == slots[i])
                model_fail(model, "a peek shows a record twice");
        if (i && !is_in_order(&before, &view))
            model_fail(model, "a peek shows k%u before k%u", model_index(before.key),
                       model_index(view.key));
    }
    if (waiting != numbers.waiting || count - waiting > numbers.ready)
        model_fail(model, "a peek shows %u records of %llu + %llu", count,
                   (unsigned long long)numbers.waiting, (unsigned long long)numbers.ready);
}

void model_compare_all(struct model *model, struct moment now)
{
    for (uint32_t number = 0; number < MODEL_SESSIONS; number++)
        compare_session(model, number);
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        for (uint32_t key = 0; key < model->keys; key++)
            compare(model, &model->now.records[key][queue], now);
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        compare_peek(model, queue, now);
    check_numbers(model, now);
    const char *what = "";
    if (!sched_check(model->core->sched, &what))
        model_fail(model, "sched_check: %s", what);
}

void model_check_rest(struct model *model, struct moment now)
{
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        for (uint32_t key = 0; key < model->keys; key++) {
            const struct model_record *record = &model->now.records[key][queue];
            if (!record->exists || (record->is_parked && !record->lease))
                continue;
            if (record->due_us <= now.wall_us)
                model_fail(model, "q%u k%u is stuck: due %.3f s ago, lease %llu%s", queue, key,
                           (double)(now.wall_us - record->due_us) / 1e6,
                           (unsigned long long)record->lease, record->is_held ? ", held" : "");
        }
}

/* --- life ------------------------------------------------------------------------------------- */

void model_init(struct model *model, const struct sched_settings *settings, uint32_t keys)
{
    memset(model, 0, sizeof(*model));
    model->settings = *settings;
    model->keys = keys;
    model->grace_end_mono_us = TIME_US_NEVER;
}

void model_seal(struct model *model)
{
    model->seal++;
    model->sealed = model->now;
}

static void become_durable(struct model *model)
{
    model->durable = model->sealed;
    model->durable_seal = model->seal;
    model_accept_durable(model);
}

/* --- one step --------------------------------------------------------------------------------- */

void model_make_known(struct model *model, uint32_t session)
{
    model->now.is_known[model->sessions[session].uid] = true;
    if (!model->sessions[session].known_seal)
        model->sessions[session].known_seal = model->seal + 1;
}

bool model_may_hold(const struct model *model, uint32_t session)
{
    uint64_t seal = model->sessions[session].known_seal;
    return seal && seal <= model->durable_seal;
}

static void credit(const struct model_step *step)
{
    uint32_t most = step->model->settings.limits.credit_max;
    uint32_t wanted = step->event->credit;
    step->model->sessions[step->event->session].credit = wanted < most ? wanted : most;
    model_expect(step, STATUS_OK, "credit");
    if (wanted)
        model_make_known(step->model, step->event->session);
}

static void pause_queue(const struct model_step *step)
{
    uint32_t queue = model_index(step->event->key.queue);
    model_expect(step, STATUS_OK, "pause");
    step->model->now.is_paused[queue] = step->event->kind == EVENT_PAUSE;
}

static void kick_all(const struct model_step *step)
{
    struct model *model = step->model;
    uint32_t queue = model_index(step->event->key.queue);
    if (step->status == STATUS_CONFLICT || step->status == STATUS_BUSY) {
        if (!model->kick_request[queue])
            model_fail(model, "kick of all: refused for no reason");
        return;
    }
    if (step->status == STATUS_NOT_FOUND) { /* no such queue, then: it has no records */
        for (uint32_t key = 0; key < model->keys; key++)
            if (model_record(model, queue, key)->exists)
                model_fail(model, "kick of all: q%u is not found", queue);
        return;
    }
    model_expect(step, STATUS_OK, "kick of all");
    model->kick_request[queue] = step->event->request;
    model_kick_slice(step);
}

static void durable(const struct model_step *step)
{
    become_durable(step->model);
    step->model->durable_mono_us = step->now.mono_us;
}

static void nothing(const struct model_step *step)
{
    (void)step;
}

static void drain(const struct model_step *step)
{
    model_expect(step, STATUS_OK, "drain");
    step->model->is_draining = step->event->kind == EVENT_DRAIN;
}

static void (*const handlers[EVENT_COUNT])(const struct model_step *) = {
    [EVENT_TIME] = model_time,
    [EVENT_GRANT] = model_grant,
    [EVENT_WORK] = model_work,
    [EVENT_DURABLE] = durable,
    [EVENT_RESERVED] = nothing,
    [EVENT_HELLO] = model_hello,
    [EVENT_SEEN] = nothing,
    [EVENT_CREDIT] = credit,
    [EVENT_TAKE] = model_take,
    [EVENT_REPORT] = model_report,
    [EVENT_TOUCH] = model_touch_lease,
    [EVENT_GIVE_BACK] = model_give_back,
    [EVENT_RESUME] = model_resume,
    [EVENT_GOODBYE] = model_goodbye,
    [EVENT_DISCONNECT] = model_disconnect,
    [EVENT_UNDELIVERED] = model_undelivered,
    [EVENT_PUT] = model_put,
    [EVENT_REMOVE] = model_remove,
    [EVENT_RUN_NOW] = model_run_now,
    [EVENT_KICK] = model_kick,
    [EVENT_KICK_ALL] = kick_all,
    [EVENT_PAUSE] = pause_queue,
    [EVENT_UNPAUSE] = pause_queue,
    [EVENT_DRAIN] = drain,
    [EVENT_UNDRAIN] = drain,
    [EVENT_SYNC_BEGIN] = model_sync_begin,
    [EVENT_SYNC_ITEM] = model_sync_item,
    [EVENT_SYNC_COMMIT] = model_sync_commit,
    [EVENT_SYNC_ABORT] = model_sync_abort,
};

/* Nothing was changed. */
static void refused(const struct model_step *step)
{
    if (!step->model->is_short)
        model_fail(step->model, "no-memory, and none was short");
    if (step->effect_count)
        model_fail(step->model, "no-memory, and something was done");
    model_compare_all(step->model, step->now);
}

/* What is used of them stays short: they are walked with every event. */
static void trim(struct model *model)
{
    while (model->take_end && !model->takes[model->take_end - 1].request)
        model->take_end--;
    while (model->removed_end && !model->removed[model->removed_end - 1].lease)
        model->removed_end--;
}

void model_step(struct model *model, const struct event *event, enum status status,
                const struct effect *effects, size_t effect_count)
{
    struct model_step step = {model, event, status, effects, effect_count, event->now};
    model->events++;
    model->touched_count = 0;
    model->number_max_before = model->number_max;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        struct model_sync *sync = &model->now.syncs[queue];
        if (step.now.wall_us < sync->wall_low_us)
            sync->wall_low_us = step.now.wall_us;
        if (step.now.wall_us > sync->wall_high_us)
            sync->wall_high_us = step.now.wall_us;
    }
    if (event->kind > EVENT_RESERVED && event->kind != EVENT_DISCONNECT &&
        event->kind != EVENT_UNDELIVERED)
        model->sessions[event->session].seen_mono_us = event->now.mono_us;
    model->is_short_lately |= model->is_short;
    if (status == STATUS_NO_MEMORY)
        refused(&step);
    else
        handlers[event->kind](&step);
    if (model->in_grace || model->has_held)
        model_let_go(&step);
    model_check_parking(&step);
    trim(model);
    for (uint32_t i = 0; i < model->touched_count; i++)
        compare(model, model->touched[i], step.now);
}
