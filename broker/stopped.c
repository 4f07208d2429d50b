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

static int check(const struct options *options)
{
    enum status status = finish_output(store_check_lmdb(options->directory, print_line, NULL));
    return say_failed(options, status, "");
}

/* --- dump ------------------------------------------------------------------------------------- */

static void list_queues(const struct dump *dump)
{
    fprintf(stderr, "everdue-broker: its queues:");
    for (uint32_t i = 0; i < dump->queue_count; i++)
        fprintf(stderr, " %s (%" PRIu64 " records)", dump->queues[i].name, dump->queues[i].records);
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
    if (!code && !has_queue(options, &dump))
        code = 1;
    dump_release(&dump);
    return code;
}

int stopped_run(const struct options *options)
{
    if (access(options->directory, F_OK)) {
        fprintf(stderr, "everdue-broker: %s: %s; name the directory of a store\n",
                options->directory, strerror(errno));
        return EX_NOINPUT;
    }
    return options->action == ACTION_CHECK_STORE ? check(options) : dump(options);
}
