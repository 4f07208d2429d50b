/* postgres_bench - a table of jobs with FOR UPDATE SKIP LOCKED, what job queues on PostgreSQL do.
 *
 *   postgres_bench CONNECTION load RECORDS
 *   postgres_bench CONNECTION cycle RECORDS WORKERS SECONDS BATCH
 *   postgres_bench CONNECTION check RECORDS
 *
 * A lease moves `due` to its end and raises `lease`; a report is accepted if `lease` is still the
 * one it names. Both are prepared, and take whole batches. The report of a batch and the lease of
 * the next are one transaction in one round trip: one commit for each batch of cycles. CONNECTION
 * is a string of libpq; whether a commit waits for the disk is decided there (options=-c ...).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "crew.h"

enum { LEASE_BYTES = 24, PARAMETER_BYTES = CREW_BATCH_MAX * LEASE_BYTES };

static const char schema[] =
    "CREATE TABLE record (id bigint PRIMARY KEY, key text NOT NULL, payload bytea NOT NULL, "
    "due bigint NOT NULL, lease bigint NOT NULL DEFAULT 0) "
    "WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);"
    "INSERT INTO record (id, key, payload, due) SELECT id, 'rec-' || lpad(id::text, 12, '0'), "
    "decode(repeat('78', 64), 'hex'), 1 + (random() * 2 * %llu)::bigint "
    "FROM generate_series(0, %llu) AS id;"
    "CREATE INDEX record_due ON record (due); VACUUM ANALYZE record; CHECKPOINT;";

/* The batch is in the text: a LIMIT that the planner does not know makes it read the whole table.
 */
static const char lease_text[] =
    "UPDATE record SET due = 4000000000000, lease = lease + 1 FROM "
    "(SELECT id FROM record WHERE due < 4000000000000 ORDER BY due LIMIT %zu "
    "FOR UPDATE SKIP LOCKED) AS picked "
    "WHERE record.id = picked.id RETURNING record.id, record.lease, record.key, record.payload";

static const char report_text[] =
    "UPDATE record SET due = given.due FROM "
    "unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS given (id, lease, due) "
    "WHERE record.id = given.id AND record.lease = given.lease AND record.due = 4000000000000";

static PGconn *dial(const struct crew_plan *plan)
{
    PGconn *postgres = PQconnectdb(plan->address);
    if (PQstatus(postgres) != CONNECTION_OK)
        crew_fail("postgres: %s", PQerrorMessage(postgres));
    return postgres;
}

static PGresult *check_result(PGconn *postgres, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC)
        crew_fail("postgres: %s", PQerrorMessage(postgres));
    return result;
}

/* --- loading and checking --------------------------------------------------------------------- */

static void load(const struct crew_plan *plan)
{
    PGconn *postgres = dial(plan);
    char text[sizeof(schema) + 64];
    snprintf(text, sizeof(text), schema, (unsigned long long)plan->records,
             (unsigned long long)plan->records - 1);
    for (char *next = text; *next;) { /* one by one: VACUUM wants no transaction around it */
        char *end = strchr(next, ';');
        *end = 0;
        PQclear(check_result(postgres, PQexec(postgres, next)));
        next = end + 1 + strspn(end + 1, " ");
    }
    PQfinish(postgres);
}

static void check_books(const struct crew_plan *plan)
{
    PGconn *postgres = dial(plan);
    PGresult *result = check_result(
        postgres, PQexec(postgres, "SELECT count(DISTINCT key), count(*) FILTER (WHERE due >= "
                                   "4000000000000) FROM record"));
    unsigned long long there = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    unsigned long long leased = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    if (there != plan->records || leased != 0)
        crew_fail("postgres: %llu records, %llu leased", there, leased);
    PQclear(result);
    PQfinish(postgres);
}

/* --- cycles ----------------------------------------------------------------------------------- */

/* The three arrays of a report, as text. */
struct arrays {
    char text[3][PARAMETER_BYTES + 3];
    size_t count[3];
};

