/* A worker that lets leases run out again and again: it is given one record at a time. */
#include "scenes.h"

enum { CREDIT = 4 };

static bool is_suspect(struct story *story, enum story_who who)
{
    return sched_is_suspect(story->sched, story->peers[who].session, story->now);
}

/* A has the record and lets its lease run out, a second later. */
static void let_run_out(struct story *story, const char *key)
{
    story_set_credit(story, A, CREDIT);
    PUT(story, key);
    story_take_task(story, A, key);
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    assert_int_equal(story_view(story, key).status, RECORD_READY);
    EXPECT(STATUS_OK, story_remove(story, key));
}

static void let_three_run_out(struct story *story)
{
    HELLO(story, A, .lease_ms = 1000);
    let_run_out(story, "one");
    let_run_out(story, "two");
    assert_false(is_suspect(story, A));
    let_run_out(story, "three");
}

/* So many of four ready records come at a time. */
static void expect_at_a_time(struct story *story, enum story_who who, uint32_t count)
{
    scene_put_each(story, "q", "abcd");
    story_set_credit(story, who, CREDIT);
    for (uint32_t left = 4; left; left--) {
        assert_int_equal(story_task_count(story, who), count < left ? count : left);
        struct story_task task = story_take_any(story, who);
        EXPECT(STATUS_OK, REPORT(story, who, &task, .outcome = OUTCOME_REMOVE));
    }
    story_set_credit(story, who, 0);
}

/* --- three within ten minutes ----------------------------------------------------------------- */

static void who_lets_three_leases_run_out_gets_one_record_at_a_time(void **state)
{
    struct story *story = *state;
    let_three_run_out(story);
    assert_true(is_suspect(story, A));
    expect_at_a_time(story, A, 1);
    HELLO(story, B);
    assert_false(is_suspect(story, B));
    expect_at_a_time(story, B, CREDIT);
}

static void ten_minutes_after_the_first_of_them_it_has_its_credit_again(void **state)
{
    struct story *story = *state;
    let_three_run_out(story);
    story_pass_s(story, 600 - 2 - 0.000001);
    assert_true(is_suspect(story, A));
    story_pass_us(story, 1);
    assert_false(is_suspect(story, A));
    expect_at_a_time(story, A, CREDIT);
}

static void what_ran_out_before_the_last_three_does_not_count(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .lease_ms = 1000);
    let_run_out(story, "one");
    story_pass_s(story, 599);
    let_run_out(story, "two");
    let_run_out(story, "three");
    assert_false(is_suspect(story, A));
    let_run_out(story, "four");
    assert_true(is_suspect(story, A));
}

/* --- what does not count ---------------------------------------------------------------------- */

/* A machine that stood still for a moment. */
static void leases_that_run_out_together_count_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = CREDIT, .lease_ms = 1000);
    scene_put_each(story, "q", "wxyz");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    assert_int_equal(story_numbers(story, "q").totals.expired, 4);
    assert_false(is_suspect(story, A));
}

static void a_crash_that_is_told_counts_for_the_record_only(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    for (int i = 0; i < 3; i++) {
        PUT(story, "feed");
        struct story_task task = story_take_task(story, A, "feed");
        story_set_credit(story, A, 0);
        EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
        EXPECT(STATUS_OK, story_remove(story, "feed"));
        story_pass_s(story, 2);
        story_set_credit(story, A, 1);
    }
    assert_false(is_suspect(story, A));
}

/* Told of the removal it stops the work, and need not answer. */
static void leases_of_removed_records_do_not_count(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    for (int i = 0; i < 3; i++) {
        PUT(story, "feed");
        story_take_task(story, A, "feed");
        EXPECT(STATUS_OK, story_remove(story, "feed"));
        story_pass_s(story, 2);
    }
    assert_false(is_suspect(story, A));
}

static void without_a_time_nobody_is_suspect(void **state)
{
    struct story *story = *state;
    story->settings.suspect_us = 0;
    story_crash(story);
    let_three_run_out(story);
    assert_false(is_suspect(story, A));
    expect_at_a_time(story, A, CREDIT);
}

/* --- what goes on ----------------------------------------------------------------------------- */

static void another_connection_of_the_same_process_is_as_suspect(void **state)
{
    struct story *story = *state;
    let_three_run_out(story);
    HELLO(story, A);
    assert_true(is_suspect(story, A));
    expect_at_a_time(story, A, 1);
}

static void what_a_suspect_asks_for_by_hand_it_gets(void **state)
{
    struct story *story = *state;
    let_three_run_out(story);
    scene_put_each(story, "q", "abc");
    EXPECT(STATUS_OK, TAKE(story, A, .max = 3));
    assert_int_equal(story_task_count(story, A), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(who_lets_three_leases_run_out_gets_one_record_at_a_time),
        STORY(ten_minutes_after_the_first_of_them_it_has_its_credit_again),
        STORY(what_ran_out_before_the_last_three_does_not_count),
        STORY(leases_that_run_out_together_count_once),
        STORY(a_crash_that_is_told_counts_for_the_record_only),
        STORY(leases_of_removed_records_do_not_count),
        STORY(without_a_time_nobody_is_suspect),
        STORY(another_connection_of_the_same_process_is_as_suspect),
        STORY(what_a_suspect_asks_for_by_hand_it_gets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
