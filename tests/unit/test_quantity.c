#include "quantity.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "moment.h"

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* A text, and what it means or a word of what is said against it. */
struct row {
    const char *text;
    int64_t value;
    const char *wrong;
};

static void expect_rows(const char *(*parse)(const char *, size_t, int64_t *),
                        const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        /* Exactly as many bytes as there are, so that a sanitizer sees any more being read. */
        size_t bytes = strlen(rows[i].text);
        char *text = malloc(bytes + 1);
        assert_non_null(text);
        memcpy(text, rows[i].text, bytes);
        text = realloc(text, bytes ? bytes : 1);
        int64_t value = -77;
        const char *wrong = parse(text, bytes, &value);
        if (!rows[i].wrong && (wrong || value != rows[i].value))
            fail_msg("%s: %" PRId64 ", %s", rows[i].text, value, wrong ? wrong : "taken");
        if (rows[i].wrong && (!wrong || !strstr(wrong, rows[i].wrong) || value != -77))
            fail_msg("%s: %s", rows[i].text, wrong ? wrong : "taken");
        free(text);
    }
}

static void durations_are_read_as_people_write_them(void **state)
{
    static const struct row rows[] = {
        {"0", 0, NULL},
        {"0s", 0, NULL},
        {"1us", 1, NULL},
        {"250ms", 250000, NULL},
        {"30s", 30000000, NULL},
        {"5m", 300000000, NULL},
        {"1h30m", 5400000000, NULL},
        {"2d", 172800000000, NULL},
        {"1w", 604800000000, NULL},
        {"1.5s", 1500000, NULL},
        {"1m30.25s", 90250000, NULL},
        {"0.5d", 43200000000, NULL},
        {"90s", 90000000, NULL},
        {"1.000001s", 1000001, NULL},
        {"1.50000000000s", 1500000, NULL},
        {"4503599627370495us", TIME_US_END - 1, NULL},
        {"4503599627370496us", 0, "longer than 142"},
        {"99999999999999999999999w", 0, "longer than 142"},
        {"7446w4503599627370495us", 0, "longer than 142"},
        {"", 0, "empty"},
        {"30", 0, "unit"},
        {"1.5", 0, "unit"},
        {"00", 0, "unit"},
        {"-5m", 0, "negative"},
        {"5 m", 0, "no"},
        {"5min", 0, "not a unit"},
        {"5M", 0, "not a unit"},
        {"m", 0, "not a duration"},
        {"1.s", 0, "not a duration"},
        {".5s", 0, "not a duration"},
        {"30m1h", 0, "largest first"},
        {"1h1h", 0, "once"},
        {"1.5h30m", 0, "last part"},
        {"0.5us", 0, "finer"},
        {"1.0000001s", 0, "finer"},
        {"0.0001ms", 0, "finer"},
    };
    (void)state;
    expect_rows(duration_parse, rows, ROWS(rows));
}

static void times_are_rfc_3339_or_epoch_seconds(void **state)
{
    static const struct row rows[] = {
        {"1970-01-01T00:00:00Z", 0, NULL},
        {"2026-11-22T15:00:00.000Z", 1795359600000000, NULL},
        {"2026-11-22t15:00:00z", 1795359600000000, NULL},
        {"2026-11-22 15:00:00+00:00", 1795359600000000, NULL},
        {"2026-11-22T16:00:00+01:00", 1795359600000000, NULL},
        {"2026-11-22T09:30:00-05:30", 1795359600000000, NULL},
        {"2026-11-22T15:00:00.1234567Z", 1795359600123456, NULL},
        {"2000-02-29T00:00:00Z", 951782400000000, NULL},
        {"2016-12-31T23:59:60Z", 1483228800000000, NULL},
        {"2112-09-17T23:53:47.370495Z", TIME_US_END - 1, NULL},
        {"0", 0, NULL},
        {"1795359600", 1795359600000000, NULL},
        {"1795359600.5", 1795359600500000, NULL},
        {"1795359600.1234567", 1795359600123456, NULL},
        {"4503599627", 0, "2112"},
        {"2112-09-17T23:53:47.370496Z", 0, "2112"},
        {"1969-12-31T23:59:59Z", 0, "1970"},
        {"1970-01-01T00:00:00+00:01", 0, "1970"},
        {"9999-12-31T23:59:59Z", 0, "2112"},
        {"-1", 0, "1970"},
        {"100000000000", 0, "2112"},
        {"100000000001", 0, "milliseconds"},
        {"1763822400123", 0, "milliseconds"},
        {"99999999999999999999999", 0, "milliseconds"},
        {"2026-11-22T15:00:00", 0, "offset"},
        {"2026-11-22", 0, "not a time"},
        {"2026-02-29T00:00:00Z", 0, "not a time"},
        {"2100-02-29T00:00:00Z", 0, "not a time"},
        {"2026-13-01T00:00:00Z", 0, "not a time"},
        {"2026-00-01T00:00:00Z", 0, "not a time"},
        {"2026-04-31T00:00:00Z", 0, "not a time"},
        {"2026-11-22T24:00:00Z", 0, "not a time"},
        {"2026-11-22T15:60:00Z", 0, "not a time"},
        {"2026-11-22T15:00:61Z", 0, "not a time"},
        {"2026-11-22T15:00:00.Z", 0, "not a time"},
        {"2026-11-22T15:00:00+0100", 0, "not a time"},
        {"2026-11-22T15:00:00Zulu", 0, "not a time"},
        {"2026-11-22T15:00Z", 0, "not a time"},
        {"2026-1", 0, "not a time"},
        {"", 0, "not a time"},
        {"-", 0, "not a time"},
        {"1e9", 0, "not a time"},
        {"5.", 0, "not a time"},
        {"tomorrow", 0, "not a time"},
    };
    (void)state;
    expect_rows(time_parse, rows, ROWS(rows));
}

