/* integrity.c - a plugin for everdue-worker that notices files which change.
 *
 *   everdue-worker --plugin ./integrity.so -- min=5s max=1h
 *
 * The payload is {"path": "/etc/passwd"}; without one the key is the path. The memo keeps digest
 * and interval: a file that stays the same is looked at half as often each time, up to `max`.
 */
#define XXH_STATIC_LINKING_ONLY /* a digest's state on the stack */
#include <everdue/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

everdue_handler everdue_handle;
int everdue_plugin_open(int argc, char **argv, void **user);

static struct integrity {
    int64_t min_us, max_us;
    char memo[64], error[PATH_MAX + 64]; /* live until the next call */
} own = {.min_us = 5000000, .max_us = 3600000000};

/* Microseconds in a unit, 0 for none. */
static double scale_of(const char *unit)
{
    if (strcmp(unit, "ms") == 0)
        return 1e3;
    return !strcmp(unit, "s") ? 1e6 : !strcmp(unit, "m") ? 6e7 : !strcmp(unit, "h") ? 3.6e9 : 0;
}

int everdue_plugin_open(int argc, char **argv, void **user)
{
    *user = &own;
    for (int i = 1; i < argc; i++) {
        char name[4] = "", unit[3] = "", more;
        double number = 0;
        bool is_read = sscanf(argv[i], "%3[a-z]=%lf%2s%c", name, &number, unit, &more) == 3;
        double us = number * scale_of(unit);
        int64_t *place = strcmp(name, "max") == 0 ? &own.max_us : &own.min_us;
        if (!is_read || us < 1 || us > 1e15 || (place == &own.min_us && strcmp(name, "min") != 0)) {
            fprintf(stderr, "integrity: %s: write min=5s max=1h\n", argv[i]);
            return 1;
        }
        *place = (int64_t)us;
    }
    return own.min_us > own.max_us;
}

static bool read_path(const struct everdue_task *task, char path[PATH_MAX])
{
    if (task->payload.count == 0)
        return snprintf(path, PATH_MAX, "%.*s", (int)task->key.count, (const char *)task->key.data);
    json_t *payload = json_loadb(task->payload.data, task->payload.count, 0, NULL);
    const char *text = json_string_value(json_object_get(payload, "path"));
    bool fits = text && snprintf(path, PATH_MAX, "%s", text) < PATH_MAX;
    json_decref(payload);
    return fits;
}

/* Returns 0 or an errno. */
static int digest_file(const char *path, uint64_t *digest)
{
    char data[65536];
    XXH3_state_t state;
    ssize_t count;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us up */

    if (fd < 0)
        return errno;
    XXH3_64bits_reset(&state);
    while ((count = read(fd, data, sizeof data)) > 0)
        XXH3_64bits_update(&state, data, (size_t)count);
    int error = count < 0 ? errno : 0;
    close(fd);
    *digest = XXH3_64bits_digest(&state);
    return error;
}

/* A file that was never there is a finding; one that is gone is an error, once. */
static void report_unreadable(struct integrity *integrity, struct everdue_result *result,
                              const char *why, bool was_there)
{
    result->in_us = integrity->max_us;
    result->note = everdue_text(why);
    if (!was_there)
        return;
    snprintf(integrity->error, sizeof integrity->error, "the file was there before: %s", why);
    result->outcome = EVERDUE_RETRY;
    result->cause = EVERDUE_CAUSE_FAILED;
    result->error = everdue_text(integrity->error);
    result->memo = everdue_text("");
}

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    struct integrity *integrity = user;
    char path[PATH_MAX], memo[sizeof integrity->memo];
    uint64_t digest, before = 0;
    int64_t interval_us = 0;

    snprintf(memo, sizeof memo, "%.*s", (int)task->memo.count, (const char *)task->memo.data);
    bool was_there =
        sscanf(memo, "{\"xxh3\":\"%16" SCNx64 "\",\"us\":%" SCNd64, &before, &interval_us) == 2;
    if (!read_path(task, path)) {
        result->outcome = EVERDUE_PARK;
        result->error = everdue_text("the payload is not {\"path\": \"...\"}");
        return;
    }
    int error = digest_file(path, &digest);
    if (error) {
        report_unreadable(integrity, result, strerror(error), was_there);
        return;
    }
    bool same = was_there && digest == before;
    bool is_soon = !same || interval_us < integrity->min_us / 2;
    result->in_us = is_soon                               ? integrity->min_us
                    : interval_us < integrity->max_us / 2 ? 2 * interval_us
                                                          : integrity->max_us;
    if (same && result->in_us == interval_us)
        return; /* nothing new to keep: the cheapest report */
    snprintf(integrity->memo, sizeof integrity->memo,
             "{\"xxh3\":\"%016" PRIx64 "\",\"us\":%" PRId64 "}", digest, result->in_us);
    result->memo = everdue_text(integrity->memo);
    result->note = everdue_text(was_there && !same ? "changed" : "");
}
