/* command.h - the command line behind `--`, made ready for one task after the other.
 *
 * `{key}` is replaced where it is a whole argument. The environment is ours without what an outer
 * worker left there, plus EVERDUE_TASK_*. launch.h starts it.
 */
#ifndef EVERDUE_WORKER_COMMAND_H
#define EVERDUE_WORKER_COMMAND_H

#include "launch.h"

#include <everdue/worker.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { COMMAND_VARIABLES = 9, COMMAND_VALUES_BYTES = 8192 };

struct command {
    char **arguments;   /* with the key filled in */
    char **environment; /* the base, then the task's variables, then NULL */
    size_t base_count;
    bool key_could_be_option; /* a {key} has no -- before it */
    struct launch launch;
    char key[1025]; /* of the task */
    char values[COMMAND_VALUES_BYTES];
};

/* `arguments` is borrowed, terminated by NULL. False: no memory. */
bool command_init(struct command *command, char *const *arguments);
void command_release(struct command *command);

/* Whether this key must not be filled in: it could be taken for an option. */
bool command_refuses(const struct command *command, struct everdue_bytes key);

/* Fill in a task; valid until the next. `mono_us`: now. */
void command_fill(struct command *command, const struct everdue_task *task, int64_t mono_us);

/* Start it with these for standard input, output and error. Returns 0 and `*pid`, or an errno: the
 * command could not be executed at all. The process group's id is `*pid`. */
int command_start(struct command *command, const int streams[3], pid_t *pid);

/* Whether an errno of command_start is a lack of processes, memory or files, which passes. */
bool command_error_passes(int error);

#endif
