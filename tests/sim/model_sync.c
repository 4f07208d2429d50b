/* model_sync.c - full sets. A commit is carried out in slices that an onlooker cannot see; each key
 * is as it was or as it shall be, and all are as they shall be when the commit is answered. */
#include "model.h"

#include <string.h>

static struct model_sync *find_sync(struct model *model, uint64_t generation)
{
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        if (generation && model->now.syncs[queue].generation == generation)
            return &model->now.syncs[queue];
    return NULL;
}

static uint32_t queue_of(const struct model *model, const struct model_sync *sync)
{
    return (uint32_t)(sync - model->now.syncs);
}

static bool is_out(const struct model_record *record)
{
    return record->lease || record->is_held;
}

/* What a line says of the compared fields: absent is the default. */
static struct model_put whole(const struct model_sync *sync, const struct model_put *line)
{
    struct model_put put = {
        .is_given = true,
        .has_every = true,
        .has_rank = true,
        .has_payload = true,
        .has_group = true,
        .has_once = true,
        .has_due = line->has_due && sync->due_take,
        .due_us = line->due_us,
    };
    put.fields.every_us = line->has_every ? line->fields.every_us : 0;
    put.fields.rank = line->has_rank ? line->fields.rank : 0;
    put.fields.payload = line->has_payload ? line->fields.payload : 0;
    put.fields.group = line->has_group ? line->fields.group : 0;
    put.fields.once = line->has_once && line->fields.once;
    return put;
}

static bool differs(const struct model_record *record, const struct model_put *put)
{
    return record->fields.every_us != put->fields.every_us ||
           record->fields.rank != put->fields.rank ||
           record->fields.payload != put->fields.payload ||
           record->fields.group != put->fields.group || record->fields.once != put->fields.once ||
           (put->has_due && record->due_us != put->due_us);
}

/* --- before the commit ------------------------------------------------------------------------ */

static void doubt_key(const struct model_sync *sync, struct model_record *record, uint32_t key)
{
    if (!is_out(record) || sync->item_status[key] != STATUS_CHANGED)
        return;
    struct model_put put = whole(sync, &sync->staged[key]);
    record->alternative = record->pending;
    model_merge(&record->alternative, &put);
}

void model_sync_doubt(struct model *model, const struct model_sync *sync)
{
    for (uint32_t key = 0; key < model->keys; key++)
        if (!sync->is_touched[key] && !sync->is_applied[key] && sync->staged[key].is_given)
            doubt_key(sync, model_record(model, queue_of(model, sync), key), key);
}

void model_sync_touch(struct model *model, uint32_t queue, uint32_t key)
{
    struct model_sync *sync = &model->now.syncs[queue];
    struct model_record *record = model_record(model, queue, key);
    if (!sync->generation || sync->is_applied[key] || sync->is_touched[key])
        return;
    sync->is_touched[key] = true;
    if (sync->is_committed)
        doubt_key(sync, record, key);
}

void model_sync_drop_session(struct model *model, uint32_t session)
{
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        if (model->now.syncs[queue].session == session && !model->now.syncs[queue].is_committed) {
            model->now.syncs[queue].generation = 0;
            model->now.syncs[queue].is_leaving = true;
        }
}

/* Of those to which no line came for too long. */
void model_sync_idle(const struct model_step *step, bool may_wait)
{
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        struct model_sync *sync = &step->model->now.syncs[queue];
        if (!sync->generation || sync->is_committed || sync->request)
            continue;
        int64_t idle_us = step->now.mono_us - sync->heard_mono_us;
        bool is_over = idle_us >= step->model->settings.sync_idle_us;
        if (model_has_effect(step, EFFECT_SYNC_IDLE, sync->generation)) {
            if (!is_over)
                model_fail(step->model, "a sync was given up too early");
            sync->generation = 0;
            sync->is_leaving = true;
        } else if (is_over && step->model->is_short) { /* it may have been put off */
            step->model->hold_mono_us = step->now.mono_us + MODEL_SLACK_US;
        } else if (is_over && !may_wait) {
            model_fail(step->model, "a sync of which nothing comes stays open");
        }
    }
}

