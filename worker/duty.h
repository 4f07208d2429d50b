/* duty.h - which of two threads speaks with the broker: the caller's, or the worker's own.
 *
 * A message that wakes one thread, which wakes another, which handles it and wakes the first again
 * costs more than the work. So the caller's thread makes the agent's turns itself while it has
 * nothing else to do, and around each task; the worker's own thread takes over when the caller has
 * stayed away for a while, in a long handler, and gives back when it returns.
 *
 *                 duty_take                     duty_try
 *    OWN ---------------------> CALLER_IN <----------------> CALLER_OUT
 *     ^                                          duty_leave        |
 *     +------------------------------------------------------------+
 *                 a tick without a visit, or duty_give_up
 *
 * Its own thread looks once a tick while the caller comes and goes, and sleeps while the caller
 * waits: an idle worker is woken by nothing but its heartbeats. A caller that leaves starts the
 * ticks, by a timer: to wake the other thread would come between it and its task. Whoever has the
 * duty may use link and session, and sees all that the other did with them before. One caller's
 * thread at a time.
 */
#ifndef EVERDUE_WORKER_DUTY_H
#define EVERDUE_WORKER_DUTY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* After one to two of them the worker's own thread takes over. */
enum { DUTY_TICK_MS = 5 };

struct duty {
    atomic_int holder; /* enum duty_holder, in duty.c */
    atomic_uint visits;
    atomic_bool is_wanted;   /* by the caller */
    atomic_bool is_sleeping; /* its own thread, without ticks, until the caller leaves */
    atomic_bool is_given_up;
    int timer_fd;
    pthread_mutex_t lock; /* of the hand-over alone */
    pthread_cond_t changed;
};

/* It is the own thread's. False: no descriptor. */
bool duty_init(struct duty *duty);
void duty_release(struct duty *duty);

/* --- the caller's side ------------------------------------------------------------------------ */

/* Come back, unless the other has taken over meanwhile. */
bool duty_try(struct duty *duty);
/* Say that it is wanted: the other is to be woken then, so that it sees that. */
void duty_want(struct duty *duty);
/* Wait until it has been handed over. */
void duty_take(struct duty *duty);
/* For a while: to be called between duty_try or duty_take and the next of them. */
void duty_leave(struct duty *duty);
/* For good: the other takes over now. Not to be called inside. */
void duty_give_up(struct duty *duty);

/* --- the own thread's side -------------------------------------------------------------------- */

bool duty_is_wanted(struct duty *duty);
/* To the caller, who wants it; returns when it is one's own again. */
void duty_hand_over(struct duty *duty);

#endif
