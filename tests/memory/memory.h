/* memory.h - allocations that fail on purpose.
 *
 * The programs that use it are linked with --wrap for malloc, calloc, realloc and aligned_alloc.
 * Allocations are counted only between memory_enter and memory_leave, so what the test itself needs
 * never fails. The plan names the one that fails first; `lasting`: all that follow fail, too, until
 * memory_come_back.
 */
#ifndef EVERDUE_TEST_MEMORY_H
#define EVERDUE_TEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Counting begins anew; allocation `first` (from 1) fails, 0: none. */
void memory_plan(uint64_t first, bool lasting);
void memory_enter(void);
void memory_leave(void);
/* Nothing fails any more, until the next plan. */
void memory_come_back(void);
/* Whether one has failed since the plan was made, and memory_come_back was not called. */
bool memory_is_short(void);
/* How many have failed since the plan was made. */
uint64_t memory_failures(void);

/* Who asked for allocation `at` (from 1) of a plan in which none failed, as a hash of the callers'
 * addresses up to memory_enter; 0: there was none. The same stack asks for the same in the same
 * situation, as a rule: who fails each of them a few times instead of every allocation is through a
 * hundred times sooner. */
uint64_t memory_stack(uint64_t at);
/* Counts a stack, over all plans of this process: how often it was counted before. */
uint32_t memory_count_stack(uint64_t stack);

#endif
