#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What a session announces over another connection, and what it sends again. */

static const struct session_counts *counts(const struct story *story)
{
    return session_counts(story->session);
}

static void reconnect(struct story *story, int64_t ms)
{
    story_link_breaks(story);
    story_at(story, ms);
    story_reopens(story);
}

/* Live, with the leases 17, 18 and 19; the first two run. */
static void begin_with_three(struct story *story)
{
    story_begin_live(story);
    story_hears_tasks(story, "17 18 19");
    assert_true(story_runs(story, 17));
    assert_true(story_runs(story, 18));
}

/* --- reports ---------------------------------------------------------------------------------- */

static void reports_without_answer_are_announced_and_then_sent_again(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    story_says(&story, "report 17");
    story_reports(&story, 18);
    story_says(&story, "report 18");
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 19 17 18; report 17 18");
    story_hears_answer(&story, "ok ok ok");
    story_hears_answer(&story, "ok ok");
    assert_int_equal(counts(&story)->acknowledged, 2);
    assert_int_equal(counts(&story)->repeated, 2);
    assert_int_equal(counts(&story)->outbox, 0);
    story_end(&story);
}

static void a_report_that_was_answered_is_not_announced(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    story_says(&story, "report 17");
    story_hears_answer(&story, "ok");
    reconnect(&story, 100);
    story_says(&story, "hello resume=2");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 18 19");
    story_end(&story);
}

static void a_report_made_without_connection_is_announced_before_it_is_sent(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_link_breaks(&story);
    story_reports(&story, 17);
    story_at(&story, 100);
    story_reopens(&story);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 18 19 17; report 17");
    story_end(&story);
}

static void a_report_made_between_hello_and_welcome_follows_what_was_announced(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_reports(&story, 17);
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 17 18 19; report 17");
    story_end(&story);
}

static void a_report_whose_announcement_is_refused_gets_its_own_answer(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    story_reports(&story, 18);
    story_says(&story, "report 17 18");
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 19 17 18; report 17 18");
    story_hears_answer(&story, "ok stale gone");
    assert_int_equal(counts(&story)->outbox, 2);
    assert_int_equal(counts(&story)->refused, 0);
    assert_false(story_is_cancelled(&story, 19));
    story_hears_answer(&story, "ok gone");
    assert_int_equal(counts(&story)->outbox, 0);
    assert_int_equal(counts(&story)->acknowledged, 1);
    assert_int_equal(counts(&story)->refused, 1);
    story_end(&story);
}

static void a_refused_announcement_does_not_keep_a_report_from_being_repeated(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 18 19 17; report 17");
    story_hears_whole_answer(&story, STATUS_BUSY);
    reconnect(&story, 300);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 18 19 17; report 17");
    assert_int_equal(counts(&story)->repeated, 1);
    story_end(&story);
}

static void a_report_that_waits_for_a_busy_broker_goes_with_the_next_connection(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    story_gives_back(&story, 18, true);
    story_says(&story, "give-back 18(begun); report 17");
    story_hears_answer(&story, "busy");
    story_hears_answer(&story, "no-space");
    story_says(&story, "");
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 19 18 17; give-back 18(begun); report 17");
    story_end(&story);
}

static void a_task_that_the_broker_cancelled_is_announced_once_it_is_reported(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_hears_cancel(&story, "17 18");
    story_reports(&story, 17);
    reconnect(&story, 100);
    story_says(&story, "hello resume=2");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 19 17; report 17");
    story_end(&story);
}

static void a_restart_upon_a_restart_announces_the_same(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    for (int64_t i = 1; i <= 10; i++) {
        story_says(&story, i == 1 ? "report 17" : "");
        reconnect(&story, 2000 * i);
        story_says(&story, "hello resume=3");
        if (i % 2 == 0)
            continue; /* broke before it was answered */
        story_hears_welcome(&story, 'A');
        story_says(&story, "resume 18 19 17; report 17");
    }
    story_end(&story);
}

/* --- leases ----------------------------------------------------------------------------------- */

static void a_lease_that_may_not_be_resumed_is_cancelled(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 17 18 19");
    story_hears_answer(&story, "ok stale gone");
    assert_false(story_is_cancelled(&story, 17));
    assert_true(story_is_cancelled(&story, 18));
    assert_true(story_is_cancelled(&story, 19));
    assert_false(story_runs(&story, 19));
    story_skips(&story, 19);
    story_reports(&story, 18); /* it may still be said; the broker decides */
    story_says(&story, "report 18; touch 0 ms 17");
    story_end(&story);
}

