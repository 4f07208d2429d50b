#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

enum {
    VALUE_BYTES = 256, /* inih's lines are shorter */
    CONFIG_BYTES_MAX = 1 << 20,
};

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

bool config_parse(struct options *options, const char *text, const char *path)
{
    struct reading reading = {.options = options};
    int line = ini_parse_string(text, on_setting, &reading);
    if (line)
        snprintf(options->why, WHY_BYTES, "%s:%d: %s", path, line,
                 reading.why[0] ? reading.why
                                : "not \"name = value\", [section] or a comment (# or ;)");
    return line == 0;
}

/* The file's text, for free(); else NULL, and what is wrong. */
static char *read_text(FILE *file, const char **wrong)
{
    char *text = malloc(CONFIG_BYTES_MAX + 1);
    size_t count = text ? fread(text, 1, CONFIG_BYTES_MAX + 1, file) : 0;
    *wrong = NULL;
    if (!text || ferror(file)) /* a directory can be opened, but not read */
        *wrong = strerror(errno);
    else if (count > CONFIG_BYTES_MAX)
        *wrong = "over 1 MiB";
    else if (memchr(text, '\0', count))
        *wrong = "not a text: it holds a zero byte";
    if (*wrong) {
        free(text);
        return NULL;
    }
    text[count] = '\0';
    return text;
}

bool config_read(struct options *options, const char *path)
{
    FILE *file = fopen(path, "re");
    const char *wrong = file ? NULL : strerror(errno);
    char *text = file ? read_text(file, &wrong) : NULL;
    if (file)
        fclose(file);
    if (!text) {
        snprintf(options->why, WHY_BYTES, "%s: %s", path, wrong);
        return false;
    }
    bool is_good = config_parse(options, text, path);
    free(text);
    return is_good;
}
