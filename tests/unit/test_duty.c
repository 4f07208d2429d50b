/* The turns are made by one thread at a time, and by one at any time. */
#include "duty.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Its own thread: makes turns while it has the duty, until it is told to end. */
struct own {
    struct duty duty;
    pthread_t thread;
    atomic_bool is_over;
    atomic_uint turns;
    unsigned both; /* written by whoever has the duty: the sanitizer sees two at a time */
};

static void *make_turns(void *argument)
{
    struct own *own = argument;
    while (!atomic_load(&own->is_over)) { /* until the test ends it */
        own->both++;
        atomic_fetch_add(&own->turns, 1);
        if (duty_is_wanted(&own->duty))
            duty_hand_over(&own->duty);
        poll(NULL, 0, 1);
    }
    return NULL;
}

static void begin(struct own *own)
{
    memset(own, 0, sizeof(*own));
    assert_true(duty_init(&own->duty));
    assert_int_equal(pthread_create(&own->thread, NULL, make_turns, own), 0);
}

/* Outside. */
static void end(struct own *own)
{
    atomic_store(&own->is_over, true);
    duty_give_up(&own->duty);
    pthread_join(own->thread, NULL);
    duty_release(&own->duty);
}

static void take(struct own *own)
{
    duty_want(&own->duty);
    duty_take(&own->duty);
}

static void wait_for_a_turn(struct own *own)
{
    unsigned before = atomic_load(&own->turns);
    while (atomic_load(&own->turns) == before) /* for ever, should it not take over */
        poll(NULL, 0, 1);
}

/* --- the tests -------------------------------------------------------------------------------- */

static void who_wants_the_duty_has_it_until_it_leaves(void **state)
{
    (void)state;
    struct own own;
    begin(&own);
    assert_false(duty_try(&own.duty));
    take(&own);
    unsigned turns = atomic_load(&own.turns), both = own.both;
    poll(NULL, 0, 10 * DUTY_TICK_MS);
    assert_int_equal(atomic_load(&own.turns), turns);
    assert_int_equal(own.both, both);
    duty_leave(&own.duty);
    end(&own);
}

static void who_stays_away_is_stood_in_for(void **state)
{
    (void)state;
    struct own own;
    begin(&own);
    for (int i = 0; i < 5; i++) {
        if (!duty_try(&own.duty))
            take(&own);
        own.both++;
        duty_leave(&own.duty);
        wait_for_a_turn(&own);
    }
    end(&own);
}

/* The own thread sleeps without a limit while the caller is in; it is to notice when it leaves. */
static void who_leaves_after_a_long_wait_is_stood_in_for_too(void **state)
{
    (void)state;
    struct own own;
    begin(&own);
    for (int i = 0; i < 3; i++) {
        take(&own);
        poll(NULL, 0, 6 * DUTY_TICK_MS);
        duty_leave(&own.duty);
        wait_for_a_turn(&own);
    }
    end(&own);
}

static void comings_and_goings_lose_nothing(void **state)
{
    (void)state;
    struct own own;
    unsigned visits = 0;
    begin(&own);
    for (int i = 0; i < 100000; i++) {
        if (!duty_try(&own.duty))
            take(&own);
        own.both++;
        visits++;
        duty_leave(&own.duty);
    }
    end(&own);
    assert_int_equal(own.both, visits + atomic_load(&own.turns));
}

static void what_was_given_up_may_be_wanted_again(void **state)
{
    (void)state;
    struct own own;
    begin(&own);
    take(&own);
    duty_leave(&own.duty);
    duty_give_up(&own.duty);
    wait_for_a_turn(&own);
    take(&own);
    duty_leave(&own.duty);
    wait_for_a_turn(&own);
    end(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_wants_the_duty_has_it_until_it_leaves),
        cmocka_unit_test(who_stays_away_is_stood_in_for),
        cmocka_unit_test(who_leaves_after_a_long_wait_is_stood_in_for_too),
        cmocka_unit_test(comings_and_goings_lose_nothing),
        cmocka_unit_test(what_was_given_up_may_be_wanted_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
