#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEGIN_WALL_S = 1763800000, BEGIN_MONO_S = 5000, TURNS_MAX = 100000 };

/* --- the disk --------------------------------------------------------------------------------- */

static enum status step(struct story *story, struct event *event)
{
    event->now = story->now;
    return sched_step(story->sched, event, &story->effects);
}

static void become_durable(struct story *story)
{
    disk_write(&story->disk, story->batch);
    story->is_in_flight = false;
    assert_int_equal(step(story, &(struct event){.kind = EVENT_DURABLE}), STATUS_OK);
    if (story->reserving)
        assert_int_equal(
            step(story, &(struct event){.kind = EVENT_RESERVED, .number = story->reserving}),
            STATUS_OK);
}

/* Until there is nothing to write, or it is on its way. */
static void write_changes(struct story *story)
{
    for (int i = 0; i < TURNS_MAX && !story->is_in_flight; i++) {
        story->reserving = sched_reserve_wanted(story->sched);
        if (!sched_is_dirty(story->sched) && !story->reserving)
            return;
        store_batch_clear(story->batch);
        assert_int_equal(sched_seal(story->sched, story->batch), STATUS_OK);
        story->is_in_flight = true;
        if (!story->is_disk_held)
            become_durable(story);
    }
}

void story_hold_disk(struct story *story)
{
    story->is_disk_held = true;
}

void story_release_disk(struct story *story)
{
    story->is_disk_held = false;
    if (story->is_in_flight)
        become_durable(story);
    story_turn(story);
}

static enum status load_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    return sched_load_row(user, row, bytes);
}

static enum status load_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    return sched_load_record(user, state, body, count);
}

static void start(struct story *story)
{
    story->sched = sched_new(&story->settings);
    assert_non_null(story->sched);
    struct store_visitor visitor = {load_row, load_record, story->sched};
    assert_int_equal(disk_load(&story->disk, &visitor), STATUS_OK);
    assert_int_equal(sched_load_end(story->sched, story->now), STATUS_OK);
    write_changes(story); /* the first numbers are reserved before anything is drawn */
    story_turn(story);
}

void story_crash(struct story *story)
{
    sched_destroy(&story->sched);
    story->is_in_flight = story->is_disk_held = false;
    story->effects.count = 0;
    for (int who = 0; who < STORY_WHO_COUNT; who++)
        story->peers[who].session = UINT32_MAX;
    start(story);
}

int story_begin(void **state)
{
    struct story *story = calloc(1, sizeof(*story));
    if (!story)
        return -1;
    sched_settings_init(&story->settings);
    disk_init(&story->disk);
    effects_init(&story->effects);
    story->batch = store_batch_new();
    story->now = (struct moment){BEGIN_WALL_S * STORY_S(1), BEGIN_MONO_S * STORY_S(1)};
    for (int who = 0; who < STORY_WHO_COUNT; who++)
        story->peers[who].session = UINT32_MAX;
    start(story);
    *state = story;
    return 0;
}

int story_end(void **state)
{
    struct story *story = *state;
    sched_destroy(&story->sched);
    store_batch_destroy(&story->batch);
    effects_release(&story->effects);
    disk_release(&story->disk);
    free(story);
    return 0;
}

/* --- effects ---------------------------------------------------------------------------------- */

static void keep_text(char *place, struct bytes text)
{
    assert_in_range(text.count, 0, STORY_TEXT_BYTES - 1);
    if (text.count)
        memcpy(place, text.data, text.count);
    place[text.count] = 0;
}

static void receive_task(struct story *story, struct story_peer *peer, const struct effect *effect)
{
    assert_in_range(peer->end, 0, STORY_TASKS_MAX - 1);
    struct story_task *task = &peer->tasks[peer->end++];
    assert_true(sched_view_task(story->sched, effect, story->now, &task->task));
    assert_int_equal(task->task.name.lease, effect->number);
    task->request = effect->request;
    task->has_payload = task->task.payload.data;
    keep_text(task->key, task->task.name.key);
    keep_text(task->payload, task->task.payload);
    keep_text(task->memo, task->task.memo);
    keep_text(task->group, task->task.group);
}

