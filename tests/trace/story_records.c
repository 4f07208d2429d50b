/* story_records.c - what clients do, and what a story expects. */
#include "story.h"

#include <stdio.h>
#include <string.h>

static struct bytes queue_or_q(const char *queue)
{
    return bytes_of(queue ? queue : "q");
}

/* --- records ---------------------------------------------------------------------------------- */

static struct put put_of(const struct story_line *line)
{
    int64_t due_us = line->due_us;
    if (!due_us)
        due_us = line->due_s != 0 ? story_at_us(line->due_s) : TIME_US_NEVER;
    int64_t every_us = line->every_s != 0 ? STORY_S(line->every_s) : TIME_US_NEVER;
    return (struct put){
        .key = bytes_of(line->key),
        .due_us = due_us,
        .in_us = line->in_s != 0 ? STORY_S(line->in_s) : TIME_US_NEVER,
        .every_us = line->no_every ? 0 : every_us,
        .has_rank = line->has_rank,
        .rank = line->rank,
        .group = bytes_of(line->group),
        .has_once = line->once,
        .once = line->once == ONCE,
        .payload = bytes_of(line->payload),
        .memo = bytes_of(line->memo),
    };
}

enum status story_put(struct story *story, const struct story_line *line)
{
    struct put put = put_of(line);
    struct event event = {.kind = EVENT_PUT, .put = {queue_or_q(line->queue), &put}};
    return story_act(story, CLIENT, event);
}

static enum status act_on_key(struct story *story, enum event_kind kind, const char *key)
{
    return story_act(story, CLIENT,
                     (struct event){.kind = kind, .key = {bytes_of("q"), bytes_of(key)}});
}

enum status story_remove(struct story *story, const char *key)
{
    return act_on_key(story, EVENT_REMOVE, key);
}

enum status story_run_now(struct story *story, const char *key)
{
    return act_on_key(story, EVENT_RUN_NOW, key);
}

enum status story_kick(struct story *story, const char *key)
{
    return act_on_key(story, EVENT_KICK, key);
}

void story_kick_all(struct story *story)
{
    struct event event = {.kind = EVENT_KICK_ALL, .request = ++story->requests};
    event.key.queue = bytes_of("q");
    memset(&story->last[EFFECT_KICKED], 0, sizeof(struct effect));
    assert_int_equal(story_act(story, CLIENT, event), STATUS_OK);
}

static enum status act_on_queue(struct story *story, enum event_kind kind, const char *queue)
{
    struct event event = {.kind = kind};
    event.key.queue = bytes_of(queue);
    return story_act(story, CLIENT, event);
}

enum status story_pause(struct story *story, const char *queue)
{
    return act_on_queue(story, EVENT_PAUSE, queue);
}

enum status story_unpause(struct story *story, const char *queue)
{
    return act_on_queue(story, EVENT_UNPAUSE, queue);
}

void story_drain(struct story *story, double wait_s)
{
    struct event event = {
        .kind = EVENT_DRAIN, .request = ++story->requests, .wait_us = STORY_S(wait_s)};
    memset(&story->last[EFFECT_DRAINED], 0, sizeof(struct effect));
    assert_int_equal(story_act(story, CLIENT, event), STATUS_OK);
}

void story_undrain(struct story *story)
{
    assert_int_equal(story_act(story, CLIENT, (struct event){.kind = EVENT_UNDRAIN}), STATUS_OK);
}

/* --- looking ---------------------------------------------------------------------------------- */

bool story_has(struct story *story, const char *key)
{
    struct record_view view;
    return sched_view_record(story->sched, bytes_of("q"), bytes_of(key), &view) == STATUS_OK;
}

struct record_view story_view(struct story *story, const char *key)
{
    struct record_view view;
    if (sched_view_record(story->sched, bytes_of("q"), bytes_of(key), &view))
        fail_msg("there is no record %s", key);
    return view;
}

struct sched_numbers story_numbers(struct story *story, const char *queue)
{
    struct sched_numbers numbers;
    assert_true(sched_get_numbers(story->sched, bytes_of(queue), story->now, &numbers));
    return numbers;
}

