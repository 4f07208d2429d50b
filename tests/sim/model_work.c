/* model_work.c - reports and what else happens to leases (design: numbers, retry and parking). */
#include "model.h"

#include <string.h>

enum { MINUTE_US = 60 * US_PER_S, PUT_OFF_US = 100 * US_PER_MS };

/* --- finding ---------------------------------------------------------------------------------- */

static struct model_record *leased_record(const struct model_step *step,
                                          const struct lease_name *name)
{
    const struct model_session *session = &step->model->sessions[step->event->session];
    return model_record(step->model, session->queues[name->queue], model_index(name->key));
}

static bool was_removed(const struct model *model, uint64_t lease)
{
    for (int i = 0; i < model->removed_end; i++)
        if (model->removed[i].lease == lease)
            return true;
    return false;
}

/* GONE, STALE or OK for what names a lease that must be valid. */
static bool expect_valid(const struct model_step *step, const struct model_record *record,
                         uint64_t lease, const char *what)
{
    if (!record->exists || (was_removed(step->model, lease) && step->status == STATUS_GONE))
        model_expect(step, STATUS_GONE, what);
    else if (record->lease != lease)
        model_expect(step, STATUS_STALE, what);
    else
        model_expect(step, STATUS_OK, what);
    return record->exists && record->lease == lease;
}

/* --- back-off and parking --------------------------------------------------------------------- */

static int64_t backoff_most(const struct model *model, const struct model_record *record)
{
    int64_t most = model->settings.policy.backoff_max_us;
    return record->fields.every_us > most ? record->fields.every_us : most;
}

/* The due that a back-off gave is taken over when it is within the bounds of any jitter. */
static void take_backoff(const struct model_step *step, struct model_record *record, uint32_t count)
{
    struct model *model = step->model;
    struct record_view view;
    if (!model_view(model, record, &view))
        return;
    int64_t wanted = model->settings.policy.backoff_first_us;
    int64_t most = backoff_most(model, record);
    for (uint32_t i = 1; i < count && wanted < most; i++)
        wanted *= 2;
    if (wanted > most)
        wanted = most;
    int64_t waits = view.due_us - step->now.wall_us;
    if (waits < wanted / 4 || waits > wanted * 2)
        model_fail(model, "q%u k%u: back-off of %lld us, expected about %lld us",
                   model_queue_of(model, record), model_key_of(model, record), (long long)waits,
                   (long long)wanted);
    record->due_us = view.due_us;
}

static uint32_t recent_parks(const struct model *model, uint32_t queue, int64_t since_mono_us)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->park_count && i < 64; i++)
        count += model->parks[i].queue == queue && model->parks[i].mono_us > since_mono_us;
    return count;
}

/* A record is at its limit: parked, unless the queue's budget for this minute is used up. */
static bool take_parking(const struct model_step *step, struct model_record *record)
{
    struct model *model = step->model;
    struct record_view view;
    uint32_t queue = model_queue_of(model, record);
    uint32_t budget = model->settings.policy.parks_per_minute_least;
    if (!model_view(model, record, &view))
        return false;
    int64_t now = step->now.mono_us;
    if (view.status != RECORD_PARKED) {
        model->is_unparked[queue] = true;
        return false;
    }
    /* A minute that is no window of the core's may see two of them. */
    if (recent_parks(model, queue, now - MINUTE_US) >= 2 * budget)
        model_fail(model, "q%u: more than %u were parked in a minute", queue, 2 * budget);
    model->parks[model->park_count++ % 64].mono_us = now;
    model->parks[(model->park_count - 1) % 64].queue = queue;
    record->is_parked = true;
    return true;
}

void model_check_parking(const struct model_step *step)
{
    struct model *model = step->model;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        if (model->is_unparked[queue] &&
            recent_parks(model, queue, step->now.mono_us - 2 * (int64_t)MINUTE_US) <
                model->settings.policy.parks_per_minute_least)
            model_fail(model, "q%u: a record was not parked at its limit", queue);
        model->is_unparked[queue] = false;
    }
}

/* --- the end of a lease ----------------------------------------------------------------------- */

/* What is pending overrides, under a fresh number when nothing was reported. */
static void apply_pending(const struct model_step *step, struct model_record *record)
{
    model_overlay(&record->fields, &record->pending);
    struct record_view view;
    bool is_now = record->run_now && !record->pending.has_due;
    if (is_now && record->is_parked) /* it means nothing to a parked one; its due may show it */
        is_now = model_view(step->model, record, &view) && view.due_us == step->now.wall_us;
    if (is_now)
        record->due_us = step->now.wall_us;
    else if (record->pending.has_due)
        record->due_us = record->pending.due_us;
    record->pending = (struct model_put){.is_given = false};
    record->run_now = false;
}

