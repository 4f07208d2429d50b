/* What nobody honest asks: names, numbers and sessions that are not there, out of range, or
 * another's. Each gets its refusal and changes nothing; how that is answered is in
 * docs/protocol.md. */
#include "scenes.h"

#include <stdlib.h>
#include <string.h>

/* --- leases ----------------------------------------------------------------------------------- */

static struct story_task other_number(const struct story_task *task, uint64_t lease)
{
    struct story_task other = *task;
    other.task.name.lease = lease;
    return other;
}

static void a_lease_that_is_another_records_is_stale_whatever_is_said_of_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "one");
    PUT(story, "two");
    struct story_task one = story_take_task(story, A, "one");
    struct story_task two = story_take_task(story, A, "two");
    struct story_task mixed = other_number(&one, two.task.name.lease);
    EXPECT(STATUS_STALE, story_touch(story, A, &mixed, 0));
    EXPECT(STATUS_STALE, story_give_back(story, A, &mixed));
    EXPECT(STATUS_STALE, REPORT(story, A, &mixed, .in_s = 9));
    EXPECT(STATUS_OK, REPORT(story, A, &one, .in_s = 9));
    EXPECT(STATUS_OK, REPORT(story, A, &two, .in_s = 9));
    struct story_task gone = mixed;
    strcpy(gone.key, "three");
    EXPECT(STATUS_GONE, REPORT(story, A, &gone, .in_s = 9));
    EXPECT(STATUS_GONE, story_resume(story, A, &gone));
}

static void a_lease_of_another_record_is_gone_for_a_key_that_is_not_there(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "feed");
    strcpy(task.key, "nobody");
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 9));
    EXPECT(STATUS_GONE, story_touch(story, A, &task, 0));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void numbers_from_the_future_or_the_past_are_stale(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "feed");
    const uint64_t numbers[] = {0, 1, task.task.state, UINT64_C(1) << 40, UINT64_MAX};
    PUT(story, "idle", .in_s = 100);
    struct story_task idle = task;
    strcpy(idle.key, "idle");
    idle.task.state = story_view(story, "idle").state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct story_task forged = other_number(&task, numbers[i]);
        if (numbers[i] != task.task.state) {
            EXPECT(STATUS_STALE, story_resume(story, A, &forged));
            EXPECT(STATUS_STALE, REPORT(story, A, &forged, .in_s = 9));
        }
        EXPECT(STATUS_STALE, story_touch(story, A, &forged, 0));
        forged = other_number(&idle, numbers[i]);
        EXPECT(STATUS_STALE, story_resume(story, A, &forged));
        EXPECT(STATUS_STALE, story_undelivered(story, A, &forged));
    }
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "idle", RECORD_WAITING, 100);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 9));
}

/* Its lease lives on until it ends, and is nobody's record's. */
static void the_lease_of_a_record_that_was_removed_is_gone_however_it_ends(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "feed");
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    EXPECT(STATUS_GONE, story_touch(story, A, &task, 0));
    EXPECT(STATUS_GONE, story_give_back(story, A, &task));
    EXPECT(STATUS_STALE, story_undelivered(story, A, &task));
    PUT(story, "second"); /* the credit is there again */
    struct story_task second = story_take_task(story, A, "second");
    EXPECT(STATUS_OK, story_remove(story, "second"));
    EXPECT(STATUS_OK, story_undelivered(story, B, &second));
    assert_int_equal(story_numbers(story, NULL).leased, 0);
    PUT(story, "third");
    story_take_task(story, A, "third");
}

static void a_lease_that_is_touched_out_of_range_ends_when_it_would_have(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "feed");
    EXPECT(STATUS_BAD_TIME, story_touch(story, A, &task, LEASE_MS_MIN - 1));
    EXPECT(STATUS_BAD_TIME, story_touch(story, A, &task, LEASE_MS_MAX + 1));
    EXPECT(STATUS_OK, story_touch(story, A, &task, LEASE_MS_MIN));
    story_pass_s(story, 0.2);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
}

/* --- sets ------------------------------------------------------------------------------------- */

