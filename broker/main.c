/* everdue-broker: reads its options, raises its limits, runs the server. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "options.h"
#include "quantity.h"
#include "stopped.h"

enum { DESCRIPTORS_SPARE = 512, SESSIONS_LEAST = 64 };
enum { MAPPED_BYTES_LEAST = 512 << 10, SPARE_BYTES_MAX = 1 << 20 };

/* What a burst, a checkpoint or a full set took goes back to the system when it is freed. By itself
 * malloc raises both limits, to 32 and 64 MiB, with the first large block that is freed; and each
 * thread would keep free memory of its own, which malloc_trim (server_rest.c) does not reach. */
static void bound_spare_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_LEAST);
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES_MAX);
    mallopt(M_ARENA_MAX, 1);
}

/* A connection costs a descriptor; without any left libzmq aborts or spins, so it never comes to
 * that. */
static int raise_descriptors(struct options *options)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return EX_OK;
    rlim_t wanted = (rlim_t)options->server.sched.limits.sessions_max + DESCRIPTORS_SPARE;
    if (limit.rlim_cur >= wanted)
        return EX_OK;
    if (limit.rlim_cur < DESCRIPTORS_SPARE + SESSIONS_LEAST) {
        fprintf(stderr,
                "everdue-broker: %llu file descriptors are too few; raise the limit (ulimit -n) "
                "to %llu, or lower --sessions-max\n",
                (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
        return EX_OSERR;
    }
    options->server.sched.limits.sessions_max = (uint32_t)(limit.rlim_cur - DESCRIPTORS_SPARE);
    log_line(LOG_WARNING, "fewer sessions than configured: too few file descriptors",
             "sessions_max", log_u64(options->server.sched.limits.sessions_max), NULL);
    return EX_OK;
}

static void say_what_is_weaker(const struct options *options)
{
    char text[QUANTITY_TEXT_BYTES];
    if (!options->server.store_directory)
        log_line(LOG_WARNING, "records are kept in memory only: a restart forgets them", NULL);
    else if (options->server.sync == SYNC_INTERVAL)
        log_line(LOG_WARNING,
                 "changes are acknowledged before they are on disk: a crash loses the last",
                 "window", duration_format(options->server.sync_interval_us, text), NULL);
    else if (options->server.sync == SYNC_NEVER)
        log_line(LOG_WARNING, "changes are never synced: a power cut may corrupt the store", NULL);
    if (options->insecure_plaintext)
        log_line(LOG_WARNING,
                 "connections are plain text: anybody on the network can read and write", NULL);
}

/* What is due goes by the wall clock: one that has never been set hands out nothing, or, set later,
 * all at once. */
static int check_clock(const struct options *options)
{
    const int64_t built_us = EVERDUE_BUILT_S * (int64_t)US_PER_S;
    int64_t now_us = time(NULL) * (int64_t)US_PER_S;
    char now[QUANTITY_TEXT_BYTES], built[QUANTITY_TEXT_BYTES];
    if (!options->requires_sane_clock || now_us >= built_us)
        return EX_OK;
    fprintf(stderr,
            "everdue-broker: the wall clock says %s, and this was built on %s. Set it, or start "
            "without --require-sane-clock\n",
            time_format(now_us > 0 ? now_us : 0, 0, now), time_format(built_us, 0, built));
    return EX_OSERR;
}

struct broker {
    struct options *options;
    bool runs; /* its settings are in force: the next time they are to be read again */
};

static bool configure(struct sched_settings *settings, struct sched *sched, void *user)
{
    struct broker *broker = user;
    struct options *options = broker->options;
    if (broker->runs && !options_reread(options)) {
        log_line(LOG_ERR, "the settings are wrong; those before stay in force", "why", options->why,
                 NULL);
        return false;
    }
    if (broker->runs)
        raise_descriptors(options); /* it was enough at the start */
    for (unsigned i = 0; i < options->policy_count; i++) {
        struct bytes name = bytes_of(options->policies[i].name);
        enum status status = sched_set_policy(sched, name, &options->policies[i].policy);
        if (status)
            log_line(LOG_ERR, "the policy of a queue cannot be set", "queue",
                     options->policies[i].name, "why", status_text(status), NULL);
    }
    log_set_level(options->log_level);
    *settings = options->server.sched;
    if (broker->runs)
        log_line(LOG_NOTICE, "the settings were read again", "file",
                 options->config[0] ? options->config : NULL, NULL);
    broker->runs = true;
    return true;
}

int main(int argc, char **argv)
{
    struct options *options = calloc(1, sizeof(*options));
    struct broker broker = {.options = options};
    if (!options)
        return EX_OSERR;
    umask(0077);
    int code = options_read(options, argc, argv);
    if (!code && options->action >= ACTION_CHECK_STORE) {
        code = stopped_run(options);
    } else if (!code && options->action == ACTION_RUN) {
        log_open("everdue-broker", options->log_format, options->log_level);
        say_what_is_weaker(options);
        bound_spare_memory();
        code = check_clock(options);
        if (!code)
            code = raise_descriptors(options);
        if (!code)
            code = server_run(&options->server, configure, &broker);
    }
    free(options);
    return code;
}
