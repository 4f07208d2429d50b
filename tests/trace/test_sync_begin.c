/* Full sets: who may send and commit one, and which are refused; what is refused changes nothing.
 */
#include "scenes.h"

/* --- one at a time, and of one session -------------------------------------------------------- */

static void a_second_begin_on_the_queue_is_a_conflict_until_the_first_is_over(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    struct story_set first = scene_begin_set(story), second, other;
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, A, &second));
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, CLIENT, &second));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, A, &other, .queue = "other"));
    assert_int_not_equal(first.generation, other.generation);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &first));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, A, &second));
    assert_true(second.generation > other.generation);
}

static void generations_go_on_after_a_restart(void **state)
{
    struct story *story = *state;
    struct story_set before = scene_begin_set(story);
    story_crash(story);
    struct story_set after = scene_begin_set(story);
    assert_true(after.generation > before.generation);
}

static void another_session_can_neither_send_lines_nor_commit(void **state)
{
    struct story *story = *state;
    HELLO(story, A);
    struct story_set set;
    scene_make_set(story, &set);
    EXPECT(STATUS_CONFLICT, SYNC_LINE(story, A, &set, "k"));
    EXPECT(STATUS_CONFLICT, SYNC_COMMIT(story, A, &set, .unworked = true));
    EXPECT(STATUS_CONFLICT, story_sync_abort(story, A, &set));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
}

static void a_set_ends_with_its_session(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    story_goodbye(story, CLIENT);
    scene_expect_untouched(story);
    HELLO(story, D, .queues = "");
    assert_true(SYNC_LINE(story, D, &set, "more") < 0);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, D, &set));
}

static void a_set_ends_when_its_session_begins_anew(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    PUT(story, "meanwhile");
    HELLO(story, CLIENT);
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set));
    for (size_t i = 0; i < story->disk.row_count; i++)
        assert_int_not_equal(story->disk.rows[i].row.table, STORE_SYNCS);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
}

static void a_session_that_is_lost_before_its_commit_changes_nothing(void **state)
{
    struct story *story = *state;
    scene_put_numbered(story, "old", 2);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "old0", .payload = "p"));
    story_break_connection(story, CLIENT, 0);
    assert_false(story_has(story, "new"));
    assert_null(story_view(story, "old0").payload.data);
    HELLO(story, CLIENT);
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 2);
}

/* --- idle ------------------------------------------------------------------------------------- */

static struct sched_sync_view view_sync(struct story *story)
{
    struct sched_sync_view view;
    uint32_t place = sched_find_queue(story->sched, bytes_of("q"));
    assert_true(sched_view_sync(story->sched, place, &view));
    return view;
}

static void a_set_of_which_nothing_comes_for_ten_minutes_is_given_up(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    story_pass_s(story, 400);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    story_pass_s(story, 599);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "newer"));
    story_pass_s(story, 599);
    HELLO(story, A);
    struct story_set other;
    EXPECT(STATUS_CONFLICT, SYNC_BEGIN(story, A, &other));
    story_pass_s(story, 2);
    assert_int_equal(story->last[EFFECT_SYNC_IDLE].number, set.generation);
    EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &set, "late"));
    EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set));
    assert_false(story_has(story, "new"));
    EXPECT(STATUS_OK, SYNC_BEGIN(story, A, &other));
}

static void what_was_committed_is_carried_out_however_long_it_takes(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    story_hold_disk(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .unworked = true));
    story_pass_s(story, 700);
    story_release_disk(story);
    story_pass_s(story, 1);
    assert_true(story_has(story, "new"));
}

static void a_lower_limit_holds_for_a_set_that_is_open(void **state)
{
    struct story *story = *state;
    struct story_set set = scene_begin_set(story);
    story->settings.sync_idle_us = STORY_S(5);
    sched_set_settings(story->sched, &story->settings);
    story_pass_s(story, 6);
    EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &set, "late"));
}

static void who_holds_a_set_and_since_when_can_be_seen(void **state)
{
    struct story *story = *state;
    struct sched_sync_view view;
    PUT(story, "old", .in_s = 9);
    uint32_t place = sched_find_queue(story->sched, bytes_of("q"));
    assert_int_equal(sched_find_queue(story->sched, bytes_of("no-queue")), UINT32_MAX);
    assert_false(sched_view_sync(story->sched, place, &view));
    int64_t began_us = story->now.mono_us;
    struct story_set set = scene_begin_set(story);
    story_pass_s(story, 3);
    SYNC_LINE(story, CLIENT, &set, "new");
    view = view_sync(story);
    assert_true(view.is_open && view.holder.count > 0);
    assert_int_equal(view.began_mono_us, began_us);
    assert_int_equal(view.heard_mono_us, began_us + STORY_S(3));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set));
    assert_false(sched_view_sync(story->sched, place, &view));
}

/* --- aborted ---------------------------------------------------------------------------------- */

static void an_abort_changes_nothing_and_lets_another_begin(void **state)
{
    struct story *story = *state;
    PUT(story, "known", .in_s = 9);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_CHANGED, SYNC_LINE(story, CLIENT, &set, "known", .payload = "p"));
    EXPECT(STATUS_OK, story_sync_abort(story, CLIENT, &set));
    for (int i = 0; i < 2; i++) {
        assert_false(story_has(story, "new"));
        story_expect_text(story_view(story, "known").payload, "");
        EXPECT(STATUS_NOT_FOUND, SYNC_LINE(story, CLIENT, &set, "late"));
        EXPECT(STATUS_NOT_FOUND, SYNC_COMMIT(story, CLIENT, &set));
    }
    scene_begin_set(story);
}

/* --- bad lines -------------------------------------------------------------------------------- */

