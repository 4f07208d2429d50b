/* store_calls.h - calls of the system and of LMDB that fail on purpose.
 *
 * A place is where in the program a call is made. After store_calls_watch places are noted as they
 * are met; then a plan names one of them, which call there fails, and with what. Whoever links it
 * wraps the calls with --wrap, see CMakeLists.txt.
 */
#ifndef EVERDUE_TEST_STORE_CALLS_H
#define EVERDUE_TEST_STORE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

/* Forgets all places. */
void store_calls_watch(void);
uint64_t store_calls_places(void);
/* Whether the call made there can fail with this error: LMDB's own come from LMDB only. */
bool store_calls_may_give(uint64_t place, int error);
/* The `turn`-th call (from 1) at place number `place` (from 1; 0: none) fails. */
void store_calls_plan(uint64_t place, uint64_t turn, int error);
/* Whether it did. */
bool store_calls_fired(void);

#endif
