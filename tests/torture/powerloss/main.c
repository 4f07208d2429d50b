/* main.c - cuts the power: records the lives of a store, and opens every state that a disk could
 * have been left in, see platter.h.
 *
 *   powerloss [--states N] [--seconds S] [--seed N] [--batches N] [--sync always|never]
 *             [--ignore sync|dsync|names]... [--expect-loss] [--keep DIRECTORY]
 *
 * Ends with 0 when nothing acknowledged was lost, nothing refused and nothing else found than what
 * was stored. With --expect-loss it ends with 0 when something was lost, refused or wrong, and no
 * process died of it: an oracle that never spoke proves nothing.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "trial.h"

enum { BATCHES_MAX = 200, STATES_OF_A_LIFE = 500, GOES_ON_EACH = 8, COMPLAINTS_MAX = 10 };

struct options {
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
};

struct life {
    const struct options *options;
    struct totals *totals;
    uint64_t seed;
    char root[64]; /* of all that belongs to this life */
    char directory[80];
    char log_path[80];
    char trial_path[80];
    uint8_t *log;
    size_t log_bytes;
    uint64_t entries;
    struct model *models[BATCHES_MAX + 1];
    struct trial_promise promise;
    uint64_t *seen; /* hashes of the states of this life */
    size_t seen_room;
    uint64_t states;
};

static uint64_t states_of(const struct totals *totals)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TRIAL_OUTCOMES; i++)
        sum += totals->outcomes[i];
    return sum;
}

/* --- recording ------------------------------------------------------------------------------- */

static bool run_life(const struct life *life)
{
    char seed[32];
    char batches[32];
    int status = 0;
    snprintf(seed, sizeof(seed), "%" PRIu64, life->seed);
    snprintf(batches, sizeof(batches), "%" PRIu64, life->options->batches);
    pid_t child = fork();
    if (child == 0) {
        setenv("EVERDUE_RECORD_DIR", life->directory, 1);
        setenv("EVERDUE_RECORD_LOG", life->log_path, 1);
        setenv("LD_PRELOAD", RECORDER, 1);
        execl(LIFE_PROGRAM, LIFE_PROGRAM, life->directory, life->log_path, seed, batches,
              life->options->sync, NULL);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool map_log(struct life *life)
{
    struct stat found;
    int fd = open(life->log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) || !found.st_size)
        return false;
    life->log_bytes = (size_t)found.st_size;
    life->log = mmap(NULL, life->log_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    return life->log != MAP_FAILED;
}

/* The entry at `at`; false at the end. Entries are not aligned. */
static bool entry_at(const struct life *life, size_t *at, struct record_entry *entry,
                     const uint8_t **data)
{
    if (*at + sizeof(*entry) > life->log_bytes)
        return false;
    memcpy(entry, life->log + *at, sizeof(*entry));
    *data = life->log + *at + sizeof(*entry);
    *at += sizeof(*entry) + entry->bytes;
    return *at <= life->log_bytes;
}

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
    while (good && entry_at(life, &at, &entry, &data)) {
        good = platter_apply(platter, &entry, data, why, sizeof(why));
        life->entries += entry.kind != RECORD_MARK;
    }
    good = good && platter_choose(platter, CHOOSE_ALL, 0, &state) &&
           platter_state_is_at(&state, life->directory, why, sizeof(why));
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 ": the record is not true: %s\n", life->seed,
                why);
    platter_state_release(&state);
    platter_destroy(&platter);
    return good;
}

static bool make_models(struct life *life)
{
    struct store_batch *batch = store_batch_new();
    life->models[0] = model_new(life->seed);
    for (uint64_t i = 1; batch && i <= life->options->batches; i++) {
        life->models[i] = malloc(sizeof(struct model));
        if (!life->models[i])
            break;
        *life->models[i] = *life->models[i - 1];
        model_step(life->models[i], batch);
        store_batch_clear(batch);
    }
    store_batch_destroy(&batch);
    return life->models[life->options->batches] != NULL;
}

/* --- states ---------------------------------------------------------------------------------- */

static void take_mark(struct trial_promise *promise, const struct record_entry *entry,
                      const uint8_t *data)
{
    char text[256] = "";
    if (entry->bytes >= sizeof(text))
        return;
    memcpy(text, data, entry->bytes);
    if (sscanf(text, "submit %" SCNu64, &promise->submitted) == 1 ||
        sscanf(text, "ack %" SCNu64, &promise->acknowledged) == 1 ||
        sscanf(text, "open %32s", promise->id) == 1)
        return;
    promise->has_backup |= sscanf(text, "backup %" SCNu64 " %" SCNu64, &promise->backup_from,
                                  &promise->backup_upto) == 2;
}

/* Whether this life had the state before, with the same promise. */
static bool is_new(struct life *life, uint64_t hash)
{
    hash = (hash ^ life->promise.acknowledged * 0x9e3779b97f4a7c15u) | 1;
    size_t at = hash % life->seen_room;
    while (life->seen[at] && life->seen[at] != hash)
        at = (at + 1) % life->seen_room;
    bool found = life->seen[at] == hash;
    life->seen[at] = hash;
    return !found;
}

