/* Leases that live on over a restart or a new connection, and what happens to the record meanwhile.
 */
#include <stdio.h>

#include "scenes.h"

/* --- over a restart --------------------------------------------------------------------------- */

static void a_resumed_lease_keeps_its_number_and_nobody_else_gets_the_record(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    HELLO(story, B, .credit = 9);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 10);
    story_expect_no_task(story, B);
    EXPECT(STATUS_OK, story_touch(story, A, &task, 0));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 15);
    assert_int_equal(story_view(story, "feed").state, task.task.name.lease);
}

static void a_resumed_lease_runs_out_like_any_other(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    HELLO(story, A, .credit = 1, .lease_ms = 2000, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_set_credit(story, A, 0);
    story_pass_s(story, 2);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 1);
}

static void a_resumed_lease_lasts_as_long_as_the_new_hello_says(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
    HELLO(story, A, .credit = 0, .resume = 1, .lease_ms = 20000);
    EXPECT(STATUS_OK, story_resume(story, A, &a));
    story_pass_s(story, 20);
    assert_int_equal(story->peers[A].cancelled, a.task.name.lease);
    EXPECT_RECORD(story, a.key, RECORD_READY, 0);
    assert_int_equal(story_view(story, a.key).crashes, 1);
}

static void a_report_counts_during_the_grace_without_being_resumed(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    HELLO(story, B);
    EXPECT(STATUS_OK, REPORT(story, B, &task, .in_s = 30));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 30);
    assert_true(scene_is_in_grace(story));
}

static void any_session_may_announce_a_lease(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    HELLO(story, C, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, C, &task));
    story_pass_s(story, 6);
    EXPECT(STATUS_OK, REPORT(story, C, &task, .in_s = 30));
}

static void what_cannot_be_resumed_is_stale_or_gone(void **state)
{
    struct story *story = *state;
    struct story_task a, b;
    scene_crash_with_two_leases(story, &a, &b);
    HELLO(story, C, .credit = 0);
    EXPECT(STATUS_OK, REPORT(story, C, &b, .in_s = 5));
    story_remove(story, a.key);
    HELLO(story, A, .credit = 0, .resume = 2);
    EXPECT(STATUS_GONE, story_resume(story, A, &a));
    b.task.name.lease++;
    EXPECT(STATUS_STALE, story_resume(story, A, &b));
}

/* --- over a new connection -------------------------------------------------------------------- */

static void the_same_process_on_a_new_connection_keeps_what_it_announces(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 2);
    PUT(story, "kept");
    PUT(story, "dropped");
    struct story_task kept = story_take_task(story, A, "kept");
    story_take_task(story, A, "dropped");
    HELLO(story, A, .credit = 1, .resume = 1);
    struct sched_agreed agreed;
    assert_true(sched_get_agreed(story->sched, story->peers[A].session, &agreed));
    assert_true(agreed.is_known);
    EXPECT_RECORD(story, "dropped", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, story_resume(story, A, &kept));
    EXPECT_RECORD(story, "kept", RECORD_LEASED, 0);
    EXPECT_RECORD(story, "dropped", RECORD_READY, 0);
    assert_int_equal(story_view(story, "dropped").crashes, 0);
}

static void a_session_that_is_waited_for_comes_back(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_break_connection(story, A, 3);
    story_pass_s(story, 2);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_pass_s(story, 10);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void a_process_that_announces_nothing_gives_everything_back_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    HELLO(story, A, .credit = 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

static void a_lease_that_ended_can_be_resumed_while_nobody_else_has_the_record(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_break_connection(story, A, 0);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    HELLO(story, A, .credit = 0, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

/* There is room for what the end of the lease changes, too, however much waits for the disk. */
static void a_parked_record_is_resumed_while_the_room_for_changes_is_full(void **state)
{
    struct story *story = *state;
    enum { ROOM = 1024 };
    story->settings.policy.crashes_max = 1;
    story_crash(story);
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_set_credit(story, A, 0);
    EXPECT(STATUS_OK, story_give_back_begun(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    story_hold_disk(story);
    PUT(story, "sealed");
    for (int i = 0; i < ROOM - 1; i++) {
        char key[STORY_TEXT_BYTES];
        snprintf(key, sizeof(key), "k%d", i);
        PUT(story, key, .in_s = 500);
    }
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 5);
}

/* The worker, which hears the CANCEL before the answer to its announcement, goes by the answer. */
static void a_lease_that_ends_between_hello_and_its_announcement_goes_on_uncounted(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1, .lease_ms = 1000);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    story_pass_s(story, 0.9);
    HELLO(story, A, .credit = 0, .lease_ms = 1000, .resume = 1);
    story_pass_s(story, 0.1);
    assert_int_equal(story->peers[A].cancelled, task.task.name.lease);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    assert_int_equal(story_view(story, "feed").crashes, 0);
    story_pass_s(story, 0.9);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 5));
}

/* --- changes during the grace ----------------------------------------------------------------- */

static void changes_to_what_is_held_are_pending_and_durable(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    story_crash(story);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    story_expect_text(story_view(story, "feed").payload, "");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 30));
    story_expect_text(story_view(story, "feed").payload, "new");
}

static void changes_are_applied_under_a_fresh_number_when_nobody_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new", .due_s = 20));
    story_pass_s(story, 5);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
    story_expect_text(story_view(story, "feed").payload, "new");
    assert_true(story_view(story, "feed").state > task.task.name.lease);
    HELLO(story, A);
    EXPECT(STATUS_STALE, REPORT(story, A, &task, .in_s = 30));
}

