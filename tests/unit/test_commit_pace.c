/* When a batch is made for the disk (server_store.c), over a store that is done when it is told.
 *
 * What server_store.c calls of the server is played here. Time stands still but for what a test
 * sets. */
#include "server_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory.h"

/* --- a store ---------------------------------------------------------------------------------- */

struct slow_store {
    struct store store;
    struct store_batch *batch; /* on its way */
    bool is_in_memory;         /* as which it is done at once */
    bool is_done;
    int submitted;
};

static enum status submit_slowly(struct store *store, struct store_batch *batch)
{
    struct slow_store *self = (struct slow_store *)store;
    assert_null(self->batch);
    self->batch = batch;
    self->is_done = self->is_in_memory;
    self->submitted++;
    return STATUS_OK;
}

static struct store_batch *take_when_done(struct store *store)
{
    struct slow_store *self = (struct slow_store *)store;
    struct store_batch *batch = self->is_done ? self->batch : NULL;
    if (batch)
        self->batch = NULL;
    return batch;
}

/* Not -1: it has a thread of its own, and nobody here waits for it. */
static int fd_of(const struct store *store)
{
    const struct slow_store *self = (const struct slow_store *)store;
    return self->is_in_memory ? -1 : 0;
}

static const struct store_backend slow_backend = {
    .name = "slow", .submit = submit_slowly, .take_done = take_when_done, .fd = fd_of};

struct scene {
    struct server server; /* first */
    struct server_options options;
    struct slow_store store;
    size_t answered;
    int puts;
};

/* --- what it calls of the server -------------------------------------------------------------- */

enum status server_step(struct server *server, const struct event *event)
{
    return sched_step(server->sched, event, &server->effects);
}

void server_fail(struct server *server, int exit_code)
{
    (void)server;
    fail_msg("the server would end with %d", exit_code);
}

void output_answers(struct server *server, struct answers *answers)
{
    struct scene *scene = (struct scene *)server;
    scene->answered += answers->count;
    answers->count = 0;
}

void answers_release(struct answers *answers)
{
    answers->count = 0;
}

/* --- scenes ----------------------------------------------------------------------------------- */

enum { BEGIN_US = 1000000000 };

/* A change whose answer is in no hurry, as that of a report. */
static void change(struct scene *scene)
{
    struct server *server = &scene->server;
    char key[] = {'k', (char)('a' + scene->puts++), '\0'};
    struct put put = {.key = bytes_of(key),
                      .due_us = TIME_US_NEVER,
                      .in_us = TIME_US_NEVER,
                      .every_us = TIME_US_NEVER};
    struct event event = {.kind = EVENT_PUT, .now = server->now};
    event.put.queue = bytes_of("q");
    event.put.put = &put;
    assert_int_equal(sched_step(server->sched, &event, &server->effects), STATUS_CREATED);
    server->filling.count++;
}

static void finish(struct scene *scene)
{
    scene->store.is_done = true;
    storage_turn(&scene->server);
}

/* One commit has just been made, and is on disk. */
static int begin_with(void **state, bool is_in_memory)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct server *server = &scene->server;
    struct sched_settings settings;
    sched_settings_init(&settings);
    scene->options.sync = SYNC_ALWAYS;
    scene->store.store.backend = &slow_backend;
    scene->store.is_in_memory = is_in_memory;
    server->options = &scene->options;
    server->store = &scene->store.store;
    server->batch = store_batch_new();
    server->sched = sched_new(&settings);
    server->now = (struct moment){.wall_us = BEGIN_US, .mono_us = BEGIN_US};
    assert_int_equal(sched_load_end(server->sched, server->now), STATUS_OK);
    storage_turn(server); /* reserves numbers */
    finish(scene);
    struct hello hello = {.uid = {1}, .queue_count = 1, .queues = {bytes_of("q")}};
    struct event event = {.kind = EVENT_HELLO, .now = server->now, .hello = &hello};
    assert_int_equal(sched_step(server->sched, &event, &server->effects), STATUS_OK);
    server->now.mono_us += PACE_US;
    change(scene);
    storage_turn(server);
    finish(scene);
    assert_null(scene->store.batch);
    scene->store.submitted = 0;
    scene->answered = 0;
    *state = scene;
    return 0;
}

static int begin(void **state)
{
    return begin_with(state, false);
}

static int begin_in_memory(void **state)
{
    return begin_with(state, true);
}

