/* sync_summary.h - what a sync came to, in one line.
 *
 *   synced 300,000 records in 1.5 s: +12,431 new, ~803 changed, =286,766 unchanged, 0 rejected, 210
 *   not in the file (kept; --prune removes)
 */
#ifndef EVERDUE_SYNC_SUMMARY_H
#define EVERDUE_SYNC_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "everdue/client.h"
#include "text.h"

struct sync_summary {
    struct everdue_sync_result counts;
    uint64_t records;  /* lines that were good */
    uint64_t rejected; /* that could not be read, or the broker refused */
    int64_t took_us;
    bool is_dry_run;
    bool is_prune;
};

void sync_summary_write(struct text *text, const struct sync_summary *summary);
void sync_summary_write_json(struct text *text, const struct sync_summary *summary);

#endif
