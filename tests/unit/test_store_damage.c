/* test_store_damage.c - any byte of the file may be wrong: the store is refused with a text, or it
 * holds exactly what was stored. Never other data, never a crash. A salvage of it gives only what
 * was stored, and names what is missing. Each trial runs in a child. */
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_store_help.h"

enum { TRIALS_DEFAULT = 200, MODEL_SEED = 9, BATCHES = 60 };
enum outcome { SAME, REFUSED, OTHER_DATA, NO_TEXT, NOT_KEPT, SILENT_LOSS };

static char directory[HELP_PATH_BYTES];
static char data_path[HELP_PATH_BYTES + 16];
static char lock_path[HELP_PATH_BYTES + 16];
static uint8_t *image;
static size_t image_bytes;
static struct model *model;
static struct model *model_before; /* the last commit */

static int trials(void)
{
    const char *text = getenv("EVERDUE_TEST_TRIALS");
    return text ? atoi(text) : TRIALS_DEFAULT;
}

static int make_image(void **state)
{
    (void)state;
    struct stat found;
    help_directory(directory);
    struct store_options options = help_options(directory);
    struct store_batch *batch = store_batch_new();
    options.sync = STORE_SYNC_NEVER;
    model = model_new(MODEL_SEED);
    model_before = model_new(MODEL_SEED);
    for (int round = 0; round < 3; round++) {
        /* The last round leaves something in the journal. */
        options.journal_bytes_max = round < 2 ? 1 : 0;
        struct store *store = help_open(&options);
        struct store_fence fence = store->fence;
        for (int i = 0; i < BATCHES / 3; i++) {
            *model_before = *model;
            model_step(model, batch);
            assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        }
        store_destroy(&store);
    }
    store_batch_destroy(&batch);
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", directory);
    snprintf(lock_path, sizeof(lock_path), "%s/lock.mdb", directory);
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &found) == 0);
    image_bytes = (size_t)found.st_size;
    image = malloc(image_bytes);
    assert_non_null(image);
    assert_int_equal(read(fd, image, image_bytes), image_bytes);
    close(fd);
    return 0;
}

static int drop_image(void **state)
{
    (void)state;
    help_remove(directory);
    free(image);
    free(model);
    free(model_before);
    return 0;
}

static void write_image(size_t count)
{
    int fd = open(data_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, image, count), count);
    close(fd);
    unlink(lock_path);
}

/* In the child. What a damaged store accepts it must keep, so some batches are committed, too. */
static enum outcome try_store(void)
{
    char why[STORE_WHY_BYTES] = "";
    char difference[STORE_WHY_BYTES + 64];
    struct store_options options = help_options(directory);
    struct store *store = NULL;
    options.sync = STORE_SYNC_NEVER;
    options.journal_bytes_max = 1;
    if (store_open_lmdb(&store, &options, why, sizeof(why)))
        return why[0] ? REFUSED : NO_TEXT;
    if (store->fence.sequence != model->sequence)
        return OTHER_DATA;
    if (!model_equals(model, store, difference, sizeof(difference)))
        return store_why(store)[0] ? REFUSED : OTHER_DATA;
    struct store_fence fence = store->fence;
    for (int i = 0; i < 10; i++) {
        struct store_batch *batch = store_batch_new();
        model_step(model, batch);
        if (help_commit(store, &fence, batch))
            return NOT_KEPT;
        store_batch_destroy(&batch);
    }
    bool same = model_equals(model, store, difference, sizeof(difference));
    store_destroy(&store);
    if (!same || store_open_lmdb(&store, &options, why, sizeof(why)))
        return NOT_KEPT;
    same = model_equals(model, store, difference, sizeof(difference));
    store_destroy(&store);
    return same ? SAME : NOT_KEPT;
}

/* --- salvage --------------------------------------------------------------------------------- */

struct salvaged {
    uint64_t records;
    uint64_t rows;
    uint64_t losses;
    bool may_be_older; /* a loss said so */
    bool is_wrong;
};

static void note_loss(const char *what, void *user)
{
    struct salvaged *salvaged = user;
    salvaged->losses++;
    if (strstr(what, "journal") || strstr(what, "as it was before"))
        salvaged->may_be_older = true;
    if (getenv("EVERDUE_TEST_SAY"))
        print_message("lost: %s\n", what);
}

static void note_nothing(const char *what, void *user)
{
    (void)user;
    if (getenv("EVERDUE_TEST_SAY"))
        print_message("note: %s\n", what);
}

static enum status take_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    struct salvaged *salvaged = user;
    salvaged->rows++;
    if (!model_has_row(model, row, bytes) &&
        !(salvaged->may_be_older && model_has_row(model_before, row, bytes)))
        salvaged->is_wrong = true;
    return STATUS_OK;
}

