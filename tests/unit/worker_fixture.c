#include "worker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- the script, in the broker's thread ------------------------------------------------------- */

static void write_task(struct wire_buffer *frame, struct work_script *script)
{
    char key[32];
    snprintf(key, sizeof(key), "key-%u", script->handed_out);
    const struct task task = {
        .name = {0, bytes_of(key), ++script->handed_out},
        .state = 1,
        .lease_ms = script->lease_ms,
        .every_us = script->named_every ? 1000000 : 0,
        .once = script->once,
        .payload = bytes_of("payload"),
    };
    script->announced[script->handed_out] = true;
    task_write(frame, &task);
}

static void hand_out(struct fake_broker *broker, struct work_script *script, uint32_t count)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    if (count > script->tasks - script->handed_out)
        count = script->tasks - script->handed_out;
    if (count == 0)
        return;
    message_write_head(&frame, MESSAGE_TASKS, 1);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++)
        write_task(&frame, script);
    script->under_way += count;
    fake_broker_send(broker, &frame);
}

static void accept(struct work_script *script, uint64_t lease)
{
    if (script->accepted[lease])
        return;
    script->accepted[lease] = true;
    script->under_way--;
    atomic_fetch_add(&script->done, 1);
}

static uint32_t read_reports(struct work_script *script, struct wire_reader *reader, bool accepts)
{
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct report report;
        report_read(reader, &report);
        assert_int_equal(reader->status, STATUS_OK);
        assert_in_range(report.name.lease, 1, FIXTURE_TASKS_MAX);
        atomic_store(&script->last_outcome, (int)report.outcome);
        atomic_store(&script->last_in_us, report.in_us);
        if (!script->announced[report.name.lease])
            atomic_fetch_add(&script->unannounced, 1);
        if (accepts)
            accept(script, report.name.lease);
    }
    atomic_fetch_add(&script->reports, count);
    return count;
}

static void receive_reports(struct fake_broker *broker, struct work_script *script, uint64_t id,
                            struct wire_reader *reader)
{
    bool restarts = script->restarts > 0;
    bool accepts = restarts ? script->restarts-- % 2 == 0 : script->report_says == STATUS_OK;
    uint32_t count = read_reports(script, reader, accepts);
    if (restarts) {
        fake_broker_restart(broker);
        return;
    }
    if (script->forget_after > 0 && atomic_load(&script->reports) >= script->forget_after) {
        script->forget_after = 0;
        fake_broker_forget(broker);
        return;
    }
    fake_broker_answer_items(broker, id, count, script->report_says);
    uint32_t credit = fake_broker_hello(broker)->credit;
    if (accepts && credit > script->under_way)
        hand_out(broker, script, credit - script->under_way);
}

static void receive_resume(struct fake_broker *broker, struct work_script *script, uint64_t id,
                           struct wire_reader *reader)
{
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct resume item;
        resume_read(reader, &item);
        assert_in_range(item.name.lease, 1, FIXTURE_TASKS_MAX);
        script->announced[item.name.lease] = true;
    }
    atomic_fetch_add(&script->resumed, count);
    fake_broker_answer_items(broker, id, count, STATUS_OK);
}

static void receive_give_back(struct fake_broker *broker, struct work_script *script, uint64_t id,
                              struct wire_reader *reader)
{
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct give_back item;
        give_back_read(reader, &item);
        atomic_fetch_add(item.begun ? &script->given_back_begun : &script->given_back, 1);
    }
    fake_broker_answer_items(broker, id, count, STATUS_OK);
}

static void work(struct fake_broker *broker, const struct message_head *head,
                 struct wire_reader *reader, void *user)
{
    struct work_script *script = user;
    uint64_t id = wire_read_uint(reader);
    if (head->type == MESSAGE_REPORT) {
        receive_reports(broker, script, id, reader);
    } else if (head->type == MESSAGE_RESUME) {
        receive_resume(broker, script, id, reader);
    } else if (head->type == MESSAGE_TOUCH) {
        wire_read_uint(reader);
        uint32_t count = wire_read_array(reader, ITEMS_MAX);
        atomic_fetch_add(&script->touched, count);
        fake_broker_answer_items(broker, id, count, STATUS_OK);
    } else if (head->type == MESSAGE_GIVE_BACK) {
        receive_give_back(broker, script, id, reader);
    }
}

static void greet(struct fake_broker *broker, void *user)
{
    struct work_script *script = user;
    memset(script->announced, 0, sizeof(script->announced));
    if (script->handed_out == 0)
        hand_out(broker, script, fake_broker_hello(broker)->credit);
}

/* --- for tests -------------------------------------------------------------------------------- */

static void say(int level, const char *text, void *user)
{
    (void)level;
    snprintf(user, 256, "%s", text);
}

void set_up(struct setup *setup, uint32_t tasks)
{
    static const char *const queues[] = {"feeds", NULL};
    memset(setup, 0, sizeof(*setup));
    assert_in_range(tasks, 0, FIXTURE_TASKS_MAX);
    setup->script.tasks = tasks;
    setup->script.lease_ms = LEASE_MS_DEFAULT;
    setup->broker = fake_broker_start(work, &setup->script);
    fake_broker_on_welcome(setup->broker, greet);
    setup->options = (struct everdue_worker_options){
        .endpoint = fake_broker_endpoint(setup->broker),
        .queues = queues,
        .heartbeat_ms = 1000,
        .log = say,
        .log_user = setup->said,
    };
}

void tear_down(struct setup *setup)
{
    fake_broker_stop(&setup->broker);
}

struct everdue_worker *worker_of(struct setup *setup)
{
    struct everdue_worker *worker = everdue_worker_new(&setup->options, NULL);
    assert_non_null(worker);
    return worker;
}

int report_in(struct everdue_worker *worker, const struct everdue_task *task, int64_t in_us)
{
    struct everdue_result result;
    everdue_result_init(&result);
    result.in_us = in_us;
    return everdue_worker_report(worker, task, &result);
}
