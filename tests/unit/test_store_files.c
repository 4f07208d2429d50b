/* test_store_files.c - backups, checks, visits, versions, and a second owner. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_lmdb.h"
#include "test_store_help.h"

static const char *const directory = help_own_directory;
static char difference[STORE_WHY_BYTES + 64];

static void commit_model(struct store *store, struct store_fence *fence, struct model *model,
                         int batches)
{
    struct store_batch *batch = store_batch_new();
    for (int i = 0; i < batches; i++) {
        model_step(model, batch);
        assert_int_equal(help_commit(store, fence, batch), STATUS_OK);
    }
    store_batch_destroy(&batch);
}

static void assert_equals_model(const struct model *model, struct store *store)
{
    if (!model_equals(model, store, difference, sizeof(difference)))
        fail_msg("%s", difference);
}

/* --- backup ---------------------------------------------------------------------------------- */

static void copy_path(char path[HELP_PATH_BYTES])
{
    int count = snprintf(path, HELP_PATH_BYTES, "%.200s-copy", directory);
    assert_true(count > 0 && count < HELP_PATH_BYTES);
}

static void a_backup_has_the_content_and_an_identity_of_its_own(void **state)
{
    (void)state;
    char copy[HELP_PATH_BYTES];
    char why[STORE_WHY_BYTES];
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct model *model = model_new(1);
    struct store first = *store;
    copy_path(copy);
    commit_model(store, &fence, model, 30);
    assert_int_equal(store_backup(store, copy, why, sizeof(why)), STATUS_OK);
    assert_int_equal(store_backup(store, copy, why, sizeof(why)), STATUS_BAD_FIELD);
    assert_int_equal(store_backup(store, "/nowhere/at/all", why, sizeof(why)), STATUS_NOT_FOUND);
    assert_non_null(strstr(why, "/nowhere/at/all"));
    store_destroy(&store);
    options.directory = copy;
    store = help_open(&options);
    assert_memory_not_equal(store->id, first.id, sizeof(first.id));
    assert_int_equal(store->fence.sequence, model->sequence);
    assert_equals_model(model, store);
    store_destroy(&store);
    help_remove(copy);
    free(model);
}

struct backup {
    struct store *store;
    char copy[HELP_PATH_BYTES];
    enum status status;
    atomic_bool done;
};

static void *run_backup(void *argument)
{
    struct backup *backup = argument;
    char why[STORE_WHY_BYTES];
    backup->status = store_backup(backup->store, backup->copy, why, sizeof(why));
    atomic_store(&backup->done, true);
    return NULL;
}

static void a_backup_beside_commits_and_checkpoints_is_one_moment_of_them(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    options.journal_bytes_max = 1;
    options.sync = STORE_SYNC_NEVER;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct model *model = model_new(2);
    commit_model(store, &fence, model, 50);
    for (int round = 0; round < 5; round++) {
        struct backup backup = {.store = store};
        pthread_t thread;
        copy_path(backup.copy);
        assert_int_equal(pthread_create(&thread, NULL, run_backup, &backup), 0);
        while (!atomic_load(&backup.done))
            commit_model(store, &fence, model, 1);
        pthread_join(thread, NULL);
        assert_int_equal(backup.status, STATUS_OK);
        struct store_options copy_options = help_options(backup.copy);
        struct store *copy = help_open(&copy_options);
        struct model *then = model_new(2);
        struct store_batch *batch = store_batch_new();
        while (then->sequence < copy->fence.sequence) {
            model_step(then, batch);
            store_batch_clear(batch);
        }
        assert_equals_model(then, copy);
        store_destroy(&copy);
        store_batch_destroy(&batch);
        free(then);
        help_remove(backup.copy);
    }
    store_destroy(&store);
    free(model);
}

/* --- check, dump, version -------------------------------------------------------------------- */

struct lines {
    char text[8192];
};

static void add_line(const char *line, void *user)
{
    struct lines *lines = user;
    size_t count = strlen(lines->text);
    snprintf(lines->text + count, sizeof(lines->text) - count, "%s\n", line);
}

static void a_check_counts_what_is_there_and_says_that_all_is_well(void **state)
{
    (void)state;
    struct lines lines = {""};
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct model *model = model_new(3);
    char records[64];
    uint64_t present = 0;
    commit_model(store, &fence, model, 10);
    store_destroy(&store);
    assert_int_equal(store_check_lmdb(directory, add_line, &lines), STATUS_OK);
    for (uint64_t i = 1; i <= model->numbers; i++)
        present += model->records[i].present;
    snprintf(records, sizeof(records), "\nrecords: %" PRIu64 "\n", present);
    assert_non_null(strstr(lines.text, records));
    assert_non_null(strstr(lines.text, "epoch 1 sequence 10\n"));
    assert_non_null(strstr(lines.text, ", 0 leaked\n"));
    assert_non_null(strstr(lines.text, "all is well\n"));
    assert_int_equal(store_check_lmdb("/nowhere/at/all", add_line, &lines), STATUS_IO);
    free(model);
}

