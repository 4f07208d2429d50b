#include "quantity.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "moment.h"

#define SECOND_US UINT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)
#define WEEK_US (7 * DAY_US)

/* The text being written; what does not fit is a bug of ours. */
struct output {
    char *text;
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void put(struct output *output, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(output->text + output->count, QUANTITY_TEXT_BYTES - output->count, format,
                          arguments);
    va_end(arguments);
    assert(count >= 0);
    assert((size_t)count < QUANTITY_TEXT_BYTES - output->count);
    output->count += (size_t)count;
}

static struct output output_to(char *text)
{
    text[0] = '\0';
    return (struct output){text, 0};
}

/* Writes the sign and returns the rest. */
static uint64_t put_sign(struct output *output, int64_t us)
{
    if (us >= 0)
        return (uint64_t)us;
    put(output, "-");
    return 0 - (uint64_t)us;
}

/* number / 10^decimals, exactly, without zeros at the end. */
static void put_decimals(struct output *output, uint64_t number, int decimals)
{
    uint64_t scale = 1;
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    put(output, "%" PRIu64, number / scale);
    uint64_t fraction = number % scale;
    if (fraction == 0)
        return;
    put(output, ".%0*" PRIu64, decimals, fraction);
    while (output->text[output->count - 1] == '0')
        output->text[--output->count] = '\0';
}

/* --- exact forms ------------------------------------------------------------------------------ */

static void put_unit(struct output *output, uint64_t *us, uint64_t unit_us, char name)
{
    if (*us >= unit_us)
        put(output, "%" PRIu64 "%c", *us / unit_us, name);
    *us %= unit_us;
}

static void put_rest(struct output *output, uint64_t us)
{
    if (us >= SECOND_US) {
        put_decimals(output, us, 6);
        put(output, "s");
    } else if (us >= 1000) {
        put_decimals(output, us, 3);
        put(output, "ms");
    } else {
        put(output, "%" PRIu64 "us", us);
    }
}

char *duration_format(int64_t us, char text[QUANTITY_TEXT_BYTES])
{
    struct output output = output_to(text);
    uint64_t rest = put_sign(&output, us);
    if (rest == 0) {
        put(&output, "0s");
        return text;
    }
    if (rest % WEEK_US == 0)
        put_unit(&output, &rest, WEEK_US, 'w');
    put_unit(&output, &rest, DAY_US, 'd');
    put_unit(&output, &rest, HOUR_US, 'h');
    put_unit(&output, &rest, MINUTE_US, 'm');
    if (rest > 0)
        put_rest(&output, rest);
    return text;
}

/* The Gregorian date of a day since 1970-01-01, in years that begin in March. */
static void put_date(struct output *output, int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    int64_t year = year_of_era + era * 400 + (month >= 10);
    put(output, "%04" PRId64 "-%02" PRId64 "-%02" PRId64, year, month < 10 ? month + 3 : month - 9,
        day);
}

char *time_format(int64_t us, int decimals, char text[QUANTITY_TEXT_BYTES])
{
    const int64_t day_us = (int64_t)DAY_US;
    struct output output = output_to(text);
    int64_t days = us / day_us - (us % day_us < 0);
    uint64_t rest = (uint64_t)(us % day_us < 0 ? us % day_us + day_us : us % day_us);

    put_date(&output, days);
    put(&output, "T%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, rest / HOUR_US, rest / MINUTE_US % 60,
        rest / SECOND_US % 60);
    if (decimals > 0) {
        uint64_t fraction = rest % SECOND_US;
        for (int i = decimals; i < 6; i++)
            fraction /= 10;
        put(&output, ".%0*" PRIu64, decimals < 6 ? decimals : 6, fraction);
    }
    put(&output, "Z");
    return text;
}

/* --- for people ------------------------------------------------------------------------------- */

char *count_format(uint64_t number, char text[QUANTITY_TEXT_BYTES])
{
    struct output output = output_to(text);
    char digits[24];
    int count = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    for (int i = 0; i < count; i++)
        put(&output, i > 0 && (count - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
    return text;
}

char *size_format(uint64_t bytes, char text[QUANTITY_TEXT_BYTES])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct output output = output_to(text);
    size_t unit = 0;
    while (unit < 6 && bytes >> (10 * unit) >= 1024)
        unit++;
    uint64_t whole = bytes >> (10 * unit);
    uint64_t rest = bytes - (whole << (10 * unit));
    uint64_t tenths = whole < 100 ? rest * 10 >> (10 * unit) : 0;
    put_decimals(&output, whole * 10 + tenths, 1);
    put(&output, " %s", names[unit]);
    return text;
}

/* Three digits of `us` in a unit of 10^decimals us. */
static void put_three(struct output *output, uint64_t us, int decimals)
{
    uint64_t cut = 1;
    while (us / cut >= 1000)
        cut *= 10;
    put_decimals(output, us / cut * cut, decimals);
}

static void put_two(struct output *output, uint64_t us, uint64_t unit_us, const char *names[2],
                    uint64_t small_us)
{
    put(output, "%" PRIu64 " %s", us / unit_us, names[0]);
    if (us % unit_us >= small_us)
        put(output, " %" PRIu64 " %s", us % unit_us / small_us, names[1]);
}

char *span_format(int64_t us, char text[QUANTITY_TEXT_BYTES])
{
    struct output output = output_to(text);
    uint64_t span = put_sign(&output, us);
    if (span < SECOND_US) {
        put_three(&output, span, 3);
        put(&output, " ms");
    } else if (span < MINUTE_US) {
        put_three(&output, span, 6);
        put(&output, " s");
    } else if (span < HOUR_US) {
        put_two(&output, span, MINUTE_US, (const char *[]){"min", "s"}, SECOND_US);
    } else if (span < DAY_US) {
        put_two(&output, span, HOUR_US, (const char *[]){"h", "min"}, MINUTE_US);
    } else {
        put_two(&output, span, DAY_US, (const char *[]){"d", "h"}, HOUR_US);
    }
    return text;
}
