#include "options.h"

#include <argp.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "allow.h"
#include "certificate.h"
#include "settings.h"
#include "version.h"

#define LISTEN_DEFAULT "tcp://127.0.0.1:7790"

/* --- sources ---------------------------------------------------------------------------------- */

/* What the command line said, applied last. */
struct flags {
    const char *values[SETTINGS][ENDPOINTS_MAX];
    unsigned counts[SETTINGS];
    const char *config;
    const char *directory;
    const char *queue;
    enum options_action action;
};

static void set_defaults(struct options *options)
{
    memset(options, 0, sizeof(*options));
    options->log_level = LOG_INFO;
    options->server = (struct server_options){
        .sync = SYNC_ALWAYS,
        .sync_interval_us = 100 * US_PER_MS,
        .reconnect_us = (int64_t)3 * US_PER_S,
        .stop_us = (int64_t)8 * US_PER_S,
        .free_bytes_least = (uint64_t)128 << 20,
    };
    sched_settings_init(&options->server.sched);
}

static int complain(struct options *options, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int complain(struct options *options, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(options->why, WHY_BYTES, format, arguments);
    va_end(arguments);
    return code;
}

/* "sync-interval" is EVERDUE_SYNC_INTERVAL. */
static const char *environment(const char *name, char variable[64])
{
    size_t count = (size_t)snprintf(variable, 64, "EVERDUE_%s", name);
    for (size_t i = 0; i < count && i < 63; i++)
        variable[i] = variable[i] == '-' ? '_' : (char)toupper((unsigned char)variable[i]);
    return getenv(variable);
}

static int read_environment(struct options *options)
{
    for (int i = 0; i < SETTINGS; i++) {
        char variable[64];
        const char *value = environment(settings[i].name, variable);
        if (!value || !value[0])
            continue;
        if (settings[i].set == set_listen)
            options->endpoint_count = 0;
        const char *why = settings[i].set(options, value);
        if (why)
            return complain(options, EX_CONFIG, "%s \"%s\": %s", variable, value, why);
    }
    return 0;
}

static int apply_flags(struct options *options, const struct flags *flags)
{
    for (int i = 0; i < SETTINGS; i++) {
        if (flags->counts[i] && settings[i].set == set_listen)
            options->endpoint_count = 0;
        for (unsigned k = 0; k < flags->counts[i]; k++) {
            const char *why = settings[i].set(options, flags->values[i][k]);
            if (why)
                return complain(options, EX_USAGE, "--%s \"%s\": %s", settings[i].name,
                                flags->values[i][k], why);
        }
    }
    return 0;
}

/* --- what follows ----------------------------------------------------------------------------- */

/* By the number alone: an interface may be named as a number begins, and is what its address is. */
static bool is_loopback(const char *endpoint)
{
    char host[INET6_ADDRSTRLEN + 2] = ""; /* with brackets */
    struct in_addr four;
    struct in6_addr six;
    if (strncmp(endpoint, "ipc://", 6) == 0)
        return true;
    const char *address = endpoint + strlen("tcp://"), *colon = strrchr(address, ':');
    size_t count = (size_t)(colon - address);
    if (count >= sizeof(host))
        return false;
    memcpy(host, address, count);
    if (host[0] != '[')
        return inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
    if (host[count - 1] != ']')
        return false;
    host[count - 1] = '\0';
    return inet_pton(AF_INET6, host + 1, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static int finish_endpoints(struct options *options)
{
    if (!options->endpoint_count)
        set_listen(options, LISTEN_DEFAULT);
    for (unsigned i = 0; i < options->endpoint_count; i++) {
        options->endpoint_list[i] = options->endpoints[i];
        if (is_loopback(options->endpoints[i]) || options->insecure_plaintext ||
            options->curve_key[0])
            continue;
        return complain(options, EX_NOPERM,
                        "%s is open to others, and connections would be plain text. Set keys "
                        "(--curve-key, --allow), listen on loopback, or say --insecure-plaintext "
                        "if the network is yours",
                        options->endpoints[i]);
    }
    options->endpoint_list[options->endpoint_count] = NULL;
    options->server.endpoints = options->endpoint_list;
    return 0;
}

static int check_files(struct options *options)
{
    char why[ALLOW_WHY_BYTES];
    struct certificate certificate;
    struct allow *allow = options->allow[0] ? allow_read(options->allow, why) : NULL;
    if (options->allow[0] && !allow)
        return complain(options, EX_CONFIG, "%s", why);
    allow_destroy(&allow);
    enum status status =
        options->curve_key[0] ? certificate_read(&certificate, options->curve_key) : STATUS_OK;
    explicit_bzero(&certificate, sizeof(certificate));
    if (status)
        return complain(options, status == STATUS_DENIED ? EX_NOPERM : EX_CONFIG, "%s: %s",
                        options->curve_key,
                        status == STATUS_DENIED ? "others than its owner can read it; chmod 600"
                        : status == STATUS_IO   ? strerror(errno)
                                                : "there is no pair of keys in it");
    return 0;
}

/* Keys without a list would let in everybody who knows the public one; a list without keys knows
 * the users of ipc only. Neither is guessed at. */
static int finish_access(struct options *options)
{
    options->server.curve_key_file = options->curve_key[0] ? options->curve_key : NULL;
    options->server.allow_file = options->allow[0] ? options->allow : NULL;
    if (options->curve_key[0] && !options->allow[0])
        return complain(options, EX_CONFIG,
                        "--curve-key needs --allow FILE, the list of keys that may connect");
    for (unsigned i = 0; i < options->endpoint_count; i++)
        if (options->allow[0] && !options->curve_key[0] &&
            strncmp(options->endpoints[i], "ipc://", 6) != 0)
            return complain(options, EX_CONFIG,
                            "--allow cannot tell who comes over %s without --curve-key; set it, or "
                            "listen on ipc:// only",
                            options->endpoints[i]);
    if (options->action == ACTION_CHECK_CONFIG)
        return check_files(options);
    return 0;
}

static const char *default_directory(struct options *options)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    const char *why = NULL;
    char path[PATH_BYTES];
    if (geteuid() == 0 || access("/var/lib/everdue", W_OK) == 0)
        why = set_text(path, sizeof(path), "/var/lib/everdue");
    else if (state && state[0] == '/')
        snprintf(path, sizeof(path), "%s/everdue", state);
    else if (home && home[0] == '/')
        snprintf(path, sizeof(path), "%s/.local/state/everdue", home);
    else
        why = "no --store is given, and there is no home directory to keep records in";
    return why ? why : set_text(options->directory, PATH_BYTES, path);
}

static int finish_store(struct options *options)
{
    const char *why = NULL;
    if (!options->store[0])
        why = default_directory(options);
    else if (strncmp(options->store, "lmdb:", 5) == 0)
        why = set_text(options->directory, PATH_BYTES, options->store + 5);
    if (why)
        return complain(options, EX_CONFIG, "store: %s", why);
    options->server.store_directory = options->directory[0] ? options->directory : NULL;
    return 0;
}

/* The directory of a stopped broker: as it is named, else the one that --store chooses. */
static int finish_stopped(struct options *options, const struct flags *flags)
{
    const char *named = flags->directory;
    bool has_records = options->action != ACTION_CHECK_STORE;
    if (options->queue && (!has_records || !bytes_are_queue_name(bytes_of(options->queue))))
        return complain(options, EX_USAGE, "--queue \"%s\": %s", options->queue,
                        has_records ? "that is no name of a queue"
                                    : "it goes with --dump-store and --salvage");
    if (!named) {
        int code = finish_store(options);
        if (!code && !options->directory[0])
            code = complain(options, EX_USAGE, "the store is memory; name the directory of one");
        return code;
    }
    if (strncmp(named, "lmdb:", 5) == 0)
        named += 5;
    if (!named[0] || set_text(options->directory, PATH_BYTES, named))
        return complain(options, EX_USAGE, "that is no name of a directory");
    return 0;
}

static int read_all(struct options *options, const struct flags *flags)
{
    char variable[64];
    const char *config = flags->config ? flags->config : environment("config", variable);
    set_defaults(options);
    options->action = flags->action;
    if (config && config[0]) {
        if (set_text(options->config, PATH_BYTES, config))
            return complain(options, EX_CONFIG, "the name of the configuration file is too long");
        if (!config_read(options, config))
            return EX_CONFIG;
    }
    int code = read_environment(options);
    if (!code)
        code = apply_flags(options, flags);
    options->queue = flags->queue;
    return code;
}

/* --- the command line ------------------------------------------------------------------------- */

enum {
    KEY_CONFIG = 0x1000,
    KEY_CHECK_CONFIG,
    KEY_CHECK_STORE,
    KEY_DUMP_STORE,
    KEY_SALVAGE,

    KEY_QUEUE,
    KEY_SETTING
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct flags *flags = state->input;
    int setting = key - KEY_SETTING;
    if (key == KEY_CONFIG) {
        flags->config = argument;
    } else if (key == KEY_CHECK_CONFIG) {
        flags->action = ACTION_CHECK_CONFIG;
    } else if (key >= KEY_CHECK_STORE && key <= KEY_SALVAGE) {
        if (flags->action >= ACTION_CHECK_STORE)
            argp_error(state, "one of --check-store, --dump-store and --salvage at a time");
        flags->action = key == KEY_CHECK_STORE  ? ACTION_CHECK_STORE
                        : key == KEY_DUMP_STORE ? ACTION_DUMP_STORE
                                                : ACTION_SALVAGE;
        if (argument)
            flags->directory = argument;
    } else if (key == KEY_QUEUE) {
        flags->queue = argument;
    } else if (setting >= 0 && setting < SETTINGS) {
        if (flags->counts[setting] == ENDPOINTS_MAX)
            argp_error(state, "--%s comes too often", settings[setting].name);
        else
            flags->values[setting][flags->counts[setting]++] = argument ? argument : "true";
    } else if (key == ARGP_KEY_ARG && !flags->directory) {
        flags->directory = argument; /* of --check-store and its like; argp gives it last */
    } else if (key == ARGP_KEY_ARG) {
        argp_error(state, "\"%s\" is one directory too many", argument);
    } else if (key == ARGP_KEY_END && flags->action < ACTION_CHECK_STORE) {
        const char *extra = flags->directory ? flags->directory : flags->queue;
        if (extra)
            argp_error(state, "\"%s\" is no option; everdue-broker takes no arguments", extra);
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "%s\n", version_text("everdue-broker"));
}

static bool is_switch(const struct setting *setting)
{
    return setting->set == set_insecure || setting->set == set_sane_clock;
}

/* Flags may come twice (SIGHUP reads all again); argp ends the process for what is wrong in them.
 */
static void parse_flags(int argc, char **argv, struct flags *flags)
{
    static const struct argp_option fixed[] = {
        {"config", KEY_CONFIG, "FILE", 0, "Read settings from here (name = value)", 0},
        {"check-config", KEY_CHECK_CONFIG, NULL, 0, "Check the settings and exit", 0},
        {"check-store", KEY_CHECK_STORE, "DIR", OPTION_ARG_OPTIONAL,
         "Verify the store of a stopped broker (that of --store, unless named)", 0},
        {"dump-store", KEY_DUMP_STORE, "DIR", OPTION_ARG_OPTIONAL,
         "Print the store of a stopped broker as lines of JSON", 0},
        {"salvage", KEY_SALVAGE, "DIR", OPTION_ARG_OPTIONAL,
         "Print what is whole in a damaged store as lines that everdue sync reads, and name what "
         "is lost",
         0},
        {"queue", KEY_QUEUE, "QUEUE", 0,
         "With --dump-store and --salvage: only the records of this queue, as export writes them",
         0},
    };
    enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };
    struct argp_option list[SETTINGS + FIXED + 1] = {{0}};
    for (int i = 0; i < SETTINGS; i++)
        list[i] = (struct argp_option){
            .name = settings[i].name,
            .key = KEY_SETTING + i,
            .arg = settings[i].argument,
            .flags = is_switch(&settings[i]) ? OPTION_ARG_OPTIONAL : 0,
            .doc = settings[i].help,
        };
    memcpy(list + SETTINGS, fixed, sizeof(fixed));
    struct argp argp = {
        .options = list,
        .parser = parse,
        .doc = "Keeps records coming due and hands each one to one worker.\v"
               "Each setting is also a variable (--log-format is EVERDUE_LOG_FORMAT) and a line of "
               "the configuration file (log-format = json). A flag wins over the variable, that "
               "over the file. SIGTERM drains and stops, SIGHUP reads the file again.",
    };
    argp_program_version_hook = print_version;
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, flags);
}

