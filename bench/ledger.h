/* ledger.h - what the workers of a measurement did, in a file that bench/run reads while they work.
 *
 * One region for each process, so that none waits for another, and for each record the number of
 * the last lease that was worked on. The rule of numbers (docs/architecture.md) lets a record go
 * out again only from the state that its last accepted report left, or a newer one: a state below
 * the last lease means that it was handed out twice. That is a `break`; no run may have one.
 *
 * Keys end in the record's number, in digits. The file is made by bench/run (bench/ledger.py knows
 * the layout too).
 */
#ifndef EVERDUE_BENCH_LEDGER_H
#define EVERDUE_BENCH_LEDGER_H

#include <everdue/worker.h>

struct ledger;

/* NULL when the file cannot be had; errno says why. */
struct ledger *ledger_open(const char *file);

/* These tasks are about to be answered, all at this moment. */
void ledger_note(struct ledger *ledger, const struct everdue_task *const *tasks, size_t count);

/* The time until a record is due again, spread over 0.1 to 1.9 of the mean by its lease. */
int64_t ledger_spread_us(double mean_s, uint64_t lease);

#endif