/* In the grace of a restart others may come back who were given it before, too. When the grace ends
 * the core is asked (model_time.c). */
static bool may_have_other_holders(const struct model_step *step, const struct model_record *record)
{
    struct sched_numbers numbers;
    sched_get_numbers(step->model->core->sched, (struct bytes){NULL, 0}, step->now, &numbers);
    return numbers.is_in_grace && record->lease && record->lease <= step->model->number_max_restart;
}

/* Its loss wants memory, and there is none: its lease is nobody's now and ends a little later. One
 * that a take gave stays one, and uses no credit when it is resumed before that. One that is held
 * on wants memory to be parked only, and shows as leased: its crashes tell. */
static bool is_put_aside(const struct model_step *step, const struct model_record *record,
                         bool is_counted)
{
    struct record_view view;
    if (!record->lease || !model_view(step->model, record, &view) || view.status != RECORD_LEASED)
        return false;
    return !may_have_other_holders(step, record) || (is_counted && view.crashes == record->crashes);
}

static void put_aside(const struct model_step *step, struct model_record *record, bool is_counted)
{
    record->session = MODEL_DETACHED;
    record->is_unconfirmed = !is_counted;
    record->lease_end_mono_us = step->now.mono_us + PUT_OFF_US;
    model_touch(step->model, record);
}

/* Nobody's until the grace is over; what is pending stays so. */
static void hold_on(const struct model_step *step, struct model_record *record, bool is_counted)
{
    bool is_limit = record->crashes >= step->model->settings.policy.crashes_max;
    record->is_held = true;
    if (is_counted && record->crashes > 1)
        take_backoff(step, record, is_limit ? 63 : record->crashes - 1);
    if (is_counted)
        model_change(step->model, record);
    model_touch(step->model, record);
}

void model_lose(const struct model_step *step, struct model_record *record, bool is_counted)
{
    struct model *model = step->model;
    if (model->is_short && is_put_aside(step, record, is_counted)) {
        put_aside(step, record, is_counted);
        return;
    }
    bool has_others = may_have_other_holders(step, record);
    const struct sched_policy *policy = &model->settings.policy;
    record->lease = 0;
    record->is_unconfirmed = record->is_held = record->is_take = false;
    if (is_counted)
        record->crashes++;
    bool is_limit = is_counted && record->crashes >= policy->crashes_max;
    bool is_parked = is_limit && take_parking(step, record);
    if (has_others && !is_parked) {
        hold_on(step, record, is_counted);
        return;
    }
    model_sync_resolve(step, record, true);
    bool has_pending = record->pending.is_given || record->run_now;
    bool due_is_given = record->pending.has_due || record->run_now;
    model_overlay(&record->fields, &record->pending);
    if (is_counted && !is_parked && record->crashes > 1 && !due_is_given)
        take_backoff(step, record, is_limit ? 63 : record->crashes - 1);
    if (has_pending) {
        apply_pending(step, record);
        model_renumber(model, record);
    } else if (is_counted) {
        model_change(model, record);
    } else {
        model_touch(model, record);
    }
}

void model_give_back(const struct model_step *step)
{
    const struct give_back *item = step->event->give_back;
    struct model_record *record = leased_record(step, &item->name);
    if (expect_valid(step, record, item->name.lease, "give back"))
        model_lose(step, record, item->begun);
    model_forget_removed(step->model, item->name.lease, 0, false);
}

void model_undelivered(const struct model_step *step)
{
    struct model *model = step->model;
    model_forget_removed(model, step->event->number, 0, false);
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        for (uint32_t key = 0; key < model->keys; key++) {
            struct model_record *record = model_record(model, queue, key);
            if (record->lease != step->event->number)
                continue;
            model_lose(step, record, false);
            if (!record->lease) /* else it was put aside, as one that was delivered */
                record->delivered = record->delivered_before;
        }
}

void model_touch_lease(const struct model_step *step)
{
    const struct lease_name *name = step->event->touch.name;
    struct model_record *record = leased_record(step, name);
    if (!expect_valid(step, record, name->lease, "touch"))
        return;
    int64_t lease_us = (int64_t)step->event->touch.lease_ms * US_PER_MS;
    if (!lease_us)
        lease_us = step->model->sessions[step->event->session].lease_us;
    record->lease_end_mono_us = step->now.mono_us + lease_us;
    model_touch(step->model, record);
}