int options_read(struct options *options, int argc, char **argv)
{
    struct flags flags = {.action = ACTION_RUN};
    parse_flags(argc, argv, &flags);
    int code = read_all(options, &flags);
    options->argc = argc;
    options->argv = argv;
    if (!code && options->action <= ACTION_CHECK_CONFIG)
        code = finish_endpoints(options);
    if (!code && options->action <= ACTION_CHECK_CONFIG)
        code = finish_access(options);
    if (!code && options->action <= ACTION_CHECK_CONFIG)
        code = finish_store(options);
    if (!code && options->action >= ACTION_CHECK_STORE)
        code = finish_stopped(options, &flags);
    if (code)
        fprintf(stderr, "everdue-broker: %s\n", options->why);
    else if (options->action == ACTION_CHECK_CONFIG)
        fprintf(stderr, "everdue-broker: the settings are good\n");
    return code;
}

/* --- again ------------------------------------------------------------------------------------ */

static bool has_other_endpoints(const struct options *options, const struct options *fresh)
{
    if (!fresh->endpoint_count) /* the default */
        return options->endpoint_count != 1 || strcmp(options->endpoints[0], LISTEN_DEFAULT) != 0;
    bool is_other = fresh->endpoint_count != options->endpoint_count;
    for (unsigned i = 0; i < fresh->endpoint_count && !is_other; i++)
        is_other = strcmp(fresh->endpoints[i], options->endpoints[i]) != 0;
    return is_other;
}

