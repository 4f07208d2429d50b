/* clock.h - the only place where clocks are read. Called by server.c, the worker's agent and tools;
 * never by the core (moment.h). */
#ifndef EVERDUE_CLOCK_H
#define EVERDUE_CLOCK_H

#include "moment.h"

struct moment clock_now(void);

/* The CPU time that the calling thread has used. */
int64_t clock_thread_us(void);

#endif
