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
    int64_t window; /* number of the one that fills, */
    int64_t end_us; /* and when it ends */
    uint32_t slot;  /* its place below */
    uint32_t counts[STATS_WINDOWS][STATS_BUCKETS];
    uint32_t totals[STATS_WINDOWS];
    int64_t max_us[STATS_WINDOWS];
};

/* A zeroed struct is ready. */
static inline void stats_add(struct stats *stats, int64_t mono_us, int64_t value_us);

/* The value that `ppm` millionths of the last 60 s do not exceed; 0 when there were none.
 * O(buckets). */
int64_t stats_percentile(const struct stats *stats, int64_t mono_us, uint32_t ppm);
int64_t stats_max(const struct stats *stats, int64_t mono_us);

/* --- in line: each task and each report is counted ---------------------------------------------
 */

/* The window of this time begins. */
void stats_turn(struct stats *stats, int64_t mono_us);

static inline uint32_t stats_bucket(int64_t value_us)
{
    if (value_us < STATS_STEPS)
        return value_us < 0 ? 0 : (uint32_t)value_us;
    uint32_t power = 63 - (uint32_t)__builtin_clzll((unsigned long long)value_us);
    uint32_t step = (uint32_t)(value_us >> (power - 4)) & (STATS_STEPS - 1);
    uint32_t bucket = (power - 3) * STATS_STEPS + step;
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

static inline void stats_add(struct stats *stats, int64_t mono_us, int64_t value_us)
{
    if (mono_us >= stats->end_us)
        stats_turn(stats, mono_us);
    uint32_t slot = stats->slot;
    stats->counts[slot][stats_bucket(value_us)]++;
    stats->totals[slot]++;
    if (value_us > stats->max_us[slot])
        stats->max_us[slot] = value_us;
}

#endif
