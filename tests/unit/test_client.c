#include "everdue/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "everdue/worker.h"
#include "fake_broker.h"

/* Requests with items, connections, errors. Full sets: test_client_sync.c. */

enum { ITEMS = 20000 };

struct setup {
    struct fake_broker *broker;
    struct everdue_client *client;
};

static struct setup set_up(fake_broker_script *script, void *user)
{
    struct setup setup = {.broker = fake_broker_start(script, user)};
    static const char *const queues[] = {"feeds", "hosts", NULL};
    const struct everdue_client_options options = {
        .endpoint = fake_broker_endpoint(setup.broker),
        .queues = queues,
        .timeout_ms = 5000,
    };
    setup.client = everdue_client_new(&options, NULL);
    assert_non_null(setup.client);
    return setup;
}

static void tear_down(struct setup *setup)
{
    everdue_client_destroy(&setup->client);
    fake_broker_stop(&setup->broker);
}

/* --- items ------------------------------------------------------------------------------------ */

/* PUT: key-N is answered created when N is even, changed when odd. Answers come in pairs, the
 * second first, to show that they find their requests. */
struct put_script {
    uint64_t held_id;
    struct wire_buffer held;
    uint32_t messages;
    uint32_t forget_after; /* forget the session instead of answering this message */
};

static void answer_puts(struct fake_broker *broker, const struct message_head *head,
                        struct wire_reader *reader, void *user)
{
    struct put_script *script = user;
    assert_int_equal(head->type, MESSAGE_PUT);
    if (++script->messages == script->forget_after) {
        fake_broker_forget(broker);
        return;
    }
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, wire_read_uint(reader), STATUS_OK);
    assert_true(bytes_equal(wire_read_bytes(reader, 64), bytes_of("feeds")));
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++) {
        struct put put;
        put_read(reader, &put);
        assert_int_equal(reader->status, STATUS_OK);
        bool is_odd = (put.key.data[put.key.count - 1] - '0') % 2;
        wire_write_int(&frame, is_odd ? STATUS_CHANGED : STATUS_CREATED);
    }
    answer_write_end(&frame, (struct bytes){NULL, 0});
    if (script->held.count == 0 && count == ITEMS_MAX && script->forget_after == 0) {
        script->held = frame;
        return;
    }
    fake_broker_send(broker, &frame);
    if (script->held.count > 0)
        fake_broker_send(broker, &script->held);
}

static struct everdue_put *make_puts(size_t count, char (*keys)[32])
{
    struct everdue_put *puts = calloc(count, sizeof(*puts));
    for (size_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%zu", i);
        everdue_put_init(&puts[i]);
        puts[i].key = everdue_text(keys[i]);
        puts[i].every_us = 60000000;
    }
    return puts;
}

static void check_put_many(struct put_script *script, uint32_t hellos)
{
    struct setup setup = set_up(answer_puts, script);
    char(*keys)[32] = calloc(ITEMS, sizeof(*keys));
    int *statuses = calloc(ITEMS, sizeof(int));
    struct everdue_put *puts = make_puts(ITEMS, keys);
    assert_int_equal(everdue_put_many(setup.client, "feeds", puts, ITEMS, statuses), 0);
    for (size_t i = 0; i < ITEMS; i++)
        assert_int_equal(statuses[i], i % 2 ? STATUS_CHANGED : STATUS_CREATED);
    assert_string_equal(everdue_client_error(setup.client), "");
    assert_int_equal(fake_broker_hellos(setup.broker), hellos);
    free(puts);
    free(statuses);
    free(keys);
    tear_down(&setup);
}

static void many_puts_are_split_and_their_statuses_come_back_in_order(void **state)
{
    (void)state;
    struct put_script script = {0};
    check_put_many(&script, 1);
    assert_int_equal(script.messages, (ITEMS + ITEMS_MAX - 1) / ITEMS_MAX);
}

static void a_broker_that_forgot_the_session_gets_hello_and_everything_again(void **state)
{
    (void)state;
    struct put_script script = {.forget_after = 2};
    check_put_many(&script, 2);
}

