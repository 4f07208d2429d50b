/* main.c - cuts the power: records lives of a store or a broker, and opens every state that a disk
 * could have been left in, see platter.h.
 *
 *   powerloss [--life store|broker] [--states N] [--seconds S] [--seed N] [--batches N]
 *             [--sync always|never, with a broker interval:50ms, too]
 *             [--ignore sync|dsync|names]... [--expect-loss] [--keep DIRECTORY]
 *
 * Ends with 0 when nothing acknowledged was lost, nothing refused and nothing else found than what
 * was stored. With --expect-loss it ends with 0 when something was lost, refused or wrong, and no
 * process died of it: an oracle that never spoke proves nothing.
 *
 * A seed gives the same batches and choices; how threads took turns is in the log alone, which is
 * left in --keep with the first state that was not good.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "oracle.h"

enum { BATCHES_MAX = 200, STATES_OF_A_LIFE_MAX = 500, COMPLAINTS_MAX = 10, TRIES_MAX = 64 };

struct options {
    const struct oracle *oracle;
    uint64_t states;
    uint64_t seconds;
    uint64_t seed;
    uint64_t batches;
    const char *sync;
    const char *keep;
    unsigned ignored;
    bool expect_loss;
};

struct totals {
    uint64_t lives;
    uint64_t entries;
    uint64_t outcomes[TRIAL_OUTCOMES];
    uint64_t complaints;
    uint64_t loss_us_max; /* of what may be lost */
};

struct life {
    const struct options *options;
    struct totals *totals;
    void *promise;
    char root[TRIAL_ROOT_BYTES]; /* of all that belongs to this life */
    char directory[TRIAL_ROOT_BYTES + 16];
    char log_path[TRIAL_ROOT_BYTES + 16];
    char trial_path[TRIAL_ROOT_BYTES + 16];
    struct oracle_life what;
    struct record_log log;
    uint64_t entries;
    uint64_t *seen; /* hashes of the states of this life */
    size_t seen_room;
    uint64_t states;
    uint64_t states_wanted;
};

static uint64_t states_of(const struct totals *totals)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TRIAL_OUTCOMES; i++)
        sum += totals->outcomes[i];
    return sum;
}

/* --- recording ------------------------------------------------------------------------------- */

/* Nothing may have escaped the recorder: all entries together make the files that are there. */
static bool check_record(struct life *life)
{
    struct platter *platter = platter_new(0);
    struct platter_state state = {0};
    struct record_entry entry;
    const uint8_t *data = NULL;
    char why[512] = "no memory";
    size_t at = 0;
    bool good = platter != NULL;
    while (good && record_log_next(&life->log, &at, &entry, &data)) {
        good = platter_apply(platter, &entry, data, why, sizeof(why));
        life->entries += entry.kind != RECORD_MARK;
    }
    good = good && platter_choose(platter, CHOOSE_ALL, 0, &state) &&
           platter_state_is_at(&state, life->directory, why, sizeof(why));
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 ": the record is not true: %s\n",
                life->what.seed, why);
    platter_state_release(&state);
    platter_destroy(&platter);
    return good;
}

/* --- states ---------------------------------------------------------------------------------- */

/* Whether this life had the state before, with the same promise. */
static bool is_new(struct life *life, uint64_t hash)
{
    uint64_t promise = life->options->oracle->promise(life->promise);
    hash = (hash ^ promise * 0x9e3779b97f4a7c15u) | 1;
    size_t at = hash % life->seen_room;
    while (life->seen[at] && life->seen[at] != hash)
        at = (at + 1) % life->seen_room;
    bool found = life->seen[at] == hash;
    life->seen[at] = hash;
    return !found;
}

static bool keep(const struct life *life, const struct platter_state *state)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/log", life->options->keep);
    return platter_state_write(state, life->options->keep) && rename(life->log_path, path) == 0;
}

static bool complain(const struct life *life, const struct trial *trial, enum trial_outcome outcome,
                     enum platter_choice choice, uint64_t cut)
{
    bool is_meant = life->options->expect_loss && outcome != TRIAL_CRASHED;
    if (is_meant || ++life->totals->complaints > COMPLAINTS_MAX)
        return false;
    printf("seed %" PRIu64 ", cut after %" PRIu64 " of %" PRIu64 " operations, %s: %s: %s\n",
           life->what.seed, cut, life->entries, platter_choice_names[choice],
           trial_outcome_names[outcome], trial->why);
    return life->totals->complaints == 1 && life->options->keep;
}

