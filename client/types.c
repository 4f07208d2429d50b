#include "everdue/types.h"

#include <string.h>

#include "everdue/client.h"
#include "everdue/worker.h"
#include "status.h"
#include "version.h"

struct everdue_bytes everdue_text(const char *text)
{
    return (struct everdue_bytes){text, text ? strlen(text) : 0};
}

const char *everdue_status_name(int status)
{
    return status_name((enum status)status);
}

const char *everdue_status_text(int status)
{
    return status_text((enum status)status);
}

const char *everdue_version(void)
{
    return EVERDUE_VERSION;
}

void everdue_result_init(struct everdue_result *result)
{
    *result = (struct everdue_result){
        .outcome = EVERDUE_OK,
        .next_us = EVERDUE_ABSENT,
        .in_us = EVERDUE_ABSENT,
        .cause = EVERDUE_CAUSE_NONE,
    };
}

void everdue_put_init(struct everdue_put *put)
{
    *put = (struct everdue_put){
        .due_us = EVERDUE_ABSENT,
        .in_us = EVERDUE_ABSENT,
        .every_us = EVERDUE_ABSENT,
    };
}
