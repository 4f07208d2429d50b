/* log.h - structured log lines on stderr: text for people, JSON for machines.
 *
 *   log_line (LOG_WARNING, "a session was lost", "session", name, "leases", log_u64 (12), NULL);
 *   text:  2026-11-22T15:00:00.123Z everdue-broker warning a session was lost session=web1:4711
 * leases=12 json:  {"time":"...","program":"everdue-broker","level":"warning","message":"a session
 * was lost", "session":"web1:4711","leases":"12"}
 *
 * Values are escaped (control characters, quotes, invalid UTF-8), lines are cut at 4,096 bytes and
 * written with one write. Without a program's name the place of it is left out.
 * Nothing per message above LOG_DEBUG; what a peer can provoke goes through a log_limit.
 * Thread-safe. Levels are syslog's (<syslog.h>).
 */
#ifndef EVERDUE_LOG_H
#define EVERDUE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

enum log_format { LOG_TEXT, LOG_JSON };

/* Before the first line; defaults: text, LOG_INFO, standard error. */
void log_open(const char *program, enum log_format format, int level);
void log_set_level(int level);

/* `message`, then pairs of (const char *name, const char *value), then NULL. A NULL value is left
 * out with its name. */
void log_line(int level, const char *message, ...) __attribute__((sentinel));

/* A number as text for log_line. The text lives in a ring of 16 a thread: use it at once. */
const char *log_u64(uint64_t number);
const char *log_i64(int64_t number);

/* At most one line a second from one place; the caller owns it, zeroed. Returns whether to log now
 * and, in `*held_back`, how many were not since the last. */
struct log_limit {
    int64_t next_mono_us;
    uint64_t held_back;
};
bool log_limit_allows(struct log_limit *limit, int64_t mono_us, uint64_t *held_back);

#endif
