#include "duty.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Of a tick, which is less than a second. */
#define TICK_NS (DUTY_TICK_MS * 1000000L)

enum duty_holder {
    DUTY_OWN,
    DUTY_CALLER_IN,
    DUTY_CALLER_OUT,
};

bool duty_init(struct duty *duty)
{
    atomic_init(&duty->holder, DUTY_OWN);
    atomic_init(&duty->visits, 0);
    atomic_init(&duty->is_wanted, false);
    atomic_init(&duty->is_sleeping, false);
    atomic_init(&duty->is_given_up, false);
    duty->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (duty->timer_fd < 0)
        return false;
    pthread_mutex_init(&duty->lock, NULL);
    pthread_cond_init(&duty->changed, NULL);
    return true;
}

void duty_release(struct duty *duty)
{
    close(duty->timer_fd);
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

/* The first tick comes after so many nanoseconds, the others follow; 0: no more ticks. */
static void set_ticks(struct duty *duty, long first_ns)
{
    const struct itimerspec ticks = {
        .it_value.tv_nsec = first_ns,
        .it_interval.tv_nsec = first_ns ? TICK_NS : 0,
    };
    int error = timerfd_settime(duty->timer_fd, 0, &ticks, NULL);
    assert(error == 0);
}

/* Either this sees that the other sleeps, or the other, which looks once more before it does, sees
 * that the caller has left. */
void duty_leave(struct duty *duty)
{
    atomic_fetch_add(&duty->visits, 1);
    bool was_in = change(duty, DUTY_CALLER_IN, DUTY_CALLER_OUT);
    assert(was_in);
    if (atomic_load(&duty->is_sleeping) && atomic_exchange(&duty->is_sleeping, false))
        set_ticks(duty, TICK_NS);
}

void duty_give_up(struct duty *duty)
{
    atomic_store(&duty->is_given_up, true);
    set_ticks(duty, 1);
}

/* --- the own thread's side -------------------------------------------------------------------- */

bool duty_is_wanted(struct duty *duty)
{
    return atomic_load(&duty->is_wanted);
}

/* A tick, or one that passed meanwhile. */
static void pass_tick(struct duty *duty)
{
    uint64_t ticks;
    while (read(duty->timer_fd, &ticks, sizeof(ticks)) < 0) /* until a tick: signals are blocked */
        assert(errno == EINTR);
}

/* The caller waits for work, and has for a tick: nothing is to be seen until it leaves. The ticks
 * end before that can be seen, so none that the caller begins is lost. */
static void sleep_while_in(struct duty *duty)
{
    set_ticks(duty, 0);
    atomic_store(&duty->is_sleeping, true);
    if (atomic_load(&duty->holder) != DUTY_CALLER_IN && atomic_exchange(&duty->is_sleeping, false))
        set_ticks(duty, TICK_NS);
}

/* Returns when the caller has been away for a whole tick, or has given up. */
static void watch(struct duty *duty)
{
    unsigned seen = atomic_load(&duty->visits);
    bool has_duty = false;
    set_ticks(duty, TICK_NS);
    while (!has_duty) {
        pass_tick(duty);
        unsigned visits = atomic_load(&duty->visits);
        bool is_still = visits == seen || atomic_load(&duty->is_given_up);
        seen = visits;
        if (is_still && atomic_load(&duty->holder) == DUTY_CALLER_IN)
            sleep_while_in(duty);
        else if (is_still)
            has_duty = change(duty, DUTY_CALLER_OUT, DUTY_OWN);
    }
    set_ticks(duty, 0);
}

void duty_hand_over(struct duty *duty)
{
    lock(duty);
    atomic_store(&duty->is_wanted, false);
    atomic_store(&duty->holder, DUTY_CALLER_IN);
    pthread_cond_broadcast(&duty->changed);
    unlock(duty);
    watch(duty);
}