void story_expect_record(struct story *story, const char *key, enum record_status status,
                         double due_s, const char *file, int line)
{
    struct record_view view = story_view(story, key);
    if (view.status != status)
        print_error("%s: status %d, expected %d\n", key, (int)view.status, (int)status);
    _assert_int_equal((LargestIntegralType)view.status, (LargestIntegralType)status, file, line);
    if (view.due_us != story_at_us(due_s))
        print_error("%s: due at %.6f s, expected %.6f s\n", key,
                    (double)(view.due_us - story_at_us(0)) / 1e6, due_s);
    _assert_int_equal((LargestIntegralType)view.due_us, (LargestIntegralType)story_at_us(due_s),
                      file, line);
}

void story_expect(enum status expected, enum status got, const char *call, const char *file,
                  int line)
{
    if (got == expected)
        return;
    print_error("%s: %s, expected %s\n", call, status_name(got), status_name(expected));
    _fail(file, line);
}

void story_expect_text(struct bytes got, const char *expected)
{
    struct bytes text = bytes_of(expected);
    assert_int_equal(got.count, text.count);
    if (text.count)
        assert_memory_equal(got.data, text.data, text.count);
}

/* --- full sets -------------------------------------------------------------------------------- */

enum status story_sync_begin(struct story *story, enum story_who who, struct story_set *set,
                             const struct story_sync_options *options)
{
    struct sync_begin begin = {
        .id = ++story->requests,
        .queue = queue_or_q(options->queue),
        .spread_us = STORY_S(options->spread_s),
        .due_take = options->due_take,
    };
    memset(&story->last[EFFECT_SYNC_BEGUN], 0, sizeof(struct effect));
    struct event event = {.kind = EVENT_SYNC_BEGIN, .request = begin.id, .sync_begin = &begin};
    enum status status = story_act(story, who, event);
    *set = (struct story_set){.generation = story->last[EFFECT_SYNC_BEGUN].number};
    return status;
}

enum status story_sync_line(struct story *story, enum story_who who, struct story_set *set,
                            const struct story_line *line)
{
    struct put put = put_of(line);
    struct event event = {.kind = EVENT_SYNC_ITEM, .sync_item = {set->generation, &put}};
    enum status status = story_act(story, who, event);
    set->count++;
    set->checksum = set->checksum * 31 + (uint8_t)line->key[0];
    return status;
}

enum status story_sync_commit(struct story *story, enum story_who who, const struct story_set *set,
                              const struct story_commit *wanted)
{
    struct sync_commit commit = {
        .id = ++story->requests,
        .generation = set->generation,
        .count = set->count + wanted->miscount,
        .checksum = set->checksum + wanted->bad_sum,
        .prune = wanted->prune,
        .prune_max_ppm = wanted->prune_max_ppm ? wanted->prune_max_ppm : 1000000,
        .dry_run = wanted->dry_run,
    };
    memset(&story->last[EFFECT_SYNC_DONE], 0, sizeof(struct effect));
    struct event event = {.kind = EVENT_SYNC_COMMIT,
                          .request = commit.id,
                          .sync_commit = {&commit, set->count, set->checksum}};
    event.session = story->peers[who].session;
    enum status status = story_step(story, &event);
    if (status || wanted->unworked)
        return status;
    story_turn(story);
    assert_int_equal(story->last[EFFECT_SYNC_DONE].request, commit.id);
    return story->last[EFFECT_SYNC_DONE].status;
}

enum status story_sync_abort(struct story *story, enum story_who who, const struct story_set *set)
{
    struct event event = {.kind = EVENT_SYNC_ABORT, .sync_item = {.generation = set->generation}};
    enum status status = story_act(story, who, event);
    return status;
}

struct sync_counts story_sync_counts(struct story *story, const struct story_set *set)
{
    struct sync_counts counts;
    assert_true(sched_sync_counts(story->sched, set->generation, &counts));
    return counts;
}
