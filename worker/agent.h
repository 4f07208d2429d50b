/* agent.h - what speaks with the broker: link, session and mailbox, turned round and round.
 *
 *   receive frames -> collect what the caller sends -> let time pass -> deliver tasks -> send
 * frames
 *
 * A thread of its own does that, or the caller's while it waits for tasks and when it hands over
 * reports (duty.h): then a message needs no second thread. Once the caller has been in a handler
 * for some milliseconds, the agent's thread takes over, so that heartbeats and touches go on.
 *
 * It never runs code of the caller but the log function, and never blocks but in its one wait. All
 * signals are blocked in its thread, and in those of the socket library that it makes.
 */
#ifndef EVERDUE_WORKER_AGENT_H
#define EVERDUE_WORKER_AGENT_H

#include "link.h"
#include "mailbox.h"
#include "session.h"

struct agent;

struct agent_options {
    struct link_options link; /* borrowed until agent_join, like all texts here */
    struct session_options session;
    void (*log)(int level, const char *text, void *user); /* NULL: log_line */
    void *log_user;
};

/* Opens the link and starts the thread. The mailbox is borrowed until agent_join. BAD_FIELD: the
 * endpoint or a key is none; NO_MEMORY: no memory, thread or socket. */
enum status agent_start(struct agent **agent, const struct agent_options *options,
                        struct mailbox *mailbox);

/* --- by the caller's thread ------------------------------------------------------------------- */

/* What ended agent_wait. */
enum { AGENT_NEWS = 1, AGENT_FD = 2 };

/* Speak with the broker until there is something new in the mailbox, `fd` (or -1) is readable, or
 * `until_mono_us`; a signal ends it, too. A caller that waits with tasks `at_hand` waits for `fd`:
 * then it is spoken every 4 ms, which is how long reports wait for others at most. */
unsigned agent_wait(struct agent *agent, int fd, int64_t until_mono_us, size_t at_hand);

/* Hand over all of `leases`, which is empty then, and send at once; with tasks `at_hand` whose
 * reports are to follow, when 512 have come together, within 4 ms if the caller comes back so soon,
 * else within two of duty.h's ticks. */
void agent_send(struct agent *agent, struct lease_chain *leases, size_t at_hand);

/* The caller waits in its own way from now on: the agent's thread does all. */
void agent_leave_alone(struct agent *agent);

/* Waits for the thread, which ends after mailbox_leave, and frees. */
void agent_join(struct agent **agent);

#endif
