#include "link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <czmq.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bounds.h"
#include "version.h"

enum { WAIT_MS = 5000 }; /* far beyond what anything here takes: a bound, not a delay */

static void *context;
static void *router;
static char endpoint[256];

/* A broker's socket on an endpoint that is free. */
static void bind_router(const char *where, const char *secret_key)
{
    int timeout_ms = WAIT_MS;
    int curve_server = secret_key != NULL;
    size_t count = sizeof(endpoint);
    context = zmq_ctx_new();
    router = zmq_socket(context, ZMQ_ROUTER);
    assert_non_null(router);
    zmq_setsockopt(router, ZMQ_RCVTIMEO, &timeout_ms, sizeof(int));
    zmq_setsockopt(router, ZMQ_CURVE_SERVER, &curve_server, sizeof(int));
    if (secret_key)
        zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, secret_key, 40 + 1);
    assert_int_equal(zmq_bind(router, where), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &count), 0);
}

static int tear_down(void **state)
{
    int linger_ms = 0;
    (void)state;
    if (!router)
        return 0;
    zmq_setsockopt(router, ZMQ_LINGER, &linger_ms, sizeof(int));
    zmq_close(router);
    zmq_ctx_term(context);
    router = NULL;
    return 0;
}

static struct link *open_link(void)
{
    struct link *link;
    const struct link_options options = {.endpoint = endpoint};
    assert_int_equal(link_new(&link, &options), STATUS_OK);
    return link;
}

/* What the router gets, whose sender is kept for the answer. */
static uint8_t peer[256];
static int peer_bytes;

