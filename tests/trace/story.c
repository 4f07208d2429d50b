#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum {
    BEGIN_WALL_S = 1763800000,
    BEGIN_MONO_S = 5000,
    TURNS_MAX = 100000,
    PUT_OFF_US = 100000,    /* what could not be done for want of memory */
    STACK_FAILURES_MAX = 2, /* of one caller of an allocation, in one program of stories */
};

/* --- steps ------------------------------------------------------------------------------------ */

static jmp_buf leave;    /* out of the story that is being told */
static uint64_t told_at; /* the allocation that fails in it; 0: none */

static void check(const struct story *story)
{
    const char *what = "";
    if (!sched_check(story->sched, &what))
        fail_msg("sched_check: %s", what);
}

/* As the server does before a batch: it changes nothing. */
static void fetch(const struct story *story, const struct event *event)
{
    uint32_t slot;
    if (event->kind == EVENT_PUT)
        sched_fetch_keys(story->sched, event, &event->put.put->key, 1);
    if (event->kind == EVENT_SYNC_ITEM)
        sched_fetch_keys(story->sched, event, &event->sync_item.put->key, 1);
    if (event->kind == EVENT_REPORT)
        sched_fetch_leases(story->sched, &event->report->name.lease, &slot, 1, 0);
}

static enum status step(struct story *story, struct event *event)
{
    event->now = story->now;
    fetch(story, event);
    memory_enter();
    enum status status = sched_step(story->sched, event, &story->effects);
    memory_leave();
    return status;
}

/* Nothing of the rest of the story can come as it always does: a set was refused, or a take was
 * answered empty. All must be in order nevertheless, and after a restart, too. */
static void give_up(struct story *story)
{
    memory_come_back();
    story_turn(story);
    story_crash(story);
    longjmp(leave, 1);
}

enum status story_step(struct story *story, struct event *event)
{
    enum status status = step(story, event);
    if (status != STATUS_NO_MEMORY)
        return status;
    assert_true(memory_is_short());
    check(story);
    if (event->kind == EVENT_SYNC_ITEM) { /* its source will not commit a set without it */
        struct event abort = {.kind = EVENT_SYNC_ABORT, .session = event->session};
        abort.sync_item.generation = event->sync_item.generation;
        assert_int_equal(step(story, &abort), STATUS_OK);
        give_up(story);
    }
    status = step(story, event); /* as there is none still, or again */
    memory_come_back();
    return status == STATUS_NO_MEMORY ? step(story, event) : status;
}

enum status story_act(struct story *story, enum story_who who, struct event event)
{
    event.session = story->peers[who].session;
    enum status status = story_step(story, &event);
    story_turn(story);
    return status;
}

/* --- the disk --------------------------------------------------------------------------------- */

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

/* False: there was no memory for it. */
static bool seal(struct story *story)
{
    memory_enter();
    enum status status = sched_seal(story->sched, story->batch);
    sched_rest(story->sched); /* what follows needs no room that it gives back */
    memory_leave();
    if (status == STATUS_NO_MEMORY && memory_is_short())
        return false;
    assert_int_equal(status, STATUS_OK);
    return true;
}

