/* stats.h - how late things were, over the last minute.
 *
 * A log-linear histogram of microseconds (16 steps to each power of two, so a percentile is at most
 * 6 % high), kept for six windows of ten seconds. Pure: the caller gives the time.
 */
#ifndef EVERDUE_STATS_H
#define EVERDUE_STATS_H

#include <stdint.h>

enum {
    STATS_STEPS = 16,
    STATS_POWERS = 40, /* up to 2^40 us, 12 days; more counts as that */
    STATS_BUCKETS = STATS_STEPS * STATS_POWERS,
    STATS_WINDOWS = 7, /* six whole ones and the one that fills */
    STATS_WINDOW_US = 10000000,
};

struct stats {
    int64_t window; /* number of the one that fills */
    uint32_t counts[STATS_WINDOWS][STATS_BUCKETS];
    uint32_t totals[STATS_WINDOWS];
    int64_t max_us[STATS_WINDOWS];
};

/* A zeroed struct is ready. */
void stats_add(struct stats *stats, int64_t mono_us, int64_t value_us);

/* The value that `ppm` millionths of the last 60 s do not exceed; 0 when there were none.
 * O(buckets). */
int64_t stats_percentile(const struct stats *stats, int64_t mono_us, uint32_t ppm);
int64_t stats_max(const struct stats *stats, int64_t mono_us);

#endif
