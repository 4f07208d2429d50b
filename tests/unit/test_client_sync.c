#include "everdue/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "fake_broker.h"

enum { GENERATION = 42 };

/* Counts what comes; a key that ends in 7 is refused as a duplicate. */
struct sync_script {
    uint64_t items;
    uint32_t chunks;
    uint32_t checksum;
    uint32_t forget_at_chunk; /* 0: never */
    bool is_silent_at_chunks;
    atomic_bool is_silent_at_begin;
    enum status commit_status;
    struct sync_commit commit;
    struct sync_begin begin;
    char queue[32];
    atomic_int aborts;
};

static void receive_chunk(struct fake_broker *broker, struct sync_script *script, uint64_t id,
                          struct wire_reader *reader)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    assert_int_equal(wire_read_uint(reader), GENERATION);
    const uint8_t *array = reader->at;
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    answer_write_head(&frame, id, STATUS_OK);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++) {
        struct put put;
        put_read(reader, &put);
        assert_int_equal(reader->status, STATUS_OK);
        bool is_bad = put.key.data[put.key.count - 1] == '7';
        wire_write_int(&frame, is_bad ? STATUS_DUPLICATE : STATUS_CREATED);
    }
    answer_write_end(&frame, (struct bytes){NULL, 0});
    script->checksum = (uint32_t)crc32(script->checksum, array, (unsigned)(reader->at - array));
    script->items += count;
    fake_broker_send(broker, &frame);
}

static void receive_commit(struct fake_broker *broker, struct sync_script *script,
                           struct wire_reader *reader, uint32_t fields)
{
    sync_commit_read(reader, fields, &script->commit);
    assert_int_equal(script->commit.generation, GENERATION);
    enum status status = script->commit_status;
    if (!status &&
        (script->commit.count != script->items || script->commit.checksum != script->checksum))
        status = STATUS_MISMATCH;
    if (status) {
        fake_broker_answer(broker, script->commit.id, status, "nothing was changed");
        return;
    }
    const struct sync_counts counts = {script->items, 1, 2, 3, 4, 5, 6, 7};
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, script->commit.id, STATUS_OK);
    sync_counts_write(&frame, &counts);
    answer_write_end(&frame, (struct bytes){NULL, 0});
    fake_broker_send(broker, &frame);
}

static void receive_begin(struct fake_broker *broker, struct sync_script *script,
                          struct wire_reader *reader, uint32_t fields)
{
    sync_begin_read(reader, fields, &script->begin);
    snprintf(script->queue, sizeof(script->queue), "%.*s", (int)script->begin.queue.count,
             (const char *)script->begin.queue.data);
    script->items = 0;
    script->checksum = 0;
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, script->begin.id, STATUS_OK);
    wire_write_uint(&frame, GENERATION);
    answer_write_end(&frame, (struct bytes){NULL, 0});
    fake_broker_send(broker, &frame);
}

static void follow(struct fake_broker *broker, const struct message_head *head,
                   struct wire_reader *reader, void *user)
{
    struct sync_script *script = user;
    if (head->type == MESSAGE_SYNC_BEGIN && script->is_silent_at_begin) {
        return;
    } else if (head->type == MESSAGE_SYNC_BEGIN) {
        receive_begin(broker, script, reader, head->fields);
    } else if (head->type == MESSAGE_SYNC_COMMIT) {
        receive_commit(broker, script, reader, head->fields);
    } else if (head->type == MESSAGE_SYNC_ABORT) {
        atomic_fetch_add(&script->aborts, 1);
        fake_broker_answer(broker, wire_read_uint(reader), STATUS_OK, NULL);
    } else if (head->type == MESSAGE_SYNC_CHUNK) {
        if (++script->chunks == script->forget_at_chunk)
            fake_broker_forget(broker);
        else if (!script->is_silent_at_chunks)
            receive_chunk(broker, script, wire_read_uint(reader), reader);
    } else {
        fake_broker_answer(broker, wire_read_uint(reader), STATUS_OK, NULL);
    }
}

