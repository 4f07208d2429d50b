#include "reschedule.h"

#include <stdio.h>
#include <stdlib.h>

void reschedule(const struct reschedule *plan, const struct everdue_task *const *tasks,
                struct everdue_result *results, size_t count)
{
    if (plan->ledger)
        ledger_note(plan->ledger, tasks, count);
    for (size_t i = 0; i < count; i++)
        results[i].in_us = ledger_spread_us(plan->mean_s, tasks[i]->lease);
}

int everdue_plugin_open(int argc, char **argv, void **user)
{
    static struct reschedule plan = {.mean_s = 0.2};
    if (argc > 1)
        plan.mean_s = atof(argv[1]);
    if (argc > 2 && !(plan.ledger = ledger_open(argv[2]))) {
        perror(argv[2]);
        return 1;
    }
    *user = &plan;
    return 0;
}
