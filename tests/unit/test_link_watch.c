#include "link.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <zmq.h>

/* A link that watches its connection, against a ROUTER that comes and goes. */

enum { WAIT_MS = 5000 }; /* far beyond what anything here takes: a bound, not a delay */

static void *context;
static void *router;
static char endpoint[256];

static void open_router(const char *where)
{
    int timeout_ms = WAIT_MS;
    size_t count = sizeof(endpoint);
    context = zmq_ctx_new();
    router = zmq_socket(context, ZMQ_ROUTER);
    assert_non_null(router);
    zmq_setsockopt(router, ZMQ_RCVTIMEO, &timeout_ms, sizeof(int));
    assert_int_equal(zmq_bind(router, where), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &count), 0);
}

/* What was sent before still leaves. */
static void close_router(void)
{
    zmq_close(router);
    zmq_ctx_term(context);
    router = NULL;
}

static void reopen_router(void)
{
    char same[256];
    snprintf(same, sizeof(same), "%s", endpoint);
    open_router(same);
}

static int tear_down(void **state)
{
    (void)state;
    if (router)
        close_router();
    return 0;
}

static struct link *open_link(void)
{
    struct link *link;
    const struct link_options options = {.endpoint = endpoint, .watches = true};
    assert_int_equal(link_new(&link, &options), STATUS_OK);
    return link;
}

/* The link asks, the router answers so many times. */
static void expect_a_round(struct link *link, int answers)
{
    uint8_t peer[256];
    char question[16];
    assert_int_equal(link_send(link, "question", 8), STATUS_OK);
    int peer_bytes = zmq_recv(router, peer, sizeof(peer), 0);
    assert_true(peer_bytes > 0);
    assert_int_equal(zmq_recv(router, question, sizeof(question), 0), 8);
    for (int i = 0; i < answers; i++) {
        zmq_send(router, peer, (size_t)peer_bytes, ZMQ_SNDMORE);
        zmq_send(router, "answer", 6, 0);
    }
}

static void expect_answers(struct link *link, int answers)
{
    const uint8_t *data;
    size_t count;
    for (int i = 0; i < answers; i++) {
        while (link_receive(link, &data, &count) == STATUS_BUSY)
            assert_true(link_wait(link, -1, WAIT_MS));
        assert_int_equal(count, 6);
    }
}

static void expect_a_break(struct link *link)
{
    bool has_broken = false;
    for (int i = 0; i < 10 && !has_broken; i++) {
        link_wait(link, -1, WAIT_MS);
        has_broken = link_has_broken(link);
    }
    assert_true(has_broken);
}

/* --- breaks ----------------------------------------------------------------------------------- */

static void expect_to_be_told_once(const char *where)
{
    open_router(where);
    struct link *link = open_link();
    expect_a_round(link, 1);
    expect_answers(link, 1);
    assert_false(link_has_broken(link));
    close_router();
    expect_a_break(link);
    assert_false(link_has_broken(link));
    link_destroy(&link);
}

static void a_connection_that_breaks_is_told_once_over_tcp(void **state)
{
    (void)state;
    expect_to_be_told_once("tcp://127.0.0.1:*");
}

static void a_connection_that_breaks_is_told_once_over_ipc(void **state)
{
    (void)state;
    expect_to_be_told_once("ipc://*");
}

static void what_came_before_the_break_is_there_when_it_is_told(void **state)
{
    enum { ANSWERS = 500 };
    const uint8_t *data;
    size_t count;
    (void)state;

    open_router("tcp://127.0.0.1:*");
    struct link *link = open_link();
    expect_a_round(link, ANSWERS);
    close_router();
    while (!link_has_broken(link))
        link_wait(link, -1, 1); /* answers are there all the time, and are left there */
    for (int i = 0; i < ANSWERS; i++)
        assert_int_equal(link_receive(link, &data, &count), STATUS_OK);
    link_destroy(&link);
}

