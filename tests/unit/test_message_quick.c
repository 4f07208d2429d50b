/* Tasks and reports by the thousand, whole and damaged: the quick way of reading gives what
 * reading field by field gives. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "message.h"
#include "read_twice.h"

enum { ITEMS = 10000 };

static uint64_t first_seed, random_state;

static uint64_t draw(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint32_t below(uint32_t end)
{
    return (uint32_t)(draw() % end);
}

/* Numbers of all lengths alike, those at the ends of a form or a range more often. */
static uint64_t number(void)
{
    static const uint64_t ends[] = {0,           0x7f,
                                    0x80,        0xff,
                                    0x100,       0xffff,
                                    0x10000,     UINT32_MAX,
                                    1ull << 32,  TIME_US_END - 1,
                                    TIME_US_END, (1ull << 53) - 1,
                                    1ull << 53,  (uint64_t)INT64_MAX - 1,
                                    INT64_MAX,   1ull << 63,
                                    UINT64_MAX};
    return below(4) ? draw() >> below(64) : ends[below(sizeof(ends) / sizeof(ends[0]))];
}

static uint8_t junk[70000];

static struct bytes text(bool may_be_absent)
{
    uint32_t kind = below(12);
    uint32_t count = kind > 3   ? below(40)
                     : kind > 1 ? below(300)
                     : kind     ? 65530 + below(12)
                                : below(3000);
    return may_be_absent && below(2) ? (struct bytes){NULL, 0} : (struct bytes){junk, count};
}

/* --- written field by field, so that any value may stand anywhere -------------------------------
 */

static void write_number(struct wire_buffer *out)
{
    if (below(40) == 0)
        wire_write_nil(out);
    else if (below(40) == 0)
        wire_write_int(out, (int64_t)draw() >> below(64));
    else
        wire_write_uint(out, below(3) ? below(200) : number());
}

static void write_text(struct wire_buffer *out, bool may_be_absent)
{
    struct bytes bytes = text(may_be_absent);
    if (below(2))
        wire_write_str(out, bytes);
    else
        wire_write_bin(out, bytes);
}

static void write_numbers(struct wire_buffer *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        write_number(out);
}

static void write_name(struct wire_buffer *out)
{
    write_number(out);
    write_text(out, false);
    write_number(out);
}

static void write_task(struct wire_buffer *out)
{
    uint32_t more = below(3);
    wire_write_array(out, 14 + more);
    write_name(out);
    write_numbers(out, 6);
    for (int i = 0; i < 3; i++)
        write_text(out, true);
    write_numbers(out, 2);
    for (uint32_t i = 0; i < more; i++)
        wire_write_bool(out, below(2));
}

static void write_report(struct wire_buffer *out)
{
    uint32_t options = below(3) ? 0 : below(7);
    wire_write_array(out, 9 + options);
    write_name(out);
    write_number(out);
    wire_write_uint(out, below(5));
    for (int i = 0; i < 2; i++)
        if (below(2))
            wire_write_nil(out);
        else
            write_number(out);
    write_numbers(out, 2);
    for (uint32_t i = 0; i < options; i++)
        if (i == 2 || i == 5)
            wire_write_int(out, below(6));
        else
            write_text(out, true);
}

/* --- whole and damaged --------------------------------------------------------------------------
 */

static void expect_the_same(const uint8_t *data, size_t count)
{
    const char *what = read_twice(data, count);
    if (what)
        fail_msg("%s differs (seed %" PRIu64 ")", what, first_seed);
}

static void damage(struct wire_buffer *item)
{
    for (uint32_t i = below(3); i > 0; i--)
        item->data[below((uint32_t)item->count)] = (uint8_t)draw();
    if (below(2)) /* the first bytes say most */
        item->data[below(item->count < 24 ? (uint32_t)item->count : 24)] = (uint8_t)draw();
    if (below(3) == 0)
        item->count = below((uint32_t)item->count);
}

static void both_ways_of_reading_give_the_same(void **state)
{
    struct wire_buffer item;
    (void)state;
    wire_buffer_init(&item);
    memset(junk, 'j', sizeof(junk));
    for (int i = 0; i < ITEMS; i++) {
        wire_buffer_clear(&item);
        if (i % 2)
            write_task(&item);
        else
            write_report(&item);
        assert_false(item.failed);
        expect_the_same(item.data, item.count);
        damage(&item);
        expect_the_same(item.data, item.count);
    }
    wire_buffer_release(&item);
}

int main(int argc, char **argv)
{
    first_seed = random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    printf("seed %" PRIu64 "\n", first_seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_of_reading_give_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
