/* worker_fixture.h - a whole worker, threads and socket, against a made-up broker that hands out
 * `tasks` records as credit allows, answers each report, and can be made to break down meanwhile.
 *
 *   struct setup setup;
 *   set_up(&setup, 3);
 *   setup.script.lease_ms = 100;                    before the worker is made
 *   struct everdue_worker *worker = worker_of(&setup);
 *   ...
 *   tear_down(&setup);
 *
 * The leases are numbered from 1 on; the key of lease 1 is "key-0".
 */
#ifndef EVERDUE_TESTS_WORKER_FIXTURE_H
#define EVERDUE_TESTS_WORKER_FIXTURE_H

#include <stdatomic.h>

#include "everdue/worker.h"
#include "fake_broker.h"

enum { FIXTURE_TASKS_MAX = 20000 };

struct work_script {
    uint32_t tasks;
    atomic_uint lease_ms;
    atomic_bool named_every; /* records with an interval */
    atomic_bool once;        /* one-shot jobs */
    atomic_int report_says;  /* for each item */
    /* Once so many reports were read, a message of them is not answered and the session is
     * forgotten; 0: never. */
    atomic_uint forget_after;
    /* So many times: a message of reports is read, accepted every second time, and not answered;
     * the broker dies and comes back. */
    atomic_uint restarts;

    /* What is known of each lease, by number. */
    bool accepted[FIXTURE_TASKS_MAX + 1];
    bool announced[FIXTURE_TASKS_MAX + 1]; /* or handed out, over this connection */
    uint32_t handed_out;
    uint32_t under_way; /* handed out, not accepted */
    atomic_uint resumed;
    atomic_uint reports;
    atomic_uint done; /* accepted, each record once */
    atomic_uint unannounced;
    atomic_uint given_back;
    atomic_uint given_back_begun;
    atomic_uint touched;
    atomic_int last_outcome;
    atomic_llong last_in_us;
};

struct setup {
    struct work_script script;
    struct fake_broker *broker;
    struct everdue_worker_options options;
    char said[256]; /* the last line of the log */
};

/* The worker's options are for "feeds", with a heartbeat of a second. */
void set_up(struct setup *setup, uint32_t tasks);
void tear_down(struct setup *setup);
struct everdue_worker *worker_of(struct setup *setup);

/* An ok that names its next time so, or not: EVERDUE_ABSENT. */
int report_in(struct everdue_worker *worker, const struct everdue_task *task, int64_t in_us);

#endif
