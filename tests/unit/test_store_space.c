/* test_store_space.c - health, and what happens when there is no room. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_store_help.h"

static const char *const directory = help_own_directory;

static void add_record(struct store_batch *batch, uint64_t number, const void *body, size_t count)
{
    struct store_row row = {.table = STORE_RECORDS, .a = number, .count = (uint32_t)count};
    struct store_state known = {.number = number, .flags = STATE_PRESENT};
    assert_true(store_batch_add_row(batch, &row, body));
    assert_true(store_batch_add_state(batch, &known));
}

static uint64_t count_records(struct store *store)
{
    uint64_t records;
    assert_int_equal(help_count_records(store, &records), STATUS_OK);
    return records;
}

/* --- health and space ------------------------------------------------------------------------ */

static void health_counts_commits_and_bytes(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    struct store_health health;
    add_record(batch, 1, "r", 1);
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    store_get_health(store, &health);
    assert_int_equal(health.commits_total, 1);
    assert_true(health.commit_us_max > 0);
    assert_true(health.commit_us_total >= health.commit_us_max);
    assert_true(health.journal_bytes > 0);
    assert_true(health.disk_bytes > 0);
    assert_true(health.disk_free_bytes > 0 && health.disk_free_bytes < UINT64_MAX);
    assert_false(health.full);
    store_destroy(&store);
    store_batch_destroy(&batch);
}

