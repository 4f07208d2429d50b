/* options.h - what the operator chose: flags, EVERDUE_... variables, configuration file, defaults,
 * in this order of precedence. Every setting has one name in all of them (options.c has the table).
 */
#ifndef EVERDUE_OPTIONS_H
#define EVERDUE_OPTIONS_H

#include <stdbool.h>

#include "log.h"
#include "server.h"

enum { ENDPOINTS_MAX = 16, POLICIES_MAX = 256, PATH_BYTES = 4096, TEXT_BYTES = 256 };
enum { WHY_BYTES = PATH_BYTES + 1024 };

/* The policy of a queue: a section [queue NAME] of the configuration file. */
struct queue_policy {
    char name[QUEUE_NAME_BYTES_MAX + 1];
    struct sched_policy policy;
};

/* From ACTION_CHECK_STORE on: what is done with the store of a stopped broker. */
enum options_action {
    ACTION_RUN,
    ACTION_CHECK_CONFIG,
    ACTION_CHECK_STORE,
    ACTION_DUMP_STORE,
    ACTION_SALVAGE,
};

struct options {
    enum options_action action;
    char config[PATH_BYTES];
    char store[PATH_BYTES]; /* "memory" or "lmdb:DIR"; empty: the default directory */
    char directory[PATH_BYTES];
    const char *queue; /* of a dump or salvage; NULL: all. Borrowed from argv */
    char endpoints[ENDPOINTS_MAX][TEXT_BYTES];
    const char *endpoint_list[ENDPOINTS_MAX + 1];
    unsigned endpoint_count;
    bool insecure_plaintext;
    bool requires_sane_clock;
    char curve_key[PATH_BYTES]; /* empty: plain */
    char allow[PATH_BYTES];     /* empty: everybody who reaches an endpoint may do everything */
    enum log_format log_format;
    int log_level;
    struct queue_policy policies[POLICIES_MAX];
    unsigned policy_count;
    struct server_options server;
    int argc; /* borrowed from main */
    char **argv;
    char why[WHY_BYTES]; /* what is wrong, where, what to write */
};

/* Flags, environment, file. 0, or a sysexits code when something is wrong (said on stderr). argp
 * ends the process itself for --help, --version and usage errors. */
int options_read(struct options *options, int argc, char **argv);

/* The same again (SIGHUP). False: the file is wrong, `why` says how, and all else is as before.
 * What needs a restart to change is named in the log. */
bool options_reread(struct options *options);

/* One setting of the configuration file; NULL, or a text that says what is wrong. `section` is "",
 * "queues" or "queue NAME". (settings.c) */
const char *options_set(struct options *options, const char *section, const char *name,
                        const char *value);

/* Reads a file of settings, 1 MiB at most. False: `why` says what is wrong, with file and line.
 * (config.c) */
bool config_read(struct options *options, const char *path);
/* The same for a text that is in memory; `path` is what `why` calls it. */
bool config_parse(struct options *options, const char *text, const char *path);

#endif
