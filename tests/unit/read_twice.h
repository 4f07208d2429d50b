/* read_twice.h - tasks and reports are read in two ways, a quick one for what is as usual and field
 * by field: both must give the same, whatever the bytes are.
 */
#ifndef EVERDUE_READ_TWICE_H
#define EVERDUE_READ_TWICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads one item from `data`, as a task and as a report, alone and with more bytes behind it (the
 * quick way wants room behind what it reads). NULL, or what came out differently. */
const char *read_twice(const uint8_t *data, size_t count);

#endif
