/* fuzz_session.c - the worker's session: frames of any bytes, its own answers given back, time that
 * passes, and a caller that reports, touches, stops. What it sends is always a message. */
#include "fuzz.h"
#include "message.h"
#include "session.h"

enum { LEASES_MAX = 64, STEPS_MAX = 512, FRAMES_MAX = 4096 };

struct fuzzed {
    struct session *session;
    struct moment now;
    struct lease *held[LEASES_MAX];
    size_t held_count;
    uint64_t request; /* of the last frame that was sent */
    bool has_left;
};

static void send_frames(struct fuzzed *fuzzed)
{
    struct bytes frame;
    for (int i = 0; i < FRAMES_MAX && session_next_frame(fuzzed->session, fuzzed->now, &frame);
         i++) {
        struct wire_reader reader;
        struct message_head head;
        wire_reader_init(&reader, frame.data, frame.count);
        FUZZ_CHECK(message_read_head(&reader, &head) == STATUS_OK);
        FUZZ_CHECK(frame.count <= MESSAGE_BYTES_MAX);
        if (head.type == MESSAGE_REPORT || head.type == MESSAGE_GIVE_BACK ||
            head.type == MESSAGE_HELLO || head.type == MESSAGE_RESUME)
            fuzzed->request = wire_read_uint(&reader);
    }
}

static void take_arrived(struct fuzzed *fuzzed)
{
    struct lease_chain chain = session_take_arrived(fuzzed->session);
    for (struct lease *lease = lease_chain_take(&chain); lease; lease = lease_chain_take(&chain)) {
        if (fuzzed->held_count < LEASES_MAX) {
            fuzzed->held[fuzzed->held_count++] = lease;
            continue;
        }
        lease->mail = LEASE_MAIL_SKIPPED;
        session_mail(fuzzed->session, lease);
    }
}

static void fill_report(struct lease *lease, struct fuzz_input *input)
{
    struct report report = {
        .name = {.queue = lease->queue,
                 .key = {(const uint8_t *)lease->task.key.data, (uint32_t)lease->task.key.count},
                 .lease = lease->task.lease},
        .state = 1,
        .outcome = (enum outcome)(fuzz_byte(input) % OUTCOME_COUNT),
        .due_us = TIME_US_NEVER,
        .in_us = (int64_t)fuzz_number(input, 2),
    };
    lease->sheet = report_sheet_new();
    if (!lease->sheet)
        abort();
    lease->sheet->reports = 1;
    report_write(&lease->sheet->bytes, &report);
    lease->report_offset = 0;
    lease->report_bytes = (uint32_t)lease->sheet->bytes.count;
}

static void mail(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    if (!fuzzed->held_count)
        return;
    size_t at = fuzz_byte(input) % fuzzed->held_count;
    struct lease *lease = fuzzed->held[at];
    bool is_begun = lease_begin(lease, fuzzed->now.mono_us);
    if (fuzz_byte(input) % 4 == 0)
        return; /* it runs on */
    fuzzed->held[at] = fuzzed->held[--fuzzed->held_count];
    lease->mail = !is_begun && atomic_load(&lease->begun_us) == LEASE_REVOKED
                      ? LEASE_MAIL_SKIPPED
                      : (enum lease_mail)(LEASE_MAIL_REPORT + fuzz_byte(input) % 3);
    if (lease->mail == LEASE_MAIL_REPORT)
        fill_report(lease, input);
    session_mail(fuzzed->session, lease);
}

static void receive(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    size_t count = 0;
    const uint8_t *bytes = fuzz_take(input, 255, &count);
    session_receive(fuzzed->session, bytes, count, fuzzed->now);
}

static void receive_answer(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    struct wire_buffer frame;
    uint8_t items = fuzz_byte(input) % 8;
    wire_buffer_init(&frame);
    answer_write_head(&frame, fuzzed->request + fuzz_byte(input) % 2, STATUS_OK);
    wire_write_array(&frame, items);
    for (uint8_t i = 0; i < items; i++)
        wire_write_int(&frame, (int8_t)fuzz_byte(input) % 30);
    answer_write_end(&frame, (struct bytes){0});
    session_receive(fuzzed->session, frame.data, frame.count, fuzzed->now);
    wire_buffer_release(&frame);
}

