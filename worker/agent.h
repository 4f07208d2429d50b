/* agent.h - the background thread of a worker: link, session and mailbox, turned round and round.
 *
 *   receive frames -> collect what the caller sends -> let time pass -> deliver tasks -> send
 * frames
 *
 * It never runs code of the caller but the log function, and never blocks but in its one wait. All
 * signals are blocked in it, and in the threads of the socket library that it makes.
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

/* Waits for the thread, which ends after mailbox_leave, and frees. */
void agent_join(struct agent **agent);

#endif
