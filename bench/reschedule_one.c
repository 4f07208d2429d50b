#include "reschedule.h"

void everdue_handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    reschedule(user, &task, result, 1);
}
