#include "quantity.h"

#include <stdio.h>
#include <string.h>

#include "moment.h"

/* What is left to be read of a text. */
struct input {
    const char *at;
    const char *end;
};

static struct input input_of(const char *text, size_t count)
{
    return (struct input){text, text + count};
}

static bool is_empty(const struct input *input)
{
    return input->at == input->end;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool next_is_digit(const struct input *input)
{
    return !is_empty(input) && is_digit(*input->at);
}

static bool take(struct input *input, char c)
{
    if (is_empty(input) || *input->at != c)
        return false;
    input->at++;
    return true;
}

/* Digits, at least one. What is above 2^62 becomes 2^62: more than any limit here. */
static bool take_digits(struct input *input, int64_t *number)
{
    const int64_t most = (int64_t)1 << 62;
    if (!next_is_digit(input))
        return false;
    *number = 0;
    while (next_is_digit(input)) {
        int digit = *input->at++ - '0';
        *number = *number > (most - digit) / 10 ? most : *number * 10 + digit;
    }
    return true;
}

/* Decimals behind a point, as millionths; `*exact` is false when there were more than six (the rest
 * is passed over). False when the point is not followed by a digit. */
static bool take_millionths(struct input *input, int64_t *millionths, bool *exact)
{
    *millionths = 0;
    *exact = true;
    if (!take(input, '.'))
        return true;
    if (!next_is_digit(input))
        return false;
    int64_t weight = 100000;
    while (next_is_digit(input)) {
        int digit = *input->at++ - '0';
        *millionths += digit * weight;
        if (weight == 0 && digit != 0)
            *exact = false;
        weight /= 10;
    }
    return true;
}

static bool equals(struct input input, const char *text)
{
    size_t count = (size_t)(input.end - input.at);
    return count == strlen(text) && memcmp(input.at, text, count) == 0;
}

/* --- durations -------------------------------------------------------------------------------- */

static const struct unit {
    const char *name;
    int64_t us;
} units[] = {
    {"w", 604800000000}, {"d", 86400000000}, {"h", 3600000000}, {"m", 60000000},
    {"s", 1000000},      {"ms", 1000},       {"us", 1},
};
enum { UNIT_COUNT = sizeof(units) / sizeof(units[0]) };

/* Letters up to the next digit. UNIT_COUNT when they are no unit. */
static size_t take_unit(struct input *input)
{
    struct input letters = {input->at, input->at};
    while (letters.end < input->end && !is_digit(*letters.end))
        letters.end++;
    input->at = letters.end;
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (equals(letters, units[i].name))
            return i;
    return UNIT_COUNT;
}

/* One number with its unit, added to `*us`. `*least` is the first unit that may come. */
static const char *take_part(struct input *input, size_t *least, int64_t *us)
{
    int64_t whole;
    int64_t millionths;
    bool exact;
    const char *begin = input->at;
    if (!take_digits(input, &whole) || !take_millionths(input, &millionths, &exact))
        return "not a duration; write 250ms, 30s, 5m, 1h30m or 2d";
    bool fraction = memchr(begin, '.', (size_t)(input->at - begin)) != NULL;
    if (is_empty(input))
        return "a duration needs a unit; write 250ms, 30s, 5m, 1h30m or 2d";
    size_t unit = take_unit(input);
    if (unit == UNIT_COUNT)
        return "not a unit of time; there are us, ms, s, m, h, d and w";
    if (unit < *least)
        return "units come once each, the largest first: 1h30m";
    if (fraction && !is_empty(input))
        return "only the last part of a duration may have decimals: 1m30.5s";
    if (!exact || millionths * units[unit].us % 1000000 != 0)
        return "finer than a microsecond";
    if (whole > (TIME_US_END - 1) / units[unit].us)
        return "longer than 142 years";
    *least = unit + 1;
    *us += whole * units[unit].us + millionths * units[unit].us / 1000000;
    return *us < TIME_US_END ? NULL : "longer than 142 years";
}

const char *duration_parse(const char *text, size_t count, int64_t *us)
{
    struct input input = input_of(text, count);
    if (equals(input, "0")) {
        *us = 0;
        return NULL;
    }
    if (is_empty(&input))
        return "an empty duration; write 250ms, 30s, 5m, 1h30m or 2d";
    if (*input.at == '-')
        return "a duration cannot be negative";
    size_t least = 0;
    int64_t sum = 0;
    while (!is_empty(&input)) {
        const char *wrong = take_part(&input, &least, &sum);
        if (wrong)
            return wrong;
    }
    *us = sum;
    return NULL;
}

/* --- times ------------------------------------------------------------------------------------ */

static const char out_of_years[] = "a time must lie between 1970 and 2112";
static const char not_a_time[] =
    "not a time; write 2026-11-22T15:00:00Z, with +01:00 instead of Z, or epoch seconds";

static bool take_two(struct input *input, int *number)
{
    if (input->end - input->at < 2 || !is_digit(input->at[0]) || !is_digit(input->at[1]))
        return false;
    *number = (input->at[0] - '0') * 10 + (input->at[1] - '0');
    input->at += 2;
    return true;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is
 * the last one. */
static int64_t days_of_date(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t month_days = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;
    return y * 365 + y / 4 - y / 100 + y / 400 + month_days + day - 1 - 719468;
}

static bool take_date(struct input *input, int64_t *days)
{
    int century;
    int year;
    int month;
    int day;
    if (!take_two(input, &century) || !take_two(input, &year) || !take(input, '-') ||
        !take_two(input, &month) || !take(input, '-') || !take_two(input, &day))
        return false;
    year += century * 100;
    if (month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
        return false;
    *days = days_of_date(year, month, day);
    return true;
}

/* "15:00:00.123456"; a leap second counts as the next one. */
static bool take_clock(struct input *input, int64_t *us)
{
    int hour;
    int minute;
    int second;
    int64_t millionths;
    bool exact;
    if (!take_two(input, &hour) || !take(input, ':') || !take_two(input, &minute) ||
        !take(input, ':') || !take_two(input, &second) ||
        !take_millionths(input, &millionths, &exact))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *us = (hour * 3600 + minute * 60 + second) * (int64_t)US_PER_S + millionths;
    return true;
}

static bool take_offset(struct input *input, int64_t *us)
{
    int hour;
    int minute;
    *us = 0;
    if (take(input, 'Z') || take(input, 'z'))
        return true;
    bool west = take(input, '-');
    if ((!west && !take(input, '+')) || !take_two(input, &hour) || !take(input, ':') ||
        !take_two(input, &minute) || hour > 23 || minute > 59)
        return false;
    *us = (hour * 60 + minute) * (int64_t)60 * US_PER_S * (west ? -1 : 1);
    return true;
}

static const char *parse_date_time(struct input input, int64_t *us)
{
    int64_t days;
    int64_t clock_us;
    int64_t offset_us;
    if (!take_date(&input, &days))
        return not_a_time;
    if (!take(&input, 'T') && !take(&input, 't') && !take(&input, ' '))
        return not_a_time;
    if (!take_clock(&input, &clock_us))
        return not_a_time;
    if (is_empty(&input))
        return "a time needs Z or an offset such as +01:00 at its end";
    if (!take_offset(&input, &offset_us) || !is_empty(&input))
        return not_a_time;
    int64_t time_us = days * 86400 * US_PER_S + clock_us - offset_us;
    if (time_us < 0 || time_us >= TIME_US_END)
        return out_of_years;
    *us = time_us;
    return NULL;
}

static const char *parse_epoch(struct input input, int64_t *us)
{
    int64_t seconds;
    int64_t millionths;
    bool exact;
    bool negative = take(&input, '-');
    if (!take_digits(&input, &seconds) || !take_millionths(&input, &millionths, &exact) ||
        !is_empty(&input))
        return not_a_time;
    if (seconds > 100000000000)
        return "looks like milliseconds; write epoch seconds (divide by 1000)";
    if (negative || seconds >= TIME_US_END / US_PER_S)
        return out_of_years;
    *us = seconds * US_PER_S + millionths;
    return NULL;
}

const char *time_parse(const char *text, size_t count, int64_t *us)
{
    struct input input = input_of(text, count);
    return count > 4 && text[4] == '-' ? parse_date_time(input, us) : parse_epoch(input, us);
}

/* --- sizes, shares, numbers ------------------------------------------------------------------- */

/* The power of two that a suffix stands for, or -1. */
static int size_shift(struct input suffix)
{
    static const char letters[] = "KMGT";
    if (is_empty(&suffix) || equals(suffix, "B"))
        return 0;
    char letter = *suffix.at == 'k' ? 'K' : *suffix.at;
    const char *place = letter ? strchr(letters, letter) : NULL;
    suffix.at++;
    if (!place || !(is_empty(&suffix) || equals(suffix, "B") || equals(suffix, "iB")))
        return -1;
    return 10 * (int)(place - letters + 1);
}

const char *size_parse(const char *text, size_t count, uint64_t *bytes)
{
    struct input input = input_of(text, count);
    int64_t number;
    if (!take_digits(&input, &number))
        return "not a size; write 4096, 64KiB, 1MiB or 10G";
    int shift = size_shift(input);
    if (shift < 0)
        return "not a unit of size; there are K, M, G and T (KiB, MiB, ...)";
    if (number > INT64_MAX >> shift || number == (int64_t)1 << 62)
        return "too large a size";
    *bytes = (uint64_t)number << shift;
    return NULL;
}

const char *share_parse(const char *text, size_t count, uint32_t *ppm)
{
    struct input input = input_of(text, count);
    int64_t whole;
    int64_t millionths;
    bool exact;
    if (!take_digits(&input, &whole) || !take_millionths(&input, &millionths, &exact))
        return "not a share; write it in per cent: 20%";
    if (!take(&input, '%') || !is_empty(&input))
        return "a share needs its sign; write 20%";
    if (!exact || millionths % 100 != 0)
        return "a share has four decimals at most";
    if (whole > 100 || (whole == 100 && millionths > 0))
        return "a share is 100% at most";
    *ppm = (uint32_t)(whole * 10000 + millionths / 100);
    return NULL;
}

static const char *out_of_range(int64_t least, int64_t most)
{
    static _Thread_local char text[80];
    snprintf(text, sizeof(text), "out of range: %lld to %lld", (long long)least, (long long)most);
    return text;
}

const char *number_parse(const char *text, size_t count, int64_t least, int64_t most,
                         int64_t *number)
{
    struct input input = input_of(text, count);
    bool negative = take(&input, '-');
    uint64_t bits = 0;
    if (!next_is_digit(&input))
        return "not a whole number";
    while (next_is_digit(&input)) {
        uint64_t digit = (uint64_t)(*input.at++ - '0');
        if (bits > (UINT64_MAX - digit) / 10)
            return out_of_range(least, most);
        bits = bits * 10 + digit;
    }
    if (!is_empty(&input))
        return "not a whole number";
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    if (bits > limit)
        return out_of_range(least, most);
    int64_t value = negative ? (int64_t)(0 - bits) : (int64_t)bits;
    if (value < least || value > most)
        return out_of_range(least, most);
    *number = value;
    return NULL;
}
