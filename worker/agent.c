#include "agent.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "duty.h"
#include "log.h"

enum {
    FRAMES_MAX = 64,  /* taken in, or sent, in one turn */
    FULL_WAIT_MS = 5, /* before a full socket is tried again */
    LOG_TEXT_BYTES = 600,
    WAIT_MS_MAX = 60000,
    TOGETHER = 512,   /* reports that make a message large enough */
    FEW_REPORTS = 16, /* for which the agent's thread need not be woken while others follow */
    HOLD_US = 4 * US_PER_MS,  /* reports of a caller with more tasks at hand; under a duty's tick */
    ABSENT_US = 3 * US_PER_S, /* a broker that was never there is told of after that */
    REFUSAL_AGAIN_US = 60 * US_PER_S, /* the same words are not told again before */
};

struct agent {
    struct agent_options options;
    struct mailbox *mailbox;
    struct duty duty; /* of all that follows */
    struct link *link;
    struct session *session;
    pthread_t thread;
    struct bytes unsent; /* a frame for which the socket had no room */
    int64_t leave_us;    /* when to end in any case */
    int64_t sent_us;     /* when the caller last sent by itself, */
    int64_t turned_us;   /* and when the last whole turn was */
    bool caller_turns;   /* it is the caller's thread that makes the turns */
    uint64_t malformed;  /* told of so far */
    uint64_t welcomes;
    bool has_broken; /* the link, of which not all that came before has been received */
    bool has_mail;   /* came in this turn: more may follow without waking us */
    bool was_live;
    bool was_stopping;
    bool has_told; /* of a broker that answers or refuses, or is not there */
    int64_t began_us;
    struct log_limit refusals;
    struct log_limit losses;
    char refusal[LOG_TEXT_BYTES]; /* told last; empty after a welcome */
    int64_t refusal_again_us;
};

/* --- what people are told --------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void tell(struct agent *agent, int level,
                                                       const char *format, ...)
{
    char text[LOG_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (agent->options.log)
        agent->options.log(level, text, agent->options.log_user);
    else
        log_line(level, text, NULL);
}

/* Who may not come in knocks each second, for days perhaps: that is told once a minute. */
static bool is_worth_telling(struct agent *agent, const char *refusal, int64_t now_us)
{
    uint64_t held_back;
    agent->has_told = true;
    if (strncmp(agent->refusal, refusal, sizeof(agent->refusal) - 1) == 0 &&
        now_us < agent->refusal_again_us)
        return false;
    if (!log_limit_allows(&agent->refusals, now_us, &held_back))
        return false;
    snprintf(agent->refusal, sizeof(agent->refusal), "%s", refusal);
    agent->refusal_again_us = now_us + REFUSAL_AGAIN_US;
    return true;
}

static void tell_refusal(struct agent *agent, int64_t now_us)
{
    const char *text;
    uint64_t held_back;
    enum status status = session_take_refusal(agent->session, &text);
    if (status && is_worth_telling(agent, text, now_us))
        tell(agent, LOG_ERR, "the broker at %s refused: %s (%s)", agent->options.link.endpoint,
             text, status_name(status));
    const struct session_counts *counts = session_counts(agent->session);
    if (counts->malformed != agent->malformed &&
        log_limit_allows(&agent->refusals, now_us, &held_back)) {
        tell(agent, LOG_ERR, "%llu messages from %s made no sense",
             (unsigned long long)(counts->malformed - agent->malformed),
             agent->options.link.endpoint);
        agent->malformed = counts->malformed;
    }
}

