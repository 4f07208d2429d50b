/* A plugin that does nothing but choose a new time: 20 to 380 ms from now, or around SECONDS where
 * the worker was given them as an argument, so that new times land all over the heap. */
#include <everdue/worker.h>
#include <stdlib.h>

enum { US_PER_S = 1000000 };

/* Knuth's multiplicative hash spreads lease numbers, which only grow. */
#define SPREAD UINT64_C(2654435761)

struct span {
    uint64_t least_us, width_us;
};

int everdue_plugin_open(int argc, char **argv, void **user)
{
    static struct span span = {20000, 360000};
    if (argc > 1) {
        double seconds = atof(argv[1]);
        span.least_us = (uint64_t)(seconds * US_PER_S / 10);
        span.width_us = (uint64_t)(seconds * US_PER_S * 18 / 10);
    }
    *user = &span;
    return 0;
}

void everdue_handle_batch(const struct everdue_task *const *tasks, struct everdue_result *results,
                          size_t count, void *user)
{
    const struct span *span = user;
    for (size_t i = 0; i < count; i++)
        results[i].in_us =
            (int64_t)(span->least_us + tasks[i]->lease * SPREAD % (span->width_us + 1));
}
