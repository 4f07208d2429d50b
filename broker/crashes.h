/* crashes.h - how often the broker crashed lately.
 *
 * A message or record that kills the broker kills it again as soon as it is back, and whoever
 * supervises it starts it again and again. So a broker that dies of itself (an assertion, a bad
 * access) leaves a line in the file `crashes` beside the store, and one that finds CRASHES_MOST of
 * them from the last minute knows. SIGKILL, a power cut and an orderly exit leave none.
 */
#ifndef EVERDUE_CRASHES_H
#define EVERDUE_CRASHES_H

#include <stdbool.h>
#include <stdint.h>

enum { CRASHES_MOST = 3, CRASHES_WINDOW_S = 60 };

/* How many there were in the window before `wall_us`, and the signal of the last; 0 and 0 when the
 * file is not there. A line that is no line counts for nothing. */
uint32_t crashes_count(const char *directory, int64_t wall_us, int *signal);

/* From now on SIGABRT and SIGSEGV leave a line, in whichever thread, and then do what they did
 * before. Once in a process. False and errno: the file cannot be written. */
bool crashes_watch(const char *directory);

#endif
