#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "demo.h"
#include "tree.h"

/* Flags of everdue-worker that we add to a COMMAND, at most, and the NULL. */
enum { WORKER_FLAGS_MAX = 16, BROKER_FLAGS_MAX = 8 };

struct start_input {
    struct context *context;
    const char *store;
    const char *workers;
    const char *every;
    bool keep;
    bool pipe;
    char **command; /* NULL: none given; within argv */
    size_t command_count;
};

/* Where the programs of one installation are: beside this one. */
struct programs {
    char own[PATH_MAX];
    char broker[PATH_MAX];
    char worker[PATH_MAX];
};

enum { OPTION_STORE = 0x100, OPTION_EVERY, OPTION_KEEP, OPTION_PIPE };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct start_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case OPTION_STORE:
        input->store = argument;
        return 0;
    case 'n':
        input->workers = argument;
        return 0;
    case OPTION_EVERY:
        context_duration(state, "--every", argument);
        input->every = argument;
        return 0;
    case OPTION_KEEP:
        input->keep = true;
        return 0;
    case OPTION_PIPE:
        input->pipe = true;
        return 0;
    case ARGP_KEY_ARG:
        input->command = &state->argv[state->next - 1];
        input->command_count = (size_t)(state->argc - state->next + 1);
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (input->pipe && !input->command)
            argp_error(state, "--pipe needs a COMMAND");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* --- the programs ----------------------------------------------------------------------------- */

static bool find_beside(const char *own, const char *name, char path[PATH_MAX])
{
    const char *slash = strrchr(own, '/');
    int count = snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash ? slash - own : 0), own, name);
    if (count < PATH_MAX && access(path, X_OK) == 0)
        return true;
    context_say("%s: %s; it belongs beside everdue", path, strerror(errno));
    return false;
}

static bool find_programs(struct programs *programs)
{
    ssize_t count = readlink("/proc/self/exe", programs->own, sizeof(programs->own) - 1);
    if (count < 0) {
        context_say("/proc/self/exe: %s", strerror(errno));
        return false;
    }
    programs->own[count] = '\0';
    return find_beside(programs->own, "everdue-broker", programs->broker) &&
           find_beside(programs->own, "everdue-worker", programs->worker);
}

/* --- their arguments -------------------------------------------------------------------------- */

struct arguments {
    const char **items; /* ends with NULL */
    size_t count;
};

static void add(struct arguments *arguments, const char *item)
{
    arguments->items[arguments->count++] = item;
}

static void add_flag(struct arguments *arguments, const char *flag, const char *value)
{
    if (!value)
        return;
    add(arguments, flag);
    add(arguments, value);
}

static struct arguments broker_arguments(const struct start_input *input,
                                         const struct programs *programs)
{
    struct arguments arguments = {calloc(BROKER_FLAGS_MAX, sizeof(char *)), 0};
    if (!arguments.items)
        return arguments;
    add(&arguments, programs->broker);
    add_flag(&arguments, "--listen", input->context->endpoint);
    add_flag(&arguments, "--store", input->store);
    return arguments;
}

static struct arguments worker_arguments(const struct start_input *input,
                                         const struct programs *programs)
{
    struct arguments arguments = {calloc(WORKER_FLAGS_MAX + input->command_count, sizeof(char *)),
                                  0};
    if (!arguments.items)
        return arguments;
    add(&arguments, programs->worker);
    add_flag(&arguments, "--broker", input->context->endpoint);
    add_flag(&arguments, "--queue", input->context->queue);
    add_flag(&arguments, "-n", input->workers);
    add_flag(&arguments, "--every", input->every);
    if (input->pipe)
        add(&arguments, "--pipe");
    add(&arguments, "--");
    for (size_t i = 0; i < input->command_count; i++)
        add(&arguments, input->command[i]);
    return arguments;
}

static int start(const struct start_input *input, const struct programs *programs,
                 int (*prepare)(struct context *context))
{
    struct arguments broker = broker_arguments(input, programs);
    struct arguments worker = worker_arguments(input, programs);
    int code = EX_SOFTWARE;
    if (broker.items && worker.items) {
        struct tree tree = {
            .context = input->context,
            .broker = {.name = "everdue-broker", .argv = (char **)broker.items},
            .worker = {.name = "everdue-worker",
                       .argv = input->command ? (char **)worker.items : NULL},
            .prepare = prepare,
        };
        code = tree_run(&tree);
    } else {
        context_say("out of memory");
    }
    free(broker.items);
    free(worker.items);
    return code;
}

/* --- the commands ----------------------------------------------------------------------------- */

static const struct argp_option run_options[] = {
    {"store", OPTION_STORE, "STORE", 0, "Where the broker keeps its records: memory or lmdb:DIR",
     0},
    {NULL, 'n', "N", 0, "Worker processes: a number, auto, or 4x for four a CPU (auto)", 0},
    {"every", OPTION_EVERY, "DURATION", 0, "The interval where neither record nor result has one",
     0},
    {"pipe", OPTION_PIPE, NULL, 0, "COMMAND stays and speaks JSON lines", 0},
    {0},
};

static const struct argp_option dev_options[] = {
    {"keep", OPTION_KEEP, NULL, 0, "Keep the records on disk, as everdue-broker does", 0},
    {NULL, 'n', "N", 0, "Worker processes: a number, auto, or 4x for four a CPU (auto)", 0},
    {"every", OPTION_EVERY, "DURATION", 0, "The interval where neither record nor result has one",
     0},
    {"pipe", OPTION_PIPE, NULL, 0, "COMMAND stays and speaks JSON lines", 0},
    {0},
};

int command_run(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        run_options,
        parse,
        "[-- COMMAND ARG...]",
        "Run a broker and the workers of this machine as one: started, restarted and drained "
        "together. COMMAND is run for each record ({key} is replaced).",
        context_queue_children,
        NULL,
        NULL};
    struct start_input input = {.context = context};
    struct programs programs;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &input);
    if (!find_programs(&programs))
        return EX_CONFIG;
    if (!input.command)
        context_say("no COMMAND behind --: the broker runs alone; start workers with "
                    "everdue-worker");
    return start(&input, &programs, NULL);
}

/* The handler opens our output anew, with a place of its own in it where it is a file: there
 * everybody must write at its end, or they would overwrite each other. */
static void append_output(void)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0)
            fcntl(fd, F_SETFL, flags | O_APPEND);
    }
}

int command_dev(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        dev_options,
        parse,
        "[-- COMMAND ARG...]",
        "Run a broker in memory and workers, with a few records that come round. Without COMMAND "
        "each run is printed. Until Ctrl-C.",
        context_queue_children,
        NULL,
        NULL};
    struct start_input input = {.context = context};
    struct programs programs;
    char handler[] = "dev-handler";
    char output[64];
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &input);
    if (!find_programs(&programs))
        return EX_CONFIG;
    if (!input.keep)
        input.store = "memory";
    char *own_command[] = {programs.own, handler, NULL};
    if (!input.command) {
        snprintf(output, sizeof(output), "/proc/%d/fd/1", (int)getpid());
        setenv(DEMO_OUTPUT_VARIABLE, output, 1);
        append_output();
        input.command = own_command;
        input.command_count = 2;
        input.pipe = true;
    }
    return start(&input, &programs, demo_put);
}
