#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Reports, touches and leases: test_session_work.c. Here: connections, heartbeats, the end. */

/* --- the beginning ---------------------------------------------------------------------------- */

static void a_session_says_hello_and_nothing_else_before_welcome(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_says(&story, "");
    assert_int_equal(session_state(story.session), SESSION_GREETING);
    story_hears_welcome(&story, 'A');
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_end(&story);
}

static void a_welcome_to_another_hello_is_passed_over(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story.hello_id += 5;
    story_hears_welcome(&story, 'A');
    assert_int_equal(session_state(story.session), SESSION_GREETING);
    story_end(&story);
}

static void a_hello_without_welcome_is_said_again_over_another_link(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_at(&story, 1999);
    assert_int_equal(session_state(story.session), SESSION_GREETING);
    story_at(&story, 2000);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_at(&story, 2100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_at(&story, 5000); /* the second time it waits longer */
    assert_int_equal(session_state(story.session), SESSION_GREETING);
    story_end(&story);
}

static void a_refused_hello_is_told_and_said_again(void **state)
{
    (void)state;
    struct story story;
    const char *text;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_hears_hello_refused(&story, STATUS_TOO_MANY);
    assert_int_equal(session_take_refusal(story.session, &text), STATUS_TOO_MANY);
    assert_string_equal(text, "for a reason");
    assert_int_equal(session_take_refusal(story.session, &text), STATUS_OK);
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_end(&story);
}

static void another_version_is_told_and_tried_again(void **state)
{
    (void)state;
    struct story story;
    const char *text;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_hears_error(&story, STATUS_VERSION);
    assert_int_equal(session_take_refusal(story.session, &text), STATUS_VERSION);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_end(&story);
}

/* --- heartbeats ------------------------------------------------------------------------------- */

static void a_ping_is_answered_at_once(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_ping(&story, 12);
    story_says(&story, "pong 12");
    story_says(&story, "");
    story_end(&story);
}

static void a_ping_is_answered_before_the_welcome_too(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_hears_ping(&story, 13);
    story_says(&story, "pong 13");
    story_end(&story);
}

static void silence_is_met_with_pings_and_after_three_heartbeats_the_broker_is_lost(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_at(&story, 4999);
    story_says(&story, "");
    story_at(&story, 5000);
    story_says(&story, "ping");
    story_says(&story, "");
    story_at(&story, 10000);
    story_says(&story, "ping");
    story_at(&story, 14999);
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_at(&story, 15000);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_says(&story, "");
    story_end(&story);
}

static void any_message_counts_as_a_sign_of_life(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    for (int64_t ms = 4900; ms < 60000; ms += 4900) {
        story_at(&story, ms);
        story_says(&story, "");
        story_hears_cancel(&story, "");
    }
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_end(&story);
}

/* As the agent does it: it sleeps as long as it may, and wakes a little late. */
static void an_idle_session_is_woken_once_a_heartbeat(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    uint32_t wakes = 0;
    while (story.now.mono_us < 600 * (int64_t)US_PER_S) {
        int64_t until_us = session_wait_until(story.session);
        story_at(&story, (until_us - US_PER_S) / US_PER_MS + 1);
        story_says(&story, "ping");
        story_hears_pong(&story);
        wakes++;
    }
    assert_in_range(wakes, 118, 120);
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_end(&story);
}

static void an_idle_session_loses_a_broker_that_hangs(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    while (session_state(story.session) == SESSION_LIVE) {
        int64_t until_us = session_wait_until(story.session);
        story_at(&story, (until_us - US_PER_S) / US_PER_MS + 1);
        assert_true(story.now.mono_us < 17 * (int64_t)US_PER_S);
        story_says(&story, session_state(story.session) == SESSION_LIVE ? "ping" : "");
    }
    story_end(&story);
}

static void the_heartbeat_of_the_welcome_decides(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_hears_welcome_with(&story, 'A', 60000, 100);
    story_at(&story, 100);
    story_says(&story, "ping");
    story_at(&story, 299);
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_at(&story, 300);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_end(&story);
}

static void a_stall_of_the_worker_itself_does_not_lose_the_broker(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_at(&story, 60000); /* suspended for a minute; nothing could be heard */
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_says(&story, "ping");
    story_at(&story, 64999);
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_at(&story, 65000);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_end(&story);
}

/* --- reconnects ------------------------------------------------------------------------------- */

static void no_session_opens_the_link_again(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_error(&story, STATUS_NO_SESSION);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    assert_false(story_wants_reopen(&story));
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_end(&story);
}

static void a_link_that_broke_is_opened_again_within_the_back_off(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_link_breaks(&story);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_link_breaks(&story); /* told twice: it is closed already */
    story_at(&story, 49);
    assert_false(story_wants_reopen(&story));
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_end(&story);
}

static void a_link_that_breaks_before_the_welcome_takes_the_hello_with_it(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    story_link_breaks(&story);
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_at(&story, 2099); /* the next welcome is waited for no longer than the first */
    assert_int_equal(session_state(story.session), SESSION_GREETING);
    story_at(&story, 2100);
    assert_int_equal(session_state(story.session), SESSION_CLOSED);
    story_end(&story);
}

static void a_link_that_breaks_after_the_goodbye_is_the_end(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    session_leave(story.session);
    story_says(&story, "credit 0; goodbye");
    story_link_breaks(&story);
    story_at(&story, 1);
    assert_int_equal(session_state(story.session), SESSION_ENDED);
    story_link_breaks(&story);
    assert_int_equal(session_state(story.session), SESSION_ENDED);
    story_end(&story);
}

static void a_broker_that_says_bye_is_met_again(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_bye(&story);
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0");
    story_hears_welcome(&story, 'A');
    assert_int_equal(session_counts(story.session)->welcomes, 2);
    story_end(&story);
}

/* Until the link is wanted, in milliseconds. */
static int64_t backoff_ms(struct story *story, int64_t from_ms)
{
    for (int64_t ms = 0; ms <= 2000; ms++) {
        story_at(story, from_ms + ms);
        if (session_wants_reopen(story->session))
            return ms;
    }
    fail_msg("the link was not wanted again");
    return -1;
}

static void the_back_off_doubles_up_to_a_second(void **state)
{
    (void)state;
    static const int64_t most_ms[] = {100, 200, 400, 800, 1000, 1000};
    struct story story;
    story_begin(&story);
    int64_t now_ms = 0;
    for (size_t i = 0; i < sizeof(most_ms) / sizeof(most_ms[0]); i++) {
        story_says(&story, "hello resume=0");
        story_hears_error(&story, STATUS_NO_SESSION);
        int64_t waited_ms = backoff_ms(&story, now_ms);
        assert_in_range((uintmax_t)waited_ms, (uintmax_t)most_ms[i] / 2, (uintmax_t)most_ms[i]);
        now_ms += waited_ms;
        session_opened(story.session, story.now);
    }
    story_says(&story, "hello resume=0");
    story_hears_welcome(&story, 'A');
    story_hears_pong(&story); /* it lives: the next back-off is short again */
    story_hears_error(&story, STATUS_NO_SESSION);
    assert_in_range((uintmax_t)backoff_ms(&story, now_ms), 50, 100);
    story_end(&story);
}

static void a_link_that_cannot_be_opened_is_wanted_a_second_later(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_bye(&story);
    story_at(&story, 100);
    assert_true(story_wants_reopen(&story));
    session_open_failed(story.session, story.now);
    story_at(&story, 1099);
    assert_false(story_wants_reopen(&story));
    story_at(&story, 1100);
    story_reopens(&story);
    story_end(&story);
}

static void what_comes_over_a_link_that_was_given_up_is_not_heard(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_bye(&story);
    story_hears_tasks(&story, "17");
    assert_int_equal(story.delivered, 0);
    story_end(&story);
}

/* --- credit and the end ----------------------------------------------------------------------- */

static void a_changed_credit_is_said_once(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    session_set_credit(story.session, 8);
    story_says(&story, "credit 8");
    session_set_credit(story.session, 8);
    story_says(&story, "");
    story_hears_bye(&story);
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=0 credit=8");
    story_end(&story);
}

static void a_worker_that_leaves_says_goodbye_and_ends_with_the_answer(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    session_leave(story.session);
    story_says(&story, "credit 0; goodbye");
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_hears_whole_answer(&story, STATUS_OK);
    assert_int_equal(session_state(story.session), SESSION_ENDED);
    story_says(&story, "");
    story_end(&story);
}

static void a_worker_that_leaves_waits_for_its_reports(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    assert_true(story_runs(&story, 17));
    story_reports(&story, 17);
    session_leave(story.session);
    story_says(&story, "credit 0; report 17");
    story_hears_answer(&story, "ok");
    story_says(&story, "goodbye");
    story_end(&story);
}

static void a_worker_that_leaves_without_a_broker_ends_at_once(void **state)
{
    (void)state;
    struct story story;
    story_begin(&story);
    story_says(&story, "hello resume=0");
    session_leave(story.session);
    story_at(&story, 1);
    assert_int_equal(session_state(story.session), SESSION_ENDED);
    story_end(&story);
}

/* --- nonsense --------------------------------------------------------------------------------- */

static void nonsense_is_counted_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const frames[] = {
        "",                                 /* nothing */
        "\xc1",                             /* never used */
        "\x92\x01\x7f",                     /* a type that nobody knows */
        "\x92\x02\x41",                     /* another version */
        "\x93\x01\x41\x91\x00",             /* a task that is no array */
        "\x93\x01\x41\xdd\xff\xff\xff\xff", /* more tasks than bytes */
        "\x93\x01\x42\x07",                 /* a cancel without array */
        "\x92\x01\x43",                     /* an answer without fields */
        "\x93\x01\x44\xc0",                 /* an error without status */
        "\x93\x01\x40\xa0",                 /* a welcome that is none */
    };
    struct story story;
    story_begin_live(&story);
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        /* A frame's length: none has a zero byte but the one of the task. */
        size_t count = i == 4 ? 5 : strlen(frames[i]);
        session_receive(story.session, (const uint8_t *)frames[i], count, story.now);
        assert_int_equal(session_counts(story.session)->malformed, i + 1);
        assert_int_equal(session_state(story.session), SESSION_LIVE);
        story_says(&story, "");
    }
    story_end(&story);
}