static void a_set_of_another_generation_or_session_is_refused(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story), other = set, none = {.generation = 999};
    HELLO(story, A, .credit = 0);
    EXPECT(STATUS_CONFLICT, SYNC_LINE(story, A, &set, "k"));
    EXPECT(STATUS_CONFLICT, story_sync_abort(story, A, &set));
    EXPECT(STATUS_CONFLICT, SYNC_COMMIT(story, A, &set));
    EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &none, "k"));
    EXPECT(STATUS_NOT_FOUND, story_sync_abort(story, CLIENT, &none));
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &none));
    struct sync_counts counts;
    assert_false(sched_sync_counts(story->sched, none.generation, &counts));
    assert_null(sched_sync_queue(story->sched, none.generation).data);
    story_expect_text(sched_sync_queue(story->sched, set.generation), "q");
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "k", .in_s = 9));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &other, "late"));
    EXPECT(STATUS_NOT_FOUND, story_sync_abort(story, CLIENT, &other));
}

static void a_set_that_is_spread_out_of_range_is_refused(void **state)
{
    struct story *story = *state;
    const int64_t spreads[] = {-1, TIME_US_END};
    for (int i = 0; i < 2; i++) {
        struct sync_begin begin = {.queue = bytes_of("q"), .spread_us = spreads[i]};
        struct event event = {.kind = EVENT_SYNC_BEGIN, .sync_begin = &begin};
        EXPECT(STATUS_BAD_TIME, story_step(story, &event));
    }
    struct sync_begin begin = {.queue = bytes_of("no queue")};
    struct event event = {.kind = EVENT_SYNC_BEGIN, .sync_begin = &begin};
    EXPECT(STATUS_BAD_FIELD, story_step(story, &event));
}

/* --- queues and sessions ---------------------------------------------------------------------- */

static void a_queue_that_is_not_there_has_nothing(void **state)
{
    struct story *story = *state;
    struct event event = {.kind = EVENT_KICK_ALL, .now = story->now};
    event.key.queue = bytes_of("nowhere");
    EXPECT(STATUS_NOT_FOUND, story_step(story, &event));
    event.kind = EVENT_REMOVE;
    event.key.key = bytes_of("k");
    EXPECT(STATUS_NOT_FOUND, story_step(story, &event));
    EXPECT(STATUS_NOT_FOUND, story_unpause(story, "nowhere"));
    EXPECT(STATUS_BAD_FIELD, story_pause(story, "no where"));
    struct sched_policy policy = story->settings.policy;
    EXPECT(STATUS_BAD_FIELD, sched_set_policy(story->sched, bytes_of("no where"), &policy));
    uint64_t cursor = 0;
    uint32_t budget = 9;
    struct record_view view;
    assert_false(sched_list_next(story->sched, bytes_of("nowhere"), RECORD_ANY, bytes_of(""),
                                 &cursor, &budget, &view));
    EXPECT(STATUS_NOT_FOUND,
           sched_view_record(story->sched, bytes_of("nowhere"), bytes_of("k"), &view));
    assert_null(sched_queue_name(story->sched, 99).data);
    assert_false(sched_queue_is_paused(story->sched, 99));
}

static void a_session_that_is_not_there_is_not_shown(void **state)
{
    struct story *story = *state;
    static const uint8_t nobody[SESSION_UID_BYTES] = {99};
    struct sched_session_view view;
    assert_false(sched_view_session(story->sched, 0, &view));
    assert_false(sched_view_session(story->sched, UINT32_MAX - 1, &view));
    assert_int_equal(sched_find_session(story->sched, nobody), UINT32_MAX);
    HELLO(story, A, .queues = "q,r", .credit = 3);
    static const uint8_t uid[SESSION_UID_BYTES] = {A + 1};
    assert_int_equal(sched_find_session(story->sched, uid), story->peers[A].session);
    assert_true(sched_view_session(story->sched, story->peers[A].session, &view));
    assert_int_equal(view.queue_count, 2);
    story_expect_text(view.queues[1], "r");
}

static enum status greet(struct story *story, uint32_t session, uint8_t uid, uint32_t queues)
{
    struct hello hello = {.uid = {uid}, .credit = 1, .queue_count = queues};
    for (uint32_t i = 0; i < queues && i < SESSION_QUEUES_MAX; i++)
        hello.queues[i] = bytes_of("q");
    struct event event = {.kind = EVENT_HELLO, .session = session, .hello = &hello};
    enum status status = story_step(story, &event);
    story_turn(story);
    return status;
}

