#include "reschedule.h"

void everdue_handle_batch(const struct everdue_task *const *tasks, struct everdue_result *results,
                          size_t count, void *user)
{
    reschedule(user, tasks, results, count);
}