static int end(void **state)
{
    struct scene *scene = *state;
    store_batch_destroy(&scene->server.batch);
    store_batch_destroy(&scene->store.batch);
    effects_release(&scene->server.effects);
    sched_destroy(&scene->server.sched);
    free(scene);
    return 0;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void with_nothing_to_write_it_wants_no_turn(void **state)
{
    struct scene *scene = *state;
    assert_true(storage_next_mono_us(&scene->server) == TIME_US_NEVER);
}

static void reports_keep_their_distance_to_the_commit_before(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    server->now.mono_us += PACE_US - 1;
    storage_turn(server);
    assert_int_equal(scene->store.submitted, 0);
    assert_int_equal(storage_next_mono_us(server), server->now.mono_us + 1);
    server->now.mono_us++;
    storage_turn(server);
    assert_int_equal(scene->store.submitted, 1);
    assert_true(storage_next_mono_us(server) == TIME_US_NEVER); /* the disk wakes it */
}

/* Kept when the turn looked, over when it ends: nothing else may come for a minute. */
static void a_commit_that_was_held_up_is_made_though_nothing_else_comes(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    server->now.mono_us += PACE_US - 1;
    storage_turn(server);
    server->now.mono_us += 2;
    assert_true(storage_next_mono_us(server) <= server->now.mono_us);
    storage_turn(server);
    assert_int_equal(scene->store.submitted, 1);
}

static void a_batch_for_which_there_was_no_memory_is_tried_again(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    server->now.mono_us += PACE_US;
    store_batch_destroy(&server->batch); /* one without room */
    server->batch = store_batch_new();
    memory_plan(1, true);
    memory_enter();
    storage_turn(server);
    memory_leave();
    assert_true(memory_failures() > 0);
    assert_int_equal(scene->store.submitted, 0);
    assert_int_equal(storage_next_mono_us(server), server->now.mono_us + PACE_US);
    memory_come_back();
    server->now.mono_us += PACE_US;
    storage_turn(server);
    assert_int_equal(scene->store.submitted, 1);
}

static void what_comes_while_the_disk_is_busy_waits_for_it(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    server->now.mono_us += PACE_US;
    storage_turn(server);
    change(scene);
    server->now.mono_us += PACE_US;
    storage_turn(server);
    assert_int_equal(scene->store.submitted, 1);
    assert_true(storage_next_mono_us(server) == TIME_US_NEVER);
    finish(scene);
    assert_int_equal(scene->store.submitted, 2);
}

/* --- in memory -------------------------------------------------------------------------------- */

static void in_memory_changes_are_made_at_once_and_answers_to_reports_leave_together(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    for (int i = 0; i < 3; i++) {
        change(scene);
        storage_turn(server);
    }
    assert_int_equal(scene->store.submitted, 3);
    assert_int_equal(scene->answered, 0);
    assert_int_equal(storage_next_mono_us(server), server->now.mono_us + PACE_MEMORY_US);
    server->now.mono_us += PACE_MEMORY_US;
    storage_turn(server);
    assert_int_equal(scene->answered, 3);
    assert_true(storage_next_mono_us(server) == TIME_US_NEVER);
}

/* As a commit for the disk: kept when the turn looked, over when it ends. */
static void in_memory_answers_that_were_kept_leave_though_nothing_else_comes(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    server->now.mono_us += PACE_MEMORY_US - 1;
    storage_turn(server);
    assert_int_equal(scene->answered, 0);
    server->now.mono_us += 2;
    assert_true(storage_next_mono_us(server) <= server->now.mono_us);
    storage_turn(server);
    assert_int_equal(scene->answered, 1);
}

static void in_memory_an_answer_for_which_somebody_waits_takes_the_others_along(void **state)
{
    struct scene *scene = *state;
    struct server *server = &scene->server;
    change(scene);
    storage_turn(server);
    assert_int_equal(scene->answered, 0);
    change(scene);
    server->is_awaited = true;
    storage_turn(server);
    assert_int_equal(scene->answered, 2);
    change(scene); /* and those behind it keep their distance again */
    storage_turn(server);
    assert_int_equal(scene->answered, 2);
}

static void in_memory_after_a_pause_an_answer_leaves_at_once(void **state)
{
    struct scene *scene = *state;
    scene->server.now.mono_us += PACE_MEMORY_US;
    change(scene);
    storage_turn(&scene->server);
    assert_int_equal(scene->answered, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(with_nothing_to_write_it_wants_no_turn, begin, end),
        cmocka_unit_test_setup_teardown(reports_keep_their_distance_to_the_commit_before, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_commit_that_was_held_up_is_made_though_nothing_else_comes,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_batch_for_which_there_was_no_memory_is_tried_again, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_comes_while_the_disk_is_busy_waits_for_it, begin, end),
        cmocka_unit_test_setup_teardown(
            in_memory_changes_are_made_at_once_and_answers_to_reports_leave_together,
            begin_in_memory, end),
        cmocka_unit_test_setup_teardown(
            in_memory_answers_that_were_kept_leave_though_nothing_else_comes, begin_in_memory, end),
        cmocka_unit_test_setup_teardown(
            in_memory_an_answer_for_which_somebody_waits_takes_the_others_along, begin_in_memory,
            end),
        cmocka_unit_test_setup_teardown(in_memory_after_a_pause_an_answer_leaves_at_once,
                                        begin_in_memory, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
