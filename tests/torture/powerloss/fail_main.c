/* fail_main.c - every write, sync, open, change of size, mapping and name of a store fails, once
 * and for good.
 *
 *   powerloss_fail [--each N] [--from N] [--batches N] [--seed N] [--looks N]
 *                  [--only KIND:ERROR]
 *
 * For each kind and error of fail.c and each K (with --each N: every N-th, the first is --from): a
 * life runs in which the K-th call fails. It must go on or end as a broker would, with a text.
 * Then, on a sound disk, the store opens and holds all that was acknowledged: as the process left
 * it, and in other states that the disk may be in, for after a failed sync what was written may be
 * gone. --looks N draws N of each kind of state that is drawn at random.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "life.h"
#include "oracle.h"

enum { CALLS_MAX = 100000, COMPLAINTS_MAX = 10 };

static const char *const faults[] = {
    "write:EIO",   "write:ENOSPC", "write:SHORT", "sync:EIO",   "open:EIO", "open:EMFILE",
    "open:ENOSPC", "size:EIO",     "size:ENOSPC", "map:ENOMEM", "name:EIO", "name:ENOSPC",
};

struct run {
    uint64_t each;
    uint64_t from;
    uint64_t batches;
    uint64_t seed;
    uint64_t looks;
    const char *only; /* NULL: all */
    uint64_t points;
    uint64_t states;
    uint64_t ends[LIFE_FULL + 1]; /* by exit status */
    uint64_t complaints;
};

/* One life, its files and what became of it. */
struct point {
    char root[TRIAL_ROOT_BYTES];
    char directory[TRIAL_ROOT_BYTES + 16];
    char log_path[TRIAL_ROOT_BYTES + 16];
    char fired[TRIAL_ROOT_BYTES + 16];
    char trial_path[TRIAL_ROOT_BYTES + 16];
    char fault[64];
    int exit_status;
};

static void complain(struct run *run, const struct point *point, const char *what, const char *why)
{
    if (++run->complaints <= COMPLAINTS_MAX)
        printf("seed %" PRIu64 ", %s: exit %d, %s: %s\n", run->seed, point->fault,
               point->exit_status, what, why);
}

/* --- what is left ---------------------------------------------------------------------------- */

/* Everything that was done and promised. */
static bool replay(const struct point *point, struct platter *platter, void *promise,
                   struct record_log *log, char *why, size_t room)
{
    struct record_entry entry;
    const uint8_t *data = NULL;
    char text[512];
    size_t at = 0;
    if (!record_log_map(log, point->log_path)) {
        snprintf(why, room, "there is no record");
        return false;
    }
    while (record_log_next(log, &at, &entry, &data)) {
        if (entry.kind == RECORD_MARK && record_mark_text(&entry, data, text, sizeof(text)))
            oracle_batches.take_mark(promise, text);
        else if (!platter_apply(platter, &entry, data, why, room))
            return false;
    }
    return true;
}

static void look_once(struct run *run, struct point *point, const struct platter *platter,
                      void *promise, enum platter_choice choice)
{
    struct platter_state state = {0};
    struct trial trial = {
        .directory = point->trial_path,
        .look = oracle_batches.look,
        .user = promise,
        .number = run->states,
    };
    char why[512] = "";
    bool good = platter_choose(platter, choice, run->states, &state);
    if (good && choice == CHOOSE_ALL &&
        !platter_state_is_at(&state, point->directory, why, sizeof(why)))
        complain(run, point, "the record is not true", why);
    enum trial_outcome outcome = good ? trial_run(&trial, &state) : TRIAL_CRASHED;
    run->states++;
    if (outcome)
        complain(run, point, trial_outcome_names[outcome], trial.why);
    platter_state_release(&state);
}

static void look(struct run *run, struct point *point, const struct platter *platter, void *promise)
{
    look_once(run, point, platter, promise, CHOOSE_NONE);
    look_once(run, point, platter, promise, CHOOSE_ALL);
    for (uint64_t i = 0; i < run->looks; i++) {
        look_once(run, point, platter, promise, CHOOSE_SECTORS);
        look_once(run, point, platter, promise, CHOOSE_WRITES);
    }
}

