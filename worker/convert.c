#include "convert.h"

#include "bounds.h"

static bool fits(struct everdue_bytes bytes, uint32_t bytes_max)
{
    return !bytes.data || bytes.count <= bytes_max;
}

void convert_task(const struct task *task, const char *queue, struct everdue_task *public_task)
{
    *public_task = (struct everdue_task){
        .key = convert_out(task->name.key),
        .queue = queue,
        .lease = task->name.lease,
        .state = task->state,
        .due_us = task->due_us,
        .lateness_us = task->lateness_us,
        .failures = task->failures,
        .crashes = task->crashes,
        .rank = task->rank,
        .every_us = task->every_us,
        .once = task->once,
        .payload = convert_out(task->payload),
        .memo = convert_out(task->memo),
        .group = convert_out(task->group),
    };
}

/* --- results ---------------------------------------------------------------------------------- */

static bool is_time(int64_t us)
{
    return us == EVERDUE_ABSENT || (us >= 0 && us < TIME_US_END);
}

static enum status check_result(const struct everdue_result *result, uint32_t payload_bytes_max)
{
    if (!fits(result->memo, payload_bytes_max) || !fits(result->payload, payload_bytes_max))
        return STATUS_TOO_LARGE;
    if (!is_time(result->next_us) || !is_time(result->in_us))
        return STATUS_BAD_TIME;
    if ((unsigned)result->outcome >= OUTCOME_COUNT || (unsigned)result->cause >= CAUSE_COUNT)
        return STATUS_BAD_FIELD;
    return STATUS_OK;
}

static struct bytes cut(struct everdue_bytes text)
{
    if (text.data && text.count > NOTE_BYTES_MAX + 4)
        text.count = NOTE_BYTES_MAX + 4; /* the cut below looks for a character's end */
    return bytes_cut_utf8(convert_in(text), NOTE_BYTES_MAX);
}

enum status convert_result(const struct everdue_result *result, uint32_t payload_bytes_max,
                           struct report *report)
{
    enum status status = check_result(result, payload_bytes_max);
    report->due_us = TIME_US_NEVER;
    report->in_us = TIME_US_NEVER;
    report->note = cut(result->note);
    if (status) {
        report->outcome = OUTCOME_RETRY;
        report->cause = CAUSE_FAILED;
        report->error = bytes_of(status_text(status));
        return status;
    }
    report->outcome = (enum outcome)result->outcome;
    report->due_us = result->next_us;
    report->in_us = result->in_us;
    report->memo = convert_in(result->memo);
    report->payload = convert_in(result->payload);
    report->has_rank = result->has_rank;
    report->rank = result->rank;
    report->error = cut(result->error);
    report->cause = (enum cause)result->cause;
    return STATUS_OK;
}

_Static_assert(EVERDUE_ABSENT == TIME_US_NEVER, "a time that is not given is the same in both");
_Static_assert((int)EVERDUE_REMOVE == (int)OUTCOME_REMOVE, "outcomes are the same in both");
_Static_assert((int)EVERDUE_CAUSE_KILLED == (int)CAUSE_KILLED, "causes are the same in both");

/* --- records ---------------------------------------------------------------------------------- */

enum status convert_put(const struct everdue_put *public_put, struct put *put)
{
    if (!fits(public_put->key, KEY_BYTES_MAX) || !public_put->key.data)
        return STATUS_BAD_KEY;
    if (!fits(public_put->group, GROUP_BYTES_MAX))
        return STATUS_BAD_FIELD;
    if (!fits(public_put->payload, PAYLOAD_BYTES_MAX) || !fits(public_put->memo, PAYLOAD_BYTES_MAX))
        return STATUS_TOO_LARGE;
    *put = (struct put){
        .key = convert_in(public_put->key),
        .due_us = public_put->due_us,
        .in_us = public_put->in_us,
        .every_us = public_put->every_us,
        .has_rank = public_put->has_rank,
        .rank = public_put->rank,
        .group = convert_in(public_put->group),
        .has_once = public_put->has_once,
        .once = public_put->once,
        .payload = convert_in(public_put->payload),
        .memo = convert_in(public_put->memo),
    };
    return STATUS_OK;
}

void convert_record(const struct record_view *view, struct everdue_record *record)
{
    *record = (struct everdue_record){
        .key = convert_out(view->key),
        .status = (enum everdue_record_status)view->status,
        .due_us = view->due_us,
        .every_us = view->every_us,
        .rank = view->rank,
        .group = convert_out(view->group),
        .once = view->once,
        .failures = view->failures,
        .crashes = view->crashes,
        .state = view->state,
        .payload = convert_out(view->payload),
        .memo = convert_out(view->memo),
        .note = convert_out(view->note),
        .error = convert_out(view->error),
        .park_reason = convert_out(view->park_reason),
        .parked_us = view->parked_us,
        .last_worker = convert_out(view->last_worker),
    };
}
