#include "connections.h"
#include "hello_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_connection_is_known_from_its_beginning_to_its_end(void **state)
{
    (void)state;
    struct connections connections = {0};
    assert_null(connections_find(&connections, 7));
    connections_open(&connections, 7, 100);
    connections_open(&connections, 3000, 200);
    assert_int_equal(connections_find(&connections, 7)->since_mono_us, 100);
    assert_int_equal(connections_find(&connections, 3000)->since_mono_us, 200);
    assert_null(connections_find(&connections, 8));
    assert_int_equal(connections.open_count, 2);
    connections_close(&connections, 7);
    connections_close(&connections, 7);
    assert_null(connections_find(&connections, 7));
    assert_int_equal(connections.open_count, 1);
    connections_release(&connections);
}

static void strangers_are_those_without_a_session(void **state)
{
    (void)state;
    struct connections connections = {0};
    for (int fd = 5; fd < 8; fd++)
        connections_open(&connections, fd, 0);
    connections_set_session(&connections, 5, true);
    connections_set_session(&connections, 5, true);
    assert_int_equal(connections.stranger_count, 2);
    connections_close(&connections, 5);
    connections_close(&connections, 6);
    assert_int_equal(connections.stranger_count, 1);
    connections_open(&connections, 7, 1); /* its end was not told: another one begins */
    assert_int_equal(connections.stranger_count, 1);
    connections_set_session(&connections, 7, true);
    connections_set_session(&connections, 7, false);
    assert_int_equal(connections.stranger_count, 1);
    connections_release(&connections);
}

static void nothing_is_kept_for_numbers_that_are_no_descriptors(void **state)
{
    (void)state;
    struct connections connections = {0};
    connections_open(&connections, -1, 0);
    connections_open(&connections, INT32_MAX, 0);
    connections_close(&connections, -1);
    connections_set_session(&connections, INT32_MAX, true);
    assert_int_equal(connections.open_count, 0);
    assert_null(connections.list);
    connections_release(&connections);
}

static void a_message_is_unfinished_from_the_last_whole_one_on(void **state)
{
    (void)state;
    struct connection connection = {.has_spoken = true};
    assert_int_equal(connection_unfinished(&connection, 500), 0);
    assert_int_equal(connection_unfinished(&connection, 500), 0);
    assert_int_equal(connection_unfinished(&connection, 700), 200);
    assert_int_equal(connection_unfinished(&connection, 1700), 1200);
    connection.has_spoken = true;
    assert_int_equal(connection_unfinished(&connection, 1800), 0);
    assert_int_equal(connection_unfinished(&connection, 1801), 1);
}

static void bytes_that_come_between_the_kernels_answers_are_no_endless_message(void **state)
{
    (void)state;
    struct connection connection = {.has_spoken = true};
    assert_int_equal(connection_unfinished(&connection, 1000), 0);
    assert_int_equal(connection_unfinished(&connection, 1000 - 68), 0); /* 68 came in between */
    connection.has_spoken = true;
    assert_int_equal(connection_unfinished(&connection, 1068), 0);
    assert_int_equal(connection_unfinished(&connection, 1100), 32);
}

/* More than a new connection had received may arrive between the kernel's answers. A count below
 * none would be a huge one, and what comes later never more than that: no end to a message. */
static void bytes_that_came_meanwhile_are_not_taken_back(void **state)
{
    (void)state;
    assert_int_equal(connection_taken(1000, 0), 1000);
    assert_int_equal(connection_taken(1000, 300), 700);
    assert_int_equal(connection_taken(100, 200000), 0);
    struct connection connection = {.taken_bytes = connection_taken(100, 200000)};
    assert_int_equal(connection_unfinished(&connection, connection_taken(300000, 0)), 300000);
}

static void a_session_may_begin_so_often_and_again_later(void **state)
{
    (void)state;
    struct hello_limit *limit = calloc(1, sizeof(*limit));
    uint8_t uid[SESSION_UID_BYTES] = {1}, other[SESSION_UID_BYTES] = {2};
    for (int i = 0; i < HELLOS_MAX; i++)
        assert_true(hello_limit_allows(limit, uid, 1000 + i));
    assert_false(hello_limit_allows(limit, uid, 2000));
    assert_true(hello_limit_allows(limit, other, 2000));
    assert_false(hello_limit_allows(limit, uid, 1000 + HELLOS_US - 1));
    assert_true(hello_limit_allows(limit, uid, 1000 + HELLOS_US));
    free(limit);
}

static void a_connection_may_greet_as_often_as_a_session(void **state)
{
    (void)state;
    struct connection connection = {.since_mono_us = 0};
    for (int i = 0; i < HELLOS_MAX; i++)
        assert_true(connection_may_greet(&connection, HELLOS_US + i));
    assert_false(connection_may_greet(&connection, 2 * HELLOS_US - 1));
    assert_true(connection_may_greet(&connection, 2 * HELLOS_US));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_known_from_its_beginning_to_its_end),
        cmocka_unit_test(strangers_are_those_without_a_session),
        cmocka_unit_test(nothing_is_kept_for_numbers_that_are_no_descriptors),
        cmocka_unit_test(a_message_is_unfinished_from_the_last_whole_one_on),
        cmocka_unit_test(bytes_that_came_meanwhile_are_not_taken_back),
        cmocka_unit_test(bytes_that_come_between_the_kernels_answers_are_no_endless_message),
        cmocka_unit_test(a_session_may_begin_so_often_and_again_later),
        cmocka_unit_test(a_connection_may_greet_as_often_as_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
