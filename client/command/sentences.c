#include "sentences.h"

#include <stdio.h>

#include "quantity.h"

/* A head that is later than this is worth being called late. */
enum { HEAD_LATE_US = 5000000 };
/* So long nothing comes of no full set that goes on. */
enum { SYNC_IDLE_US = 60000000 };

struct report {
    struct text *text;
    const struct row *stats;
    unsigned faults;
};

static int64_t number(const struct report *report, const char *name)
{
    return row_number(report->stats, name, 0);
}

/* "1 record", "300,000 records". */
static const char *counted(int64_t count, const char *noun, char room[QUANTITY_TEXT_BYTES * 2])
{
    char digits[QUANTITY_TEXT_BYTES];
    count_format(count > 0 ? (uint64_t)count : 0, digits);
    snprintf(room, QUANTITY_TEXT_BYTES * 2, "%s %s%s", digits, noun, count == 1 ? "" : "s");
    return room;
}

/* --- the queues in sum ------------------------------------------------------------------------ */

void sentences_queues_init(struct sentences_queues *queues)
{
    *queues = (struct sentences_queues){.count = 0};
    text_init(&queues->paused);
    text_init(&queues->parked);
    text_init(&queues->idle);
    text_init(&queues->syncs);
}

void sentences_queues_release(struct sentences_queues *queues)
{
    text_release(&queues->paused);
    text_release(&queues->parked);
    text_release(&queues->idle);
    text_release(&queues->syncs);
}

static void add_sync(struct text *text, const struct row *queue)
{
    char age[QUANTITY_TEXT_BYTES], idle[QUANTITY_TEXT_BYTES];
    int64_t idle_us = row_number(queue, "sync_idle_s", 0) * 1000000;
    if (idle_us < SYNC_IDLE_US)
        return;
    text_add_string(text, "! A full set of ");
    row_add_text(queue, "name", text);
    text_add_string(text, " stands open, no other can begin: ");
    row_add_text(queue, "sync_by", text);
    text_add_format(text, " began it %s ago and was not heard for %s. Is it stuck? Stop it\n",
                    span_format(row_number(queue, "sync_age_s", 0) * 1000000, age),
                    span_format(idle_us, idle));
}

static void add_name(struct text *names, const struct row *queue)
{
    if (names->count > 0)
        text_add_string(names, ", ");
    row_add_text(queue, "name", names);
}

void sentences_add_queue(struct sentences_queues *queues, const struct row *queue)
{
    bool is_paused = row_number(queue, "paused", 0) != 0;
    queues->count++;
    add_sync(&queues->syncs, queue);
    if (is_paused)
        add_name(&queues->paused, queue);
    if (row_number(queue, "parked", 0) > 0)
        add_name(&queues->parked, queue);
    if (!is_paused && row_number(queue, "ready", 0) > 0 && row_number(queue, "workers", 1) == 0)
        add_name(&queues->idle, queue);
}

/* --- what is wrong ---------------------------------------------------------------------------- */

static void say_grants(struct report *report, const struct sentences_queues *queues)
{
    char room[QUANTITY_TEXT_BYTES * 2], span[QUANTITY_TEXT_BYTES];
    int64_t head_us = number(report, "head_lateness_us");
    int64_t ready = number(report, "ready");
    if (number(report, "safe_mode") > 0) {
        report->faults++;
        text_add_string(report->text,
                        "! Safe mode: the broker crashed several times within a minute. Its log "
                        "says why. To end that: everdue resume\n");
    }
    if (number(report, "draining") > 0) {
        report->faults++;
        text_add_string(report->text,
                        "! The broker drains and grants nothing. To end that: everdue resume\n");
    }
    if (queues->paused.count > 0) {
        report->faults++;
        text_add_format(report->text, "! Paused: %s. To end that: everdue resume QUEUE\n",
                        queues->paused.data);
    }
    if (queues->syncs.count > 0) {
        report->faults++;
        text_add(report->text, queues->syncs.data, queues->syncs.count);
    }
    if (ready > 0 && number(report, "workers") == 0) {
        report->faults++;
        text_add_format(report->text,
                        "! Nobody works: %s due, and no worker is connected. Start: "
                        "everdue-worker --queue QUEUE -- COMMAND\n",
                        counted(ready, "record", room));
    } else if (queues->idle.count > 0) {
        report->faults++;
        text_add_format(report->text,
                        "! Nobody works on %s: records are due, and no worker that is connected "
                        "asks for them. Start: everdue-worker --queue QUEUE -- COMMAND\n",
                        queues->idle.data);
    }
    if (head_us > HEAD_LATE_US) {
        report->faults++;
        text_add_format(report->text,
                        "! Work is late: the first in line has waited for %s, %s due. More "
                        "workers, or are they stuck? See: everdue workers\n",
                        span_format(head_us, span), counted(ready, "record", room));
    }
}

static void say_store(struct report *report, const struct sentences_queues *queues)
{
    char room[QUANTITY_TEXT_BYTES * 2];
    int64_t parked = number(report, "parked");
    if (number(report, "disk_short") > 0) {
        report->faults++;
        text_add_string(report->text,
                        "! The disk is all but full: new records and sets are refused "
                        "until there is space\n");
    }
    if (parked > 0) {
        report->faults++;
        text_add_format(report->text,
                        "! Set aside after failures: %s of %s. See: everdue list --state parked "
                        "--queue QUEUE; bring back: everdue kick --queue QUEUE\n",
                        counted(parked, "record", room),
                        queues->parked.count > 0 ? queues->parked.data : "one queue or more");
    }
}

