/* fields.h - the fields of one array of the protocol, one after the other. Used by message*.c only.
 *
 * Reading: a field that is missing at the end counts as nil; nil where a value must stand is an
 * error in the reader; fields beyond the known ones are passed over. Writing: all fields, then the
 * nils at the end are taken back, so that an item is as short as it can be.
 */
#ifndef EVERDUE_FIELDS_H
#define EVERDUE_FIELDS_H

#include "bounds.h"
#include "moment.h"
#include "wire.h"

/* Leases and states are below this, so that they are exact in JSON, too. */
#define LEASE_END ((uint64_t)1 << 53)

struct fields {
    struct wire_reader *reader;
    uint32_t left; /* not read yet */
};

/* Reads the head of an array, an item of a message. */
static inline struct fields fields_begin(struct wire_reader *reader)
{
    return (struct fields){reader, wire_read_array(reader, MESSAGE_BYTES_MAX)};
}

/* Passes over what a later version appended. */
static inline void fields_end(struct fields *fields)
{
    wire_skip_rest(fields->reader, fields->left, 0);
}

/* Goes on to the next field. Returns whether it has a value: it is there and not nil. */
static inline bool fields_next(struct fields *fields)
{
    if (fields->left == 0)
        return false;
    fields->left--;
    return !wire_take_nil(fields->reader);
}

/* --- fields that must be there ---------------------------------------------------------------- */

static inline void fields_must_have_next(struct fields *fields)
{
    if (!fields_next(fields))
        wire_fail(fields->reader);
}

static inline uint64_t fields_uint(struct fields *fields, uint64_t most)
{
    fields_must_have_next(fields);
    uint64_t value = wire_read_uint(fields->reader);
    if (value <= most)
        return value;
    wire_fail(fields->reader);
    return 0;
}

static inline uint32_t fields_uint32(struct fields *fields)
{
    return (uint32_t)fields_uint(fields, UINT32_MAX);
}

static inline int64_t fields_int(struct fields *fields)
{
    fields_must_have_next(fields);
    return wire_read_int(fields->reader);
}

/* A time or an interval within its range. */
static inline int64_t fields_time(struct fields *fields)
{
    return (int64_t)fields_uint(fields, TIME_US_END - 1);
}

static inline bool fields_bool(struct fields *fields)
{
    fields_must_have_next(fields);
    return wire_read_bool(fields->reader);
}

static inline struct bytes fields_bytes(struct fields *fields)
{
    fields_must_have_next(fields);
    return wire_read_bytes(fields->reader, MESSAGE_BYTES_MAX);
}

/* bin of one length, copied. */
void fields_copy(struct fields *fields, uint8_t *data, uint32_t count);

/* --- fields that may be nil ------------------------------------------------------------------- */

static inline struct bytes fields_bytes_or_absent(struct fields *fields)
{
    if (!fields_next(fields))
        return (struct bytes){NULL, 0};
    return wire_read_bytes(fields->reader, MESSAGE_BYTES_MAX);
}

static inline int64_t fields_time_or_zero(struct fields *fields)
{
    uint64_t us = fields_next(fields) ? wire_read_uint(fields->reader) : 0;
    if (us < TIME_US_END)
        return (int64_t)us;
    wire_fail(fields->reader);
    return 0;
}

/* A time that a client chose: as it is, also out of range, for that is refused item by item. */
static inline int64_t fields_time_or_never(struct fields *fields)
{
    if (!fields_next(fields))
        return TIME_US_NEVER;
    int64_t us = wire_read_int_saturated(fields->reader);
    return us == TIME_US_NEVER ? TIME_US_NEVER - 1 : us;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* How many of `count` fields are to be written: up to the last one that is given. */
uint32_t fields_given(const bool *given, uint32_t count);

/* Take back the `count` nils that were written last. */
void fields_drop_nils(struct wire_buffer *buffer, uint32_t count);

/* The time, nil for TIME_US_NEVER. */
void fields_write_time(struct wire_buffer *buffer, int64_t us);

/* The number when it is given, else nil. */
void fields_write_int_if(struct wire_buffer *buffer, bool given, int64_t value);

#endif
