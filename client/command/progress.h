/* progress.h - the line that shows how far a long command is, on a terminal only.
 *
 *   feeds.jsonl  [##################------------]  62%  186,412/300,000  198k/s  ETA 0:01  bad 0
 */
#ifndef EVERDUE_PROGRESS_H
#define EVERDUE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRESS_LINE_BYTES = 512, PROGRESS_COLUMNS_DEFAULT = 100 };

struct progress {
    const char *name; /* borrowed */
    uint64_t total;   /* 0: not known */
    int64_t begin_us; /* monotonic */
    int64_t shown_us;
    bool is_on;
};

/* Writes the line. Without a total there are no bar, share and ETA; where it is wider than
 * `columns`, the bar goes. Pure. Returns `line`. */
char *progress_format(char line[PROGRESS_LINE_BYTES], const struct progress *progress,
                      uint64_t done, uint64_t bad, int64_t elapsed_us, unsigned columns);

/* "512", "9.8k", "198k", "1.2M": about three digits. */
char *progress_rate(char room[32], double each_second);

/* `is_on`: false shows nothing ever. */
void progress_begin(struct progress *progress, const char *name, uint64_t total, int64_t now_us,
                    bool is_on);

/* Shows the line on stderr, ten times a second at most. */
void progress_show(struct progress *progress, uint64_t done, uint64_t bad, int64_t now_us);

/* Shows it for the last time and ends the line. */
void progress_end(struct progress *progress, uint64_t done, uint64_t bad, int64_t now_us);

#endif