/* --- how it is -------------------------------------------------------------------------------- */

static void describe_records(const struct report *report, const struct sentences_queues *queues)
{
    char records[QUANTITY_TEXT_BYTES * 2], number_of[QUANTITY_TEXT_BYTES * 2];
    char waiting[QUANTITY_TEXT_BYTES], ready[QUANTITY_TEXT_BYTES], leased[QUANTITY_TEXT_BYTES];
    text_add_format(report->text, "%s in %s: %s waiting, %s due now, %s out at workers.\n",
                    counted(number(report, "records"), "record", records),
                    counted((int64_t)queues->count, "queue", number_of),
                    count_format((uint64_t)number(report, "waiting"), waiting),
                    count_format((uint64_t)number(report, "ready"), ready),
                    count_format((uint64_t)number(report, "leased"), leased));
}

static void describe_lateness(const struct report *report)
{
    char head[QUANTITY_TEXT_BYTES], median[QUANTITY_TEXT_BYTES], high[QUANTITY_TEXT_BYTES];
    char most[QUANTITY_TEXT_BYTES];
    int64_t head_us = number(report, "head_lateness_us");
    int64_t most_us = number(report, "lateness_max_us");
    if (head_us > 0)
        text_add_format(report->text, "The first in line is %s late.", span_format(head_us, head));
    else
        text_add_string(report->text, "Nothing waits longer than it should.");
    if (most_us > 0)
        text_add_format(report->text,
                        " In the last minute half were handed out within %s, 99%% within %s, the "
                        "last after %s.",
                        span_format(number(report, "lateness_p50_us"), median),
                        span_format(number(report, "lateness_p99_us"), high),
                        span_format(most_us, most));
    text_add_string(report->text, "\n");
}

static void describe_workers(const struct report *report)
{
    char workers[QUANTITY_TEXT_BYTES * 2], done[QUANTITY_TEXT_BYTES];
    char failed[QUANTITY_TEXT_BYTES], expired[QUANTITY_TEXT_BYTES];
    int64_t count = number(report, "workers");
    text_add_format(report->text,
                    "%s %s connected; runs so far: %s ok, %s failed, %s leases "
                    "expired.\n",
                    counted(count, "worker", workers), count == 1 ? "is" : "are",
                    count_format((uint64_t)number(report, "reports_ok_total"), done),
                    count_format((uint64_t)number(report, "reports_failed_total"), failed),
                    count_format((uint64_t)number(report, "expired_total"), expired));
}

/* A clock that was set within the last day may be why records come late or soon. */
static void describe_clock(const struct report *report)
{
    enum { DAY_S = 86400 };
    char step[QUANTITY_TEXT_BYTES], ago[QUANTITY_TEXT_BYTES];
    int64_t step_ms = row_number(report->stats, "clock_step_ms", 0);
    int64_t ago_s = row_number(report->stats, "clock_step_ago_s", 0);
    if (step_ms == 0 || ago_s >= DAY_S)
        return;
    text_add_format(report->text,
                    "The wall clock was set %s by %s, %s ago: what was due came that much %s.\n",
                    step_ms < 0 ? "back" : "forward",
                    span_format((step_ms < 0 ? -step_ms : step_ms) * 1000, step),
                    span_format(ago_s * 1000000, ago), step_ms < 0 ? "later" : "sooner");
}

static void describe_broker(const struct report *report)
{
    char room[QUANTITY_TEXT_BYTES];
    int64_t free_bytes = number(report, "disk_free_bytes"); /* 0: of no matter, as in memory */
    text_add_string(report->text, "The store is ");
    if (!row_add_text(report->stats, "store", report->text))
        text_add_string(report->text, "not named");
    if (row_number(report->stats, "disk_bytes", 0) > 0 &&
        row_has_text(report->stats, "directory")) {
        text_add_string(report->text, " in ");
        row_add_text(report->stats, "directory", report->text);
    }
    text_add_format(report->text, ", its journal %s",
                    size_format((uint64_t)number(report, "journal_bytes"), room));
    if (free_bytes > 0)
        text_add_format(report->text, "; %s are free on its disk",
                        size_format((uint64_t)free_bytes, room));
    text_add_format(report->text, ".\nThe broker has run for %s",
                    number(report, "uptime_s") > 0
                        ? span_format(number(report, "uptime_s") * 1000000, room)
                        : "less than a second");
    text_add_string(report->text, ", version ");
    if (!row_add_text(report->stats, "version", report->text))
        text_add_string(report->text, "unknown");
    text_add_string(report->text, ".\n");
}

bool sentences_write(struct text *text, const struct row *stats,
                     const struct sentences_queues *queues)
{
    struct report report = {.text = text, .stats = stats};
    say_grants(&report, queues);
    say_store(&report, queues);
    if (report.faults == 0)
        text_add_string(text, "All is well.\n");
    if (row_number(stats, "in_grace", 0) > 0)
        text_add_string(text, "The broker has just started and gives its workers a moment to come "
                              "back.\n");
    describe_records(&report, queues);
    describe_lateness(&report);
    describe_workers(&report);
    describe_clock(&report);
    describe_broker(&report);
    return report.faults == 0;
}
