/* model_grant.c - who is given what: never too early, never too much, never what is another's; and
 * nobody waits while there is something for him. */
#include "model.h"

bool model_is_grantable(const struct model *model, const struct model_record *record,
                        struct moment now)
{
    return record->exists && !record->is_parked && !record->lease && !record->is_held &&
           record->due_us <= now.wall_us && record->numbered_seal <= model->durable_seal &&
           !model->now.is_paused[model_queue_of(model, record)] && !model->is_draining;
}

/* --- grants ----------------------------------------------------------------------------------- */

static struct model_take *find_take(struct model *model, uint64_t request)
{
    for (int i = 0; i < model->take_end; i++)
        if (model->takes[i].request && model->takes[i].request == request)
            return &model->takes[i];
    return NULL;
}

static void check_order(const struct model_step *step, struct model_record *granted)
{
    struct model *model = step->model;
    uint32_t queue = model_queue_of(model, granted);
    for (uint32_t key = 0; key < model->keys; key++) {
        const struct model_record *other = model_record(model, queue, key);
        if (other == granted || !other->was_grantable ||
            !model_is_grantable(model, other, step->now))
            continue;
        if (model->is_short) /* it may have to wait in another place */
            continue;
        bool is_first =
            other->fields.rank < granted->fields.rank ||
            (other->fields.rank == granted->fields.rank && other->due_us < granted->due_us);
        if (is_first)
            model_fail(model, "q%u k%u was granted before k%u", queue, model_key_of(model, granted),
                       key);
    }
}

/* What the task says against the record. */
static void check_task(const struct model_step *step, const struct effect *effect,
                       const struct task *task, const struct model_record *record)
{
    struct model *model = step->model;
    if (!model_is_grantable(model, record, step->now))
        model_fail(model, "q%u k%u was granted and may not be: due in %lld us, lease %llu%s%s",
                   model_queue_of(model, record), model_key_of(model, record),
                   (long long)(record->due_us - step->now.wall_us),
                   (unsigned long long)record->lease, record->is_held ? ", held" : "",
                   record->numbered_seal > model->durable_seal ? ", not durable" : "");
    if (effect->number <= model->number_max)
        model_fail(model, "lease %llu is not above %llu", (unsigned long long)effect->number,
                   (unsigned long long)model->number_max);
    if (task->name.lease != effect->number || task->state != record->state ||
        task->due_us != record->due_us || task->failures != record->failures ||
        task->crashes != record->crashes || task->every_us != record->fields.every_us ||
        task->rank != record->fields.rank ||
        task->lateness_us != step->now.wall_us - record->due_us ||
        model_index(task->payload) != record->fields.payload ||
        model_index(task->memo) != record->fields.memo)
        model_fail(model, "the task of q%u k%u differs from the record",
                   model_queue_of(model, record), model_key_of(model, record));
}

uint32_t model_credit(const struct model_step *step, uint32_t number)
{
    struct model *model = step->model;
    const struct model_session *session = &model->sessions[number];
    int64_t first_us = session->expired_mono_us[0];
    bool is_suspect = first_us && step->now.mono_us - first_us < model->settings.suspect_us;
    if (is_suspect != sched_is_suspect(model->core->sched, number, step->now))
        model_fail(model, "session %u is %ssuspect", number, is_suspect ? "not " : "");
    return is_suspect && session->credit > 1 ? 1 : session->credit;
}

static void check_receiver(const struct model_step *step, const struct effect *effect,
                           uint32_t queue, bool detached)
{
    struct model *model = step->model;
    if (!detached && !model_may_hold(model, effect->session))
        model_fail(model, "a task for session %u, which a crash would forget", effect->session);
    const struct model_session *session = &model->sessions[effect->session];
    if (!session->is_there || session->lost_mono_us != TIME_US_NEVER)
        model_fail(model, "a task for session %u, which is not connected", effect->session);
    if (!session->works_on[queue])
        model_fail(model, "session %u does not work on q%u", effect->session, queue);
    if (!effect->request && session->resume_left)
        model_fail(model, "a task for session %u, which has %u leases to announce", effect->session,
                   session->resume_left);
    if (!effect->request &&
        model_count_leases(model, effect->session, false) >= model_credit(step, effect->session))
        model_fail(model, "session %u has no credit left", effect->session);
}

