#include "crew.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct crew_shared {
    atomic_int ready;
    double seconds;
    _Atomic double begin_s;
    struct {
        uint64_t cycles;
        double end_s;
    } members[CREW_MAX];
};

void crew_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "bench peer: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _exit(1);
}

double crew_now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

uint64_t crew_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

long crew_number(const char *text, long most, const char *usage)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*end || end == text || number < 1 || number > most)
        crew_fail("%s: a number from 1 to %ld; usage: %s", text, most, usage);
    return number;
}

/* --- members ---------------------------------------------------------------------------------- */

static void wait_for_the_others(struct crew_member *member)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    if (atomic_fetch_add(&member->shared->ready, 1) + 1 == member->workers)
        atomic_store(&member->shared->begin_s, crew_now_s());
    while (atomic_load(&member->shared->begin_s) == 0) /* until the last one is ready */
        nanosleep(&pause, NULL);
}

bool crew_goes_on(struct crew_member *member)
{
    if (!member->has_begun)
        wait_for_the_others(member);
    member->has_begun = true;
    double now_s = crew_now_s();
    member->shared->members[member->number].end_s = now_s;
    return now_s < atomic_load(&member->shared->begin_s) + member->shared->seconds;
}

void crew_count(struct crew_member *member, uint64_t cycles)
{
    member->cycles += cycles;
    member->shared->members[member->number].cycles = member->cycles;
}

uint64_t crew_next_due(struct crew_member *member, uint64_t records)
{
    uint64_t now = member->cycles * (uint64_t)member->workers;
    return now + 1 + crew_random(&member->random) % (2 * records);
}

/* --- the crew --------------------------------------------------------------------------------- */

static _Noreturn void be_member(struct crew_shared *shared, int number, int workers,
                                crew_work *work, void *user)
{
    struct crew_member member = {
        .number = number,
        .workers = workers,
        .random = 88172645463325252u + (uint64_t)number * 7919,
        .shared = shared,
    };
    work(&member, user);
    _exit(0);
}

static int print_sum(const struct crew_shared *shared, int workers)
{
    uint64_t cycles = 0;
    double end_s = 0;
    for (int i = 0; i < workers; i++) {
        cycles += shared->members[i].cycles;
        if (shared->members[i].end_s > end_s)
            end_s = shared->members[i].end_s;
    }
    printf("{\"cycles\": %llu, \"seconds\": %.6f}\n", (unsigned long long)cycles,
           end_s - atomic_load(&shared->begin_s));
    return fflush(stdout) ? 1 : 0;
}

int crew_run(int workers, double seconds, crew_work *work, void *user)
{
    struct crew_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || workers < 1 || workers > CREW_MAX)
        return 1;
    shared->seconds = seconds;
    for (int i = 0; i < workers; i++) {
        pid_t pid = fork();
        if (pid < 0)
            crew_fail("fork failed");
        if (pid == 0)
            be_member(shared, i, workers, work, user);
    }
    bool has_failed = false;
    for (int i = 0; i < workers; i++) {
        int status;
        has_failed |= wait(&status) < 0 || status != 0;
        /* The others would wait for it for ever. */
        if (has_failed && atomic_load(&shared->begin_s) == 0)
            atomic_store(&shared->begin_s, -seconds);
    }
    int result = has_failed ? 1 : print_sum(shared, workers);
    munmap(shared, sizeof(*shared));
    return result;
}

int crew_main(int argc, char **argv, const struct crew_driver *driver)
{
    if (argc < 4)
        crew_fail("usage: %s", driver->usage);
    struct crew_plan plan = {
        .address = argv[1],
        .records = (uint64_t)crew_number(argv[3], 100000000, driver->usage),
    };
    if (strcmp(argv[2], "cycle") == 0 && argc == 7) {
        plan.batch = (size_t)crew_number(argv[6], CREW_BATCH_MAX, driver->usage);
        return crew_run((int)crew_number(argv[4], CREW_MAX, driver->usage), strtod(argv[5], NULL),
                        driver->work, &plan);
    }
    if (strcmp(argv[2], "load") == 0)
        driver->load(&plan);
    else if (strcmp(argv[2], "check") == 0)
        driver->check(&plan);
    else
        crew_fail("usage: %s", driver->usage);
    return 0;
}