/* It expired at the broker after the HELLO was read and before the announcement was. */
static void what_is_announced_is_not_cancelled_before_the_answer(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_cancel(&story, "17");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 17 18 19");
    story_hears_cancel(&story, "18 19");
    assert_false(story_is_cancelled(&story, 17));
    assert_false(story_is_cancelled(&story, 18));
    story_hears_answer(&story, "ok ok stale");
    assert_false(story_is_cancelled(&story, 17));
    assert_false(story_is_cancelled(&story, 18));
    assert_false(story_runs(&story, 19));
    story_skips(&story, 19);
    story_hears_cancel(&story, "17");
    assert_true(story_is_cancelled(&story, 17));
    story_end(&story);
}

static void
a_crash_is_given_back_again_after_a_reconnect_and_the_rest_is_just_not_announced(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_gives_back(&story, 17, true);
    story_gives_back(&story, 19, false);
    story_says(&story, "give-back 17(begun) 19");
    reconnect(&story, 100);
    story_says(&story, "hello resume=2");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 18 17; give-back 17(begun)");
    story_end(&story);
}

static void a_stop_without_a_broker_announces_only_what_runs(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    reconnect(&story, 100);
    session_stop(story.session, STATUS_OK, bytes_of("asked to"));
    story_says(&story, "hello resume=2 credit=0");
    story_hears_welcome(&story, 'A');
    story_says(&story, "resume 17 18");
    story_end(&story);
}

/* --- another store ---------------------------------------------------------------------------- */

static void another_store_ends_leases_and_reports(void **state)
{
    (void)state;
    struct story story;
    begin_with_three(&story);
    story_reports(&story, 17);
    story_says(&story, "report 17");
    reconnect(&story, 100);
    story_says(&story, "hello resume=3");
    story_hears_welcome(&story, 'B');
    assert_int_equal(counts(&story)->dropped, 3);
    assert_int_equal(counts(&story)->outbox, 0);
    story_reopens(&story); /* that broker waits for announcements that are not made */
    story_says(&story, "hello resume=0");
    story_hears_welcome(&story, 'B');
    story_says(&story, "");

    assert_true(story_is_cancelled(&story, 18));
    assert_false(story_runs(&story, 19));
    story_reports(&story, 18);
    story_skips(&story, 19);
    story_says(&story, "");
    assert_int_equal(counts(&story)->refused, 1);
    story_end(&story);
}

static void another_store_without_leases_goes_on_at_once(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    reconnect(&story, 100);
    story_says(&story, "hello resume=0");
    story_hears_welcome(&story, 'B');
    assert_int_equal(session_state(story.session), SESSION_LIVE);
    story_hears_tasks(&story, "17");
    assert_true(story_runs(&story, 17));
    story_end(&story);
}

static void two_stores_by_turns_never_get_what_belongs_to_the_other(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    for (int64_t i = 1; i <= 6; i++) {
        story_hears_tasks(&story, "17 18");
        assert_true(story_runs(&story, 17));
        assert_true(story_runs(&story, 18));
        story_reports(&story, 17);
        story_says(&story, "report 17");
        reconnect(&story, 2000 * i);
        story_says(&story, "hello resume=2");
        story_hears_welcome(&story, i % 2 ? 'B' : 'A');
        story_reopens(&story);
        story_says(&story, "hello resume=0");
        story_hears_welcome(&story, i % 2 ? 'B' : 'A');
        assert_true(story_is_cancelled(&story, 18));
        story_reports(&story, 18);
        story_says(&story, "");
    }
    assert_int_equal(counts(&story)->dropped, 12);
    assert_int_equal(counts(&story)->outbox, 0);
    story_end(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_without_answer_are_announced_and_then_sent_again),
        cmocka_unit_test(a_report_that_was_answered_is_not_announced),
        cmocka_unit_test(a_report_made_without_connection_is_announced_before_it_is_sent),
        cmocka_unit_test(a_report_made_between_hello_and_welcome_follows_what_was_announced),
        cmocka_unit_test(a_report_whose_announcement_is_refused_gets_its_own_answer),
        cmocka_unit_test(a_refused_announcement_does_not_keep_a_report_from_being_repeated),
        cmocka_unit_test(a_report_that_waits_for_a_busy_broker_goes_with_the_next_connection),
        cmocka_unit_test(a_task_that_the_broker_cancelled_is_announced_once_it_is_reported),
        cmocka_unit_test(a_restart_upon_a_restart_announces_the_same),
        cmocka_unit_test(a_lease_that_may_not_be_resumed_is_cancelled),
        cmocka_unit_test(what_is_announced_is_not_cancelled_before_the_answer),
        cmocka_unit_test(
            a_crash_is_given_back_again_after_a_reconnect_and_the_rest_is_just_not_announced),
        cmocka_unit_test(a_stop_without_a_broker_announces_only_what_runs),
        cmocka_unit_test(another_store_ends_leases_and_reports),
        cmocka_unit_test(another_store_without_leases_goes_on_at_once),
        cmocka_unit_test(two_stores_by_turns_never_get_what_belongs_to_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
