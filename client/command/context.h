/* context.h - what every subcommand is given: where the broker is, how to print, and the client.
 *
 *   main: flags, environment --> struct context --> subcommand: argp, context_open, client, exit
 * code
 *
 * A subcommand returns its exit code (sysexits.h). Data goes to stdout, talk to stderr.
 */
#ifndef EVERDUE_CONTEXT_H
#define EVERDUE_CONTEXT_H

#include <argp.h>
#include <stdint.h>

#include "everdue/client.h"
#include "output.h"
#include "text.h"

/* The answer is no: not found, nothing due, a prune that was refused. */
enum { EXIT_NO = 1 };

struct context {
    const char *endpoint;
    const char *queue; /* NULL: not given */
    const char *curve_server_key;
    const char *curve_key_file;
    enum output_format format;
    struct everdue_client *client; /* NULL until context_open */
};

/* Fills in the defaults: environment, then built in. */
void context_init(struct context *context);
void context_release(struct context *context);

/* The queue to work on, "default" unless one was given. */
const char *context_queue(const struct context *context);

/* --- flags ------------------------------------------------------------------------------------ */

/* -e, -o; and with -q, whose default is "default", or all queues. Their input is the context. */
extern const struct argp_child context_children[];
extern const struct argp_child context_queue_children[];
extern const struct argp_child context_queue_or_all_children[];
extern const struct argp context_argp;

/* In ARGP_KEY_INIT: hand the context to the children. */
void context_give(struct argp_state *state, struct context *context);

/* Parsers for flags and arguments: what is wrong ends the program with 64 and a text that names
 * `what`. */
int64_t context_duration(struct argp_state *state, const char *what, const char *text);
int64_t context_time(struct argp_state *state, const char *what, const char *text);
int64_t context_whole(struct argp_state *state, const char *what, const char *text, int64_t least,
                      int64_t most);
const char *context_queue_name(struct argp_state *state, const char *text);
struct everdue_bytes context_key(struct argp_state *state, const char *text);

/* --- the broker ------------------------------------------------------------------------------- */

/* Opens the client; `queues` (NULL-terminated, or NULL) are those that will be taken from. Returns
 * 0 or an exit code, having said why. */
int context_open(struct context *context, const char *const *queues);

/* Meets the broker before a call that may take long, so that one that is not there is noticed at
 * once. Returns 0 or an exit code, having said why. */
int context_meet(struct context *context);

/* Lets the calls that follow take this long and the usual time on top. */
void context_set_wait(struct context *context, int64_t wait_us);

/* Says that `what` came to a negative status, and returns the exit code. */
int context_fail(struct context *context, int status, const char *what);

/* Says why a file of a pair of keys cannot be used (certificate_read's status; of IO, errno too),
 * and returns the exit code. */
int context_fail_key(const char *file, int status);

/* The exit code of a status; 0 for those that are successes. */
int context_exit_code(int status);

/* Adds standard input to an empty text, at most `bytes_max` of it. Returns 0 or an exit code,
 * having said why. */
int context_read_stdin(struct text *text, size_t bytes_max);

/* "everdue: ..." on stderr. */
void context_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