static void take_task(const struct model_step *step, const struct effect *effect)
{
    struct model *model = step->model;
    struct model_session *session = &model->sessions[effect->session];
    struct model_take *take = effect->request ? find_take(model, effect->request) : NULL;
    struct task task;
    if (!sched_view_task(model->core->sched, effect, step->now, &task)) {
        model_fail(model, "lease %llu has no task", (unsigned long long)effect->number);
        return;
    }
    uint32_t queue = session->queues[task.name.queue];
    struct model_record *record = model_record(model, queue, model_index(task.name.key));
    check_task(step, effect, &task, record);
    check_receiver(step, effect, queue, take && take->detached);
    check_order(step, record);
    if (effect->request && (!take || take->queue != queue || ++take->granted > take->max))
        model_fail(model, "lease %llu is for no take", (unsigned long long)effect->number);
    record->delivered_before = record->delivered;
    record->delivered = record->lease = effect->number;
    record->is_take = take;
    record->session = take && take->detached ? MODEL_DETACHED : effect->session;
    record->lease_us = take && take->lease_us ? take->lease_us : session->lease_us;
    record->lease_end_mono_us = step->now.mono_us + record->lease_us;
    if (task.lease_ms != record->lease_us / US_PER_MS)
        model_fail(model, "lease %llu is of %u ms", (unsigned long long)effect->number,
                   task.lease_ms);
    model->number_max = effect->number > model->number_max ? effect->number : model->number_max;
    model_touch(model, record);
}

static void end_take(const struct model_step *step, const struct effect *effect)
{
    struct model_take *take = find_take(step->model, effect->request);
    if (!take) {
        model_fail(step->model, "a take ended that is not there");
        return;
    }
    if (take->granted != effect->count)
        model_fail(step->model, "a take of %u ended with %llu", take->granted,
                   (unsigned long long)effect->count);
    if (!take->granted && take->deadline_mono_us > step->now.mono_us + MODEL_SLACK_US)
        model_fail(step->model, "a take ended too early");
    take->request = 0;
}

void model_check_tasks(const struct model_step *step)
{
    for (size_t i = 0; i < step->effect_count; i++) {
        if (step->effects[i].kind == EFFECT_TASK)
            take_task(step, &step->effects[i]);
        if (step->effects[i].kind == EFFECT_TAKEN)
            end_take(step, &step->effects[i]);
    }
}

/* A record waits for nothing while somebody who works on its queue has credit. */
static void check_no_idle_credit(const struct model_step *step)
{
    struct model *model = step->model;
    const struct model_record *ready[MODEL_QUEUES] = {NULL};
    bool any = false;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        if (record->was_grantable && model_is_grantable(model, record, step->now)) {
            ready[model_queue_of(model, record)] = record;
            any = true;
        }
    for (uint32_t i = 0; any && i < MODEL_SESSIONS; i++) {
        const struct model_session *session = &model->sessions[i];
        bool is_here = session->is_there && !session->resume_left && model_may_hold(model, i) &&
                       session->lost_mono_us == TIME_US_NEVER;
        if (!is_here || model_count_leases(model, i, false) >= model_credit(step, i))
            continue;
        for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++)
            if (ready[queue] && session->works_on[queue])
                model_fail(model, "q%u k%u is ready, session %u has credit, and nothing comes",
                           queue, model_key_of(model, ready[queue]), i);
    }
}

/* It waits for its session to be durable, and then for time to pass. */
static bool is_put_off(const struct model_step *step, const struct model_take *take)
{
    return !take->detached && (!model_may_hold(step->model, take->session) ||
                               step->model->durable_mono_us == step->now.mono_us);
}

void model_grant(const struct model_step *step)
{
    struct model *model = step->model;
    model_check_tasks(step);
    if (!model->is_short) /* without memory nothing is handed out */
        check_no_idle_credit(step);
    for (int i = 0; i < model->take_end; i++)
        if (model->takes[i].request && !model->in_grace && !model->has_held &&
            model->takes[i].deadline_mono_us < step->now.mono_us &&
            step->now.mono_us >= model->hold_mono_us && !is_put_off(step, &model->takes[i]))
            model_fail(model, "a take waits for too long");
}

void model_take(const struct model_step *step)
{
    struct model *model = step->model;
    const struct take *take = step->event->take;
    if (model->is_draining && step->status == STATUS_DRAINING)
        return;
    model_expect(step, STATUS_OK, "take");
    if (!take->detached)
        model_make_known(model, step->event->session);
    for (int i = 0; i < MODEL_TAKES; i++) {
        if (model->takes[i].request)
            continue;
        model->take_end = i < model->take_end ? model->take_end : i + 1;
        model->takes[i] = (struct model_take){
            .request = step->event->request,
            .session = step->event->session,
            .queue = model->sessions[step->event->session].queues[take->queue],
            .max = take->max,
            .deadline_mono_us = step->now.mono_us + take->wait_ms * (int64_t)US_PER_MS,
            .lease_us = take->lease_ms * (int64_t)US_PER_MS,
            .detached = take->detached,
        };
        break;
    }
    model_check_tasks(step);
}