static void tell_changes(struct agent *agent, int64_t now_us)
{
    const char *endpoint = agent->options.link.endpoint;
    uint64_t held_back;
    tell_refusal(agent, now_us);

    bool is_live = session_state(agent->session) == SESSION_LIVE;
    uint64_t welcomes = session_counts(agent->session)->welcomes;
    if (is_live && welcomes != agent->welcomes) {
        tell(agent, LOG_INFO, "connected to the broker at %s", endpoint);
        agent->has_told = true;
        agent->refusal[0] = '\0';
    } else if (!agent->has_told && now_us - agent->began_us >= ABSENT_US) {
        tell(agent, LOG_WARNING, "no broker at %s yet, trying on", endpoint);
        agent->has_told = true;
    } else if (agent->was_live && session_state(agent->session) == SESSION_CLOSED &&
               log_limit_allows(&agent->losses, now_us, &held_back))
        tell(agent, LOG_WARNING, "lost the broker at %s, trying again", endpoint);
    agent->was_live = is_live;
    agent->welcomes = welcomes;

    if (session_is_stopping(agent->session) && !agent->was_stopping) {
        const char *reason;
        bool is_mistake = session_stop_status(agent->session, &reason) != STATUS_OK;
        agent->was_stopping = true;
        tell(agent, is_mistake ? LOG_ERR : LOG_INFO, "takes no more work: %s", reason);
    }
}

/* --- a turn ----------------------------------------------------------------------------------- */

/* Whether there may be more. */
static bool receive_frames(struct agent *agent, struct moment now)
{
    for (int i = 0; i < FRAMES_MAX; i++) {
        const uint8_t *data;
        size_t count;
        if (link_receive(agent->link, &data, &count) != STATUS_OK)
            return false;
        session_receive(agent->session, data, count, now);
    }
    return true;
}

static void carry_out_orders(struct agent *agent, struct moment now)
{
    struct mailbox_orders orders;
    mailbox_collect(agent->mailbox, &orders);
    agent->has_mail = orders.leases.first != NULL;
    for (uint32_t i = 0; i < orders.touch_count; i++)
        session_touch(agent->session, orders.touches[i].lease, orders.touches[i].lease_ms);
    free(orders.touches);
    struct lease *lease;
    while ((lease = lease_chain_take(&orders.leases)))
        session_mail(agent->session, lease);
    if (orders.stop)
        session_stop(agent->session, orders.stop_status, bytes_of(orders.stop_reason));
    if (orders.leave) {
        session_leave(agent->session);
        agent->leave_us = now.mono_us + (int64_t)orders.leave_ms * US_PER_MS;
    }
}

static void deliver(struct agent *agent)
{
    const struct session_counts *counts = session_counts(agent->session);
    struct mailbox_news news = {
        .arrived = session_take_arrived(agent->session),
        .counts = {.received = counts->received,
                   .reported = counts->reported,
                   .acknowledged = counts->acknowledged,
                   .refused = counts->refused,
                   .outbox = counts->outbox,
                   .connected = session_state(agent->session) == SESSION_LIVE},
        .payload_bytes_max = session_payload_bytes_max(agent->session),
        .stopping = session_is_stopping(agent->session),
        .caller_looks = agent->caller_turns,
    };
    news.stop_status = session_stop_status(agent->session, &news.stop_reason);
    mailbox_deliver(agent->mailbox, &news);
}

/* Whether there may be more to send at once; false, too, when the socket is full. */
static bool send_frames(struct agent *agent, struct moment now)
{
    for (int i = 0; i < FRAMES_MAX; i++) {
        if (!agent->unsent.data && !session_next_frame(agent->session, now, &agent->unsent))
            return false;
        if (link_send(agent->link, agent->unsent.data, agent->unsent.count) == STATUS_BUSY)
            return false;
        agent->unsent.data = NULL;
    }
    return true;
}

static void reopen_if_wanted(struct agent *agent, struct moment now)
{
    if (session_state(agent->session) == SESSION_CLOSED)
        agent->unsent.data = NULL; /* it was meant for the connection that is gone */
    if (!session_wants_reopen(agent->session))
        return;
    enum status status = link_reopen(agent->link);
    agent->has_broken = false;
    if (status == STATUS_OK) {
        session_opened(agent->session, now);
        return;
    }
    session_open_failed(agent->session, now);
    tell(agent, LOG_ERR, "cannot open a socket: %s", status_text(status));
}

