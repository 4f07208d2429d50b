#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Connections and heartbeats: test_session.c, test_session_resume.c. Here: tasks, reports, touches,
 * what is given back. */

static const struct session_counts *counts(const struct story *story)
{
    return session_counts(story->session);
}

/* --- reports ---------------------------------------------------------------------------------- */

static void reports_go_together_and_end_with_their_answers(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18 19");
    assert_int_equal(story.delivered, 3);
    for (uint64_t lease = 17; lease <= 19; lease++) {
        assert_true(story_runs(&story, lease));
        story_reports(&story, lease);
    }
    assert_int_equal(counts(&story)->outbox, 3);
    story_says(&story, "report 17 18 19");
    story_hears_answer(&story, "ok stale gone");
    assert_int_equal(counts(&story)->acknowledged, 1);
    assert_int_equal(counts(&story)->refused, 2);
    assert_int_equal(counts(&story)->outbox, 0);
    story_says(&story, "");
    story_end(&story);
}

static void a_report_whose_answer_is_lost_is_sent_again(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    assert_true(story_runs(&story, 17));
    story_reports(&story, 17);
    story_says(&story, "report 17");
    for (int64_t ms = 900; ms < 15000; ms += 900) {
        story_at(&story, ms);
        story_hears_pong(&story);
        story_says(&story, "");
    }
    story_at(&story, 15000);
    story_says(&story, "report 17");
    story_hears_answer(&story, "ok"); /* to the first one: it comes late, and is not waited for */
    assert_int_equal(counts(&story)->outbox, 1);
    story_hears_answer(&story, "ok");
    assert_int_equal(counts(&story)->outbox, 0);
    assert_int_equal(counts(&story)->acknowledged, 1);
    story_end(&story);
}

static void a_report_that_meets_a_busy_broker_is_sent_again_a_second_later(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    assert_true(story_runs(&story, 18));
    story_reports(&story, 17);
    story_reports(&story, 18);
    story_says(&story, "report 17 18");
    story_hears_answer(&story, "busy no-space");
    story_at(&story, 999);
    story_says(&story, "");
    story_at(&story, 1000);
    story_says(&story, "report 17 18");
    story_hears_whole_answer(&story, STATUS_BUSY);
    story_at(&story, 2000);
    story_says(&story, "report 17 18");
    story_hears_answer(&story, "ok ok");
    assert_int_equal(counts(&story)->acknowledged, 2);
    story_end(&story);
}

static void a_missing_item_status_counts_as_busy(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    assert_true(story_runs(&story, 18));
    story_reports(&story, 17);
    story_reports(&story, 18);
    story_says(&story, "report 17 18");
    story_hears_answer(&story, "ok");
    assert_int_equal(counts(&story)->outbox, 1);
    story_at(&story, 1000);
    story_says(&story, "report 18");
    story_end(&story);
}

static void a_report_without_next_time_stops_the_worker_uncounted(void **state)
{
    (void)state;
    struct story story;
    const char *reason;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    story_reports(&story, 17);
    story_says(&story, "report 17");
    story_hears_answer(&story, "no-next");
    assert_true(session_is_stopping(story.session));
    assert_int_equal(session_stop_status(story.session, &reason), STATUS_NO_NEXT);
    story_says(&story, "credit 0; give-back 17 18");
    story_end(&story);
}

static void a_report_that_is_refused_for_what_it_says_becomes_a_retry(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    assert_true(story_runs(&story, 17));
    story_reports(&story, 17);
    story_says(&story, "report 17");
    story_hears_answer(&story, "too-large");
    story_says(&story, "report 17(outcome 1: over the broker's limit of bytes)");
    story_hears_answer(&story, "bad-field"); /* refused again: that is enough */
    story_says(&story, "give-back 17(begun)");
    story_hears_answer(&story, "ok");
    assert_int_equal(counts(&story)->outbox, 0);
    story_end(&story);
}

/* --- touching --------------------------------------------------------------------------------- */

static void leases_are_touched_at_a_third_until_the_run_has_lasted_too_long(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    uint32_t touched_17 = 0;
    for (int64_t ms = 500; ms <= 700000; ms += 500) {
        story_at(&story, ms);
        story_hears_pong(&story);
        if (ms % 20000 != 0) {
            story_says(&story, "");
        } else if (ms < 600000) {
            story_says(&story, "touch 0 ms 17 18");
            story_hears_answer(&story, "ok ok");
            touched_17++;
        } else {
            story_says(&story, "touch 0 ms 18");
            story_hears_answer(&story, "ok");
        }
    }
    assert_int_equal(touched_17, 29);
    assert_true(story_is_cancelled(&story, 17)); /* its time is over */
    assert_false(story_is_cancelled(&story, 18));
    story_end(&story);
}

