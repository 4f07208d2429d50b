/* reschedule.h - the plugins that do nothing but choose a new time: 0.1 to 1.9 x MEAN seconds from
 * now, so that new times land all over the heap. Arguments: MEAN [LEDGER], see ledger.h.
 *
 *   reschedule.c      takes the tasks in batches, as everdue_handle_batch
 *   reschedule_one.c  takes them one by one, as everdue_handle
 */
#ifndef EVERDUE_BENCH_RESCHEDULE_H
#define EVERDUE_BENCH_RESCHEDULE_H

#include "ledger.h"

struct reschedule {
    double mean_s;
    struct ledger *ledger; /* NULL: none is kept */
};

void reschedule(const struct reschedule *plan, const struct everdue_task *const *tasks,
                struct everdue_result *results, size_t count);

#endif
