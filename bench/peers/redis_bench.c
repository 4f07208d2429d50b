/* redis_bench - the scheduler that people write with Redis: sorted sets, and Lua for the steps.
 *
 *   redis_bench HOST:PORT load RECORDS
 *   redis_bench HOST:PORT cycle RECORDS WORKERS SECONDS BATCH
 *   redis_bench HOST:PORT check RECORDS
 *
 * `due` orders record ids by due time, `lease` those that are out by the end of their lease,
 * `payload` holds the bodies. One script leases BATCH records, one takes BATCH reports. The report
 * of a batch and the lease of the next travel in one round trip. BATCH is 1,000 at most: Lua's
 * unpack.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "crew.h"

enum { LOAD_BATCH = 500, ID_BYTES = 16 };

/* KEYS due, lease, payload; ARGV batch, end of the lease. Several members in one command. */
static const char lease_script[] =
    "local ids = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1) "
    "if #ids == 0 then return {ids, ids} end "
    "local leases = {} "
    "for i = 1, #ids do leases[2 * i - 1] = ARGV[2]; leases[2 * i] = ids[i] end "
    "redis.call('ZREM', KEYS[1], unpack(ids)) "
    "redis.call('ZADD', KEYS[2], unpack(leases)) "
    "return {ids, redis.call('HMGET', KEYS[3], unpack(ids))}";

/* KEYS due, lease; ARGV id, new due, id, new due ... Returns how many were accepted. */
static const char report_script[] =
    "local accepted, dues = 0, {} "
    "for i = 1, #ARGV, 2 do if redis.call('ZREM', KEYS[2], ARGV[i]) == 1 then "
    "accepted = accepted + 1; dues[2 * accepted - 1] = ARGV[i + 1]; dues[2 * accepted] = ARGV[i] "
    "end end "
    "if accepted > 0 then redis.call('ZADD', KEYS[1], unpack(dues)) end "
    "return accepted";

struct scripts {
    char lease[41], report[41];
};

static redisContext *dial(const struct crew_plan *plan)
{
    char host[64];
    int port;
    if (sscanf(plan->address, "%63[^:]:%d", host, &port) != 2)
        crew_fail("%s: not HOST:PORT", plan->address);
    redisContext *redis = redisConnect(host, port);
    if (!redis || redis->err)
        crew_fail("redis: %s", redis ? redis->errstr : "out of memory");
    return redis;
}

static redisReply *check_reply(redisContext *redis, redisReply *reply)
{
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        crew_fail("redis: %s", reply ? reply->str : redis->errstr);
    return reply;
}

static redisReply *next_reply(redisContext *redis)
{
    void *reply = NULL;
    redisGetReply(redis, &reply);
    return check_reply(redis, reply);
}

static void load_script(redisContext *redis, const char *text, char *sha)
{
    redisReply *reply = check_reply(redis, redisCommand(redis, "SCRIPT LOAD %s", text));
    snprintf(sha, 41, "%s", reply->str);
    freeReplyObject(reply);
}

static void load(const struct crew_plan *plan)
{
    redisContext *redis = dial(plan);
    struct crew_member member = {.workers = 1, .random = 88172645463325252u};
    char payload[65];
    memset(payload, 'x', 64);
    payload[64] = 0;
    for (uint64_t done = 0; done < plan->records;) {
        uint64_t sent = 0;
        for (; sent < LOAD_BATCH && done + sent < plan->records; sent++) {
            unsigned long long id = done + sent;
            unsigned long long due = crew_next_due(&member, plan->records);
            redisAppendCommand(redis, "ZADD due %llu rec-%012llu", due, id);
            redisAppendCommand(redis, "HSET payload rec-%012llu %s", id, payload);
        }
        for (uint64_t i = 0; i < 2 * sent; i++)
            freeReplyObject(next_reply(redis));
        done += sent;
    }
    redisFree(redis);
}

