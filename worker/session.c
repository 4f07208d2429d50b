#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

enum {
    BACKOFF_MAX_US = US_PER_S,
    GREETING_MAX_US = 8 * US_PER_S,
};

struct session *session_new(const struct session_options *options)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->options = *options;
    session->credit = options->credit;
    session->lease_us = (int64_t)LEASE_MS_DEFAULT * US_PER_MS;
    session->heartbeat_us = (int64_t)HEARTBEAT_MS_DEFAULT * US_PER_MS;
    session->payload_bytes_max = PAYLOAD_BYTES_DEFAULT;
    session->touch_us = TIME_US_NEVER;
    session->backoff_us = SESSION_BACKOFF_FIRST_US;
    session->greeting_us = SESSION_GREETING_FIRST_US;
    pace_init(&session->pace, options->credit, options->credit_most);
    const uint32_t most =
        options->credit_most > options->credit ? options->credit_most : options->credit;
    if (!lease_table_init(&session->table, most)) {
        free(session);
        return NULL;
    }
    return session;
}

void session_destroy(struct session **session)
{
    struct session *old = *session;
    if (!old)
        return;
    *session = NULL;
    session_drop_announcements(old);
    inflight_release(&old->inflight);
    lease_blocks_release(&old->blocks);
    lease_table_release(&old->table);
    wire_buffer_release(&old->frame);
    free(old->wishes);
    free(old);
}

/* --- the connection --------------------------------------------------------------------------- */

void session_opened(struct session *session, struct moment now)
{
    if (session->state == SESSION_ENDED)
        return;
    session->state = SESSION_GREETING;
    session->hello_sent = false;
    session->pong_count = 0;
    session->ping_wanted = false;
    session->opened_us = now.mono_us;
    session->heard_us = now.mono_us;
    session->pinged_us = now.mono_us;
    session->passed_us = now.mono_us;
    if (session->options.credit_most > session->options.credit) {
        pace_begin(&session->pace, now.mono_us);
        session_set_credit(session, session->options.credit); /* HELLO says it */
    }
}

void session_open_failed(struct session *session, struct moment now)
{
    session->reopen_us = now.mono_us + BACKOFF_MAX_US;
}

void session_drop_announcements(struct session *session)
{
    while (session->announcements) {
        struct announcement *first = session->announcements;
        session->announcements = first->next;
        wire_buffer_release(&first->frame);
        inflight_free(&session->inflight, first->request);
        free(first);
    }
}

void session_requeue(struct session *session, struct request *request)
{
    bool are_reports = request->type == MESSAGE_REPORT;
    while (request->leases.last) {
        struct lease *lease = request->leases.last;
        if (are_reports)
            lease_list_prepend(&session->ready, lease, LEASE_READY);
        else
            lease_list_prepend(&session->returning, lease, LEASE_RETURNING);
        session->counts.repeated += are_reports;
    }
    inflight_free(&session->inflight, request);
}

/* Newest first, so that the oldest stand in front again. */
static void requeue_all(struct session *session)
{
    struct request *reversed = NULL;
    struct request *request;
    while ((request = inflight_take_first(&session->inflight))) {
        request->next = reversed;
        reversed = request;
    }
    while (reversed) {
        request = reversed;
        reversed = request->next;
        request->next = NULL;
        session_requeue(session, request);
    }
}

void session_resend(struct session *session, struct lease *lease)
{
    if (session_is_report(lease)) {
        session->counts.repeated++;
        lease_list_append(&session->ready, lease, LEASE_READY);
    } else {
        lease_list_append(&session->returning, lease, LEASE_RETURNING);
    }
}

/* Another connection is another try. */
static void requeue_later_ones(struct session *session)
{
    while (session->later.first)
        session_resend(session, session->later.first);
}

void session_forget_unbegun(struct session *session)
{
    if (session->state == SESSION_LIVE || session->announcements)
        return;
    struct lease *next;
    for (struct lease *lease = session->returning.first; lease; lease = next) {
        next = lease->next;
        if (!lease->give_back_begun)
            session_end_lease(session, lease);
    }
}

static void break_until(struct session *session, int64_t reopen_us)
{
    if (session->state == SESSION_ENDED)
        return;
    session->state = SESSION_CLOSED;
    session->reopen_us = reopen_us;
    session->goodbye_id = 0;
    session->wish_count = 0;
    session_drop_announcements(session);
    requeue_all(session);
    requeue_later_ones(session);
    session_forget_unbegun(session);
}

