#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "progress.h"
#include "readable.h"
#include "row.h"
#include "sentences.h"
#include "sync_summary.h"

/* --- progress --------------------------------------------------------------------------------- */

static void the_progress_line_is_as_promised(void **state)
{
    struct progress progress = {.name = "feeds.jsonl", .total = 300000};
    char line[PROGRESS_LINE_BYTES];
    (void)state;
    assert_string_equal(progress_format(line, &progress, 186412, 0, 941474, 100),
                        "feeds.jsonl  [##################------------]  62%  186,412/300,000  "
                        "198k/s  ETA 0:01  bad 0");
    assert_string_equal(progress_format(line, &progress, 186412, 2, 941474, 60),
                        "feeds.jsonl  62%  186,412/300,000  198k/s  ETA 0:01  bad 2");
    /* What a terminal has by default: a shorter bar, and the last column free. */
    assert_string_equal(progress_format(line, &progress, 186412, 0, 941474, 80),
                        "feeds.jsonl  [##########-------]  62%  186,412/300,000  198k/s  ETA 0:01  "
                        "bad 0");
    assert_string_equal(progress_format(line, &progress, 0, 0, 0, 100),
                        "feeds.jsonl  [------------------------------]   0%  0/300,000  0/s  "
                        "ETA -:--  bad 0");
    assert_string_equal(progress_format(line, &progress, 300000, 0, 1500000, 100),
                        "feeds.jsonl  [##############################]  100%  300,000/300,000  "
                        "200k/s  ETA 0:00  bad 0");
}

static void without_a_total_there_is_no_bar(void **state)
{
    struct progress progress = {.name = "stdin"};
    char line[PROGRESS_LINE_BYTES];
    (void)state;
    assert_string_equal(progress_format(line, &progress, 5000, 1, 1000000, 100),
                        "stdin  5,000  5.0k/s  bad 1");
}

static void a_file_that_grows_stays_below_all_of_it(void **state)
{
    struct progress progress = {.name = "f", .total = 10};
    char line[PROGRESS_LINE_BYTES];
    (void)state;
    progress_format(line, &progress, 12, 0, 1000000, 100);
    assert_non_null(strstr(line, "100%  12/12"));
}

static void rates_have_about_three_digits(void **state)
{
    static const struct {
        double rate;
        const char *text;
    } rows[] = {{0, "0"},          {512, "512"},   {999.4, "999"},   {999.6, "1.0k"},
                {9840, "9.8k"},    {9960, "10k"},  {198000, "198k"}, {999600, "1.0M"},
                {1234567, "1.2M"}, {2.5e9, "2.5G"}};
    char room[32];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(progress_rate(room, rows[i].rate), rows[i].text);
}

/* --- sync ------------------------------------------------------------------------------------- */

static struct sync_summary example(void)
{
    return (struct sync_summary){
        .counts = {.created = 12431, .changed = 803, .unchanged = 286766, .absent = 210},
        .records = 300000,
        .took_us = 1500000,
    };
}

static void assert_summary(const struct sync_summary *summary, const char *expected)
{
    struct text text;
    text_init(&text);
    sync_summary_write(&text, summary);
    assert_string_equal(text.data, expected);
    text_release(&text);
}

static void the_summary_of_a_sync_is_as_promised(void **state)
{
    struct sync_summary summary = example();
    (void)state;
    assert_summary(&summary, "synced 300,000 records in 1.5 s: +12,431 new, ~803 changed, "
                             "=286,766 unchanged, 0 rejected, 210 not in the file (kept; --prune "
                             "removes)");
    summary.is_prune = true;
    summary.counts.kept = 3;
    assert_summary(&summary, "synced 300,000 records in 1.5 s: +12,431 new, ~803 changed, "
                             "=286,766 unchanged, 0 rejected, 210 not in the file (removed), 3 put "
                             "or removed meanwhile (left as they are)");
}

static void a_dry_run_says_that_nothing_was_changed(void **state)
{
    struct sync_summary summary = {
        .records = 1, .counts = {.created = 1}, .took_us = 2000000, .is_dry_run = true};
    (void)state;
    assert_summary(&summary, "would sync 1 record in 2 s: +1 new, ~0 changed, =0 unchanged, 0 "
                             "rejected, 0 not in the file; nothing was changed");
}

