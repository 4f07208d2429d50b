#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* What a report is about, once it has been found. */
struct target {
    struct queue *queue;
    struct session *session; /* who reports */
    uint32_t slot;           /* of the record */
    uint32_t lease;          /* SLAB_NONE: ended, or of an earlier run */
};

/* --- accepted or not -------------------------------------------------------------------------- */

/* The numbers rule for a lease that is not live: accepted if it is the last that was delivered for
 * this record in this run, or if there was none. */
static enum status judge_late(const struct sched *sched, const struct report *report, uint32_t slot)
{
    const struct record *record = record_at(sched, slot);
    if (record->state != report->state)
        return STATUS_STALE;
    if (record->where == PLACE_LEASED)
        return STATUS_STALE;
    uint32_t ended = lease_find_ended(sched, slot);
    if (ended != SLAB_NONE)
        return lease_at(sched, ended)->number == report->name.lease ? STATUS_OK : STATUS_STALE;
    if (report->name.lease <= record->state || report->name.lease >= sched->next_number)
        return STATUS_STALE; /* never drawn for this state */
    return STATUS_OK;
}

static bool is_there(const struct sched *sched, uint32_t slot)
{
    return slot != SLAB_NONE && record_is_visible(record_at(sched, slot));
}

/* STATUS_OK: to be applied. STATUS_UNCHANGED: accepted before. */
static enum status judge(struct sched *sched, const struct event *event, struct target *target)
{
    const struct report *report = event->report;
    uint32_t session = session_find(sched, event->session);
    if (session == SLAB_NONE)
        return STATUS_NO_SESSION;
    target->session = session_at(sched, session);
    if (report->name.queue >= target->session->queue_count)
        return STATUS_BAD_FIELD;
    target->queue = sched->queues[target->session->queues[report->name.queue]];
    target->lease = lease_find(sched, report->name.lease);
    if (target->lease != SLAB_NONE) {
        target->slot = lease_at(sched, target->lease)->record;
        if (target->slot == SLAB_NONE)
            return STATUS_GONE;
        const struct record *record = record_at(sched, target->slot);
        bool is_its = record->queue == target->queue->id &&
                      bytes_equal(body_key(record_body(sched, record)), report->name.key);
        if (is_its)
            return record->state == report->state ? STATUS_OK : STATUS_STALE;
        target->lease = SLAB_NONE; /* another record's */
        target->slot = record_find(sched, target->queue, report->name.key);
        return is_there(sched, target->slot) ? STATUS_STALE : STATUS_GONE;
    }
    target->slot = record_find(sched, target->queue, report->name.key);
    if (!is_there(sched, target->slot))
        return STATUS_GONE;
    if (record_at(sched, target->slot)->state == report->name.lease)
        return STATUS_UNCHANGED;
    return judge_late(sched, report, target->slot);
}

/* --- what it does ----------------------------------------------------------------------------- */

/* The smallest due + k x every that lies in the future: the phase is kept, missed runs are skipped.
 */
static int64_t next_by_every(int64_t due_us, int64_t every_us, int64_t wall_us)
{
    if (due_us > wall_us)
        return due_us + every_us;
    int64_t missed = (wall_us - due_us) / every_us;
    return due_us + (missed + 1) * every_us;
}

/* The next due time that the report names, or that follows from it; TIME_US_NEVER: none. */
static int64_t named_due(const struct report *report, struct moment now)
{
    if (report->due_us != TIME_US_NEVER)
        return report->due_us;
    return report->in_us == TIME_US_NEVER ? TIME_US_NEVER : now.wall_us + report->in_us;
}

static bool is_time(int64_t us)
{
    return us == TIME_US_NEVER || (us >= 0 && us < TIME_US_END);
}

static enum status check_fields(const struct sched *sched, const struct report *report,
                                struct moment now)
{
    uint32_t most = sched->settings.limits.payload_bytes_max;
    if (report->payload.count > most || report->memo.count > most)
        return STATUS_TOO_LARGE;
    if (!is_time(report->due_us) || !is_time(report->in_us))
        return STATUS_BAD_TIME;
    int64_t due_us = named_due(report, now);
    return due_us == TIME_US_NEVER || due_us < TIME_US_END ? STATUS_OK : STATUS_BAD_TIME;
}

/* The record's fields as the report leaves them. */
static void overlay(const struct report *report, struct body_fields *fields)
{
    if (report->memo.data)
        fields->memo = report->memo;
    if (report->payload.data)
        fields->payload = report->payload;
    if (report->has_rank)
        fields->rank = report->rank;
    if (report->note.data)
        fields->note = bytes_cut_utf8(report->note, NOTE_BYTES_MAX);
    if (report->outcome == OUTCOME_OK)
        fields->error = (struct bytes){NULL, 0};
    else if (report->error.data)
        fields->error = bytes_cut_utf8(report->error, NOTE_BYTES_MAX);
    fields->park_reason = fields->last_worker = (struct bytes){NULL, 0};
    fields->parked_us = 0;
}

