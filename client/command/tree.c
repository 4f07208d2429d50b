#include "tree.h"

#include <signal.h>
#include <sysexits.h>
#include <time.h>

#include "clock.h"

enum {
    PING_MS = 250,
    ANSWER_US = 60000000, /* a large store takes its time to load; said once */
    STOP_US = 15000000,   /* then a child is killed */
    LOOK_US = 1000000,    /* at the latest, children are looked at again */
    US_IN_S = 1000000,
};

/* --- signals ---------------------------------------------------------------------------------- */

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

/* Waits for a signal; true when it asks to stop. */
static bool wait_for_stop(int64_t wait_us)
{
    sigset_t set = stop_signals();
    sigaddset(&set, SIGCHLD);
    if (wait_us < 0)
        wait_us = 0;
    struct timespec wait = {wait_us / US_IN_S, wait_us % US_IN_S * 1000};
    int signal_number = sigtimedwait(&set, NULL, &wait);
    return signal_number > 0 && signal_number != SIGCHLD;
}

/* --- stopping --------------------------------------------------------------------------------- */

/* Asks a child to end and waits until it has. Each further signal of ours is handed on. */
static void stop_child(struct child *child)
{
    int64_t begin_us = clock_now().mono_us;
    child_signal(child, SIGTERM);
    while (child->pid != 0) {
        int64_t now_us = clock_now().mono_us;
        if (child_has_ended(child, now_us))
            break;
        if (now_us - begin_us > STOP_US) {
            context_say("%s does not end; it is killed", child->name);
            child_signal(child, SIGKILL);
        }
        if (wait_for_stop(LOOK_US / 10))
            child_signal(child, SIGTERM);
    }
}

static void stop_tree(struct tree *tree)
{
    if (tree->worker.argv)
        stop_child(&tree->worker);
    stop_child(&tree->broker);
}

/* --- starting --------------------------------------------------------------------------------- */

/* Somebody else's broker at our endpoint would be given our workers and demo records. */
static int check_endpoint(struct context *context)
{
    int code = context_open(context, NULL);
    if (code)
        return code;
    everdue_client_set_timeout(context->client, PING_MS);
    if (everdue_ping(context->client, NULL, NULL) < 0)
        return 0;
    context_say("a broker is running at %s already; name another endpoint with -e",
                context->endpoint);
    return EX_CONFIG;
}

/* Waits until the broker answers. Returns 0, or an exit code; `*is_stopped` after a signal. */
static int wait_for_answer(struct tree *tree, bool *is_stopped)
{
    int64_t begin_us = clock_now().mono_us;
    bool has_said = false;
    /* Ends when the broker answers or ends, or when we are told to stop. */
    while (everdue_ping(tree->context->client, NULL, NULL) < 0) {
        int64_t now_us = clock_now().mono_us;
        if (child_has_ended(&tree->broker, now_us)) {
            context_say("the broker ended before it answered, with %d", tree->broker.exit_code);
            return tree->broker.exit_code ? tree->broker.exit_code : EX_UNAVAILABLE;
        }
        if (now_us - begin_us > ANSWER_US && !has_said) {
            context_say("the broker has not answered for a minute; waiting");
            has_said = true;
        }
        *is_stopped = wait_for_stop(PING_MS * 100);
        if (*is_stopped)
            return 0;
    }
    return 0;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Starts a child again that has ended. Returns an exit code when its end is final, else 0. */
static int look_after(struct child *child, int64_t now_us)
{
    if (!child->argv)
        return 0;
    if (child_has_ended(child, now_us)) {
        if (child_end_is_final(child->exit_code)) {
            context_say("%s ended with %d; everything is stopped", child->name, child->exit_code);
            return child->exit_code;
        }
        context_say("%s ended with %d; it is started again", child->name, child->exit_code);
    }
    if (child->pid == 0 && now_us >= child->start_at_us)
        child_start(child, now_us);
    return 0;
}

static int64_t wait_us(const struct child *child, int64_t now_us)
{
    if (!child->argv || child->pid != 0 || child->start_at_us - now_us > LOOK_US)
        return LOOK_US;
    return child->start_at_us - now_us;
}

static int run(struct tree *tree)
{
    for (;;) {
        int64_t now_us = clock_now().mono_us;
        int code = look_after(&tree->broker, now_us);
        if (code == 0)
            code = look_after(&tree->worker, now_us);
        if (code)
            return code;
        int64_t broker_us = wait_us(&tree->broker, now_us);
        int64_t worker_us = wait_us(&tree->worker, now_us);
        if (wait_for_stop(broker_us < worker_us ? broker_us : worker_us))
            return 0;
    }
}

int tree_run(struct tree *tree)
{
    bool is_stopped = false;
    sigset_t set = stop_signals();
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int code = check_endpoint(tree->context);
    if (code)
        return code;
    if (!child_start(&tree->broker, clock_now().mono_us)) {
        context_say("no process can be started");
        return EX_OSERR;
    }
    code = wait_for_answer(tree, &is_stopped);
    if (code == 0 && !is_stopped && tree->prepare)
        code = tree->prepare(tree->context);
    everdue_client_destroy(&tree->context->client);
    if (code == 0 && !is_stopped)
        code = run(tree);
    stop_tree(tree);
    return code;
}
