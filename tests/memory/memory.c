#include "memory.h"

#include <execinfo.h>
#include <stdlib.h>

enum { STACK_FRAMES = 64, STACKS_MAX = 1 << 16 };

static struct {
    _Atomic uint64_t first;
    _Atomic uint64_t count;
    _Atomic uint64_t failures;
    bool is_lasting;
    _Atomic bool is_inside; /* of whatever thread */
    _Atomic bool is_short;
    bool is_recording; /* nothing fails: who asks is noted */
    int outer_frames;  /* of whoever called memory_enter */
} plan;

static uint64_t stacks[STACKS_MAX]; /* of the plan's allocations */
static struct {
    uint64_t stack;
    uint32_t count;
} counted[STACKS_MAX]; /* a hash table, found by linear steps */

void memory_plan(uint64_t first, bool lasting)
{
    plan.first = first;
    plan.is_recording = first == 0;
    plan.count = plan.failures = 0;
    plan.is_lasting = lasting;
    plan.is_inside = plan.is_short = false;
}

void memory_enter(void)
{
    void *frames[STACK_FRAMES];
    if (plan.is_recording)
        plan.outer_frames = backtrace(frames, STACK_FRAMES) - 1;
    plan.is_inside = true;
}

void memory_leave(void)
{
    plan.is_inside = false;
}

void memory_come_back(void)
{
    plan.first = 0;
    plan.is_short = false;
}

bool memory_is_short(void)
{
    return plan.is_short;
}

uint64_t memory_failures(void)
{
    return plan.failures;
}

static uint64_t hash_stack(void)
{
    void *frames[STACK_FRAMES];
    uint64_t hash = 0xcbf29ce484222325u;
    int count = backtrace(frames, STACK_FRAMES); /* the innermost first */
    for (int i = 0; i < count - plan.outer_frames; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * 0x100000001b3u;
    return hash;
}

uint64_t memory_stack(uint64_t at)
{
    return at <= plan.count && at <= STACKS_MAX ? stacks[at - 1] : 0;
}

uint32_t memory_count_stack(uint64_t stack)
{
    size_t place = (stack ^ stack >> 32) % STACKS_MAX;
    while (counted[place].count && counted[place].stack != stack) /* it is never full */
        place = (place + 1) % STACKS_MAX;
    counted[place].stack = stack;
    return counted[place].count++;
}

static bool fails(void)
{
    if (!plan.is_inside)
        return false;
    if (plan.is_recording && plan.count < STACKS_MAX) {
        plan.is_inside = false; /* the first backtrace loads what it needs */
        stacks[plan.count] = hash_stack();
        plan.is_inside = true;
    }
    uint64_t at = ++plan.count;
    bool is_it = plan.first && (plan.is_lasting ? at >= plan.first : at == plan.first);
    plan.failures += is_it;
    if (is_it)
        plan.is_short = true;
    return is_it;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}
