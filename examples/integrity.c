/* integrity.c - a plugin that notices files which change. The payload is {"path": "/etc/passwd"};
 * the memo keeps a digest. Each look that sees the same doubles the record's every, five times. */
#include <errno.h>
#include <everdue/worker.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static const char *digest_file(const char *path, unsigned long long *digest) /* NULL, or why not */
{
    static char data[65536];
    ssize_t count = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us up */
    while (fd >= 0 && (count = read(fd, data, sizeof data)) > 0)
        *digest = XXH3_64bits_withSeed(data, (size_t)count, *digest);
    const char *error = count < 0 ? strerror(errno) : NULL;
    close(fd);
    return error;
}

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    static char memo[64]; /* a result borrows until the next call */
    unsigned long long sum = 0, old, same = 0;
    (void)user;
    json_t *payload = json_loadb(task->payload.data, task->payload.count, 0, NULL);
    const char *path = json_string_value(json_object_get(payload, "path"));
    const char *error = path ? digest_file(path, &sum) : "no path in the payload";
    snprintf(memo, sizeof memo, "%.*s", (int)task->memo.count, (const char *)task->memo.data);
    bool is_known = sscanf(memo, "{\"xxh3\":\"%llx\",\"same\":%llu", &old, &same) == 2;
    unsigned long long now = error ? 5 : !is_known || sum != old ? 0 : same < 5 ? same + 1 : 5;
    result->outcome = path ? EVERDUE_OK : EVERDUE_PARK;
    result->in_us = task->every_us ? task->every_us << now : EVERDUE_ABSENT;
    result->note = everdue_text(error ? error : now ? NULL : is_known ? "changed" : "");
    snprintf(memo, sizeof memo, "{\"xxh3\":\"%016llx\",\"same\":%llu}", sum, now);
    result->memo = everdue_text(error ? "" : is_known && sum == old && now == same ? NULL : memo);
    json_decref(payload);
}
