/* fuzz_wire.c - the reader, asked for anything in any order: it never leaves the bytes, never goes
 * back, and once it failed it stays failed. */
#include "fuzz.h"
#include "wire.h"

enum { READS = 14, READS_MAX = 4096 };

static void read_bytes(struct wire_reader *reader, const uint8_t *data, size_t count,
                       uint32_t count_max)
{
    struct bytes bytes = wire_read_bytes(reader, count_max);
    FUZZ_CHECK(bytes.count <= count_max);
    if (bytes.data && bytes.count)
        FUZZ_CHECK(bytes.data >= data && bytes.data + bytes.count <= data + count);
}

static void read_one(struct wire_reader *reader, uint8_t which, const uint8_t *data, size_t count)
{
    uint32_t limit = which * 16u;
    switch (which % READS) {
    case 0:
        FUZZ_CHECK(wire_read_array(reader, limit) <= limit);
        break;
    case 1:
        FUZZ_CHECK(wire_read_map(reader, limit) <= limit);
        break;
    case 2:
        wire_read_uint(reader);
        break;
    case 3:
        wire_read_int(reader);
        break;
    case 4:
        wire_read_bool(reader);
        break;
    case 5:
        wire_read_int_saturated(reader);
        break;
    case 6:
        read_bytes(reader, data, count, limit);
        break;
    case 7:
        wire_read_int_or(reader, -1);
        break;
    case 8:
        wire_take_nil(reader);
        break;
    case 9:
        wire_is_array(reader);
        break;
    case 10:
        wire_skip(reader);
        break;
    case 11:
        wire_skip_rest(reader, limit, limit / 2);
        break;
    case 12:
        read_bytes(reader, data, count, UINT32_MAX);
        break;
    case 13:
        wire_read_array(reader, UINT32_MAX);
        break;
    }
}

/* The first bytes say what is asked for, the rest is the message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct fuzz_input input = {data, count};
    struct wire_reader reader;
    size_t asked = 0;
    const uint8_t *plan = fuzz_take(&input, 64, &asked);
    wire_reader_init(&reader, input.at, input.left);
    for (size_t i = 0; asked && i < READS_MAX; i++) {
        const uint8_t *before = reader.at;
        bool had_failed = reader.status != STATUS_OK;
        read_one(&reader, plan[i % asked], input.at, input.left);
        FUZZ_CHECK(reader.at >= before && reader.at <= reader.end);
        FUZZ_CHECK(!had_failed || reader.status != STATUS_OK);
        if (reader.at == reader.end && i >= asked)
            break;
    }
    return 0;
}
