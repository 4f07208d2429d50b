/* model_records.c - what clients do to records (design: what each command means). */
#include "model.h"

#include <string.h>

struct model_put model_read_put(const struct put *put, struct moment now)
{
    int64_t in_us = put->in_us != TIME_US_NEVER ? put->in_us : 0;
    struct model_put read = {
        .is_given = true,
        .has_due = put->due_us != TIME_US_NEVER || put->in_us != TIME_US_NEVER,
        .has_every = put->every_us != TIME_US_NEVER,
        .has_rank = put->has_rank,
        .has_payload = put->payload.data,
        .has_memo = put->memo.data,
        .has_group = put->group.data,
        .has_once = put->has_once,
        .due_us = put->due_us != TIME_US_NEVER ? put->due_us : now.wall_us + in_us,
        .fields =
            {
                .every_us = put->every_us,
                .rank = put->rank,
                .payload = model_index(put->payload),
                .memo = model_index(put->memo),
                .group = model_index(put->group),
                .once = put->once,
            },
    };
    return read;
}

void model_overlay(struct model_fields *fields, const struct model_put *put)
{
    if (put->has_every)
        fields->every_us = put->fields.every_us;
    if (put->has_rank)
        fields->rank = put->fields.rank;
    if (put->has_payload)
        fields->payload = put->fields.payload;
    if (put->has_memo)
        fields->memo = put->fields.memo;
    if (put->has_group)
        fields->group = put->fields.group;
    if (put->has_once)
        fields->once = put->fields.once;
}

void model_merge(struct model_put *into, const struct model_put *put)
{
    into->is_given = true;
    model_overlay(&into->fields, put);
    into->has_every |= put->has_every;
    into->has_rank |= put->has_rank;
    into->has_payload |= put->has_payload;
    into->has_memo |= put->has_memo;
    into->has_group |= put->has_group;
    into->has_once |= put->has_once;
    if (put->has_due)
        into->due_us = put->due_us;
    into->has_due |= put->has_due;
}

static struct model_record *named_record(const struct model_step *step)
{
    return model_record(step->model, model_index(step->event->key.queue),
                        model_index(step->event->key.key));
}

static bool is_out(const struct model_record *record)
{
    return record->lease || record->is_held;
}

static void create(const struct model_step *step, struct model_record *record,
                   const struct model_put *put)
{
    *record = (struct model_record){
        .exists = true,
        .due_us = put->has_due ? put->due_us : step->now.wall_us,
    };
    model_overlay(&record->fields, put);
    record->life = ++step->model->now.created;
    model_renumber(step->model, record);
}

void model_put(const struct model_step *step)
{
    struct model *model = step->model;
    uint32_t queue = model_index(step->event->put.queue);
    uint32_t key = model_index(step->event->put.put->key);
    struct model_put put = model_read_put(step->event->put.put, step->now);
    struct model_record *record = model_record(model, queue, key);
    model_sync_touch(model, queue, key);
    if (!record->exists) {
        model_expect(step, STATUS_CREATED, "put of a new key");
        create(step, record, &put);
    } else if (is_out(record)) {
        model_expect(step, STATUS_PENDING, "put on a leased record");
        model_merge(&record->pending, &put);
        if (record->alternative.is_given)
            model_merge(&record->alternative, &put);
        model_change(model, record);
    } else {
        model_expect(step, STATUS_CHANGED, "put on a record");
        model_overlay(&record->fields, &put);
        if (put.has_due)
            record->due_us = put.due_us;
        model_renumber(model, record);
    }
}

void model_forget_removed(struct model *model, uint64_t lease, uint32_t session, bool all)
{
    for (int i = 0; i < model->removed_end; i++) {
        struct model_removed *removed = &model->removed[i];
        bool is_its = removed->session == session && (all || removed->is_unconfirmed);
        if (lease ? removed->lease == lease : is_its)
            removed->lease = 0;
    }
}

