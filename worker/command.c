#include "command.h"

#include "moment.h"
#include "quantity.h"
#include "utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMO_VARIABLE_BYTES_MAX = 4096 };

static const char key_mark[] = "{key}";
static const char prefix[] = "EVERDUE_TASK_";

static void copy_environment(struct command *command)
{
    for (char **entry = environ; *entry; entry++) {
        if (strncmp(*entry, prefix, sizeof prefix - 1) != 0)
            command->environment[command->base_count++] = *entry;
    }
}

bool command_init(struct command *command, char *const *arguments)
{
    size_t count = 0;
    size_t variables = 0;
    bool guarded = false;

    *command = (struct command){0};
    while (arguments[count]) {
        if (strcmp(arguments[count], "--") == 0)
            guarded = true;
        else if (strcmp(arguments[count], key_mark) == 0 && !guarded)
            command->key_could_be_option = true;
        count++;
    }
    while (environ[variables])
        variables++;
    launch_init(&command->launch, arguments[0]);
    command->arguments = calloc(count + 1, sizeof *command->arguments);
    command->environment = calloc(variables + COMMAND_VARIABLES + 1, sizeof *command->environment);
    if (command->arguments == NULL || command->environment == NULL) {
        command_release(command);
        return false;
    }
    copy_environment(command);
    for (size_t i = 0; i < count; i++)
        command->arguments[i] = strcmp(arguments[i], key_mark) ? arguments[i] : command->key;
    return true;
}

void command_release(struct command *command)
{
    launch_release(&command->launch);
    free(command->arguments);
    free(command->environment);
    command->arguments = command->environment = NULL;
}

bool command_refuses(const struct command *command, struct everdue_bytes key)
{
    return command->key_could_be_option && key.count && *(const char *)key.data == '-';
}

/* --- a task's variables ----------------------------------------------------------------------- */

struct variables {
    struct command *command;
    size_t count;
    size_t used; /* of command->values */
};

/* The texts fit: the longest are a memo of 4 KiB, a key of 1 KiB and a group of 255 bytes. */
static void add_variable(struct variables *variables, const char *name, struct everdue_bytes value)
{
    struct command *command = variables->command;
    char *entry = command->values + variables->used;
    size_t room = sizeof command->values - variables->used;
    int count = snprintf(entry, room, "%s%s=%.*s", prefix, name, (int)value.count,
                         value.count ? (const char *)value.data : "");

    assert(count >= 0 && (size_t)count < room);
    assert(variables->count < COMMAND_VARIABLES);
    variables->used += (size_t)count + 1;
    command->environment[command->base_count + variables->count++] = entry;
}

static void add_number(struct variables *variables, const char *name, int64_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64, number);
    add_variable(variables, name, everdue_text(text));
}

static struct everdue_bytes cut(struct everdue_bytes bytes, size_t count_max)
{
    return (struct everdue_bytes){bytes.data, bytes.count < count_max ? bytes.count : count_max};
}

void command_fill(struct command *command, const struct everdue_task *task, int64_t mono_us)
{
    struct variables variables = {.command = command};
    struct everdue_bytes key = cut(task->key, sizeof command->key - 1);
    int64_t left_us = task->deadline_mono_us - mono_us;
    char due[QUANTITY_TEXT_BYTES];

    if (key.count)
        memcpy(command->key, key.data, key.count);
    command->key[key.count] = '\0';
    add_variable(&variables, "KEY", key);
    add_variable(&variables, "QUEUE", cut(everdue_text(task->queue), 255));
    add_variable(&variables, "GROUP", cut(task->group, 255));
    add_variable(&variables, "DUE", everdue_text(time_format(task->due_us, 6, due)));
    add_number(&variables, "LEASE", (int64_t)task->lease);
    add_number(&variables, "LATENESS_MS", task->lateness_us / US_PER_MS);
    add_number(&variables, "FAILURES", task->failures);
    add_number(&variables, "DEADLINE_MS", left_us > 0 ? left_us / US_PER_MS : 0);
    if (task->memo.data && task->memo.count <= MEMO_VARIABLE_BYTES_MAX &&
        utf8_check(task->memo.data, task->memo.count))
        add_variable(&variables, "MEMO", task->memo);
    command->environment[command->base_count + variables.count] = NULL;
}

/* --- starting --------------------------------------------------------------------------------- */

int command_start(struct command *command, const int streams[3], pid_t *pid)
{
    return launch_start(&command->launch, command->arguments, command->environment, streams, pid);
}

bool command_error_passes(int error)
{
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}
