/* fuzz_store.c - a store whose file has been changed in any places: it is refused with a text, or
 * it opens and loads; the process never dies of it. (The values in it have fuzz_journal and
 * fuzz_load, which need no file and are a thousand times as fast.)
 *
 * The input is a list of changes: where (3 bytes), how many bytes, and the bytes.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "store_lmdb.h"

enum { BATCHES = 12, RECORDS = 300 };

static char directory[] = "/dev/shm/everdue-fuzz-XXXXXX";
static char store_path[64];
static char data_path[80];
static uint8_t *image;
static size_t image_bytes;

int LLVMFuzzerInitialize(int *count, char ***arguments);

/* --- the file -------------------------------------------------------------------------------- */

static void add_records(struct store_batch *batch, int round)
{
    for (uint64_t i = 0; i < RECORDS / BATCHES; i++) {
        uint64_t number = (uint64_t)round * (RECORDS / BATCHES) + i + 1;
        uint8_t body[200];
        memset(body, (int)number, sizeof(body));
        struct store_row row = {
            .table = STORE_RECORDS, .a = number, .count = 20u + (uint32_t)(number % 180)};
        struct store_state state = {.number = number,
                                    .state = number,
                                    .due_us = (int64_t)number * 1000,
                                    .flags = STATE_PRESENT};
        if (!store_batch_add_row(batch, &row, body) || !store_batch_add_state(batch, &state))
            abort();
    }
    struct store_row meta = {.table = STORE_SYNCS, .a = 1, .b = (uint64_t)round, .count = 9000};
    uint8_t *large = calloc(1, meta.count); /* more than a page */
    if (!large || !store_batch_add_row(batch, &meta, large))
        abort();
    free(large);
}

static void commit(struct store *store, struct store_fence *fence, int round)
{
    struct store_batch *batch = store_batch_new();
    if (!batch)
        abort();
    add_records(batch, round);
    fence->sequence++;
    batch->fence = *fence;
    FUZZ_CHECK(store_submit(store, batch) == STATUS_OK);
    struct pollfd done = {.fd = store_fd(store), .events = POLLIN};
    for (batch = NULL; !batch; batch = store_take_done(store)) /* ends: the store answers */
        poll(&done, 1, -1);
    FUZZ_CHECK(batch->status == STATUS_OK);
    store_batch_destroy(&batch);
}

static void make_image(void)
{
    char why[STORE_WHY_BYTES] = "";
    struct stat found;
    struct store *store = NULL;
    struct store_options options = {.directory = store_path, .reserve_bytes = 4096};
    for (int half = 0; half < 2; half++) {
        options.journal_bytes_max = half ? 0 : 1; /* the second half stays in the journal */
        FUZZ_CHECK(store_open_lmdb(&store, &options, why, sizeof(why)) == STATUS_OK);
        struct store_fence fence = store->fence;
        for (int i = 0; i < BATCHES / 2; i++)
            commit(store, &fence, half * BATCHES / 2 + i);
        store_destroy(&store);
    }
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && fstat(fd, &found) == 0);
    image_bytes = (size_t)found.st_size;
    image = malloc(image_bytes);
    FUZZ_CHECK(image && read(fd, image, image_bytes) == (ssize_t)image_bytes);
    close(fd);
}

static void clean_up(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "owner.lock", "reserve"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", store_path, names[i]);
        unlink(path);
    }
    rmdir(store_path);
    rmdir(directory);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    FUZZ_CHECK(mkdtemp(directory) != NULL);
    snprintf(store_path, sizeof(store_path), "%s/store", directory);
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", store_path);
    make_image();
    atexit(clean_up);
    return 0;
}

static void write_changed(struct fuzz_input *input)
{
    int fd = open(data_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, image, image_bytes) == (ssize_t)image_bytes);
    while (input->left) {
        size_t count = 0;
        uint64_t where = fuzz_number(input, 3) % image_bytes;
        const uint8_t *bytes = fuzz_take(input, 64, &count);
        if (count && pwrite(fd, bytes, count, (off_t)where) != (ssize_t)count)
            abort();
        if (!count && where % 4096 == 7 && ftruncate(fd, (off_t)where))
            abort();
    }
    close(fd);
}

static enum status pass_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    uint64_t *sum = user;
    for (uint32_t i = 0; i < row->count; i++)
        *sum += bytes[i];
    return STATUS_OK;
}

static enum status pass_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                               void *user)
{
    uint64_t *sum = user;
    *sum += state->number;
    for (uint32_t i = 0; i < count; i++)
        *sum += body[i];
    return STATUS_OK;
}

static void read_file(struct fuzz_input *input)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_lmdb_env env;
    struct store_lmdb_pages pages;
    uint64_t sum = 0;
    int lock_fd = -1;
    struct store_visitor visitor = {pass_row, pass_record, &sum};
    write_changed(input);
    enum status status = store_lmdb_env_open_stopped(&env, store_path, &lock_fd, &pages, why);
    if (!status) {
        status = store_lmdb_load(&env, &visitor, why);
        store_lmdb_env_close(&env);
        close(lock_fd);
    }
    FUZZ_CHECK(!status || why[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct fuzz_input input = {data, count};
    read_file(&input);
    return 0;
}
