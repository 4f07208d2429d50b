#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory.h"
#include "message.h"

/* Every allocation of the session fails once: it may come late, never wrong, and nothing is lost.
 */

/* From here to memory_leave allocation `countdown` (from 0) fails. */
static void fail_after(long countdown)
{
    memory_plan((uint64_t)countdown + 1, false);
    memory_enter();
}

/* What it wants to say is thrown away. */
static void let_it_speak(struct story *story, long countdown)
{
    struct bytes frame;
    fail_after(countdown);
    while (session_next_frame(story->session, story->now, &frame))
        continue;
    memory_leave();
}

/* A reconnect with a lease that is held, one that is reported and one that is given back; the k-th
 * allocation for the hello fails. At the next connection it says all that as if nothing had been.
 */
static void a_failed_allocation_before_the_hello_loses_nothing(void **state)
{
    (void)state;
    for (long countdown = 0; countdown < 20; countdown++) {
        struct story story;
        story_begin_live(&story);
        story_hears_tasks(&story, "17 18 19");
        assert_true(story_runs(&story, 17));
        assert_true(story_runs(&story, 18));
        story_reports(&story, 18);
        story_gives_back(&story, 17, true);
        story_hears_bye(&story);
        story_at(&story, 100);
        story_reopens(&story);
        let_it_speak(&story, countdown);
        story_hears_bye(&story);
        story_at(&story, 400);
        story_reopens(&story);
        story_says(&story, "hello resume=3");
        story_hears_welcome(&story, 'A');
        story_says(&story, "resume 19 17 18; give-back 17(begun); report 18");
        story_end(&story);
    }
}

static void a_failed_allocation_while_live_loses_nothing(void **state)
{
    (void)state;
    for (long countdown = 0; countdown < 20; countdown++) {
        struct story story;
        struct bytes frame;
        story_begin_live(&story);
        story_hears_tasks(&story, "17 18 19");
        assert_true(story_runs(&story, 17));
        assert_true(story_runs(&story, 18));
        story_reports(&story, 18);
        story_gives_back(&story, 17, true);
        fail_after(countdown);
        bool spoke = session_next_frame(story.session, story.now, &frame);
        memory_leave();
        if (!spoke)
            story_says(&story, "give-back 17(begun); report 18");
        else if (frame.data[2] == MESSAGE_REPORT) /* there was memory again for this one */
            story_says(&story, "give-back 17(begun)");
        else
            story_says(&story, "report 18");
        story_end(&story);
    }
}

static void tasks_for_which_there_is_no_memory_are_left_to_the_broker(void **state)
{
    (void)state;
    struct story story;
    story_begin_live(&story);
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    static const uint8_t tasks[] = {0x93, 0x01, 0x41, 0x90};
    wire_write_raw(&frame, tasks, sizeof(tasks));
    fail_after(0);
    story_hears(&story, &frame);
    memory_leave();
    assert_int_equal(session_counts(story.session)->malformed, 0);
    story_hears_tasks(&story, "17");
    assert_int_equal(story.delivered, 1);
    wire_buffer_release(&frame);
    story_end(&story);
}

static void a_session_without_memory_is_not_made(void **state)
{
    (void)state;
    const struct session_options options = {.credit = 64};
    for (long countdown = 0; countdown < 2; countdown++) {
        fail_after(countdown);
        assert_null(session_new(&options));
        memory_leave();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_allocation_before_the_hello_loses_nothing),
        cmocka_unit_test(a_failed_allocation_while_live_loses_nothing),
        cmocka_unit_test(tasks_for_which_there_is_no_memory_are_left_to_the_broker),
        cmocka_unit_test(a_session_without_memory_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
