#include "stopped.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "dump.h"
#include "status.h"
#include "store.h"

static int exit_code(enum status status)
{
    return status == STATUS_OK          ? EX_OK
           : status == STATUS_LOCKED    ? EX_UNAVAILABLE
           : status == STATUS_CORRUPT   ? EX_DATAERR
           : status == STATUS_VERSION   ? EX_DATAERR
           : status == STATUS_NOT_FOUND ? EX_NOINPUT
           : status == STATUS_NO_MEMORY ? EX_OSERR
                                        : EX_IOERR;
}

static int say_failed(const struct options *options, enum status status, const char *why)
{
    if (status)
        fprintf(stderr, "everdue-broker: %s: %s\n", options->directory,
                why[0] ? why : status_text(status));
    return exit_code(status);
}

/* What was printed must have arrived, or half a set would look like a whole one. */
static enum status finish_output(enum status status)
{
    return !status && fflush(stdout) ? STATUS_IO : status;
}

/* --- check ------------------------------------------------------------------------------------ */

static void print_line(const char *line, void *user)
{
    (void)user;
    puts(line);
}

static void offer_salvage(enum status status)
{
    if (status == STATUS_CORRUPT)
        fprintf(stderr, "everdue-broker: --salvage prints what is whole in it\n");
}

static int check(const struct options *options)
{
    enum status status = finish_output(store_check_lmdb(options->directory, print_line, NULL));
    int code = say_failed(options, status, "");
    offer_salvage(status);
    return code;
}

/* --- dump ------------------------------------------------------------------------------------- */

static void list_queues(const struct dump *dump)
{
    fprintf(stderr, "everdue-broker: its queues:");
    for (uint32_t i = 0; i < dump->queue_count; i++)
        fprintf(stderr, " %s (%" PRIu64 " records%s)", dump->queues[i].name,
                dump->queues[i].records, dump->queues[i].is_stored ? "" : ", its name is lost");
    fprintf(stderr, "%s\n", dump->queue_count ? "" : " none");
}

/* Whether there is a queue --queue, if it is given. */
static bool has_queue(const struct options *options, const struct dump *dump)
{
    if (!options->queue || dump_find_queue(dump, options->queue))
        return true;
    fprintf(stderr, "everdue-broker: %s: there is no queue \"%s\"\n", options->directory,
            options->queue);
    list_queues(dump);
    return false;
}

static int dump(const struct options *options)
{
    struct dump dump;
    char why[STORE_WHY_BYTES];
    dump_init(&dump, stdout, options->queue);
    const struct store_visitor visitor = {dump_row, dump_record, &dump};
    enum status status = finish_output(store_visit_lmdb(options->directory, &visitor, why));
    int code = say_failed(options, status, why[0] ? why : dump.why);
    offer_salvage(status);
    if (!code && !has_queue(options, &dump))
        code = 1;
    dump_release(&dump);
    return code;
}

/* --- salvage ---------------------------------------------------------------------------------- */

struct rescue {
    struct dump dump;
    uint64_t losses;
    bool is_silent; /* the first look, which only counts */
};

static void name_loss(const char *what, void *user)
{
    struct rescue *rescue = user;
    rescue->losses++;
    if (!rescue->is_silent)
        fprintf(stderr, "everdue-broker: lost: %s\n", what);
}

static void name_note(const char *what, void *user)
{
    const struct rescue *rescue = user;
    if (!rescue->is_silent)
        fprintf(stderr, "everdue-broker: damaged: %s\n", what);
}

/* What a sync of the lines will not bring back is a loss, too; damage below the checksums is one
 * more. */