struct setup {
    struct fake_broker *broker;
    struct everdue_client *client;
    struct sync_script script;
    uint64_t refused;
    uint64_t wrong_places;
    int last_status;
};

static void set_up_with_timeout(struct setup *setup, uint32_t timeout_ms)
{
    *setup = (struct setup){.last_status = 0};
    setup->broker = fake_broker_start(follow, &setup->script);
    const struct everdue_client_options options = {.endpoint = fake_broker_endpoint(setup->broker),
                                                   .timeout_ms = timeout_ms};
    setup->client = everdue_client_new(&options, NULL);
    assert_non_null(setup->client);
}

static void set_up(struct setup *setup)
{
    set_up_with_timeout(setup, 5000);
}

static void tear_down(struct setup *setup)
{
    everdue_client_destroy(&setup->client);
    fake_broker_stop(&setup->broker);
}

static void note_refusal(uint64_t place, int status, void *user)
{
    struct setup *setup = user;
    setup->refused++;
    setup->last_status = status;
    setup->wrong_places += place % 10 != 7;
}

static void begin(struct setup *setup)
{
    const struct everdue_sync_options options = {.spread_us = 3600000000, .due_take = true};
    assert_int_equal(everdue_sync_begin(setup->client, "feeds", &options, note_refusal, setup), 0);
}

static int add(struct setup *setup, uint64_t number, size_t payload_bytes)
{
    static char payload[PAYLOAD_BYTES_MAX + 1];
    char key[32];
    struct everdue_put put;
    snprintf(key, sizeof(key), "key-%llu", (unsigned long long)number);
    everdue_put_init(&put);
    put.key = everdue_text(key);
    put.payload = (struct everdue_bytes){payload, payload_bytes};
    return everdue_sync_add(setup->client, &put);
}

static void a_set_goes_in_chunks_with_count_and_checksum(void **state)
{
    (void)state;
    enum { ITEMS = 100000 };
    struct setup setup;
    struct everdue_sync_result result;
    set_up(&setup);
    begin(&setup);
    for (uint64_t i = 0; i < ITEMS; i++)
        assert_int_equal(add(&setup, i, 40), 0);
    assert_int_equal(everdue_sync_commit(setup.client, true, 200000, false, &result), 0);
    assert_int_equal(setup.script.items, ITEMS);
    assert_true(setup.script.chunks > 8);
    assert_int_equal(result.created, ITEMS);
    assert_int_equal(result.rejected, 3);
    assert_int_equal(result.due_now, 7);
    assert_string_equal(setup.script.queue, "feeds");
    assert_int_equal(setup.script.begin.spread_us, 3600000000);
    assert_true(setup.script.begin.due_take);
    assert_true(setup.script.commit.prune);
    assert_int_equal(setup.script.commit.prune_max_ppm, 200000);
    assert_int_equal(setup.refused, ITEMS / 10);
    assert_int_equal(setup.wrong_places, 0);
    assert_int_equal(setup.last_status, STATUS_DUPLICATE);
    tear_down(&setup);
}

static void an_empty_set_is_a_set(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_sync_result result;
    set_up(&setup);
    begin(&setup);
    assert_int_equal(everdue_sync_commit(setup.client, false, 0, true, &result), 0);
    assert_int_equal(setup.script.commit.count, 0);
    assert_int_equal(setup.script.commit.checksum, 0);
    assert_true(setup.script.commit.dry_run);
    tear_down(&setup);
}

static void an_item_that_is_kept_back_forbids_pruning_and_keeps_the_places(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_sync_result result;
    set_up(&setup);
    begin(&setup);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(add(&setup, i, i == 17 ? PAYLOAD_BYTES_MAX + 1 : 1), 0);
    assert_int_equal(everdue_sync_commit(setup.client, true, 1000000, false, &result), 0);
    assert_int_equal(setup.script.items, 99);
    assert_false(setup.script.commit.prune);
    assert_int_equal(setup.refused, 10);
    assert_int_equal(setup.wrong_places, 0);
    assert_int_equal(result.rejected, 3 + 1);
    tear_down(&setup);
}

