#include "stats.h"

#include <stdbool.h>
#include <string.h>

static int64_t window_of(int64_t mono_us)
{
    return mono_us / STATS_WINDOW_US;
}

/* The largest value that falls into the bucket. */
static int64_t bucket_end(uint32_t bucket)
{
    if (bucket < STATS_STEPS)
        return bucket;
    uint32_t power = bucket / STATS_STEPS + 3;
    int64_t step = bucket % STATS_STEPS;
    return (((STATS_STEPS + step + 1) << (power - 4)) - 1);
}

static bool is_recent(const struct stats *stats, int64_t mono_us, uint32_t slot)
{
    int64_t last = stats->window;
    int64_t behind = (last - slot) % STATS_WINDOWS;
    if (behind < 0)
        behind += STATS_WINDOWS;
    return last - behind > window_of(mono_us) - STATS_WINDOWS;
}

void stats_turn(struct stats *stats, int64_t mono_us)
{
    int64_t window = window_of(mono_us);
    while (stats->window < window) { /* at most once around: older ones are empty already */
        if (window - stats->window > STATS_WINDOWS)
            stats->window = window - STATS_WINDOWS;
        stats->window++;
        stats->slot = (uint32_t)(stats->window % STATS_WINDOWS);
        memset(stats->counts[stats->slot], 0, sizeof(stats->counts[stats->slot]));
        stats->totals[stats->slot] = 0;
        stats->max_us[stats->slot] = 0;
    }
    stats->end_us = (stats->window + 1) * STATS_WINDOW_US;
}

int64_t stats_percentile(const struct stats *stats, int64_t mono_us, uint32_t ppm)
{
    uint64_t total = 0;
    for (uint32_t slot = 0; slot < STATS_WINDOWS; slot++)
        if (is_recent(stats, mono_us, slot))
            total += stats->totals[slot];
    uint64_t wanted = (total * ppm + 999999) / 1000000;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < STATS_BUCKETS && total; bucket++) {
        for (uint32_t slot = 0; slot < STATS_WINDOWS; slot++)
            if (is_recent(stats, mono_us, slot))
                seen += stats->counts[slot][bucket];
        if (seen < wanted || seen == 0)
            continue;
        int64_t end = bucket_end(bucket);
        int64_t max = stats_max(stats, mono_us);
        return end < max ? end : max;
    }
    return 0;
}

int64_t stats_max(const struct stats *stats, int64_t mono_us)
{
    int64_t max = 0;
    for (uint32_t slot = 0; slot < STATS_WINDOWS; slot++)
        if (is_recent(stats, mono_us, slot) && stats->max_us[slot] > max)
            max = stats->max_us[slot];
    return max;
}