/* Rounded up: a wait that ends too early would only be repeated. */
static int wait_ms(const struct agent *agent, struct moment now)
{
    int64_t until_us = session_wait_until(agent->session);
    if (agent->leave_us < until_us)
        until_us = agent->leave_us;
    if (until_us <= now.mono_us)
        return 1; /* without memory or a socket a turn may achieve nothing: never spin */
    int64_t ms = (until_us - now.mono_us - 1) / US_PER_MS + 1;
    if (agent->unsent.data && ms > FULL_WAIT_MS)
        ms = FULL_WAIT_MS;
    if (agent->has_mail && !agent->caller_turns && ms > MAILBOX_LOOK_MS)
        ms = MAILBOX_LOOK_MS;
    return ms < WAIT_MS_MAX ? (int)ms : WAIT_MS_MAX;
}

/* Looks whether the link has broken before it receives, and says so when all that came before has
 * been received: reports that were answered last need not be sent again. Returns whether there may
 * be more to receive. */
static bool take_in(struct agent *agent, struct moment now)
{
    const char *refusal = link_take_refusal(agent->link);
    if (refusal && is_worth_telling(agent, refusal, now.mono_us))
        tell(agent, LOG_ERR, "%s: %s", agent->options.link.endpoint, refusal);
    if (link_has_broken(agent->link))
        agent->has_broken = true;
    if (receive_frames(agent, now))
        return true;
    if (agent->has_broken)
        session_link_broke(agent->session, now);
    agent->has_broken = false;
    return false;
}

/* All but the wait. Returns whether there may be more to do at once. */
static bool turn(struct agent *agent)
{
    struct moment now = clock_now();
    agent->turned_us = now.mono_us;
    bool more = take_in(agent, now);
    carry_out_orders(agent, now);
    session_pass(agent->session, now);
    deliver(agent);
    more = send_frames(agent, now) || more;
    reopen_if_wanted(agent, now);
    more = send_frames(agent, now) || more;
    tell_changes(agent, now.mono_us);
    return more;
}

static unsigned wait_for_something(struct agent *agent, int fd, int ms)
{
    return link_wait_for(agent->link, (const int[]){agent->mailbox->agent_fd, fd}, ms);
}

static void *run(void *argument)
{
    struct agent *agent = argument;
    session_opened(agent->session, clock_now());
    while (session_state(agent->session) != SESSION_ENDED &&
           clock_now().mono_us < agent->leave_us) {
        bool more = turn(agent);
        if (duty_is_wanted(&agent->duty))
            duty_hand_over(&agent->duty);
        else if (!more && session_state(agent->session) != SESSION_ENDED)
            wait_for_something(agent, -1, wait_ms(agent, clock_now()));
    }
    return NULL;
}

/* --- the caller's thread ---------------------------------------------------------------------- */

static void enter(struct agent *agent)
{
    if (!duty_try(&agent->duty)) {
        duty_want(&agent->duty);
        mailbox_wake_agent(agent->mailbox);
        duty_take(&agent->duty);
    }
    agent->caller_turns = true;
}

static void leave(struct agent *agent)
{
    agent->caller_turns = false;
    duty_leave(&agent->duty);
}

static bool is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&one, 1, 0) > 0;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Rounded up; a wait without an end is as long as the agent's own. */
static int rest_ms(int64_t until_us, int64_t now_us)
{
    int64_t ms = until_us <= now_us ? 0 : (until_us - now_us - 1) / US_PER_MS + 1;
    return ms < WAIT_MS_MAX ? (int)ms : WAIT_MS_MAX;
}

/* A caller that has tasks at hand and no place for them needs nothing of the broker, and its
 * reports can go together. Positive: the descriptor became readable before the next turn is due;
 * negative: a signal came. */
static int linger(const struct agent *agent, int fd, int64_t until_mono_us)
{
    int64_t now_us = clock_now().mono_us;
    int64_t end_us = agent->turned_us + HOLD_US;
    if (until_mono_us < end_us)
        end_us = until_mono_us;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return now_us < end_us ? poll(&one, 1, rest_ms(end_us, now_us)) : 0;
}

