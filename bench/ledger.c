#include "ledger.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { US_PER_S = 1000000, BUCKET_US = 10, BUCKETS = 100000, PROCESSES_MAX = 16, GROUP = 32 };

/* Knuth's multiplicative hash spreads lease numbers, which only grow. */
#define SPREAD UINT64_C(2654435761)

struct region {
    uint64_t cycles;
    uint64_t breaks;
    uint64_t lateness_us_max;
    uint64_t start_us_max;
    uint64_t lateness[BUCKETS]; /* dispatch minus due; the last one holds all that is more */
    uint64_t start[BUCKETS];    /* beginning of the handler minus due */
};

struct file {
    atomic_uint_fast64_t processes;
    uint64_t records;
    struct region regions[PROCESSES_MAX];
    atomic_uint_fast64_t leases[]; /* of each record */
};

struct ledger {
    struct file *file;
    struct region *region;
};

struct ledger *ledger_open(const char *name)
{
    struct stat about;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about))
        return NULL;
    struct file *file =
        mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    struct ledger *ledger = malloc(sizeof(*ledger));
    if (file == MAP_FAILED || !ledger)
        return NULL;
    ledger->file = file;
    ledger->region = &file->regions[atomic_fetch_add(&file->processes, 1) % PROCESSES_MAX];
    return ledger;
}

static uint64_t bucket_of(int64_t us)
{
    uint64_t bucket = us > 0 ? (uint64_t)us / BUCKET_US : 0;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static void add(uint64_t *buckets, uint64_t *max, int64_t us)
{
    uint64_t late_us = us > 0 ? (uint64_t)us : 0;
    buckets[bucket_of(us)]++;
    if (late_us > *max)
        *max = late_us;
}

static uint64_t record_number(struct everdue_bytes key)
{
    const uint8_t *digits = key.data;
    uint64_t number = 0, unit = 1;
    for (size_t i = key.count; i && digits[i - 1] >= '0' && digits[i - 1] <= '9'; i--) {
        number += unit * (uint64_t)(digits[i - 1] - '0');
        unit *= 10;
    }
    return number;
}

/* What a group is about to be written to lies all over the file: it is asked for together, so that
 * the books cost the worker as little of the time that is measured as they can. */
static void fetch(const struct file *file, const struct region *region,
                  const struct everdue_task *const *tasks, size_t count, int64_t now_us,
                  uint64_t *numbers)
{
    for (size_t i = 0; i < count; i++) {
        const struct everdue_task *task = tasks[i];
        numbers[i] = record_number(task->key);
        if (numbers[i] < file->records)
            __builtin_prefetch(&file->leases[numbers[i]], 1);
        __builtin_prefetch(&region->lateness[bucket_of(task->lateness_us)], 1);
        __builtin_prefetch(&region->start[bucket_of(now_us - task->due_us)], 1);
    }
}

static void note_group(struct file *file, struct region *region,
                       const struct everdue_task *const *tasks, size_t count, int64_t now_us)
{
    uint64_t numbers[GROUP];
    fetch(file, region, tasks, count, now_us, numbers);
    for (size_t i = 0; i < count; i++) {
        const struct everdue_task *task = tasks[i];
        add(region->lateness, &region->lateness_us_max, task->lateness_us);
        add(region->start, &region->start_us_max, now_us - task->due_us);
        if (numbers[i] >= file->records ||
            atomic_exchange_explicit(&file->leases[numbers[i]], task->lease, memory_order_relaxed) >
                task->state)
            region->breaks++;
    }
}

void ledger_note(struct ledger *ledger, const struct everdue_task *const *tasks, size_t count)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_us = (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
    for (size_t i = 0; i < count; i += GROUP) {
        size_t more = count - i < GROUP ? count - i : GROUP;
        note_group(ledger->file, ledger->region, tasks + i, more, now_us);
    }
    ledger->region->cycles += count;
}

int64_t ledger_spread_us(double mean_s, uint64_t lease)
{
    uint64_t mean_us = (uint64_t)(mean_s * US_PER_S);
    return (int64_t)(mean_us / 10 + lease * SPREAD % (mean_us * 18 / 10 + 1));
}