static const char *size_row(const char *text, size_t count, int64_t *value)
{
    uint64_t bytes = (uint64_t)*value;
    const char *wrong = size_parse(text, count, &bytes);
    *value = (int64_t)bytes;
    return wrong;
}

static void sizes_are_powers_of_1024(void **state)
{
    static const struct row rows[] = {
        {"0", 0, NULL},
        {"4096", 4096, NULL},
        {"4096B", 4096, NULL},
        {"64KiB", 65536, NULL},
        {"64k", 65536, NULL},
        {"1MiB", 1048576, NULL},
        {"1MB", 1048576, NULL},
        {"10G", 10737418240, NULL},
        {"8388607T", INT64_C(8388607) << 40, NULL},
        {"8388608T", 0, "too large"},
        {"99999999999999999999", 0, "too large"},
        {"", 0, "not a size"},
        {"K", 0, "not a size"},
        {"-1", 0, "not a size"},
        {"1.5G", 0, "unit"},
        {"1X", 0, "unit"},
        {"1KIB", 0, "unit"},
        {"1 K", 0, "unit"},
    };
    (void)state;
    expect_rows(size_row, rows, ROWS(rows));
}

static const char *share_row(const char *text, size_t count, int64_t *value)
{
    uint32_t ppm = (uint32_t)*value;
    const char *wrong = share_parse(text, count, &ppm);
    *value = (int32_t)ppm;
    return wrong;
}

static void shares_are_per_cent(void **state)
{
    static const struct row rows[] = {
        {"0%", 0, NULL},
        {"5%", 50000, NULL},
        {"0.5%", 5000, NULL},
        {"20%", 200000, NULL},
        {"0.0001%", 1, NULL},
        {"100%", 1000000, NULL},
        {"100.0001%", 0, "100%"},
        {"101%", 0, "100%"},
        {"99999999999999999999%", 0, "100%"},
        {"0.00001%", 0, "decimals"},
        {"20", 0, "sign"},
        {"20%%", 0, "sign"},
        {"%", 0, "not a share"},
        {"-5%", 0, "not a share"},
        {"", 0, "not a share"},
    };
    (void)state;
    expect_rows(share_row, rows, ROWS(rows));
}

static const char *number_row(const char *text, size_t count, int64_t *value)
{
    return number_parse(text, count, INT64_MIN, INT64_MAX, value);
}