static void add(struct arrays *arrays, int which, const char *number)
{
    char *at = arrays->text[which];
    at[arrays->count[which]] = arrays->count[which] ? ',' : '{';
    arrays->count[which]++;
    size_t bytes = strlen(number);
    memcpy(at + arrays->count[which], number, bytes);
    arrays->count[which] += bytes;
}

static void send(PGconn *postgres, const char *name, int count, const char *const *values)
{
    if (!PQsendQueryPrepared(postgres, name, count, values, NULL, NULL, 0))
        crew_fail("postgres: %s", PQerrorMessage(postgres));
}

static void send_report(PGconn *postgres, const PGresult *tasks, struct crew_member *member,
                        uint64_t records)
{
    static struct arrays arrays;
    memset(arrays.count, 0, sizeof(arrays.count));
    for (int i = 0; i < PQntuples(tasks); i++) {
        char due[LEASE_BYTES];
        snprintf(due, sizeof(due), "%llu", (unsigned long long)crew_next_due(member, records));
        add(&arrays, 0, PQgetvalue(tasks, i, 0));
        add(&arrays, 1, PQgetvalue(tasks, i, 1));
        add(&arrays, 2, due);
    }
    for (int i = 0; i < 3; i++)
        memcpy(arrays.text[i] + arrays.count[i], "}", 2);
    const char *values[] = {arrays.text[0], arrays.text[1], arrays.text[2]};
    send(postgres, "report", 3, values);
}

/* The next result of the pipeline; each query's ends with a NULL. */
static PGresult *next_result(PGconn *postgres)
{
    PGresult *result = check_result(postgres, PQgetResult(postgres));
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC && PQgetResult(postgres))
        crew_fail("postgres: more than one result");
    return result;
}

static void end_round_trip(PGconn *postgres)
{
    PQclear(next_result(postgres));
}

static PGresult *next_tasks(PGconn *postgres, size_t batch)
{
    PGresult *tasks = next_result(postgres);
    if (PQntuples(tasks) < 1 || PQntuples(tasks) > (int)batch)
        crew_fail("postgres: %d records leased", PQntuples(tasks));
    return tasks;
}

static void check_accepted(PGconn *postgres, int count)
{
    PGresult *accepted = next_result(postgres);
    if (atoi(PQcmdTuples(accepted)) != count)
        crew_fail("postgres: %s of %d reports accepted", PQcmdTuples(accepted), count);
    PQclear(accepted);
}

static void work(struct crew_member *member, void *user)
{
    const struct crew_plan *plan = user;
    PGconn *postgres = dial(plan);
    char text[sizeof(lease_text) + LEASE_BYTES];
    snprintf(text, sizeof(text), lease_text, plan->batch);
    PQclear(check_result(postgres, PQprepare(postgres, "lease", text, 0, NULL)));
    PQclear(check_result(postgres, PQprepare(postgres, "report", report_text, 3, NULL)));
    PQenterPipelineMode(postgres);
    send(postgres, "lease", 0, NULL);
    PQpipelineSync(postgres);
    PGresult *tasks = next_tasks(postgres, plan->batch);
    end_round_trip(postgres);
    bool goes_on;
    do { /* until the time is over; the last round only reports */
        int count = PQntuples(tasks);
        goes_on = crew_goes_on(member);
        send_report(postgres, tasks, member, plan->records);
        if (goes_on)
            send(postgres, "lease", 0, NULL);
        PQpipelineSync(postgres);
        check_accepted(postgres, count);
        PQclear(tasks);
        tasks = goes_on ? next_tasks(postgres, plan->batch) : NULL;
        end_round_trip(postgres);
        if (goes_on)
            crew_count(member, (uint64_t)count);
    } while (goes_on);
    PQfinish(postgres);
}

int main(int argc, char **argv)
{
    static const struct crew_driver driver = {
        .usage = "postgres_bench CONNECTION load|cycle|check RECORDS [WORKERS SECONDS "
                 "BATCH]",
        .load = load,
        .check = check_books,
        .work = work,
    };
    return crew_main(argc, argv, &driver);
}