/* --- cycles ----------------------------------------------------------------------------------- */

static void send_lease(redisContext *redis, const struct scripts *scripts,
                       const struct crew_plan *plan)
{
    redisAppendCommand(redis, "EVALSHA %s 3 due lease payload %d 60000000000", scripts->lease,
                       (int)plan->batch);
}

static void send_report(redisContext *redis, const struct scripts *scripts, const redisReply *ids,
                        struct crew_member *member, uint64_t records)
{
    static const char *words[2 * CREW_BATCH_MAX + 5];
    static size_t lengths[2 * CREW_BATCH_MAX + 5];
    static char dues[CREW_BATCH_MAX][24];
    const char *const head[] = {"EVALSHA", scripts->report, "2", "due", "lease"};
    size_t count = 0;
    for (; count < 5; count++) {
        words[count] = head[count];
        lengths[count] = strlen(head[count]);
    }
    for (size_t i = 0; i < ids->elements; i++) {
        words[count] = ids->element[i]->str;
        lengths[count++] = ids->element[i]->len;
        words[count] = dues[i];
        lengths[count++] = (size_t)snprintf(dues[i], sizeof(dues[i]), "%llu",
                                            (unsigned long long)crew_next_due(member, records));
    }
    redisAppendCommandArgv(redis, (int)count, words, lengths);
}

static size_t check_task(const redisReply *task)
{
    if (task->type != REDIS_REPLY_ARRAY || task->elements != 2 ||
        task->element[0]->elements != task->element[1]->elements)
        crew_fail("redis: not a lease");
    for (size_t i = 0; i < task->element[0]->elements; i++)
        if (task->element[0]->element[i]->len != ID_BYTES ||
            task->element[1]->element[i]->len != 64)
            crew_fail("redis: a record without its payload");
    return task->element[0]->elements;
}

static void work(struct crew_member *member, void *user)
{
    const struct crew_plan *plan = user;
    redisContext *redis = dial(plan);
    struct scripts scripts;
    load_script(redis, lease_script, scripts.lease);
    load_script(redis, report_script, scripts.report);
    send_lease(redis, &scripts, plan);
    redisReply *task = next_reply(redis);
    bool goes_on = crew_goes_on(member);
    while (goes_on) {
        size_t count = check_task(task);
        send_report(redis, &scripts, task->element[0], member, plan->records);
        send_lease(redis, &scripts, plan);
        redisReply *accepted = next_reply(redis);
        if (accepted->type != REDIS_REPLY_INTEGER || accepted->integer != (long long)count)
            crew_fail("redis: %lld of %zu reports accepted", accepted->integer, count);
        freeReplyObject(accepted);
        freeReplyObject(task);
        task = next_reply(redis);
        crew_count(member, count);
        goes_on = crew_goes_on(member);
    }
    check_task(task);
    send_report(redis, &scripts, task->element[0], member, plan->records);
    freeReplyObject(next_reply(redis));
    freeReplyObject(task);
    redisFree(redis);
}

/* All records are there, each once, and none is out. */
static void check_books(const struct crew_plan *plan)
{
    redisContext *redis = dial(plan);
    redisReply *due = check_reply(redis, redisCommand(redis, "ZCARD due"));
    redisReply *lease = check_reply(redis, redisCommand(redis, "ZCARD lease"));
    if (due->integer != (long long)plan->records || lease->integer != 0)
        crew_fail("redis: %lld records due and %lld leased", due->integer, lease->integer);
    freeReplyObject(due);
    freeReplyObject(lease);
    redisFree(redis);
}

int main(int argc, char **argv)
{
    static const struct crew_driver driver = {
        .usage = "redis_bench HOST:PORT load|cycle|check RECORDS [WORKERS SECONDS "
                 "BATCH]",
        .load = load,
        .check = check_books,
        .work = work,
    };
    return crew_main(argc, argv, &driver);
}
