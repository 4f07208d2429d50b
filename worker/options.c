#include "options.h"

#include "bytes.h"
#include "cpus.h"
#include "everdue/types.h"
#include "link.h"
#include "moment.h"
#include "quantity.h"
#include "version.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum option_key {
    OPTION_WORKERS = 'n',
    OPTION_BROKER = 256,
    OPTION_QUEUE,
    OPTION_MAX_WORKERS,
    OPTION_CREDIT,
    OPTION_EVERY,
    OPTION_LEASE,
    OPTION_TIMEOUT,
    OPTION_STOP_TIMEOUT,
    OPTION_HEARTBEAT,
    OPTION_NAME,
    OPTION_CURVE_KEY,
    OPTION_CURVE_SERVER,
    OPTION_PIPE,
    OPTION_WINDOW,
    OPTION_PLUGIN,
    OPTION_STDIN,
    OPTION_EXIT_MAP,
    OPTION_LOG_FORMAT,
    OPTION_LOG_LEVEL,
    OPTION_ENDPOINT, /* the command's name for the broker: refused with a hint */
};

/* What the flags say while they are read; some need to see all before they mean something. */
struct parse {
    struct options *options;
    const char *workers;
    bool has_credit;
    bool has_pipe;
    bool has_flag_broker;
    bool has_flag_queue;
};

static const char doc[] =
    "Run handlers for records as they come due.\v"
    "The handler is COMMAND, run once for each record ({key} is replaced where it is a whole "
    "argument, no shell), or with --pipe a COMMAND that stays and exchanges JSON lines, or with "
    "--plugin a shared object.\n\n"
    "Exit codes of COMMAND: 0 ok; 75 retry with back-off; 65 park; 99 ok, and remove the record; "
    "any "
    "other: failed, retry with back-off. Standard output that starts with { is a result object, "
    "the "
    "first line of any other text is kept as the record's note.\n\n"
    "Each option with a * can be set by a variable, the flag wins: EVERDUE_BROKER, EVERDUE_QUEUE "
    "(several are parted by blanks), EVERDUE_WORKERS, EVERDUE_MAX_WORKERS, EVERDUE_CREDIT, "
    "EVERDUE_EVERY and so on.\n\n"
    "Exit codes of everdue-worker: 0 stopped; 64 usage; 74 I/O; 75 processes had to be killed; 78 "
    "the handler's mistake, or it asked to stop.";

static const struct argp_option flags[] = {
    {NULL, 0, NULL, 0, "Where the work comes from:", 1},
    {"broker", OPTION_BROKER, "ENDPOINT", 0,
     "The broker; may be repeated (default tcp://127.0.0.1:7790) *", 1},
    {"queue", OPTION_QUEUE, "Q", 0, "Queue to work on; may be repeated (default: default) *", 1},
    {"curve-key", OPTION_CURVE_KEY, "FILE", 0, "This worker's CURVE key *", 1},
    {"curve-server", OPTION_CURVE_SERVER, "KEY", 0,
     "The broker's public CURVE key, or its file FILE.pub *", 1},
    {NULL, 0, NULL, 0, "How much at once:", 2},
    {"workers", OPTION_WORKERS, "N", 0,
     "Processes: a number, auto (CPUs usable, 16 at most) or 4x (4 a CPU); default auto *", 2},
    {"max-workers", OPTION_MAX_WORKERS, "N", 0, "The most that -n may ask for (256) *", 2},
    {"credit", OPTION_CREDIT, "N", 0,
     "Records held at a time by each process, and commands that it runs at a time (COMMAND 2, "
     "--pipe its window, --plugin 64; unless given up to 1024, with what 20 ms of work finish) *",
     2},
    {NULL, 0, NULL, 0, "Time:", 3},
    {"every", OPTION_EVERY, "D", 0,
     "Next time of a record for which neither result nor record name one *", 3},
    {"lease", OPTION_LEASE, "D", 0, "Length of a lease (60s); extended while a run lasts *", 3},
    {"timeout", OPTION_TIMEOUT, "D", 0, "Of one run, then TERM, 5 s later KILL (10m) *", 3},
    {"stop-timeout", OPTION_STOP_TIMEOUT, "D", 0,
     "How long to finish after SIGTERM (8s); the rest is given back *", 3},
    {"heartbeat", OPTION_HEARTBEAT, "D", 0, "Of the connection with the broker (5s) *", 3},
    {NULL, 0, NULL, 0, "The handler:", 4},
    {"stdin", OPTION_STDIN, "payload|task", 0,
     "What COMMAND reads: the payload, or the task as a JSON line (payload) *", 4},
    {"exit-map", OPTION_EXIT_MAP, "sysexits|nagios", 0,
     "nagios: 0 to 3 are all successful runs, the state goes into the note (sysexits) *", 4},
    {"pipe", OPTION_PIPE, NULL, 0, "COMMAND stays: a task a line in, a result a line out", 4},
    {"window", OPTION_WINDOW, "N", 0, "With --pipe: tasks unanswered at most (16) *", 4},
    {"plugin", OPTION_PLUGIN, "FILE.so", 0,
     "Call everdue_handle of FILE.so; arguments behind -- go to its everdue_plugin_open", 4},
    {NULL, 0, NULL, 0, "Other:", 5},
    {"name", OPTION_NAME, "NAME", 0, "Shown by everdue workers (default host:pid) *", 5},
    {"log-format", OPTION_LOG_FORMAT, "text|json", 0, "Of the lines on stderr (text) *", 5},
    {"log-level", OPTION_LOG_LEVEL, "L", 0, "error, warning, info (default) or debug *", 5},
    {"endpoint", OPTION_ENDPOINT, "ENDPOINT", OPTION_HIDDEN, NULL, 5},
    {0},
};