static void an_answer_that_nobody_waits_for_is_passed_over(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story.requests[story.request_count++] = 4711;
    story_hears_answer(&story, "ok stale");
    assert_int_equal(session_counts(story.session)->malformed, 0);
    story_end(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_says_hello_and_nothing_else_before_welcome),
        cmocka_unit_test(a_welcome_to_another_hello_is_passed_over),
        cmocka_unit_test(a_hello_without_welcome_is_said_again_over_another_link),
        cmocka_unit_test(a_refused_hello_is_told_and_said_again),
        cmocka_unit_test(another_version_is_told_and_tried_again),
        cmocka_unit_test(a_ping_is_answered_at_once),
        cmocka_unit_test(a_ping_is_answered_before_the_welcome_too),
        cmocka_unit_test(silence_is_met_with_pings_and_after_three_heartbeats_the_broker_is_lost),
        cmocka_unit_test(any_message_counts_as_a_sign_of_life),
        cmocka_unit_test(an_idle_session_is_woken_once_a_heartbeat),
        cmocka_unit_test(an_idle_session_loses_a_broker_that_hangs),
        cmocka_unit_test(the_heartbeat_of_the_welcome_decides),
        cmocka_unit_test(a_stall_of_the_worker_itself_does_not_lose_the_broker),
        cmocka_unit_test(no_session_opens_the_link_again),
        cmocka_unit_test(a_link_that_broke_is_opened_again_within_the_back_off),
        cmocka_unit_test(a_link_that_breaks_before_the_welcome_takes_the_hello_with_it),
        cmocka_unit_test(a_link_that_breaks_after_the_goodbye_is_the_end),
        cmocka_unit_test(a_broker_that_says_bye_is_met_again),
        cmocka_unit_test(the_back_off_doubles_up_to_a_second),
        cmocka_unit_test(a_link_that_cannot_be_opened_is_wanted_a_second_later),
        cmocka_unit_test(what_comes_over_a_link_that_was_given_up_is_not_heard),
        cmocka_unit_test(a_changed_credit_is_said_once),
        cmocka_unit_test(a_worker_that_leaves_says_goodbye_and_ends_with_the_answer),
        cmocka_unit_test(a_worker_that_leaves_waits_for_its_reports),
        cmocka_unit_test(a_worker_that_leaves_without_a_broker_ends_at_once),
        cmocka_unit_test(nonsense_is_counted_and_changes_nothing),
        cmocka_unit_test(an_answer_that_nobody_waits_for_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