static void complain(struct life *life, const struct trial *trial, enum trial_outcome outcome,
                     enum platter_choice choice, uint64_t cut)
{
    bool is_meant = life->options->expect_loss && outcome != TRIAL_CRASHED;
    if (is_meant || ++life->totals->complaints > COMPLAINTS_MAX)
        return;
    printf("seed %" PRIu64 ", cut after %" PRIu64 " of %" PRIu64 " operations, %s: %s: %s\n",
           life->seed, cut, life->entries, platter_choice_names[choice],
           trial_outcome_names[outcome], trial->why);
}

static bool try_state(struct life *life, const struct platter *platter, enum platter_choice choice,
                      uint64_t cut)
{
    struct platter_state state = {0};
    struct trial trial = {
        .directory = life->trial_path,
        .models = life->models,
        .goes_on = life->states % GOES_ON_EACH == 0,
    };
    uint64_t dice = life->seed * 1000003 + cut * 8191 + life->states;
    bool good = platter_choose(platter, choice, dice, &state);
    if (good && is_new(life, platter_state_hash(&state))) {
        enum trial_outcome outcome = trial_run(&trial, &state, &life->promise);
        life->totals->outcomes[outcome]++;
        life->states++;
        if (outcome)
            complain(life, &trial, outcome, choice, cut);
        if (outcome && life->options->keep)
            good = platter_state_write(&state, life->options->keep);
    }
    platter_state_release(&state);
    return good;
}

/* The first two at every moment; the others in turn, as many as the life may have. */
static bool try_moment(struct life *life, const struct platter *platter, uint64_t cut)
{
    uint64_t wanted = STATES_OF_A_LIFE * (cut + 1) / life->entries;
    if (!try_state(life, platter, CHOOSE_NONE, cut) || !try_state(life, platter, CHOOSE_ALL, cut))
        return false;
    if (!platter_has_pending(platter))
        return true;
    for (uint64_t tries = 0; life->states < wanted && tries < 64; tries++) {
        enum platter_choice choice = (enum platter_choice)(2 + (cut + tries) % (CHOICES - 2));
        if (!try_state(life, platter, choice, cut))
            return false;
    }
    return true;
}

static bool cut_everywhere(struct life *life)
{
    struct platter *platter = platter_new(life->options->ignored);
    struct record_entry entry;
    const uint8_t *data = NULL;
    char why[512] = "no memory";
    size_t at = 0;
    uint64_t cut = 0;
    bool good = platter != NULL;
    while (good && entry_at(life, &at, &entry, &data)) {
        if (entry.kind == RECORD_MARK) {
            take_mark(&life->promise, &entry, data);
            continue;
        }
        good = platter_apply(platter, &entry, data, why, sizeof(why)) &&
               try_moment(life, platter, cut++);
    }
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 ": %s\n", life->seed, why);
    platter_destroy(&platter);
    return good;
}

/* --- lives ----------------------------------------------------------------------------------- */

static bool make_room(struct life *life)
{
    const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(life->root, sizeof(life->root), "%s/everdue-power-XXXXXX", base);
    if (!mkdtemp(life->root))
        return false;
    snprintf(life->directory, sizeof(life->directory), "%s/disk", life->root);
    snprintf(life->log_path, sizeof(life->log_path), "%s/log", life->root);
    snprintf(life->trial_path, sizeof(life->trial_path), "%s/trial", life->root);
    life->seen_room = 64 * STATES_OF_A_LIFE;
    life->seen = calloc(life->seen_room, sizeof(life->seen[0]));
    return life->seen && mkdir(life->directory, 0700) == 0 && mkdir(life->trial_path, 0700) == 0;
}

static void clear(struct life *life)
{
    if (life->root[0] && !trial_remove(life->root))
        fprintf(stderr, "powerloss: %s is left\n", life->root);
    if (life->log)
        munmap(life->log, life->log_bytes);
    for (size_t i = 0; i <= BATCHES_MAX; i++)
        free(life->models[i]);
    free(life->seen);
    free(life);
}

static bool live(const struct options *options, struct totals *totals, uint64_t seed)
{
    struct life *life = calloc(1, sizeof(*life));
    if (!life)
        return false;
    life->options = options;
    life->totals = totals;
    life->seed = seed;
    bool good = make_room(life) && run_life(life) && map_log(life);
    if (!good)
        fprintf(stderr, "powerloss: seed %" PRIu64 " could not be recorded\n", seed);
    good = good && make_models(life) && check_record(life) && cut_everywhere(life);
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
    printf("%" PRIu64 " states of %" PRIu64 " lives (%" PRIu64 " operations) in %.1f s, --sync %s:",
           states_of(totals), totals->lives, totals->entries, seconds, options->sync);
    for (size_t i = 0; i < TRIAL_OUTCOMES; i++)
        printf(" %" PRIu64 " %s%s", totals->outcomes[i], trial_outcome_names[i],
               i + 1 < TRIAL_OUTCOMES ? "," : "\n");
    uint64_t losses = states_of(totals) - totals->outcomes[TRIAL_SAME];
    if (options->expect_loss && !losses)
        printf("a loss was expected, and none was found: the oracle proves nothing\n");
    return totals->complaints || (options->expect_loss && !losses) ? 1 : 0;
}

int main(int count, char **arguments)
{
    struct options options = {.states = 2000, .seed = 1, .batches = 24, .sync = "always"};
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