static void a_change_that_was_pending_before_the_crash_is_pending_after_it(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    EXPECT(STATUS_PENDING, story_run_now(story, "feed"));
    story_crash(story);
    story_expect_text(story_view(story, "feed").payload, "");
    HELLO(story, A, .resume = 1);
    EXPECT(STATUS_OK, story_resume(story, A, &task));
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 30));
    story_expect_text(story_view(story, "feed").payload, "new");
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
}

static void without_a_grace_what_was_pending_is_applied_at_once(void **state)
{
    struct story *story = *state;
    HELLO(story, CLIENT);
    PUT(story, "feed");
    EXPECT(STATUS_OK, TAKE(story, CLIENT, .detached = true));
    struct story_task task = story_take_task(story, CLIENT, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new", .due_s = 20));
    story_crash(story);
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 20);
    story_expect_text(story_view(story, "feed").payload, "new");
    HELLO(story, CLIENT);
    EXPECT(STATUS_STALE, REPORT(story, CLIENT, &task, .in_s = 30));
}

static void what_is_held_is_removed_at_once_and_never_comes_back(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_restart_while_out(story);
    EXPECT(STATUS_LEASED, story_kick(story, "feed"));
    EXPECT(STATUS_OK, story_remove(story, "feed"));
    assert_false(story_has(story, "feed"));
    HELLO(story, A, .credit = 1, .resume = 1);
    EXPECT(STATUS_GONE, story_resume(story, A, &task));
    EXPECT(STATUS_GONE, REPORT(story, A, &task, .in_s = 30));
    story_pass_s(story, 6);
    assert_false(story_has(story, "feed"));
}

/* --- commands on what is held ----------------------------------------------------------------- */

static void a_put_on_a_held_record_is_applied_with_the_report_of_the_resumed_lease(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_held(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .due_s = 50, .payload = "new"));
    scene_expect_payload(story, "k", "old");
    scene_come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70, .payload = "worker's"));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 50);
    scene_expect_payload(story, "k", "new");
}

static void a_put_on_a_held_record_survives_another_crash(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_held(story, "k");
    EXPECT(STATUS_PENDING, PUT(story, "k", .payload = "new"));
    EXPECT(STATUS_PENDING, PUT(story, "k", .group = "g"));
    story_crash(story);
    EXPECT_RECORD(story, "k", RECORD_LEASED, 0);
    scene_expect_payload(story, "k", "old");
    scene_come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    EXPECT_RECORD(story, "k", RECORD_WAITING, 70);
    scene_expect_payload(story, "k", "new");
    story_expect_text(story_view(story, "k").group, "g");
}

static void run_now_on_a_held_record_takes_place_with_the_report(void **state)
{
    struct story *story = *state;
    struct story_task task = scene_make_held(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    scene_come_back_with(story, &task);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 70));
    task = story_take_task(story, A, "k");
    assert_int_equal(task.task.due_us, story_at_us(0));
}

static void run_now_on_a_held_record_takes_place_when_the_grace_ends(void **state)
{
    struct story *story = *state;
    scene_make_held(story, "k");
    EXPECT(STATUS_PENDING, story_run_now(story, "k"));
    story_pass_s(story, 6);
    EXPECT_RECORD(story, "k", RECORD_READY, 5);
}

static void a_parked_record_is_not_held(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "k");
    struct story_task task = story_take_task(story, A, "k");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    story_crash(story);
    EXPECT_RECORD(story, "k", RECORD_PARKED, 0);
    EXPECT(STATUS_OK, story_kick(story, "k"));
    EXPECT_RECORD(story, "k", RECORD_READY, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_resumed_lease_keeps_its_number_and_nobody_else_gets_the_record),
        STORY(a_resumed_lease_runs_out_like_any_other),
        STORY(a_resumed_lease_lasts_as_long_as_the_new_hello_says),
        STORY(a_report_counts_during_the_grace_without_being_resumed),
        STORY(any_session_may_announce_a_lease),
        STORY(what_cannot_be_resumed_is_stale_or_gone),
        STORY(the_same_process_on_a_new_connection_keeps_what_it_announces),
        STORY(a_session_that_is_waited_for_comes_back),
        STORY(a_process_that_announces_nothing_gives_everything_back_uncounted),
        STORY(a_lease_that_ended_can_be_resumed_while_nobody_else_has_the_record),
        STORY_WITH_MEMORY(a_parked_record_is_resumed_while_the_room_for_changes_is_full),
        STORY(a_lease_that_ends_between_hello_and_its_announcement_goes_on_uncounted),
        STORY(changes_to_what_is_held_are_pending_and_durable),
        STORY(changes_are_applied_under_a_fresh_number_when_nobody_comes_back),
        STORY(a_change_that_was_pending_before_the_crash_is_pending_after_it),
        STORY(without_a_grace_what_was_pending_is_applied_at_once),
        STORY(what_is_held_is_removed_at_once_and_never_comes_back),
        STORY(a_put_on_a_held_record_is_applied_with_the_report_of_the_resumed_lease),
        STORY(a_put_on_a_held_record_survives_another_crash),
        STORY(run_now_on_a_held_record_takes_place_with_the_report),
        STORY(run_now_on_a_held_record_takes_place_when_the_grace_ends),
        STORY(a_parked_record_is_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
