#include "hello_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bounds.h"
#include "bytes.h"

const char *hello_options_check(const char *const *queues)
{
    for (size_t i = 0; queues && queues[i]; i++) {
        if (i == SESSION_QUEUES_MAX)
            return "more than 64 queues";
        if (!bytes_are_queue_name(bytes_of(queues[i])))
            return "a queue's name is 1 to 64 of A-Z a-z 0-9 . _ -";
    }
    return NULL;
}

bool hello_options_copy(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return *to || !from;
}

bool hello_options_copy_name(char **to, const char *name)
{
    char own[SESSION_NAME_BYTES_MAX + 1] = "";
    char host[128] = "";
    if (name) {
        struct bytes cut = bytes_cut_utf8(bytes_of(name), SESSION_NAME_BYTES_MAX);
        memcpy(own, cut.data, cut.count);
    } else {
        gethostname(host, sizeof(host) - 1);
        snprintf(own, sizeof(own), "%s:%ld", host, (long)getpid());
    }
    return hello_options_copy(to, own);
}

bool hello_options_copy_queues(char ***to, const char *const *queues)
{
    *to = calloc(SESSION_QUEUES_MAX + 1, sizeof(char *));
    for (size_t i = 0; *to && queues && queues[i]; i++)
        if (!hello_options_copy(&(*to)[i], queues[i]))
            return false;
    return *to != NULL;
}

void hello_options_free_queues(char **queues)
{
    for (size_t i = 0; queues && queues[i]; i++)
        free(queues[i]);
    free(queues);
}
