/* A lease: from the grant to its end by a report, by time, by its worker, or by its session. */
#include "story.h"

static void a_record_is_handed_out_when_it_comes_due(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, "feed", .in_s = 10, .payload = "p", .memo = "m"));
    story_pass_s(story, 9.999999);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 10);
    story_expect_no_task(story, A);
    story_pass_us(story, 1);
    struct story_task task = story_take_task(story, A, "feed");
    assert_string_equal(task.payload, "p");
    assert_string_equal(task.memo, "m");
    assert_int_equal(task.task.lateness_us, 0);
    assert_int_equal(task.task.lease_ms, LEASE_MS_DEFAULT);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 10);
}

static void a_report_puts_it_back_with_its_next_time(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60, .memo = "etag", .note = "fine"));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 63);
    struct record_view view = story_view(story, "feed");
    story_expect_text(view.memo, "etag");
    story_expect_text(view.note, "fine");
    assert_int_equal(view.state, task.task.name.lease);
    story_pass_s(story, 60);
    task = story_take_task(story, A, "feed");
    assert_string_equal(task.memo, "etag");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .due_s = 100, .memo = ""));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 100);
    assert_int_equal(story_view(story, "feed").memo.count, 0);
}

static void a_lease_that_runs_out_is_cancelled_and_the_record_is_ready_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    HELLO(story, B, .credit = 1);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    story_pass_s(story, 9.999999);
    assert_int_equal(story->peers[A].cancelled, 0);
    story_pass_us(story, 1);
    assert_int_equal(story->peers[A].cancelled, first.task.name.lease);
    struct story_task second =
        story_task_count(story, B) ? story_take_any(story, B) : story_take_any(story, A);
    assert_true(second.task.name.lease > first.task.name.lease);
    assert_int_equal(second.task.state, first.task.state);
    assert_int_equal(second.task.crashes, 1);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void a_touched_lease_lives_on(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 10000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_pass_s(story, 8);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 30000));
    story_pass_s(story, 29);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 0));
    story_pass_s(story, 9);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story->peers[A].cancelled, 0);
    story_pass_s(story, 1);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_STALE, story_touch(story, A, &task, 30000));
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    EXPECT(STATUS_GONE, story_touch(story, A, &task, 30000));
}

static void take_for(struct story *story, const char *key, uint32_t lease_s)
{
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .detached = true, .lease_ms = lease_s * 1000));
    story_take_task(story, CLIENT, key);
}

static void leases_of_any_length_end_in_order_and_equal_ends_in_that_of_their_begin(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e"};
    struct story *story = *state;
    HELLO(story, CLIENT);
    for (int i = 0; i < 5; i++)
        PUT(story, keys[i]);
    take_for(story, "a", 60); /* ends at 60 s */
    story_pass_s(story, 5);
    take_for(story, "b", 60); /* 65 */
    story_pass_s(story, 5);
    take_for(story, "c", 60); /* 70 */
    story_pass_s(story, 25);
    take_for(story, "d", 30); /* 65 */
    story_pass_s(story, 1);
    take_for(story, "e", 10); /* 46 */
    story_pass_s(story, 10);
    EXPECT_RECORD(story, "e", RECORD_READY, 0);
    EXPECT_RECORD(story, "a", RECORD_LEASED, 0);
    story_pass_s(story, 19);
    EXPECT_RECORD(story, "c", RECORD_LEASED, 0);
    take_for(story, "e", 60);
    take_for(story, "a", 60);
    take_for(story, "b", 60);
    take_for(story, "d", 60);
    story_pass_s(story, 5);
    take_for(story, "c", 60);
}

static void what_is_given_back_unbegun_is_ready_and_nothing_is_counted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    for (int i = 0; i < 15; i++) {
        struct story_task task = story_take_task(story, A, "feed");
        assert_int_equal(task.task.crashes, 0);
        EXPECT(STATUS_OK, story_give_back(story, A, &task));
    }
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
}

