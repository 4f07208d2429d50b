/* hello_options.h - what workers and clients say of themselves when they connect, checked and
 * copied from the options of either: a name, and queues. */
#ifndef EVERDUE_HELLO_OPTIONS_H
#define EVERDUE_HELLO_OPTIONS_H

#include <stdbool.h>

/* NULL, or what is wrong with the queues (NULL-terminated; NULL: none): a static text. */
const char *hello_options_check(const char *const *queues);

/* A copy of what may be NULL, which stays NULL. False: no memory. */
bool hello_options_copy(char **to, const char *from);

/* The name, cut to what the protocol allows; of NULL: host:pid. */
bool hello_options_copy_name(char **to, const char *name);

/* All of them, NULL-terminated. On failure those that were copied stay in `*to`, for
 * hello_options_free_queues. */
bool hello_options_copy_queues(char ***to, const char *const *queues);
void hello_options_free_queues(char **queues);

#endif
