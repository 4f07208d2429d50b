#include "pace.h"

void pace_init(struct pace *pace, uint32_t least, uint32_t most)
{
    *pace = (struct pace){.least = least, .most = most, .credit = least};
}

void pace_begin(struct pace *pace, int64_t now_us)
{
    pace_init(pace, pace->least, pace->most);
    pace->began_us = pace->passed_us = now_us;
}

void pace_finish(struct pace *pace)
{
    pace->finished++;
    pace->worked++;
}

/* Both counts are of what one process finished, and the time is long: no overflow. */
static void ask_for_more(struct pace *pace, int64_t now_us)
{
    int64_t elapsed_us = now_us - pace->began_us;
    if (elapsed_us < PACE_US)
        return;
    int64_t wanted = (int64_t)pace->finished * PACE_US / elapsed_us;
    if (wanted > (int64_t)pace->credit * 2)
        wanted = (int64_t)pace->credit * 2;
    if (wanted > pace->most)
        wanted = pace->most;
    if (wanted > pace->credit)
        pace->credit = (uint32_t)wanted;
    pace->began_us = now_us;
    pace->finished = 0;
}

static void ask_for_less(struct pace *pace)
{
    if (pace->worked_us < PACE_JUDGED_US)
        return;
    int64_t wanted = (int64_t)pace->worked * PACE_US / pace->worked_us;
    if (wanted < pace->credit / 2)
        pace->credit = wanted > pace->least ? (uint32_t)wanted : pace->least;
    pace->worked_us = 0;
    pace->worked = 0;
}

uint32_t pace_pass(struct pace *pace, int64_t now_us, bool has_work)
{
    if (pace->has_work)
        pace->worked_us += now_us - pace->passed_us;
    pace->passed_us = now_us;
    pace->has_work = has_work;
    if (pace->most > pace->least) {
        ask_for_more(pace, now_us);
        ask_for_less(pace);
    }
    return pace->credit;
}

int64_t pace_wait_until(const struct pace *pace)
{
    if (!pace->has_work || pace->credit <= pace->least)
        return INT64_MAX;
    return pace->passed_us + PACE_JUDGED_US - pace->worked_us;
}