static bool try_state(struct life *life, const struct platter *platter, enum platter_choice choice,
                      uint64_t cut)
{
    struct platter_state state = {0};
    struct trial trial = {
        .directory = life->trial_path,
        .look = life->options->oracle->look,
        .user = life->promise,
        .number = life->states,
    };
    uint64_t dice = life->what.seed * 1000003 + cut * 8191 + life->states;
    bool good = platter_choose(platter, choice, dice, &state);
    if (good && is_new(life, platter_state_hash(&state))) {
        enum trial_outcome outcome = trial_run(&trial, &state);
        life->totals->outcomes[outcome]++;
        life->states++;
        if (outcome && complain(life, &trial, outcome, choice, cut))
            good = keep(life, &state);
        if (outcome == TRIAL_SAME && trial.number > life->totals->loss_us_max)
            life->totals->loss_us_max = trial.number;
    }
    platter_state_release(&state);
    return good;
}

/* As many as the life may have by now. The first two choices at every moment if there is room for
 * them, and all choices in turn. */
static bool try_moment(struct life *life, const struct platter *platter, uint64_t cut)
{
    uint64_t wanted = life->states_wanted * (cut + 1) / life->entries;
    bool is_short = life->states_wanted / life->entries >= 2;
    uint64_t first = is_short ? 0 : cut * 7 % CHOICES;
    for (uint64_t tries = 0; life->states < wanted && tries < TRIES_MAX; tries++) {
        bool is_turn = tries >= 2 && is_short;
        uint64_t choice = is_turn ? 2 + (cut + tries) % (CHOICES - 2) : (first + tries) % CHOICES;
        if (!try_state(life, platter, (enum platter_choice)choice, cut))
            return false;
        if (tries > CHOICES && !platter_has_pending(platter))
            return true;
    }
    return true;
}

static bool cut_everywhere(struct life *life)
{
    const struct oracle *oracle = life->options->oracle;
    struct platter *platter = platter_new(life->options->ignored);
    struct record_entry entry;
    const uint8_t *data = NULL;
    char why[512] = "no memory";
    size_t at = 0;
    uint64_t cut = 0;
    bool good = platter != NULL;
    while (good && record_log_next(&life->log, &at, &entry, &data)) {
        if (entry.kind == RECORD_MARK && record_mark_text(&entry, data, why, sizeof(why)))
            oracle->take_mark(life->promise, why);
        if (entry.kind == RECORD_MARK)
            continue;
        if (oracle->take_entry)
            oracle->take_entry(life->promise, &entry);
        good = platter_apply(platter, &entry, data, why, sizeof(why)) &&
               try_moment(life, platter, cut++);
    }
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 ": %s\n", life->what.seed, why);
    platter_destroy(&platter);
    return good;
}

/* --- lives ----------------------------------------------------------------------------------- */

static bool make_room(struct life *life)
{
    if (!trial_make_root(life->root))
        return false;
    snprintf(life->directory, sizeof(life->directory), "%s/disk", life->root);
    snprintf(life->log_path, sizeof(life->log_path), "%s/log", life->root);
    snprintf(life->trial_path, sizeof(life->trial_path), "%s/trial", life->root);
    life->seen_room = 64 * STATES_OF_A_LIFE_MAX;
    life->seen = calloc(life->seen_room, sizeof(life->seen[0]));
    return life->seen && mkdir(life->directory, 0700) == 0;
}

static void clear(struct life *life)
{
    if (life->root[0] && !trial_remove(life->root))
        fprintf(stderr, "powerloss: %s is left\n", life->root);
    record_log_unmap(&life->log);
    if (life->promise)
        life->options->oracle->end(life->promise);
    free(life->seen);
    free(life);
}