static enum status add_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    char line[128];
    snprintf(line, sizeof(line), "row %d %" PRIu64 " %.*s", (int)row->table, row->a,
             (int)row->count, (const char *)bytes);
    add_line(line, user);
    return STATUS_OK;
}

static enum status add_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                              void *user)
{
    char line[128];
    snprintf(line, sizeof(line), "record %" PRIu64 " due_us %" PRId64 " %.*s", state->number,
             state->due_us, (int)count, (const char *)body);
    add_line(line, user);
    return STATUS_OK;
}

static void a_stopped_store_is_visited_row_by_row(void **state)
{
    (void)state;
    struct lines lines = {""};
    char why[STORE_WHY_BYTES];
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    struct store_row queue = {.table = STORE_QUEUES, .a = 1, .count = 7};
    struct store_row record = {.table = STORE_RECORDS, .a = 17, .count = 2};
    struct store_state known = {17, 90211, 1763823600000000, 1, 2, STATE_PRESENT, {0}};
    const struct store_visitor visitor = {add_row, add_record, &lines};
    assert_true(store_batch_add_row(batch, &queue, "default"));
    assert_true(store_batch_add_row(batch, &record, "hi"));
    assert_true(store_batch_add_state(batch, &known));
    assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    assert_int_equal(store_visit_lmdb(directory, &visitor, why), STATUS_LOCKED);
    assert_non_null(strstr(why, "another process"));
    store_destroy(&store);
    assert_int_equal(store_visit_lmdb(directory, &visitor, why), STATUS_OK);
    assert_string_equal(lines.text, "row 1 1 default\nrecord 17 due_us 1763823600000000 hi\n");
    store_batch_destroy(&batch);
}