static void a_connection_that_comes_late_has_not_broken(void **state)
{
    (void)state;
    open_router("tcp://127.0.0.1:*");
    close_router();
    struct link *link = open_link();
    reopen_router();
    expect_a_round(link, 1);
    expect_answers(link, 1);
    assert_false(link_has_broken(link));
    link_destroy(&link);
}

static void a_reopened_link_begins_whole_and_tells_of_the_next_break(void **state)
{
    (void)state;
    open_router("tcp://127.0.0.1:*");
    struct link *link = open_link();
    for (int i = 0; i < 5; i++) {
        expect_a_round(link, 1);
        expect_answers(link, 1);
        close_router();
        expect_a_break(link);
        assert_int_equal(link_reopen(link), STATUS_OK);
        assert_false(link_has_broken(link));
        reopen_router();
    }
    expect_a_round(link, 1);
    expect_answers(link, 1);
    link_destroy(&link);
}

static void a_break_that_was_not_looked_at_ends_with_the_socket(void **state)
{
    (void)state;
    open_router("tcp://127.0.0.1:*");
    struct link *link = open_link();
    expect_a_round(link, 0);
    close_router();
    assert_false(link_wait(link, -1, WAIT_MS)); /* woken by the break */
    assert_int_equal(link_reopen(link), STATUS_OK);
    assert_false(link_has_broken(link));
    link_destroy(&link);
}

static void a_link_that_does_not_watch_never_tells(void **state)
{
    (void)state;
    open_router("tcp://127.0.0.1:*");
    struct link *watching = open_link();
    struct link *link;
    assert_int_equal(link_new(&link, &(struct link_options){.endpoint = endpoint}), STATUS_OK);
    expect_a_round(link, 1);
    expect_answers(link, 1);
    expect_a_round(watching, 0);
    close_router();
    expect_a_break(watching);
    assert_false(link_has_broken(link));
    link_destroy(&link);
    link_destroy(&watching);
}

/* --- a break while it closes -------------------------------------------------------------------
 */

static void *close_router_beside(void *unused)
{
    (void)unused;
    close_router();
    return NULL;
}

/* libzmq's own thread, which all links share, must not wait for somebody who listens no more. The
 * delays walk over the moment at which it could be made to. */
static void a_break_while_a_link_closes_holds_up_no_other(void **state)
{
    enum { ROUNDS = 150, STEP_NS = 4000 };
    (void)state;
    open_router("ipc://*");
    struct link *link = open_link();
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t thread;
        expect_a_round(link, 1);
        expect_answers(link, 1);
        assert_int_equal(pthread_create(&thread, NULL, close_router_beside, NULL), 0);
        nanosleep(&(struct timespec){.tv_nsec = i * STEP_NS}, NULL);
        assert_int_equal(link_reopen(link), STATUS_OK);
        pthread_join(thread, NULL);
        open_router("ipc://*");
        struct link *next = open_link();
        link_destroy(&link);
        link = next;
    }
    expect_a_round(link, 1);
    expect_answers(link, 1);
    link_destroy(&link);
}

/* --- what it costs ---------------------------------------------------------------------------- */

static int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void no_descriptor_is_left_behind(void **state)
{
    (void)state;
    int before = count_descriptors();
    snprintf(endpoint, sizeof(endpoint), "ipc:///tmp/everdue-nobody-listens-here");
    struct link *link = open_link();
    for (int i = 0; i < 200; i++)
        assert_int_equal(link_reopen(link), STATUS_OK);
    link_destroy(&link);
    assert_int_equal(count_descriptors(), before);
}

#define test(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_connection_that_breaks_is_told_once_over_tcp),
        test(a_connection_that_breaks_is_told_once_over_ipc),
        test(what_came_before_the_break_is_there_when_it_is_told),
        test(a_connection_that_comes_late_has_not_broken),
        test(a_reopened_link_begins_whole_and_tells_of_the_next_break),
        test(a_break_that_was_not_looked_at_ends_with_the_socket),
        test(a_link_that_does_not_watch_never_tells),
        test(a_break_while_a_link_closes_holds_up_no_other),
        test(no_descriptor_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
