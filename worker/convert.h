/* convert.h - between the public structs of libeverdue and the protocol's. Pure. */
#ifndef EVERDUE_WORKER_CONVERT_H
#define EVERDUE_WORKER_CONVERT_H

#include "everdue/client.h"
#include "everdue/worker.h"
#include "message.h"

static inline struct everdue_bytes convert_out(struct bytes bytes)
{
    return (struct everdue_bytes){bytes.data, bytes.count};
}

/* Of at most UINT32_MAX bytes. */
static inline struct bytes convert_in(struct everdue_bytes bytes)
{
    return (struct bytes){bytes.data, bytes.data ? (uint32_t)bytes.count : 0};
}

/* Everything but `deadline_mono_us`. The bytes and `queue` stay borrowed. */
void convert_task(const struct task *task, const char *queue, struct everdue_task *public_task);

/* The part of a report that the result names. OK, or why it cannot be sent: TOO_LARGE, BAD_TIME,
 * BAD_FIELD; `report` then says so itself (a retry with that error). Note and error are cut. */
enum status convert_result(const struct everdue_result *result, uint32_t payload_bytes_max,
                           struct report *report);

/* OK, or why it cannot be sent at all: BAD_KEY, BAD_FIELD, TOO_LARGE. All other checks are the
 * broker's. */
enum status convert_put(const struct everdue_put *public_put, struct put *put);

void convert_record(const struct record_view *view, struct everdue_record *record);

#endif
