/* model_time.c - sessions, the passing of time, and who gets what. */
#include "model.h"

#include <string.h>

enum { SLACK_US = 1000000 };

/* --- sessions --------------------------------------------------------------------------------- */

static void drop_takes(struct model *model, uint32_t session)
{
    for (int i = 0; i < MODEL_TAKES; i++)
        if (model->takes[i].request && model->takes[i].session == session)
            model->takes[i].request = 0;
}

/* Leases that the session brought over from the one before and did not announce are given back. */
static void drop_unconfirmed(const struct model_step *step, uint32_t session)
{
    for (struct model_record *record = model_first(step->model); record < model_end(step->model);
         record++)
        if (record->lease && record->session == session && record->is_unconfirmed)
            model_lose(step, record, false);
}

static void all_announced(const struct model_step *step, uint32_t session)
{
    struct model *model = step->model;
    model_forget_removed(model, 0, session, false);
    model->sessions[session].resume_left = 0;
    model->is_back[model->sessions[session].uid] = true;
    drop_unconfirmed(step, session);
}

void model_announced(const struct model_step *step, uint32_t session)
{
    struct model_session *of = &step->model->sessions[session];
    if (of->resume_left && --of->resume_left == 0)
        all_announced(step, session);
}

void model_end_session(const struct model_step *step, uint32_t session, bool is_counted)
{
    struct model *model = step->model;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        if (record->lease && record->session == session)
            model_lose(step, record, is_counted && !record->is_unconfirmed);
    drop_takes(model, session);
    model_forget_removed(model, 0, session, true);
    model_sync_drop_session(model, session);
    model->now.is_known[model->sessions[session].uid] = false;
    model->sessions[session].is_there = false;
}

static uint32_t find_uid(const struct model *model, uint8_t uid)
{
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++)
        if (model->sessions[i].is_there && model->sessions[i].uid == uid)
            return i;
    return MODEL_SESSIONS;
}

uint32_t model_count_leases(struct model *model, uint32_t session, bool with_taken)
{
    uint32_t count = 0;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        count += record->lease && record->session == session && (with_taken || !record->is_take);
    for (int i = 0; i < MODEL_REMOVED; i++)
        count += model->removed[i].lease && model->removed[i].session == session &&
                 (with_taken || !model->removed[i].is_take);
    return count;
}

/* The same process over another connection: its leases are its own until it has announced. */
static void replace_session(const struct model_step *step, uint32_t old)
{
    struct model *model = step->model;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        if (record->lease && record->session == old) {
            record->session = step->event->session;
            record->is_unconfirmed = true;
        }
    for (int i = 0; i < MODEL_REMOVED; i++)
        if (model->removed[i].session == old) {
            model->removed[i].session = step->event->session;
            model->removed[i].is_unconfirmed = true;
        }
    drop_takes(model, old);
    model_sync_drop_session(model, old);
    model->sessions[old].is_there = false;
}

void model_hello(const struct model_step *step)
{
    struct model *model = step->model;
    const struct hello *hello = step->event->hello;
    const struct sched_limits *limits = &model->settings.limits;
    int64_t grace_us = model->settings.grace_us;
    model_expect(step, STATUS_OK, "hello");
    uint32_t old = find_uid(model, hello->uid[0]);
    if (old < MODEL_SESSIONS)
        replace_session(step, old);
    struct model_session *session = &model->sessions[step->event->session];
    *session = (struct model_session){
        .is_there = true,
        .uid = hello->uid[0],
        .credit = hello->credit < limits->credit_max ? hello->credit : limits->credit_max,
        .resume_left = hello->resume_count,
        .lease_us =
            hello->lease_ms ? hello->lease_ms * (int64_t)US_PER_MS : model->settings.lease_us,
        .heartbeat_us = hello->heartbeat_ms ? hello->heartbeat_ms * (int64_t)US_PER_MS
                                            : model->settings.heartbeat_us,
        .seen_mono_us = step->now.mono_us,
        .lost_mono_us = TIME_US_NEVER,
        .resume_end_mono_us = step->now.mono_us + (grace_us < US_PER_S ? US_PER_S : grace_us),
        .queue_count = hello->queue_count,
    };
    for (uint32_t i = 0; i < hello->queue_count; i++) {
        session->queues[i] = model_index(hello->queues[i]);
        session->works_on[session->queues[i]] = true;
    }
    if (old < MODEL_SESSIONS)
        model->now.is_known[session->uid] = false;
    /* One that may hold leases is waited for after a restart. */
    bool is_awaited = model->in_grace && model->is_expected[session->uid];
    if (session->credit || is_awaited || model_count_leases(model, step->event->session, true))
        model_make_known(model, step->event->session);
    if (session->resume_left == 0)
        all_announced(step, step->event->session);
}

