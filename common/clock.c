#include "clock.h"

#include <time.h>

static int64_t microseconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * US_PER_S + time.tv_nsec / 1000;
}

struct moment clock_now(void)
{
    return (struct moment){.wall_us = microseconds(CLOCK_REALTIME),
                           .mono_us = microseconds(CLOCK_MONOTONIC)};
}

int64_t clock_thread_us(void)
{
    return microseconds(CLOCK_THREAD_CPUTIME_ID);
}
