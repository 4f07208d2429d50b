#include "settings.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "quantity.h"

/* --- one setting ------------------------------------------------------------------------------ */

static const char *set_interval(int64_t *us, const char *value)
{
    return duration_parse(value, strlen(value), us);
}

/* `range` says from where to where. */
static const char *set_count32(uint32_t *count, const char *value, int64_t least, int64_t most,
                               const char *range)
{
    int64_t number;
    if (number_parse(value, strlen(value), least, most, &number))
        return range;
    *count = (uint32_t)number;
    return NULL;
}

const char *set_text(char *text, size_t room, const char *value)
{
    if (strlen(value) >= room)
        return "too long";
    strcpy(text, value);
    return NULL;
}

/* libzmq takes a port modulo 65,536 and removes whatever lies at a socket's path, so it is looked
 * at before. */
static const char *check_endpoint(const char *endpoint)
{
    if (strncmp(endpoint, "ipc://", 6) == 0 && endpoint[6] != '\0')
        return endpoint[6] == '@' ? "an abstract socket has no permissions; write ipc:// and a path"
               : strlen(endpoint + 6) >= sizeof(((struct sockaddr_un *)0)->sun_path)
                   ? "a socket's path has 107 bytes at most"
                   : NULL;
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || colon < endpoint + 7)
        return "an endpoint is tcp://ADDRESS:PORT or ipc://PATH";
    int64_t port;
    if (strcmp(colon, ":*") != 0 && number_parse(colon + 1, strlen(colon + 1), 1, 65535, &port))
        return "a port is 1 to 65535, or * for any that is free";
    return NULL;
}

/* libzmq binds to no names but those of interfaces. */
static const char *add_endpoint(struct options *options, const char *endpoint)
{
    static const char localhost[] = "tcp://localhost:";
    char *text = options->endpoints[options->endpoint_count];
    size_t count = strlen(localhost);
    bool is_local = strncmp(endpoint, localhost, count) == 0;
    int length = is_local ? snprintf(text, TEXT_BYTES, "tcp://127.0.0.1:%s", endpoint + count)
                          : snprintf(text, TEXT_BYTES, "%s", endpoint);
    if (length >= TEXT_BYTES)
        return "too long";
    options->endpoint_count++;
    return NULL;
}

const char *set_listen(struct options *options, const char *value)
{
    char text[ENDPOINTS_MAX * TEXT_BYTES];
    char *rest = NULL;
    if (set_text(text, sizeof(text), value))
        return "too long";
    for (char *one = strtok_r(text, ", ", &rest); one; one = strtok_r(NULL, ", ", &rest)) {
        if (options->endpoint_count == ENDPOINTS_MAX)
            return "more than 16 endpoints";
        const char *why = check_endpoint(one);
        if (!why)
            why = add_endpoint(options, one);
        if (why)
            return why;
    }
    return NULL;
}

static const char *set_store(struct options *options, const char *value)
{
    if (strcmp(value, "memory") != 0 && strncmp(value, "lmdb:", 5) != 0)
        return "a store is memory or lmdb:DIRECTORY";
    if (strcmp(value, "lmdb:") == 0)
        return "name a directory: lmdb:DIRECTORY";
    return set_text(options->store, PATH_BYTES, value);
}

static const char *set_sync(struct options *options, const char *value)
{
    struct server_options *server = &options->server;
    if (strcmp(value, "always") == 0)
        server->sync = SYNC_ALWAYS;
    else if (strcmp(value, "never") == 0)
        server->sync = SYNC_NEVER;
    else if (strncmp(value, "interval:", 9) != 0)
        return "write always, interval:100ms or never";
    else {
        const char *why = set_interval(&server->sync_interval_us, value + 9);
        if (why)
            return why;
        if (server->sync_interval_us < US_PER_MS || server->sync_interval_us > 60 * US_PER_S)
            return "an interval from 1ms to 60s";
        server->sync = SYNC_INTERVAL;
    }
    return NULL;
}

static const char *set_log_format(struct options *options, const char *value)
{
    if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
        return "write text or json";
    options->log_format = value[0] == 'j' ? LOG_JSON : LOG_TEXT;
    return NULL;
}

static const char *set_log_level(struct options *options, const char *value)
{
    static const char *const names[] = {
        [LOG_ERR] = "error", [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
    };
    for (int level = LOG_ERR; level <= LOG_DEBUG; level++)
        if (strcmp(value, names[level]) == 0) {
            options->log_level = level;
            return NULL;
        }
    return "write error, warning, notice, info or debug";
}

static const char *set_bool(bool *is_so, const char *value)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return "write true or false";
    *is_so = value[0] == 't';
    return NULL;
}