static void what_is_given_back_begun_counts_as_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.crashes, 1);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    story_expect_no_task(story, A);
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    assert_int_equal(story_view(story, "feed").crashes, 2);
    EXPECT(STATUS_STALE, story_give_back(story, A, &task));
}

static void a_task_that_could_not_be_delivered_was_never_out(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_undelivered(story, A, &task));
    struct story_task again = story_take_task(story, A, "feed");
    assert_int_equal(again.task.crashes, 0);
    assert_int_equal(again.task.state, task.task.state);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, A, &again, .in_s = 5));
}

static void an_undelivered_task_does_not_take_a_late_report_from_the_one_before(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task first = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_pass_s(story, 1);
    story_set_credit(story, A, 1);
    struct story_task second = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, story_undelivered(story, A, &second));
    EXPECT(STATUS_STALE, REPORT(story, A, &second, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, A, &first, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 6);
}

static void an_undelivered_task_leaves_the_lease_before_it_the_highest(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task lower = story_take_task(story, A, "feed");
    story_pass_s(story, 1);
    struct story_task higher = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    story_pass_s(story, 10);
    story_set_credit(story, A, 1);
    struct story_task lost = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, story_undelivered(story, A, &lost));
    EXPECT(STATUS_STALE, REPORT(story, A, &lower, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, A, &higher, .in_s = 5));
}

static void a_silent_session_is_asked_and_then_lost_with_its_leases(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2, .heartbeat_ms = 1000);
    PUT(story, "feed");
    PUT(story, "other", .in_s = 100);
    story_take_task(story, A, "feed");
    story_be_silent(story, A);
    story_pass_s(story, 1);
    assert_int_equal(story->peers[A].pings, 1);
    story_pass_s(story, 1.9);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_pass_s(story, 0.1);
    assert_int_equal(story->peers[A].losses, 1);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void nothing_is_handed_to_a_broken_connection(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_OK, TAKE(story, A, .wait_ms = 10000));
    story_break_connection(story, A, 3);
    PUT(story, "feed");
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    story_expect_no_task(story, A);
}

static void a_broken_connection_that_is_not_waited_for_loses_its_leases_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void what_a_session_holds_at_its_goodbye_is_given_back_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, story_goodbye(story, A));
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    assert_int_equal(story->peers[A].losses, 0);
}

static void a_report_that_names_another_queue_is_judged_by_that_name(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .queues = "q,other", .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    struct story_task strange = task;
    strange.task.name.queue = 1 - task.task.name.queue;
    EXPECT(STATUS_GONE, REPORT(story, A, &strange, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    PUT(story, "feed", .queue = "other", .due_s = 900);
    EXPECT(STATUS_STALE, REPORT(story, A, &strange, .in_s = 60));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_report_that_names_another_queue_is_judged_by_that_name),
        STORY(a_record_is_handed_out_when_it_comes_due),
        STORY(a_report_puts_it_back_with_its_next_time),
        STORY(a_lease_that_runs_out_is_cancelled_and_the_record_is_ready_at_once),
        STORY(a_touched_lease_lives_on),
        STORY_WITH_MEMORY(leases_of_any_length_end_in_order_and_equal_ends_in_that_of_their_begin),
        STORY(what_is_given_back_unbegun_is_ready_and_nothing_is_counted),
        STORY(what_is_given_back_begun_counts_as_a_crash),
        STORY(a_task_that_could_not_be_delivered_was_never_out),
        STORY(an_undelivered_task_does_not_take_a_late_report_from_the_one_before),
        STORY(an_undelivered_task_leaves_the_lease_before_it_the_highest),
        STORY(a_silent_session_is_asked_and_then_lost_with_its_leases),
        STORY(nothing_is_handed_to_a_broken_connection),
        STORY(a_broken_connection_that_is_not_waited_for_loses_its_leases_at_once),
        STORY(what_a_session_holds_at_its_goodbye_is_given_back_uncounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
