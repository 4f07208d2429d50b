/* mortal.c - a worker that begins one run and never ends it: tests/torture/regrant kills it.
 *
 *   mortal ENDPOINT QUEUE
 *
 * Prints the key of its task in a line when the run begins. */
#include <everdue/worker.h>
#include <stdio.h>
#include <unistd.h>

static void hold(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    (void)result;
    (void)user;
    dprintf(STDOUT_FILENO, "%.*s\n", (int)task->key.count, (const char *)task->key.data);
    for (;;) /* ends with the process */
        pause();
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: mortal ENDPOINT QUEUE\n");
        return 64;
    }
    const char *queues[] = {argv[2], NULL};
    struct everdue_worker_options options = {.endpoint = argv[1], .queues = queues, .credit = 1};
    return everdue_worker_run(&options, hold, NULL);
}