static enum status take_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    struct salvaged *salvaged = user;
    uint64_t number = state->number;
    bool is_right = model_has_body(model, number, body, count) ||
                    (salvaged->may_be_older && model_has_body(model_before, number, body, count));
    salvaged->records++;
    if (is_right && state->state && !salvaged->may_be_older)
        is_right = memcmp(state, &model->records[number].state, sizeof(*state)) == 0;
    if (!is_right)
        salvaged->is_wrong = true;
    return STATUS_OK;
}

/* What the model has, without changes that wait for a record which is gone. */
static void count_model(uint64_t *records, uint64_t *rows)
{
    *records = *rows = 0;
    for (uint64_t i = 1; i <= model->numbers; i++)
        *records += model->records[i].present;
    for (size_t table = 0; table < STORE_TABLE_COUNT; table++)
        for (size_t i = 0; i < MODEL_KEYS; i++)
            *rows += model->rows[table][i].present &&
                     (table != STORE_PENDING || model->records[i].present);
}

/* The share of records that came out is added to this, in 1/1000; shared with the children. */
static uint64_t *share;

static enum outcome try_salvage(void)
{
    char why[STORE_WHY_BYTES] = "";
    struct salvaged salvaged = {.records = 0};
    const struct store_salvage asked = {
        {take_row, take_record, &salvaged}, note_loss, note_nothing, &salvaged};
    uint64_t records = 0;
    uint64_t rows = 0;
    count_model(&records, &rows);
    enum status status = store_salvage_lmdb(directory, &asked, why);
    if (status)
        return status == STATUS_CORRUPT && why[0] ? REFUSED : NO_TEXT;
    *share += salvaged.records * 1000 / records;
    if (salvaged.is_wrong)
        return OTHER_DATA;
    if (salvaged.losses)
        return REFUSED;
    return salvaged.records == records && salvaged.rows == rows ? SAME : SILENT_LOSS;
}

static enum outcome run_in_child(enum outcome (*try)(void), const char *what, uint64_t where)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        help_end_child(try());
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        fail_msg("%s %" PRIu64 ": killed by signal %d", what, where, WTERMSIG(status));
    if (WEXITSTATUS(status) > REFUSED)
        fail_msg("%s %" PRIu64 ": outcome %d", what, where, WEXITSTATUS(status));
    return (enum outcome)WEXITSTATUS(status);
}

static enum outcome try_in_child(const char *what, uint64_t where)
{
    return run_in_child(try_store, what, where);
}

static void the_undamaged_file_holds_what_was_stored(void **state)
{
    (void)state;
    write_image(image_bytes);
    assert_int_equal(try_in_child("byte", 0), SAME);
}

static void a_flipped_byte_is_refused_or_does_not_matter(void **state)
{
    (void)state;
    uint64_t random = 5;
    int outcomes[2] = {0, 0};
    for (int i = 0; i < trials(); i++) {
        /* Every fourth in the headers, which are only 2 pages. */
        size_t at = (size_t)help_below(&random, i % 4 ? image_bytes : 300);
        if (i % 8 == 0)
            at += 4096;
        uint8_t flip = (uint8_t)(1u << help_below(&random, 8));
        if (i % 3 == 0)
            flip = (uint8_t)(1 + help_below(&random, 255));
        image[at] ^= flip;
        write_image(image_bytes);
        outcomes[try_in_child("byte", at)]++;
        image[at] ^= flip;
    }
    print_message("%zu bytes: %d same, %d refused\n", image_bytes, outcomes[SAME],
                  outcomes[REFUSED]);
    assert_true(outcomes[REFUSED] > 0);
}

static void a_file_that_was_cut_off_is_refused_or_lost_only_free_pages(void **state)
{
    (void)state;
    uint64_t random = 6;
    for (int i = 0; i < trials() / 4; i++) {
        size_t count = (size_t)help_below(&random, image_bytes);
        write_image(count);
        enum outcome outcome = try_in_child("cut", count);
        if (count < image_bytes / 2)
            assert_int_equal(outcome, REFUSED);
    }
}

static void pages_of_other_bytes_are_refused_or_do_not_matter(void **state)
{
    (void)state;
    enum { BLOCK = 512 };
    uint64_t random = 8;
    uint8_t before[BLOCK];
    for (int i = 0; i < trials() / 4; i++) {
        size_t to = (size_t)help_below(&random, image_bytes / BLOCK) * BLOCK;
        size_t from = (size_t)help_below(&random, image_bytes / BLOCK) * BLOCK;
        memcpy(before, image + to, BLOCK);
        if (i % 2)
            memmove(image + to, image + from, BLOCK);
        else
            memset(image + to, 0, BLOCK);
        write_image(image_bytes);
        try_in_child("block", to);
        memcpy(image + to, before, BLOCK);
    }
}

/* The newest header claims to be an older commit: as LMDB leaves it when its write failed; or the
 * first of all. */
