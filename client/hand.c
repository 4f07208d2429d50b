#include "everdue/client.h"

#include "client_private.h"
#include "clock.h"
#include "convert.h"
#include "everdue/worker.h"

/* Work without a worker: records taken and reported one by one. */

static enum status check_queue(struct everdue_client *client, const char *queue, uint32_t *index)
{
    int found = client_queue_index(client, queue);
    if (found < 0)
        return client_fail(client, STATUS_NOT_FOUND,
                           bytes_of("the queue is none of those that the client was made for"));
    *index = (uint32_t)found;
    return STATUS_OK;
}

static void visit_tasks(struct everdue_client *client, struct wire_reader *body,
                        everdue_task_visitor *visit, void *user)
{
    int64_t now_us = clock_now().mono_us;
    uint32_t count = wire_read_array(body, ITEMS_MAX);
    client->is_visiting = true;
    for (uint32_t i = 0; i < count; i++) {
        struct task task;
        task_read(body, &task);
        if (!body->status && task.name.queue >= client->queue_count)
            wire_fail(body);
        if (body->status)
            break;
        struct everdue_task public_task;
        convert_task(&task, client->queues[task.name.queue], &public_task);
        public_task.deadline_mono_us = now_us + (int64_t)task.lease_ms * US_PER_MS;
        if (!visit(&public_task, user))
            break;
    }
    client->is_visiting = false;
}

int everdue_take(struct everdue_client *client, const char *queue, uint32_t max, uint32_t wait_ms,
                 uint32_t lease_ms, bool detached, everdue_task_visitor *visit, void *user)
{
    struct take take = {.max = max, .wait_ms = wait_ms, .lease_ms = lease_ms, .detached = detached};
    enum status status = client_begin(client, wait_ms);
    if (!status)
        status = check_queue(client, queue, &take.queue);
    if (status)
        return (int)status;
    struct flight *flight = exchange_begin(client->exchange);
    take.id = flight->id;
    take_write(&flight->frame, &take);
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (status)
        return (int)status;
    visit_tasks(client, &answer.body, visit, user);
    return (int)client_check_body(client, &answer);
}

int everdue_report(struct everdue_client *client, const char *queue, struct everdue_bytes key,
                   uint64_t lease, uint64_t state, const struct everdue_result *result)
{
    struct report report = {.name = {.lease = lease}, .state = state};
    enum status status = client_begin(client, 0);
    if (!status)
        status = check_queue(client, queue, &report.name.queue);
    if (status)
        return (int)status;
    if (!key.data || key.count > KEY_BYTES_MAX)
        return (int)client_fail(client, STATUS_BAD_KEY, (struct bytes){NULL, 0});
    report.name.key = convert_in(key);
    status = convert_result(result, PAYLOAD_BYTES_MAX, &report);
    if (status)
        return (int)client_fail(client, status, (struct bytes){NULL, 0});

    struct flight *flight = client_request(client, MESSAGE_REPORT, 1);
    wire_write_array(&flight->frame, 1);
    report_write(&flight->frame, &report);
    struct answer answer;
    status = client_call(client, flight, &answer);
    if (status)
        return (int)status;
    int item;
    client_read_statuses(&answer, &item, 1);
    if (item < 0)
        client_fail(client, (enum status)item, (struct bytes){NULL, 0});
    return item;
}
