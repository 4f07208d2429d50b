/* When leases end.
 *
 * Nearly all leases are of one length, and so end in the order in which they began: those stand in
 * a line, linked from one to the next, where nothing is compared or moved. What would stand before
 * another that is in it goes to a heap. The end of the line counts on when its last lease has gone,
 * until nothing is left in line and heap: so no lease of the heap is followed by one of the line
 * that ends at the same time, and equal ends keep their order.
 */
#include "sched_internal.h"

static void line_append(struct sched *sched, uint32_t id)
{
    struct lease_line *line = &sched->lease_line;
    struct lease *lease = lease_at(sched, id);
    lease->is_in_line = true;
    lease->later = SLAB_NONE;
    lease->sooner = line->last;
    if (line->last == SLAB_NONE)
        line->first = id;
    else
        lease_at(sched, line->last)->later = id;
    line->last = id;
    line->count++;
}

static void line_remove(struct sched *sched, uint32_t id)
{
    struct lease_line *line = &sched->lease_line;
    struct lease *lease = lease_at(sched, id);
    lease->is_in_line = false;
    if (lease->sooner == SLAB_NONE)
        line->first = lease->later;
    else
        lease_at(sched, lease->sooner)->later = lease->later;
    if (lease->later == SLAB_NONE)
        line->last = lease->sooner;
    else
        lease_at(sched, lease->later)->sooner = lease->sooner;
    line->count--;
}

void ends_init(struct sched *sched)
{
    heap_init(&sched->lease_ends, &sched->leases, &sched->chunks);
    sched->lease_line = (struct lease_line){.first = SLAB_NONE, .last = SLAB_NONE};
}

uint32_t ends_count(const struct sched *sched)
{
    return sched->lease_line.count + sched->lease_ends.count;
}

bool ends_reserve(struct sched *sched, uint32_t count)
{
    return heap_reserve(&sched->lease_ends, ends_count(sched) + count);
}

void ends_add(struct sched *sched, uint32_t id, int64_t end_mono_us)
{
    struct lease_line *line = &sched->lease_line;
    if (!ends_count(sched))
        line->end_mono_us = end_mono_us;
    lease_at(sched, id)->end_mono_us = end_mono_us;
    if (end_mono_us < line->end_mono_us) {
        heap_push(&sched->lease_ends, id, end_mono_us);
        return;
    }
    line->end_mono_us = end_mono_us;
    line_append(sched, id);
}

void ends_remove(struct sched *sched, uint32_t id)
{
    if (lease_at(sched, id)->is_in_line)
        line_remove(sched, id);
    else
        heap_remove(&sched->lease_ends, id);
}

void ends_move(struct sched *sched, uint32_t id, int64_t end_mono_us)
{
    ends_remove(sched, id);
    ends_add(sched, id, end_mono_us);
}

static int64_t line_first_mono_us(const struct sched *sched)
{
    uint32_t id = sched->lease_line.first;
    return id == SLAB_NONE ? TIME_US_NEVER : lease_at(sched, id)->end_mono_us;
}

int64_t ends_first_mono_us(const struct sched *sched)
{
    int64_t line_us = line_first_mono_us(sched), heap_us = heap_first_time(&sched->lease_ends);
    return line_us < heap_us ? line_us : heap_us;
}

uint32_t ends_first(const struct sched *sched)
{
    bool is_in_line = line_first_mono_us(sched) <= heap_first_time(&sched->lease_ends);
    return is_in_line ? sched->lease_line.first : heap_first(&sched->lease_ends);
}

bool ends_check(const struct sched *sched, uint32_t *chunk_count, const char **what)
{
    const struct lease_line *line = &sched->lease_line;
    int64_t before_us = 0;
    uint32_t before = SLAB_NONE, count = 0;
    for (uint32_t id = line->first; id != SLAB_NONE; id = lease_at(sched, id)->later) {
        const struct lease *lease = lease_at(sched, id);
        *what = "a lease stands in the line where it does not belong";
        if (!lease->is_in_line || lease->sooner != before || lease->end_mono_us < before_us)
            return false;
        before = id;
        before_us = lease->end_mono_us;
        count++;
    }
    *what = "the line of leases is not what its ends and its count say";
    if (line->last != before || line->count != count || before_us > line->end_mono_us)
        return false;
    return heap_check(&sched->lease_ends, chunk_count, what);
}