static struct story_peer *peer_of(struct story *story, uint32_t session)
{
    for (int who = 0; who < STORY_WHO_COUNT; who++)
        if (story->peers[who].session == session)
            return &story->peers[who];
    return NULL;
}

static void carry_out(struct story *story, const struct effect *effect)
{
    struct story_peer *peer = peer_of(story, effect->session);
    story->last[effect->kind] = *effect;
    if (!peer)
        return;
    switch (effect->kind) {
    case EFFECT_TASK:
        receive_task(story, peer, effect);
        break;
    case EFFECT_CANCEL:
        peer->cancelled = effect->number;
        break;
    case EFFECT_PING:
        peer->pings++;
        if (!peer->is_silent)
            step(story, &(struct event){.kind = EVENT_SEEN, .session = effect->session});
        break;
    case EFFECT_LOST:
        peer->losses++;
        peer->session = UINT32_MAX;
        break;
    case EFFECT_TAKEN:
    case EFFECT_KICKED:
    case EFFECT_DRAINED:
    case EFFECT_SYNC_DONE:
    case EFFECT_SYNC_BEGUN:
        break;
    }
}

/* Tasks first: they are borrowed until the next step. */
static void carry_out_all(struct story *story)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < story->effects.count; i++) {
            struct effect effect = story->effects.list[i];
            if ((effect.kind == EFFECT_TASK) == (pass == 0))
                carry_out(story, &effect);
        }
    story->effects.count = 0;
}

/* --- turns ------------------------------------------------------------------------------------ */

void story_turn_late(struct story *story, double stalled_s)
{
    step(story, &(struct event){.kind = EVENT_TIME, .stalled_us = STORY_S(stalled_s)});
    for (int i = 0; i < TURNS_MAX && sched_has_work(story->sched); i++)
        step(story, &(struct event){.kind = EVENT_WORK, .budget = 7});
    write_changes(story);
    step(story, &(struct event){.kind = EVENT_GRANT});
    carry_out_all(story);
    write_changes(story);
    const char *what = "";
    if (!sched_check(story->sched, &what))
        fail_msg("sched_check: %s", what);
}

void story_work(struct story *story, uint32_t budget)
{
    step(story, &(struct event){.kind = EVENT_WORK, .budget = budget});
    write_changes(story);
}

void story_turn(struct story *story)
{
    story_turn_late(story, 0);
}

int64_t story_at_us(double seconds)
{
    return BEGIN_WALL_S * STORY_S(1) + STORY_S(seconds);
}

/* How long until the core wants to be woken. */
static int64_t next_wait_us(const struct story *story)
{
    int64_t wall_us = sched_next_wall_us(story->sched);
    int64_t mono_us = sched_next_mono_us(story->sched);
    int64_t wait_us = TIME_US_NEVER;
    if (wall_us != TIME_US_NEVER)
        wait_us = wall_us - story->now.wall_us;
    if (mono_us != TIME_US_NEVER && mono_us - story->now.mono_us < wait_us)
        wait_us = mono_us - story->now.mono_us;
    return wait_us > 0 ? wait_us : 0;
}

static void move_clocks(struct story *story, int64_t us)
{
    story->now.wall_us += us;
    story->now.mono_us += us;
}

void story_pass_us(struct story *story, int64_t us)
{
    int64_t end_us = story->now.mono_us + us;
    for (int i = 0; story->now.mono_us < end_us; i++) {
        if (i > TURNS_MAX)
            fail_msg("the core wants to be woken again and again");
        int64_t wait_us = next_wait_us(story);
        int64_t left_us = end_us - story->now.mono_us;
        /* "At once" is granted as one microsecond, so that time goes on. */
        move_clocks(story, wait_us == 0 ? 1 : wait_us < left_us ? wait_us : left_us);
        story_turn(story);
    }
}

void story_pass_s(struct story *story, double seconds)
{
    story_pass_us(story, STORY_S(seconds));
}

void story_step_wall_s(struct story *story, double seconds)
{
    story->now.wall_us += STORY_S(seconds);
    story_turn(story);
}

void story_stall_s(struct story *story, double seconds)
{
    move_clocks(story, STORY_S(seconds));
}
