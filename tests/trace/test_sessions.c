/* Sessions: hello, heartbeats, broken connections, and the same process on a new one. */
#include "story.h"

#include <string.h>

static struct sched_session_view view_session(struct story *story, enum story_who who)
{
    struct sched_session_view view;
    assert_true(sched_view_session(story->sched, story->peers[who].session, &view));
    return view;
}

static struct sched_agreed agreed_with(struct story *story, enum story_who who)
{
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[who].session, &agreed));
    return agreed;
}

static bool is_there(struct story *story, uint32_t session)
{
    struct sched_session_view view;
    return sched_view_session(story->sched, session, &view);
}

static enum status step_as(struct story *story, enum story_who who, struct event event)
{
    event.now = story->now;
    event.session = story->peers[who].session;
    return sched_step(story->sched, &event, &story->effects);
}

/* --- hello ------------------------------------------------------------------------------------ */

static void hello_agrees_on_what_is_within_the_limits(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    struct sched_agreed agreed = agreed_with(story, A);
    assert_int_equal(agreed.credit, 0);
    assert_int_equal(agreed.lease_ms, LEASE_MS_DEFAULT);
    assert_int_equal(agreed.heartbeat_ms, HEARTBEAT_MS_DEFAULT);
    assert_false(agreed.is_known);
    HELLO(story, B, .credit = UINT32_MAX, .lease_ms = UINT32_MAX, .heartbeat_ms = UINT32_MAX);
    agreed = agreed_with(story, B);
    assert_int_equal(agreed.credit, CREDIT_MAX);
    assert_int_equal(agreed.lease_ms, LEASE_MS_MAX);
    assert_int_equal(agreed.heartbeat_ms, HEARTBEAT_MS_MAX);
    HELLO(story, C, .lease_ms = 1, .heartbeat_ms = 1);
    assert_int_equal(agreed_with(story, C).lease_ms, LEASE_MS_MIN);
    assert_int_equal(agreed_with(story, C).heartbeat_ms, HEARTBEAT_MS_MIN);
}

static void a_process_is_known_while_it_lives_and_after_a_restart(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, A, .credit = 1);
    assert_true(agreed_with(story, A).is_known);
    story_crash(story);
    HELLO(story, A, .credit = 1);
    assert_true(agreed_with(story, A).is_known);
    story_goodbye(story, A);
    HELLO(story, A, .credit = 1);
    assert_false(agreed_with(story, A).is_known);
}

static void as_many_work_on_one_queue_as_there_may_be_sessions(void **state)
{
    enum { SESSIONS = 33000 }; /* over 32,768 */
    struct story *story = *state;
    story->settings.limits.sessions_max = SESSIONS;
    sched_set_settings(story->sched, &story->settings);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        struct hello hello = {.heartbeat_ms = HEARTBEAT_MS_MAX, .queue_count = 1};
        memcpy(hello.uid, &i, sizeof(i));
        hello.queues[0] = bytes_of("q");
        struct event event = {
            .kind = EVENT_HELLO, .now = story->now, .session = 100 + i, .hello = &hello};
        EXPECT(STATUS_OK, sched_step(story->sched, &event, &story->effects));
    }
    struct event credit = {
        .kind = EVENT_CREDIT, .now = story->now, .session = 100 + SESSIONS - 1, .credit = 1};
    EXPECT(STATUS_OK, sched_step(story->sched, &credit, &story->effects));
    PUT(story, "feed");
    assert_int_equal(story_numbers(story, "q").leased, 1);
}

static void too_many_sessions_are_refused_and_those_that_are_there_live_on(void **state)
{
    struct story *story = *state;
    story->settings.limits.sessions_max = 1;
    sched_set_settings(story->sched, &story->settings);
    HELLO(story, A, .credit = 1);
    struct hello hello = {.uid = {99}, .name = bytes_of("b")};
    struct event event = {.kind = EVENT_HELLO, .now = story->now, .session = 50, .hello = &hello};
    EXPECT(STATUS_TOO_MANY, sched_step(story->sched, &event, &story->effects));
    assert_false(is_there(story, 50));
    HELLO(story, A, .credit = 1); /* takes the place of its own */
    PUT(story, "feed");
    story_take_task(story, A, "feed");
}