unsigned agent_wait(struct agent *agent, int fd, int64_t until_mono_us, size_t at_hand)
{
    unsigned woken = 0;
    bool has_news, has_looked = false;
    enter(agent);
    int lingered = at_hand && fd >= 0 ? linger(agent, fd, until_mono_us) : 0;
    if (lingered) {
        leave(agent);
        return lingered > 0 ? AGENT_FD : 0;
    }
    for (;;) { /* ends with the wait at the latest */
        bool more = turn(agent);
        if (at_hand)
            agent->sent_us = agent->turned_us; /* others are to follow what was sent with it */
        has_news = mailbox_take_news(agent->mailbox);
        struct moment now = clock_now();
        if (has_news || woken || now.mono_us >= until_mono_us)
            break;
        int ms = least(wait_ms(agent, now), rest_ms(until_mono_us, now.mono_us));
        woken = wait_for_something(agent, fd, more ? 0 : ms) & (LINK_ALSO | LINK_SIGNAL);
        has_looked = true;
    }
    leave(agent);
    if (!has_looked && is_readable(fd))
        woken |= LINK_ALSO;
    return (has_news ? AGENT_NEWS : 0u) | (woken & LINK_ALSO ? AGENT_FD : 0u);
}

/* With more tasks at hand others will follow, and go with these; but when as many wait as are at
 * hand, new tasks should be on their way. */
static bool can_hold(const struct agent *agent, size_t waiting, size_t at_hand, int64_t now_us)
{
    int64_t held_us = now_us - agent->sent_us;
    return at_hand && waiting < TOGETHER &&
           (held_us < MAILBOX_LOOK_MS * US_PER_MS || (held_us < HOLD_US && waiting < at_hand));
}

/* A caller that has many tasks at hand comes for nothing else for a long while, and is never away
 * for so long that the other stands in: so a whole turn is due now and then. */
static void send_some(struct agent *agent, size_t waiting, size_t at_hand)
{
    struct moment now = clock_now();
    if (now.mono_us - agent->turned_us >= DUTY_TICK_MS * US_PER_MS) {
        agent->caller_turns = true;
        turn(agent);
        agent->caller_turns = false;
    } else if (!can_hold(agent, waiting, at_hand, now.mono_us)) {
        agent->sent_us = now.mono_us;
        carry_out_orders(agent, now);
        send_frames(agent, now);
    }
}

void agent_send(struct agent *agent, struct lease_chain *leases, size_t at_hand)
{
    if (!leases->first)
        return;
    if (!duty_try(&agent->duty)) {
        bool can_wait = at_hand && leases->count <= FEW_REPORTS;
        can_wait ? mailbox_send_soon(agent->mailbox, leases) : mailbox_send(agent->mailbox, leases);
        return;
    }
    size_t waiting = mailbox_put(agent->mailbox, leases);
    send_some(agent, waiting, at_hand);
    duty_leave(&agent->duty);
}

void agent_leave_alone(struct agent *agent)
{
    duty_give_up(&agent->duty);
    mailbox_show(agent->mailbox);
}

/* --- start and end ---------------------------------------------------------------------------- */

static void agent_free(struct agent *agent)
{
    link_destroy(&agent->link);
    session_destroy(&agent->session);
    duty_release(&agent->duty);
    free(agent);
}

/* With all signals blocked: threads inherit that. */
static enum status start(struct agent *agent)
{
    link_setup();
    enum status status = link_new(&agent->link, &agent->options.link);
    if (status)
        return status;
    agent->session = session_new(&agent->options.session);
    if (!agent->session)
        return STATUS_NO_MEMORY;
    if (pthread_create(&agent->thread, NULL, run, agent) != 0)
        return STATUS_NO_MEMORY;
    return STATUS_OK;
}

enum status agent_start(struct agent **agent, const struct agent_options *options,
                        struct mailbox *mailbox)
{
    struct agent *made = calloc(1, sizeof(*made));
    if (!made || !duty_init(&made->duty)) {
        free(made);
        return STATUS_NO_MEMORY;
    }
    made->options = *options;
    made->mailbox = mailbox;
    made->leave_us = TIME_US_NEVER;
    made->began_us = clock_now().mono_us;

    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    enum status status = start(made);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status) {
        agent_free(made);
        return status;
    }
    *agent = made;
    return STATUS_OK;
}

void agent_join(struct agent **agent)
{
    if (!*agent)
        return;
    duty_give_up(&(*agent)->duty);
    pthread_join((*agent)->thread, NULL);
    agent_free(*agent);
    *agent = NULL;
}
