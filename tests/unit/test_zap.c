#include "zap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <zmq.h>

enum { WAIT_MS = 5000, QUIET_MS = 300 };

struct keys {
    char public_text[41], secret_text[41];
};

/* A context with a handler, a list and a socket that listens. */
struct door {
    void *context;
    void *router;
    struct zap *zap;
    struct allow *allow;
    struct zap_keys keys;
    char endpoint[256];
};

static struct keys new_keys(void)
{
    struct keys keys;
    assert_int_equal(zmq_curve_keypair(keys.public_text, keys.secret_text), 0);
    return keys;
}

static void set_list(struct door *door, const char *format, const char *user)
{
    char text[256], why[ALLOW_WHY_BYTES];
    snprintf(text, sizeof(text), format, user);
    struct allow *fresh = allow_parse(text, strlen(text), why);
    assert_non_null(fresh);
    zap_set_allow(door->zap, fresh);
    allow_destroy(&door->allow);
    door->allow = fresh;
}

static void bind_router(struct door *door, const char *endpoint)
{
    int linger = 0, timeout_ms = WAIT_MS;
    size_t bytes = sizeof(door->endpoint);
    door->router = zmq_socket(door->context, ZMQ_ROUTER);
    assert_true(zap_protect(door->router, &door->keys));
    zmq_setsockopt(door->router, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(door->router, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
    assert_int_equal(zmq_bind(door->router, endpoint), 0);
    assert_int_equal(zmq_getsockopt(door->router, ZMQ_LAST_ENDPOINT, door->endpoint, &bytes), 0);
}

static void open_door(struct door *door, bool is_curve)
{
    memset(door, 0, sizeof(*door));
    struct keys own = new_keys();
    door->keys.is_curve = is_curve;
    assert_true(certificate_key(door->keys.own.public_key, own.public_text));
    assert_true(certificate_key(door->keys.own.secret_key, own.secret_text));
    door->context = zmq_ctx_new();
    door->zap = zap_new(door->context);
    assert_non_null(door->zap);
}

static void close_door(struct door *door)
{
    if (door->router)
        zmq_close(door->router);
    zap_destroy(&door->zap);
    allow_destroy(&door->allow);
    zmq_ctx_term(door->context);
}

/* A DEALER that has sent one message. Without keys: plain. */
static void *knock(struct door *door, const struct keys *keys)
{
    int linger = 0;
    void *dealer = zmq_socket(door->context, ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof(linger));
    if (keys) {
        zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, door->keys.own.public_key, CURVE_KEY_BYTES);
        zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, keys->public_text, 41);
        zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, keys->secret_text, 41);
    }
    assert_int_equal(zmq_connect(dealer, door->endpoint), 0);
    assert_int_equal(zmq_send(dealer, "hello", 5, 0), 5);
    return dealer;
}

/* Who the router's next message is from, as its payload frame says. Having polled first: then the
 * frame of the identity may have lost what libzmq notes. */
static void expect_user(struct door *door, const char *user)
{
    zmq_msg_t frame;
    zmq_pollitem_t item = {.socket = door->router, .events = ZMQ_POLLIN};
    zmq_msg_init(&frame);
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    assert_true(zmq_msg_recv(&frame, door->router, 0) > 0);
    assert_int_equal(zmq_msg_recv(&frame, door->router, 0), 5);
    assert_string_equal(zmq_msg_gets(&frame, "User-Id"), user);
    zmq_msg_close(&frame);
}

static void expect_refusals(const struct door *door, uint64_t count)
{
    for (int i = 0; i < WAIT_MS && zap_get_counts(door->zap).refused < count; i++)
        usleep(1000);
    assert_true(zap_get_counts(door->zap).refused >= count);
}

static void expect_silence(struct door *door)
{
    zmq_pollitem_t item = {.socket = door->router, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, QUIET_MS), 0);
}

static void a_key_on_the_list_comes_in_and_is_named_on_its_messages(void **state)
{
    (void)state;
    struct door door;
    struct keys keys = new_keys();
    char user[64];
    open_door(&door, true);
    set_list(&door, "key %s role=admin", keys.public_text);
    bind_router(&door, "tcp://127.0.0.1:*");
    void *dealer = knock(&door, &keys);
    snprintf(user, sizeof(user), "key:%s", keys.public_text);
    expect_user(&door, user);
    assert_int_equal(zap_get_counts(door.zap).let_in, 1);
    zmq_close(dealer);
    close_door(&door);
}

static void an_unknown_key_and_plain_text_are_kept_out(void **state)
{
    (void)state;
    struct door door;
    struct keys known = new_keys(), unknown = new_keys();
    open_door(&door, true);
    set_list(&door, "key %s role=admin", known.public_text);
    bind_router(&door, "tcp://127.0.0.1:*");
    void *stranger = knock(&door, &unknown), *plain = knock(&door, NULL);
    expect_refusals(&door, 1);
    expect_silence(&door);
    assert_int_equal(zap_get_counts(door.zap).let_in, 0);
    zmq_close(stranger);
    zmq_close(plain);
    close_door(&door);
}

static void another_list_holds_for_who_comes_then(void **state)
{
    (void)state;
    struct door door;
    struct keys keys = new_keys();
    char user[64];
    open_door(&door, true);
    set_list(&door, "%s", "");
    bind_router(&door, "tcp://127.0.0.1:*");
    void *refused = knock(&door, &keys);
    expect_refusals(&door, 1);
    set_list(&door, "key %s role=admin", keys.public_text);
    snprintf(user, sizeof(user), "key:%s", keys.public_text);
    void *dealer = knock(&door, &keys);
    expect_user(&door, user);
    zmq_close(refused);
    zmq_close(dealer);
    close_door(&door);
}

