/* test_store_pages.c - each field of a store's pages takes other values, one at a time: the check
 * refuses the file with a text, or a visit gives exactly what was stored; a salvage ends, and says
 * what is lost where it gives less. (test_store_damage takes bytes at random, and lets LMDB open
 * what is left. Here the places are those that mean something, and pages of every kind are among
 * them: headers, branches, leaves, values of their own, and a list of free pages that is a value of
 * its own, too.)
 */
#include "store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_lmdb_snapshot.h"
#include "test_store_help.h"

enum {
    PAGE = 4096,
    RECORDS = 600,
    LARGE = 300, /* of them had a value of two pages each, and are removed at once */
    LARGE_BYTES = 6000,
    SALVAGE_EVERY = 5, /* a salvage reads value by value: not for all, but for all of a header */
    EACH_KIND = 2,     /* pages of a kind are taken at the most, beside those that lead to others */
    PLACES_MAX = 48,
};

static char directory[HELP_PATH_BYTES];
static char data_path[HELP_PATH_BYTES + 16];
static uint8_t *image;
static size_t image_bytes;
static int data_fd;

/* --- the file -------------------------------------------------------------------------------- */

static void add(struct store_batch *batch, uint64_t number, bool is_present)
{
    static uint8_t body[LARGE_BYTES];
    uint32_t count = number % (RECORDS / LARGE) ? 150 : LARGE_BYTES;
    struct store_row row = {.table = STORE_RECORDS,
                            .a = number,
                            .count = is_present ? count : 0,
                            .remove = !is_present};
    struct store_state known = {.number = number,
                                .state = number,
                                .due_us = (int64_t)number,
                                .flags = is_present ? STATE_PRESENT : 0};
    memset(body, (int)number, sizeof(body));
    assert_true(store_batch_add_row(batch, &row, body));
    assert_true(store_batch_add_state(batch, &known));
}

static void read_image(void)
{
    struct stat found;
    data_fd = open(data_path, O_RDWR | O_CLOEXEC);
    assert_true(data_fd >= 0 && fstat(data_fd, &found) == 0);
    image_bytes = (size_t)found.st_size;
    image = malloc(image_bytes);
    assert_non_null(image);
    assert_int_equal(pread(data_fd, image, image_bytes, 0), image_bytes);
}

/* Two folded commits, of which the second frees many pages at once, and two in the journal. */
static int make_image(void **state)
{
    (void)state;
    help_directory(directory);
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", directory);
    struct store_options options = help_options(directory);
    struct store_batch *batch = store_batch_new();
    options.sync = STORE_SYNC_NEVER;
    options.journal_bytes_max = 1;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    for (uint64_t number = 1; number <= RECORDS; number++)
        add(batch, number, true);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    for (uint64_t number = 1; number <= RECORDS; number++)
        if (number % (RECORDS / LARGE) == 0 && number > 20)
            add(batch, number, false);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_destroy(&store);
    options.journal_bytes_max = 0;
    store = help_open(&options);
    fence = store->fence;
    for (uint64_t i = 0; i < 2; i++) {
        for (uint64_t number = 1; number <= 200; number++)
            add(batch, number + RECORDS * (i + 1), true);
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    }
    store_destroy(&store);
    store_batch_destroy(&batch);
    read_image();
    return 0;
}

static int drop_image(void **state)
{
    (void)state;
    close(data_fd);
    free(image);
    help_remove(directory);
    return 0;
}

static void restore(uint64_t page)
{
    /* A check may set a header forward. */
    assert_int_equal(pwrite(data_fd, image, (size_t)2 * PAGE, 0), 2 * PAGE);
    off_t at = (off_t)(page * PAGE);
    assert_int_equal(pwrite(data_fd, image + at, PAGE, at), PAGE);
}

/* --- what is made of it ---------------------------------------------------------------------- */

struct sight {
    uint64_t records, sum, lines;
};

static enum status see_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)row;
    (void)bytes;
    ((struct sight *)user)->sum++;
    return STATUS_OK;
}

static enum status see_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                              void *user)
{
    struct sight *sight = user;
    sight->records++;
    sight->sum += state->number * count + body[count - 1] + (uint64_t)state->due_us;
    return STATUS_OK;
}

