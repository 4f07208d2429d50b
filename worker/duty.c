#include "duty.h"

#include <assert.h>
#include <time.h>

enum duty_holder {
    DUTY_OWN,
    DUTY_CALLER_IN,
    DUTY_CALLER_OUT,
};

bool duty_init(struct duty *duty)
{
    pthread_condattr_t attributes;
    atomic_init(&duty->holder, DUTY_OWN);
    atomic_init(&duty->visits, 0);
    atomic_init(&duty->is_wanted, false);
    atomic_init(&duty->is_sleeping, false);
    duty->is_given_up = false;
    if (pthread_condattr_init(&attributes))
        return false;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool is_made = pthread_cond_init(&duty->changed, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    if (is_made)
        pthread_mutex_init(&duty->lock, NULL);
    return is_made;
}

void duty_release(struct duty *duty)
{
    pthread_cond_destroy(&duty->changed);
    pthread_mutex_destroy(&duty->lock);
}

static void lock(struct duty *duty)
{
    int error = pthread_mutex_lock(&duty->lock);
    assert(error == 0);
}

static void unlock(struct duty *duty)
{
    int error = pthread_mutex_unlock(&duty->lock);
    assert(error == 0);
}

static bool change(struct duty *duty, int from, int to)
{
    return atomic_compare_exchange_strong(&duty->holder, &from, to);
}

/* --- the caller's side ------------------------------------------------------------------------ */

bool duty_try(struct duty *duty)
{
    return change(duty, DUTY_CALLER_OUT, DUTY_CALLER_IN);
}

void duty_want(struct duty *duty)
{
    atomic_store(&duty->is_wanted, true);
}

void duty_take(struct duty *duty)
{
    lock(duty);
    while (atomic_load(&duty->holder) != DUTY_CALLER_IN) /* until it is handed over */
        pthread_cond_wait(&duty->changed, &duty->lock);
    unlock(duty);
}

/* Either this sees that the other sleeps, or the other, which looks once more before it does, sees
 * that the caller has left. */
void duty_leave(struct duty *duty)
{
    atomic_fetch_add(&duty->visits, 1);
    bool was_in = change(duty, DUTY_CALLER_IN, DUTY_CALLER_OUT);
    assert(was_in);
    if (!atomic_load(&duty->is_sleeping))
        return;
    lock(duty);
    atomic_store(&duty->is_sleeping, false);
    pthread_cond_broadcast(&duty->changed);
    unlock(duty);
}

void duty_give_up(struct duty *duty)
{
    lock(duty);
    duty->is_given_up = true;
    atomic_store(&duty->is_sleeping, false);
    pthread_cond_broadcast(&duty->changed);
    unlock(duty);
}

/* --- the own thread's side -------------------------------------------------------------------- */

bool duty_is_wanted(struct duty *duty)
{
    return atomic_load(&duty->is_wanted);
}

/* With the lock held, as are the others. */
static void pass_tick(struct duty *duty)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += DUTY_TICK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&duty->changed, &duty->lock, &until);
}

/* The caller waits for work, and has for a tick: nothing is to be seen until it leaves. */
static void sleep_while_in(struct duty *duty)
{
    atomic_store(&duty->is_sleeping, true);
    if (atomic_load(&duty->holder) != DUTY_CALLER_IN)
        atomic_store(&duty->is_sleeping, false);
    while (atomic_load(&duty->is_sleeping)) /* until the caller leaves, or gives up */
        pthread_cond_wait(&duty->changed, &duty->lock);
}

/* Returns when the caller has been away for a whole tick, or has given up. */
static void watch(struct duty *duty)
{
    unsigned seen = atomic_load(&duty->visits);
    bool has_duty = false;
    while (!has_duty) {
        if (!duty->is_given_up)
            pass_tick(duty);
        unsigned visits = atomic_load(&duty->visits);
        bool is_still = visits == seen || duty->is_given_up;
        seen = visits;
        if (is_still && atomic_load(&duty->holder) == DUTY_CALLER_IN)
            sleep_while_in(duty);
        else if (is_still)
            has_duty = change(duty, DUTY_CALLER_OUT, DUTY_OWN);
    }
}

void duty_hand_over(struct duty *duty)
{
    lock(duty);
    atomic_store(&duty->is_wanted, false);
    atomic_store(&duty->holder, DUTY_CALLER_IN);
    pthread_cond_broadcast(&duty->changed);
    watch(duty);
    unlock(duty);
}
