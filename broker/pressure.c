#include "pressure.h"

enum { SMALL = 64, HURRY_LASTS_US = 1000000 };

void pressure_init(struct pressure *pressure)
{
    *pressure = (struct pressure){.limits = {PRESSURE_FIRST, PRESSURE_FIRST}};
}

void pressure_add(struct pressure *pressure, uint32_t puts, uint64_t bytes)
{
    uint64_t sum = (uint64_t)pressure->filling + puts + bytes / PRESSURE_UNIT_BYTES;
    pressure->filling = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

void pressure_hurry(struct pressure *pressure, int64_t mono_us)
{
    pressure->hurry_until_us = mono_us + HURRY_LASTS_US;
}

static bool is_hurry(const struct pressure *pressure, int64_t mono_us)
{
    return mono_us < pressure->hurry_until_us;
}

bool pressure_is_full(const struct pressure *pressure, int64_t mono_us)
{
    return pressure->filling >= pressure->limits[is_hurry(pressure, mono_us)];
}

void pressure_seal(struct pressure *pressure, int64_t mono_us)
{
    pressure->was_hurry = is_hurry(pressure, mono_us);
    pressure->sealed = pressure->filling;
    pressure->filling = 0;
}

/* A disk that stood still once says little, that it was quick at once that it can be. */
static void learn_least(struct pressure *pressure, int64_t took_us)
{
    if (pressure->least_us == 0 || took_us < pressure->least_us)
        pressure->least_us = took_us;
    else
        pressure->least_us += (took_us - pressure->least_us) / 64;
}

static int64_t most_us(const struct pressure *pressure)
{
    int64_t most_us = pressure->was_hurry ? PRESSURE_HURRY_US : PRESSURE_CALM_US;
    int64_t twice_us = 2 * pressure->least_us;
    return twice_us > most_us ? twice_us : most_us;
}

void pressure_done(struct pressure *pressure, uint64_t states, int64_t took_us)
{
    uint32_t *limit = &pressure->limits[pressure->was_hurry];
    if (states <= SMALL && pressure->sealed <= SMALL)
        learn_least(pressure, took_us > 0 ? took_us : 1);
    bool is_theirs = states / 4 <= pressure->sealed; /* else what took long was something else */
    if (pressure->sealed < *limit || !is_theirs)
        return;
    *limit = took_us > most_us(pressure) ? *limit - *limit / 4 : *limit + *limit / 8;
    if (*limit < PRESSURE_LEAST)
        *limit = PRESSURE_LEAST;
    if (*limit > PRESSURE_MOST)
        *limit = PRESSURE_MOST;
}
