/* demo.h - what `everdue dev` shows: a few records that come round, and the handler that prints
 * them.
 *
 * The handler is this program again (`everdue dev-handler`), run by everdue-worker --pipe; it
 * prints on the standard output of `everdue dev`, whose path is in DEMO_OUTPUT_VARIABLE.
 */
#ifndef EVERDUE_DEMO_H
#define EVERDUE_DEMO_H

#include "context.h"

#define DEMO_OUTPUT_VARIABLE "EVERDUE_DEV_OUTPUT"

/* Puts the records. Returns 0 or an exit code, having said why. */
int demo_put(struct context *context);

/* Adds what the handler prints and answers for one task, a line of JSON. `now_us`: the wall clock.
 * False when the line is no task. */
bool demo_handle(const char *line, size_t count, int64_t now_us, struct text *printed,
                 struct text *result);

#endif
