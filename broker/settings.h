/* settings.h - the table of settings: one name for the flag, the variable and the line of the file.
 */
#ifndef EVERDUE_SETTINGS_H
#define EVERDUE_SETTINGS_H

#include "options.h"

/* NULL, or what is wrong with the value. */
typedef const char *set_value(struct options *options, const char *value);

struct setting {
    const char *name; /* of the flag, the line of the file and, as EVERDUE_..., the variable */
    const char *argument;
    const char *help;
    set_value *set;
};

enum { SETTINGS = 24 };
extern const struct setting settings[SETTINGS];

/* set_listen adds endpoints to those that are there; the others are true when no value is given. */
set_value set_listen, set_insecure, set_sane_clock;

/* Copies a text that must fit. */
const char *set_text(char *text, size_t room, const char *value);

#endif