static void name_what_stays(const struct options *options, const struct options *fresh)
{
    const struct server_options *was = &options->server, *is = &fresh->server;
    if (is->sync != was->sync || is->sync_interval_us != was->sync_interval_us ||
        is->journal_bytes_max != was->journal_bytes_max ||
        fresh->log_format != options->log_format || strcmp(fresh->store, options->store) != 0 ||
        strcmp(fresh->curve_key, options->curve_key) != 0 ||
        strcmp(fresh->allow, options->allow) != 0 || has_other_endpoints(options, fresh))
        log_line(LOG_WARNING,
                 "listen, store, sync, journal-max, curve-key, allow (the name) and log-format "
                 "change with a restart only",
                 NULL);
}

/* Queues whose section is gone get what holds for all. */
static void keep_names(struct options *fresh, const struct options *options)
{
    for (unsigned i = 0; i < options->policy_count; i++) {
        unsigned k = 0;
        while (k < fresh->policy_count &&
               strcmp(fresh->policies[k].name, options->policies[i].name) != 0)
            k++;
        if (k < fresh->policy_count || k == POLICIES_MAX)
            continue;
        fresh->policies[fresh->policy_count] = options->policies[i];
        fresh->policies[fresh->policy_count++].policy = fresh->server.sched.policy;
    }
}

bool options_reread(struct options *options)
{
    struct options *fresh = malloc(sizeof(*fresh));
    struct flags flags = {.action = ACTION_RUN};
    if (!fresh) {
        complain(options, EX_OSERR, "%s", status_text(STATUS_NO_MEMORY));
        return false;
    }
    parse_flags(options->argc, options->argv, &flags);
    bool is_well = read_all(fresh, &flags) == 0;
    if (is_well) {
        name_what_stays(options, fresh);
        keep_names(fresh, options);
        options->server.sched = fresh->server.sched;
        options->server.reconnect_us = fresh->server.reconnect_us;
        options->server.stop_us = fresh->server.stop_us;
        options->server.free_bytes_least = fresh->server.free_bytes_least;
        options->log_level = fresh->log_level;
        memcpy(options->policies, fresh->policies, sizeof(fresh->policies));
        options->policy_count = fresh->policy_count;
    } else {
        memcpy(options->why, fresh->why, sizeof(fresh->why));
    }
    free(fresh);
    return is_well;
}