/* --- values ----------------------------------------------------------------------------------- */

static const char *read_count(const char *value, int64_t most, uint32_t *count)
{
    int64_t number;
    const char *wrong = number_parse(value, strlen(value), 1, most, &number);

    if (!wrong)
        *count = (uint32_t)number;
    return wrong;
}

static const char *read_ms(const char *value, int64_t least_ms, int64_t most_ms, uint32_t *ms)
{
    static char range[2 * QUANTITY_TEXT_BYTES + 32];
    char least[QUANTITY_TEXT_BYTES];
    char most[QUANTITY_TEXT_BYTES];
    int64_t us;
    const char *wrong = duration_parse(value, strlen(value), &us);

    if (wrong)
        return wrong;
    if (us < least_ms * US_PER_MS || us > most_ms * US_PER_MS) {
        snprintf(range, sizeof(range), "out of range: %s to %s",
                 duration_format(least_ms * US_PER_MS, least),
                 duration_format(most_ms * US_PER_MS, most));
        return range;
    }
    *ms = (uint32_t)(us / US_PER_MS);
    return NULL;
}

/* The place of `value` in a list that ends with NULL. */
static const char *read_word(const char *value, const char *const *words, int *place)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], value) == 0) {
            *place = i;
            return NULL;
        }
    }
    return "not one of the words that --help names";
}

static const char *add_item(struct option_list *list, const char *item)
{
    if (*item == '\0')
        return "is empty";
    if (list->count == list->count_max)
        return "too many";
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
    return list->check(item);
}

static const char *check_queue(const char *name)
{
    return bytes_are_queue_name(bytes_of(name))
               ? NULL
               : "no name of a queue: 1 to 64 letters, digits, '.', '_', '-'";
}

static const char *read_words(struct options *options, int key, const char *value)
{
    static const char *const stdins[] = {"payload", "task", NULL};
    static const char *const maps[] = {"sysexits", "nagios", NULL};
    static const char *const formats[] = {"text", "json", NULL};
    static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
    static const int level_numbers[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    int place = 0;
    const char *wrong = NULL;

    switch (key) {
    case OPTION_STDIN:
        wrong = read_word(value, stdins, &place);
        options->stdin_kind = (enum stdin_kind)place;
        break;
    case OPTION_EXIT_MAP:
        wrong = read_word(value, maps, &place);
        options->exit_map = (enum exit_map)place;
        break;
    case OPTION_LOG_FORMAT:
        wrong = read_word(value, formats, &place);
        options->log_format = place ? LOG_JSON : LOG_TEXT;
        break;
    case OPTION_LOG_LEVEL:
        wrong = read_word(value, levels, &place);
        options->log_level = level_numbers[place];
        break;
    }
    return wrong;
}

static const char *read_every(const char *value, int64_t *every_us)
{
    const char *wrong = duration_parse(value, strlen(value), every_us);

    return wrong ? wrong : *every_us == 0 ? "an interval is more than 0s" : NULL;
}

/* One option's value, from a flag or a variable. NULL, or what is wrong. */
static const char *read_value(struct parse *parse, int key, const char *value)
{
    struct options *options = parse->options;

    switch (key) {
    case OPTION_WORKERS:
        parse->workers = value;
        return NULL;
    case OPTION_MAX_WORKERS:
        return read_count(value, PROCESSES_MAX, &options->processes_max);
    case OPTION_CREDIT:
        parse->has_credit = true;
        return read_count(value, CREDIT_MAX, &options->credit);
    case OPTION_WINDOW:
        return read_count(value, WINDOW_MAX, &options->window);
    case OPTION_EVERY:
        return read_every(value, &options->every_us);
    case OPTION_LEASE:
        return read_ms(value, LEASE_MS_MIN, LEASE_MS_MAX, &options->lease_ms);
    case OPTION_TIMEOUT:
        return read_ms(value, 1, UINT32_MAX, &options->timeout_ms);
    case OPTION_STOP_TIMEOUT:
        return read_ms(value, 1, UINT32_MAX, &options->stop_timeout_ms);
    case OPTION_HEARTBEAT:
        return read_ms(value, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX, &options->heartbeat_ms);
    case OPTION_NAME:
        options->name = value;
        return NULL;
    case OPTION_CURVE_KEY:
        options->curve_key_file = value;
        return NULL;
    case OPTION_CURVE_SERVER:
        options->curve_server_key = value;
        return NULL;
    }
    return read_words(options, key, value);
}

/* --- variables -------------------------------------------------------------------------------- */

/* "credit" gives EVERDUE_CREDIT. */
static const char *variable_of(const char *flag, char name[64])
{
    size_t used = (size_t)snprintf(name, 64, "EVERDUE_%s", flag);

    for (size_t i = 0; i < used; i++)
        name[i] = name[i] == '-' ? '_' : name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i];
    return getenv(name);
}

