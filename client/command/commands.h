/* commands.h - the subcommands of `everdue`, one function each. They parse their own arguments
 * (argv[0] is "everdue NAME") and return an exit code. main.c has the table. */
#ifndef EVERDUE_COMMANDS_H
#define EVERDUE_COMMANDS_H

#include "context.h"

typedef int command_function(struct context *context, int argc, char **argv);

/* start.c */
command_function command_run, command_dev;
/* dev.c: what `dev` gives to its workers */
command_function command_dev_handler;
/* records.c */
command_function command_put, command_get, command_rm, command_run_now, command_kick;
/* sync.c, sets.c */
command_function command_sync, command_export, command_list, command_peek, command_backup;
/* hand.c */
command_function command_take, command_report;
/* look.c */
command_function command_stats, command_stat, command_status, command_workers, command_queues;
/* control.c */
command_function command_pause, command_resume, command_drain, command_ping;
/* keygen.c */
command_function command_keygen;

#endif
