#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "options.h"

enum { VALUE_BYTES = 256 }; /* inih's lines are shorter */

struct reading {
    struct options *options;
    char why[512]; /* of the first wrong setting */
};

/* inih takes `;` for the beginning of a comment behind a value; we take `#`, too. */
static void copy_value(char copy[VALUE_BYTES], const char *value)
{
    snprintf(copy, VALUE_BYTES, "%s", value);
    for (char *at = copy; (at = strchr(at, '#')); at++) { /* ends with the text */
        if (at > copy && at[-1] != ' ' && at[-1] != '\t')
            continue;
        *at = '\0';
        while (at > copy && (at[-1] == ' ' || at[-1] == '\t'))
            *--at = '\0';
        return;
    }
}

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    char copy[VALUE_BYTES];
    copy_value(copy, value ? value : "");
    const char *why = options_set(reading->options, section, name, copy);
    if (why && !reading->why[0])
        snprintf(reading->why, sizeof(reading->why), "%s%s%s%s \"%s\": %s", section[0] ? "[" : "",
                 section, section[0] ? "] " : "", name, copy, why);
    return why == NULL;
}

bool config_read(struct options *options, const char *path)
{
    struct reading reading = {.options = options};
    FILE *file = fopen(path, "re");
    int line = file ? ini_parse_file(file, on_setting, &reading) : 0;
    bool is_read = file && !ferror(file); /* a directory can be opened, but not read */
    int error = errno;
    if (file)
        fclose(file);
    if (!is_read)
        snprintf(options->why, WHY_BYTES, "%s: %s", path, strerror(error));
    else if (line)
        snprintf(options->why, WHY_BYTES, "%s:%d: %s", path, line,
                 reading.why[0] ? reading.why
                                : "not \"name = value\", [section] or a comment (# or ;)");
    return is_read && line == 0;
}
