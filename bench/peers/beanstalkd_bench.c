/* beanstalkd_bench - reserve and release against a beanstalkd, pipelined.
 *
 *   beanstalkd_bench PORT load RECORDS
 *   beanstalkd_bench PORT cycle RECORDS WORKERS SECONDS PIPELINE
 *   beanstalkd_bench PORT check RECORDS
 *
 * A release with delay 0 and a new priority is the re-push: beanstalkd's delays are whole seconds,
 * and its ready jobs are a heap by priority. The releases of a batch and the reserves of the next
 * travel together.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crew.h"

enum { LOAD_BATCH = 100, BUFFER_BYTES = 1 << 20, PAYLOAD_BYTES = 64 };

struct peer {
    int fd;
    size_t out_count, in_start, in_end;
    char out[BUFFER_BYTES], in[BUFFER_BYTES];
};

static struct peer *dial(const struct crew_plan *plan)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(plan->address)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct peer *peer = calloc(1, sizeof(*peer));
    int one = 1;
    if (!peer || (peer->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 ||
        connect(peer->fd, (struct sockaddr *)&to, sizeof(to)))
        crew_fail("beanstalkd: cannot connect");
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return peer;
}

static void hang_up(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

static void flush(struct peer *peer)
{
    for (size_t sent = 0; sent < peer->out_count;) {
        ssize_t count = write(peer->fd, peer->out + sent, peer->out_count - sent);
        if (count <= 0)
            crew_fail("beanstalkd: cannot write");
        sent += (size_t)count;
    }
    peer->out_count = 0;
}

static void fill(struct peer *peer)
{
    memmove(peer->in, peer->in + peer->in_start, peer->in_end - peer->in_start);
    peer->in_end -= peer->in_start;
    peer->in_start = 0;
    ssize_t count = read(peer->fd, peer->in + peer->in_end, BUFFER_BYTES - peer->in_end);
    if (count <= 0)
        crew_fail("beanstalkd: cannot read");
    peer->in_end += (size_t)count;
}

/* The next line, ended with a 0; borrowed until the next call. */
static char *next_line(struct peer *peer)
{
    char *end;
    while (!(end = memmem(peer->in + peer->in_start, peer->in_end - peer->in_start, "\r\n", 2)))
        fill(peer);
    char *line = peer->in + peer->in_start;
    *end = 0;
    peer->in_start = (size_t)(end + 2 - peer->in);
    return line;
}

static void skip(struct peer *peer, size_t bytes)
{
    while (peer->in_end - peer->in_start < bytes)
        fill(peer);
    peer->in_start += bytes;
}

static void expect(struct peer *peer, const char *wanted)
{
    const char *line = next_line(peer);
    if (strncmp(line, wanted, strlen(wanted)) != 0)
        crew_fail("beanstalkd: %s instead of %s", line, wanted);
}

static void load(const struct crew_plan *plan)
{
    struct peer *peer = dial(plan);
    struct crew_member member = {.workers = 1, .random = 88172645463325252u};
    char payload[PAYLOAD_BYTES + 1];
    memset(payload, 'x', PAYLOAD_BYTES);
    payload[PAYLOAD_BYTES] = 0;
    for (uint64_t done = 0; done < plan->records;) {
        uint64_t sent = 0;
        for (; sent < LOAD_BATCH && done + sent < plan->records; sent++)
            peer->out_count += (size_t)sprintf(
                peer->out + peer->out_count, "put %u 0 300 %d\r\n%s\r\n",
                (unsigned)crew_next_due(&member, plan->records), PAYLOAD_BYTES, payload);
        flush(peer);
        for (uint64_t i = 0; i < sent; i++)
            expect(peer, "INSERTED");
        done += sent;
    }
    hang_up(peer);
}

/* --- cycles ----------------------------------------------------------------------------------- */

static void send_reserves(struct peer *peer, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peer->out_count += (size_t)sprintf(peer->out + peer->out_count, "reserve\r\n");
    flush(peer);
}

static void read_jobs(struct peer *peer, unsigned long *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned long bytes;
        const char *line = next_line(peer);
        if (sscanf(line, "RESERVED %lu %lu", &ids[i], &bytes) != 2 || bytes != PAYLOAD_BYTES)
            crew_fail("beanstalkd: %s instead of a job", line);
        skip(peer, bytes + 2);
    }
}

static void add_releases(struct peer *peer, const unsigned long *ids, struct crew_member *member,
                         const struct crew_plan *plan)
{
    for (size_t i = 0; i < plan->batch; i++)
        peer->out_count += (size_t)sprintf(peer->out + peer->out_count, "release %lu %u 0\r\n",
                                           ids[i], (unsigned)crew_next_due(member, plan->records));
}

static void work(struct crew_member *member, void *user)
{
    const struct crew_plan *plan = user;
    struct peer *peer = dial(plan);
    unsigned long ids[CREW_BATCH_MAX];
    send_reserves(peer, plan->batch);
    read_jobs(peer, ids, plan->batch);
    while (crew_goes_on(member)) {
        add_releases(peer, ids, member, plan);
        send_reserves(peer, plan->batch);
        for (size_t i = 0; i < plan->batch; i++)
            expect(peer, "RELEASED");
        crew_count(member, plan->batch);
        read_jobs(peer, ids, plan->batch);
    }
    add_releases(peer, ids, member, plan);
    flush(peer);
    for (size_t i = 0; i < plan->batch; i++)
        expect(peer, "RELEASED");
    hang_up(peer);
}

/* All jobs are there and ready, none is reserved. */
static void check_books(const struct crew_plan *plan)
{
    struct peer *peer = dial(plan);
    unsigned long bytes, ready = 0, reserved = 1;
    peer->out_count = (size_t)sprintf(peer->out, "stats\r\n");
    flush(peer);
    if (sscanf(next_line(peer), "OK %lu", &bytes) != 1)
        crew_fail("beanstalkd: no stats");
    while (peer->in_end - peer->in_start < bytes)
        fill(peer);
    peer->in[peer->in_start + bytes - 1] = 0;
    const char *text = peer->in + peer->in_start;
    const char *ready_at = strstr(text, "current-jobs-ready: ");
    const char *reserved_at = strstr(text, "current-jobs-reserved: ");
    if (!ready_at || !reserved_at || sscanf(ready_at, "%*s %lu", &ready) != 1 ||
        sscanf(reserved_at, "%*s %lu", &reserved) != 1 || ready != plan->records || reserved != 0)
        crew_fail("beanstalkd: %lu jobs ready and %lu reserved", ready, reserved);
    hang_up(peer);
}

int main(int argc, char **argv)
{
    static const struct crew_driver driver = {
        .usage = "beanstalkd_bench PORT load|cycle|check RECORDS [WORKERS SECONDS "
                 "PIPELINE]",
        .load = load,
        .check = check_books,
        .work = work,
    };
    return crew_main(argc, argv, &driver);
}
