/* everdue - the command for people and scripts: finds the subcommand and hands it the rest. */

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands.h"
#include "context.h"
#include "nearest.h"
#include "output.h"
#include "version.h"

struct command {
    const char *name;
    const char *group; /* NULL: not shown */
    const char *about;
    command_function *run;
};

static command_function command_help;

static const struct command commands[] = {
    {"run", "start", "a broker and its workers on this machine, as one", command_run},
    {"dev", "start", "the same in memory, with demo records, until Ctrl-C", command_dev},
    {"put", "records", "add or change a record", command_put},
    {"get", "records", "show a record", command_get},
    {"rm", "records", "remove records", command_rm},
    {"run-now", "records", "make records due now", command_run_now},
    {"kick", "records", "bring parked records back", command_kick},
    {"sync", "sets", "make a queue equal to a file of JSON lines", command_sync},
    {"export", "sets", "write a queue as the lines that sync reads", command_export},
    {"list", "sets", "list records, by state or prefix", command_list},
    {"peek", "sets", "the records that are due next", command_peek},
    {"backup", "sets", "copy the store while the broker runs", command_backup},
    {"take", "by hand", "take records that are due, with a lease each", command_take},
    {"report", "by hand", "report a lease", command_report},
    {"stats", "look", "all counters", command_stats},
    {"stat", "look", "one line a second", command_stat},
    {"status", "look", "how things are, in sentences", command_status},
    {"workers", "look", "who is connected", command_workers},
    {"queues", "look", "all queues", command_queues},
    {"pause", "control", "grant nothing more from a queue", command_pause},
    {"resume", "control", "end a pause, or a drain", command_resume},
    {"drain", "control", "grant nothing more and wait until all leases have ended", command_drain},
    {"ping", "control", "ask whether the broker is there", command_ping},
    {"keygen", "control", "make a key for a broker, a worker or a client", command_keygen},
    {"help", "help", "this, or the help of a command", command_help},
    {"dev-handler", NULL, NULL, command_dev_handler},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse_unknown(const char *name)
{
    const char *names[COMMAND_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].group)
            names[count++] = commands[i].name;
    const char *nearest = nearest_name(name, strlen(name), names, count);
    if (nearest)
        context_say("unknown command \"%s\"; did you mean \"%s\"? See: everdue help", name,
                    nearest);
    else
        context_say("unknown command \"%s\". See: everdue help", name);
    return EX_USAGE;
}

static int run_command(struct context *context, const struct command *command, int argc,
                       char **argv)
{
    char name[64];
    snprintf(name, sizeof(name), "everdue %s", command->name);
    argv[0] = name;
    int code = command->run(context, argc, argv);
    int output_code = output_finish();
    return code ? code : output_code;
}

static void print_help(FILE *file)
{
    const char *group = "";
    fputs("Usage: everdue [-e ENDPOINT] [-o FORMAT] COMMAND ...\n", file);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!commands[i].group)
            continue;
        if (strcmp(commands[i].group, group) != 0)
            fprintf(file, "\n%s\n", commands[i].group);
        group = commands[i].group;
        fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].about);
    }
    fputs("\n  -e, --endpoint ENDPOINT   where the broker listens\n"
          "                            ($EVERDUE_ENDPOINT, else " EVERDUE_ENDPOINT ")\n"
          "  -o, --output FORMAT       text, json or jsonl (JSON lines)\n"
          "\nDurations are written 250ms, 30s, 1h30m; times as RFC 3339 or epoch seconds.\n"
          "everdue COMMAND --help says more.\n",
          file);
}

static int command_help(struct context *context, int argc, char **argv)
{
    char help[] = "--help";
    if (argc < 2) {
        print_help(stdout);
        return 0;
    }
    const struct command *command = find_command(argv[1]);
    if (!command)
        return refuse_unknown(argv[1]);
    if (command->run == command_help) {
        print_help(stdout);
        return 0;
    }
    char *arguments[] = {argv[0], help, NULL};
    return run_command(context, command, 2, arguments);
}

/* --- flags before the subcommand -------------------------------------------------------------- */

struct top {
    struct context *context;
    int command_at; /* where in argv the subcommand is; 0: there is none */
};

enum { OPTION_USAGE = 0x100 };

static const struct argp_option top_options[] = {
    {"help", '?', NULL, 0, "Print this help", 0},
    {"usage", OPTION_USAGE, NULL, 0, "Print this help", 0},
    {"version", 'V', NULL, 0, "Print the versions of everdue and its libraries", 0},
    {0},
};

static error_t parse_top(int key, char *argument, struct argp_state *state)
{
    struct top *top = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, top->context);
        return 0;
    case '?':
    case OPTION_USAGE:
        print_help(stdout);
        exit(output_finish());
    case 'V':
        puts(version_text("everdue"));
        exit(output_finish());
    case ARGP_KEY_ARG:
        top->command_at = state->next - 1;
        state->next = state->argc;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static void print_version(FILE *file, struct argp_state *state)
{
    (void)state;
    fprintf(file, "%s\n", version_text("everdue"));
}

int main(int argc, char **argv)
{
    static const struct argp argp = {top_options,      parse_top, "COMMAND ...", NULL,
                                     context_children, NULL,      NULL};
    struct context context;
    struct top top = {.context = &context};
    output_begin();
    context_init(&context);
    argp_err_exit_status = EX_USAGE;
    argp_program_version_hook = print_version;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER | ARGP_NO_HELP, NULL, &top);
    if (top.command_at == 0) {
        print_help(stderr);
        return EX_USAGE;
    }
    char **rest = argv + top.command_at;
    const struct command *command = find_command(rest[0]);
    int code = command ? run_command(&context, command, argc - top.command_at, rest)
                       : refuse_unknown(rest[0]);
    context_release(&context);
    return code;
}