static void a_bad_line_is_refused_with_its_reason_and_counted(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    EXPECT(STATUS_BAD_KEY, SYNC_LINE(story, CLIENT, &set, "tab\there"));
    EXPECT(STATUS_BAD_TIME, SYNC_LINE(story, CLIENT, &set, "late", .due_us = TIME_US_END));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_sync_counts(story, &set).rejected, 2);
    assert_true(story_has(story, "old"));
    assert_true(story_has(story, "new"));
}

static void a_key_that_comes_twice_is_a_bad_line_and_nothing_is_pruned(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    scene_make_set(story, &set);
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "new", .payload = "p"));
    EXPECT(STATUS_UNCHANGED, SYNC_LINE(story, CLIENT, &set, "known"));
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "known"));
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_true(story_has(story, "old"));
    assert_int_equal(story_view(story, "new").payload.count, 0);
    assert_int_equal(story_sync_counts(story, &set).rejected, 2);
    assert_int_equal(story_sync_counts(story, &set).pruned, 0);
}

static void a_key_that_comes_twice_is_seen_though_it_was_put_or_removed_between(void **state)
{
    struct story *story = *state;
    struct story_set set;
    PUT(story, "known", .in_s = 10);
    scene_make_set(story, &set);
    SYNC_LINE(story, CLIENT, &set, "known");
    PUT(story, "new", .in_s = 20);
    story_remove(story, "known");
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_DUPLICATE, SYNC_LINE(story, CLIENT, &set, "known"));
}

/* --- refused commits -------------------------------------------------------------------------- */

static void a_wrong_count_or_sum_changes_nothing(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .miscount = 1, .prune = true));
    scene_expect_untouched(story);
    EXPECT(STATUS_OK, SYNC_BEGIN(story, CLIENT, &set));
    SYNC_LINE(story, CLIENT, &set, "new");
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .bad_sum = 1, .prune = true));
    scene_expect_untouched(story);
}

static void a_refused_commit_is_refused_again_when_it_is_repeated(void **state)
{
    struct story *story = *state;
    scene_put_numbered(story, "old", 4);
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .bad_sum = 1, .prune = true));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_false(story_has(story, "new"));
    set = scene_begin_set(story);
    EXPECT(STATUS_CREATED, SYNC_LINE(story, CLIENT, &set, "new"));
    EXPECT(STATUS_MISMATCH, SYNC_COMMIT(story, CLIENT, &set, .miscount = 1, .prune = true));
    assert_false(story_has(story, "new"));
    set = scene_begin_set(story);
    EXPECT(STATUS_PRUNE_GUARD,
           SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 999999));
    story_crash(story);
    HELLO(story, CLIENT);
    EXPECT(STATUS_PRUNE_GUARD, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_numbers(story, "q").records, 4);
}

/* --- repeated commits ------------------------------------------------------------------------- */

static void a_repeated_commit_gets_the_same_answer(void **state)
{
    struct story *story = *state;
    struct story_set set;
    scene_make_set(story, &set);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    struct sync_counts before = story_sync_counts(story, &set);
    PUT(story, "later", .in_s = 10);
    for (int i = 0; i < 2; i++) {
        EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
        struct sync_counts again = story_sync_counts(story, &set);
        assert_memory_equal(&before, &again, sizeof(before));
        assert_true(story_has(story, "later"));
        story_crash(story);
        HELLO(story, CLIENT, .queues = "");
    }
}

static void a_commit_whose_session_was_lost_meanwhile_is_answered_when_it_is_repeated(void **state)
{
    struct story *story = *state;
    scene_put_numbered(story, "old", 4);
    for (int dry_run = 0; dry_run < 2; dry_run++) {
        struct story_set set = scene_begin_set(story);
        EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .prune_max_ppm = 1,
                                      .dry_run = dry_run, .unworked = true));
        EXPECT(STATUS_OK, story_goodbye(story, CLIENT));
        HELLO(story, CLIENT);
        EXPECT(STATUS_PRUNE_GUARD, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
        assert_int_equal(story_sync_counts(story, &set).absent, 4);
    }
    struct story_set set = scene_begin_set(story);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true, .unworked = true));
    EXPECT(STATUS_OK, story_goodbye(story, CLIENT));
    HELLO(story, CLIENT);
    EXPECT(STATUS_OK, SYNC_COMMIT(story, CLIENT, &set, .prune = true));
    assert_int_equal(story_sync_counts(story, &set).pruned, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_second_begin_on_the_queue_is_a_conflict_until_the_first_is_over),
        STORY(generations_go_on_after_a_restart),
        STORY(another_session_can_neither_send_lines_nor_commit),
        STORY(a_set_ends_with_its_session),
        STORY(a_set_ends_when_its_session_begins_anew),
        STORY(a_session_that_is_lost_before_its_commit_changes_nothing),
        STORY(a_set_of_which_nothing_comes_for_ten_minutes_is_given_up),
        STORY(what_was_committed_is_carried_out_however_long_it_takes),
        STORY(a_lower_limit_holds_for_a_set_that_is_open),
        STORY(who_holds_a_set_and_since_when_can_be_seen),
        STORY(an_abort_changes_nothing_and_lets_another_begin),
        STORY(a_bad_line_is_refused_with_its_reason_and_counted),
        STORY(a_key_that_comes_twice_is_a_bad_line_and_nothing_is_pruned),
        STORY(a_key_that_comes_twice_is_seen_though_it_was_put_or_removed_between),
        STORY(a_wrong_count_or_sum_changes_nothing),
        STORY(a_refused_commit_is_refused_again_when_it_is_repeated),
        STORY(a_repeated_commit_gets_the_same_answer),
        STORY_WITH_MEMORY(
            a_commit_whose_session_was_lost_meanwhile_is_answered_when_it_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
