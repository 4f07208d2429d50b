#include "options.h"

#include <argp.h>
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "settings.h"
#include "version.h"

/* --- sources ---------------------------------------------------------------------------------- */

/* What the command line said, applied last. */
struct flags {
    const char *values[SETTINGS][ENDPOINTS_MAX];
    unsigned counts[SETTINGS];
    const char *config;
    const char *directory;
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

static int complain(const char *source, const char *name, const char *value, const char *why)
{
    fprintf(stderr, "everdue-broker: %s: %s is \"%s\": %s\n", source, name, value, why);
    return EX_CONFIG;
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
            return complain("environment", variable, value, why);
    }
    return 0;
}

static int read_file(struct options *options, const char *path)
{
    int line;
    const char *why;
    if (!path || config_read(options, path, &line, &why))
        return 0;
    if (line > 0)
        fprintf(stderr, "everdue-broker: %s:%d: %s\n", path, line, why);
    else
        fprintf(stderr, "everdue-broker: %s: %s\n", path, why);
    return EX_CONFIG;
}

static int apply_flags(struct options *options, const struct flags *flags)
{
    for (int i = 0; i < SETTINGS; i++) {
        if (flags->counts[i] && settings[i].set == set_listen)
            options->endpoint_count = 0;
        for (unsigned k = 0; k < flags->counts[i]; k++) {
            const char *why = settings[i].set(options, flags->values[i][k]);
            if (!why)
                continue;
            complain("--", settings[i].name, flags->values[i][k], why);
            return EX_USAGE;
        }
    }
    return 0;
}

/* --- what follows ----------------------------------------------------------------------------- */

static bool is_loopback(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", 6) == 0 || strncmp(endpoint, "tcp://127.", 10) == 0 ||
           strncmp(endpoint, "tcp://[::1]:", 12) == 0 ||
           strncmp(endpoint, "tcp://localhost:", 16) == 0;
}

static int finish_endpoints(struct options *options)
{
    if (!options->endpoint_count)
        set_listen(options, "tcp://127.0.0.1:7790");
    for (unsigned i = 0; i < options->endpoint_count; i++) {
        options->endpoint_list[i] = options->endpoints[i];
        if (is_loopback(options->endpoints[i]) || options->insecure_plaintext)
            continue;
        fprintf(stderr,
                "everdue-broker: %s is open to others, and connections would be plain text. "
                "Listen on loopback, or say --insecure-plaintext=true if the network is yours\n",
                options->endpoints[i]);
        return EX_NOPERM;
    }
    options->endpoint_list[options->endpoint_count] = NULL;
    options->server.endpoints = options->endpoint_list;
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
        why = "neither --store, nor a home directory to keep records in";
    return why ? why : set_text(options->directory, PATH_BYTES, path);
}

static int finish_store(struct options *options)
{
    const char *why = NULL;
    if (!options->store[0])
        why = default_directory(options);
    else if (strncmp(options->store, "lmdb:", 5) == 0)
        why = set_text(options->directory, PATH_BYTES, options->store + 5);
    if (why) {
        fprintf(stderr, "everdue-broker: %s\n", why);
        return EX_CONFIG;
    }
    options->server.store_directory = options->directory[0] ? options->directory : NULL;
    return 0;
}

static int read_all(struct options *options, const struct flags *flags)
{
    char variable[64];
    const char *config = flags->config ? flags->config : environment("config", variable);
    set_defaults(options);
    options->action = flags->action;
    int code = read_file(options, config);
    if (!code && config && set_text(options->config, PATH_BYTES, config))
        code = EX_CONFIG;
    if (!code)
        code = read_environment(options);
    if (!code)
        code = apply_flags(options, flags);
    if (!code && flags->directory)
        set_text(options->directory, PATH_BYTES, flags->directory);
    return code;
}

/* --- the command line ------------------------------------------------------------------------- */

enum { KEY_CONFIG = 0x1000, KEY_CHECK_CONFIG, KEY_CHECK_STORE, KEY_DUMP_STORE, KEY_SETTING };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct flags *flags = state->input;
    int setting = key - KEY_SETTING;
    if (key == KEY_CONFIG) {
        flags->config = argument;
    } else if (key == KEY_CHECK_CONFIG) {
        flags->action = ACTION_CHECK_CONFIG;
    } else if (key == KEY_CHECK_STORE || key == KEY_DUMP_STORE) {
        flags->action = key == KEY_CHECK_STORE ? ACTION_CHECK_STORE : ACTION_DUMP_STORE;
        flags->directory = strncmp(argument, "lmdb:", 5) == 0 ? argument + 5 : argument;
    } else if (setting >= 0 && setting < SETTINGS) {
        if (flags->counts[setting] == ENDPOINTS_MAX)
            argp_error(state, "--%s comes too often", settings[setting].name);
        else
            flags->values[setting][flags->counts[setting]++] = argument ? argument : "true";
    } else if (key == ARGP_KEY_ARG) {
        argp_error(state, "\"%s\" is no option; everdue-broker takes no arguments", argument);
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

int options_read(struct options *options, int argc, char **argv)
{
    static const struct argp_option fixed[] = {
        {"config", KEY_CONFIG, "FILE", 0, "Read settings from here (name = value)", 0},
        {"check-config", KEY_CHECK_CONFIG, NULL, 0, "Check the settings and exit", 0},
        {"check-store", KEY_CHECK_STORE, "DIR", 0, "Verify the store of a stopped broker", 0},
        {"dump-store", KEY_DUMP_STORE, "DIR", 0, "Print the store of a stopped broker", 0},
    };
    enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };
    struct argp_option list[SETTINGS + FIXED + 1] = {{0}};
    for (int i = 0; i < SETTINGS; i++)
        list[i] = (struct argp_option){
            .name = settings[i].name,
            .key = KEY_SETTING + i,
            .arg = settings[i].argument,
            .flags = settings[i].set == set_insecure ? OPTION_ARG_OPTIONAL : 0,
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
    struct flags flags = {.action = ACTION_RUN};
    argp_program_version_hook = print_version;
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &flags);
    int code = read_all(options, &flags);
    if (!code && options->action <= ACTION_CHECK_CONFIG)
        code = finish_endpoints(options);
    if (!code && options->action <= ACTION_CHECK_CONFIG)
        code = finish_store(options);
    return code;
}

bool options_reread(struct options *options)
{
    struct options *fresh = malloc(sizeof(*fresh));
    struct flags flags = {.action = ACTION_RUN,
                          .config = options->config[0] ? options->config : NULL};
    bool is_well = fresh && read_all(fresh, &flags) == 0;
    if (is_well) {
        options->server.sched = fresh->server.sched;
        options->log_level = fresh->log_level;
        memcpy(options->policies, fresh->policies, sizeof(fresh->policies));
        options->policy_count = fresh->policy_count;
        bool is_same = fresh->server.sync == options->server.sync &&
                       (!fresh->store[0] || strcmp(fresh->store, options->store) == 0);
        if (!is_same)
            log_line(LOG_WARNING, "store and sync change with a restart only", NULL);
    }
    free(fresh);
    return is_well;
}
