/* Put, on a record in each of its states (design: what each command means). */
#include "scenes.h"

/* --- new, waiting, ready, parked -------------------------------------------------------------- */

static void a_new_record_without_a_due_is_due_now(void **state)
{
    struct story *story = *state;
    story_pass_s(story, 5);
    EXPECT(STATUS_CREATED, PUT(story, "feed"));
    EXPECT_RECORD(story, "feed", RECORD_READY, 5);
    EXPECT(STATUS_CREATED, PUT(story, "later", .due_s = 9));
    EXPECT_RECORD(story, "later", RECORD_WAITING, 9);
}

static void give_everything(struct story *story)
{
    EXPECT(STATUS_CREATED,
           PUT(story, "feed", .in_s = 10, .every_s = 60, .has_rank = true, .rank = -3, .once = ONCE,
               .group = "g", .payload = "p", .memo = "m"));
}

static void expect_fields(struct story *story, double every_s, int64_t rank, bool once,
                          const char *payload)
{
    struct record_view view = story_view(story, "feed");
    assert_int_equal(view.every_us, STORY_S(every_s));
    assert_int_equal(view.rank, rank);
    assert_int_equal(view.once, once);
    story_expect_text(view.payload, payload);
}

static void fields_that_are_not_given_are_kept(void **state)
{
    struct story *story = *state;
    give_everything(story);
    uint64_t before = story_view(story, "feed").state;
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .payload = "q"));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 10);
    expect_fields(story, 60, -3, true, "q");
    story_expect_text(story_view(story, "feed").group, "g");
    story_expect_text(story_view(story, "feed").memo, "m");
    assert_true(story_view(story, "feed").state > before);
}

static void every_and_group_can_be_cleared(void **state)
{
    struct story *story = *state;
    give_everything(story);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .no_every = true, .once = NOT_ONCE, .group = ""));
    expect_fields(story, 0, -3, false, "p");
    assert_int_equal(story_view(story, "feed").group.count, 0);
}

static void a_put_moves_a_waiting_record(void **state)
{
    struct story *story = *state;
    PUT(story, "feed", .in_s = 10);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .in_s = 2));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 2);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .due_s = -5));
    EXPECT_RECORD(story, "feed", RECORD_READY, -5);
}

static void a_put_on_a_waiting_record_keeps_its_due_unless_it_names_one(void **state)
{
    struct story *story = *state;
    scene_make_waiting(story, "k");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "new"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 100);
    scene_expect_payload(story, "k", "new");
    story_expect_text(story_view(story, "k").memo, "seen");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .due_s = 50));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    scene_expect_payload(story, "k", "new");
}

static void a_put_on_a_ready_record_keeps_its_due_unless_it_names_one(void **state)
{
    struct story *story = *state;
    scene_make_ready(story, "k");
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
    scene_make_parked(story, "k");
    EXPECT(STATUS_CHANGED, PUT(story, "k", .payload = "new"));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    EXPECT(STATUS_CHANGED, PUT(story, "k", .due_s = 50));
    EXPECT_RECORD(story, "k", RECORD_PARKED, 50);
    story_expect_text(story_view(story, "k").park_reason, "broken");
    story_pass_s(story, 60);
    EXPECT_RECORD(story, "k", RECORD_PARKED, 50);
}

/* --- leased ----------------------------------------------------------------------------------- */

static void a_put_on_a_leased_record_is_applied_with_its_report_and_wins(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .payload = "old");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put", .in_s = 30));
    EXPECT(STATUS_PENDING, PUT(story, "feed", .has_rank = true, .rank = 4));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    expect_fields(story, 0, 0, false, "old");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99, .payload = "reported", .memo = "m",
                             .has_rank = true, .rank = 7));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    expect_fields(story, 0, 4, false, "put");
    story_expect_text(story_view(story, "feed").memo, "m");
    assert_int_equal(story_view(story, "feed").state, task.task.name.lease);
}

static void what_is_pending_without_a_due_leaves_the_reports(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 99);
    expect_fields(story, 0, 0, false, "put");
}

static void a_put_on_a_leased_record_leaves_the_report_what_it_does_not_give(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .group = "g"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .has_rank = true, .rank = 3));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    scene_expect_payload(story, "k", "worker's");
    story_expect_text(story_view(story, "k").group, "g");
    assert_int_equal(story_view(story, "k").rank, 3);
}

/* Like in a report. */
static void of_a_due_and_in_the_due_wins(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .due_s = 77, .in_s = 5);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 77);
    PUT(story, "feed", .due_s = 0.5, .in_s = 99);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 0.5);
    story_pass_s(story, 0.5);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .due_s = 66, .in_s = 5));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 9));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 66);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .due_s = 55, .in_s = 5));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new", .due_s = 44, .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 55);
    EXPECT_RECORD(story, "new", RECORD_WAITING, 44);
}

static void a_pending_due_wins_over_the_back_off(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .in_s = 30));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_RETRY));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    assert_int_equal(story_view(story, "feed").failures, 1);
}

static void a_pending_put_is_applied_to_a_record_that_its_report_parks(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .in_s = 30, .payload = "put"));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 30);
    expect_fields(story, 0, 0, false, "put");
}

