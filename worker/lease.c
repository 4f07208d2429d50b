#include "lease.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "bounds.h"
#include "message.h"

/* --- sheets and claims ------------------------------------------------------------------------ */

struct report_sheet *report_sheet_new(void)
{
    struct report_sheet *sheet = malloc(sizeof(*sheet));
    if (!sheet)
        return NULL;
    wire_buffer_init(&sheet->bytes);
    sheet->reports = 0;
    return sheet;
}

void report_sheet_drop(struct report_sheet *sheet)
{
    if (!sheet)
        return;
    assert(sheet->reports > 0);
    if (--sheet->reports > 0)
        return;
    wire_buffer_release(&sheet->bytes);
    free(sheet);
}

bool lease_begin(struct lease *lease, int64_t mono_us)
{
    assert(mono_us > 0);
    int64_t queued = 0;
    return atomic_compare_exchange_strong(&lease->begun_us, &queued, mono_us);
}

bool lease_revoke(struct lease *lease)
{
    int64_t queued = 0;
    return atomic_compare_exchange_strong(&lease->begun_us, &queued, LEASE_REVOKED);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void unlink_lease(struct lease *lease)
{
    struct lease_list *list = lease->list;
    if (!list)
        return;
    assert(list->count > 0);
    *(lease->previous ? &lease->previous->next : &list->first) = lease->next;
    *(lease->next ? &lease->next->previous : &list->last) = lease->previous;
    list->count--;
    lease->list = NULL;
}

static void link_lease(struct lease_list *list, struct lease *previous, struct lease *lease)
{
    lease->previous = previous;
    lease->next = previous ? previous->next : list->first;
    *(previous ? &previous->next : &list->first) = lease;
    *(lease->next ? &lease->next->previous : &list->last) = lease;
    lease->list = list;
    list->count++;
}

void lease_list_append(struct lease_list *list, struct lease *lease, enum lease_place place)
{
    unlink_lease(lease);
    link_lease(list, list->last, lease);
    lease->place = place;
}

void lease_list_prepend(struct lease_list *list, struct lease *lease, enum lease_place place)
{
    unlink_lease(lease);
    link_lease(list, NULL, lease);
    lease->place = place;
}

void lease_list_remove(struct lease *lease)
{
    unlink_lease(lease);
    lease->place = LEASE_NOWHERE;
}

void lease_chain_append(struct lease_chain *chain, struct lease *lease)
{
    lease->mail_next = NULL;
    *(chain->last ? &chain->last->mail_next : &chain->first) = lease;
    chain->last = lease;
    chain->count++;
}

void lease_chain_splice(struct lease_chain *chain, struct lease_chain *more)
{
    if (!more->first)
        return;
    *(chain->last ? &chain->last->mail_next : &chain->first) = more->first;
    chain->last = more->last;
    chain->count += more->count;
    *more = (struct lease_chain){0};
}

struct lease *lease_chain_take(struct lease_chain *chain)
{
    struct lease *lease = chain->first;
    if (!lease)
        return NULL;
    chain->first = lease->mail_next;
    chain->count--;
    if (!chain->first)
        chain->last = NULL;
    lease->mail_next = NULL;
    return lease;
}

/* --- the table -------------------------------------------------------------------------------- */

bool lease_table_init(struct lease_table *table, uint32_t leases)
{
    uint64_t heads = 64;
    while (heads < leases)
        heads *= 2;
    table->heads = calloc(heads, sizeof(struct lease *));
    table->mask = heads - 1;
    return table->heads != NULL;
}

void lease_table_release(struct lease_table *table)
{
    free(table->heads);
    table->heads = NULL;
}

static struct lease **head_of(const struct lease_table *table, uint64_t number)
{
    return &table->heads[number & table->mask];
}

void lease_table_put(struct lease_table *table, struct lease *lease)
{
    struct lease **head = head_of(table, lease->task.lease);
    lease->table_next = *head;
    *head = lease;
}

struct lease *lease_table_find(const struct lease_table *table, uint64_t number)
{
    struct lease *lease = *head_of(table, number);
    while (lease && lease->task.lease != number)
        lease = lease->table_next;
    return lease;
}

void lease_table_remove(struct lease_table *table, struct lease *lease)
{
    struct lease **at = head_of(table, lease->task.lease);
    while (*at && *at != lease)
        at = &(*at)->table_next;
    if (*at)
        *at = lease->table_next;
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void fill(struct lease *lease, const struct task *task, const struct lease_source *source)
{
    /* What a broker names is clamped, so that sums of times stay in range. */
    uint32_t lease_ms = task->lease_ms;
    if (lease_ms < LEASE_MS_MIN)
        lease_ms = LEASE_MS_MIN;
    if (lease_ms > LEASE_MS_MAX)
        lease_ms = LEASE_MS_MAX;
    int64_t ends_us = source->mono_us + (int64_t)lease_ms * US_PER_MS;

    convert_task(task, source->queues[task->name.queue], &lease->task);
    lease->task.deadline_mono_us = ends_us;
    atomic_init(&lease->begun_us, 0);
    atomic_init(&lease->ends_us, ends_us);
    lease->arrived_us = source->mono_us;
    lease->queue = task->name.queue;
    lease->lease_ms = lease_ms;
    lease->due_us = source->mono_us + (int64_t)lease_ms * US_PER_MS / 3;
}

static bool fill_all(struct lease_block *block, struct wire_reader *reader,
                     const struct lease_source *source)
{
    for (uint32_t i = 0; i < block->count; i++) {
        struct task task;
        task_read(reader, &task);
        if (reader->status || task.name.queue >= source->queue_count || !task.name.key.data)
            return false;
        struct lease *lease = &block->leases[i];
        memset(lease, 0, sizeof(*lease));
        fill(lease, &task, source);
        lease->block = block;
    }
    return true;
}

enum status lease_block_read(struct lease_block **block, struct wire_reader *reader,
                             const struct lease_source *source)
{
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    if (reader->status)
        return STATUS_MALFORMED;

    size_t leases_bytes = sizeof(struct lease_block) + count * sizeof(struct lease);
    size_t message_bytes = (size_t)(reader->end - reader->at);
    struct lease_block *made = malloc(leases_bytes + message_bytes);
    if (!made)
        return STATUS_NO_MEMORY;
    *made = (struct lease_block){.live = count, .count = count};

    uint8_t *message = (uint8_t *)made + leases_bytes;
    if (message_bytes > 0)
        memcpy(message, reader->at, message_bytes);
    wire_reader_init(reader, message, message_bytes);
    if (!fill_all(made, reader, source)) {
        free(made);
        return STATUS_MALFORMED;
    }
    *block = made;
    return STATUS_OK;
}

void lease_blocks_put(struct lease_blocks *blocks, struct lease_block *block)
{
    block->previous = NULL;
    block->next = blocks->first;
    if (block->next)
        block->next->previous = block;
    blocks->first = block;
}

static void block_free(struct lease_blocks *blocks, struct lease_block *block)
{
    *(block->previous ? &block->previous->next : &blocks->first) = block->next;
    if (block->next)
        block->next->previous = block->previous;
    free(block);
}

void lease_blocks_let_go(struct lease_blocks *blocks, struct lease_block *block)
{
    assert(block->live > 0);
    if (--block->live == 0)
        block_free(blocks, block);
}

void lease_blocks_drop(struct lease_blocks *blocks, struct lease *lease)
{
    report_sheet_drop(lease->sheet);
    lease->sheet = NULL;
    lease_blocks_let_go(blocks, lease->block);
}

void lease_blocks_release(struct lease_blocks *blocks)
{
    while (blocks->first) {
        struct lease_block *block = blocks->first;
        for (uint32_t i = 0; i < block->count; i++)
            report_sheet_drop(block->leases[i].sheet);
        block_free(blocks, block);
    }
}