static void on_ipc_the_kernel_says_who_it_is(void **state)
{
    (void)state;
    struct door door;
    char folder[] = "/tmp/everdue-zap-XXXXXX", endpoint[64], uid[32], user[64];
    assert_non_null(mkdtemp(folder));
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/s", folder);
    snprintf(uid, sizeof(uid), "%u", geteuid());
    open_door(&door, false);
    set_list(&door, "uid %s role=admin", uid);
    bind_router(&door, endpoint);
    void *dealer = knock(&door, NULL);
    snprintf(user, sizeof(user), "uid:%s", uid);
    expect_user(&door, user);
    set_list(&door, "uid %s role=admin", "4000000000");
    void *other = knock(&door, NULL);
    expect_refusals(&door, 1);
    expect_silence(&door);
    zmq_close(dealer);
    zmq_close(other);
    close_door(&door);
    unlink(endpoint + 6);
    rmdir(folder);
}

static void plain_tcp_has_no_name_and_is_kept_out(void **state)
{
    (void)state;
    struct door door;
    open_door(&door, false);
    set_list(&door, "uid %s role=admin", "0");
    bind_router(&door, "tcp://127.0.0.1:*");
    void *dealer = knock(&door, NULL);
    expect_refusals(&door, 1);
    expect_silence(&door);
    zmq_close(dealer);
    close_door(&door);
}

static void the_trial_passes_when_strangers_are_refused(void **state)
{
    (void)state;
    for (int is_curve = 0; is_curve < 2; is_curve++) {
        struct door door;
        const char *why = NULL;
        open_door(&door, is_curve);
        if (!zap_refuses_strangers(door.context, &door.keys, &why))
            fail_msg("%s", why);
        assert_int_equal(zap_get_counts(door.zap).refused, 0); /* it was no attempt */
        close_door(&door);
    }
}

/* A handler of somebody else's, who lets everybody in. */
static void *let_all_in(void *socket)
{
    char request[8][256];
    int frames = 0;
    while (frames >= 0) { /* until the context ends */
        int more = 1, count = 0, kept = 0;
        size_t size = sizeof(more);
        for (frames = 0; more && frames >= 0 && frames < 8; frames++) {
            count = zmq_recv(socket, request[frames], sizeof(request[0]), 0);
            if (frames == 1)
                kept = count;
            if (count < 0)
                frames = -2;
            else
                zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
        }
        if (frames < 0)
            break;
        zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(socket, request[1], (size_t)kept, ZMQ_SNDMORE);
        zmq_send(socket, "200", 3, ZMQ_SNDMORE);
        zmq_send(socket, "OK", 2, ZMQ_SNDMORE);
        zmq_send(socket, "uid:0", 5, ZMQ_SNDMORE);
        zmq_send(socket, "", 0, 0);
    }
    zmq_close(socket);
    return NULL;
}

static void the_trial_fails_when_strangers_are_let_in(void **state)
{
    (void)state;
    struct zap_keys keys = {.is_curve = true};
    struct keys own = new_keys();
    const char *why = NULL;
    pthread_t thread;
    certificate_key(keys.own.public_key, own.public_text);
    certificate_key(keys.own.secret_key, own.secret_text);
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_REP);
    assert_int_equal(zmq_bind(socket, "inproc://zeromq.zap.01"), 0);
    assert_int_equal(pthread_create(&thread, NULL, let_all_in, socket), 0);
    assert_false(zap_refuses_strangers(context, &keys, &why));
    assert_string_equal(why, "a stranger was let in");
    zmq_ctx_term(context);
    pthread_join(thread, NULL);
}

static void without_a_handler_nobody_comes_in_and_the_trial_fails(void **state)
{
    (void)state;
    struct door door;
    struct keys keys = new_keys();
    const char *why = NULL;
    open_door(&door, true);
    set_list(&door, "key %s role=admin", keys.public_text);
    bind_router(&door, "tcp://127.0.0.1:*");
    zap_destroy(&door.zap);
    void *dealer = knock(&door, &keys);
    expect_silence(&door);
    assert_false(zap_refuses_strangers(door.context, &door.keys, &why));
    zmq_close(dealer);
    close_door(&door);
}

static void a_second_handler_cannot_be_started(void **state)
{
    (void)state;
    struct door door;
    open_door(&door, true);
    assert_null(zap_new(door.context));
    struct pollfd item = {.fd = zap_fd(door.zap), .events = POLLIN};
    assert_int_equal(poll(&item, 1, 0), 0);
    close_door(&door);
}

static void a_handler_that_ended_by_itself_is_noticed(void **state)
{
    (void)state;
    struct door door;
    open_door(&door, true);
    struct pollfd item = {.fd = zap_fd(door.zap), .events = POLLIN};
    zmq_ctx_shutdown(door.context);
    assert_int_equal(poll(&item, 1, WAIT_MS), 1);
    close_door(&door);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_on_the_list_comes_in_and_is_named_on_its_messages),
        cmocka_unit_test(an_unknown_key_and_plain_text_are_kept_out),
        cmocka_unit_test(another_list_holds_for_who_comes_then),
        cmocka_unit_test(on_ipc_the_kernel_says_who_it_is),
        cmocka_unit_test(plain_tcp_has_no_name_and_is_kept_out),
        cmocka_unit_test(the_trial_passes_when_strangers_are_refused),
        cmocka_unit_test(the_trial_fails_when_strangers_are_let_in),
        cmocka_unit_test(without_a_handler_nobody_comes_in_and_the_trial_fails),
        cmocka_unit_test(a_second_handler_cannot_be_started),
        cmocka_unit_test(a_handler_that_ended_by_itself_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