static bool live(const struct options *options, struct totals *totals, uint64_t seed)
{
    const struct oracle *oracle = options->oracle;
    struct life *life = calloc(1, sizeof(*life));
    if (!life)
        return false;
    life->options = options;
    life->totals = totals;
    life->states_wanted =
        options->states < STATES_OF_A_LIFE_MAX ? options->states : STATES_OF_A_LIFE_MAX;
    bool good = make_room(life);
    life->what = (struct oracle_life){.directory = life->directory,
                                      .log = life->log_path,
                                      .seed = seed,
                                      .batches = options->batches,
                                      .sync = options->sync};
    good = good && oracle->record(&life->what) && record_log_map(&life->log, life->log_path) &&
           life->log.count;
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 " could not be recorded\n", seed);
    life->promise = good ? oracle->begin(&life->what) : NULL;
    good = life->promise && check_record(life) && cut_everywhere(life);
    totals->lives++;
    totals->entries += life->entries;
    clear(life);
    return good;
}

/* --- options --------------------------------------------------------------------------------- */

static unsigned ignored_by(const char *text)
{
    return strcmp(text, "sync") == 0    ? IGNORE_SYNC
           : strcmp(text, "dsync") == 0 ? IGNORE_DSYNC
           : strcmp(text, "names") == 0 ? IGNORE_NAMES
                                        : 0;
}

static bool read_options(int count, char **arguments, struct options *options)
{
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"--states", &options->states},
        {"--seconds", &options->seconds},
        {"--seed", &options->seed},
        {"--batches", &options->batches},
    };
    for (int i = 1; i < count; i++) {
        bool is_known = strcmp(arguments[i], "--expect-loss") == 0;
        options->expect_loss |= is_known;
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !is_known; k++) {
            if (strcmp(arguments[i], numbers[k].name) == 0) {
                *numbers[k].number = strtoull(value, NULL, 10);
                is_known = true;
                i++;
            }
        }
        if (!is_known && strcmp(arguments[i], "--sync") == 0)
            options->sync = value;
        else if (!is_known && strcmp(arguments[i], "--life") == 0)
            options->oracle = strcmp(value, "broker") == 0 ? &oracle_keys : &oracle_batches;
        else if (!is_known && strcmp(arguments[i], "--keep") == 0)
            options->keep = value;
        else if (!is_known && strcmp(arguments[i], "--ignore") == 0 && ignored_by(value))
            options->ignored |= ignored_by(value);
        else if (!is_known)
            return false;
        else
            continue;
        i++;
    }
    return options->batches >= 3 && options->batches <= BATCHES_MAX;
}

static int judge(const struct options *options, const struct totals *totals, double seconds)
{
    printf("%" PRIu64 " states of %" PRIu64 " lives of a %s (%" PRIu64
           " operations) in %.1f s, --sync %s:",
           states_of(totals), totals->lives, options->oracle->name, totals->entries, seconds,
           options->sync);
    for (size_t i = 0; i < TRIAL_OUTCOMES; i++)
        printf(" %" PRIu64 " %s%s", totals->outcomes[i], trial_outcome_names[i],
               i + 1 < TRIAL_OUTCOMES ? "," : "\n");
    if (options->oracle == &oracle_keys)
        printf("acknowledged and not on disk, but within what is promised: %.1f ms at most\n",
               (double)totals->loss_us_max / 1000);
    uint64_t losses = states_of(totals) - totals->outcomes[TRIAL_SAME];
    if (options->expect_loss && !losses)
        printf("a loss was expected, and none was found: the oracle proves nothing\n");
    return totals->complaints || (options->expect_loss && !losses) ? 1 : 0;
}

int main(int count, char **arguments)
{
    struct options options = {
        .oracle = &oracle_batches, .states = 2000, .seed = 1, .batches = 24, .sync = "always"};
    struct totals totals = {0};
    struct timespec began;
    struct timespec now;
    if (!read_options(count, arguments, &options))
        return EX_USAGE;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (uint64_t seed = options.seed;; seed++) {
        if (!live(&options, &totals, seed))
            return EX_SOFTWARE;
        clock_gettime(CLOCK_MONOTONIC, &now);
        bool is_over = options.seconds ? (uint64_t)(now.tv_sec - began.tv_sec) >= options.seconds
                                       : states_of(&totals) >= options.states;
        if (is_over)
            break;
    }
    double seconds =
        (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
    return judge(&options, &totals, seconds);
}