static void a_connection_that_breaks_ends_the_sync(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_sync_result result;
    set_up(&setup);
    begin(&setup);
    setup.script.forget_at_chunk = 3;
    int status = 0;
    for (uint64_t i = 0; i < 200000 && status == 0; i++)
        status = add(&setup, i, 40);
    assert_int_equal(status, STATUS_NO_SESSION);
    assert_string_equal(everdue_client_error(setup.client), "the connection to the broker broke");
    assert_int_equal(add(&setup, 1, 1), STATUS_NO_SESSION);
    assert_int_equal(everdue_sync_commit(setup.client, true, 0, false, &result), STATUS_NO_SESSION);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0); /* other calls go on */
    begin(&setup);                                             /* and so does another sync */
    assert_int_equal(everdue_sync_commit(setup.client, false, 0, false, &result), 0);
    tear_down(&setup);
}

/* The broker has it open until the session ends, and nobody else could begin one. */
static void a_set_whose_chunk_is_not_answered_ends_with_its_session(void **state)
{
    (void)state;
    struct setup setup;
    set_up_with_timeout(&setup, 700);
    setup.script.is_silent_at_chunks = true;
    begin(&setup);
    assert_int_equal(fake_broker_hellos(setup.broker), 1);
    assert_int_equal(add(&setup, 1, 1), 0);
    assert_int_equal(everdue_sync_flush(setup.client), STATUS_TIMED_OUT);
    assert_int_equal(everdue_sync_commit(setup.client, false, 0, false, NULL), STATUS_TIMED_OUT);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    assert_int_equal(fake_broker_hellos(setup.broker), 2);
    tear_down(&setup);
}

static void a_set_whose_begin_is_not_answered_ends_with_its_session(void **state)
{
    (void)state;
    struct setup setup;
    set_up_with_timeout(&setup, 700);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    setup.script.is_silent_at_begin = true;
    assert_int_equal(everdue_sync_begin(setup.client, "feeds", NULL, NULL, NULL), STATUS_TIMED_OUT);
    setup.script.is_silent_at_begin = false;
    assert_int_equal(fake_broker_hellos(setup.broker), 1);
    begin(&setup);
    assert_int_equal(fake_broker_hellos(setup.broker), 2);
    assert_int_equal(everdue_sync_abort(setup.client), 0);
    tear_down(&setup);
}

static void a_commit_that_is_refused_aborts_and_says_why(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_sync_result result;
    set_up(&setup);
    begin(&setup);
    assert_int_equal(add(&setup, 1, 1), 0);
    setup.script.commit_status = STATUS_PRUNE_GUARD;
    assert_int_equal(everdue_sync_commit(setup.client, true, 10, false, &result),
                     STATUS_PRUNE_GUARD);
    assert_string_equal(everdue_client_error(setup.client), "nothing was changed");
    assert_int_equal(setup.script.aborts, 1);
    tear_down(&setup);
}

static void an_abort_ends_the_sync_and_other_calls_wait_for_it(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup);
    begin(&setup);
    assert_int_equal(add(&setup, 1, 1), 0);
    assert_int_equal(everdue_pause(setup.client, "feeds"), STATUS_BUSY);
    assert_int_equal(everdue_sync_abort(setup.client), 0);
    assert_int_equal(setup.script.aborts, 1);
    assert_int_equal(everdue_pause(setup.client, "feeds"), 0);
    assert_int_equal(add(&setup, 1, 1), STATUS_BAD_FIELD);
    tear_down(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_goes_in_chunks_with_count_and_checksum),
        cmocka_unit_test(an_empty_set_is_a_set),
        cmocka_unit_test(an_item_that_is_kept_back_forbids_pruning_and_keeps_the_places),
        cmocka_unit_test(a_connection_that_breaks_ends_the_sync),
        cmocka_unit_test(a_set_whose_chunk_is_not_answered_ends_with_its_session),
        cmocka_unit_test(a_set_whose_begin_is_not_answered_ends_with_its_session),
        cmocka_unit_test(a_commit_that_is_refused_aborts_and_says_why),
        cmocka_unit_test(an_abort_ends_the_sync_and_other_calls_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
