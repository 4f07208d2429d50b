#include "stats.h"

#include <stdbool.h>
#include <string.h>

static int64_t window_of(int64_t mono_us)
{
    return mono_us / STATS_WINDOW_US;
}

static uint32_t bucket_of(int64_t value_us)
{
    if (value_us < STATS_STEPS)
        return value_us < 0 ? 0 : (uint32_t)value_us;
    uint32_t power = 63 - (uint32_t)__builtin_clzll((unsigned long long)value_us);
    uint32_t step = (uint32_t)(value_us >> (power - 4)) & (STATS_STEPS - 1);
    uint32_t bucket = (power - 3) * STATS_STEPS + step;
    return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
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

void stats_add(struct stats *stats, int64_t mono_us, int64_t value_us)
{
    int64_t window = window_of(mono_us);
    while (stats->window < window) { /* at most once around: older ones are empty already */
        if (window - stats->window > STATS_WINDOWS)
            stats->window = window - STATS_WINDOWS;
        stats->window++;
        uint32_t slot = (uint32_t)(stats->window % STATS_WINDOWS);
        memset(stats->counts[slot], 0, sizeof(stats->counts[slot]));
        stats->totals[slot] = 0;
        stats->max_us[slot] = 0;
    }
    uint32_t slot = (uint32_t)(stats->window % STATS_WINDOWS);
    stats->counts[slot][bucket_of(value_us)]++;
    stats->totals[slot]++;
    if (value_us > stats->max_us[slot])
        stats->max_us[slot] = value_us;
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
