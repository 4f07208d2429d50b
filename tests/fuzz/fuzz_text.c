/* fuzz_text.c - what people and handlers write: lines of records, results, leases, quantities. A
 * value that was read is written and reads as the same again. The first byte chooses the reader. */
#include "fuzz.h"
#include "lease_text.h"
#include "quantity.h"
#include "record_json.h"
#include "result_json.h"

static bool bytes_are_same(struct everdue_bytes one, struct everdue_bytes other)
{
    return one.count == other.count && (!one.count || memcmp(one.data, other.data, one.count) == 0);
}

static void check_record_again(const struct everdue_put *put)
{
    struct record_json again;
    struct everdue_put other;
    struct text text = {0};
    struct everdue_record record = {
        .key = put->key,
        .due_us = put->due_us == EVERDUE_ABSENT ? 0 : put->due_us,
        .every_us = put->every_us == EVERDUE_ABSENT ? 0 : put->every_us,
        .rank = put->rank,
        .group = put->group,
        .once = put->once,
        .payload = put->payload,
        .memo = put->memo,
    };
    text_init(&text);
    record_json_init(&again);
    record_json_write(&text, &record);
    FUZZ_CHECK(record_json_read(&again, text.data, text.count, &other));
    FUZZ_CHECK(bytes_are_same(record.key, other.key));
    FUZZ_CHECK(bytes_are_same(record.payload, other.payload));
    FUZZ_CHECK(bytes_are_same(record.memo, other.memo));
    FUZZ_CHECK(record.due_us == other.due_us && record.rank == other.rank);
    record_json_release(&again);
    text_release(&text);
}

static void read_record(const char *line, size_t count)
{
    struct record_json reader;
    struct everdue_put put;
    record_json_init(&reader);
    if (record_json_read(&reader, line, count, &put))
        check_record_again(&put);
    else
        FUZZ_CHECK(reader.error[0]);
    record_json_release(&reader);
}

static void read_result(const char *line, size_t count, bool strictly)
{
    struct result_json reader;
    result_json_init(&reader);
    bool good = strictly ? result_json_read_strictly(&reader, line, count)
                         : result_json_read(&reader, line, count);
    FUZZ_CHECK(good || reader.error[0]);
    result_json_release(&reader);
}

static void read_lease(const char *line, size_t count)
{
    struct lease_text lease;
    struct text text;
    char *ended = malloc(count + 1);
    if (!ended)
        abort();
    memcpy(ended, line, count);
    ended[count] = '\0';
    text_init(&text);
    if (lease_text_read(&lease, ended)) {
        struct everdue_bytes key = {lease.key, lease.key_count};
        lease_text_write(&text, lease.queue, key, lease.lease, lease.state);
        FUZZ_CHECK(text.count == strlen(ended) && memcmp(text.data, ended, text.count) == 0);
    }
    text_release(&text);
    free(ended);
}

static void read_duration(const char *line, size_t count)
{
    char text[QUANTITY_TEXT_BYTES];
    int64_t us = 0;
    int64_t again = 0;
    if (duration_parse(line, count, &us))
        return;
    FUZZ_CHECK(us >= 0);
    duration_format(us, text);
    FUZZ_CHECK(!duration_parse(text, strlen(text), &again) && again == us);
}

static void read_time(const char *line, size_t count)
{
    char text[QUANTITY_TEXT_BYTES];
    int64_t us = 0;
    int64_t again = 0;
    if (time_parse(line, count, &us))
        return;
    FUZZ_CHECK(us >= 0);
    time_format(us, 6, text);
    FUZZ_CHECK(!time_parse(text, strlen(text), &again) && again == us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    uint64_t bytes = 0;
    uint32_t ppm = 0;
    int64_t number = 0;
    if (!count)
        return 0;
    char *line = fuzz_copy(data + 1, count - 1);
    count--;
    switch (data[0] % 8) {
    case 0:
    case 1:
        read_record(line, count);
        break;
    case 2:
        read_result(line, count, false);
        break;
    case 3:
        read_result(line, count, true);
        break;
    case 4:
        read_lease(line, count);
        break;
    case 5:
        read_duration(line, count);
        break;
    case 6:
        read_time(line, count);
        break;
    case 7:
        size_parse(line, count, &bytes);
        share_parse(line, count, &ppm);
        number_parse(line, count, -5, 5, &number);
        FUZZ_CHECK(number >= -5 && number <= 5);
        break;
    }
    free(line);
    return 0;
}