void model_resume(const struct model_step *step)
{
    const struct resume *item = step->event->resume;
    struct model_record *record = leased_record(step, &item->name);
    struct model_session *session = &step->model->sessions[step->event->session];
    if (!record->exists) {
        model_expect(step, STATUS_GONE, "resume");
    } else if (item->name.lease == record->state) {
        model_expect(step, STATUS_OK, "resume of what was reported");
        model_make_known(step->model, step->event->session);
    } else if (item->state != record->state || item->name.lease < record->delivered) {
        model_expect(step, STATUS_STALE, "resume");
    } else {
        model_expect(step, STATUS_OK, "resume");
        model_make_known(step->model, step->event->session);
        if (record->lease != item->name.lease)
            record->lease_us = session->lease_us;
        record->lease = item->name.lease;
        record->session = step->event->session;
        record->lease_end_mono_us = step->now.mono_us + record->lease_us;
        if (record->is_parked)
            model_change(step->model, record);
        record->is_take &= record->delivered == item->name.lease;
        record->is_held = record->is_unconfirmed = record->is_parked = false;
        if (record->delivered != record->lease)
            record->delivered_before = record->delivered;
        record->delivered = record->lease;
        model_touch(step->model, record);
    }
    model_announced(step, step->event->session);
}

/* --- reports ---------------------------------------------------------------------------------- */

static uint64_t *accepted_slot(struct model *model, uint64_t lease)
{
    uint64_t place = lease * 0x9e3779b97f4a7c15u >> 48;
    while (model->accepted[place] && model->accepted[place] != lease) /* never full */
        place = (place + 1) % MODEL_ACCEPTED;
    return &model->accepted[place];
}

/* No lease's report is accepted twice, but when the first time was undone by a crash. */
static void note_accepted(struct model *model, uint64_t lease)
{
    if (*accepted_slot(model, lease))
        model_fail(model, "lease %llu: a second report was accepted", (unsigned long long)lease);
    for (uint32_t i = 0; i < model->accepting_count; i++)
        if (model->accepting[i].lease == lease)
            model_fail(model, "lease %llu: a second report was accepted at once",
                       (unsigned long long)lease);
    if (model->accepting_count < MODEL_ACCEPTING) {
        model->accepting[model->accepting_count].lease = lease;
        model->accepting[model->accepting_count++].seal = model->seal + 1;
    }
    model->accepted_count++;
}

void model_accept_durable(struct model *model)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < model->accepting_count; i++) {
        if (model->accepting[i].seal <= model->durable_seal)
            *accepted_slot(model, model->accepting[i].lease) = model->accepting[i].lease;
        else
            model->accepting[left++] = model->accepting[i];
    }
    model->accepting_count = left;
}

/* The due that a successful run sets; false: there is none. */
static bool next_due(const struct model_step *step, const struct model_record *record,
                     int64_t *due_us)
{
    const struct report *report = step->event->report;
    int64_t now = step->now.wall_us;
    if (report->due_us != TIME_US_NEVER) {
        *due_us = report->due_us;
    } else if (report->in_us != TIME_US_NEVER) {
        *due_us = now + report->in_us;
    } else if (record->fields.every_us) {
        int64_t every = record->fields.every_us;
        *due_us = record->due_us;
        if (record->due_us <= now)
            *due_us += ((now - record->due_us) / every + 1) * every;
        struct record_view
            view; /* after a step of the clock: the same due or the next are both right */
        if (record->due_us > now && model_view(step->model, record, &view) &&
            view.due_us == record->due_us + every)
            *due_us = view.due_us;
    } else {
        return false;
    }
    return true;
}

static void report_ok(const struct model_step *step, struct model_record *record)
{
    bool stays = record->pending.is_given;
    struct model_fields fields = record->fields;
    model_overlay(&fields, &record->pending);
    record->failures = record->crashes = 0;
    record->is_parked = false;
    if (record->fields.once) { /* removed, or as the pending put says, else now */
        if (!stays) {
            model_drop_record(step->model, record);
            return;
        }
        record->due_us = step->now.wall_us;
    } else {
        int64_t every_us = record->fields.every_us;
        record->fields.every_us = fields.every_us;
        if (!next_due(step, record, &record->due_us)) {
            record->fields.every_us = every_us; /* cleared by what is pending: one last time */
            next_due(step, record, &record->due_us);
        }
    }
    apply_pending(step, record);
}

