/* exec_run.h - one command for one record: its process, its three streams, its end.
 *
 *   IDLE --start--> RUNNING --deadline, cancelled--> ENDING (TERM, then KILL) --waitpid--> IDLE
 *                      |                                                         ^
 *                      +---------------------------------------------------------+
 *
 * Standard input is the payload or the task. Of standard output the first 64 KiB are kept; a
 * command that starts another one in the background does not hold up its own end: when the process
 * ends, what is in the pipes is read and they are closed. Standard error goes to the log line by
 * line.
 */
#ifndef EVERDUE_WORKER_EXEC_RUN_H
#define EVERDUE_WORKER_EXEC_RUN_H

#include "command.h"
#include "exit_map.h"
#include "handler.h"
#include "lines.h"
#include "result_json.h"
#include "streams.h"
#include "text.h"

enum { EXEC_OUTPUT_BYTES_MAX = 65536, EXEC_LINE_BYTES_MAX = 1024 };

/* What ended a run that did not end by itself. */
enum exec_end { EXEC_END_ITSELF, EXEC_END_TIMED_OUT, EXEC_END_CANCELLED };

struct exec_run {
    struct claim claim; /* task NULL: idle */
    pid_t pid;
    struct streams streams;
    enum exec_end end;
    int64_t deadline_mono_us; /* of the next signal */
    int64_t kill_after_us;
    bool is_terminated; /* TERM was sent, KILL is next */
    struct text input;
    size_t input_done;
    struct text output;
    bool output_is_cut;
    struct lines error_lines;
    char last_error[256]; /* last line of stderr, "" */
    char note[NOTE_BYTES_MAX + 1];
    char error[NOTE_BYTES_MAX + 1];
};

void exec_run_init(struct exec_run *run);
void exec_run_release(struct exec_run *run);

/* Start the command for a claimed task. Returns 0, or an errno: nothing runs and the claim is still
 * the caller's. `now_us` is monotonic. */
int exec_run_start(struct exec_run *run, struct command *command, const struct options *options,
                   struct claim claim, int64_t now_us);

/* The stream (0 to 2) is ready, or may be. */
void exec_run_stream(struct exec_run *run, int stream);

/* Send what is due: TERM, later KILL, to the process group. */
void exec_run_signal(struct exec_run *run, enum exec_end why, int64_t now_us);

/* KILL at once. */
void exec_run_kill(struct exec_run *run);

/* The process has ended: take what is left in its streams, close them, and say what the run came
 * to. `result` borrows from the run and `answer` until the next call of either. */
enum exit_verdict exec_run_finish(struct exec_run *run, int wait_status,
                                  const struct options *options, struct result_json *answer,
                                  struct everdue_result *result);

#endif
