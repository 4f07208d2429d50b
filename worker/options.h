/* options.h - what everdue-worker was asked to do: flags, then EVERDUE_... variables, then
 * defaults. */
#ifndef EVERDUE_WORKER_OPTIONS_H
#define EVERDUE_WORKER_OPTIONS_H

#include "bounds.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BROKERS_MAX = 16,
    PROCESSES_AUTO_MAX = 16,
    PROCESSES_MAX_DEFAULT = 256,
    PROCESSES_MAX = 4096,
    WINDOW_DEFAULT = 16,
    WINDOW_MAX = 4096,
    CREDIT_COMMAND = 2,
    CREDIT_PLUGIN = 64,
    CREDIT_MOST = 1024, /* unless --credit is given */
};

enum handler_kind { HANDLER_EXEC, HANDLER_PIPE, HANDLER_PLUGIN };
enum stdin_kind { STDIN_PAYLOAD, STDIN_TASK };
enum exit_map { EXIT_MAP_SYSEXITS, EXIT_MAP_NAGIOS };

/* Texts that were named more than once, terminated by NULL. */
struct option_list {
    const char *(*check)(const char *item); /* what is wrong with an item, or NULL */
    const char *items[SESSION_QUEUES_MAX + 1];
    size_t count;
    size_t count_max;
    char *copy; /* of a variable that was cut into items */
};

struct options {
    struct option_list brokers; /* empty: the library's default */
    struct option_list queues;
    unsigned processes;
    unsigned cpus;
    unsigned processes_max; /* the cap in force */
    uint32_t credit;        /* of each process and broker; of a command, how many run at a time */
    uint32_t credit_most;   /* over `credit`: it grows with what is finished */
    uint32_t lease_ms;      /* 0: the broker's default */
    uint32_t timeout_ms;
    uint32_t stop_timeout_ms;
    uint32_t kill_after_ms; /* between TERM and KILL */
    uint32_t heartbeat_ms;  /* 0: the broker's default */
    uint32_t window;
    int64_t every_us;
    const char *name;
    const char *curve_key_file;
    const char *curve_server_key;
    enum handler_kind kind;
    enum stdin_kind stdin_kind;
    enum exit_map exit_map;
    const char *plugin;
    char **arguments; /* behind the options: the command, or the plugin's; NULL-terminated */
    int argument_count;
    enum log_format log_format;
    int log_level;
};

/* Everything as without flags and variables; no handler. */
void options_init(struct options *options);

/* Fill in from variables and flags. Texts are borrowed from `argv` and the environment. Returns 0,
 * or an exit code after having said why on stderr. Flags that are refused, --help and --version end
 * the process as argp does. */
int options_parse(struct options *options, int argc, char **argv);

void options_release(struct options *options);

/* "2 processes (2 CPUs, cap 16), credit 64, lease 60 s". Returns `text`. */
char *options_describe(const struct options *options, char *text, size_t room);

#endif