void model_goodbye(const struct model_step *step)
{
    model_expect(step, STATUS_OK, "goodbye");
    model_end_session(step, step->event->session, false);
}

void model_disconnect(const struct model_step *step)
{
    struct model_session *session = &step->model->sessions[step->event->session];
    session->lost_mono_us = step->now.mono_us + step->event->wait_us;
    drop_takes(step->model, step->event->session);
    if (step->event->wait_us == 0)
        model_end_session(step, step->event->session, true);
}

/* --- time ------------------------------------------------------------------------------------- */

/* While its connection is broken it is waited for; else it is lost after three silent heartbeats.
 */
static int64_t session_end_us(const struct model_session *session)
{
    if (session->lost_mono_us != TIME_US_NEVER)
        return session->lost_mono_us;
    return session->seen_mono_us + HEARTBEATS_LOST * session->heartbeat_us;
}

static void end_sessions(const struct model_step *step, bool may_wait)
{
    struct model *model = step->model;
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++) {
        const struct model_session *session = &model->sessions[i];
        bool is_lost = model_lost_session(step, i);
        if (!session->is_there) {
            if (is_lost)
                model_fail(model, "session %u was lost and is not there", i);
            continue;
        }
        bool is_due = session_end_us(session) <= step->now.mono_us;
        if (is_lost && !is_due)
            model_fail(model, "session %u was lost too early", i);
        if (!is_lost && is_due && !may_wait)
            model_fail(model, "session %u should be lost", i);
        if (is_lost)
            model_end_session(step, i, true);
    }
}

/* A session that announces fewer leases than it said is waited for no longer. After a stall the
 * core may wait a little, so it shows whether it did. */
static void end_announcing(const struct model_step *step, bool may_wait)
{
    struct model *model = step->model;
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++) {
        const struct model_session *session = &model->sessions[i];
        struct sched_session_view view;
        if (!session->is_there || !session->resume_left)
            continue;
        if (!sched_view_session(model->core->sched, i, &view)) {
            model_fail(model, "session %u is not there", i);
            continue;
        }
        bool is_due = session->resume_end_mono_us <= step->now.mono_us;
        if (!view.announcing && !is_due)
            model_fail(model, "session %u was given up too early", i);
        if (view.announcing && is_due && !may_wait)
            model_fail(model, "session %u is waited for for ever", i);
        if (!view.announcing)
            all_announced(step, i);
    }
}

static bool is_leased_in_core(struct model *model, const struct model_record *record)
{
    struct record_view view;
    return model_view(model, record, &view) && view.status == RECORD_LEASED;
}

static void end_leases(const struct model_step *step, bool may_wait)
{
    struct model *model = step->model;
    for (struct model_record *record = model_first(model); record < model_end(model); record++) {
        if (!record->lease || record->lease_end_mono_us > step->now.mono_us)
            continue;
        if (may_wait && is_leased_in_core(model, record))
            continue;
        if (record->session != MODEL_DETACHED &&
            !model_has_effect(step, EFFECT_CANCEL, record->lease))
            model_fail(model, "lease %llu ended and was not cancelled",
                       (unsigned long long)record->lease);
        model_lose(step, record, !record->is_unconfirmed);
    }
    for (int i = 0; i < MODEL_REMOVED; i++)
        if (model->removed[i].end_mono_us <= step->now.mono_us &&
            (!may_wait || model_has_effect(step, EFFECT_CANCEL, model->removed[i].lease)))
            model->removed[i].lease = 0;
}