static void expect_at_router(const char *text)
{
    char got[64];
    peer_bytes = zmq_recv(router, peer, sizeof(peer), 0);
    assert_true(peer_bytes > 0);
    int count = zmq_recv(router, got, sizeof(got), 0);
    assert_int_equal(count, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void answer(const char *text, int flags)
{
    zmq_send(router, peer, (size_t)peer_bytes, ZMQ_SNDMORE);
    zmq_send(router, text, strlen(text), flags);
}

static void expect_at_link(struct link *link, const char *text)
{
    const uint8_t *data;
    size_t count;
    enum status status = STATUS_BUSY;
    /* Ends: what is dropped is waited for like what is not, and there are few of them. */
    while (status == STATUS_BUSY && link_wait(link, -1, WAIT_MS))
        status = link_receive(link, &data, &count);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(count, strlen(text));
    assert_memory_equal(data, text, count);
}

static void expect_a_round(struct link *link)
{
    assert_int_equal(link_send(link, "question", 8), STATUS_OK);
    expect_at_router("question");
    answer("answer", 0);
    expect_at_link(link, "answer");
}

/* --- frames ----------------------------------------------------------------------------------- */

static void frames_go_both_ways_over_tcp(void **state)
{
    const uint8_t *data;
    size_t count;
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    assert_int_equal(link_receive(link, &data, &count), STATUS_BUSY);
    expect_a_round(link);
    expect_a_round(link);
    assert_int_equal(link_receive(link, &data, &count), STATUS_BUSY);
    assert_false(link_wait(link, -1, 0));
    assert_true(link_fd(link) >= 0);
    link_destroy(&link);
    assert_null(link);
}

static void frames_go_both_ways_over_ipc(void **state)
{
    (void)state;
    bind_router("ipc://*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    link_destroy(&link);
}

static void messages_of_several_frames_are_dropped_whole(void **state)
{
    const uint8_t *data;
    size_t count;
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    assert_int_equal(link_send(link, "question", 8), STATUS_OK);
    expect_at_router("question");
    answer("one of two", ZMQ_SNDMORE);
    zmq_send(router, "two of two", 10, 0);
    answer("one of three", ZMQ_SNDMORE);
    zmq_send(router, "", 0, ZMQ_SNDMORE);
    zmq_send(router, "three of three", 14, 0);
    answer("whole", 0);
    expect_at_link(link, "whole");
    assert_int_equal(link_receive(link, &data, &count), STATUS_BUSY);
    link_destroy(&link);
}

static void a_frame_over_the_limit_is_not_sent(void **state)
{
    char *bytes = calloc(1, MESSAGE_BYTES_MAX + 1);
    (void)state;

    assert_non_null(bytes);
    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    assert_int_equal(link_send(link, bytes, MESSAGE_BYTES_MAX + 1), STATUS_TOO_LARGE);
    assert_int_equal(link_send(link, bytes, MESSAGE_BYTES_MAX), STATUS_OK);
    assert_true(zmq_recv(router, peer, sizeof(peer), 0) > 0);
    assert_int_equal(zmq_recv(router, bytes, 1, 0), MESSAGE_BYTES_MAX);
    expect_a_round(link);
    link_destroy(&link);
    free(bytes);
}

static void a_full_queue_is_busy_and_does_not_block(void **state)
{
    (void)state;
    snprintf(endpoint, sizeof(endpoint), "ipc:///tmp/everdue-nobody-listens-%d", getpid());
    struct link *link = open_link();
    int sent = 0;
    while (link_send(link, "question", 8) == STATUS_OK && sent < 2 * HWM_MESSAGES)
        sent++;
    assert_int_equal(sent, HWM_MESSAGES);
    assert_int_equal(link_send(link, "question", 8), STATUS_BUSY);
    link_destroy(&link);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void waiting_ends_when_the_wake_descriptor_is_readable(void **state)
{
    int wake_fd = eventfd(1, EFD_CLOEXEC);
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    assert_false(link_wait(link, wake_fd, WAIT_MS));
    assert_int_equal(link_send(link, "question", 8), STATUS_OK);
    expect_at_router("question");
    answer("answer", 0);
    assert_true(link_wait(link, -1, WAIT_MS));
    assert_true(link_wait(link, wake_fd, WAIT_MS));
    close(wake_fd);
    link_destroy(&link);
}

/* --- reopening -------------------------------------------------------------------------------- */

static void a_reopened_link_is_a_new_peer_without_the_old_queue(void **state)
{
    uint8_t old[256];
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    int old_bytes = peer_bytes;
    memcpy(old, peer, sizeof(old));
    answer("for the old socket", 0);
    assert_int_equal(link_reopen(link), STATUS_OK);
    expect_a_round(link);
    assert_false(old_bytes == peer_bytes && memcmp(old, peer, (size_t)peer_bytes) == 0);
    link_destroy(&link);
}

static void what_was_queued_for_nobody_ends_with_the_link(void **state)
{
    char path[256];
    (void)state;

    snprintf(path, sizeof(path), "ipc:///tmp/everdue-link-test-%d", getpid());
    snprintf(endpoint, sizeof(endpoint), "%s", path);
    struct link *link = open_link();
    assert_int_equal(link_send(link, "lost", 4), STATUS_OK);
    link_destroy(&link);
    link = open_link();
    assert_int_equal(link_send(link, "kept", 4), STATUS_OK);
    bind_router(path, NULL);
    expect_at_router("kept");
    link_destroy(&link);
    unlink(path + strlen("ipc://")); /* libzmq leaves it */
}

/* --- what is refused -------------------------------------------------------------------------- */

static void what_is_no_endpoint_is_refused(void **state)
{
    static const char *const endpoints[] = {
        "",
        "nonsense",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "inproc://x",
        "udp://127.0.0.1:5",
        "pgm://eth0;1.2.3.4:5",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:port",
        "http://127.0.0.1:7790",
        "tcp://*:7790",
    };
    char long_path[400] = "ipc:///";
    (void)state;

    memset(long_path + 7, 'x', sizeof(long_path) - 8);
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        struct link *link;
        const struct link_options options = {.endpoint = endpoints[i]};
        if (link_new(&link, &options) != STATUS_BAD_FIELD || link)
            fail_msg("%s was taken", endpoints[i]);
    }
    struct link *link;
    assert_int_equal(link_new(&link, &(struct link_options){.endpoint = long_path}),
                     STATUS_BAD_FIELD);
    assert_int_equal(link_new(&link, &(struct link_options){.endpoint = NULL}), STATUS_BAD_FIELD);
}

/* --- CURVE ------------------------------------------------------------------------------------ */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fchmod(fileno(file), 0600);
    fclose(file);
}

static void a_link_with_keys_speaks_with_a_server_that_has_its_own(void **state)
{
    char server_public[41];
    char server_secret[41];
    struct link *link;
    (void)state;

    assert_int_equal(zmq_curve_keypair(server_public, server_secret), 0);
    bind_router("tcp://127.0.0.1:*", server_secret);
    zcert_t *certificate = zcert_new();
    assert_int_equal(zcert_save_secret(certificate, in_folder("key")), 0);
    assert_int_equal(zcert_save(certificate, in_folder("pair")), 0);
    zcert_destroy(&certificate);

    struct link_options options = {.endpoint = endpoint, .curve_server_key = server_public};
    assert_int_equal(link_new(&link, &options), STATUS_OK);
    expect_a_round(link);
    link_destroy(&link);
    options.curve_key_file = in_folder("key");
    assert_int_equal(link_new(&link, &options), STATUS_OK);
    expect_a_round(link);
    assert_int_equal(link_reopen(link), STATUS_OK);
    expect_a_round(link);
    link_destroy(&link);
    options.curve_key_file = in_folder("pair");
    assert_int_equal(link_new(&link, &options), STATUS_OK);
    expect_a_round(link);
    link_destroy(&link);
}

static void keys_that_are_none_are_refused(void **state)
{
    static const char good[] = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    struct link *link;
    struct link_options options = {.endpoint = "tcp://127.0.0.1:1"};
    (void)state;

    options.curve_server_key = "too short";
    assert_int_equal(link_new(&link, &options), STATUS_BAD_FIELD);
    options.curve_server_key = "                                        ";
    assert_int_equal(link_new(&link, &options), STATUS_BAD_FIELD);
    options.curve_server_key = good;
    options.curve_key_file = in_folder("missing");
    assert_int_equal(link_new(&link, &options), STATUS_IO);
    static const char *const texts[] = {
        "",
        "\n\n",
        "curve\n",
        "curve\n    public-key = \"short\"\n",
        "no such thing { at all",
        "metadata\n    name = \"x\"\ncurve\n    secret-key = \"x\"\n",
        "curve\n    public-key = \"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6\"\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_text(in_folder("bad"), texts[i]);
        options.curve_key_file = in_folder("bad");
        enum status status = link_new(&link, &options);
        if (status != STATUS_IO && status != STATUS_BAD_FIELD)
            fail_msg("key file %zu: %s", i, status_name(status));
    }
    options.curve_server_key = NULL;
    assert_int_equal(link_new(&link, &options), STATUS_BAD_FIELD);
}

/* --- the process ------------------------------------------------------------------------------ */

static void expect_default_action(int signal)
{
    struct sigaction action;
    assert_int_equal(sigaction(signal, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
}

static void signals_are_left_alone(void **state)
{
    (void)state;
    link_setup();
    link_setup();
    assert_non_null(zsys_init());
    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    expect_default_action(SIGINT);
    expect_default_action(SIGTERM);
    link_destroy(&link);
}

static void no_descriptor_is_left_open_to_another_program(void **state)
{
    enum { FDS = 256 };
    bool open_before[FDS];
    (void)state;

    for (int fd = 0; fd < FDS; fd++)
        open_before[fd] = fcntl(fd, F_GETFD) >= 0;
    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    for (int fd = 0; fd < FDS; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !open_before[fd] && !(flags & FD_CLOEXEC))
            fail_msg("descriptor %d", fd);
    }
    link_destroy(&link);
}

static void a_forked_child_can_have_links_of_its_own(void **state)
{
    int status;
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    pid_t child = fork();
    if (child == 0) {
        struct link *own;
        const struct link_options options = {.endpoint = endpoint};
        if (link_new(&own, &options) || link_send(own, "child", 5))
            _exit(1);
        bool answered = link_wait(own, -1, WAIT_MS);
        link_destroy(&own);
        _exit(answered ? 0 : 2);
    }
    expect_at_router("child");
    answer("answer", 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    expect_a_round(link);
    link_destroy(&link);
}

static void what_was_sent_last_arrives_though_the_link_is_destroyed(void **state)
{
    enum { COUNT = 1000 };
    (void)state;

    bind_router("tcp://127.0.0.1:*", NULL);
    struct link *link = open_link();
    expect_a_round(link);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(link_send(link, "last", 4), STATUS_OK);
    link_destroy(&link);
    for (int i = 0; i < COUNT; i++)
        expect_at_router("last");
}

static void the_version_names_all_libraries(void **state)
{
    const char *text = version_text("everdue-test");
    (void)state;
    static const char beginning[] = "everdue-test " EVERDUE_VERSION " (libzmq 4.";
    assert_int_equal(strncmp(text, beginning, sizeof(beginning) - 1), 0);
    assert_non_null(strstr(text, ", czmq 4."));
    assert_non_null(strstr(text, ", msgpack "));
    assert_non_null(strstr(text, ", lmdb 0."));
}

static int set_up_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/everdue-link-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down_folder(void **state)
{
    (void)state;
    unlink(in_folder("key"));
    unlink(in_folder("pair"));
    unlink(in_folder("pair_secret"));
    unlink(in_folder("bad"));
    return rmdir(folder);
}

#define test(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(signals_are_left_alone),
        test(frames_go_both_ways_over_tcp),
        test(frames_go_both_ways_over_ipc),
        test(messages_of_several_frames_are_dropped_whole),
        test(a_frame_over_the_limit_is_not_sent),
        test(a_full_queue_is_busy_and_does_not_block),
        test(waiting_ends_when_the_wake_descriptor_is_readable),
        test(a_reopened_link_is_a_new_peer_without_the_old_queue),
        test(what_was_queued_for_nobody_ends_with_the_link),
        test(what_is_no_endpoint_is_refused),
        test(a_link_with_keys_speaks_with_a_server_that_has_its_own),
        test(keys_that_are_none_are_refused),
        test(no_descriptor_is_left_open_to_another_program),
        test(a_forked_child_can_have_links_of_its_own),
        test(what_was_sent_last_arrives_though_the_link_is_destroyed),
        test(the_version_names_all_libraries),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
