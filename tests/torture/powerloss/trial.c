#include "trial.h"

#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_MAX = 60, BATCHES_MORE = 3 };

const char *const trial_outcome_names[TRIAL_OUTCOMES] = {
    [TRIAL_SAME] = "same",   [TRIAL_LOST] = "lost",       [TRIAL_REFUSED] = "refused",
    [TRIAL_WRONG] = "wrong", [TRIAL_CRASHED] = "crashed",
};

/* --- the directory --------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found;
    (void)kind;
    (void)place;
    return remove(path);
}

bool trial_remove(const char *path)
{
    enum { DESCRIPTORS = 8 };
    return nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) == 0;
}

/* --- in the child ---------------------------------------------------------------------------- */

static void say_id(const struct store *store, char text[2 * STORE_ID_BYTES + 1])
{
    for (size_t i = 0; i < STORE_ID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", store->id[i]);
}

/* Puts it before what `why` says. */
static void say_where(struct trial *trial, const char *where)
{
    char text[sizeof(trial->why)];
    snprintf(text, sizeof(text), "%.40s: %.560s", where, trial->why);
    memcpy(trial->why, text, sizeof(text));
}

/* What was opened takes more, keeps it, and opens again. */
static bool take_more(struct trial *trial, struct store **store,
                      const struct store_options *options, const struct model *found)
{
    struct model *model = malloc(sizeof(*model)); /* of a process that ends soon */
    struct store_fence fence = (*store)->fence;
    char why[STORE_WHY_BYTES] = "";
    if (!model)
        return false;
    *model = *found;
    for (int i = 0; i < BATCHES_MORE; i++) {
        struct store_batch *batch = store_batch_new();
        model_step(model, batch);
        enum status status = help_commit(*store, &fence, batch);
        store_batch_destroy(&batch);
        if (status) {
            snprintf(trial->why, sizeof(trial->why), "a further batch: %s", store_why(*store));
            return false;
        }
    }
    store_destroy(store);
    if (store_open_lmdb(store, options, why, sizeof(why))) {
        snprintf(trial->why, sizeof(trial->why), "opened again: %s", why);
        return false;
    }
    if (model_equals(model, *store, trial->why, STORE_WHY_BYTES))
        return true;
    say_where(trial, "after further batches");
    return false;
}

static enum trial_outcome check_open(struct trial *trial, struct store **store,
                                     const struct store_options *options, uint64_t from,
                                     uint64_t upto)
{
    uint64_t found = (*store)->fence.sequence;
    if (found > upto) {
        snprintf(trial->why, sizeof(trial->why),
                 "batch %" PRIu64 " is there, and %" PRIu64 " was the last", found, upto);
        return TRIAL_WRONG;
    }
    const struct model *model = trial->models[found];
    if (!model_equals(model, *store, trial->why, STORE_WHY_BYTES))
        return store_why(*store)[0] ? TRIAL_REFUSED : TRIAL_WRONG;
    if (found < from) {
        snprintf(trial->why, sizeof(trial->why),
                 "batch %" PRIu64 " was acknowledged, %" PRIu64 " is the last there", from, found);
        return TRIAL_LOST;
    }
    return trial->goes_on && !take_more(trial, store, options, model) ? TRIAL_WRONG : TRIAL_SAME;
}

static enum trial_outcome try_directory(struct trial *trial, const char *name, uint64_t from,
                                        uint64_t upto, const char *id)
{
    char path[1024];
    char found_id[2 * STORE_ID_BYTES + 1];
    struct store *store = NULL;
    snprintf(path, sizeof(path), "%s/%s", trial->directory, name);
    struct store_options options = help_options(path);
    options.sync = STORE_SYNC_NEVER; /* this process is not cut off */
    options.journal_bytes_max = 1;
    trial->why[0] = '\0';
    if (store_open_lmdb(&store, &options, trial->why, STORE_WHY_BYTES))
        return trial->why[0] ? TRIAL_REFUSED : TRIAL_CRASHED;
    say_id(store, found_id);
    enum trial_outcome outcome = check_open(trial, &store, &options, from, upto);
    if (outcome == TRIAL_SAME && id[0] && strcmp(id, found_id) != 0) {
        snprintf(trial->why, sizeof(trial->why), "it is another store");
        outcome = TRIAL_LOST;
    }
    store_destroy(&store);
    say_where(trial, name);
    return outcome;
}

/* A copy that has its name is whole, also one whose making was not finished. */
static enum trial_outcome try_backup(struct trial *trial, const struct trial_promise *promise)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/backup/data.mdb", trial->directory);
    if (access(path, F_OK)) {
        snprintf(trial->why, sizeof(trial->why), "the backup is gone");
        return promise->has_backup ? TRIAL_LOST : TRIAL_SAME;
    }
    return try_directory(trial, "backup", promise->backup_from,
                         promise->has_backup ? promise->backup_upto : promise->submitted, "");
}

static enum trial_outcome try_all(struct trial *trial, const struct trial_promise *promise)
{
    enum trial_outcome outcome =
        try_directory(trial, "store", promise->acknowledged, promise->submitted, promise->id);
    return outcome ? outcome : try_backup(trial, promise);
}

/* --- in the parent --------------------------------------------------------------------------- */

/* The child's text comes back through a page that both map. */
static char *shared_text(void)
{
    static char *text;
    if (!text) {
        text = mmap(NULL, sizeof(((struct trial *)0)->why), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (text == MAP_FAILED)
            text = NULL;
    }
    return text;
}

enum trial_outcome trial_run(struct trial *trial, const struct platter_state *state,
                             const struct trial_promise *promise)
{
    int status = 0;
    char *text = shared_text();
    bool is_empty = trial_remove(trial->directory) && mkdir(trial->directory, 0700) == 0;
    if (!text || !is_empty || !platter_state_write(state, trial->directory)) {
        snprintf(trial->why, sizeof(trial->why), "the state cannot be written down");
        return TRIAL_CRASHED;
    }
    text[0] = '\0';
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS_MAX);
        enum trial_outcome outcome = try_all(trial, promise);
        memcpy(text, trial->why, sizeof(trial->why));
        _exit((int)outcome);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        snprintf(trial->why, sizeof(trial->why), "no process for it");
        return TRIAL_CRASHED;
    }
    if (!WIFEXITED(status)) {
        snprintf(trial->why, sizeof(trial->why), "killed by signal %d", WTERMSIG(status));
        return TRIAL_CRASHED;
    }
    memcpy(trial->why, text, sizeof(trial->why));
    return WEXITSTATUS(status) < TRIAL_OUTCOMES ? (enum trial_outcome)WEXITSTATUS(status)
                                                : TRIAL_CRASHED;
}