static enum status rescue_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    struct rescue *rescue = user;
    char text[STORE_WHY_BYTES];
    enum status status = dump_row(row, bytes, &rescue->dump);
    if (status == STATUS_CORRUPT) {
        name_loss(rescue->dump.why, rescue);
        return STATUS_OK;
    }
    if (!status && row->table == STORE_PENDING) {
        name_loss("a change that waited for a report is not in the line of its record:", rescue);
        if (!rescue->is_silent)
            fprintf(stderr, "%s\n", rescue->dump.line.data);
    }
    if (!status && row->table == STORE_SYNCS && row->b == 0) {
        snprintf(text, sizeof(text),
                 "sync %" PRIu64 " was being carried out and is in part only: sync again", row->a);
        name_loss(text, rescue);
    }
    return status;
}

static enum status rescue_record(const struct store_state *state, const uint8_t *body,
                                 uint32_t count, void *user)
{
    struct rescue *rescue = user;
    enum status status = dump_record(state, body, count, &rescue->dump);
    if (status != STATUS_CORRUPT)
        return status;
    name_loss(rescue->dump.why, rescue);
    return STATUS_OK;
}

static void compare_totals(struct rescue *rescue)
{
    char text[STORE_WHY_BYTES];
    for (uint32_t i = 0; i < rescue->dump.queue_count; i++) {
        const struct dump_queue *queue = &rescue->dump.queues[i];
        if (!queue->is_stored)
            snprintf(text, sizeof(text),
                     "queue number %" PRIu32 ": its name; its %" PRIu64 " records are printed with "
                     "--queue %s",
                     i, queue->records, queue->name);
        else if (queue->records != queue->records_stored)
            snprintf(text, sizeof(text),
                     "queue %s: %" PRIu64 " records are whole, and it had %" PRIu64, queue->name,
                     queue->records, queue->records_stored);
        else
            continue;
        name_loss(text, rescue);
    }
}

/* One way through the store: to look, or to print. */
static enum status rescue_pass(const struct options *options, struct rescue *rescue, char *why)
{
    const struct store_salvage salvage = {
        {rescue_row, rescue_record, rescue}, name_loss, name_note, rescue};
    enum status status = store_salvage_lmdb(options->directory, &salvage, why);
    if (!status)
        compare_totals(rescue);
    return status;
}

/* Lines do not say their queue, for sync would refuse that: so those of one queue at a time. */
static bool is_one_queue(const struct options *options, const struct dump *dump)
{
    unsigned filled = 0;
    for (uint32_t i = 0; i < dump->queue_count; i++)
        filled += dump->queues[i].records > 0;
    if (options->queue || filled < 2)
        return has_queue(options, dump);
    fprintf(stderr, "everdue-broker: %s: has several queues; choose one with --queue\n",
            options->directory);
    list_queues(dump);
    return false;
}

static int salvage(const struct options *options)
{
    struct rescue look = {.is_silent = true};
    struct rescue rescue = {.losses = 0};
    char why[STORE_WHY_BYTES];
    int code = EX_OK;
    dump_init(&look.dump, NULL, options->queue);
    dump_init(&rescue.dump, stdout, options->queue);
    rescue.dump.without_state = true;
    enum status status = rescue_pass(options, &look, why);
    if (!status && !is_one_queue(options, &look.dump))
        code = options->queue ? 1 : EX_USAGE;
    if (!status && !code) {
        status = finish_output(rescue_pass(options, &rescue, why));
        fprintf(stderr, "everdue-broker: %" PRIu64 " records printed, %" PRIu64 " losses named\n",
                rescue.dump.printed, rescue.losses);
    }
    dump_release(&look.dump);
    dump_release(&rescue.dump);
    if (status)
        return say_failed(options, status, why);
    return code ? code : rescue.losses > 0;
}

int stopped_run(const struct options *options)
{
    if (access(options->directory, F_OK)) {
        fprintf(stderr, "everdue-broker: %s: %s; name the directory of a store\n",
                options->directory, strerror(errno));
        return EX_NOINPUT;
    }
    return options->action == ACTION_CHECK_STORE  ? check(options)
           : options->action == ACTION_DUMP_STORE ? dump(options)
                                                  : salvage(options);
}
