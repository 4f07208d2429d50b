#include <errno.h>
#include <ini.h>
#include <string.h>

#include "options.h"

struct reading {
    struct options *options;
    const char *why; /* of the first wrong setting */
};

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    const char *why = options_set(reading->options, section, name, value ? value : "");
    if (why && !reading->why)
        reading->why = why;
    return why == NULL;
}

bool config_read(struct options *options, const char *path, int *line, const char **why)
{
    struct reading reading = {.options = options};
    *line = ini_parse(path, on_setting, &reading); /* the line of the first error */
    if (*line == 0)
        return true;
    *why = *line < 0 ? strerror(errno) : reading.why;
    if (!*why)
        *why = "not \"name = value\", [section] or a comment (# or ;)";
    return false;
}