static void see_line(const char *line, void *user)
{
    assert_true(line[0]);
    ((struct sight *)user)->lines++;
}

static struct sight whole;

/* Returns whether it was refused. */
static bool look(uint64_t page, size_t at, unsigned value)
{
    char why[STORE_WHY_BYTES] = "";
    struct sight seen = {0}, saved = {0};
    const struct store_visitor visitor = {see_row, see_record, &seen};
    const struct store_salvage asked = {{see_row, see_record, &saved}, see_line, see_line, &saved};
    enum status status = store_visit_lmdb(directory, &visitor, why);
    const char *wrong = NULL;
    if (status && !why[0])
        wrong = "refused without a text";
    if (!status && (seen.records != whole.records || seen.sum != whole.sum))
        wrong = "another store was read";
    static unsigned looks;
    if (page < 2 || ++looks % SALVAGE_EVERY == 0) {
        why[0] = '\0';
        enum status salvaged = store_salvage_lmdb(directory, &asked, why);
        bool is_less = saved.records != whole.records || saved.sum != whole.sum;
        if (salvaged ? !why[0] : is_less && !saved.lines)
            wrong = "a salvage lost in silence";
    }
    if (wrong)
        fail_msg("page %zu, byte %zu, %u: %s (%zu, %zu of %zu)", (size_t)page, at, value, wrong,
                 (size_t)seen.records, (size_t)saved.records, (size_t)whole.records);
    return status != STATUS_OK;
}

/* --- places ---------------------------------------------------------------------------------- */

static uint16_t read_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

/* The 16-bit fields of an entry of a branch or leaf: its place, sizes and flags, its key and what
 * follows. */
static size_t add_entry(size_t *places, size_t count, const uint8_t *page, unsigned i)
{
    size_t slot = TREE_PAGE_HEAD_BYTES + 2 * (size_t)i;
    size_t entry = read_u16(page + slot);
    places[count++] = slot;
    for (size_t at = entry; at < entry + 8; at += 2)
        places[count++] = at;
    places[count++] = entry + 8;
    places[count++] = entry + 8 + read_u16(page + entry + 6); /* the value */
    return count;
}

static size_t find_places(const uint8_t *page, uint64_t number, size_t places[PLACES_MAX])
{
    size_t count = 0;
    uint16_t flags = read_u16(page + 10);
    size_t end = number < 2 ? TREE_PAGE_HEAD_BYTES + 20 : TREE_PAGE_HEAD_BYTES;
    for (size_t at = 0; at < end; at += 2)
        places[count++] = at;
    if (number < 2) { /* of both trees: flags, depth, counts, root; the last page, the number */
        for (size_t at = TREE_PAGE_HEAD_BYTES + 24; at < TREE_PAGE_HEAD_BYTES + 136; at += 8)
            places[count++] = at;
        places[count++] = TREE_PAGE_HEAD_BYTES + 28;
        places[count++] = TREE_PAGE_HEAD_BYTES + 30;
        places[count++] = TREE_PAGE_HEAD_BYTES + 76;
        places[count++] = TREE_PAGE_HEAD_BYTES + 78;
    } else if (flags != 4) {
        unsigned entries = (read_u16(page + 12) - TREE_PAGE_HEAD_BYTES) / 2u;
        count = add_entry(places, count, page, 0);
        if (entries > 1)
            count = add_entry(places, count, page, entries - 1);
        if (entries > 2)
            count = add_entry(places, count, page, 1);
    } else {
        places[count++] = TREE_PAGE_HEAD_BYTES;     /* of a list of free pages: how many */
        places[count++] = TREE_PAGE_HEAD_BYTES + 8; /* and the first */
    }
    return count;
}

