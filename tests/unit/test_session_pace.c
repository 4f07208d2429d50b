#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Eight records, done within `ms` from now. */
static void work_off(struct story *story, int64_t now_ms, int64_t ms)
{
    story_hears_tasks(story, "10 11 12 13 14 15 16 17");
    story_at(story, now_ms);
    for (uint64_t lease = 10; lease <= 17; lease++) {
        assert_true(story_runs(story, lease));
        story_reports(story, lease);
    }
    story_at(story, now_ms + ms);
}

static void begin_with_pace(struct story *story)
{
    story_begin_with_credit(story, 2, 16);
    story_says(story, "hello resume=0 credit=2");
    story_hears_welcome(story, 'A');
    story_says(story, "");
}

/* With a credit of 4, after eight quick ones. */
static void begin_after_quick_work(struct story *story)
{
    begin_with_pace(story);
    work_off(story, 0, 20);
    story_says(story, "credit 4; report 10 11 12 13 14 15 16 17");
    story_hears_answer(story, "ok ok ok ok ok ok ok ok");
}

static void a_session_asks_for_as_much_as_its_handlers_finish(void **state)
{
    (void)state;
    struct story story;
    begin_after_quick_work(&story);
    work_off(&story, 21, 19);
    story_says(&story, "credit 8; report 10 11 12 13 14 15 16 17");
    story_hears_answer(&story, "ok ok ok ok ok ok ok ok");
    assert_int_equal(session_wait_until(story.session), story.now.mono_us + 5 * US_PER_S);
    story_at(&story, 4000); /* it idles, and is not woken for that */
    story_says(&story, "");
    story_end(&story);
}

static void what_a_slow_handler_holds_beyond_its_pace_is_given_back(void **state)
{
    (void)state;
    struct story story;
    begin_after_quick_work(&story);
    story_hears_tasks(&story, "20 21 22 23");
    story_at(&story, 100);
    assert_true(story_runs(&story, 20));
    assert_in_range(session_wait_until(story.session), story.now.mono_us + 1,
                    story.now.mono_us + 40 * US_PER_MS);
    story_at(&story, 139);
    story_says(&story, "");
    story_at(&story, 180);
    story_says(&story, "credit 2; give-back 23 22");
    assert_false(story_runs(&story, 23));
    assert_true(story_runs(&story, 21)); /* the oldest stays, and is next */
    story_end(&story);
}

static void what_has_begun_is_not_given_back_for_its_pace(void **state)
{
    (void)state;
    struct story story;
    begin_after_quick_work(&story);
    story_hears_tasks(&story, "20 21 22 23");
    story_at(&story, 100);
    for (uint64_t lease = 20; lease <= 23; lease++)
        assert_true(story_runs(&story, lease));
    story_at(&story, 180);
    story_says(&story, "credit 2");
    story_end(&story);
}

static void after_a_reconnect_it_asks_for_the_least_again(void **state)
{
    (void)state;
    struct story story;
    begin_after_quick_work(&story);
    story_hears_bye(&story);
    story_at(&story, 200);
    story_reopens(&story);
    story_says(&story, "hello resume=0 credit=2");
    story_end(&story);
}

static void a_session_that_stops_asks_for_no_more_by_its_pace(void **state)
{
    (void)state;
    struct story story;
    begin_with_pace(&story);
    story_hears_tasks(&story, "10 11 12 13 14 15 16 17");
    for (uint64_t lease = 10; lease <= 17; lease++)
        assert_true(story_runs(&story, lease));
    session_stop(story.session, STATUS_OK, bytes_of("enough"));
    story_says(&story, "credit 0");
    for (uint64_t lease = 10; lease <= 17; lease++)
        story_reports(&story, lease);
    story_at(&story, 20);
    story_says(&story, "report 10 11 12 13 14 15 16 17");
    story_end(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_asks_for_as_much_as_its_handlers_finish),
        cmocka_unit_test(what_a_slow_handler_holds_beyond_its_pace_is_given_back),
        cmocka_unit_test(what_has_begun_is_not_given_back_for_its_pace),
        cmocka_unit_test(after_a_reconnect_it_asks_for_the_least_again),
        cmocka_unit_test(a_session_that_stops_asks_for_no_more_by_its_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
