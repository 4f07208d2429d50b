/* worker_bench - tasks a second through one worker of libeverdue.
 *
 *   worker_bench [SECONDS [CREDIT [single|batch]]]
 *
 * The broker is a made-up one in a thread of this process: it streams tasks as credit allows, and
 * answers every report at once. So the number is what the library can do, not a broker.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include "everdue/worker.h"
#include "message.h"

enum { IDENTITY_BYTES = 5, TASKS_A_MESSAGE = 1024 };

struct broker {
    void *router;
    uint8_t identity[IDENTITY_BYTES];
    uint64_t lease;
    struct wire_buffer frame;
    atomic_bool stop;
};

static void send_frame(struct broker *broker)
{
    zmq_send(broker->router, broker->identity, IDENTITY_BYTES, ZMQ_SNDMORE);
    zmq_send(broker->router, broker->frame.data, broker->frame.count, 0);
    wire_buffer_clear(&broker->frame);
}

static void send_tasks(struct broker *broker, uint32_t count)
{
    message_write_head(&broker->frame, MESSAGE_TASKS, 1);
    wire_write_array(&broker->frame, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct task task = {
            .name = {0, bytes_of("https://example.org/feed.xml"), ++broker->lease},
            .state = broker->lease - 1,
            .due_us = 1763822400000000,
            .lateness_us = 80,
            .lease_ms = 60000,
            .payload = bytes_of("{\"etag\":\"x\"}"),
            .every_us = 900000000,
        };
        task_write(&broker->frame, &task);
    }
    send_frame(broker);
}

static void stream(struct broker *broker, uint32_t count)
{
    for (; count > TASKS_A_MESSAGE; count -= TASKS_A_MESSAGE)
        send_tasks(broker, TASKS_A_MESSAGE);
    send_tasks(broker, count);
}

static void welcome(struct broker *broker, const struct message_head *head,
                    struct wire_reader *reader)
{
    static struct hello hello;
    hello_read(reader, head->fields, &hello);
    const struct welcome message = {
        .id = hello.id,
        .credit_max = CREDIT_MAX,
        .lease_ms = LEASE_MS_DEFAULT,
        .heartbeat_ms = HEARTBEAT_MS_DEFAULT,
        .payload_bytes_max = PAYLOAD_BYTES_DEFAULT,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .version = bytes_of("bench"),
    };
    welcome_write(&broker->frame, &message);
    send_frame(broker);
    stream(broker, hello.credit);
}

static void answer(struct broker *broker, const struct message_head *head,
                   struct wire_reader *reader)
{
    uint64_t id = wire_read_uint(reader);
    bool has_items = head->type == MESSAGE_REPORT || head->type == MESSAGE_GIVE_BACK;
    uint32_t count = has_items ? wire_read_array(reader, ITEMS_MAX) : 0;
    answer_write_head(&broker->frame, id, STATUS_OK);
    wire_write_array(&broker->frame, count);
    for (uint32_t i = 0; i < count; i++)
        wire_write_int(&broker->frame, STATUS_OK);
    answer_write_end(&broker->frame, (struct bytes){NULL, 0});
    send_frame(broker);
    if (head->type == MESSAGE_REPORT)
        stream(broker, count);
}

static void receive(struct broker *broker)
{
    zmq_msg_t frame;
    while (zmq_recv(broker->router, broker->identity, IDENTITY_BYTES, ZMQ_DONTWAIT) ==
           IDENTITY_BYTES) {
        zmq_msg_init(&frame);
        zmq_msg_recv(&frame, broker->router, 0);
        struct wire_reader reader;
        struct message_head head;
        wire_reader_init(&reader, zmq_msg_data(&frame), zmq_msg_size(&frame));
        if (message_read_head(&reader, &head) == STATUS_OK) {
            if (head.type == MESSAGE_HELLO)
                welcome(broker, &head, &reader);
            else if (head.type != MESSAGE_CREDIT && head.type != MESSAGE_PING)
                answer(broker, &head, &reader);
        }
        zmq_msg_close(&frame);
    }
}

static void *run_broker(void *argument)
{
    struct broker *broker = argument;
    zmq_pollitem_t item = {.socket = broker->router, .events = ZMQ_POLLIN};
    while (!atomic_load(&broker->stop))
        if (zmq_poll(&item, 1, 50) > 0)
            receive(broker);
    return NULL;
}

/* --- the worker ------------------------------------------------------------------------------- */

struct meter {
    double until_s;
    double first_s;
    double last_s;
    uint64_t tasks;
    uint64_t calls;
};

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    (void)task;
    struct meter *meter = user;
    result->in_us = 300 * 1000000LL;
    meter->calls++;
    if (meter->tasks++ % 256 != 0)
        return;
    meter->last_s = now_s();
    if (meter->first_s == 0)
        meter->first_s = meter->last_s;
    result->stop = meter->last_s - meter->first_s > meter->until_s;
}

static void handle_batch(const struct everdue_task *const *tasks, struct everdue_result *results,
                         size_t count, void *user)
{
    struct meter *meter = user;
    uint64_t calls = meter->calls + 1;
    for (size_t i = 0; i < count; i++)
        handle(tasks[i], &results[i], user);
    meter->calls = calls;
}

int main(int argc, char **argv)
{
    struct meter meter = {.until_s = argc > 1 ? atof(argv[1]) : 3};
    uint32_t credit = argc > 2 ? (uint32_t)atoi(argv[2]) : 4096;
    bool single = argc > 3 && strcmp(argv[3], "single") == 0;
    char folder[] = "/tmp/everdue-bench-XXXXXX";
    char endpoint[64];
    if (!mkdtemp(folder))
        return 74;
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/broker", folder);

    void *context = zmq_ctx_new();
    struct broker broker = {.router = zmq_socket(context, ZMQ_ROUTER)};
    zmq_setsockopt(broker.router, ZMQ_LINGER, &(int){0}, sizeof(int));
    zmq_setsockopt(broker.router, ZMQ_SNDHWM, &(int){HWM_MESSAGES}, sizeof(int));
    if (zmq_bind(broker.router, endpoint))
        return 74;
    pthread_t thread;
    pthread_create(&thread, NULL, run_broker, &broker);

    const struct everdue_worker_options options = {.endpoint = endpoint, .credit = credit};
    if (single)
        everdue_worker_run(&options, handle, &meter);
    else
        everdue_worker_run_batch(&options, handle_batch, 1024, &meter);
    double s = meter.last_s - meter.first_s;
    printf("%s, credit %u: %.0f tasks/s, %.0f tasks a call\n", single ? "single" : "batch", credit,
           (double)meter.tasks / s, (double)meter.tasks / (double)meter.calls);

    atomic_store(&broker.stop, true);
    pthread_join(thread, NULL);
    zmq_close(broker.router);
    zmq_ctx_term(context);
    wire_buffer_release(&broker.frame);
    unlink(endpoint + strlen("ipc://"));
    rmdir(folder);
    return 0;
}
