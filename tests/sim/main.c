/* main.c - sim [--seeds FROM..TO] [--events N] [--bug NAME] [--story LINES]
 *
 * Runs each seed twice and compares the hashes. An event is a call of sched_step; those of the
 * second run are not counted. --events N is how many there are while faults are made; then come
 * those in which all comes to rest. Prints the first seed that fails, with what was wrong and the
 * last events. With a planted bug it is the other way round: the bug must be found.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    unsigned long long from, to, events;
    unsigned lines;
    enum bug bug;
};

static bool read_options(struct options *options, int count, char **words)
{
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        if (!strcmp(name, "--seeds")) {
            int read = sscanf(value, "%llu..%llu", &options->from, &options->to);
            if (read == 1)
                options->to = options->from;
            else if (read != 2)
                return false;
        } else if (!strcmp(name, "--events")) {
            options->events = strtoull(value, NULL, 10);
        } else if (!strcmp(name, "--story")) {
            options->lines = (unsigned)strtoul(value, NULL, 10);
        } else if (!strcmp(name, "--bug")) {
            options->bug = bug_find(value);
            if ((int)options->bug == BUG_COUNT)
                return false;
        } else {
            return false;
        }
    }
    return count % 2 == 1;
}

/* Of one run of each seed: the second is the first again. */
struct totals {
    uint64_t hash; /* over the hashes of the seeds */
    uint64_t events, quiet_events, crashes, shortages, tasks, accepted, late, stale;
};

static void count_run(const struct sim *sim, struct totals *totals)
{
    totals->hash = (totals->hash ^ sim->hash) * 0x100000001b3u;
    totals->events += sim->events;
    totals->quiet_events += sim->quiet_events;
    totals->crashes += sim->crashes;
    totals->shortages += sim->shortages;
    totals->tasks += sim->tasks;
    totals->accepted += sim->model.accepted_count;
    totals->late += sim->model.late_count;
    totals->stale += sim->model.stale_count;
}

/* 0: nothing was wrong. */
static int run_seed(struct sim *sim, const struct options *options, uint64_t seed,
                    struct totals *totals)
{
    uint64_t hash = 0;
    for (int run = 0; run < 2; run++) {
        bool is_good = sim_run(sim, seed, options->events, options->bug);
        if (run == 0)
            count_run(sim, totals);
        if (!is_good) {
            if (options->bug == BUG_NONE || options->lines)
                sim_print_story(sim, options->lines ? options->lines : 60);
            printf("seed %llu, event %llu: %s\n", (unsigned long long)seed,
                   (unsigned long long)sim->events, sim->model.fault);
        }
        bool is_same = run == 0 || hash == sim->hash;
        hash = sim->hash;
        sim_release(sim);
        if (!is_good)
            return 1;
        if (!is_same) {
            printf("seed %llu: two runs differ\n", (unsigned long long)seed);
            return 1;
        }
    }
    return 0;
}

static void print_totals(uint64_t seeds, const struct totals *totals)
{
    printf("%llu seeds, each twice with one hash: %llu events in each of the two (%llu of them "
           "while there were faults), %llu crashes, %llu shortages of memory, %llu tasks, %llu "
           "reports accepted (%llu late), %llu stale; hash %016llx\n",
           (unsigned long long)seeds, (unsigned long long)totals->events,
           (unsigned long long)(totals->events - totals->quiet_events),
           (unsigned long long)totals->crashes, (unsigned long long)totals->shortages,
           (unsigned long long)totals->tasks, (unsigned long long)totals->accepted,
           (unsigned long long)totals->late, (unsigned long long)totals->stale,
           (unsigned long long)totals->hash);
}

int main(int count, char **words)
{
    struct options options = {.from = 1, .to = 20, .events = 10000};
    if (!read_options(&options, count, words)) {
        fprintf(stderr,
                "usage: sim [--seeds FROM..TO] [--events N] [--bug NAME] [--story LINES]\n");
        return 64;
    }
    struct sim *sim = malloc(sizeof(*sim));
    struct totals totals = {0};
    int failed = 0;
    unsigned long long seed = options.from;
    for (; sim && seed <= options.to && !failed; seed++)
        failed = run_seed(sim, &options, seed, &totals);
    free(sim);
    print_totals(seed - options.from, &totals);
    if (options.bug != BUG_NONE) {
        printf("the bug %s was %s\n", bug_name(options.bug), failed ? "found" : "NOT FOUND");
        return !failed;
    }
    return failed;
}