const char *set_insecure(struct options *options, const char *value)
{
    return set_bool(&options->insecure_plaintext, value);
}

const char *set_sane_clock(struct options *options, const char *value)
{
    return set_bool(&options->requires_sane_clock, value);
}

static const char *set_curve_key(struct options *options, const char *value)
{
    return set_text(options->curve_key, PATH_BYTES, value);
}

static const char *set_allow(struct options *options, const char *value)
{
    return set_text(options->allow, PATH_BYTES, value);
}

static const char *set_heartbeat(struct options *options, const char *value)
{
    int64_t us = 0;
    const char *why = set_interval(&us, value);
    if (!why && (us < HEARTBEAT_MS_MIN * US_PER_MS || us > (int64_t)HEARTBEAT_MS_MAX * US_PER_MS))
        why = "a heartbeat is 50ms to 10m";
    if (!why)
        options->server.sched.heartbeat_us = us;
    return why;
}

static const char *set_lease(struct options *options, const char *value)
{
    int64_t us = 0;
    const char *why = set_interval(&us, value);
    if (!why && (us < LEASE_MS_MIN * US_PER_MS || us > (int64_t)LEASE_MS_MAX * US_PER_MS))
        why = "a lease is 100ms to 24h";
    if (!why)
        options->server.sched.lease_us = us;
    return why;
}

static const char *set_grace(struct options *options, const char *value)
{
    return set_interval(&options->server.sched.grace_us, value);
}

static const char *set_reconnect(struct options *options, const char *value)
{
    return set_interval(&options->server.reconnect_us, value);
}

static const char *set_sync_idle(struct options *options, const char *value)
{
    int64_t us = 0;
    const char *why = set_interval(&us, value);
    if (!why && us < US_PER_S)
        why = "1s at least";
    if (!why)
        options->server.sched.sync_idle_us = us;
    return why;
}

static const char *set_suspect(struct options *options, const char *value)
{
    return set_interval(&options->server.sched.suspect_us, value);
}

static const char *set_stop_timeout(struct options *options, const char *value)
{
    return set_interval(&options->server.stop_us, value);
}

static const char *set_records_max(struct options *options, const char *value)
{
    int64_t number;
    if (number_parse(value, strlen(value), 1, 4000000000, &number))
        return "write a whole number from 1 to 4000000000";
    options->server.sched.limits.records_max = (uint64_t)number;
    return NULL;
}

static const char *set_bytes_max(struct options *options, const char *value)
{
    return size_parse(value, strlen(value), &options->server.sched.limits.bytes_max);
}

static const char *set_journal_max(struct options *options, const char *value)
{
    return size_parse(value, strlen(value), &options->server.journal_bytes_max);
}

static const char *set_free_least(struct options *options, const char *value)
{
    return size_parse(value, strlen(value), &options->server.free_bytes_least);
}

static const char *set_payload_max(struct options *options, const char *value)
{
    uint64_t bytes = 0;
    const char *why = size_parse(value, strlen(value), &bytes);
    if (!why && bytes > PAYLOAD_BYTES_MAX)
        why = "a payload is at most 256KiB";
    if (!why)
        options->server.sched.limits.payload_bytes_max = (uint32_t)bytes;
    return why;
}

static const char *set_sessions_max(struct options *options, const char *value)
{
    return set_count32(&options->server.sched.limits.sessions_max, value, 1, 100000,
                       "write a whole number from 1 to 100000");
}

static const char *set_credit_max(struct options *options, const char *value)
{
    return set_count32(&options->server.sched.limits.credit_max, value, 1, CREDIT_MAX,
                       "write a whole number from 1 to 16384");
}

static const char *set_backlog_max(struct options *options, const char *value)
{
    return set_count32(&options->server.sched.limits.backlog_max, value, 1, 100000000,
                       "write a whole number from 1 to 100000000");
}

/* --- the policy of queues --------------------------------------------------------------------- */

static const char *set_policy(struct sched_policy *policy, const char *name, const char *value)
{
    if (strcmp(name, "failures-max") == 0)
        return set_count32(&policy->failures_max, value, 1, 16000,
                           "write a whole number from 1 to 16000");
    if (strcmp(name, "crashes-max") == 0)
        return set_count32(&policy->crashes_max, value, 1, 4000,
                           "write a whole number from 1 to 4000");
    if (strcmp(name, "backoff-first") == 0)
        return set_interval(&policy->backoff_first_us, value);
    if (strcmp(name, "backoff-max") == 0)
        return set_interval(&policy->backoff_max_us, value);
    if (strcmp(name, "parks-per-minute") == 0)
        return set_count32(&policy->parks_per_minute_least, value, 0, INT32_MAX,
                           "write a whole number from 0 to 2147483647");
    if (strcmp(name, "parks-share") == 0)
        return share_parse(value, strlen(value), &policy->parks_per_minute_ppm);
    return "no such setting of a queue; there are failures-max, crashes-max, backoff-first, "
           "backoff-max, parks-per-minute, parks-share";
}