static void a_touch_that_is_refused_cancels(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    story_at(&story, 19000);
    story_says(&story, "ping");
    story_hears_pong(&story);
    story_at(&story, 20000);
    story_says(&story, "touch 0 ms 17 18");
    story_hears_answer(&story, "stale ok");
    assert_true(story_is_cancelled(&story, 17));
    assert_false(story_is_cancelled(&story, 18));
    story_end(&story);
}

static void a_wish_extends_further_and_is_not_shortened_again(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    assert_true(story_runs(&story, 17));
    assert_true(session_touch(story.session, 17, 120000));
    assert_true(session_touch(story.session, 63, 120000)); /* not held: passed over */
    story_says(&story, "touch 120000 ms 17");
    story_hears_answer(&story, "ok");
    for (int64_t ms = 500; ms < 80000; ms += 500) {
        story_at(&story, ms);
        story_hears_pong(&story);
        story_says(&story, "");
    }
    assert_false(story_is_cancelled(&story, 17));
    story_at(&story, 80000);
    story_says(&story, "touch 0 ms 17");
    story_end(&story);
}

/* --- what ends otherwise -----------------------------------------------------------------------
 */

static void a_cancelled_task_does_not_begin_and_a_running_one_is_told(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    story_hears_cancel(&story, "17 18 40");
    assert_true(story_is_cancelled(&story, 17));
    assert_false(story_runs(&story, 18));
    story_skips(&story, 18);
    story_gives_back(&story, 17, true);
    story_says(&story, "");
    story_end(&story);
}

static void a_lease_that_comes_twice_is_delivered_once(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    story_hears_tasks(&story, "17 18");
    assert_int_equal(story.delivered, 2);
    assert_int_equal(counts(&story)->malformed, 1);
    story_end(&story);
}

static void what_is_given_back_says_whether_it_had_begun(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18");
    assert_true(story_runs(&story, 17));
    story_gives_back(&story, 17, true);
    story_gives_back(&story, 18, false);
    story_says(&story, "give-back 17(begun) 18");
    story_hears_answer(&story, "ok stale");
    story_says(&story, "");
    story_end(&story);
}

static void a_stop_gives_back_what_has_not_begun(void **state)
{
    (void)state;
    struct story story;
    const char *reason;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18 19");
    assert_true(story_runs(&story, 17));
    session_stop(story.session, STATUS_OK, bytes_of("asked to"));
    assert_int_equal(session_stop_status(story.session, &reason), STATUS_OK);
    assert_string_equal(reason, "asked to");
    story_says(&story, "credit 0; give-back 18 19");
    assert_false(story_runs(&story, 18));
    story_skips(&story, 18);
    story_hears_answer(&story, "ok ok");
    story_skips(&story, 19);

    story_hears_tasks(&story, "20"); /* was on its way */
    assert_int_equal(story.delivered, 3);
    story_says(&story, "give-back 20");
    story_reports(&story, 17);
    story_says(&story, "report 17");
    story_end(&story);
}

static void a_give_back_that_meets_a_busy_broker_is_said_again(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17");
    session_stop(story.session, STATUS_OK, bytes_of("asked to"));
    story_says(&story, "credit 0; give-back 17");
    story_hears_answer(&story, "busy");
    story_at(&story, 1000);
    story_says(&story, "give-back 17");
    story_hears_answer(&story, "ok");
    story_skips(&story, 17);
    story_end(&story);
}

static void a_session_that_ends_frees_what_the_caller_has(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    story_hears_tasks(&story, "17 18 19");
    assert_true(story_runs(&story, 17));
    assert_true(story_runs(&story, 18));
    story_reports(&story, 18);
    story_end(&story); /* the sanitizer of leaks says the rest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_go_together_and_end_with_their_answers),
        cmocka_unit_test(a_report_whose_answer_is_lost_is_sent_again),
        cmocka_unit_test(a_report_that_meets_a_busy_broker_is_sent_again_a_second_later),
        cmocka_unit_test(a_missing_item_status_counts_as_busy),
        cmocka_unit_test(a_report_without_next_time_stops_the_worker_uncounted),
        cmocka_unit_test(a_report_that_is_refused_for_what_it_says_becomes_a_retry),
        cmocka_unit_test(leases_are_touched_at_a_third_until_the_run_has_lasted_too_long),
        cmocka_unit_test(a_touch_that_is_refused_cancels),
        cmocka_unit_test(a_wish_extends_further_and_is_not_shortened_again),
        cmocka_unit_test(a_cancelled_task_does_not_begin_and_a_running_one_is_told),
        cmocka_unit_test(a_lease_that_comes_twice_is_delivered_once),
        cmocka_unit_test(what_is_given_back_says_whether_it_had_begun),
        cmocka_unit_test(a_stop_gives_back_what_has_not_begun),
        cmocka_unit_test(a_give_back_that_meets_a_busy_broker_is_said_again),
        cmocka_unit_test(a_session_that_ends_frees_what_the_caller_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
