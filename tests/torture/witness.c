/* witness.c - a plugin for everdue-worker that writes down each run, for the history checker.
 *
 *   everdue-worker --plugin witness.so -- DIRECTORY
 *
 * Appends to DIRECTORY/witness-PID, one line an event, times in microseconds of the wall clock:
 *
 *   B now lease state due lateness crashes key payload memo       a run begins
 *   E now lease state key in                                      it ends and asks for now + in
 *
 * Payload and memo are "-" where there is none; keys and payloads of the torture have no blanks. A
 * line is one write, so a process that is killed leaves whole lines. Each run takes 0 to 30 ms,
 * some take half a second, so that kills find them at work. The memo is "m" and the lease. */
#include <everdue/worker.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 8192, PATH_BYTES = 512, US_PER_S = 1000000, NS_PER_US = 1000 };

/* Knuth's multiplicative hash spreads lease numbers, which only grow. */
#define SPREAD UINT64_C(2654435761)

struct witness {
    int fd;
    char memo[32]; /* of the last result: read before the next run */
};

static int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US;
}

/* A line that does not fit, or cannot be written, would be a hole in the history: the worker ends,
 * and whoever started it finds it gone. */
static void append(const struct witness *witness, const char *line, int count)
{
    if (count <= 0 || count >= LINE_BYTES || write(witness->fd, line, (size_t)count) != count)
        _exit(74);
}

static void say_begin(const struct witness *witness, const struct everdue_task *task)
{
    char line[LINE_BYTES];
    struct everdue_bytes none = {"-", 1};
    struct everdue_bytes payload = task->payload.count ? task->payload : none;
    struct everdue_bytes memo = task->memo.count ? task->memo : none;
    int count = snprintf(line, sizeof(line),
                         "B %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRIu32
                         " %.*s %.*s %.*s\n",
                         wall_us(), task->lease, task->state, task->due_us, task->lateness_us,
                         task->crashes, (int)task->key.count, (const char *)task->key.data,
                         (int)payload.count, (const char *)payload.data, (int)memo.count,
                         (const char *)memo.data);
    append(witness, line, count);
}

static void run(const struct everdue_task *task)
{
    uint64_t dice = task->lease * SPREAD >> 8;
    int64_t us = dice % 20 == 0 ? US_PER_S / 2 : (int64_t)(dice / 20 % 30000);
    struct timespec pause = {us / US_PER_S, us % US_PER_S * NS_PER_US};
    while (nanosleep(&pause, &pause) != 0) /* a signal: the rest */
        ;
}

int everdue_plugin_open(int argc, char **argv, void **user)
{
    static struct witness witness = {.fd = -1};
    char path[PATH_BYTES];
    if (argc != 2) {
        fprintf(stderr, "witness: one argument, the directory to write to\n");
        return 64;
    }
    int count = snprintf(path, sizeof(path), "%s/witness-%ld", argv[1], (long)getpid());
    if (count > 0 && count < PATH_BYTES)
        witness.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (witness.fd < 0) {
        perror("witness: cannot write its file");
        return 74;
    }
    *user = &witness;
    return 0;
}

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    struct witness *witness = user;
    char line[LINE_BYTES];
    say_begin(witness, task);
    run(task);
    int64_t in_us = 10000 + (int64_t)(task->lease * SPREAD >> 4) % 70000;
    int count = snprintf(
        line, sizeof(line), "E %" PRId64 " %" PRIu64 " %" PRIu64 " %.*s %" PRId64 "\n", wall_us(),
        task->lease, task->state, (int)task->key.count, (const char *)task->key.data, in_us);
    append(witness, line, count);
    count = snprintf(witness->memo, sizeof(witness->memo), "m%" PRIu64, task->lease);
    result->in_us = in_us;
    result->memo = (struct everdue_bytes){witness->memo, (size_t)count};
}