static const char *read_list(struct option_list *list, const char *value)
{
    char *rest = NULL;
    const char *wrong = NULL;

    list->copy = strdup(value);
    if (list->copy == NULL)
        return "no memory";
    for (char *item = strtok_r(list->copy, " ,\t\n", &rest); item && !wrong;
         item = strtok_r(NULL, " ,\t\n", &rest))
        wrong = add_item(list, item);
    return wrong;
}

static int read_variables(struct parse *parse)
{
    for (const struct argp_option *flag = flags; flag->name || flag->doc; flag++) {
        char name[64];
        const char *wrong;

        /* What is run belongs on the command line, where it is seen. */
        if (flag->name == NULL || flag->key == OPTION_PIPE || flag->key == OPTION_PLUGIN)
            continue;
        const char *value = variable_of(flag->name, name);
        if (value == NULL || *value == '\0')
            continue;
        if (flag->key == OPTION_BROKER)
            wrong = read_list(&parse->options->brokers, value);
        else if (flag->key == OPTION_QUEUE)
            wrong = read_list(&parse->options->queues, value);
        else
            wrong = read_value(parse, flag->key, value);
        if (wrong) {
            fprintf(stderr, "everdue-worker: %s=%s: %s\n", name, value, wrong);
            return EX_USAGE;
        }
    }
    return 0;
}

/* --- flags ------------------------------------------------------------------------------------ */

/* The first flag of a list takes the place of what a variable said. */
static const char *add_flag(struct option_list *list, bool *has_flag, const char *value)
{
    if (!*has_flag)
        list->count = 0;
    *has_flag = true;
    return add_item(list, value);
}

static void take_arguments(struct parse *parse, struct argp_state *state)
{
    parse->options->arguments = &state->argv[state->next - 1];
    parse->options->argument_count = state->argc - state->next + 1;
    state->next = state->argc;
}

static error_t read_flag(int key, char *value, struct argp_state *state)
{
    struct parse *parse = state->input;
    struct options *options = parse->options;
    const char *wrong = NULL;

    switch (key) {
    case ARGP_KEY_ARG:
        take_arguments(parse, state);
        return 0;
    case OPTION_BROKER:
        wrong = add_flag(&options->brokers, &parse->has_flag_broker, value);
        break;
    case OPTION_QUEUE:
        wrong = add_flag(&options->queues, &parse->has_flag_queue, value);
        break;
    case OPTION_ENDPOINT:
        argp_error(state, "the broker is named by --broker %s here", value);
        break;
    case OPTION_PIPE:
        parse->has_pipe = true;
        break;
    case OPTION_PLUGIN:
        options->plugin = value;
        break;
    default:
        if (key != OPTION_WORKERS && key < OPTION_BROKER)
            return ARGP_ERR_UNKNOWN;
        if (key > OPTION_LOG_LEVEL)
            return ARGP_ERR_UNKNOWN;
        wrong = read_value(parse, key, value);
        break;
    }
    if (wrong) {
        const struct argp_option *flag = flags;
        while (flag->key != key)
            flag++;
        argp_error(state, "--%s %s: %s", flag->name, value, wrong);
    }
    return 0;
}

/* --- what they mean together ------------------------------------------------------------------ */

