#include "trial.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_MAX = 60 };

const char *const trial_outcome_names[TRIAL_OUTCOMES] = {
    [TRIAL_SAME] = "same",   [TRIAL_LOST] = "lost",       [TRIAL_REFUSED] = "refused",
    [TRIAL_WRONG] = "wrong", [TRIAL_CRASHED] = "crashed",
};

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

bool trial_make_root(char root[TRIAL_ROOT_BYTES])
{
    const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(root, TRIAL_ROOT_BYTES, "%s/everdue-power-XXXXXX", base);
    return mkdtemp(root) != NULL;
}

void trial_say_where(struct trial *trial, const char *where)
{
    char text[TRIAL_WHY_BYTES];
    snprintf(text, sizeof(text), "%.40s: %.590s", where, trial->why);
    memcpy(trial->why, text, sizeof(text));
}

/* What the child found comes back through a page that both map. */
static struct trial *shared_trial(void)
{
    static struct trial *shared;
    if (!shared) {
        shared =
            mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
            shared = NULL;
    }
    return shared;
}

static enum trial_outcome wait_for(pid_t child, struct trial *trial)
{
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        snprintf(trial->why, sizeof(trial->why), "no process for it");
        return TRIAL_CRASHED;
    }
    if (!WIFEXITED(status)) {
        snprintf(trial->why, sizeof(trial->why), "killed by signal %d", WTERMSIG(status));
        return TRIAL_CRASHED;
    }
    *trial = *shared_trial();
    return WEXITSTATUS(status) < TRIAL_OUTCOMES ? (enum trial_outcome)WEXITSTATUS(status)
                                                : TRIAL_CRASHED;
}

enum trial_outcome trial_run(struct trial *trial, const struct platter_state *state)
{
    struct trial *shared = shared_trial();
    bool is_there = access(trial->directory, F_OK) == 0;
    bool is_empty =
        (!is_there || trial_remove(trial->directory)) && mkdir(trial->directory, 0700) == 0;
    trial->why[0] = '\0';
    if (!shared || !is_empty || !platter_state_write(state, trial->directory)) {
        snprintf(trial->why, sizeof(trial->why), "the state cannot be written down");
        return TRIAL_CRASHED;
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS_MAX);
        enum trial_outcome outcome = trial->look(trial, trial->user);
        *shared = *trial;
        _exit((int)outcome);
    }
    return wait_for(child, trial);
}
