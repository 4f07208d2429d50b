/* A plugin with an argument: the microseconds until each record comes round again. */
#include <everdue/worker.h>

#include <stdio.h>
#include <stdlib.h>

int everdue_plugin_open(int argc, char **argv, void **user)
{
    static long in_us;

    in_us = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    *user = &in_us;
    if (in_us > 0)
        return 0;
    fprintf(stderr, "not a number: %s\n", argc > 1 ? argv[1] : "none");
    return 1;
}

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    (void)task;
    result->in_us = *(const long *)user;
}

void everdue_plugin_close(void *user)
{
    fprintf(stderr, "closed after %ld\n", *(const long *)user);
}