enum parking { PARKS_NOT, PARKS_AS_TOLD, PARKS_BY_COUNT };

/* What becomes of the record: decided before anything is changed. */
struct verdict {
    enum parking parking;
    bool removes;
    bool is_too_often; /* it failed so often that it is parked by count, if the budget allows */
    bool is_put;       /* the due is that of a put that was pending */
    int64_t due_us;
};

/* Whether the body changes at all: as a rule it does not, and nothing is packed. */
static bool changes_body(const struct report *report, const uint8_t *body,
                         const struct pending *pending, const struct verdict *verdict)
{
    return pending || verdict->parking || report->memo.data || report->payload.data ||
           report->has_rank || report->note.data || report->error.data ||
           body_has(body, BODY_ERROR | BODY_PARKED | BODY_PARK_REASON);
}

static enum status decide(const struct sched *sched, const struct event *event,
                          const struct record *record, const struct pending *pending,
                          struct verdict *verdict)
{
    const struct report *report = event->report;
    bool has_put = pending && pending->has_put;
    const uint8_t *body = record_body(sched, record);
    bool ends = report->outcome == OUTCOME_REMOVE ||
                (report->outcome == OUTCOME_OK && body_has(body, BODY_ONCE));
    int64_t due_us = named_due(report, event->now);
    int64_t every_us = body_has(body, BODY_EVERY) ? body_every_us(body) : 0;
    struct put put;
    bool is_put = pending && pending_put(pending, &put);
    /* One that was cleared meanwhile counts once more: the worker was told of it. */
    if (is_put && put.every_us != TIME_US_NEVER && put.every_us > 0)
        every_us = put.every_us;
    verdict->removes = ends && !has_put;
    const struct queue *queue = queue_of(sched, record);
    verdict->is_too_often = report->outcome == OUTCOME_RETRY &&
                            record->failures + 1u >= queue_policy(sched, queue)->failures_max;
    bool by_count = verdict->is_too_often && park_is_allowed(sched, queue, event->now);
    verdict->parking = report->outcome == OUTCOME_PARK ? PARKS_AS_TOLD
                       : by_count                      ? PARKS_BY_COUNT
                                                       : PARKS_NOT;
    if (ends)
        due_us = event->now.wall_us; /* with a put that was pending it stays, due as that says */
    else if (report->outcome == OUTCOME_PARK)
        due_us = (int64_t)record->due_us;
    else if (due_us == TIME_US_NEVER && report->outcome == OUTCOME_RETRY)
        due_us = backoff_due_us(sched, record, record->failures + 1u, event->now);
    else if (due_us == TIME_US_NEVER && every_us)
        due_us = next_by_every((int64_t)record->due_us, every_us, event->now.wall_us);
    verdict->is_put = is_put && put.due_us != TIME_US_NEVER;
    if (verdict->is_put)
        due_us = put.due_us;
    else if (pending && pending->run_now && verdict->parking != PARKS_AS_TOLD)
        due_us = event->now.wall_us;
    if (due_us == TIME_US_NEVER)
        return STATUS_NO_NEXT;
    verdict->due_us = due_us < TIME_US_END ? due_us : TIME_US_END - 1;
    return STATUS_OK;
}

static void count(const struct sched *sched, const struct event *event, const struct target *target)
{
    const struct report *report = event->report;
    struct sched_totals *totals = &target->queue->totals;
    struct session *session = target->session;
    switch (report->outcome) {
    case OUTCOME_OK:
        totals->reports_ok++;
        session->reports_ok++;
        break;
    case OUTCOME_RETRY:
        totals->reports_failed++;
        session->reports_failed++;
        totals->failed_timed_out += report->cause == CAUSE_TIMED_OUT;
        totals->failed_killed += report->cause == CAUSE_KILLED;
        break;
    case OUTCOME_PARK:
        totals->reports_park++;
        break;
    case OUTCOME_REMOVE:
        totals->reports_remove++;
        break;
    }
    if (target->lease == SLAB_NONE) {
        totals->late_accepted++;
        return;
    }
    const struct lease *lease = lease_at(sched, target->lease);
    if (lease->counts_lateness)
        stats_add(&target->queue->start_lateness, event->now.mono_us,
                  lease->lateness_us + report->waited_us);
}

/* The lease, live or ended, is over; the record is in PLACE_NOWHERE. */
static void leave(struct sched *sched, const struct target *target)
{
    if (target->lease != SLAB_NONE) {
        lease_end(sched, target->lease);
        return;
    }
    lease_forget_ended(sched, target->slot);
    record_displace(sched, target->slot);
}