static void the_summary_as_json_has_all_counts(void **state)
{
    struct sync_summary summary = example();
    struct text text;
    (void)state;
    text_init(&text);
    sync_summary_write_json(&text, &summary);
    assert_string_equal(
        text.data, "{\"records\":300000,\"created\":12431,\"changed\":803,\"unchanged\":286766,"
                   "\"rejected\":0,\"absent\":210,\"pruned\":0,\"kept\":0,\"due_now\":0,"
                   "\"dry_run\":false,\"seconds\":1.500}");
    text_release(&text);
}

/* --- rows ------------------------------------------------------------------------------------- */

#define NUMBER(row_name, value)                                                                    \
    {                                                                                              \
        .name = {row_name, sizeof(row_name) - 1}, .number = (value)                                \
    }
#define TEXT(row_name, value)                                                                      \
    {                                                                                              \
        .name = {row_name, sizeof(row_name) - 1}, .is_text = true, .text = {                       \
            value,                                                                                 \
            sizeof(value) - 1                                                                      \
        }                                                                                          \
    }

static void a_row_is_passed_on_as_json(void **state)
{
    static const struct everdue_value values[] = {NUMBER("records", 17),
                                                  TEXT("store", "lmdb:\"x\""), NUMBER("other", -1)};
    struct text text;
    (void)state;
    text_init(&text);
    row_write_json(&text, &(struct row){values, 3});
    assert_string_equal(text.data, "{\"records\":17,\"store\":\"lmdb:\\\"x\\\"\",\"other\":-1}");
    text_release(&text);
}