/* How many of its values are refused. */
static int change_page(uint64_t number)
{
    size_t places[PLACES_MAX];
    uint8_t changed[PAGE];
    const uint8_t *page = image + number * PAGE;
    int refused = 0;
    size_t count = find_places(page, number, places);
    assert_in_range(count, 1, PLACES_MAX);
    for (size_t i = 0; i < count; i++) {
        uint16_t was = places[i] + 2 <= PAGE ? read_u16(page + places[i]) : 0;
        const uint16_t values[] = {0,
                                   1,
                                   0xffff,
                                   (uint16_t)(was + 1),
                                   (uint16_t)(was + 2),
                                   0x7,
                                   (uint16_t)(was ^ 2),
                                   (uint16_t)(was - 1)};
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            if (places[i] + 2 > PAGE || values[k] == was)
                continue;
            memcpy(changed, page, PAGE);
            memcpy(changed + places[i], &values[k], sizeof(values[k]));
            assert_int_equal(pwrite(data_fd, changed, PAGE, (off_t)(number * PAGE)), PAGE);
            refused += look(number, places[i], values[k]);
            restore(number);
        }
    }
    return refused;
}

/* Whether the file is refused when this page claims another number. */
static bool is_in_use(uint64_t number)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_lmdb_pages pages;
    uint8_t other = (uint8_t)~image[number * PAGE];
    assert_int_equal(pwrite(data_fd, &other, 1, (off_t)(number * PAGE)), 1);
    bool is_refused = store_lmdb_pages_check(directory, &pages, why) != STATUS_OK;
    restore(number);
    return is_refused;
}

static const struct snapshot_header *newest_header(void)
{
    const struct snapshot_header *headers[2];
    for (size_t i = 0; i < 2; i++)
        headers[i] = (const struct snapshot_header *)(image + i * PAGE + TREE_PAGE_HEAD_BYTES);
    return headers[headers[1]->transaction > headers[0]->transaction];
}

static void each_field_of_a_page_is_refused_or_means_nothing(void **state)
{
    (void)state;
    unsigned taken[16] = {0}, pages = 0;
    int refused = change_page(0) + change_page(1);
    const struct snapshot_header *header = newest_header();
    for (uint64_t page = 2; page < image_bytes / PAGE; page++) {
        unsigned kind = read_u16(image + page * PAGE + 10) % 16u;
        bool leads = page == header->main.root || page == header->free.root;
        if ((!leads && taken[kind] >= EACH_KIND) || !is_in_use(page))
            continue;
        taken[kind] += !leads;
        pages++;
        refused += change_page(page);
    }
    print_message("%zu pages, %u and the headers changed, %d trials refused\n", image_bytes / PAGE,
                  pages, refused);
    assert_true(taken[1] && taken[2] && taken[4] == EACH_KIND);
    assert_true(refused > 500);
}

static void where_no_header_is_left_nothing_can_be_found(void **state)
{
    (void)state;
    static const uint8_t zeros[TREE_PAGE_HEAD_BYTES + 8];
    char why[STORE_WHY_BYTES] = "";
    struct sight saved = {0};
    struct store_lmdb_pages pages;
    const struct store_salvage asked = {{see_row, see_record, &saved}, see_line, see_line, &saved};
    for (off_t page = 0; page < 2; page++)
        assert_int_equal(pwrite(data_fd, zeros, sizeof(zeros), page * PAGE), sizeof(zeros));
    assert_int_equal(store_salvage_lmdb(directory, &asked, why), STATUS_CORRUPT);
    assert_non_null(strstr(why, "both headers"));
    restore(0);
    assert_int_equal(store_salvage_lmdb("/nowhere/at/all", &asked, why), STATUS_NOT_FOUND);
    assert_int_equal(store_lmdb_pages_check("/nowhere/at/all", &pages, why), STATUS_NOT_FOUND);
}

static void the_undamaged_file_is_read_whole(void **state)
{
    (void)state;
    char why[STORE_WHY_BYTES] = "";
    const struct store_visitor visitor = {see_row, see_record, &whole};
    assert_int_equal(store_visit_lmdb(directory, &visitor, why), STATUS_OK);
    assert_int_equal(whole.records, RECORDS - LARGE + 10 + 400);
    assert_false(look(0, 0, image[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_file_is_read_whole),
        cmocka_unit_test(each_field_of_a_page_is_refused_or_means_nothing),
        cmocka_unit_test(where_no_header_is_left_nothing_can_be_found),
    };
    return cmocka_run_group_tests(tests, make_image, drop_image);
}