static void an_item_that_cannot_be_sent_is_refused_here_and_the_others_go(void **state)
{
    (void)state;
    struct put_script script = {.forget_after = 99};
    struct setup setup = set_up(answer_puts, &script);
    char keys[5][32];
    int statuses[5];
    struct everdue_put *puts = make_puts(5, keys);
    static const char large[PAYLOAD_BYTES_MAX + 1];
    puts[0].key = (struct everdue_bytes){NULL, 0};
    puts[2].payload = (struct everdue_bytes){large, sizeof(large)};
    puts[3].group = (struct everdue_bytes){large, GROUP_BYTES_MAX + 1};
    assert_int_equal(everdue_put_many(setup.client, "feeds", puts, 5, statuses), 0);
    assert_int_equal(statuses[0], STATUS_BAD_KEY);
    assert_int_equal(statuses[1], STATUS_CHANGED);
    assert_int_equal(statuses[2], STATUS_TOO_LARGE);
    assert_int_equal(statuses[3], STATUS_BAD_FIELD);
    assert_int_equal(statuses[4], STATUS_CREATED);
    free(puts);
    tear_down(&setup);
}

static void refuse_all(struct fake_broker *broker, const struct message_head *head,
                       struct wire_reader *reader, void *user)
{
    (void)head;
    (void)user;
    fake_broker_answer(broker, wire_read_uint(reader), STATUS_TOO_MANY, "a million is enough");
}

static void a_message_that_is_refused_gives_its_status_and_text(void **state)
{
    (void)state;
    struct setup setup = set_up(refuse_all, NULL);
    char keys[2][32];
    int statuses[2];
    struct everdue_put *puts = make_puts(2, keys);
    assert_int_equal(everdue_put_many(setup.client, "feeds", puts, 2, statuses), STATUS_TOO_MANY);
    assert_int_equal(statuses[0], STATUS_TOO_MANY);
    assert_int_equal(statuses[1], STATUS_TOO_MANY);
    assert_string_equal(everdue_client_error(setup.client), "a million is enough");
    free(puts);
    tear_down(&setup);
}

/* --- keys and small requests -------------------------------------------------------------------
 */

/* Remembers the message's type and first text; answers keys with their places as statuses. */
struct small_script {
    atomic_int type;
    char text[64];
};

static void answer_small(struct fake_broker *broker, const struct message_head *head,
                         struct wire_reader *reader, void *user)
{
    struct small_script *script = user;
    uint64_t id = wire_read_uint(reader);
    struct bytes text = {NULL, 0};
    if (head->type != MESSAGE_DRAIN && head->fields > 1)
        text = wire_read_bytes(reader, 63);
    snprintf(script->text, sizeof(script->text), "%.*s", (int)text.count,
             text.data ? (const char *)text.data : "");
    atomic_store(&script->type, head->type);
    if (head->type == MESSAGE_KICK && wire_take_nil(reader)) {
        struct wire_buffer frame;
        wire_buffer_init(&frame);
        answer_write_head(&frame, id, STATUS_OK);
        wire_write_uint(&frame, 4711);
        answer_write_end(&frame, (struct bytes){NULL, 0});
        fake_broker_send(broker, &frame);
    } else if (head->type >= MESSAGE_REMOVE && head->type <= MESSAGE_KICK) {
        fake_broker_answer_items(broker, id, wire_read_array(reader, ITEMS_MAX), STATUS_NOT_FOUND);
    } else {
        fake_broker_answer(broker, id, STATUS_OK, NULL);
    }
}

static void each_small_call_sends_its_message(void **state)
{
    (void)state;
    struct small_script script = {0};
    struct setup setup = set_up(answer_small, &script);
    struct everdue_client *client = setup.client;
    const struct everdue_bytes keys[] = {everdue_text("a"), everdue_text("b")};
    int statuses[2];
    uint64_t kicked = 0;

    assert_int_equal(everdue_remove(client, "feeds", keys, 2, statuses), 0);
    assert_int_equal(script.type, MESSAGE_REMOVE);
    assert_int_equal(statuses[1], STATUS_NOT_FOUND);
    assert_int_equal(everdue_run_now(client, "feeds", keys, 2, statuses), 0);
    assert_int_equal(script.type, MESSAGE_RUN_NOW);
    assert_int_equal(everdue_kick(client, "feeds", keys, 2, statuses), 0);
    assert_int_equal(script.type, MESSAGE_KICK);
    assert_int_equal(everdue_kick_all(client, "feeds", &kicked), 0);
    assert_int_equal(kicked, 4711);
    assert_int_equal(everdue_pause(client, "hosts"), 0);
    assert_int_equal(script.type, MESSAGE_PAUSE);
    assert_string_equal(script.text, "hosts");
    assert_int_equal(everdue_unpause(client, NULL), 0);
    assert_int_equal(script.type, MESSAGE_UNPAUSE);
    assert_string_equal(script.text, "");
    assert_int_equal(everdue_drain(client, 10), 0);
    assert_int_equal(script.type, MESSAGE_DRAIN);
    assert_int_equal(everdue_backup(client, "/var/backup"), 0);
    assert_int_equal(script.type, MESSAGE_BACKUP);
    assert_string_equal(script.text, "/var/backup");
    tear_down(&setup);
}