static const char *resolve_processes(struct parse *parse)
{
    struct options *options = parse->options;
    const char *text = parse->workers ? parse->workers : "auto";
    size_t count = strlen(text);
    uint32_t number;

    options->cpus = cpus_usable();
    if (strcmp(text, "auto") == 0) {
        if (options->processes_max > PROCESSES_AUTO_MAX)
            options->processes_max = PROCESSES_AUTO_MAX;
        number = options->cpus;
    } else if (count > 1 && text[count - 1] == 'x') {
        int64_t times;
        if (number_parse(text, count - 1, 1, PROCESSES_MAX, &times))
            return "write a number, auto, or a number a CPU such as 4x";
        number = (uint32_t)times * options->cpus;
    } else if (read_count(text, PROCESSES_MAX, &number)) {
        return "write a number, auto, or a number a CPU such as 4x";
    } else if (number > options->processes_max) {
        return "above --max-workers";
    }
    options->processes = number < options->processes_max ? number : options->processes_max;
    return NULL;
}

static const char *resolve_handler(struct parse *parse)
{
    struct options *options = parse->options;

    if (options->plugin) {
        if (parse->has_pipe)
            return "--pipe and --plugin exclude each other";
        options->kind = HANDLER_PLUGIN;
    } else if (options->argument_count == 0) {
        return "no handler: give COMMAND, or --plugin FILE.so";
    } else {
        options->kind = parse->has_pipe ? HANDLER_PIPE : HANDLER_EXEC;
        if (strcmp(options->arguments[0], "{key}") == 0)
            return "{key} cannot be the command itself";
        for (int i = 0; parse->has_pipe && i < options->argument_count; i++) {
            if (strcmp(options->arguments[i], "{key}") == 0)
                return "with --pipe there is no {key}: tasks come on standard input";
        }
    }
    if (!parse->has_credit) {
        options->credit = options->kind == HANDLER_EXEC   ? CREDIT_COMMAND
                          : options->kind == HANDLER_PIPE ? options->window
                                                          : CREDIT_PLUGIN;
        options->credit_most = CREDIT_MOST;
    }
    if ((options->curve_key_file == NULL) != (options->curve_server_key == NULL))
        return "--curve-key and --curve-server belong together";
    return link_check(&(struct link_options){.endpoint = EVERDUE_ENDPOINT,
                                             .curve_server_key = options->curve_server_key,
                                             .curve_key_file = options->curve_key_file});
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "%s\n", version_text("everdue-worker"));
}

void options_init(struct options *options)
{
    static char *no_arguments[] = {NULL};

    *options = (struct options){
        .brokers = {.count_max = BROKERS_MAX, .check = link_check_endpoint},
        .queues = {.count_max = SESSION_QUEUES_MAX, .check = check_queue},
        .processes = 1,
        .cpus = 1,
        .processes_max = PROCESSES_MAX_DEFAULT,
        .credit = CREDIT_COMMAND,
        .timeout_ms = 600000,
        .stop_timeout_ms = 8000,
        .kill_after_ms = 5000,
        .window = WINDOW_DEFAULT,
        .arguments = no_arguments,
        .log_level = LOG_INFO,
    };
}

int options_parse(struct options *options, int argc, char **argv)
{
    static const struct argp argp = {
        .options = flags,
        .parser = read_flag,
        .args_doc = "-- COMMAND [ARG...]\n--pipe -- COMMAND [ARG...]\n--plugin FILE.so [-- ARG...]",
        .doc = doc,
    };
    struct parse parse = {.options = options};

    options_init(options);
    argp_program_version_hook = print_version;
    int code = read_variables(&parse);
    if (code)
        return code;
    /* In order: what stands behind the command is the command's. */
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &parse))
        return EX_USAGE;
    const char *wrong = resolve_processes(&parse);
    if (wrong)
        fprintf(stderr, "everdue-worker: -n %s: %s\n", parse.workers, wrong);
    else if ((wrong = resolve_handler(&parse)) != NULL)
        fprintf(stderr, "everdue-worker: %s\nTry `everdue-worker --help'.\n", wrong);
    return wrong ? EX_USAGE : 0;
}

void options_release(struct options *options)
{
    free(options->brokers.copy);
    free(options->queues.copy);
    options->brokers.copy = NULL;
    options->queues.copy = NULL;
}

char *options_describe(const struct options *options, char *text, size_t room)
{
    uint32_t lease_ms = options->lease_ms ? options->lease_ms : LEASE_MS_DEFAULT;
    bool seconds = lease_ms % 1000 == 0;

    snprintf(text, room, "%u process%s (%u CPU%s, cap %u), credit %u, lease %u %s",
             options->processes, options->processes == 1 ? "" : "es", options->cpus,
             options->cpus == 1 ? "" : "s", options->processes_max, options->credit,
             seconds ? lease_ms / 1000 : lease_ms, seconds ? "s" : "ms");
    return text;
}
