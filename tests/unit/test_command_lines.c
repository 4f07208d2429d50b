#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "line_reader.h"
#include "places.h"

/* A file of its own for each test. */
struct file {
    char path[64];
};

static int set_up(void **state)
{
    struct file *file = calloc(1, sizeof(*file));
    if (!file)
        return -1;
    strcpy(file->path, "/tmp/everdue-lines-XXXXXX");
    int fd = mkstemp(file->path);
    *state = file;
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    struct file *file = *state;
    unlink(file->path);
    free(file);
    return 0;
}

static void write_file(const struct file *file, const void *data, size_t count)
{
    FILE *out = fopen(file->path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, count, out), count);
    assert_int_equal(fclose(out), 0);
}

static void write_gzip(const struct file *file, const void *data, unsigned count)
{
    gzFile out = gzopen(file->path, "wb");
    assert_non_null(out);
    assert_int_equal(gzwrite(out, data, count), count);
    assert_int_equal(gzclose(out), Z_OK);
}

static void assert_line(struct line_reader *reader, const char *expected)
{
    const char *line;
    size_t count;
    assert_int_equal(line_reader_next(reader, &line, &count), LINE_READER_LINE);
    assert_int_equal(count, strlen(expected));
    assert_memory_equal(line, expected, count);
}

static void assert_end(struct line_reader *reader)
{
    const char *line;
    size_t count;
    assert_int_equal(line_reader_next(reader, &line, &count), LINE_READER_END);
}

static void assert_three_lines(const char *path)
{
    struct line_reader lines;
    assert_true(line_reader_open(&lines, path));
    assert_line(&lines, "one");
    assert_line(&lines, "");
    assert_line(&lines, "three");
    assert_int_equal(lines.number, 3);
    assert_end(&lines);
    line_reader_close(&lines);
    assert_int_equal(line_reader_count(path), 3);
}

static void a_file_is_read_line_by_line(void **state)
{
    struct file *file = *state;
    write_file(file, "one\n\nthree\n", 11);
    assert_three_lines(file->path);
}

static void the_last_line_needs_no_newline(void **state)
{
    struct file *file = *state;
    write_file(file, "one\n\nthree", 10);
    assert_three_lines(file->path);
}

static void a_gzip_file_is_read_line_by_line(void **state)
{
    struct file *file = *state;
    write_gzip(file, "one\n\nthree\n", 11);
    assert_three_lines(file->path);
}

static void a_byte_order_mark_is_left_out(void **state)
{
    struct file *file = *state;
    write_file(file, "\xef\xbb\xbfone\n\nthree", 13);
    assert_three_lines(file->path);
}

static void an_empty_file_has_no_lines(void **state)
{
    struct file *file = *state;
    struct line_reader lines;
    assert_true(line_reader_open(&lines, file->path));
    assert_end(&lines);
    line_reader_close(&lines);
    assert_int_equal(line_reader_count(file->path), 0);
}

static void a_gzip_file_that_was_cut_off_is_an_error(void **state)
{
    struct file *file = *state;
    struct line_reader lines;
    const char *line;
    size_t count;
    char text[4096];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 26);
    text[100] = '\n';
    write_gzip(file, text, sizeof(text));
    FILE *whole = fopen(file->path, "r");
    assert_non_null(whole);
    size_t size = fread(text, 1, sizeof(text), whole);
    fclose(whole);
    write_file(file, text, size - 9);
    assert_true(line_reader_open(&lines, file->path));
    enum line_reader_event event;
    while ((event = line_reader_next(&lines, &line, &count)) == LINE_READER_LINE)
        continue;
    assert_int_equal(event, LINE_READER_FAILED);
    assert_string_equal(lines.why, "the gzip file is cut off");
    line_reader_close(&lines);
}

static void a_line_that_is_too_long_is_passed_over(void **state)
{
    struct file *file = *state;
    struct line_reader lines;
    const char *line;
    size_t count;
    size_t size = 3 * (size_t)LINE_READER_BYTES_MAX;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "one\n", 4);
    memcpy(text + size - 5, "\nend\n", 5);
    write_file(file, text, size);
    assert_true(line_reader_open(&lines, file->path));
    assert_line(&lines, "one");
    assert_int_equal(line_reader_next(&lines, &line, &count), LINE_READER_TOO_LONG);
    assert_int_equal(lines.number, 2);
    assert_line(&lines, "end");
    assert_int_equal(lines.number, 3);
    assert_end(&lines);
    line_reader_close(&lines);
    free(text);
}

static void the_longest_line_is_read(void **state)
{
    struct file *file = *state;
    struct line_reader lines;
    const char *line;
    size_t count;
    char *text = malloc(LINE_READER_BYTES_MAX + 3);
    assert_non_null(text);
    memset(text, 'x', LINE_READER_BYTES_MAX);
    memcpy(text + LINE_READER_BYTES_MAX, "\ny\n", 3);
    write_file(file, text, LINE_READER_BYTES_MAX + 3);
    assert_true(line_reader_open(&lines, file->path));
    assert_int_equal(line_reader_next(&lines, &line, &count), LINE_READER_LINE);
    assert_int_equal(count, LINE_READER_BYTES_MAX);
    assert_line(&lines, "y");
    assert_end(&lines);
    line_reader_close(&lines);
    free(text);
}

static void what_is_no_file_is_refused_with_its_reason(void **state)
{
    struct line_reader lines;
    (void)state;
    assert_false(line_reader_open(&lines, "/nonexistent/feeds.jsonl"));
    assert_string_equal(lines.why, "No such file or directory");
    assert_false(line_reader_open(&lines, "/tmp"));
    assert_string_equal(lines.why, "Is a directory");
}

static void a_place_leads_back_to_its_line(void **state)
{
    struct places places;
    (void)state;
    places_init(&places);
    uint64_t line = 1;
    for (uint64_t place = 0; place < 1000; place++) {
        line += place % 100 == 0 ? 3 : 1;
        assert_true(places_put(&places, place, line));
    }
    line = 1;
    for (uint64_t place = 0; place < 1000; place++) {
        line += place % 100 == 0 ? 3 : 1;
        assert_int_equal(places_find(&places, place), line);
    }
    assert_int_equal(places.count, 10);
    places_release(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_read_line_by_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_line_needs_no_newline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gzip_file_is_read_line_by_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_byte_order_mark_is_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_file_has_no_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gzip_file_that_was_cut_off_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_line_that_is_too_long_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_line_is_read, set_up, tear_down),
        cmocka_unit_test(what_is_no_file_is_refused_with_its_reason),
        cmocka_unit_test(a_place_leads_back_to_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