static void receive_welcome(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    struct wire_buffer frame;
    struct welcome welcome = {
        .id = fuzzed->request,
        .credit_max = (uint32_t)fuzz_number(input, 2),
        .lease_ms = (uint32_t)fuzz_number(input, 2),
        .heartbeat_ms = (uint32_t)fuzz_number(input, 2),
        .payload_bytes_max = 65536,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .known = fuzz_byte(input) % 2,
    };
    welcome.store_id[0] = fuzz_byte(input) % 4;
    wire_buffer_init(&frame);
    welcome_write(&frame, &welcome);
    session_receive(fuzzed->session, frame.data, frame.count, fuzzed->now);
    wire_buffer_release(&frame);
}

static void receive_tasks(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    static const uint8_t key[] = "key";
    struct wire_buffer frame;
    uint8_t count = fuzz_byte(input) % 5;
    wire_buffer_init(&frame);
    message_write_head(&frame, MESSAGE_TASKS, 1);
    wire_write_array(&frame, count);
    for (uint8_t i = 0; i < count; i++) {
        struct task task = {
            .name = {.queue = fuzz_byte(input) % 3,
                     .key = {key, 1 + fuzz_byte(input) % 3u},
                     .lease = 1 + fuzz_byte(input)},
            .state = fuzz_byte(input),
            .lease_ms = (uint32_t)fuzz_number(input, 2),
        };
        task_write(&frame, &task);
    }
    session_receive(fuzzed->session, frame.data, frame.count, fuzzed->now);
    wire_buffer_release(&frame);
}

static void step(struct fuzzed *fuzzed, struct fuzz_input *input)
{
    struct session *session = fuzzed->session;
    switch (fuzz_byte(input) % 14) {
    case 0:
    case 1:
        receive(fuzzed, input);
        break;
    case 2:
        receive_answer(fuzzed, input);
        break;
    case 3:
        receive_welcome(fuzzed, input);
        break;
    case 4:
    case 5:
        receive_tasks(fuzzed, input);
        break;
    case 6:
    case 7:
        mail(fuzzed, input);
        break;
    case 8:
        session_touch(session, 1 + fuzz_byte(input), (uint32_t)fuzz_number(input, 2));
        break;
    case 9:
        session_set_credit(session, fuzz_byte(input));
        break;
    case 10:
        fuzzed->now.mono_us += (int64_t)fuzz_number(input, 3) * 10;
        session_pass(session, fuzzed->now);
        break;
    case 11:
        session_link_broke(session, fuzzed->now);
        break;
    case 12:
        if (fuzz_byte(input) % 2)
            session_stop(session, STATUS_NO_NEXT, (struct bytes){0});
        else
            session_leave(session);
        break;
    case 13:
        if (session_wants_reopen(session) && fuzz_byte(input) % 4)
            session_opened(session, fuzzed->now);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    static const char *const queues[] = {"a", "b"};
    struct fuzz_input input = {data, count};
    struct session_options options = {
        .queues = queues,
        .queue_count = 2,
        .credit = 4,
        .credit_most = 64,
        .timeout_us = 600 * (int64_t)US_PER_S,
    };
    struct fuzzed fuzzed = {.session = session_new(&options), .now = {1, 1}};
    if (!fuzzed.session)
        return 0;
    session_opened(fuzzed.session, fuzzed.now);
    send_frames(&fuzzed);
    for (int i = 0; i < STEPS_MAX && input.left; i++) {
        step(&fuzzed, &input);
        take_arrived(&fuzzed);
        send_frames(&fuzzed);
        FUZZ_CHECK(session_wait_until(fuzzed.session) >= 0);
    }
    session_destroy(&fuzzed.session);
    return 0;
}