static void whoever_said_no_hello_is_told_so(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_crash(story);
    EXPECT(STATUS_NO_SESSION, REPORT(story, A, &task, .in_s = 60));
    EXPECT(STATUS_NO_SESSION, story_touch(story, A, &task, 0));
    EXPECT(STATUS_NO_SESSION, story_give_back(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_resume(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_set_credit(story, A, 1));
    EXPECT(STATUS_NO_SESSION, TAKE(story, A));
    EXPECT(STATUS_NO_SESSION, story_goodbye(story, A));
    EXPECT(STATUS_NO_SESSION, step_as(story, A, (struct event){.kind = EVENT_SEEN}));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void a_session_that_is_not_there_gets_no_answer_but_that(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_goodbye(story, A);
    EXPECT(STATUS_NO_SESSION, REPORT(story, A, &task, .in_s = 5));
    EXPECT(STATUS_NO_SESSION, story_touch(story, A, &task, 0));
    EXPECT(STATUS_NO_SESSION, story_give_back(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_resume(story, A, &task));
    EXPECT(STATUS_NO_SESSION, story_set_credit(story, A, 1));
    EXPECT(STATUS_NO_SESSION, TAKE(story, A));
    EXPECT(STATUS_NO_SESSION, story_goodbye(story, A));
}

static void a_lease_of_a_queue_that_the_hello_did_not_name_is_a_bad_field(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .queues = "p,q");
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.name.queue, 1);
    HELLO(story, B);
    EXPECT(STATUS_BAD_FIELD, REPORT(story, B, &task, .in_s = 60));
    EXPECT(STATUS_BAD_FIELD, story_touch(story, B, &task, 0));
    EXPECT(STATUS_BAD_FIELD, story_give_back(story, B, &task));
    EXPECT(STATUS_BAD_FIELD, story_resume(story, B, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

/* --- heartbeats ------------------------------------------------------------------------------- */

static void a_session_is_asked_each_heartbeat_of_silence_and_lost_after_three(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .heartbeat_ms = 1000);
    uint32_t session = story->peers[A].session;
    story_be_silent(story, A);
    story_pass_s(story, 0.999999);
    assert_int_equal(story->peers[A].pings, 0);
    story_pass_us(story, 1);
    assert_int_equal(story->peers[A].pings, 1);
    story_pass_s(story, 1);
    assert_int_equal(story->peers[A].pings, 2);
    story_pass_s(story, 0.999999);
    assert_true(is_there(story, session));
    story_pass_us(story, 1);
    assert_int_equal(story->peers[A].losses, 1);
    assert_false(is_there(story, session));
}

static void whoever_answers_lives_on(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 86400000, .heartbeat_ms = 1000);
    PUT(story, "feed");
    story_pass_s(story, 100.5);
    assert_int_equal(story->peers[A].pings, 100);
    assert_int_equal(story->peers[A].losses, 0);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void any_message_counts_as_a_sign_of_life(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .heartbeat_ms = 1000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_be_silent(story, A);
    for (int i = 0; i < 5; i++) {
        story_pass_s(story, 0.9);
        story_touch(story, A, &task, 0);
        story_pass_s(story, 0.9);
        story_set_credit(story, A, 1);
        story_pass_s(story, 0.9);
        step_as(story, A, (struct event){.kind = EVENT_SEEN});
        story_pass_s(story, 0.9);
        story_resume(story, A, &task);
    }
    assert_int_equal(story->peers[A].pings, 0);
    story_pass_s(story, 3);
    assert_int_equal(story->peers[A].losses, 1);
}

static void what_the_broker_sends_is_no_sign_of_life(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .heartbeat_ms = 1000);
    story_be_silent(story, A);
    PUT(story, "feed");
    for (int i = 0; i < 3; i++) {
        story_pass_s(story, 0.9);
        struct story_task task = story_take_task(story, A, "feed");
        EXPECT(STATUS_OK, story_undelivered(story, A, &task));
    }
    story_pass_s(story, 0.3);
    assert_int_equal(story->peers[A].losses, 1);
}

/* --- broken connections ----------------------------------------------------------------------- */

static void a_broken_connection_is_waited_for_as_long_as_was_said(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .heartbeat_ms = 1000);
    uint32_t session = story->peers[A].session;
    PUT(story, "feed");
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_be_silent(story, A);
    story_pass_s(story, 2.5);
    uint32_t pings = story->peers[A].pings;
    story_break_connection(story, A, 3);
    story_pass_s(story, 2.999999);
    assert_true(is_there(story, session));
    assert_int_equal(story->peers[A].pings, pings); /* there is nobody to be asked */
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_pass_us(story, 1);
    assert_false(is_there(story, session));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void it_is_back_in_time_and_keeps_what_it_announces(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_break_connection(story, A, 3);
    PUT(story, "next");
    story_pass_s(story, 2);
    HELLO(story, A, .credit = 2, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_take_task(story, A, "next");
    story_pass_s(story, 10);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story->peers[A].losses, 0);
}

/* --- the same process again ------------------------------------------------------------------- */

static void what_it_does_not_announce_is_given_back_uncounted_when_all_is_announced(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3);
    PUT(story, "a");
    PUT(story, "b");
    PUT(story, "c");
    struct story_task a = story_take_task(story, A, "a");
    struct story_task b = story_take_task(story, A, "b");
    story_take_task(story, A, "c");
    HELLO(story, A, .credit = 2, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    EXPECT_RECORD(story, "c", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_resume(story, A, &b));
    EXPECT_RECORD(story, "a", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "b", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "c", RECORD_READY, 0);
    assert_int_equal(story_view(story, "c").crashes, 0);
    assert_int_equal(story_numbers(story, "q").totals.given_back, 1);
}

static void until_it_has_announced_all_it_is_granted_nothing(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 9, .resume = 2);
    PUT(story, "feed");
    struct story_task unknown = {.key = "x", .task = {.name = {.lease = 7}, .state = 6}};
    EXPECT(STATUS_GONE, story_resume(story, A, &unknown));
    story_expect_no_task(story, A);
    EXPECT(STATUS_GONE, story_resume(story, A, &unknown));
    story_take_task(story, A, "feed");
}

/* A hello that miscounts, or a worker that is stopped in between, would be idle for ever. */
static void what_is_not_announced_within_the_grace_is_given_up_and_work_comes_again(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 3);
    PUT(story, "a");
    PUT(story, "b");
    struct story_task a = story_take_task(story, A, "a");
    story_take_task(story, A, "b");
    HELLO(story, A, .credit = 3, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    assert_int_equal(view_session(story, A).announcing, 1);
    PUT(story, "c", .has_rank = true, .rank = 1);
    story_pass_s(story, 4.999999);
    story_expect_no_task(story, A);
    EXPECT_RECORD(story, "b", RECORD_LEASED, 0);
    story_pass_us(story, 1);
    assert_int_equal(view_session(story, A).announcing, 0);
    assert_int_equal(story_take_task(story, A, "b").task.crashes, 0);
    story_take_task(story, A, "c");
    EXPECT(STATUS_OK, REPORT(story, A, &a, .in_s = 60));
    assert_int_equal(story_numbers(story, "q").totals.given_back, 1);
}

static void what_is_announced_after_that_is_its_own_unless_somebody_else_has_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "a");
    PUT(story, "b");
    struct story_task a = story_take_task(story, A, "a");
    struct story_task b = story_take_task(story, A, "b");
    HELLO(story, A, .resume = 2);
    story_pass_s(story, 5);
    HELLO(story, B, .credit = 1);
    story_take_task(story, B, "a");
    EXPECT(STATUS_STALE, story_resume(story, A, &a));
    EXPECT(STATUS_OK, story_resume(story, A, &b));
    EXPECT_RECORD(story, "b", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &b, .in_s = 60));
}

