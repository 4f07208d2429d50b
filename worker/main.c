/* everdue-worker: runs handlers for records as they come due. One supervisor, N processes of
 * itself. */
#include "handler.h"
#include "log.h"
#include "options.h"
#include "supervisor.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

enum { STOP_SLACK_MS = 3000, NAME_BYTES = 256 };
enum { MAPPED_BYTES_LEAST = 2 << 20, SPARE_BYTES_MAX = 4 << 20 };

/* Pipes must not get the numbers of standard streams that our starter has closed. */
static bool open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

/* A message of a thousand tasks lives in a block of half a megabyte until the last of them is
 * acknowledged: several a commit, which all end together. Left alone, malloc gives them back to the
 * system each time, and the next ones are faulted in again page by page. */
static void keep_spare_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_LEAST);
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES_MAX);
}

static int run_process(struct options *options, unsigned place)
{
    static int (*const kinds[])(struct handler * handler) = {
        [HANDLER_EXEC] = handler_exec_run,
        [HANDLER_PIPE] = handler_pipe_run,
        [HANDLER_PLUGIN] = handler_plugin_run,
    };
    struct handler handler;
    char name[NAME_BYTES];

    keep_spare_memory();
    if (options->name && options->processes > 1) {
        snprintf(name, sizeof name, "%.200s/%u", options->name, place + 1);
        options->name = name;
    }
    int code = handler_init(&handler, options);
    if (code)
        return code;
    code = kinds[options->kind](&handler);
    handler_release(&handler);
    return code;
}

static int run_all(const struct options *options, char **argv)
{
    const struct supervisor_options all = {
        .count = options->processes,
        .program = "/proc/self/exe",
        .arguments = argv,
        .stop_timeout_ms = options->stop_timeout_ms,
        .stop_slack_ms = STOP_SLACK_MS,
    };
    char text[128];

    log_line(LOG_INFO, options_describe(options, text, sizeof text), NULL);
    return supervisor_run(&all);
}

int main(int argc, char **argv)
{
    struct options options;
    unsigned place = 0;
    bool is_orphan = false;

    if (!open_standard_streams())
        return EX_OSERR;
    int code = options_parse(&options, argc, argv);
    if (code == 0) {
        log_open("everdue-worker", options.log_format, options.log_level);
        if (!supervisor_is_above(&place, &is_orphan))
            code = run_all(&options, argv);
        else if (!is_orphan)
            code = run_process(&options, place);
    }
    options_release(&options);
    return code;
}
