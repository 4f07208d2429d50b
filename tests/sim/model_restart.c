/* model_restart.c - what a crash leaves: all that is durable, and nothing else. */
#include "model.h"

#include <string.h>

static void forget_lease(struct model_record *record, struct moment now)
{
    record->lease = record->delivered = record->delivered_before = 0;
    record->changed_seal = record->numbered_seal = 0;
    record->is_unconfirmed = record->is_take = record->was_grantable = false;
    record->is_held =
        record->exists && !record->is_parked && (record->due_us <= now.wall_us || record->crashes);
}

/* A commit goes on after a restart if its marker was written, unless it had been carried out;
 * without a marker nothing had been changed. How far it had come shows only where leases end.
 * Returns whether that is so. */
static bool restart_sync(struct model *model, struct model_sync *sync)
{
    bool goes_on = sched_sync_exists(model->core->sched, sync->generation);
    bool is_committed = sync->generation && sync->is_committed;
    bool is_finished = is_committed && !goes_on && sync->any_applied;
    sync->request = 0;
    if (is_finished)
        model_sync_finish(model, sync);
    else if (is_committed)
        model_sync_doubt(model, sync);
    if (!sync->is_committed || !goes_on)
        sync->generation = 0;
    return is_committed && !is_finished;
}

/* There is a grace when a session that works on queues was known. */
static void begin_grace(struct model *model, struct moment now)
{
    bool any = false;
    for (int uid = 0; uid < 256; uid++) {
        any |= model->now.is_known[uid];
        model->is_expected[uid] = model->now.is_known[uid];
    }
    struct sched_numbers numbers;
    sched_get_numbers(model->core->sched, (struct bytes){NULL, 0}, now, &numbers);
    model->in_grace = numbers.is_in_grace;
    if (numbers.is_in_grace && !any)
        model_fail(model, "there is a grace for nobody");
    if (!numbers.is_in_grace && any)
        model_fail(model, "there is no grace for the sessions that were known");
    model->grace_end_mono_us = now.mono_us + model->settings.grace_us;
}

/* What has a change pending is held, so it shows whether there may be one. */
static void settle_doubt(struct model *model, struct model_record *record)
{
    struct record_view view;
    record->is_held |= model_view(model, record, &view) && view.status == RECORD_LEASED;
    record->alternative.is_given = record->is_held;
}

static void restart_queue(struct model *model, uint32_t queue, struct moment now)
{
    bool has_doubt = restart_sync(model, &model->now.syncs[queue]);
    for (uint32_t key = 0; key < model->keys; key++) {
        struct model_record *record = model_record(model, queue, key);
        forget_lease(record, now);
        record->is_held &= model->in_grace;
        /* What has a change pending was out when the broker ended, whatever its due is. */
        record->is_held |= record->pending.is_given || record->run_now;
    }
    if (has_doubt) /* what is held now, and was not out before */
        model_sync_doubt(model, &model->now.syncs[queue]);
    for (uint32_t key = 0; key < model->keys; key++)
        if (model_record(model, queue, key)->alternative.is_given)
            settle_doubt(model, model_record(model, queue, key));
}

void model_restart(struct model *model, struct core *core, struct moment now)
{
    model->core = core;
    model->now = model->sealed = model->durable;
    model->seal = model->durable_seal = 0;
    model->accepting_count = 0;
    model->number_max_restart = model->number_max;
    model->park_count = 0;
    model->is_draining = false;
    model->hold_mono_us = 0;
    model->is_short = model->is_short_lately = model->is_work_put_off = false;
    model->time_wall_us = now.wall_us;
    memset(model->sessions, 0, sizeof(model->sessions));
    memset(model->takes, 0, sizeof(model->takes));
    memset(model->removed, 0, sizeof(model->removed));
    model->take_end = model->removed_end = 0;
    memset(model->is_back, 0, sizeof(model->is_back));
    memset(model->kick_request, 0, sizeof(model->kick_request));
    begin_grace(model, now);
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
        restart_queue(model, queue, now);
    model->has_held = true;
    model_compare_all(model, now);
}