static void a_header_that_was_set_back_does_not_lose_its_commit(void **state)
{
    (void)state;
    enum { NUMBER_AT = 16 + 128 };
    uint64_t numbers[2];
    memcpy(&numbers[0], image + NUMBER_AT, sizeof(numbers[0]));
    memcpy(&numbers[1], image + 4096 + NUMBER_AT, sizeof(numbers[1]));
    unsigned slot = numbers[1] > numbers[0];
    uint8_t *newest = image + slot * 4096 + NUMBER_AT;
    const uint64_t claimed[] = {numbers[slot] - 2, 1, 0};
    for (size_t i = 0; i < sizeof(claimed) / sizeof(claimed[0]); i++) {
        memcpy(newest, &claimed[i], sizeof(claimed[i]));
        write_image(image_bytes);
        assert_int_equal(try_in_child("header", claimed[i]), SAME);
    }
    memcpy(newest, &numbers[slot], sizeof(numbers[slot]));
}

static void begin_share(void)
{
    share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(share != MAP_FAILED);
}

static void nothing_is_lost_of_an_undamaged_file(void **state)
{
    (void)state;
    begin_share();
    write_image(image_bytes);
    assert_int_equal(run_in_child(try_salvage, "byte", 0), SAME);
    assert_int_equal(*share, 1000);
    munmap(share, sizeof(*share));
}

static void a_salvage_loses_little_to_a_flipped_byte_and_names_it(void **state)
{
    (void)state;
    uint64_t random = 11;
    int outcomes[2] = {0, 0};
    begin_share();
    for (int i = 0; i < trials(); i++) {
        size_t at = (size_t)help_below(&random, i % 4 ? image_bytes : 8192);
        uint8_t flip =
            (uint8_t)(i % 3 ? 1u << help_below(&random, 8) : 1 + help_below(&random, 255));
        image[at] ^= flip;
        write_image(image_bytes);
        outcomes[run_in_child(try_salvage, "byte", at)]++;
        image[at] ^= flip;
    }
    print_message("%d whole, %d with losses, %g %% of the records\n", outcomes[SAME],
                  outcomes[REFUSED], (double)*share / trials() / 10);
    assert_true(outcomes[SAME] > 0 && outcomes[REFUSED] > 0);
    assert_true(*share >= 990 * (uint64_t)trials());
    munmap(share, sizeof(*share));
}

/* Whole pages, several at once: branches, leaves, the list of free pages, values of their own. */
static void
a_salvage_of_a_file_with_many_damaged_pages_is_right_and_names_what_is_lost(void **state)
{
    (void)state;
    enum { PAGE = 4096 };
    uint64_t random = 12;
    uint8_t *whole = malloc(image_bytes);
    assert_non_null(whole);
    memcpy(whole, image, image_bytes);
    begin_share();
    for (int i = 0; i < trials() / 4; i++) {
        for (uint64_t left = 1 + help_below(&random, 6); left > 0; left--) {
            size_t to = (size_t)(2 + help_below(&random, image_bytes / PAGE - 2)) * PAGE;
            size_t from = (size_t)help_below(&random, image_bytes / PAGE) * PAGE;
            if (i % 2)
                memset(image + to, 0, PAGE);
            else
                memcpy(image + to, whole + from, PAGE);
        }
        write_image(image_bytes);
        run_in_child(try_salvage, "pages of trial", (uint64_t)i);
        memcpy(image, whole, image_bytes);
    }
    print_message("%g %% of the records\n", (double)*share / (trials() / 4) / 10);
    munmap(share, sizeof(*share));
    free(whole);
}

static void a_salvage_of_a_file_that_was_cut_off_names_what_is_lost(void **state)
{
    (void)state;
    uint64_t random = 13;
    begin_share();
    for (int i = 0; i < trials() / 8; i++) {
        size_t count = (size_t)help_below(&random, image_bytes);
        write_image(count);
        run_in_child(try_salvage, "cut", count);
    }
    munmap(share, sizeof(*share));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_file_holds_what_was_stored),
        cmocka_unit_test(a_flipped_byte_is_refused_or_does_not_matter),
        cmocka_unit_test(a_file_that_was_cut_off_is_refused_or_lost_only_free_pages),
        cmocka_unit_test(pages_of_other_bytes_are_refused_or_do_not_matter),
        cmocka_unit_test(a_header_that_was_set_back_does_not_lose_its_commit),
        cmocka_unit_test(nothing_is_lost_of_an_undamaged_file),
        cmocka_unit_test(a_salvage_loses_little_to_a_flipped_byte_and_names_it),
        cmocka_unit_test(
            a_salvage_of_a_file_with_many_damaged_pages_is_right_and_names_what_is_lost),
        cmocka_unit_test(a_salvage_of_a_file_that_was_cut_off_names_what_is_lost),
    };
    return cmocka_run_group_tests(tests, make_image, drop_image);
}