/* Records held back since the restart are let go, in slices, when the grace is over. */
void model_let_go(const struct model_step *step)
{
    struct model *model = step->model;
    struct sched_numbers numbers;
    sched_get_numbers(model->core->sched, (struct bytes){NULL, 0}, step->now, &numbers);
    bool must_be_over = step->event->kind == EVENT_TIME &&
                        step->now.mono_us >= model->grace_end_mono_us &&
                        step->now.mono_us >= model->hold_mono_us;
    int missed = 0;
    for (int uid = 0; uid < 256; uid++)
        if (model->is_expected[uid] && !model->is_back[uid])
            missed = uid;
    if (numbers.is_in_grace && must_be_over)
        model_fail(model, "the grace should be over");
    if (!numbers.is_in_grace && model->in_grace && missed &&
        step->now.mono_us < model->grace_end_mono_us)
        model_fail(model, "the grace is over too early: process %d is not back", missed);
    for (int uid = 0; uid < 256 && model->in_grace && !numbers.is_in_grace; uid++)
        if (model->is_expected[uid] && !model->is_back[uid] &&
            find_uid(model, (uint8_t)uid) == MODEL_SESSIONS)
            model->now.is_known[uid] = false; /* nobody waits for it any more */
    model->in_grace = numbers.is_in_grace;
    bool any = false;
    for (struct model_record *record = model_first(model); record < model_end(model); record++) {
        if (!record->is_held)
            continue;
        any = true;
        if (model->in_grace || is_leased_in_core(model, record))
            continue;
        model_lose(step, record, false);
    }
    bool is_going = any || sched_has_work(model->core->sched);
    if (model->has_held && !model->in_grace && !is_going)
        for (int i = 0; i < MODEL_TAKES;
             i++) /* those that waited for this may go on in the next turn */
            if (model->takes[i].deadline_mono_us < step->now.mono_us + SLACK_US)
                model->takes[i].deadline_mono_us = step->now.mono_us + SLACK_US;
    model->has_held = is_going;
    if (any && !model->in_grace && !sched_has_work(model->core->sched))
        for (struct model_record *record = model_first(model); record < model_end(model); record++)
            if (record->is_held)
                model_fail(model, "q%u k%u is held for ever", model_queue_of(model, record),
                           model_key_of(model, record));
}

static bool is_grantable(const struct model *model, const struct model_record *record,
                         struct moment now)
{
    return record->exists && !record->is_parked && !record->lease && !record->is_held &&
           record->due_us <= now.wall_us && record->numbered_seal <= model->durable_seal &&
           !model->now.is_paused[model_queue_of(model, record)] && !model->is_draining;
}

void model_time(const struct model_step *step)
{
    struct model *model = step->model;
    if (step->event->stalled_us > 0)
        model->hold_mono_us = step->now.mono_us + US_PER_S;
    bool may_wait = step->now.mono_us < model->hold_mono_us;
    end_sessions(step, may_wait);
    end_announcing(step, may_wait);
    end_leases(step, may_wait);
    model->time_wall_us = step->now.wall_us;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        record->was_grantable =
            is_grantable(model, record, step->now) && record->changed_seal <= model->durable_seal;
    model_check_tasks(step);
}

void model_work(const struct model_step *step)
{
    model_kick_slice(step);
    model_sync_slice(step);
}

/* --- grants ----------------------------------------------------------------------------------- */

static struct model_take *find_take(struct model *model, uint64_t request)
{
    for (int i = 0; i < MODEL_TAKES; i++)
        if (model->takes[i].request && model->takes[i].request == request)
            return &model->takes[i];
    return NULL;
}

static void check_order(const struct model_step *step, struct model_record *granted)
{
    struct model *model = step->model;
    uint32_t queue = model_queue_of(model, granted);
    for (uint32_t key = 0; key < MODEL_KEYS; key++) {
        const struct model_record *other = model_record(model, queue, key);
        if (other == granted || !other->was_grantable || !is_grantable(model, other, step->now))
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
    if (!is_grantable(model, record, step->now))
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
    if (!effect->request && model_count_leases(model, effect->session, false) >= session->credit)
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
    if (!take->granted && take->deadline_mono_us > step->now.mono_us + SLACK_US)
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
    for (struct model_record *record = model_first(model); record < model_end(model); record++) {
        if (!record->was_grantable || !is_grantable(model, record, step->now))
            continue;
        uint32_t queue = model_queue_of(model, record);
        for (uint32_t i = 0; i < MODEL_SESSIONS; i++) {
            const struct model_session *session = &model->sessions[i];
            if (session->is_there && session->works_on[queue] && !session->resume_left &&
                model_may_hold(model, i) && session->lost_mono_us == TIME_US_NEVER &&
                model_count_leases(model, i, false) < session->credit)
                model_fail(model, "q%u k%u is ready, session %u has credit, and nothing comes",
                           queue, model_key_of(model, record), i);
        }
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
    check_no_idle_credit(step);
    for (int i = 0; i < MODEL_TAKES; i++)
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