static void judge(struct run *run, struct point *point, const struct oracle_life *life)
{
    char why[512] = "no memory";
    struct record_log log = {0};
    struct platter *platter = platter_new(0);
    void *promise = oracle_batches.begin(life);
    bool is_meant = point->exit_status == 0 ||
                    (point->exit_status >= LIFE_REFUSED && point->exit_status <= LIFE_FULL);
    if (!is_meant)
        complain(run, point, "an end that was not meant", "see above");
    else
        run->ends[point->exit_status]++;
    if (platter && promise && replay(point, platter, promise, &log, why, sizeof(why)))
        look(run, point, platter, promise);
    else
        complain(run, point, "the record cannot be followed", why);
    record_log_unmap(&log);
    if (promise)
        oracle_batches.end(promise);
    platter_destroy(&platter);
}

/* --- points ---------------------------------------------------------------------------------- */

/* The K-th call fails. False: there are not so many. */
static bool try_point(struct run *run, const char *fault, uint64_t k, bool for_ever)
{
    struct point point = {0};
    if (!trial_make_root(point.root))
        exit(EX_CANTCREAT);
    snprintf(point.directory, sizeof(point.directory), "%s/disk", point.root);
    snprintf(point.log_path, sizeof(point.log_path), "%s/log", point.root);
    snprintf(point.fired, sizeof(point.fired), "%s/fired", point.root);
    snprintf(point.trial_path, sizeof(point.trial_path), "%s/trial", point.root);
    snprintf(point.fault, sizeof(point.fault), "%s:%" PRIu64 ":%s", fault, k,
             for_ever ? "ever" : "once");
    struct oracle_life life = {
        .directory = point.directory,
        .log = point.log_path,
        .seed = run->seed,
        .batches = run->batches,
        .sync = "always",
        .fault = point.fault,
        .fired = point.fired,
        .patience_ms = for_ever ? "0" : "1500",
        .exit_status = &point.exit_status,
    };
    if (mkdir(point.directory, 0700) || !oracle_batches.record(&life))
        exit(EX_OSERR);
    bool fired = access(point.fired, F_OK) == 0;
    if (fired) {
        run->points++;
        judge(run, &point, &life);
    }
    trial_remove(point.root);
    return fired;
}

static bool read_options(int count, char **arguments, struct run *run)
{
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"--each", &run->each}, {"--from", &run->from},   {"--batches", &run->batches},
        {"--seed", &run->seed}, {"--looks", &run->looks},
    };
    for (int i = 1; i + 1 < count; i += 2) {
        bool is_known = strcmp(arguments[i], "--only") == 0;
        if (is_known)
            run->only = arguments[i + 1];
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
            if (strcmp(arguments[i], numbers[k].name) == 0) {
                *numbers[k].number = strtoull(arguments[i + 1], NULL, 10);
                is_known = true;
            }
        }
        if (!is_known)
            return false;
    }
    return count % 2 == 1 && run->each && run->from && run->batches >= 3;
}

int main(int count, char **arguments)
{
    struct run run = {.each = 1, .from = 1, .batches = 12, .seed = 1, .looks = 1};
    struct timespec began;
    struct timespec now;
    if (!read_options(count, arguments, &run))
        return EX_USAGE;
    if (!freopen("/dev/null", "w", stderr)) /* what the lives say of their ends */
        return EX_OSERR;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (run.only && strcmp(run.only, faults[i]) != 0)
            continue;
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            uint64_t k = run.from;
            while (k < CALLS_MAX && try_point(&run, faults[i], k, for_ever))
                k += run.each;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%" PRIu64 " failures, %" PRIu64 " states looked at, in %ld s: %" PRIu64
           " healed, %" PRIu64 " refused to open, %" PRIu64 " ended, %" PRIu64
           " stayed full; %" PRIu64 " complaints\n",
           run.points, run.states, (long)(now.tv_sec - began.tv_sec), run.ends[0],
           run.ends[LIFE_REFUSED], run.ends[LIFE_FAILED], run.ends[LIFE_FULL], run.complaints);
    return run.complaints || !run.points ? 1 : 0;
}