static void an_every_that_is_cleared_while_it_is_out_counts_once_more(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .every_s = 60);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .no_every = true));
    EXPECT(STATUS_OK, REPORT(story, A, &task)); /* it was told of an every, and names no time */
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 60);
    assert_int_equal(story_view(story, "feed").every_us, 0);
}

static void a_sync_on_a_leased_record_is_applied_with_the_report_and_wins(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "k", .payload = "new", .every_s = 9));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    scene_expect_payload(story, "k", "old");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    scene_expect_payload(story, "k", "new");
    assert_int_equal(story_view(story, "k").every_us, STORY_S(9));
}

/* --- leased, and the lease is lost ------------------------------------------------------------ */

static void
what_is_pending_is_applied_when_the_lease_is_lost_and_the_late_report_is_stale(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put", .in_s = 30));
    story_pass_s(story, 1);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    expect_fields(story, 0, 0, false, "put");
    assert_int_equal(story_view(story, "feed").crashes, 1);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 5));
}

static void what_is_pending_does_not_hide_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_give_back_begun(story, A, &task);
    task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put"));
    story_give_back_begun(story, A, &task);
    assert_int_equal(story_view(story, "feed").crashes, 2);
    assert_int_equal(story_view(story, "feed").status, RECORD_WAITING);
    expect_fields(story, 0, 0, false, "put");
}

static void a_put_without_a_due_leaves_a_lost_record_ready_at_once(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    task = story_take_task(story, A, "k");
    assert_string_equal(task.payload, "new");
    assert_int_equal(task.task.crashes, 1);
}

/* --- leased, and the record would go ---------------------------------------------------------- */

static void a_record_that_was_put_while_leased_outlives_remove(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_leased(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    story_pass_s(story, 1);
    EXPECT(STATUS_OK, story_set_credit(story, A, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    EXPECT_RECORD(story, "k", RECORD_READY, 1);
    scene_expect_payload(story, "k", "new");

    EXPECT(STATUS_OK, story_set_credit(story, A, 1));
    task = story_take_task(story, A, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_REMOVE));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
}

static void a_once_record_that_was_put_meanwhile_stays_due_now(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed", .once = ONCE);
    struct story_task task = story_take_task(story, A, "feed");
    story_pass_s(story, 3);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put"));
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_READY, 3);
    expect_fields(story, 0, 0, true, "put");
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

/* --- durable, or not -------------------------------------------------------------------------- */

static void what_is_pending_survives_a_crash(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "put", .in_s = 30));
    story_crash(story);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 99));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    expect_fields(story, 0, 0, false, "put");
}

static void a_record_is_handed_out_only_when_its_change_is_durable(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    story_hold_disk(story);
    PUT(story, "feed");
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    story_pass_s(story, 3);
    story_expect_no_task(story, A);
    story_release_disk(story);
    assert_int_equal(story_take_task(story, A, "feed").task.lateness_us, STORY_S(3));
}

static void a_put_that_was_not_durable_is_not_there_after_a_crash(void **state)
{
    struct story *story = *state;
    PUT(story, "old", .in_s = 10);
    story_hold_disk(story);
    PUT(story, "old", .in_s = 20);
    PUT(story, "new", .in_s = 20);
    story_crash(story);
    EXPECT_RECORD(story, "old", RECORD_WAITING, 10);
    assert_false(story_has(story, "new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_new_record_without_a_due_is_due_now),
        STORY(fields_that_are_not_given_are_kept),
        STORY(every_and_group_can_be_cleared),
        STORY(a_put_moves_a_waiting_record),
        STORY(a_put_on_a_waiting_record_keeps_its_due_unless_it_names_one),
        STORY(a_put_on_a_ready_record_keeps_its_due_unless_it_names_one),
        STORY(a_put_on_a_parked_record_leaves_it_parked),
        STORY(a_put_on_a_leased_record_is_applied_with_its_report_and_wins),
        STORY(what_is_pending_without_a_due_leaves_the_reports),
        STORY(a_put_on_a_leased_record_leaves_the_report_what_it_does_not_give),
        STORY(of_a_due_and_in_the_due_wins),
        STORY(a_pending_due_wins_over_the_back_off),
        STORY(a_pending_put_is_applied_to_a_record_that_its_report_parks),
        STORY(an_every_that_is_cleared_while_it_is_out_counts_once_more),
        STORY(a_sync_on_a_leased_record_is_applied_with_the_report_and_wins),
        STORY(what_is_pending_is_applied_when_the_lease_is_lost_and_the_late_report_is_stale),
        STORY(what_is_pending_does_not_hide_a_crash),
        STORY(a_put_without_a_due_leaves_a_lost_record_ready_at_once),
        STORY(a_record_that_was_put_while_leased_outlives_remove),
        STORY(a_once_record_that_was_put_meanwhile_stays_due_now),
        STORY(a_once_record_that_was_put_while_leased_outlives_its_ok),
        STORY(what_is_pending_survives_a_crash),
        STORY(a_record_is_handed_out_only_when_its_change_is_durable),
        STORY(a_put_that_was_not_durable_is_not_there_after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