static void a_broken_connection_is_waited_for_however_long_announcements_may_take(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .heartbeat_ms = 100);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 1, .heartbeat_ms = 100, .resume = 1);
    story_break_connection(story, A, 8);
    story_pass_s(story, 7.999999);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story->peers[A].losses + story->peers[A].pings, 0);
    HELLO(story, A, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
}

static void after_a_stall_announcements_are_read_before_they_are_given_up(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 1, .resume = 1);
    story_stall_s(story, 10);
    story_turn_late(story, 10);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 1);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_numbers(story, "q").totals.given_back, 0);
}

static void without_a_grace_there_is_a_second_to_announce(void **state)
{
    struct story *story = *state;
    story->settings.grace_us = 0;
    sched_set_settings(story->sched, &story->settings);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 1, .resume = 1);
    story_pass_s(story, 0.999999);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    HELLO(story, A, .credit = 1, .resume = 1);
    story_pass_s(story, 1);
    assert_true(story_take_task(story, A, "feed").task.name.lease > task.task.name.lease);
}

static void without_anything_to_announce_all_is_given_back_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    uint32_t old = story->peers[A].session;
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 1);
    assert_int_equal(story->last[EFFECT_LOST].session, old);
    assert_false(is_there(story, old));
    struct story_task second = story_take_task(story, A, "feed");
    assert_int_equal(second.task.crashes, 0);
    EXPECT(STATUS_STALE, REPORT(story, A, &first, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, A, &second, .in_s = 60));
}

