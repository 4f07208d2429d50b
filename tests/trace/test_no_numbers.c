/* No numbers: the disk is stuck and none is reserved. Long work waits, quietly. */
#include "story.h"

/* Long work that cannot go on must not keep the broker awake: it is tried ten times a second. */
static void expect_quiet(struct story *story)
{
    assert_false(sched_has_work(story->sched));
    int64_t wait_us = sched_next_mono_us(story->sched) - story->now.mono_us;
    assert_in_range(wait_us, 1, 100000);
    for (int i = 0; i < 20; i++) { /* nor does it go to sleep for good */
        story_pass_us(story, 50000);
        assert_false(sched_has_work(story->sched));
        assert_true(sched_next_mono_us(story->sched) > story->now.mono_us);
    }
}

static void letting_go_waits_quietly_for_numbers(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    story_take_task(story, A, "feed");
    EXPECT(STATUS_PENDING, PUT(story, "feed", .payload = "new"));
    story_crash_and_hold_disk(story);
    story_pass_s(story, 5);
    assert_false(story_numbers(story, "q").is_in_grace);
    expect_quiet(story);
    EXPECT_RECORD(story, "feed", RECORD_LEASED, 0);
    story_release_disk(story);
    EXPECT_RECORD(story, "feed", RECORD_READY, 0);
    story_expect_text(story_view(story, "feed").payload, "new");
}

static void a_kick_of_all_waits_quietly_for_numbers(void **state)
{
    struct story *story = *state;
    HELLO(story, A, .credit = 1);
    PUT(story, "feed");
    struct story_task task = story_take_task(story, A, "feed");
    EXPECT(STATUS_OK, REPORT(story, A, &task, .outcome = OUTCOME_PARK));
    EXPECT(STATUS_OK, story_goodbye(story, A));
    story_crash_and_hold_disk(story);
    HELLO(story, CLIENT);
    story_kick_all(story);
    expect_quiet(story);
    EXPECT_RECORD(story, "feed", RECORD_PARKED, 0);
    story_release_disk(story);
    EXPECT_RECORD(story, "feed", RECORD_READY, 1);
    assert_int_equal(story->last[EFFECT_KICKED].count, 1);
}

static void a_sync_waits_quietly_for_numbers(void **state)
{
    struct story *story = *state;
    story_crash_and_hold_disk(story);
    HELLO(story, CLIENT);
    struct story_set set;
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "feed", .in_s = 5));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_turn(story);
    expect_quiet(story);
    assert_false(story_has(story, "feed"));
    story_release_disk(story);
    assert_true(story_has(story, "feed"));
    assert_int_equal(story->last[EFFECT_SYNC_DONE].status, STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(letting_go_waits_quietly_for_numbers),
        STORY(a_kick_of_all_waits_quietly_for_numbers),
        STORY(a_sync_waits_quietly_for_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
