#include "core.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

static const char *const bug_names[BUG_COUNT] = {
    [BUG_NONE] = "none",
    [BUG_REPEATED_LEASE] = "repeated-lease",
    [BUG_FORGOTTEN_RECORD] = "forgotten-record",
    [BUG_STALE_ACCEPTED] = "stale-accepted",
    [BUG_FORGOTTEN_PUT] = "forgotten-put",
    [BUG_EARLY] = "early",
    [BUG_UNPAUSED] = "unpaused",
    [BUG_UNWRITTEN_STATES] = "unwritten-states",
    [BUG_UNRESERVED] = "unreserved",
    [BUG_COUNTED_RETURN] = "counted-return",
    [BUG_LOST_TASK] = "lost-task",
    [BUG_FORGOTTEN_PRUNE] = "forgotten-prune",
    [BUG_DOUBLE_GRANT] = "double-grant",
    [BUG_HALF_DONE] = "half-done",
    [BUG_EARLY_CANCEL] = "early-cancel",
};

const char *bug_name(enum bug bug)
{
    return bug_names[bug];
}

enum bug bug_find(const char *name)
{
    int bug = 0;
    while (bug < BUG_COUNT && strcmp(bug_names[bug], name))
        bug++;
    return (enum bug)bug;
}

void core_init(struct core *core, const struct sched_settings *settings, enum bug bug)
{
    struct core before = *core;
    *core = (struct core){.bug = bug, .countdown = bug == BUG_HALF_DONE ? 1 : 20};
    if (before.bug == bug && before.steps) { /* a restart: the bug goes on where it was */
        core->steps = before.steps;
        core->countdown = before.countdown;
    }
    core->sched = sched_new(settings);
    if (!core->sched)
        abort();
}

void core_release(struct core *core)
{
    sched_destroy(&core->sched);
}

/* --- memory ----------------------------------------------------------------------------------- */

void core_fail_memory(struct core *core, uint32_t failing, bool fails_on)
{
    core->failing = failing;
    core->fails_on = fails_on;
}

static void begin_call(struct core *core)
{
    core->is_short = false;
    if (!core->failing)
        return;
    memory_plan(core->failing, core->fails_on);
    memory_enter();
}

static void end_call(struct core *core)
{
    if (!core->failing)
        return;
    memory_leave();
    core->is_short = memory_is_short();
    memory_come_back();
    core->failing = 0;
}

/* Whether the bug shows at this chance: once, after the countdown. */
static bool shows(struct core *core, enum bug bug)
{
    if (core->bug != bug || core->countdown == 0)
        return false;
    return --core->countdown == 0;
}

/* --- loading ---------------------------------------------------------------------------------- */

static enum status load_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    struct core *core = user;
    return sched_load_row(core->sched, row, bytes);
}

static enum status load_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    struct core *core = user;
    if (shows(core, BUG_FORGOTTEN_RECORD))
        return STATUS_OK;
    return sched_load_record(core->sched, state, body, count);
}

enum status core_load(struct core *core, const struct disk *disk, struct moment now)
{
    struct store_visitor visitor = {load_row, load_record, core};
    begin_call(core);
    enum status status = disk_load(disk, &visitor);
    if (!status)
        status = sched_load_end(core->sched, now);
    end_call(core);
    return status;
}

enum status core_seal(struct core *core, struct store_batch *batch)
{
    begin_call(core);
    enum status status = sched_seal(core->sched, batch);
    sched_rest(core->sched); /* what follows needs no room that it gives back */
    end_call(core);
    return status;
}

static bool has_bodies(const struct store_batch *batch)
{
    for (size_t i = 0; i < batch->row_count; i++)
        if (batch->rows[i].table == STORE_RECORDS)
            return true;
    return false;
}

void core_write(struct core *core, struct disk *disk, struct store_batch *batch)
{
    size_t rows = batch->row_count;
    if (core->bug == BUG_UNWRITTEN_STATES && core->steps > 500 && !has_bodies(batch))
        batch->state_count = 0;
    if (core->bug == BUG_UNRESERVED && core->steps > 500)
        for (size_t i = 0; i < rows; i++)
            if (batch->rows[i].table == STORE_META)
                batch->rows[i--] = batch->rows[--rows];
    batch->row_count = rows;
    disk_write(disk, batch);
}

/* --- stepping --------------------------------------------------------------------------------- */

/* Whether the event is answered without reaching the core. */
static bool swallow(struct core *core, const struct event *event, enum status *status)
{
    if (event->kind == EVENT_PUT && shows(core, BUG_FORGOTTEN_PUT)) {
        struct record_view view;
        *status = sched_view_record(core->sched, event->put.queue, event->put.put->key, &view)
                      ? STATUS_CREATED
                      : STATUS_CHANGED;
        return true;
    }
    if (event->kind == EVENT_PAUSE && core->bug == BUG_UNPAUSED) {
        *status = STATUS_OK;
        return true;
    }
    if (event->kind == EVENT_GRANT && core->bug == BUG_LOST_TASK && core->steps > 2000) {
        *status = STATUS_OK;
        return true;
    }
    return false;
}

static void corrupt_tasks(struct core *core, struct effects *effects, size_t first)
{
    for (size_t i = first; i < effects->count; i++) {
        struct effect *effect = &effects->list[i];
        if (effect->kind != EFFECT_TASK)
            continue;
        if (core->last_lease && shows(core, BUG_REPEATED_LEASE))
            effect->number = core->last_lease;
        if (effects->count < effects->room && shows(core, BUG_DOUBLE_GRANT)) {
            effects->list[effects->count] = *effect;
            effects->count++;
            return;
        }
        core->last_lease = effect->number;
    }
}

enum status core_step(struct core *core, const struct event *event, struct effects *effects)
{
    enum status status;
    core->steps++;
    core->is_short = false;
    if (swallow(core, event, &status))
        return status;
    size_t first = effects->count;
    struct event changed = *event;
    struct give_back give_back;
    struct sync_commit commit;
    if (core->bug == BUG_EARLY && core->steps > 500)
        changed.now.wall_us += 2 * US_PER_S;
    if (event->kind == EVENT_GIVE_BACK && core->bug == BUG_COUNTED_RETURN) {
        give_back = *event->give_back;
        give_back.begun = true;
        changed.give_back = &give_back;
    }
    if (event->kind == EVENT_SYNC_COMMIT && core->bug == BUG_FORGOTTEN_PRUNE) {
        commit = *event->sync_commit.commit;
        commit.prune = false;
        changed.sync_commit.commit = &commit;
    }
    bool is_half = event->kind == EVENT_PUT && core->failing && shows(core, BUG_HALF_DONE);
    if (is_half)
        core->failing = 0;
    begin_call(core);
    status = sched_step(core->sched, &changed, effects);
    end_call(core);
    core->is_short |= is_half;
    if (is_half && status > 0)
        status = STATUS_NO_MEMORY;
    corrupt_tasks(core, effects, first);
    if (event->kind == EVENT_REPORT && status == STATUS_STALE && shows(core, BUG_STALE_ACCEPTED))
        status = STATUS_OK;
    return status;
}
