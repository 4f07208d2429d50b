/* boxes.c - a heap with an order of its own, the volume: ./boxes ENDPOINT < boxes.txt, where a line
 * is "length width height id". Prints volumes and ids, smallest first, until the heap is empty. */
#include <everdue/client.h>
#include <everdue/worker.h>
#include <stdio.h>

static char id[1025]; /* of the box that was popped; empty: there was none */

static bool pop(const struct everdue_task *task, void *box)
{
    *(struct everdue_task *)box = *task;
    snprintf(id, sizeof id, "%.*s", (int)task->key.count, (const char *)task->key.data);
    return printf("%lld %s\n", (long long)task->rank, id) > 0;
}

int main(int argc, char **argv)
{
    struct everdue_client_options options = {.queues = (const char *[]){"boxes", NULL}};
    options.endpoint = argc > 1 ? argv[1] : NULL;
    struct everdue_client *client = everdue_client_new(&options, NULL);
    struct everdue_result used = {EVERDUE_REMOVE, .next_us = EVERDUE_ABSENT, EVERDUE_ABSENT};
    struct everdue_task box;
    struct everdue_put put;
    int failed = !client, status = 0, length, width, height;
    everdue_put_init(&put);
    put.has_rank = true; /* of what is due the lowest rank comes first */
    while (!failed && scanf("%d %d %d %1024s", &length, &width, &height, id) == 4) {
        put.key = everdue_text(id);
        put.rank = (int64_t)length * width * height;
        failed = everdue_put_many(client, "boxes", &put, 1, &status) || status < 0;
    }
    for (*id = '?'; *id && !failed;) {
        *id = '\0';
        failed = everdue_take(client, "boxes", 1, 0, 0, false, pop, &box);
        if (*id)
            failed = everdue_report(client, "boxes", everdue_text(id), box.lease, box.state, &used);
    }
    everdue_client_destroy(&client);
    return failed;
}
