#include "run.h"

#include <assert.h>
#include <stdlib.h>

enum {
    FIRST_ROOM = 4,                             /* segments */
    GAPS_ALLOWED = 1 << SEGMENT_BITS_OR(12, 2), /* a short run is never sparse */
    LENGTH_BITS_MAX = 30, /* so that indices can be compared after they began anew */
};

void run_release(struct run *run)
{
    for (uint32_t i = 0; i < run->segment_room; i++)
        free(run->segments[i]);
    free(run->segments);
    free(run->spare);
    *run = (struct run){.segments = NULL};
}

static uint32_t length(const struct run *run)
{
    return run->end - run->begin;
}

static struct heap_node **segment_at(const struct run *run, uint32_t index)
{
    return &run->segments[index >> RUN_SEGMENT_BITS & (run->segment_room - 1)];
}

static struct heap_node *node_at(const struct run *run, uint32_t index)
{
    return &(*segment_at(run, index))[index & (RUN_SEGMENT_NODES - 1)];
}

static bool is_gap(const struct run *run, uint32_t index)
{
    return node_is_gap(*node_at(run, index));
}

/* --- room ------------------------------------------------------------------------------------- */

/* Twice as many, each at the place that its indices have then. */
static bool widen(struct run *run)
{
    uint32_t room = run->segment_room ? run->segment_room * 2 : FIRST_ROOM;
    struct heap_node **segments = calloc(room, sizeof(struct heap_node *));
    if (!segments)
        return false;
    uint32_t first = run->begin >> RUN_SEGMENT_BITS;
    for (uint32_t i = 0; i < run->segment_room; i++)
        segments[(first + i) & (room - 1)] = run->segments[(first + i) & (run->segment_room - 1)];
    free(run->segments);
    run->segments = segments;
    run->segment_room = room;
    return true;
}

/* A segment for the index behind the last, which is the first of its segment. */
static bool add_segment(struct run *run)
{
    uint32_t first = run->begin & ~(uint32_t)(RUN_SEGMENT_NODES - 1);
    uint32_t in_use = (run->end - first) >> RUN_SEGMENT_BITS;
    if (in_use >= run->segment_room && !widen(run))
        return false;
    struct heap_node *segment = run->spare;
    run->spare = NULL;
    if (!segment)
        segment = malloc(RUN_SEGMENT_NODES * sizeof(*segment));
    *segment_at(run, run->end) = segment;
    return segment != NULL;
}

static void drop_segment(struct run *run, uint32_t index)
{
    struct heap_node **segment = segment_at(run, index);
    if (run->spare)
        free(*segment);
    else
        run->spare = *segment;
    *segment = NULL;
}

/* --- changing --------------------------------------------------------------------------------- */

bool run_takes(const struct run *run, struct heap_node node)
{
    if (run->count == 0)
        return true;
    if (length(run) >> LENGTH_BITS_MAX)
        return false;
    return node_is_before(*node_at(run, run->end - 1), node);
}

bool run_add(struct run *run, struct heap_node node, uint32_t *index)
{
    assert(run_takes(run, node));
    assert(!node_is_gap(node));
    bool is_new = (run->end & (RUN_SEGMENT_NODES - 1)) == 0;
    if (is_new && !add_segment(run))
        return false;
    *index = run->end++;
    *node_at(run, *index) = node;
    run->count++;
    return true;
}

struct heap_node run_first(const struct run *run)
{
    assert(run->count > 0);
    return *node_at(run, run->begin);
}

/* So that the first and the last are nodes, never gaps. */
static void drop_gaps(struct run *run)
{
    while (length(run) && is_gap(run, run->begin)) {
        uint32_t index = run->begin++;
        if ((run->begin & (RUN_SEGMENT_NODES - 1)) == 0)
            drop_segment(run, index);
    }
    while (length(run) && is_gap(run, run->end - 1)) {
        run->end--;
        if ((run->end & (RUN_SEGMENT_NODES - 1)) == 0)
            drop_segment(run, run->end);
    }
}

void run_remove(struct run *run, uint32_t index)
{
    assert(index - run->begin < length(run));
    assert(!is_gap(run, index));
    node_at(run, index)->low |= NODE_GAP;
    run->count--;
    drop_gaps(run);
}

bool run_is_sparse(const struct run *run)
{
    return length(run) - run->count > run->count + GAPS_ALLOWED;
}

bool run_next(const struct run *run, uint32_t *index, struct heap_node *node)
{
    for (; *index - run->begin < length(run); ++*index) { /* ends with the run */
        *node = *node_at(run, *index);
        if (!is_gap(run, *index))
            return true;
    }
    return false;
}
