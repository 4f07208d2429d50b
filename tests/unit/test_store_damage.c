/* test_store_damage.c - any byte of the file may be wrong: the store is refused with a text, or it
 * holds exactly what was stored. Never other data, never a crash. Each trial runs in a child. */
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_store_help.h"

enum { TRIALS_DEFAULT = 400, MODEL_SEED = 9, BATCHES = 60 };
enum outcome { SAME = 0, REFUSED = 1, OTHER_DATA = 2, NO_TEXT = 3, NOT_KEPT = 4 };

static char directory[HELP_PATH_BYTES];
static char data_path[HELP_PATH_BYTES + 16];
static char lock_path[HELP_PATH_BYTES + 16];
static uint8_t *image;
static size_t image_bytes;
static struct model *model;

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
    for (int round = 0; round < 3; round++) {
        /* The last round leaves something in the journal. */
        options.journal_bytes_max = round < 2 ? 1 : 0;
        struct store *store = help_open(&options);
        struct store_fence fence = store->fence;
        for (int i = 0; i < BATCHES / 3; i++) {
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

static enum outcome try_in_child(const char *what, uint64_t where)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(try_store());
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        fail_msg("%s %" PRIu64 ": killed by signal %d", what, where, WTERMSIG(status));
    if (WEXITSTATUS(status) > REFUSED)
        fail_msg("%s %" PRIu64 ": outcome %d", what, where, WEXITSTATUS(status));
    return (enum outcome)WEXITSTATUS(status);
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

/* The newest header claims to be an older commit: as LMDB leaves it when its write failed. */
static void a_header_that_was_set_back_does_not_lose_its_commit(void **state)
{
    (void)state;
    enum { NUMBER_AT = 16 + 128 };
    uint64_t numbers[2];
    memcpy(&numbers[0], image + NUMBER_AT, sizeof(numbers[0]));
    memcpy(&numbers[1], image + 4096 + NUMBER_AT, sizeof(numbers[1]));
    size_t newest = numbers[1] > numbers[0] ? 4096 + NUMBER_AT : NUMBER_AT;
    uint64_t back = (numbers[0] > numbers[1] ? numbers[0] : numbers[1]) - 2;
    uint8_t before[8];
    memcpy(before, image + newest, sizeof(before));
    memcpy(image + newest, &back, sizeof(back));
    write_image(image_bytes);
    assert_int_equal(try_in_child("header", newest), SAME);
    memcpy(image + newest, before, sizeof(before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_file_holds_what_was_stored),
        cmocka_unit_test(a_flipped_byte_is_refused_or_does_not_matter),
        cmocka_unit_test(a_file_that_was_cut_off_is_refused_or_lost_only_free_pages),
        cmocka_unit_test(pages_of_other_bytes_are_refused_or_do_not_matter),
        cmocka_unit_test(a_header_that_was_set_back_does_not_lose_its_commit),
    };
    return cmocka_run_group_tests(tests, make_image, drop_image);
}