static void numbers_are_shown_in_the_unit_of_their_name(void **state)
{
    static const struct {
        struct everdue_value value;
        const char *text;
    } rows[] = {
        {NUMBER("records", 300000), "300,000"},
        {NUMBER("lateness_us", 1300000), "1.3 s"},
        {NUMBER("seen_ms", 1300), "1.3 s"},
        {NUMBER("uptime_s", 2), "2 s"},
        {NUMBER("journal_bytes", 1572864), "1.5 MiB"},
        {NUMBER("delta", -5), "-5"},
        {NUMBER("started_s", 0), "1970-01-01T00:00:00Z"},
        {NUMBER("turn_us_max", 1300000), "1.3 s"},
        {TEXT("name", "web1:4711"), "web1:4711"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text text;
        text_init(&text);
        row_add_readable(&text, &rows[i].value);
        assert_string_equal(text.data, rows[i].text);
        text_release(&text);
    }
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    readable_add(&text, (struct everdue_bytes){"\x1b[2J", 4});
    assert_string_equal(text.data, "base64:G1sySg==");
    text_clear(&text);
    readable_add(&text, (struct everdue_bytes){"\xc2\x9b", 2});
    assert_string_equal(text.data, "base64:wps=");
    text_clear(&text);
    readable_add(&text, (struct everdue_bytes){"\xc3\xa9 {}", 5});
    assert_string_equal(text.data, "\xc3\xa9 {}");
    text_release(&text);
}

/* --- sentences -------------------------------------------------------------------------------- */

/* Of a broker with the queues "feeds" and "hosts", where the row is that of "hosts". */
static bool write_sentences(struct text *text, const struct everdue_value *values, size_t count,
                            const struct everdue_value *of_hosts)
{
    static const struct everdue_value feeds[] = {TEXT("name", "feeds"), NUMBER("ready", 0)};
    struct sentences_queues queues;
    struct everdue_value hosts[3] = {TEXT("name", "hosts"), of_hosts[0], of_hosts[1]};
    sentences_queues_init(&queues);
    sentences_add_queue(&queues, &(struct row){feeds, 2});
    sentences_add_queue(&queues, &(struct row){hosts, 3});
    text_init(text);
    bool is_well = sentences_write(text, &(struct row){values, count}, &queues);
    sentences_queues_release(&queues);
    return is_well;
}

static void all_is_well_is_said_first(void **state)
{
    static const struct everdue_value values[] = {
        NUMBER("records", 300000), NUMBER("waiting", 299998), NUMBER("ready", 1),
        NUMBER("leased", 1),       NUMBER("workers", 4),      TEXT("store", "memory"),
        TEXT("version", "0.1.0"),  NUMBER("uptime_s", 3600),
    };
    static const struct everdue_value hosts[] = {NUMBER("ready", 1), NUMBER("workers", 4)};
    struct text text;
    (void)state;
    assert_true(write_sentences(&text, values, 8, hosts));
    assert_memory_equal(text.data, "All is well.\n300,000 records in 2 queues: ", 42);
    assert_non_null(strstr(text.data, "4 workers are connected"));
    text_release(&text);
}

static void what_is_wrong_is_said_with_what_to_do(void **state)
{
    static const struct {
        struct everdue_value values[2];
        struct everdue_value hosts[2];
        const char *sentence;
    } rows[] = {
        {{NUMBER("ready", 1), NUMBER("workers", 0)},
         {NUMBER("ready", 1), NUMBER("workers", 0)},
         "! Nobody works: 1 record due"},
        {{NUMBER("ready", 1), NUMBER("workers", 1)},
         {NUMBER("ready", 1), NUMBER("workers", 0)},
         "! Nobody works on hosts: "},
        {{NUMBER("head_lateness_us", 60000000), NUMBER("workers", 1)},
         {NUMBER("ready", 1), NUMBER("workers", 1)},
         "! Work is late"},
        {{NUMBER("parked", 2), NUMBER("workers", 1)},
         {NUMBER("parked", 2), NUMBER("workers", 1)},
         "! Set aside after failures: 2 records of hosts. See: everdue list --state parked "
         "--queue "},
        {{NUMBER("draining", 1), NUMBER("workers", 1)},
         {NUMBER("ready", 0), NUMBER("parked", 0)},
         "! The broker drains"},
        {{NUMBER("disk_short", 1), NUMBER("workers", 1)},
         {NUMBER("ready", 0), NUMBER("parked", 0)},
         "! The disk is all but full"},
        {{NUMBER("safe_mode", 1), NUMBER("workers", 1)},
         {NUMBER("ready", 0), NUMBER("parked", 0)},
         "! Safe mode: the broker crashed"},
        {{NUMBER("records", 1), NUMBER("workers", 1)},
         {NUMBER("paused", 1), NUMBER("ready", 1)},
         "! Paused: hosts."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text text;
        assert_false(write_sentences(&text, rows[i].values, 2, rows[i].hosts));
        assert_memory_equal(text.data, rows[i].sentence, strlen(rows[i].sentence));
        text_release(&text);
    }
}

static void a_full_set_that_stands_open_is_said_with_its_holder(void **state)
{
    static const struct everdue_value stuck[] = {
        TEXT("name", "feeds"), TEXT("sync", "open"), TEXT("sync_by", "web1:42"),
        NUMBER("sync_age_s", 720), NUMBER("sync_idle_s", 540)};
    static const struct everdue_value busy[] = {TEXT("name", "feeds"), NUMBER("sync_idle_s", 2)};
    struct sentences_queues queues;
    (void)state;
    sentences_queues_init(&queues);
    sentences_add_queue(&queues, &(struct row){busy, 2});
    assert_int_equal(queues.syncs.count, 0);
    sentences_add_queue(&queues, &(struct row){stuck, 5});
    assert_string_equal(queues.syncs.data,
                        "! A full set of feeds stands open, no other can begin: web1:42 began it "
                        "12 min ago and was not heard for 9 min. Is it stuck? Stop it\n");
    sentences_queues_release(&queues);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_set_that_stands_open_is_said_with_its_holder),
        cmocka_unit_test(the_progress_line_is_as_promised),
        cmocka_unit_test(without_a_total_there_is_no_bar),
        cmocka_unit_test(a_file_that_grows_stays_below_all_of_it),
        cmocka_unit_test(rates_have_about_three_digits),
        cmocka_unit_test(the_summary_of_a_sync_is_as_promised),
        cmocka_unit_test(a_dry_run_says_that_nothing_was_changed),
        cmocka_unit_test(the_summary_as_json_has_all_counts),
        cmocka_unit_test(a_row_is_passed_on_as_json),
        cmocka_unit_test(numbers_are_shown_in_the_unit_of_their_name),
        cmocka_unit_test(control_characters_do_not_reach_a_terminal),
        cmocka_unit_test(all_is_well_is_said_first),
        cmocka_unit_test(what_is_wrong_is_said_with_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