static void remember_lease(struct model *model, const struct model_record *record)
{
    int place = 0;
    while (place < MODEL_REMOVED - 1 && model->removed[place].lease)
        place++;
    model->removed_end = place < model->removed_end ? model->removed_end : place + 1;
    model->removed[place] = (struct model_removed){
        .lease = record->lease,
        .session = record->session,
        .queue = model_queue_of(model, record),
        .key = model_key_of(model, record),
        .end_mono_us = record->lease_end_mono_us,
        .is_take = record->is_take,
        .is_unconfirmed = record->is_unconfirmed,
    };
}

void model_drop_record(struct model *model, struct model_record *record)
{
    if (record->lease)
        remember_lease(model, record);
    *record = (struct model_record){.changed_seal = 0};
    model->now.removed++;
    model_change(model, record);
}

void model_remove(const struct model_step *step)
{
    struct model_record *record = named_record(step);
    if (!record->exists) {
        model_expect(step, STATUS_NOT_FOUND, "remove of an unknown key");
        return;
    }
    model_expect(step, STATUS_OK, "remove");
    model_sync_touch(step->model, model_index(step->event->key.queue),
                     model_index(step->event->key.key));
    if (record->lease && record->session != MODEL_DETACHED &&
        !model_has_effect(step, EFFECT_CANCEL, record->lease))
        model_fail(step->model, "remove: lease %llu was not cancelled",
                   (unsigned long long)record->lease);
    model_drop_record(step->model, record);
}

void model_run_now(const struct model_step *step)
{
    struct model_record *record = named_record(step);
    if (!record->exists) {
        model_expect(step, STATUS_NOT_FOUND, "run-now of an unknown key");
    } else if (is_out(record)) {
        model_expect(step, STATUS_PENDING, "run-now of a leased record");
        record->run_now = true;
        record->pending.has_due = false; /* of the two the last counts */
        record->alternative.has_due = false;
        model_change(step->model, record);
    } else if (record->is_parked) {
        model_expect(step, STATUS_PARKED, "run-now of a parked record");
    } else {
        model_expect(step, STATUS_OK, "run-now");
        struct record_view view;
        /* One that is ready may stay as it is. */
        bool is_kept = record->due_us <= step->now.wall_us &&
                       model_view(step->model, record, &view) && view.state == record->state;
        model_touch(step->model, record);
        if (is_kept)
            return;
        record->due_us = step->now.wall_us;
        model_renumber(step->model, record);
    }
}

static void unpark(const struct model_step *step, struct model_record *record)
{
    record->is_parked = false;
    record->failures = record->crashes = 0;
    record->due_us = step->now.wall_us;
    model_renumber(step->model, record);
}

void model_kick(const struct model_step *step)
{
    struct model_record *record = named_record(step);
    if (!record->exists) {
        model_expect(step, STATUS_NOT_FOUND, "kick of an unknown key");
    } else if (is_out(record)) {
        model_expect(step, STATUS_LEASED, "kick of a leased record");
    } else if (!record->is_parked) {
        model_expect(step, STATUS_NOT_PARKED, "kick of a record that is not parked");
    } else {
        model_expect(step, STATUS_OK, "kick");
        unpark(step, record);
    }
}

/* A kick of all is carried out in slices: each parked record is kicked at one of them. */
void model_kick_slice(const struct model_step *step)
{
    struct model *model = step->model;
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        if (!model->kick_request[queue])
            continue;
        bool is_over = false;
        for (size_t i = 0; i < step->effect_count; i++)
            is_over |= step->effects[i].kind == EFFECT_KICKED &&
                       step->effects[i].request == model->kick_request[queue];
        for (uint32_t key = 0; key < model->keys; key++) {
            struct model_record *record = model_record(model, queue, key);
            struct record_view view;
            if (!record->is_parked || is_out(record))
                continue;
            bool is_parked = model_view(model, record, &view) && view.status == RECORD_PARKED;
            if (!is_parked)
                unpark(step, record);
        }
        if (is_over)
            model->kick_request[queue] = 0;
    }
}