void model_sync_begin(const struct model_step *step)
{
    struct model *model = step->model;
    const struct sync_begin *begin = step->event->sync_begin;
    struct model_sync *sync = &model->now.syncs[model_index(begin->queue)];
    if (step->status == STATUS_CONFLICT && (sync->generation || sync->is_leaving))
        return;
    if (sync->generation)
        model_expect(step, STATUS_CONFLICT, "second sync of a queue");
    model_expect(step, STATUS_OK, "begin of a sync");
    *sync = (struct model_sync){
        .session = step->event->session,
        .due_take = begin->due_take,
        .spread_us = begin->spread_us,
        .heard_mono_us = step->now.mono_us,
        .wall_low_us = step->now.wall_us,
        .wall_high_us = step->now.wall_us,
    };
    for (size_t i = 0; i < step->effect_count; i++)
        if (step->effects[i].kind == EFFECT_SYNC_BEGUN)
            sync->generation = step->effects[i].number;
    if (!sync->generation)
        model_fail(model, "a sync has no generation");
}

void model_sync_item(const struct model_step *step)
{
    struct model *model = step->model;
    struct model_sync *sync = find_sync(model, step->event->sync_item.generation);
    if (!sync || sync->session != step->event->session || sync->is_committed || sync->request) {
        if (step->status >= 0)
            model_fail(model, "a line of a sync that is not there was taken");
        return;
    }
    uint32_t key = model_index(step->event->sync_item.put->key);
    struct model_record *record = model_record(model, queue_of(model, sync), key);
    sync->heard_mono_us = step->now.mono_us;
    sync->lines++;
    if (sync->staged[key].is_given) {
        model_expect(step, STATUS_DUPLICATE, "a key that comes twice in a sync");
        sync->rejected++;
        return;
    }
    sync->staged[key] = model_read_put(step->event->sync_item.put, step->now);
    sync->item_status[key] = step->status;
    struct model_put put = whole(sync, &sync->staged[key]);
    if (sync->is_touched[key] || record->pending.is_given) {
        if (step->status < 0)
            model_fail(model, "a line of a sync was refused: %s", status_name(step->status));
    } else if (!record->exists) {
        model_expect(step, STATUS_CREATED, "a line with a new key");
    } else {
        model_expect(step, differs(record, &put) ? STATUS_CHANGED : STATUS_UNCHANGED,
                     "a line with a known key");
    }
}

void model_sync_abort(const struct model_step *step)
{
    struct model_sync *sync = find_sync(step->model, step->event->sync_item.generation);
    if (!sync || sync->is_committed || sync->request || sync->session != step->event->session) {
        if (step->status == STATUS_OK)
            model_fail(step->model, "an abort of a sync that is not there was accepted");
        return;
    }
    model_expect(step, STATUS_OK, "abort of a sync");
    sync->generation = 0;
    sync->is_leaving = true; /* for a while a new one is refused */
}

/* --- the commit ------------------------------------------------------------------------------- */

static bool breaks_guard(const struct model *model, const struct model_sync *sync)
{
    uint32_t queue = queue_of(model, sync);
    uint64_t records = 0, pruned = 0;
    for (uint32_t key = 0; key < model->keys; key++) {
        const struct model_record *record = &model->now.records[key][queue];
        records += record->exists;
        pruned += record->exists && !sync->staged[key].is_given && !sync->is_touched[key];
    }
    return sync->prune && pruned * 1000000 > records * sync->prune_max_ppm;
}

void model_sync_commit(const struct model_step *step)
{
    struct model *model = step->model;
    const struct sync_commit *commit = step->event->sync_commit.commit;
    struct model_sync *sync = find_sync(model, commit->generation);
    if (!sync || sync->session != step->event->session || sync->is_committed || sync->request)
        return;
    model_expect(step, STATUS_OK, "commit");
    sync->prune = commit->prune && !sync->rejected;
    sync->prune_max_ppm = commit->prune_max_ppm;
    sync->request = step->event->request;
    sync->is_dry = commit->dry_run;
    sync->is_mismatch = commit->count != step->event->sync_commit.count ||
                        commit->checksum != step->event->sync_commit.checksum;
    sync->broke_guard = breaks_guard(model, sync);
    sync->is_committed = !sync->is_mismatch && !sync->is_dry;
    model_sync_slice(step);
}

/* --- slices ----------------------------------------------------------------------------------- */