static void set_counts(struct record *record, enum outcome outcome)
{
    if (outcome == OUTCOME_RETRY) {
        record_set_failures(record, record->failures + 1u);
        return;
    }
    if (outcome == OUTCOME_PARK)
        return;
    if (record
            ->failures) /* as a rule neither, and who reads a word just written to in part waits */
        record_set_failures(record, 0);
    if (record->crashes)
        record_set_crashes(record, 0);
}

/* A due that was put meanwhile wins over any back-off. */
static void place_failed(struct sched *sched, const struct event *event, uint32_t slot,
                         const struct verdict *verdict)
{
    struct record *record = record_at(sched, slot);
    int64_t due_us = verdict->due_us;
    if (verdict->parking == PARKS_BY_COUNT) {
        if (verdict->is_put)
            record_set_due(record, due_us);
        park_by_count(sched, slot, event->now);
        return;
    }
    if (verdict->is_too_often && !verdict->is_put)
        due_us = backoff_due_us(sched, record, UINT32_MAX, event->now);
    record_schedule(sched, slot, due_us, event->now);
}

/* A record that is parked keeps its due for whoever looks, or has the one that was put. */
static void park_as_told(struct sched *sched, const struct event *event, uint32_t slot,
                         const struct verdict *verdict)
{
    record_set_due(record_at(sched, slot), verdict->due_us);
    record_park(sched, slot, event->now);
}

static void place(struct sched *sched, const struct event *event, uint32_t slot,
                  const struct verdict *verdict)
{
    if (verdict->removes)
        record_remove(sched, slot);
    else if (verdict->parking == PARKS_AS_TOLD)
        park_as_told(sched, event, slot, verdict);
    else if (event->report->outcome == OUTCOME_RETRY)
        place_failed(sched, event, slot, verdict);
    else
        record_schedule(sched, slot, verdict->due_us, event->now);
}

/* The last step that can fail. */
static enum status change_body(struct sched *sched, const struct event *event,
                               const struct target *target, const struct pending *pending,
                               const struct verdict *verdict)
{
    struct body_fields fields;
    struct put put;
    body_view(record_body(sched, record_at(sched, target->slot)), &fields);
    overlay(event->report, &fields);
    if (pending && pending_put(pending, &put))
        put_overlay(&put, pending->is_full, &fields);
    if (verdict->parking) {
        uint32_t session = session_find(sched, event->session);
        fields.park_reason = verdict->parking == PARKS_BY_COUNT
                                 ? bytes_of("its runs failed too often")
                             : event->report->error.count ? fields.error
                                                          : bytes_of("by its handler");
        fields.last_worker = session_name(sched, session);
        fields.parked_us = event->now.wall_us;
        if (!heap_reserve(&target->queue->parked, target->queue->parked.count + 1))
            return STATUS_NO_MEMORY;
    }
    return record_repack(sched, target->slot, &fields);
}

static enum status apply(struct sched *sched, const struct event *event,
                         const struct target *target)
{
    const struct report *report = event->report;
    struct record *record = record_at(sched, target->slot);
    bool is_pending = record->flags & FLAG_PENDING;
    const struct pending *pending = is_pending ? pending_find(sched, target->slot) : NULL;
    struct verdict verdict;
    enum status status = decide(sched, event, record, pending, &verdict);
    if (!status && !record_reserve(sched, 1))
        status = STATUS_NO_MEMORY;
    bool is_touch = verdict.removes || report->payload.data || report->has_rank;
    if (!status && is_touch)
        status = sync_reserve_touched(sched, target->queue, report->name.key);
    const uint8_t *body = record_body(sched, record);
    if (!status && !verdict.removes && changes_body(report, body, pending, &verdict))
        status = change_body(sched, event, target, pending, &verdict);
    if (status)
        return status;
    if (is_touch)
        sync_note_touched(sched, target->queue, report->name.key);
    count(sched, event, target);
    record_set_state(record, report->name.lease);
    leave(sched, target);
    if (is_pending)
        pending_drop(sched, target->slot);
    set_counts(record, report->outcome);
    record_mark(sched, target->slot);
    place(sched, event, target->slot, &verdict);
    return STATUS_OK;
}

enum status report_step(struct sched *sched, const struct event *event)
{
    struct target target = {.slot = SLAB_NONE, .lease = SLAB_NONE};
    enum status status = judge(sched, event, &target);
    if (status == STATUS_OK)
        status = check_fields(sched, event->report, event->now);
    if (status == STATUS_OK)
        return apply(sched, event, &target);
    if (status == STATUS_UNCHANGED)
        return STATUS_OK;
    if (status == STATUS_GONE && target.lease != SLAB_NONE)
        lease_end(sched, target.lease);
    if (status == STATUS_STALE && target.queue)
        target.queue->totals.stale++;
    return status;
}