static void another_hello_on_the_same_connection_ends_the_session_before(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_OK, greet(story, 70, 50, 1));
    EXPECT(STATUS_OK, greet(story, 70, 50, 1)); /* the same process: one session */
    assert_int_equal(story_numbers(story, NULL).sessions, 1);
    PUT(story, "feed");
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, greet(story, 70, 51, 1)); /* another: what the first held is lost */
    assert_int_equal(story_numbers(story, NULL).sessions, 1);
    assert_int_equal(story_view(story, "feed").crashes, 1);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0); /* by the second */
}

static void a_hello_with_too_many_queues_is_refused_and_one_named_twice_counts_once(void **state)
{
    struct story *story = *state;
    EXPECT(STATUS_BAD_FIELD, greet(story, 70, 50, SESSION_QUEUES_MAX + 1));
    assert_int_equal(story_numbers(story, NULL).sessions, 0);
    EXPECT(STATUS_OK, greet(story, 70, 50, SESSION_QUEUES_MAX));
    PUT(story, "feed");
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void an_event_that_there_is_not_is_malformed(void **state)
{
    struct story *story = *state;
    struct event event = {.kind = (enum event_kind)EVENT_COUNT};
    EXPECT(STATUS_MALFORMED, story_step(story, &event));
    struct sched *none = NULL;
    sched_destroy(&none);
}

static void numbers_that_were_reserved_before_change_nothing(void **state)
{
    struct story *story = *state;
    struct event event = {.kind = EVENT_RESERVED, .number = 1};
    EXPECT(STATUS_OK, story_step(story, &event));
    EXPECT(STATUS_CREATED, PUT(story, "feed"));
}

/* --- many at once ----------------------------------------------------------------------------- */

static void so_many_drains_and_no_more_wait(void **state)
{
    struct story *story = *state;
    scene_make_leased(story, "feed");
    struct event event = {.kind = EVENT_DRAIN, .wait_us = STORY_S(5)};
    enum status status = STATUS_OK;
    uint32_t count = 0;
    for (; count < 100 && !status; count++) {
        event.request = count + 1;
        status = story_step(story, &event);
    }
    EXPECT(STATUS_TOO_MANY, status);
    assert_int_equal(count, 17);
    story_pass_s(story, 6);
    assert_int_equal(story->last[EFFECT_DRAINED].status, STATUS_TIMED_OUT);
    EXPECT(STATUS_OK, story_step(story, &event));
}

static void a_kick_of_all_under_way_refuses_another_and_outlives_its_session(void **state)
{
    struct story *story = *state;
    scene_make_parked(story, "one");
    scene_make_parked(story, "two");
    HELLO(story, CLIENT, .queues = "", .credit = 0);
    struct event event = {
        .kind = EVENT_KICK_ALL, .session = story->peers[CLIENT].session, .request = 7};
    event.key.queue = bytes_of("q");
    EXPECT(STATUS_OK, story_step(story, &event));
    EXPECT(STATUS_CONFLICT, story_step(story, &event));
    struct event goodbye = {.kind = EVENT_GOODBYE, .session = story->peers[CLIENT].session};
    EXPECT(STATUS_OK, story_step(story, &goodbye));
    memset(&story->last[EFFECT_KICKED], 0, sizeof(struct effect));
    story_turn(story);
    assert_int_equal(story->last[EFFECT_KICKED].request, 0);
    assert_int_equal(story_numbers(story, "q").parked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_lease_that_is_another_records_is_stale_whatever_is_said_of_it),
        STORY(a_lease_of_another_record_is_gone_for_a_key_that_is_not_there),
        STORY(numbers_from_the_future_or_the_past_are_stale),
        STORY(the_lease_of_a_record_that_was_removed_is_gone_however_it_ends),
        STORY(a_lease_that_is_touched_out_of_range_ends_when_it_would_have),
        STORY(a_set_of_another_generation_or_session_is_refused),
        STORY(a_set_that_is_spread_out_of_range_is_refused),
        STORY(a_queue_that_is_not_there_has_nothing),
        STORY(a_session_that_is_not_there_is_not_shown),
        STORY(another_hello_on_the_same_connection_ends_the_session_before),
        STORY(a_hello_with_too_many_queues_is_refused_and_one_named_twice_counts_once),
        STORY(an_event_that_there_is_not_is_malformed),
        STORY(numbers_that_were_reserved_before_change_nothing),
        STORY(so_many_drains_and_no_more_wait),
        STORY_WITH_MEMORY(a_kick_of_all_under_way_refuses_another_and_outlives_its_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
