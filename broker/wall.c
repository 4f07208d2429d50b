#include "wall.h"

void wall_init(struct wall *wall, struct moment read, int64_t steps_least_us)
{
    *wall = (struct wall){
        .gap_us = read.wall_us - read.mono_us,
        .end_mono_us = TIME_US_NEVER,
        .steps_least_us = steps_least_us,
    };
}

/* What is held is what the clock is ahead of the one before; put back, it is less, or nothing. */
static void hold(struct wall *wall, int64_t mono_us)
{
    if (!wall->held_us && wall->step_us >= WALL_AHEAD_US) {
        wall->held_us = wall->step_us;
        wall->end_mono_us = mono_us + WALL_HOLD_US;
    } else if (wall->held_us) {
        wall->held_us += wall->step_us;
    }
    if (wall->held_us <= 0 || mono_us >= wall->end_mono_us) {
        wall->held_us = 0;
        wall->end_mono_us = TIME_US_NEVER;
    }
}

struct moment wall_tell(struct wall *wall, struct moment read)
{
    int64_t gap_us = read.wall_us - read.mono_us;
    int64_t step_us = gap_us - wall->gap_us;
    bool is_step = step_us >= wall->steps_least_us || step_us <= -wall->steps_least_us;
    wall->gap_us = gap_us;
    wall->step_us = is_step ? step_us : 0;
    hold(wall, read.mono_us);
    return (struct moment){.wall_us = read.wall_us - wall->held_us, .mono_us = read.mono_us};
}

int64_t wall_timer_us(const struct wall *wall, int64_t wall_us)
{
    return wall_us < TIME_US_END - wall->held_us ? wall_us + wall->held_us : wall_us;
}

int64_t wall_end_mono_us(const struct wall *wall)
{
    return wall->end_mono_us;
}
