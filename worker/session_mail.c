#include "session_private.h"

#include <stdlib.h>

/* --- how leases end --------------------------------------------------------------------------- */

void session_end_lease(struct session *session, struct lease *lease)
{
    lease_list_remove(lease);
    if (!lease->at_caller)
        lease_blocks_drop(&session->blocks, lease);
}

static void end_report(struct session *session, struct lease *lease)
{
    session->counts.outbox--;
    session_end_lease(session, lease);
}

void session_cancel(struct session *session, struct lease *lease)
{
    atomic_store(&lease->ends_us, 0);
    lease_table_remove(&session->table, lease);
    if (lease_revoke(lease))
        session_end_lease(session, lease);
    else
        lease_list_append(&session->cancelled, lease, LEASE_CANCELLED);
}

bool session_is_report(const struct lease *lease)
{
    /* In this order: the mail of a lease that the caller has is the caller's to write. */
    return !lease->at_caller && lease->mail == LEASE_MAIL_REPORT;
}

static void drop_list(struct session *session, struct lease_list *list)
{
    while (list->first) {
        struct lease *lease = list->first;
        session->counts.dropped++;
        if (lease->place == LEASE_HELD) {
            lease_table_remove(&session->table, lease);
            lease_revoke(lease);
        }
        atomic_store(&lease->ends_us, 0);
        if (session_is_report(lease))
            end_report(session, lease);
        else
            session_end_lease(session, lease);
    }
}

void session_drop_all(struct session *session)
{
    drop_list(session, &session->held);
    drop_list(session, &session->cancelled);
    drop_list(session, &session->ready);
    drop_list(session, &session->later);
    drop_list(session, &session->returning);
    struct request *request;
    while ((request = inflight_take_first(&session->inflight))) {
        drop_list(session, &request->leases);
        inflight_free(&session->inflight, request);
    }
    session_drop_announcements(session);
    session->wish_count = 0;
}

/* --- what the caller sends back --------------------------------------------------------------- */

static void give_back(struct session *session, struct lease *lease, bool begun)
{
    lease->give_back_begun = begun;
    lease_list_append(&session->returning, lease, LEASE_RETURNING);
    session_forget_unbegun(session);
}

static void report(struct session *session, struct lease *lease)
{
    session->counts.reported++;
    session->counts.outbox++;
    if (lease->place == LEASE_NOWHERE) {
        session->counts.refused++;
        end_report(session, lease);
        return;
    }
    lease_list_append(&session->ready, lease, LEASE_READY);
}

void session_mail(struct session *session, struct lease *lease)
{
    lease->at_caller = false;
    if (lease->place == LEASE_HELD)
        lease_table_remove(&session->table, lease);
    if (lease->mail == LEASE_MAIL_REPORT) {
        pace_finish(&session->pace);
        report(session, lease);
        return;
    }
    switch (lease->place) {
    case LEASE_HELD:
        give_back(session, lease, lease->mail == LEASE_MAIL_BEGUN);
        break;
    case LEASE_NOWHERE:
    case LEASE_CANCELLED:
        session_end_lease(session, lease);
        break;
    case LEASE_READY:
    case LEASE_LATER:
    case LEASE_RETURNING:
    case LEASE_SENT:
        break; /* revoked before; it is freed when the broker has answered */
    }
}

bool session_touch(struct session *session, uint64_t lease, uint32_t lease_ms)
{
    if (session->state != SESSION_LIVE || session->wish_count == TOUCH_WISHES_MAX)
        return true;
    if (session->wish_count == session->wish_room) {
        uint32_t room = session->wish_room ? 2 * session->wish_room : 16;
        struct touch_wish *wishes = realloc(session->wishes, room * sizeof(*wishes));
        if (!wishes)
            return false;
        session->wishes = wishes;
        session->wish_room = room;
    }
    session->wishes[session->wish_count++] = (struct touch_wish){lease, lease_ms};
    return true;
}

/* --- answers to reports ----------------------------------------------------------------------- */

/* What passes by itself: the same report is sent again. */
static bool is_for_later(enum status status)
{
    return status == STATUS_BUSY || status == STATUS_NO_SPACE || status == STATUS_NO_MEMORY ||
           status == STATUS_IO || status == STATUS_DRAINING || status == STATUS_TIMED_OUT ||
           status == STATUS_LOCKED || status == STATUS_INTERRUPTED || status == STATUS_NO_SESSION ||
           status == STATUS_UNREACHABLE;
}

/* A report that is refused for what it says would be refused for ever: say so in another, so that
 * the record backs off and people see why. False: no memory. */
static bool replace(struct lease *lease, enum status status)
{
    struct report_sheet *sheet = report_sheet_new();
    if (!sheet)
        return false;
    const struct everdue_task *task = &lease->task;
    const struct report report = {
        .name = {lease->queue, {task->key.data, (uint32_t)task->key.count}, task->lease},
        .state = task->state,
        .outcome = OUTCOME_RETRY,
        .due_us = TIME_US_NEVER,
        .in_us = TIME_US_NEVER,
        .error = bytes_of(status_text(status)),
        .cause = CAUSE_FAILED,
    };
    sheet->reports = 1;
    report_write(&sheet->bytes, &report);
    if (sheet->bytes.failed) {
        report_sheet_drop(sheet);
        return false;
    }
    report_sheet_drop(lease->sheet);
    lease->sheet = sheet;
    lease->report_offset = 0;
    lease->report_bytes = (uint32_t)sheet->bytes.count;
    lease->replaced = true;
    return true;
}

static void give_back_unreported(struct session *session, struct lease *lease, bool begun)
{
    session->counts.outbox--;
    lease->mail = begun ? LEASE_MAIL_BEGUN : LEASE_MAIL_UNBEGUN;
    give_back(session, lease, begun);
}

void session_settle_report(struct session *session, struct lease *lease, enum status status,
                           struct moment now)
{
    if (status >= 0) {
        session->counts.acknowledged++;
        end_report(session, lease);
    } else if (status == STATUS_STALE || status == STATUS_GONE) {
        session->counts.refused++;
        end_report(session, lease);
    } else if (status == STATUS_NO_NEXT) {
        session->counts.refused++;
        give_back_unreported(session, lease, false);
        session_stop(session, STATUS_NO_NEXT, bytes_of(status_text(STATUS_NO_NEXT)));
    } else if (is_for_later(status)) {
        lease->due_us = now.mono_us + SESSION_LATER_US;
        lease_list_append(&session->later, lease, LEASE_LATER);
    } else if (!lease->replaced && replace(lease, status)) {
        session_note_refusal(session, status, (struct bytes){NULL, 0});
        lease_list_append(&session->ready, lease, LEASE_READY);
    } else {
        session->counts.refused++;
        session_note_refusal(session, status, (struct bytes){NULL, 0});
        give_back_unreported(session, lease, true);
    }
}