static void apply_new(const struct model_step *step, struct model_sync *sync, uint32_t key)
{
    struct model *model = step->model;
    struct model_record *record = model_record(model, queue_of(model, sync), key);
    const struct model_put *line = &sync->staged[key];
    struct record_view view;
    if (!model_view(model, record, &view))
        return;
    int64_t window_us = sync->spread_us ? sync->spread_us : line->fields.every_us;
    if (line->has_due || !(sync->spread_us || line->has_every))
        window_us = 0;
    int64_t low = line->has_due ? line->due_us : sync->wall_low_us;
    int64_t high = line->has_due ? line->due_us : sync->wall_high_us + window_us;
    if (view.due_us < low || view.due_us > high)
        model_fail(model, "sync: q%u k%u is due %lld us off", queue_of(model, sync), key,
                   (long long)(view.due_us < low ? view.due_us - low : view.due_us - high));
    *record =
        (struct model_record){.exists = true, .life = ++model->now.created, .due_us = view.due_us};
    model_overlay(&record->fields, line);
    sync->counts.created++;
    model_renumber(model, record);
    sync->is_applied[key] = sync->any_applied = true;
}

static void apply_prune(const struct model_step *step, struct model_sync *sync, uint32_t key)
{
    struct model *model = step->model;
    struct model_record *record = model_record(model, queue_of(model, sync), key);
    struct record_view view;
    if (model_view(model, record, &view))
        return;
    if (record->lease && record->session != MODEL_DETACHED &&
        !model_has_effect(step, EFFECT_CANCEL, record->lease))
        model_fail(model, "prune: lease %llu was not cancelled", (unsigned long long)record->lease);
    model_drop_record(model, record);
    sync->counts.pruned++;
    sync->is_applied[key] = sync->any_applied = true;
}

static void apply_known(const struct model_step *step, struct model_sync *sync, uint32_t key)
{
    struct model *model = step->model;
    struct model_record *record = model_record(model, queue_of(model, sync), key);
    struct model_put put = whole(sync, &sync->staged[key]);
    struct record_view view;
    if (sync->item_status[key] != STATUS_CHANGED || is_out(record))
        return; /* a change that is pending nobody sees before the lease ends */
    if (!model_view(model, record, &view) || view.state == record->state)
        return;
    model_overlay(&record->fields, &put);
    if (put.has_due)
        record->due_us = put.due_us;
    model_renumber(model, record);
    sync->is_applied[key] = sync->any_applied = true;
}

static void apply_key(const struct model_step *step, struct model_sync *sync, uint32_t key)
{
    struct model_record *record = model_record(step->model, queue_of(step->model, sync), key);
    if (sync->is_applied[key] || sync->is_touched[key])
        return;
    if (sync->staged[key].is_given && !record->exists)
        apply_new(step, sync, key);
    else if (sync->staged[key].is_given)
        apply_known(step, sync, key);
    else if (record->exists && sync->prune)
        apply_prune(step, sync, key);
}

/* The due tells, too: puts that came later may have made all the rest alike. */
static void choose_alternative(struct model *model, struct model_record *record)
{
    struct record_view view;
    const struct model_put *other = &record->alternative;
    if (!other->is_given || !model_view(model, record, &view))
        return;
    if (view.every_us == other->fields.every_us && view.rank == other->fields.rank &&
        view.once == other->fields.once && model_index(view.payload) == other->fields.payload &&
        model_index(view.group) == other->fields.group &&
        (!other->has_due || view.due_us == other->due_us))
        record->pending = *other;
    record->alternative.is_given = false;
}

bool model_sync_may_give_every(const struct model *model, const struct model_record *record)
{
    uint32_t key = model_key_of(model, record);
    const struct model_sync *sync = &model->now.syncs[model_queue_of(model, record)];
    if (record->alternative.is_given && record->alternative.fields.every_us)
        return true;
    return sync->generation && sync->is_committed && !sync->is_touched[key] &&
           sync->staged[key].is_given && sync->staged[key].has_every &&
           sync->staged[key].fields.every_us;
}

/* The lease of a record ended while a commit is being carried out: did the commit reach it before?
 */
void model_sync_resolve(const struct model_step *step, struct model_record *record, bool is_lost)
{
    struct model *model = step->model;
    uint32_t queue = model_queue_of(model, record), key = model_key_of(model, record);
    struct model_sync *sync = &model->now.syncs[queue];
    struct record_view view;
    choose_alternative(model, record);
    if (!sync->generation || !sync->is_committed || sync->is_applied[key] ||
        sync->is_touched[key] || sync->item_status[key] != STATUS_CHANGED ||
        !model_view(model, record, &view))
        return;
    struct model_put put = whole(sync, &sync->staged[key]);
    bool was_reached = model_index(view.payload) == put.fields.payload &&
                       view.rank == put.fields.rank && view.every_us == put.fields.every_us &&
                       (!put.has_due || view.due_us == put.due_us) &&
                       (!is_lost || view.state != record->state);
    if (!was_reached)
        return;
    model_merge(&record->pending, &put);
    sync->is_applied[key] = sync->any_applied = true;
}