/* A limit of the file's size stands for a full disk: both give short writes. */
static void a_batch_that_does_not_fit_waits_and_is_done_when_there_is_room(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    struct store_health health;
    static char body[1 << 20];
    struct rlimit before;
    memset(body, 'b', sizeof(body) - 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit low = {.rlim_cur = 200000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    add_record(batch, 1, body, sizeof(body));
    fence.sequence++;
    batch->fence = fence;
    assert_int_equal(store_submit(store, batch), STATUS_OK);
    do {
        store_get_health(store, &health);
        assert_null(store_take_done(store));
        poll(NULL, 0, 1);
    } while (!health.full);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_ptr_equal(help_wait(store), batch);
    assert_int_equal(batch->status, STATUS_OK);
    store_get_health(store, &health);
    assert_false(health.full);
    store_destroy(&store);
    store_batch_destroy(&batch);
}

static void a_full_map_holds_back_batches_and_the_end_does_not_wait_for_it(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    options.map_bytes = 1 << 20;
    struct store *store = help_open(&options);
    struct store_batch *batch = store_batch_new();
    struct store_health health;
    static char body[1 << 21];
    memset(body, 'b', sizeof(body) - 1);
    add_record(batch, 1, body, sizeof(body));
    batch->fence = store->fence;
    batch->fence.sequence++;
    assert_int_equal(store_submit(store, batch), STATUS_OK);
    do {
        store_get_health(store, &health);
        poll(NULL, 0, 1);
    } while (!health.full);
    store_destroy(&store);
    store = help_open(&options);
    assert_int_equal(count_records(store), 0);
    store_destroy(&store);
}

/* --- a full disk ----------------------------------------------------------------------------- */

enum { DISK_BYTES = 8 << 20, RESERVE_BYTES = 1 << 20, BALLAST_BYTES = 3 << 20 };

static bool mount_small_disk(char parent[HELP_PATH_BYTES])
{
    char size[64];
    help_directory(parent);
    *strrchr(parent, '/') = '\0';
    snprintf(size, sizeof(size), "size=%d", DISK_BYTES);
    if (mount("none", parent, "tmpfs", 0, size) == 0)
        return true;
    print_message("skipped: cannot mount a small tmpfs (%s)\n", strerror(errno));
    rmdir(parent);
    return false;
}

/* 0: all that is left. */
static void make_ballast(const char *path, off_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (!bytes && posix_fallocate(fd, lseek(fd, 0, SEEK_END), 4096) == 0)
        lseek(fd, 0, SEEK_END);
    assert_int_equal(posix_fallocate(fd, 0, bytes ? bytes : 4096), 0);
    close(fd);
}

/* Fills the disk: commits until a batch has to wait. Returns that batch, submitted. */
static struct store_batch *commit_until_full(struct store *store, struct store_fence *fence)
{
    static uint8_t body[50000];
    struct store_health health;
    for (;;) {
        struct store_batch *batch = store_batch_new();
        add_record(batch, fence->sequence + 1, body, sizeof(body));
        fence->sequence++;
        batch->fence = *fence;
        assert_int_equal(store_submit(store, batch), STATUS_OK);
        struct store_batch *done = NULL;
        do {
            struct pollfd wait = {.fd = store_fd(store), .events = POLLIN};
            poll(&wait, 1, 1);
            done = store_take_done(store);
            store_get_health(store, &health);
        } while (!done && !health.full);
        if (!done)
            return batch;
        assert_int_equal(done->status, STATUS_OK);
        store_batch_destroy(&done);
    }
}

static void on_a_full_disk_batches_wait_and_none_is_lost(void **state)
{
    (void)state;
    char parent[HELP_PATH_BYTES];
    char ballast[HELP_PATH_BYTES + 16];
    char reserve[HELP_PATH_BYTES + 16];
    char path[HELP_PATH_BYTES + 16];
    struct stat found;
    if (!mount_small_disk(parent)) {
        skip();
        return;
    }
    snprintf(ballast, sizeof(ballast), "%s/ballast", parent);
    snprintf(path, sizeof(path), "%s/store", parent);
    snprintf(reserve, sizeof(reserve), "%s/store/reserve", parent);
    struct store_options options = help_options(path);
    options.reserve_bytes = RESERVE_BYTES;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    assert_int_equal(stat(reserve, &found), 0);
    make_ballast(ballast, BALLAST_BYTES);
    struct store_batch *batch = commit_until_full(store, &fence);
    assert_int_equal(stat(reserve, &found), -1);
    unlink(ballast);
    assert_ptr_equal(help_wait(store), batch);
    assert_int_equal(batch->status, STATUS_OK);
    store_batch_destroy(&batch);
    batch = commit_until_full(store, &fence);
    store_destroy(&store); /* with a batch that cannot be written: it is not waited for */
    store = help_open(&options);
    assert_int_equal(count_records(store), fence.sequence - 1);
    store_destroy(&store);
    assert_int_equal(umount(parent), 0);
    rmdir(parent);
}

/* Not even its lock file, which LMDB maps: where it has no blocks a write would be SIGBUS. */
static void a_new_store_on_a_disk_without_a_block_is_refused(void **state)
{
    (void)state;
    char parent[HELP_PATH_BYTES];
    char ballast[HELP_PATH_BYTES + 16];
    char path[HELP_PATH_BYTES + 16];
    char why[STORE_WHY_BYTES] = "";
    if (!mount_small_disk(parent)) {
        skip();
        return;
    }
    snprintf(ballast, sizeof(ballast), "%s/ballast", parent);
    snprintf(path, sizeof(path), "%s/store", parent);
    struct store_options options = help_options(path);
    struct store *store = NULL;
    make_ballast(ballast, 0);
    assert_int_equal(store_open_lmdb(&store, &options, why, sizeof(why)), STATUS_NO_SPACE);
    assert_null(store);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "No space left"));
    unlink(ballast);
    store = help_open(&options);
    store_destroy(&store);
    assert_int_equal(umount(parent), 0);
    rmdir(parent);
}

int main(void)
{
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, help_make_own, help_remove_own)
    const struct CMUnitTest tests[] = {
        STORE_TEST(health_counts_commits_and_bytes),
        STORE_TEST(a_batch_that_does_not_fit_waits_and_is_done_when_there_is_room),
        STORE_TEST(a_full_map_holds_back_batches_and_the_end_does_not_wait_for_it),
        cmocka_unit_test(on_a_full_disk_batches_wait_and_none_is_lost),
        cmocka_unit_test(a_new_store_on_a_disk_without_a_block_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
