/* integrity.c - a plugin that notices files which change: --plugin ./integrity.so -- min=5s max=1h
 * The payload is {"path": "/etc/passwd"}; without one the key is the path. The memo keeps digest
 * and interval, which doubles up to `max` while the file stays the same. */
#define XXH_STATIC_LINKING_ONLY /* a digest's state on the stack */
#include <everdue/worker.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static uint64_t min_us = 5000000, max_us = 3600000000;
static char data[65536], path[4096], memo[64]; /* results borrow until the next call */

int everdue_plugin_open(int argc, char **argv, void **user)
{
    *user = NULL;
    for (int i = 1; i < argc; i++) {
        char name[4] = "", unit = 0, more;
        double number = 0;
        bool is_read = sscanf(argv[i], "%3[a-z]=%lf%c%c", name, &number, &unit, &more) == 3;
        double us = number * (unit == 's' ? 1e6 : unit == 'm' ? 6e7 : unit == 'h' ? 3.6e9 : 0);
        uint64_t *place = !strcmp(name, "min") ? &min_us : !strcmp(name, "max") ? &max_us : NULL;
        if (!is_read || !place || !(us >= 1 && us < 1e15))
            return fprintf(stderr, "integrity: %s: write min=5s max=1h\n", argv[i]);
        *place = (uint64_t)us;
    }
    return min_us > max_us;
}

static bool read_path(const struct everdue_task *task)
{
    json_t *payload = json_loadb(task->payload.data, task->payload.count, 0, NULL);
    const char *named = json_string_value(json_object_get(payload, "path"));
    struct everdue_bytes name = task->payload.count ? everdue_text(named) : task->key;
    snprintf(path, sizeof path, "%.*s", (int)name.count, (const char *)name.data);
    json_decref(payload);
    return name.count > 0 && name.count < sizeof path;
}

static int digest_file(uint64_t *digest) /* returns 0 or an errno */
{
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

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    uint64_t sum = 0, old, last_us = 0;
    (void)user;
    snprintf(memo, sizeof memo, "%.*s", (int)task->memo.count, (const char *)task->memo.data);
    bool is_known = sscanf(memo, "{\"xxh3\":\"%" SCNx64 "\",\"us\":%" SCNu64, &old, &last_us) == 2;
    bool has_path = read_path(task);
    int error = has_path ? digest_file(&sum) : EINVAL;
    bool is_same = is_known && !error && sum == old;
    if (!has_path || (error && is_known)) {
        result->outcome = has_path ? EVERDUE_RETRY : EVERDUE_PARK;
        result->error = everdue_text(has_path ? "the file was there before" : "no path in payload");
    }
    bool is_soon = !is_same || last_us < min_us / 2;
    uint64_t next_us = is_soon ? min_us : last_us < max_us / 2 ? 2 * last_us : max_us;
    snprintf(memo, sizeof memo, "{\"xxh3\":\"%016" PRIx64 "\",\"us\":%" PRIu64 "}", sum, next_us);
    result->in_us = (int64_t)(error ? max_us : next_us);
    if (!is_same) /* else absent: the note tells of the last change */
        result->note = everdue_text(error ? strerror(error) : is_known ? "changed" : "");
    result->memo = everdue_text(error ? "" : is_same && next_us == last_us ? NULL : memo);
}
