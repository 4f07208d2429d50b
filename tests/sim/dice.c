#include "sim.h"

/* splitmix64 (S. Vigna, 2015). */
uint64_t dice_draw(struct dice *dice)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t dice_below(struct dice *dice, uint32_t end)
{
    return (uint32_t)((dice_draw(dice) >> 32) * end >> 32);
}

int64_t dice_between(struct dice *dice, int64_t low, int64_t high)
{
    return low + (int64_t)(dice_draw(dice) % (uint64_t)(high - low + 1));
}

bool dice_chance(struct dice *dice, uint32_t permille)
{
    return dice_below(dice, 1000) < permille;
}

int64_t dice_delay(struct dice *dice, int64_t low, int64_t high)
{
    if (dice_chance(dice, 900))
        return dice_between(dice, low / 2 + 1, low * 3 / 2 + 1);
    return dice_between(dice, low, high);
}
