/* model_time.c - sessions and the passing of time. */
#include "model.h"

#include <string.h>

/* --- sessions --------------------------------------------------------------------------------- */

static void drop_takes(struct model *model, uint32_t session)
{
    for (int i = 0; i < model->take_end; i++)
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
    for (int i = 0; i < model->removed_end; i++)
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
    for (int i = 0; i < model->removed_end; i++)
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
    struct model_session before = {.expired_mono_us = {0}};
    if (old < MODEL_SESSIONS) /* as suspect as before */
        before = model->sessions[old];
    *session = (struct model_session){
        .is_there = true,
        .expired_mono_us = {before.expired_mono_us[0], before.expired_mono_us[1],
                            before.expired_mono_us[2]},
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

/* One that is held on shows as leased, too. */
static bool was_lost_in_core(struct model *model, const struct model_record *record)
{
    struct record_view view;
    return !is_leased_in_core(model, record) ||
           (model_view(model, record, &view) && view.crashes > record->crashes);
}

static void note_expired(struct model_session *session, int64_t mono_us)
{
    int64_t *expired = session->expired_mono_us;
    if (expired[2] && mono_us - expired[2] < US_PER_S)
        return;
    expired[0] = expired[1];
    expired[1] = expired[2];
    expired[2] = mono_us;
}

static void end_leases(const struct model_step *step, bool may_wait)
{
    struct model *model = step->model;
    for (struct model_record *record = model_first(model); record < model_end(model); record++) {
        if (!record->lease || record->lease_end_mono_us > step->now.mono_us)
            continue;
        bool is_cancelled = model_has_effect(step, EFFECT_CANCEL, record->lease);
        if (may_wait && !is_cancelled && !was_lost_in_core(model, record)) {
            if (model->is_short) /* it may have been put aside */
                model->hold_mono_us = step->now.mono_us + MODEL_SLACK_US;
            continue;
        }
        if (record->session != MODEL_DETACHED && !is_cancelled)
            model_fail(model, "lease %llu ended and was not cancelled",
                       (unsigned long long)record->lease);
        if (record->session != MODEL_DETACHED && !record->is_unconfirmed)
            note_expired(&model->sessions[record->session], step->now.mono_us);
        model_lose(step, record, !record->is_unconfirmed);
    }
    for (int i = 0; i < model->removed_end; i++)
        if (model->removed[i].end_mono_us <= step->now.mono_us &&
            (!may_wait || model_has_effect(step, EFFECT_CANCEL, model->removed[i].lease)))
            model->removed[i].lease = 0;
}

/* A grace ends once and does not come again: until then the core is asked. */
static void end_grace(const struct model_step *step)
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
    if (!numbers.is_in_grace && missed && step->now.mono_us < model->grace_end_mono_us)
        model_fail(model, "the grace is over too early: process %d is not back", missed);
    for (int uid = 0; uid < 256 && !numbers.is_in_grace; uid++)
        if (model->is_expected[uid] && !model->is_back[uid] &&
            find_uid(model, (uint8_t)uid) == MODEL_SESSIONS)
            model->now.is_known[uid] = false; /* nobody waits for it any more */
    model->in_grace = numbers.is_in_grace;
}

/* Returns whether any is still held. */
static bool let_go_records(const struct model_step *step)
{
    struct model *model = step->model;
    bool any = false;
    for (struct model_record *record = model_first(model); record < model_end(model); record++) {
        if (!record->is_held)
            continue;
        any = true;
        if (!model->in_grace && !is_leased_in_core(model, record))
            model_lose(step, record, false);
    }
    return any;
}

/* A commit that waits for what it has put off lets all long work wait. */
static bool is_commit_under_way(const struct model *model)
{
    for (uint32_t queue = 0; queue < MODEL_QUEUES; queue++) {
        const struct model_sync *sync = &model->now.syncs[queue];
        if (sync->is_committed && sched_sync_exists(model->core->sched, sync->generation))
            return true;
    }
    return false;
}

/* Records held back since the restart are let go, in slices, when the grace is over. */
void model_let_go(const struct model_step *step)
{
    struct model *model = step->model;
    /* These come between all others and end no grace. */
    bool is_routine = step->event->kind == EVENT_GRANT || step->event->kind == EVENT_SEEN;
    if (model->in_grace && !is_routine)
        end_grace(step);
    bool any = let_go_records(step);
    bool has_work =
        sched_has_work(model->core->sched) || model->is_work_put_off || is_commit_under_way(model);
    bool is_going = any || has_work;
    if (model->has_held && !model->in_grace && !is_going)
        for (int i = 0; i < model->take_end;
             i++) /* those that waited for this may go on in the next turn */
            if (model->takes[i].deadline_mono_us < step->now.mono_us + MODEL_SLACK_US)
                model->takes[i].deadline_mono_us = step->now.mono_us + MODEL_SLACK_US;
    model->has_held = is_going;
    if (!any || model->in_grace || has_work)
        return;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        if (record->is_held)
            model_fail(model, "q%u k%u is held for ever", model_queue_of(model, record),
                       model_key_of(model, record));
}

void model_time(const struct model_step *step)
{
    struct model *model = step->model;
    if (step->event->stalled_us > 0)
        model->hold_mono_us = step->now.mono_us + US_PER_S;
    bool may_wait = step->now.mono_us < model->hold_mono_us;
    model->is_short_lately = model->is_short;
    if (step->now.mono_us >= model->work_mono_us)
        model->is_work_put_off = false;
    end_sessions(step, may_wait);
    end_announcing(step, may_wait);
    end_leases(step, may_wait);
    model_sync_idle(step, may_wait);
    model->time_wall_us = step->now.wall_us;
    for (struct model_record *record = model_first(model); record < model_end(model); record++)
        record->was_grantable = model_is_grantable(model, record, step->now) &&
                                record->changed_seal <= model->durable_seal && !model->is_short;
    model_check_tasks(step);
}

void model_work(const struct model_step *step)
{
    struct model *model = step->model;
    if (model->is_short) { /* it goes on a little later, and is not asked for before */
        model->is_work_put_off = true;
        model->work_mono_us = step->now.mono_us + MODEL_SLACK_US;
    }
    model_kick_slice(step);
    model_sync_slice(step);
}