/* The budget of parks is used up: the longest back-off, or the due that was named. */
static void take_longest_backoff(const struct model_step *step, struct model_record *record)
{
    struct record_view view;
    struct model_record named = *record;
    const struct report *report = step->event->report;
    bool is_named = report->due_us != TIME_US_NEVER || report->in_us != TIME_US_NEVER ||
                    record->pending.has_due || record->run_now;
    if (is_named)
        next_due(step, &named, &named.due_us);
    apply_pending(step, &named);
    apply_pending(step, record);
    if (is_named && model_view(step->model, record, &view) && view.due_us == named.due_us)
        record->due_us = named.due_us;
    else
        take_backoff(step, record, 63);
}

static void report_retry(const struct model_step *step, struct model_record *record)
{
    struct model *model = step->model;
    const struct report *report = step->event->report;
    bool due_is_given = record->pending.has_due || record->run_now;
    record->failures++;
    record->is_parked = false;
    bool is_limit = record->failures >= model->settings.policy.failures_max;
    if (is_limit && !take_parking(step, record)) {
        take_longest_backoff(step, record);
        return;
    }
    if (!is_limit && report->due_us == TIME_US_NEVER && report->in_us == TIME_US_NEVER &&
        !due_is_given) {
        struct model_fields fields = record->fields;
        model_overlay(&record->fields, &record->pending);
        take_backoff(step, record, record->failures);
        record->fields = fields;
    } else if (!is_limit) {
        next_due(step, record, &record->due_us);
    }
    apply_pending(step, record);
}

static void report_park(const struct model_step *step, struct model_record *record)
{
    struct record_view view;
    record->is_parked = true;
    if (record->run_now && model_view(step->model, record, &view) && view.status != RECORD_PARKED)
        record->is_parked = false; /* run-now was asked for, too: either may win */
    apply_pending(step, record);
}

static void report_remove(const struct model_step *step, struct model_record *record)
{
    if (!record->pending.is_given) {
        model_drop_record(step->model, record);
        return;
    }
    record->failures = record->crashes = 0;
    record->is_parked = false;
    record->due_us = step->now.wall_us;
    apply_pending(step, record);
}

static void accept(const struct model_step *step, struct model_record *record)
{
    struct model *model = step->model;
    const struct report *report = step->event->report;
    uint32_t queue = model_queue_of(model, record), key = model_key_of(model, record);
    note_accepted(model, report->name.lease);
    model_sync_resolve(step, record, false);
    model->late_count += !record->lease && !record->is_held;
    record->state = report->name.lease;
    record->numbered_seal = model->seal + 1;
    record->lease = 0;
    record->is_held = record->is_unconfirmed = false;
    if (report->memo.data)
        record->fields.memo = model_index(report->memo);
    if (report->payload.data)
        record->fields.payload = model_index(report->payload);
    if (report->has_rank)
        record->fields.rank = report->rank;
    model_change(model, record);
    switch (report->outcome) {
    case OUTCOME_OK:
        report_ok(step, record);
        break;
    case OUTCOME_RETRY:
        report_retry(step, record);
        break;
    case OUTCOME_PARK:
        report_park(step, record);
        break;
    case OUTCOME_REMOVE:
        report_remove(step, record);
        break;
    }
    if (!record->exists || report->payload.data || report->has_rank)
        model_sync_touch(model, queue, key);
}

/* With the record's every as it was, or as a put that is pending leaves it. */
static bool has_no_next(const struct model_step *step, const struct model_record *record)
{
    int64_t due_us;
    struct model_record after = *record;
    model_overlay(&after.fields, &record->pending);
    return step->event->report->outcome == OUTCOME_OK && !record->fields.once &&
           (!next_due(step, record, &due_us) || !next_due(step, &after, &due_us));
}

void model_report(const struct model_step *step)
{
    const struct report *report = step->event->report;
    struct model_record *record = leased_record(step, &report->name);
    bool is_of_removed = was_removed(step->model, report->name.lease);
    model_forget_removed(step->model, report->name.lease, 0, false);
    if (!record->exists || (is_of_removed && step->status == STATUS_GONE)) {
        model_expect(step, STATUS_GONE, "report");
    } else if (report->name.lease == record->state) {
        model_expect(step, STATUS_OK, "report that was accepted before");
        model_touch(step->model, record);
    } else if (report->state != record->state ||
               (record->delivered && report->name.lease != record->delivered)) {
        model_expect(step, STATUS_STALE, "report");
        step->model->stale_count++;
        model_touch(step->model, record);
    } else if (has_no_next(step, record) && step->status == STATUS_NO_NEXT) {
        model_touch(step->model, record);
    } else if (has_no_next(step, record) && !record->pending.is_given && !record->run_now &&
               !model_sync_may_give_every(step->model, record)) {
        model_expect(step, STATUS_NO_NEXT, "report without a next time");
    } else {
        model_expect(step, STATUS_OK, "report");
        accept(step, record);
    }
}