/* Half of the back-off is drawn from uid and time, so that the workers of one broker part. */
static int64_t jittered(const struct session *session, int64_t backoff_us, int64_t mono_us)
{
    uint64_t hash = (uint64_t)mono_us * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < SESSION_UID_BYTES; i++)
        hash = (hash ^ session->options.uid[i]) * 0x100000001b3u;
    return backoff_us / 2 + (int64_t)(hash >> 32) % (backoff_us / 2 + 1);
}

static void back_off(struct session *session, struct moment now)
{
    break_until(session, now.mono_us + jittered(session, session->backoff_us, now.mono_us));
    session->backoff_us *= 2;
    if (session->backoff_us > BACKOFF_MAX_US)
        session->backoff_us = BACKOFF_MAX_US;
}

void session_break(struct session *session, struct moment now)
{
    if (session->state == SESSION_GREETING && session->greeting_us < GREETING_MAX_US)
        session->greeting_us *= 2;
    back_off(session, now);
}

void session_link_broke(struct session *session, struct moment now)
{
    if (session->state == SESSION_LIVE || session->state == SESSION_GREETING)
        back_off(session, now);
}

void session_break_at_once(struct session *session, struct moment now)
{
    break_until(session, now.mono_us);
}

bool session_wants_reopen(struct session *session)
{
    bool reopen = session->reopen && session->state == SESSION_CLOSED;
    session->reopen = false;
    return reopen;
}

/* --- stopping --------------------------------------------------------------------------------- */

static void copy_text(char *room, struct bytes text)
{
    snprintf(room, SESSION_TEXT_BYTES, "%.*s", (int)text.count,
             text.data ? (const char *)text.data : "");
}

void session_set_credit(struct session *session, uint32_t credit)
{
    if (session->stopping || credit == session->credit)
        return;
    session->credit = credit;
    session->credit_changed = true;
}

bool session_take_back(struct session *session, struct lease *lease)
{
    if (!lease_revoke(lease))
        return false;
    lease_table_remove(&session->table, lease);
    lease_list_append(&session->returning, lease, LEASE_RETURNING);
    return true;
}

void session_stop(struct session *session, enum status status, struct bytes reason)
{
    if (session->stopping)
        return;
    session_set_credit(session, 0);
    session->stopping = true;
    session->stop_status = status;
    copy_text(session->stop_reason, bytes_cut_utf8(reason, SESSION_TEXT_BYTES - 1));

    struct lease *next;
    for (struct lease *lease = session->held.first; lease; lease = next) {
        next = lease->next;
        session_take_back(session, lease);
    }
    session_forget_unbegun(session);
}

void session_leave(struct session *session)
{
    session_stop(session, STATUS_OK, bytes_of("the worker ends"));
    session->leaving = true;
    while (session->held.first) { /* runs that nobody will report: crashes of their records */
        struct lease *lease = session->held.first;
        lease_table_remove(&session->table, lease);
        lease->give_back_begun = true;
        lease_list_append(&session->returning, lease, LEASE_RETURNING);
    }
}

bool session_has_settled(const struct session *session)
{
    if (session->ready.count + session->later.count + session->returning.count > 0)
        return false;
    for (const struct request *request = session->inflight.first; request; request = request->next)
        if (request->leases.count > 0)
            return false;
    return true;
}

/* --- looking ---------------------------------------------------------------------------------- */

enum session_state session_state(const struct session *session)
{
    return session->state;
}

const struct session_counts *session_counts(const struct session *session)
{
    return &session->counts;
}

bool session_is_stopping(const struct session *session)
{
    return session->stopping;
}

enum status session_stop_status(const struct session *session, const char **reason)
{
    *reason = session->stop_reason;
    return session->stop_status;
}

uint32_t session_payload_bytes_max(const struct session *session)
{
    return session->payload_bytes_max;
}

struct lease_chain session_take_arrived(struct session *session)
{
    struct lease_chain arrived = session->arrived;
    session->arrived = (struct lease_chain){0};
    return arrived;
}

void session_note_refusal(struct session *session, enum status status, struct bytes text)
{
    if (!text.data)
        text = bytes_of(status_text(status));
    session->refusal = status;
    copy_text(session->refusal_text, bytes_cut_utf8(text, SESSION_TEXT_BYTES - 1));
}

enum status session_take_refusal(struct session *session, const char **text)
{
    enum status status = session->refusal;
    *text = session->refusal_text;
    session->refusal = STATUS_OK;
    return status;
}
