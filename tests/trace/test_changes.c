/* What each command does to a record in each of its states: design 7's table, cell by cell. Held
 * ones, pause and drain are in test_changes_queue.c. */
#include "story.h"

static void make_waiting(struct story *story, const char *key)
{
    EXPECT(STATUS_CREATED, PUT(story, key, .in_s = 100, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_WAITING, 100);
}

static void make_ready(struct story *story, const char *key)
{
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_READY, 0);
}

static struct story_task make_leased(struct story *story, const char *key)
{
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, key, .payload = "old", .memo = "seen"));
    EXPECT_RECORD(story, key, RECORD_LEASED, 0);
    return story_take_task(story, A, key);
}

static void make_parked(struct story *story, const char *key)
{
    struct story_task task = make_leased(story, key);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK, .error = "broken"));
    EXPECT(STATUS_OK, story_goodbye(story, A));
    EXPECT_RECORD(story, key, RECORD_PARKED, 0);
}

static void expect_payload(struct story *story, const char *key, const char *payload)
{
    story_expect_text(story_view(story, key).payload, payload);
}

/* --- put -------------------------------------------------------------------------------------- */

static void a_put_on_a_waiting_record_keeps_its_due_unless_it_names_one(void **state)
{
    struct story *story = *state;
    make_waiting(story, "k");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "new"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 100);
    expect_payload(story, "k", "new");
    story_expect_text(story_view(story, "k").memo, "seen");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .due_s = 50));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    expect_payload(story, "k", "new");
}

static void a_put_on_a_ready_record_keeps_its_due_unless_it_names_one(void **state)
{
    struct story *story = *state;
    make_ready(story, "k");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "new"));
    EXPECT_RECORD(story, "k", RECORD_READY, 0);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .in_s = 50));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    HELLO(story, A, .credit = 1);
    story_expect_no_task(story, A);
}

static void a_put_on_a_parked_record_leaves_it_parked(void **state)
{
    struct story *story = *state;
    make_parked(story, "k");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "new"));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .due_s = 50));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 50);
    story_expect_text(story_view(story, "k").park_reason, "broken");
    story_pass_s(story, 60);
    EXPECT_RECORD(story, "k", RECORD_PARKED, 50);
}

static void a_put_on_a_leased_record_is_applied_with_the_report_and_wins(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    expect_payload(story, "k", "old");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's", .memo = "now"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    expect_payload(story, "k", "new");
    story_expect_text(story_view(story, "k").memo, "now");
}

static void a_put_on_a_leased_record_leaves_the_report_what_it_does_not_give(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .group = "g"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .has_rank = true, .rank = 3));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    expect_payload(story, "k", "worker's");
    story_expect_text(story_view(story, "k").group, "g");
    assert_int_equal(story_view(story, "k").rank, 3);
}

static void a_put_on_a_leased_record_is_applied_when_the_lease_is_lost(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 90, .payload = "new"));
    story_pass_s(story, 61);
    EXPECT_RECORD(story, "k", RECORD_WAITING, 90);
    expect_payload(story, "k", "new");
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 90);
}

static void a_put_without_a_due_leaves_a_lost_record_ready_at_once(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    task = story_take_task(story, A, "k");
    assert_string_equal(task.payload, "new");
    assert_int_equal(task.task.crashes, 1);
}

static void a_record_that_was_put_while_leased_outlives_remove(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    story_pass_s(story, 1);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    EXPECT_RECORD(story, "k", RECORD_READY, 1);
    expect_payload(story, "k", "new");

    EXPECT(STATUS_OK, story_set_credit(story, A, 1));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
}

static void a_once_record_that_was_put_while_leased_outlives_its_ok(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    EXPECT(STATUS_CREATED, PUT(story, "k", .once = ONCE));
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 3));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    story_pass_s(story, 50);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 3));
    assert_false(story_has(story, "k"));
}

static void a_sync_on_a_leased_record_is_applied_with_the_report_and_wins(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "new", .every_s = 9));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    expect_payload(story, "k", "old");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    expect_payload(story, "k", "new");
    assert_int_equal(story_view(story, "k").every_us, STORY_S(9));
}

/* --- remove ----------------------------------------------------------------------------------- */

static void a_record_that_waits_is_ready_or_parked_is_removed_with_its_state(void **state)
{
    struct story *story = *state;
    make_parked(story, "parked");
    make_waiting(story, "waiting");
    make_ready(story, "ready");
    const char *const keys[] = {"parked", "waiting", "ready"};
    for (int i = 0; i < 3; i++) {
        EXPECT(STATUS_OK, story_remove(story, keys[i]));
        assert_false(story_has(story, keys[i]));
        EXPECT(STATUS_NOT_FOUND, story_remove(story, keys[i]));
        EXPECT(STATUS_CREATED, PUT(story, keys[i], .in_s = 7));
        EXPECT_RECORD(story, keys[i], RECORD_WAITING, 7);
        expect_payload(story, keys[i], "");
        story_expect_text(story_view(story, keys[i]).memo, "");
        story_expect_text(story_view(story, keys[i]).error, "");
    }
}

static void a_leased_record_that_is_removed_is_gone_at_once(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_OK, story_remove(story, "k"));
    assert_false(story_has(story, "k"));
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 5));
    story_pass_s(story, 120);
    assert_false(story_has(story, "k"));
    assert_int_equal(story_numbers(story, "q").records, 0);
}

