#include "session_private.h"

static int64_t lost_us(const struct session *session)
{
    return HEARTBEATS_LOST * session->heartbeat_us;
}

static int64_t later_of(int64_t a_us, int64_t b_us)
{
    return a_us > b_us ? a_us : b_us;
}

/* After a stall of our own (a suspended machine) the silence was ours: what the broker sent
 * meanwhile may still be on its way up to us, so it gets one more heartbeat. An idle session is
 * woken once a heartbeat, a little late each time: that is no stall. */
static void forgive_own_stall(struct session *session, int64_t now_us)
{
    if (now_us - session->passed_us <= 2 * session->heartbeat_us)
        return;
    session->heard_us =
        later_of(session->heard_us, now_us - lost_us(session) + session->heartbeat_us);
    session->opened_us =
        later_of(session->opened_us, now_us - session->greeting_us + session->heartbeat_us);
}

static void send_later_ones(struct session *session, int64_t now_us)
{
    while (session->later.first && session->later.first->due_us <= now_us)
        session_resend(session, session->later.first);
}

/* An answer that does not come was lost; asking twice does no harm. */
static void repeat_unanswered(struct session *session, int64_t now_us)
{
    while (session->inflight.first && now_us - session->inflight.first->sent_us >= lost_us(session))
        session_requeue(session, inflight_take_first(&session->inflight));
}

/* The newest first: the oldest are next. */
static void give_back_beyond(struct session *session, uint32_t credit)
{
    struct lease *previous;
    for (struct lease *lease = session->held.last; lease && session->held.count > credit;
         lease = previous) {
        previous = lease->previous;
        session_take_back(session, lease);
    }
}

static void follow_pace(struct session *session, struct moment now)
{
    uint32_t credit = pace_pass(&session->pace, now.mono_us, session->held.count > 0);
    if (session->stopping || session->options.credit_most <= session->options.credit)
        return;
    bool is_less = credit < session->credit;
    session_set_credit(session, credit);
    if (is_less)
        give_back_beyond(session, credit);
}

static void pass_live(struct session *session, struct moment now)
{
    if (now.mono_us - session->heard_us >= lost_us(session)) {
        session_break(session, now);
        return;
    }
    int64_t last_us = later_of(session->heard_us, session->pinged_us);
    if (now.mono_us - last_us >= session->heartbeat_us)
        session->ping_wanted = true;
    repeat_unanswered(session, now.mono_us);
    send_later_ones(session, now.mono_us);
    follow_pace(session, now);
}

void session_pass(struct session *session, struct moment now)
{
    if (session->state == SESSION_GREETING || session->state == SESSION_LIVE)
        forgive_own_stall(session, now.mono_us);
    session->passed_us = now.mono_us;
    switch (session->state) {
    case SESSION_LIVE:
        pass_live(session, now);
        break;
    case SESSION_GREETING:
        if (now.mono_us - session->opened_us >= session->greeting_us)
            session_break(session, now);
        break;
    case SESSION_CLOSED:
        if (now.mono_us >= session->reopen_us)
            session->reopen = true;
        break;
    case SESSION_ENDED:
        break;
    }
    if (session->leaving && session->state != SESSION_LIVE && session_has_settled(session))
        session->state = SESSION_ENDED;
}

static void earlier(int64_t *until_us, int64_t us)
{
    if (us < *until_us)
        *until_us = us;
}

int64_t session_wait_until(const struct session *session)
{
    int64_t until_us = TIME_US_NEVER;
    switch (session->state) {
    case SESSION_LIVE:
        earlier(&until_us, session->heard_us + lost_us(session));
        earlier(&until_us, later_of(session->heard_us, session->pinged_us) + session->heartbeat_us);
        if (session->inflight.first)
            earlier(&until_us, session->inflight.first->sent_us + lost_us(session));
        if (session->later.first)
            earlier(&until_us, session->later.first->due_us);
        if (session->held.count > 0)
            earlier(&until_us, session->touch_us);
        if (!session->stopping)
            earlier(&until_us, pace_wait_until(&session->pace));
        break;
    case SESSION_GREETING:
        return session->opened_us + session->greeting_us;
    case SESSION_CLOSED:
        return session->reopen_us;
    case SESSION_ENDED:
        break;
    }
    return until_us;
}