static void whole_numbers_lie_between_their_bounds(void **state)
{
    static const struct row rows[] = {
        {"0", 0, NULL},
        {"-1", -1, NULL},
        {"007", 7, NULL},
        {"9223372036854775807", INT64_MAX, NULL},
        {"-9223372036854775808", INT64_MIN, NULL},
        {"9223372036854775808", 0, "out of range"},
        {"-9223372036854775809", 0, "out of range"},
        {"99999999999999999999999999", 0, "out of range"},
        {"", 0, "not a whole"},
        {"-", 0, "not a whole"},
        {"+1", 0, "not a whole"},
        {"1.5", 0, "not a whole"},
        {"1 ", 0, "not a whole"},
        {"0x10", 0, "not a whole"},
    };
    int64_t number = 0;
    (void)state;

    expect_rows(number_row, rows, ROWS(rows));
    assert_null(number_parse("256", 3, 1, 256, &number));
    assert_int_equal(number, 256);
    assert_string_equal(number_parse("257", 3, 1, 256, &number), "out of range: 1 to 256");
    assert_non_null(number_parse("0", 1, 1, 256, &number));
    assert_int_equal(number, 256);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void expect_text(const char *text, const char *expected)
{
    if (strcmp(text, expected) != 0)
        fail_msg("%s is not %s", text, expected);
}

static void durations_are_written_short_and_read_back_exactly(void **state)
{
    static const struct row rows[] = {
        {"0s", 0, NULL},
        {"5us", 5, NULL},
        {"250ms", 250000, NULL},
        {"1.234ms", 1234, NULL},
        {"1.5s", 1500000, NULL},
        {"1m30s", 90000000, NULL},
        {"1h30m", 5400000000, NULL},
        {"1h500ms", 3600500000, NULL},
        {"1h250ms", 3600250000, NULL},
        {"2d", 172800000000, NULL},
        {"8d", 691200000000, NULL},
        {"2w", 1209600000000, NULL},
        {"52124d23h53m47.370495s", TIME_US_END - 1, NULL},
    };
    char text[QUANTITY_TEXT_BYTES];
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        int64_t us = -1;
        expect_text(duration_format(rows[i].value, text), rows[i].text);
        assert_null(duration_parse(text, strlen(text), &us));
        assert_int_equal(us, rows[i].value);
    }
    expect_text(duration_format(-1500000, text), "-1.5s");
    duration_format(INT64_MIN, text);
}

static void times_are_written_in_utc_and_read_back_exactly(void **state)
{
    char text[QUANTITY_TEXT_BYTES];
    (void)state;

    expect_text(time_format(0, 0, text), "1970-01-01T00:00:00Z");
    expect_text(time_format(1795359600123456, 0, text), "2026-11-22T15:00:00Z");
    expect_text(time_format(1795359600123456, 3, text), "2026-11-22T15:00:00.123Z");
    expect_text(time_format(1795359600123456, 6, text), "2026-11-22T15:00:00.123456Z");
    expect_text(time_format(951782400000000, 0, text), "2000-02-29T00:00:00Z");
    expect_text(time_format(-1, 6, text), "1969-12-31T23:59:59.999999Z");
    time_format(INT64_MIN, 6, text);
    time_format(INT64_MAX, 6, text);
    for (int64_t us = 0; us < TIME_US_END; us += 86399999983 * 7) {
        int64_t back;
        time_format(us, 6, text);
        assert_null(time_parse(text, strlen(text), &back));
        assert_int_equal(back, us);
    }
}

static void counts_and_sizes_are_written_for_people(void **state)
{
    char text[QUANTITY_TEXT_BYTES];
    (void)state;

    expect_text(count_format(0, text), "0");
    expect_text(count_format(999, text), "999");
    expect_text(count_format(1000, text), "1,000");
    expect_text(count_format(186412, text), "186,412");
    expect_text(count_format(UINT64_MAX, text), "18,446,744,073,709,551,615");
    expect_text(size_format(0, text), "0 B");
    expect_text(size_format(1023, text), "1023 B");
    expect_text(size_format(1024, text), "1 KiB");
    expect_text(size_format(1572864, text), "1.5 MiB");
    expect_text(size_format(261 * 1048576, text), "261 MiB");
    expect_text(size_format(UINT64_MAX, text), "15.9 EiB");
}

static void spans_are_written_with_about_three_digits(void **state)
{
    static const struct row rows[] = {
        {"0 ms", 0, NULL},
        {"0.005 ms", 5, NULL},
        {"0.42 ms", 420, NULL},
        {"1.23 ms", 1234, NULL},
        {"12.3 ms", 12345, NULL},
        {"123 ms", 123456, NULL},
        {"1.3 s", 1300000, NULL},
        {"59.9 s", 59999999, NULL},
        {"1 min", 60000000, NULL},
        {"2 min 5 s", 125900000, NULL},
        {"2 h 5 min", 7500000000, NULL},
        {"3 d", 259200000000, NULL},
        {"3 d 4 h", 273600000000, NULL},
        {"-1.3 s", -1300000, NULL},
    };
    char text[QUANTITY_TEXT_BYTES];
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++)
        expect_text(span_format(rows[i].value, text), rows[i].text);
    span_format(INT64_MIN, text);
    span_format(INT64_MAX, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_as_people_write_them),
        cmocka_unit_test(times_are_rfc_3339_or_epoch_seconds),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(shares_are_per_cent),
        cmocka_unit_test(whole_numbers_lie_between_their_bounds),
        cmocka_unit_test(durations_are_written_short_and_read_back_exactly),
        cmocka_unit_test(times_are_written_in_utc_and_read_back_exactly),
        cmocka_unit_test(counts_and_sizes_are_written_for_people),
        cmocka_unit_test(spans_are_written_with_about_three_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