static void a_removed_record_does_not_come_back_when_its_lease_ends_or_in_a_crash(void **state)
{
    struct story *story = *state;
    make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_OK, story_remove(story, "k"));
    story_pass_s(story, 120);
    assert_false(story_has(story, "k"));
    story_crash(story);
    story_pass_s(story, 10);
    assert_false(story_has(story, "k"));
}

/* --- run-now ---------------------------------------------------------------------------------- */

static void run_now_makes_due_what_waits_and_leaves_what_is_ready(void **state)
{
    struct story *story = *state;
    make_waiting(story, "waiting");
    make_ready(story, "ready");
    story_pass_s(story, 3);
    EXPECT(STATUS_OK, story_run_now(story, "waiting"));
    EXPECT_RECORD(story, "waiting", RECORD_READY, 3);
    EXPECT(STATUS_OK, story_run_now(story, "ready"));
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
    EXPECT(STATUS_NOT_FOUND, story_run_now(story, "nobody"));
}

static void run_now_is_refused_for_a_parked_record(void **state)
{
    struct story *story = *state;
    make_parked(story, "k");
    EXPECT(STATUS_PARKED, story_run_now(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
}

static void run_now_makes_a_leased_record_due_when_its_report_comes(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    story_pass_s(story, 4);
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_READY, 4);
    EXPECT(STATUS_OK, story_set_credit(story, A, 1));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70)); /* it was for once */
    EXPECT_RECORD(story, "k", RECORD_WAITING, 74);
}

static void run_now_wins_over_the_back_off(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    task = story_take_task(story, A, "k");
    assert_int_equal(task.task.failures, 1);
}

static void run_now_does_not_unpark_or_bring_back(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "parked");
    EXPECT(STATUS_PENDING, story_run_now(story, "parked"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT_RECORD(story, "parked", RECORD_PARKED, 0);
    task = make_leased(story, "removed");
    EXPECT(STATUS_PENDING, story_run_now(story, "removed"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    assert_false(story_has(story, "removed"));
}

static void of_a_put_with_a_due_and_run_now_on_a_leased_record_the_last_counts(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    task = story_take_task(story, A, "k");
    assert_string_equal(task.payload, "new");

    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
}

/* --- kick ------------------------------------------------------------------------------------- */

static void kick_brings_a_parked_record_back_due_now_without_its_counts(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY, .in_s = 1));
    story_pass_s(story, 1);
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    assert_int_equal(story_view(story, "k").failures, 1);
    assert_int_equal(story_view(story, "k").crashes, 1);
    story_pass_s(story, 5);
    EXPECT(STATUS_OK, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_READY, 6);
    struct record_view view = story_view(story, "k");
    assert_int_equal(view.failures + view.crashes, 0);
    assert_null(view.park_reason.data);
    assert_null(view.last_worker.data);
    assert_int_equal(view.parked_us, 0);
}

static void kick_is_refused_for_what_is_not_parked(void **state)
{
    struct story *story = *state;
    make_waiting(story, "waiting");
    make_ready(story, "ready");
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "waiting"));
    EXPECT(STATUS_NOT_PARKED, story_kick(story, "ready"));
    EXPECT(STATUS_NOT_FOUND, story_kick(story, "nobody"));
    EXPECT_RECORD(story, "waiting", RECORD_WAITING, 100);
    EXPECT_RECORD(story, "ready", RECORD_READY, 0);
}

static void kick_is_refused_for_a_leased_record(void **state)
{
    struct story *story = *state;
    struct story_task task = make_leased(story, "k");
    EXPECT(STATUS_LEASED, story_kick(story, "k"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_put_on_a_waiting_record_keeps_its_due_unless_it_names_one),
        STORY(a_put_on_a_ready_record_keeps_its_due_unless_it_names_one),
        STORY(a_put_on_a_parked_record_leaves_it_parked),
        STORY(a_put_on_a_leased_record_is_applied_with_the_report_and_wins),
        STORY(a_put_on_a_leased_record_leaves_the_report_what_it_does_not_give),
        STORY(a_put_on_a_leased_record_is_applied_when_the_lease_is_lost),
        STORY(a_put_without_a_due_leaves_a_lost_record_ready_at_once),
        STORY(a_record_that_was_put_while_leased_outlives_remove),
        STORY(a_once_record_that_was_put_while_leased_outlives_its_ok),
        STORY(a_sync_on_a_leased_record_is_applied_with_the_report_and_wins),
        STORY(a_record_that_waits_is_ready_or_parked_is_removed_with_its_state),
        STORY(a_leased_record_that_is_removed_is_gone_at_once),
        STORY(a_removed_record_does_not_come_back_when_its_lease_ends_or_in_a_crash),
        STORY(run_now_makes_due_what_waits_and_leaves_what_is_ready),
        STORY(run_now_is_refused_for_a_parked_record),
        STORY(run_now_makes_a_leased_record_due_when_its_report_comes),
        STORY(run_now_wins_over_the_back_off),
        STORY(run_now_does_not_unpark_or_bring_back),
        STORY(of_a_put_with_a_due_and_run_now_on_a_leased_record_the_last_counts),
        STORY(kick_brings_a_parked_record_back_due_now_without_its_counts),
        STORY(kick_is_refused_for_what_is_not_parked),
        STORY(kick_is_refused_for_a_leased_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