static void a_ping_measures_and_names_the_version(void **state)
{
    (void)state;
    struct small_script script = {0};
    struct setup setup = set_up(answer_small, &script);
    int64_t us = -1;
    const char *version = NULL;
    assert_int_equal(everdue_ping(setup.client, &us, &version), 0);
    assert_true(us >= 0 && us < 5000000);
    assert_string_equal(version, "0.1.0-fake");
    tear_down(&setup);
}

/* --- connections ------------------------------------------------------------------------------ */

static void nobody_at_the_endpoint_is_unreachable(void **state)
{
    (void)state;
    const struct everdue_client_options options = {.endpoint = "ipc:///tmp/everdue-nobody-here",
                                                   .timeout_ms = 100};
    struct everdue_client *client = everdue_client_new(&options, NULL);
    assert_non_null(client);
    assert_int_equal(everdue_ping(client, NULL, NULL), STATUS_UNREACHABLE);
    assert_string_equal(everdue_client_error(client),
                        "nobody answers at ipc:///tmp/everdue-nobody-here");
    everdue_client_destroy(&client);
    assert_null(client);
    everdue_client_destroy(&client);
}

static void say_nothing(struct fake_broker *broker, const struct message_head *head,
                        struct wire_reader *reader, void *user)
{
    (void)broker;
    (void)head;
    (void)reader;
    (void)user;
}

static void a_broker_that_does_not_answer_a_request_times_it_out(void **state)
{
    (void)state;
    struct setup setup = set_up(say_nothing, NULL);
    everdue_client_set_timeout(setup.client, 200);
    assert_int_equal(everdue_pause(setup.client, "feeds"), STATUS_TIMED_OUT);
    assert_int_equal(everdue_ping(setup.client, NULL, NULL), 0); /* the next call is not harmed */
    tear_down(&setup);
}

static void a_session_lost_between_calls_is_begun_again(void **state)
{
    (void)state;
    struct small_script script = {0};
    struct setup setup = set_up(answer_small, &script);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    fake_broker_forget_all(setup.broker);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    assert_int_equal(fake_broker_hellos(setup.broker), 2);
    tear_down(&setup);
}

static void a_refused_hello_says_why(void **state)
{
    (void)state;
    struct small_script script = {0};
    struct setup setup = set_up(answer_small, &script);
    fake_broker_refuse_hello(setup.broker, STATUS_DENIED);
    assert_int_equal(everdue_pause(setup.client, "feeds"), STATUS_DENIED);
    assert_string_equal(everdue_client_error(setup.client), "this one is refused");
    fake_broker_refuse_hello(setup.broker, STATUS_OK);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    tear_down(&setup);
}

static void bad_options_are_refused_with_a_text(void **state)
{
    (void)state;
    const char *why = NULL;
    const struct everdue_client_options no_endpoint = {.endpoint = "nonsense"};
    assert_null(everdue_client_new(&no_endpoint, &why));
    assert_string_equal(why, "not an endpoint; write tcp://HOST:PORT or ipc://PATH");
    const struct everdue_client_options no_key = {.curve_server_key = "/nonexistent.pub"};
    assert_null(everdue_client_new(&no_key, &why));
    assert_non_null(strstr(why, "curve-server"));
    const struct everdue_client_options half = {.curve_key_file = "/nonexistent"};
    assert_null(everdue_client_new(&half, &why));
    assert_non_null(strstr(why, "curve-key needs"));
    const struct everdue_client_options no_queue = {.queues = (const char *const[]){"a b", NULL}};
    assert_null(everdue_client_new(&no_queue, &why));
    assert_string_equal(why, "a queue's name is 1 to 64 of A-Z a-z 0-9 . _ -");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_puts_are_split_and_their_statuses_come_back_in_order),
        cmocka_unit_test(a_broker_that_forgot_the_session_gets_hello_and_everything_again),
        cmocka_unit_test(an_item_that_cannot_be_sent_is_refused_here_and_the_others_go),
        cmocka_unit_test(a_message_that_is_refused_gives_its_status_and_text),
        cmocka_unit_test(each_small_call_sends_its_message),
        cmocka_unit_test(a_ping_measures_and_names_the_version),
        cmocka_unit_test(nobody_at_the_endpoint_is_unreachable),
        cmocka_unit_test(a_broker_that_does_not_answer_a_request_times_it_out),
        cmocka_unit_test(a_session_lost_between_calls_is_begun_again),
        cmocka_unit_test(a_refused_hello_says_why),
        cmocka_unit_test(bad_options_are_refused_with_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