/* Writes the row as a later version would. */
static void store_format(uint32_t format)
{
    struct store_lmdb_env env;
    struct store_lmdb_env_options options = {.path = directory};
    MDB_txn *txn = NULL;
    char why[STORE_WHY_BYTES];
    char info_key[] = "info";
    MDB_val key = {.mv_size = 4, .mv_data = info_key};
    assert_int_equal(store_lmdb_env_open(&env, &options, why), STATUS_OK);
    assert_int_equal(mdb_txn_begin(env.env, NULL, 0, &txn), 0);
    env.info.transaction = mdb_txn_id(txn);
    env.info.format = format;
    env.info.checksum = 0;
    env.info.checksum = store_lmdb_checksum(STORE_LMDB_INFO, 0, 0, &env.info, sizeof(env.info));
    MDB_val value = {.mv_size = sizeof(env.info), .mv_data = &env.info};
    assert_int_equal(mdb_put(txn, env.tables[STORE_LMDB_INFO], &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    store_lmdb_env_close(&env);
}

static void a_store_of_a_newer_version_is_refused(void **state)
{
    (void)state;
    char why[STORE_WHY_BYTES];
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    store_destroy(&store);
    store_format(STORE_LMDB_FORMAT + 1);
    assert_int_equal(store_open_lmdb(&store, &options, why, sizeof(why)), STATUS_VERSION);
    assert_non_null(strstr(why, "newer version"));
}

static void another_process_that_raised_the_epoch_fences_off_the_first(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct model *model = model_new(4);
    struct store_batch *batch = store_batch_new();
    commit_model(store, &fence, model, 5);
    /* What a second process does where flock does not work, through the handles of the first. */
    struct store_lmdb *lmdb = (struct store_lmdb *)store;
    struct store_lmdb_info info;
    MDB_txn *txn = NULL;
    char why[STORE_WHY_BYTES];
    assert_int_equal(mdb_txn_begin(lmdb->lmdb.env, NULL, 0, &txn), 0);
    assert_int_equal(store_lmdb_env_get_info(&lmdb->lmdb, txn, &info, why), STATUS_OK);
    info.fence.epoch++;
    info.fence.owner[0] ^= 1;
    assert_int_equal(store_lmdb_env_put_info(&lmdb->lmdb, txn, &info), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    struct store_row row = {.table = STORE_QUEUES, .a = 1, .count = 3};
    assert_true(store_batch_add_row(batch, &row, "old"));
    assert_int_equal(help_commit(store, &fence, batch), STATUS_LOCKED);
    assert_equals_model(model, store);
    store_destroy(&store);
    store_batch_destroy(&batch);
    free(model);
}

/* --- a large checkpoint ----------------------------------------------------------------------- */

/* More states than one slice folds, more parts and more commits than one trims. */
static void a_large_checkpoint_comes_in_slices(void **state)
{
    (void)state;
    enum { MANY = 135000, SMALL_COMMITS = 150 };
    uint64_t records = 0;
    struct store_options options = help_options(directory);
    options.sync = STORE_SYNC_NEVER;
    struct store *store = help_open(&options);
    struct store_fence fence = store->fence;
    struct store_batch *batch = store_batch_new();
    for (uint64_t i = 1; i <= MANY + SMALL_COMMITS; i++) {
        struct store_row row = {.table = STORE_RECORDS, .a = i, .count = 1};
        struct store_state known = {.number = i, .flags = STATE_PRESENT};
        assert_true(store_batch_add_row(batch, &row, "b"));
        assert_true(store_batch_add_state(batch, &known));
        if (i >= MANY)
            assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
    }
    store_destroy(&store);
    options.journal_bytes_max = 1;
    store = help_open(&options);
    fence = store->fence;
    struct store_health health = {0};
    while (!health.checkpoints_total) { /* ends: each commit brings it on */
        struct store_state known = {.number = 1, .flags = STATE_PRESENT};
        assert_true(store_batch_add_state(batch, &known));
        assert_int_equal(help_commit(store, &fence, batch), STATUS_OK);
        store_get_health(store, &health);
    }
    assert_int_equal(help_count_records(store, &records), STATUS_OK);
    assert_int_equal(records, MANY + SMALL_COMMITS);
    store_destroy(&store);
    store_batch_destroy(&batch);
}

/* --- names and places ------------------------------------------------------------------------ */

static void a_name_that_is_empty_or_too_long_is_refused(void **state)
{
    (void)state;
    static char name[STORE_LMDB_PATH_BYTES + 8];
    char why[STORE_WHY_BYTES] = "";
    int fd = -1;
    memset(name, 'a', sizeof(name) - 1);
    name[0] = '/';
    const char *const names[] = {"", name};
    for (size_t i = 0; i < 2; i++) {
        struct store_options options = help_options(names[i]);
        struct store *store = NULL;
        assert_int_equal(store_open_lmdb(&store, &options, why, sizeof(why)), STATUS_BAD_FIELD);
        assert_non_null(strstr(why, "too long"));
    }
    assert_int_equal(store_lmdb_lock(name, &fd, why), STATUS_BAD_FIELD);
    assert_false(store_lmdb_reserve_make(name, 4096));
    assert_int_equal(store_lmdb_reserve_bytes(name), 0);
    assert_false(store_lmdb_reserve_drop(name));
    assert_true(store_lmdb_lacks_space(EDQUOT) && !store_lmdb_lacks_space(EIO));
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(store_backup(store, names[i], why, sizeof(why)), STATUS_BAD_FIELD);
        assert_non_null(strstr(why, "too long"));
    }
    store_destroy(&store);
}

/* Where one stands is no part of a store's name: the directories above it are synced, too. */
static void a_store_may_be_named_from_where_one_stands(void **state)
{
    (void)state;
    char before[4096], above[HELP_PATH_BYTES];
    assert_non_null(getcwd(before, sizeof(before)));
    snprintf(above, sizeof(above), "%s", directory);
    *strrchr(above, '/') = '\0';
    assert_int_equal(chdir(above), 0);
    struct store_options options = help_options(strrchr(directory, '/') + 1);
    struct store *store = help_open(&options);
    store_destroy(&store);
    store = help_open(&options);
    store_destroy(&store);
    assert_int_equal(chdir(before), 0);
    options.directory = directory;
    store = help_open(&options);
    store_destroy(&store);
}

static void an_owner_that_wrote_no_pid_is_unknown(void **state)
{
    (void)state;
    char path[HELP_PATH_BYTES + 16], why[STORE_WHY_BYTES] = "";
    struct store_options options = help_options(directory);
    struct store *store = help_open(&options);
    store_destroy(&store);
    snprintf(path, sizeof(path), "%s/owner.lock", directory);
    int fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_int_equal(store_open_lmdb(&store, &options, why, sizeof(why)), STATUS_LOCKED);
    assert_non_null(strstr(why, "pid unknown"));
    close(fd);
}

static void a_reserve_of_another_size_is_made_anew(void **state)
{
    (void)state;
    struct store_options options = help_options(directory);
    const uint64_t sizes[] = {8192, 65536, 65536};
    for (size_t i = 0; i < 3; i++) {
        options.reserve_bytes = sizes[i];
        struct store *store = help_open(&options);
        store_destroy(&store);
        assert_int_equal(store_lmdb_reserve_bytes(directory), sizes[i]);
    }
    assert_false(store_lmdb_reserve_make(directory, 0));
    assert_true(store_lmdb_reserve_drop(directory));
    assert_false(store_lmdb_reserve_drop(directory));
    assert_int_equal(store_lmdb_reserve_bytes(directory), 0);
}

int main(void)
{
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, help_make_own, help_remove_own)
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_backup_has_the_content_and_an_identity_of_its_own),
        STORE_TEST(a_backup_beside_commits_and_checkpoints_is_one_moment_of_them),
        STORE_TEST(a_check_counts_what_is_there_and_says_that_all_is_well),
        STORE_TEST(a_stopped_store_is_visited_row_by_row),
        STORE_TEST(a_store_of_a_newer_version_is_refused),
        STORE_TEST(another_process_that_raised_the_epoch_fences_off_the_first),
        STORE_TEST(a_large_checkpoint_comes_in_slices),
        STORE_TEST(a_name_that_is_empty_or_too_long_is_refused),
        STORE_TEST(a_store_may_be_named_from_where_one_stands),
        STORE_TEST(an_owner_that_wrote_no_pid_is_unknown),
        STORE_TEST(a_reserve_of_another_size_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