/* Until there is nothing to write, or it is on its way. */
static void write_changes(struct story *story)
{
    for (int i = 0; i < TURNS_MAX && !story->is_in_flight; i++) {
        story->reserving = sched_reserve_wanted(story->sched);
        if (!sched_is_dirty(story->sched) && !story->reserving)
            return;
        store_batch_clear(story->batch);
        if (!seal(story))
            return;
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

static enum status load(struct story *story)
{
    memory_enter();
    story->sched = sched_new(&story->settings);
    memory_leave();
    if (!story->sched)
        return STATUS_NO_MEMORY;
    struct store_visitor visitor = {load_row, load_record, story->sched};
    memory_enter();
    enum status status = disk_load(&story->disk, &visitor);
    if (!status)
        status = sched_load_end(story->sched, story->now);
    memory_leave();
    return status;
}

static void start(struct story *story)
{
    enum status status = load(story);
    if (status == STATUS_NO_MEMORY && memory_is_short()) {
        memory_come_back();
        sched_destroy(&story->sched);
        status = load(story);
    }
    assert_int_equal(status, STATUS_OK);
    write_changes(story); /* the first numbers are reserved before anything is drawn */
    story_turn(story);
}

static void begin_again(struct story *story, bool is_disk_held)
{
    sched_destroy(&story->sched);
    story->is_in_flight = false;
    story->is_disk_held = is_disk_held;
    story->effects.count = 0;
    for (int who = 0; who < STORY_WHO_COUNT; who++)
        story->peers[who].session = UINT32_MAX;
    start(story);
}

void story_crash(struct story *story)
{
    begin_again(story, false);
}

void story_crash_and_hold_disk(struct story *story)
{
    begin_again(story, true);
}

static struct story *story_new(void)
{
    struct story *story = calloc(1, sizeof(*story));
    assert_non_null(story);
    sched_settings_init(&story->settings);
    disk_init(&story->disk);
    effects_init(&story->effects);
    story->batch = store_batch_new();
    story->now = (struct moment){BEGIN_WALL_S * STORY_S(1), BEGIN_MONO_S * STORY_S(1)};
    for (int who = 0; who < STORY_WHO_COUNT; who++)
        story->peers[who].session = UINT32_MAX;
    start(story);
    return story;
}

static void story_destroy(struct story **story)
{
    sched_destroy(&(*story)->sched);
    store_batch_destroy(&(*story)->batch);
    effects_release(&(*story)->effects);
    disk_release(&(*story)->disk);
    free(*story);
    *story = NULL;
}

struct story *story_begin_anew(void **state)
{
    struct story *story = *state;
    story_destroy(&story);
    *state = story_new();
    return *state;
}

/* Once; allocation `first` fails (0: none). Returns whether there was one so far on. */
static bool tell(const struct story_plot *plot, uint64_t first, bool lasting)
{
    static void *state; /* outlives the jump */
    memory_plan(first, lasting);
    state = story_new();
    if (setjmp(leave) == 0)
        plot->tell(&state);
    struct story *story = state;
    story_destroy(&story);
    return memory_failures() > 0;
}

static void tell_failing(const struct story_plot *plot, uint64_t at)
{
    told_at = at;
    bool has_failed = tell(plot, at, false) && tell(plot, at, true);
    told_at = 0;
    assert_true(has_failed);
}

/* Those of the story's allocations that fail: each caller's first few ones. */
static uint64_t choose(uint64_t **chosen)
{
    uint64_t count = 0, all = 0;
    while (memory_stack(all + 1)) /* ends with them */
        all++;
    *chosen = calloc(all + 1, sizeof(**chosen));
    assert_non_null(*chosen);
    for (uint64_t at = 1; at <= all; at++)
        if (memory_count_stack(memory_stack(at)) < STACK_FAILURES_MAX)
            (*chosen)[count++] = at;
    return count;
}

void story_tell(void **state)
{
    const struct story_plot *plot = *state;
    const char *at = getenv("EVERDUE_OUT_OF_MEMORY");
    tell(plot, 0, false);
    if (!at || plot->needs_memory)
        return;
    if (atoi(at)) { /* one of them, to look at it */
        tell_failing(plot, strtoull(at, NULL, 10));
        return;
    }
    uint64_t *chosen;
    uint64_t count = choose(&chosen);
    for (uint64_t i = 0; i < count; i++)
        tell_failing(plot, chosen[i]);
    free(chosen);
}

int story_told(void **state)
{
    (void)state;
    if (told_at)
        print_error("with EVERDUE_OUT_OF_MEMORY=%ju\n", (uintmax_t)told_at);
    told_at = 0;
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
    case EFFECT_SYNC_IDLE:
        break;
    }
}

/* Tasks first: they are borrowed until the next step. */
static void carry_out_all(struct story *story)
{
    bool is_refused = false;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < story->effects.count; i++) {
            struct effect effect = story->effects.list[i];
            if ((effect.kind == EFFECT_TASK) == (pass == 0))
                carry_out(story, &effect);
            is_refused |= effect.kind == EFFECT_TAKEN && effect.count == 0;
            is_refused |= effect.kind == EFFECT_SYNC_DONE && effect.status == STATUS_NO_MEMORY;
        }
    story->effects.count = 0;
    if (is_refused && memory_is_short())
        give_up(story);
}

/* --- turns ------------------------------------------------------------------------------------ */

static void turn(struct story *story, double stalled_s)
{
    step(story, &(struct event){.kind = EVENT_TIME, .stalled_us = STORY_S(stalled_s)});
    for (int i = 0; i < TURNS_MAX && sched_has_work(story->sched) && !memory_is_short(); i++)
        step(story, &(struct event){.kind = EVENT_WORK, .budget = 7});
    write_changes(story);
    step(story, &(struct event){.kind = EVENT_GRANT});
    carry_out_all(story);
    write_changes(story);
    check(story);
}

/* A turn that wanted memory is followed by another, that finds it. What was put off for a moment is
 * done before the story goes on: leases know no wall clock. */
void story_turn_late(struct story *story, double stalled_s)
{
    turn(story, stalled_s);
    if (!memory_is_short())
        return;
    turn(story, 0);
    memory_come_back();
    turn(story, 0);
    if (sched_next_mono_us(story->sched) - story->now.mono_us <= PUT_OFF_US) {
        story->now.mono_us += PUT_OFF_US;
        turn(story, 0);
    }
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
