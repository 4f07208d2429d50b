#include "fields.h"

#include <assert.h>
#include <string.h>

void fields_copy(struct fields *fields, uint8_t *data, uint32_t count)
{
    struct bytes bytes = fields_bytes(fields);
    if (bytes.count == count) {
        memcpy(data, bytes.data, count);
    } else {
        memset(data, 0, count);
        wire_fail(fields->reader);
    }
}

uint32_t fields_given(const bool *given, uint32_t count)
{
    while (count > 0 && !given[count - 1])
        count--;
    return count;
}

void fields_drop_nils(struct wire_buffer *buffer, uint32_t count)
{
    if (buffer->failed)
        return;
    assert(buffer->count >= count);
    for (uint32_t i = 0; i < count; i++) {
        buffer->count--;
        assert(buffer->data[buffer->count] == 0xc0);
    }
}

void fields_write_time(struct wire_buffer *buffer, int64_t us)
{
    fields_write_int_if(buffer, us != TIME_US_NEVER, us);
}

void fields_write_int_if(struct wire_buffer *buffer, bool given, int64_t value)
{
    if (given)
        wire_write_int(buffer, value);
    else
        wire_write_nil(buffer);
}
