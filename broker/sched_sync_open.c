#include "sched_sync.h"

/* --- sets that nobody goes on with ------------------------------------------------------------ */

/* Another set may begin as soon as it is gone. False: memory is out, nothing was changed. */
static bool give_up_idle(struct queue *queue, struct effects *effects)
{
    if (!effects_reserve(effects, 1))
        return false;
    effects_add(effects, &(struct effect){
                             .kind = EFFECT_SYNC_IDLE,
                             .session = queue->sync->session,
                             .record = queue->id,
                             .number = queue->sync->generation,
                         });
    sync_drop(queue->sync, STATUS_OK);
    return true;
}

/* Lines only note the time, so that they cost nothing: each look finds when the next one is due. */
void sync_pass_time(struct sched *sched, struct moment now, struct effects *effects)
{
    if (now.mono_us < sched->sync_look_mono_us)
        return;
    sched->sync_look_mono_us = TIME_US_NEVER;
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        struct sync *sync = sched->queues[i]->sync;
        if (!sync || sync->phase != SYNC_OPEN)
            continue;
        int64_t end_us = sync->heard_mono_us + sched->settings.sync_idle_us;
        if (now.mono_us >= end_us) {
            if (give_up_idle(sched->queues[i], effects))
                continue;
            end_us = now.mono_us + PUT_OFF_US;
        }
        if (end_us < sched->sync_look_mono_us)
            sched->sync_look_mono_us = end_us;
    }
}

/* --- looking ---------------------------------------------------------------------------------- */

bool sched_view_sync(const struct sched *sched, uint32_t place, struct sched_sync_view *view)
{
    const struct sync *sync = place < sched->queue_count ? sched->queues[place]->sync : NULL;
    if (!sync)
        return false;
    *view = (struct sched_sync_view){
        .holder = {(const uint8_t *)sync->holder, sync->holder_bytes},
        .is_open = sync->phase == SYNC_OPEN,
        .began_mono_us = sync->began_mono_us,
        .heard_mono_us = sync->heard_mono_us,
    };
    if (!sync->holder_bytes)
        view->holder.data = NULL;
    return true;
}
