#include "status.h"

#include <stddef.h>

struct entry {
    enum status status;
    const char *name;
    const char *text;
};

static const struct entry entries[] = {
    {STATUS_OK, "ok", "done"},
    {STATUS_CREATED, "created", "the record is new"},
    {STATUS_CHANGED, "changed", "the record was changed"},
    {STATUS_UNCHANGED, "unchanged", "the record is stored already"},
    {STATUS_PENDING, "pending", "the record is out at a worker; applied when its lease ends"},
    {STATUS_STALE, "stale", "the record was changed or given to somebody else since"},
    {STATUS_GONE, "gone", "the record does not exist any more"},
    {STATUS_NOT_FOUND, "not-found", "there is no such record or queue"},
    {STATUS_BUSY, "busy", "the broker has too much in hand; try again in a moment"},
    {STATUS_NO_SPACE, "no-space", "the broker's disk is full"},
    {STATUS_TOO_LARGE, "too-large", "over the broker's limit of bytes"},
    {STATUS_BAD_KEY, "bad-key", "a key is 1 to 1,024 bytes of UTF-8 without control characters"},
    {STATUS_BAD_TIME, "bad-time", "a time or interval is out of range"},
    {STATUS_BAD_FIELD, "bad-field", "a field is out of its range"},
    {STATUS_TOO_MANY, "too-many", "over the broker's limit"},
    {STATUS_CONFLICT, "conflict", "another sync of this queue is under way"},
    {STATUS_MISMATCH, "mismatch", "count or checksum differ; nothing was changed"},
    {STATUS_PRUNE_GUARD, "prune-guard",
     "more records are absent than may be pruned; nothing was changed"},
    {STATUS_DUPLICATE, "duplicate", "the key came before in this set"},
    {STATUS_LEASED, "leased", "the record is out at a worker"},
    {STATUS_NOT_PARKED, "not-parked", "the record is not parked"},
    {STATUS_PARKED, "parked", "the record is parked; kick it"},
    {STATUS_DRAINING, "draining", "the broker is draining"},
    {STATUS_TIMED_OUT, "timed-out", "the wait ended first"},
    {STATUS_NO_SESSION, "no-session", "the broker does not know this session"},
    {STATUS_NO_NEXT, "no-next",
     "the result names no next time and the record has no interval; return one or set --every"},
    {STATUS_MALFORMED, "malformed", "not a message of this protocol"},
    {STATUS_UNKNOWN_TYPE, "unknown-type", "a message type that this version does not know"},
    {STATUS_VERSION, "version", "another version of the protocol"},
    {STATUS_DENIED, "denied", "not allowed"},
    {STATUS_IO, "io", "a disk or socket failed"},
    {STATUS_CORRUPT, "corrupt", "the store is damaged"},
    {STATUS_NO_MEMORY, "no-memory", "out of memory; nothing was changed"},
    {STATUS_LOCKED, "locked", "another process owns it"},
    {STATUS_UNREACHABLE, "unreachable", "nobody answers"},
    {STATUS_INTERRUPTED, "interrupted", "stopped by the caller"},
};

static const struct entry *find(int number)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        if ((int)entries[i].status == number)
            return &entries[i];
    return NULL;
}

const char *status_name(enum status status)
{
    const struct entry *entry = find((int)status);
    return entry ? entry->name : "unknown";
}

const char *status_text(enum status status)
{
    const struct entry *entry = find((int)status);
    return entry ? entry->text : "an outcome that this version does not know";
}

bool status_is_known(int number)
{
    return find(number) != NULL;
}
