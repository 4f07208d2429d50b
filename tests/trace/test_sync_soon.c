/* A full set that changes records which are about to be handed out does not make them late: they
 * are handed out as they were, and changed afterwards. Where memory is short they are changed at
 * once. */
#include "scenes.h"

/* "feed" is due at 1 s, its payload is "old"; A has credit for so many. */
static void make_feed(struct story *story, uint32_t credit)
{
    HELLO(story, A, .credit = credit);
    PUT(story, "feed", .in_s = 1, .payload = "old");
}

/* A set with the line "feed", whose payload is "new", is committed; carried out is what can be. */
static struct story_set commit_new(struct story *story)
{
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    return set;
}

static bool is_answered(const struct story *story)
{
    return story->last[EFFECT_SYNC_DONE].request != 0;
}

static void a_record_due_soon_is_handed_out_in_time_and_changed_when_it_is_back(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    struct story_set set = commit_new(story);
    scene_expect_payload(story, "feed", "old");
    story_hold_disk(story); /* whatever waits for it would be late */
    story_pass_s(story, 0.1);
    struct story_task task = story_take_task(story, A, "feed");
    assert_int_equal(task.task.lateness_us, 0);
    story_expect_text(task.task.payload, "old");
    story_release_disk(story);
    story_pass_s(story, 0.1);
    assert_true(is_answered(story));
    EXPECT_COUNTS(story, &set, .changed = 1);
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    scene_expect_payload(story, "feed", "new");
}

static void a_record_that_is_back_before_it_is_looked_at_again_is_changed_then(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    commit_new(story);
    story->now.wall_us += STORY_S(0.1); /* leases know no wall clock, nor does the next look */
    story_turn(story);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    scene_expect_payload(story, "feed", "old");
    assert_false(is_answered(story));
    story_pass_s(story, 0.1);
    assert_true(is_answered(story));
    scene_expect_payload(story, "feed", "new");
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 61);
}

static void a_record_that_nobody_could_be_given_is_changed_at_once(void **state)
{
    struct story *story = *state;
    make_feed(story, 0);
    story_pass_s(story, 0.9);
    commit_new(story);
    assert_true(is_answered(story));
    scene_expect_payload(story, "feed", "new");
}

static void a_record_of_a_paused_queue_is_changed_at_once(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    EXPECT(STATUS_OK, story_pause(story, "q"));
    commit_new(story);
    assert_true(is_answered(story));
    scene_expect_payload(story, "feed", "new");
}

static void a_record_due_later_is_changed_at_once(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    commit_new(story);
    assert_true(is_answered(story));
    scene_expect_payload(story, "feed", "new");
}

static void a_set_that_says_when_a_record_is_due_moves_it_at_once(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    HELLO(story, CLIENT, .queues = "");
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set, .due_take = true));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .due_s = 500));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    EXPECT_RECORD(story, "feed", RECORD_WAITING, 500);
}

/* The wall clock goes back again and again, so that it never comes due. */
static void a_record_that_stays_due_soon_is_changed_after_half_a_second(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    commit_new(story);
    for (int i = 0; i < 9; i++) {
        story_pass_s(story, 0.05);
        story_step_wall_s(story, -0.05);
    }
    assert_false(is_answered(story));
    scene_expect_payload(story, "feed", "old");
    story_pass_s(story, 0.09);
    assert_true(is_answered(story));
    scene_expect_payload(story, "feed", "new");
}

static void what_is_put_off_is_left_alone_when_it_is_put_or_removed(void **state)
{
    struct story *story = *state;
    make_feed(story, 2);
    PUT(story, "gone", .in_s = 1, .payload = "old");
    story_pass_s(story, 0.9);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "gone", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    EXPECT(STATUS_CHANGED, PUT(story, "feed", .in_s = 60, .payload = "put"));
    EXPECT(STATUS_OK, story_remove(story, "gone"));
    story_pass_s(story, 1);
    EXPECT_COUNTS(story, &set, .kept = 2);
    scene_expect_payload(story, "feed", "put");
    assert_false(story_has(story, "gone"));
}

static void what_is_put_off_is_changed_in_the_end(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    story_pass_s(story, 0.9);
    struct story_set set = commit_new(story);
    story_pass_s(story, 1);
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .in_s = 60));
    EXPECT_COUNTS(story, &set, .changed = 1);
    scene_expect_payload(story, "feed", "new");
}

static void what_was_put_off_at_a_crash_is_changed_after_it(void **state)
{
    struct story *story = *state;
    make_feed(story, 1);
    PUT(story, "other", .in_s = 9, .payload = "old");
    story_pass_s(story, 0.9);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "feed", .payload = "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "other", .payload = "new"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    scene_expect_payload(story, "other", "new");
    scene_expect_payload(story, "feed", "old");
    story_crash(story);
    scene_expect_payload(story, "feed", "new");
    EXPECT_COUNTS(story, &set, .changed = 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY_WITH_MEMORY(a_record_due_soon_is_handed_out_in_time_and_changed_when_it_is_back),
        STORY_WITH_MEMORY(a_record_that_is_back_before_it_is_looked_at_again_is_changed_then),
        STORY(a_record_that_nobody_could_be_given_is_changed_at_once),
        STORY(a_record_of_a_paused_queue_is_changed_at_once),
        STORY(a_record_due_later_is_changed_at_once),
        STORY(a_set_that_says_when_a_record_is_due_moves_it_at_once),
        STORY_WITH_MEMORY(a_record_that_stays_due_soon_is_changed_after_half_a_second),
        STORY_WITH_MEMORY(what_is_put_off_is_left_alone_when_it_is_put_or_removed),
        STORY(what_is_put_off_is_changed_in_the_end),
        STORY_WITH_MEMORY(what_was_put_off_at_a_crash_is_changed_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