static const char *set_queue_policy(struct options *options, const char *queue, const char *name,
                                    const char *value)
{
    if (!bytes_are_queue_name(bytes_of(queue)))
        return "a queue's name is 1 to 64 letters, digits, '.', '_' and '-'";
    for (unsigned i = 0; i < options->policy_count; i++)
        if (strcmp(options->policies[i].name, queue) == 0)
            return set_policy(&options->policies[i].policy, name, value);
    if (options->policy_count == POLICIES_MAX)
        return "more than 256 queues";
    struct queue_policy *policy = &options->policies[options->policy_count++];
    strcpy(policy->name, queue);
    policy->policy = options->server.sched.policy;
    return set_policy(&policy->policy, name, value);
}

/* --- the table -------------------------------------------------------------------------------- */

const struct setting settings[SETTINGS] = {
    {"listen", "ENDPOINT", "Where to listen, several times or with commas (tcp://127.0.0.1:7790)",
     set_listen},
    {"store", "STORE",
     "memory, or lmdb:DIRECTORY (lmdb under /var/lib/everdue or "
     "$XDG_STATE_HOME/everdue)",
     set_store},
    {"sync", "POLICY",
     "When a change is acknowledged: always (on disk; default), interval:100ms "
     "(at once, a crash loses up to that), never (at once; a power cut may corrupt)",
     set_sync},
    {"log-format", "FORMAT", "text (default) or json", set_log_format},
    {"log-level", "LEVEL", "error, warning, notice, info (default) or debug", set_log_level},
    {"curve-key", "FILE", "Encrypt and authenticate all connections with this key (everdue keygen)",
     set_curve_key},
    {"allow", "FILE", "Who may connect, and what each of them may do", set_allow},
    {"insecure-plaintext", "true", "Allow plain TCP on addresses beyond loopback", set_insecure},
    {"heartbeat", "DURATION", "Of sessions that name none (5s)", set_heartbeat},
    {"lease", "DURATION", "Of sessions that name none (60s)", set_lease},
    {"grace", "DURATION", "After a restart, for known workers to come back (5s)", set_grace},
    {"reconnect", "DURATION", "For a broken tcp connection to come back (3s)", set_reconnect},
    {"sync-idle", "DURATION", "A full set of which nothing comes for so long is given up (10m)",
     set_sync_idle},
    {"suspect", "DURATION",
     "A worker that let three leases run out within it gets one record at a time (10m; 0s: never)",
     set_suspect},
    {"require-sane-clock", "true", "Do not start while the wall clock is before this was built",
     set_sane_clock},
    {"stop-timeout", "DURATION", "On SIGTERM, wait so long for reports (8s)", set_stop_timeout},
    {"records-max", "N", "Limit of records (100000000)", set_records_max},
    {"bytes-max", "SIZE", "Limit of bytes of records in memory (1TiB)", set_bytes_max},
    {"payload-max", "SIZE", "Limit of a payload or memo (64KiB)", set_payload_max},
    {"sessions-max", "N", "Limit of connections with a session (10000)", set_sessions_max},
    {"credit-max", "N", "Limit of a session's credit (16384)", set_credit_max},
    {"backlog-max", "N", "Changed records that may wait for the disk (262144)", set_backlog_max},
    {"journal-max", "SIZE",
     "Fold the journal when it is so large (0: 64MiB, or more of many records)", set_journal_max},
    {"free-bytes-least", "SIZE", "Below so much free disk, puts and syncs are refused (128MiB)",
     set_free_least},
};
_Static_assert(sizeof(settings) / sizeof(settings[0]) == SETTINGS, "every setting is there");

static const char *set_policy_default(struct options *options, const char *name, const char *value)
{
    return set_policy(&options->server.sched.policy, name, value);
}

const char *options_set(struct options *options, const char *section, const char *name,
                        const char *value)
{
    if (strncmp(section, "queue ", 6) == 0)
        return set_queue_policy(options, section + 6, name, value);
    if (strcmp(section, "queues") == 0)
        return set_policy_default(options, name, value);
    if (section[0])
        return "no such section; there are [queues] (for all of them) and [queue NAME]";
    for (int i = 0; i < SETTINGS; i++)
        if (strcmp(settings[i].name, name) == 0)
            return settings[i].set(options, value);
    return "no such setting; everdue-broker --help lists them";
}