/* A key that no slice was seen to reach. */
static void end_key(struct model *model, struct model_sync *sync, uint32_t key)
{
    uint32_t queue = queue_of(model, sync);
    struct model_record *record = model_record(model, queue, key);
    if (!sync->staged[key].is_given) {
        if (record->exists && sync->prune)
            model_fail(model, "sync: q%u k%u was not pruned", queue, key);
    } else if (!record->exists) {
        model_fail(model, "sync: q%u k%u was not created", queue, key);
    } else if (sync->item_status[key] == STATUS_CHANGED) {
        struct model_put put = whole(sync, &sync->staged[key]);
        if (!is_out(record))
            model_fail(model, "sync: q%u k%u was not changed", queue, key);
        model_merge(&record->pending, &put);
        model_change(model, record);
    }
}

void model_sync_finish(struct model *model, struct model_sync *sync)
{
    for (uint32_t key = 0; key < model->keys; key++)
        if (!sync->is_applied[key] && !sync->is_touched[key])
            end_key(model, sync, key);
}

static void end_commit(const struct model_step *step, struct model_sync *sync)
{
    struct model *model = step->model;
    struct sync_counts counts;
    model_sync_finish(model, sync);
    if (!sched_sync_counts(model->core->sched, sync->generation, &counts))
        model_fail(model, "sync: there are no counts");
    else if (counts.created != sync->counts.created || counts.pruned != sync->counts.pruned ||
             counts.rejected != sync->rejected ||
             counts.created + counts.changed + counts.unchanged + counts.rejected + counts.kept <
                 sync->lines)
        model_fail(model,
                   "sync: counted +%llu ~%llu =%llu, %llu rejected, %llu kept, %llu pruned; "
                   "expected +%llu, %u rejected, %llu pruned of %u lines",
                   (unsigned long long)counts.created, (unsigned long long)counts.changed,
                   (unsigned long long)counts.unchanged, (unsigned long long)counts.rejected,
                   (unsigned long long)counts.kept, (unsigned long long)counts.pruned,
                   (unsigned long long)sync->counts.created, sync->rejected,
                   (unsigned long long)sync->counts.pruned, sync->lines);
}

static void check_answer(const struct model_step *step, const struct model_sync *sync,
                         enum status status)
{
    struct model *model = step->model;
    bool breaks = breaks_guard(model, sync);
    bool is_expected =
        sync->is_mismatch            ? status == STATUS_MISMATCH
        : status == STATUS_NO_MEMORY ? sync->was_short
        : status == STATUS_PRUNE_GUARD
            ? breaks || sync->broke_guard
            : status == STATUS_OK && !(breaks && sync->broke_guard && !sync->any_applied);
    if (!is_expected)
        model_fail(model, "commit: answered %s%s", status_name(status),
                   sync->broke_guard ? " beyond the guard" : "");
    if (status && sync->any_applied)
        model_fail(model, "commit: refused with %s, and something was changed",
                   status_name(status));
}

void model_sync_slice(const struct model_step *step)
{
    struct model *model = step->model;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        struct model_sync *sync = &model->now.syncs[queue];
        if (!sync->generation || (!sync->is_committed && !sync->request))
            continue;
        for (uint32_t key = 0; key < model->keys && sync->is_committed; key++)
            apply_key(step, sync, key);
        sync->was_short |= model->is_short;
        bool is_done = false;
        enum status status = STATUS_OK;
        for (size_t i = 0; i < step->effect_count; i++)
            if (step->effects[i].kind == EFFECT_SYNC_DONE &&
                step->effects[i].number == sync->generation) {
                is_done = true;
                status = step->effects[i].status;
            }
        /* After a restart, or when its session is gone, nobody is answered. */
        if (!is_done && sched_sync_exists(model->core->sched, sync->generation))
            continue;
        if (is_done)
            check_answer(step, sync, status);
        if (sync->is_committed && status == STATUS_OK && (is_done || sync->any_applied))
            end_commit(step, sync);
        else if (sync->is_committed && !is_done) /* carried out on leased ones only, or refused */
            model_sync_doubt(model, sync);
        sync->generation = sync->request = 0;
    }
}