static void a_report_counts_for_a_lease_that_was_not_announced(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

static void what_was_never_announced_runs_out_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 1, .resume = 1);
    story_pass_s(story, 1);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story_numbers(story, "q").totals.expired, 0);
}

static void it_is_lost_before_it_announced_and_nothing_is_counted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "a");
    PUT(story, "b");
    struct story_task a = story_take_task(story, A, "a");
    HELLO(story, A, .credit = 2, .resume = 2);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_break_connection(story, A, 0);
    assert_int_equal(story_view(story, "a").crashes, 1);
    assert_int_equal(story_view(story, "b").crashes, 0);
}

static void another_process_may_announce_what_it_was_handed(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    HELLO(story, B);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_resume(story, B, &task));
    assert_int_equal(view_session(story, A).in_flight, 0);
    assert_int_equal(view_session(story, B).in_flight, 1);
    story_goodbye(story, A);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 60));
    assert_int_equal(view_session(story, B).reports_ok, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(hello_agrees_on_what_is_within_the_limits),
        STORY(a_process_is_known_while_it_lives_and_after_a_restart),
        STORY_WITH_MEMORY(as_many_work_on_one_queue_as_there_may_be_sessions),
        STORY(too_many_sessions_are_refused_and_those_that_are_there_live_on),
        STORY(whoever_said_no_hello_is_told_so),
        STORY(a_session_that_is_not_there_gets_no_answer_but_that),
        STORY(a_lease_of_a_queue_that_the_hello_did_not_name_is_a_bad_field),
        STORY(a_session_is_asked_each_heartbeat_of_silence_and_lost_after_three),
        STORY(whoever_answers_lives_on),
        STORY(any_message_counts_as_a_sign_of_life),
        STORY(what_the_broker_sends_is_no_sign_of_life),
        STORY(a_broken_connection_is_waited_for_as_long_as_was_said),
        STORY(it_is_back_in_time_and_keeps_what_it_announces),
        STORY(what_it_does_not_announce_is_given_back_uncounted_when_all_is_announced),
        STORY(until_it_has_announced_all_it_is_granted_nothing),
        STORY(what_is_not_announced_within_the_grace_is_given_up_and_work_comes_again),
        STORY(what_is_announced_after_that_is_its_own_unless_somebody_else_has_it),
        STORY(a_broken_connection_is_waited_for_however_long_announcements_may_take),
        STORY(after_a_stall_announcements_are_read_before_they_are_given_up),
        STORY(without_a_grace_there_is_a_second_to_announce),
        STORY(without_anything_to_announce_all_is_given_back_at_once),
        STORY(a_report_counts_for_a_lease_that_was_not_announced),
        STORY(what_was_never_announced_runs_out_uncounted),
        STORY(it_is_lost_before_it_announced_and_nothing_is_counted),
        STORY(another_process_may_announce_what_it_was_handed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
