/* story_work.c - what sessions do. */
#include "story.h"

#include <stdio.h>
#include <string.h>

/* --- sessions --------------------------------------------------------------------------------- */

void story_hello(struct story *story, enum story_who who, const struct story_hello *wanted)
{
    struct story_peer *peer = &story->peers[who];
    struct hello hello = {
        .id = ++story->requests,
        .name = bytes_of("worker"),
        .credit = wanted->credit,
        .lease_ms = wanted->lease_ms,
        .heartbeat_ms = wanted->heartbeat_ms,
        .resume_count = wanted->resume,
    };
    hello.uid[0] = (uint8_t)(who + 1);
    const char *name = wanted->queues ? wanted->queues : "q";
    while (*name) { /* ends with the text */
        size_t count = strcspn(name, ",");
        hello.queues[hello.queue_count++] = (struct bytes){(const uint8_t *)name, (uint32_t)count};
        name += count + (name[count] == ',');
    }
    peer->session = story->sessions++;
    peer->first = peer->end = 0;
    peer->is_silent = false;
    struct event event = {.kind = EVENT_HELLO, .hello = &hello};
    assert_int_equal(story_act(story, who, event), STATUS_OK);
}

void story_be_silent(struct story *story, enum story_who who)
{
    story->peers[who].is_silent = true;
}

void story_break_connection(struct story *story, enum story_who who, double wait_s)
{
    struct event event = {.kind = EVENT_DISCONNECT, .wait_us = STORY_S(wait_s)};
    assert_int_equal(story_act(story, who, event), STATUS_OK);
}

enum status story_goodbye(struct story *story, enum story_who who)
{
    return story_act(story, who, (struct event){.kind = EVENT_GOODBYE});
}

enum status story_set_credit(struct story *story, enum story_who who, uint32_t credit)
{
    return story_act(story, who, (struct event){.kind = EVENT_CREDIT, .credit = credit});
}

/* --- work ------------------------------------------------------------------------------------- */

struct story_task story_take_any(struct story *story, enum story_who who)
{
    struct story_peer *peer = &story->peers[who];
    if (peer->first == peer->end)
        fail_msg("there is no task");
    return peer->tasks[peer->first++];
}

struct story_task story_take_task(struct story *story, enum story_who who, const char *key)
{
    struct story_task task = story_take_any(story, who);
    assert_string_equal(task.key, key);
    return task;
}

uint32_t story_task_count(const struct story *story, enum story_who who)
{
    return story->peers[who].end - story->peers[who].first;
}

void story_expect_no_task(const struct story *story, enum story_who who)
{
    assert_int_equal(story_task_count(story, who), 0);
}

static struct lease_name name_of(const struct story_task *task)
{
    return (struct lease_name){task->task.name.queue, bytes_of(task->key), task->task.name.lease};
}

enum status story_report(struct story *story, enum story_who who, const struct story_task *task,
                         const struct story_result *result)
{
    struct report report = {
        .name = name_of(task),
        .state = result->state ? result->state : task->task.state,
        .outcome = result->outcome,
        .due_us = result->due_s != 0 ? story_at_us(result->due_s) : TIME_US_NEVER,
        .in_us = result->in_s != 0 ? STORY_S(result->in_s) : TIME_US_NEVER,
        .memo = bytes_of(result->memo),
        .payload = bytes_of(result->payload),
        .has_rank = result->has_rank,
        .rank = result->rank,
        .note = bytes_of(result->note),
        .error = bytes_of(result->error),
        .cause = result->cause,
    };
    return story_act(story, who, (struct event){.kind = EVENT_REPORT, .report = &report});
}

enum status story_touch(struct story *story, enum story_who who, const struct story_task *task,
                        uint32_t lease_ms)
{
    struct lease_name name = name_of(task);
    struct event event = {.kind = EVENT_TOUCH, .touch = {&name, lease_ms}};
    return story_act(story, who, event);
}

static enum status give_back(struct story *story, enum story_who who, const struct story_task *task,
                             bool begun)
{
    struct give_back item = {name_of(task), begun};
    return story_act(story, who, (struct event){.kind = EVENT_GIVE_BACK, .give_back = &item});
}

enum status story_give_back(struct story *story, enum story_who who, const struct story_task *task)
{
    return give_back(story, who, task, false);
}

enum status story_give_back_begun(struct story *story, enum story_who who,
                                  const struct story_task *task)
{
    return give_back(story, who, task, true);
}

enum status story_undelivered(struct story *story, enum story_who who,
                              const struct story_task *task)
{
    struct event event = {.kind = EVENT_UNDELIVERED, .number = task->task.name.lease};
    return story_act(story, who, event);
}

enum status story_resume(struct story *story, enum story_who who, const struct story_task *task)
{
    struct resume item = {name_of(task), task->task.state};
    return story_act(story, who, (struct event){.kind = EVENT_RESUME, .resume = &item});
}

enum status story_take(struct story *story, enum story_who who, const struct story_take *wanted)
{
    struct take take = {
        .id = ++story->requests,
        .max = wanted->max ? wanted->max : 1,
        .wait_ms = wanted->wait_ms,
        .lease_ms = wanted->lease_ms,
        .detached = wanted->detached,
    };
    memset(&story->last[EFFECT_TAKEN], 0, sizeof(struct effect));
    struct event event = {.kind = EVENT_TAKE, .request = take.id, .take = &take};
    return story_act(story, who, event);
}
