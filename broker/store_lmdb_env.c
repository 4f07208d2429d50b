/* store_lmdb_env.c - LMDB's environment: making, opening, its tables and the row that says what it
 * is.
 */
#include "store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_BYTES_DEFAULT ((uint64_t)1 << 40)
#define MAP_BYTES_LEAST ((uint64_t)1 << 30)

enum {
    READERS_MAX = 16,
    FILE_MODE = 0600,
    LOCK_BYTES = 16384, /* more than LMDB wants for so many readers */
};

static char info_key[] = "info";

static MDB_val info_key_value(void)
{
    return (MDB_val){.mv_size = sizeof(info_key) - 1, .mv_data = info_key};
}

static enum status say_failed(char *why, const char *what, const char *path, int error)
{
    store_lmdb_say(why, "cannot %s %s: %s", what, path, mdb_strerror(error));
    if (error == ENOMEM)
        return STATUS_NO_MEMORY;
    if (store_lmdb_lacks_space(error) || error == MDB_MAP_FULL)
        return STATUS_NO_SPACE;
    bool damaged = error == MDB_CORRUPTED || error == MDB_PAGE_NOTFOUND || error == MDB_INVALID ||
                   error == MDB_VERSION_MISMATCH;
    return damaged ? STATUS_CORRUPT : STATUS_IO;
}

/* --- opening --------------------------------------------------------------------------------- */

/* LMDB maps its lock file and writes to it: where the disk has no block left for it, that would end
 * the process. So it gets its blocks first, or an error. (And LMDB would follow a link.) */
static int allocate_lock(const struct store_lmdb_env_options *options)
{
    char path[STORE_LMDB_PATH_BYTES + 32];
    const char *name = options->flags & MDB_NOSUBDIR ? "-lock" : "/lock.mdb";
    snprintf(path, sizeof(path), "%s%s", options->path, name);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return errno;
    int error = posix_fallocate(fd, 0, LOCK_BYTES);
    close(fd);
    return error;
}

static int open_mapped(MDB_env **env, const struct store_lmdb_env_options *options, uint64_t bytes)
{
    int error = allocate_lock(options);
    if (!error)
        error = mdb_env_create(env);
    if (error)
        return error;
    error = mdb_env_set_maxdbs(*env, STORE_LMDB_TABLES + 4);
    if (!error)
        error = mdb_env_set_maxreaders(*env, READERS_MAX);
    if (!error)
        error = mdb_env_set_mapsize(*env, bytes);
    if (!error)
        error = mdb_env_open(*env, options->path, options->flags | MDB_NOTLS, FILE_MODE);
    if (error) {
        mdb_env_close(*env);
        *env = NULL;
    }
    return error;
}

/* Where the address space is limited (ulimit -v, some checkers) less than wanted is mapped. */
static int open_largest(MDB_env **env, const struct store_lmdb_env_options *options)
{
    uint64_t bytes = options->map_bytes ? options->map_bytes : MAP_BYTES_DEFAULT;
    int error = open_mapped(env, options, bytes);
    while ((error == ENOMEM || error == EINVAL) && bytes > MAP_BYTES_LEAST) {
        bytes /= 2;
        error = open_mapped(env, options, bytes);
    }
    return error;
}

static int open_tables(struct store_lmdb_env *env, MDB_txn *txn, unsigned flags)
{
    for (unsigned i = 0; i < STORE_LMDB_TABLES; i++) {
        int error = mdb_dbi_open(txn, store_lmdb_table_names[i], flags, &env->tables[i]);
        if (error)
            return error;
    }
    return 0;
}

enum status store_lmdb_env_get_info(const struct store_lmdb_env *env, MDB_txn *txn,
                                    struct store_lmdb_info *info, char *why)
{
    MDB_val key = info_key_value();
    MDB_val value;
    int error = mdb_get(txn, env->tables[STORE_LMDB_INFO], &key, &value);
    if (error) {
        store_lmdb_say(why, "table info, key info: %s", mdb_strerror(error));
        return STATUS_CORRUPT;
    }
    return store_lmdb_info_read(&value, info, why);
}

/* Opens the tables and reads `info`. The handles stay valid after the transaction ended well. */
static enum status read_tables(struct store_lmdb_env *env, const char *path, char *why)
{
    MDB_txn *txn = NULL;
    int error = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn);
    if (error)
        return say_failed(why, "read", path, error);
    error = open_tables(env, txn, 0);
    enum status status = STATUS_CORRUPT;
    if (error == MDB_NOTFOUND)
        store_lmdb_say(why, "%s lacks a table: not a store of everdue", path);
    else if (error)
        status = say_failed(why, "read", path, error);
    else
        status = store_lmdb_env_get_info(env, txn, &env->info, why);
    if (status) {
        mdb_txn_abort(txn);
        return status;
    }
    error = mdb_txn_commit(txn);
    return error ? say_failed(why, "read", path, error) : STATUS_OK;
}

enum status store_lmdb_env_open(struct store_lmdb_env *env,
                                const struct store_lmdb_env_options *options, char *why)
{
    memset(env, 0, sizeof(*env));
    int error = open_largest(&env->env, options);
    if (error)
        return say_failed(why, "open", options->path, error);
    enum status status = read_tables(env, options->path, why);
    if (status)
        store_lmdb_env_close(env);
    return status;
}

void store_lmdb_env_close(struct store_lmdb_env *env)
{
    if (env->env)
        mdb_env_close(env->env);
    env->env = NULL;
}

int store_lmdb_env_put_info(const struct store_lmdb_env *env, MDB_txn *txn,
                            struct store_lmdb_info *info)
{
    MDB_val key = info_key_value();
    MDB_val value = {.mv_size = sizeof(*info), .mv_data = info};
    info->transaction = mdb_txn_id(txn);
    store_lmdb_info_seal(info);
    return mdb_put(txn, env->tables[STORE_LMDB_INFO], &key, &value, 0);
}

uint64_t store_lmdb_env_table_bytes(const struct store_lmdb_env *env, MDB_txn *txn, unsigned table)
{
    MDB_stat stat;
    if (mdb_stat(txn, env->tables[table], &stat))
        return 0;
    return (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
}

/* --- making ---------------------------------------------------------------------------------- */

static enum status fill_new(const char *path, char *why)
{
    struct store_lmdb_env env = {0};
    struct store_lmdb_env_options options = {
        .path = path,
        .flags = MDB_NOSUBDIR,
        .map_bytes = MAP_BYTES_LEAST,
    };
    MDB_txn *txn = NULL;
    if (getrandom(env.info.id, sizeof(env.info.id), 0) != (ssize_t)sizeof(env.info.id))
        return say_failed(why, "draw an identity for", path, errno);
    int error = open_largest(&env.env, &options);
    if (!error)
        error = mdb_txn_begin(env.env, NULL, 0, &txn);
    if (!error)
        error = open_tables(&env, txn, MDB_CREATE);
    if (!error)
        error = store_lmdb_env_put_info(&env, txn, &env.info);
    if (!error)
        error = mdb_txn_commit(txn);
    else if (txn)
        mdb_txn_abort(txn);
    store_lmdb_env_close(&env);
    return error ? say_failed(why, "make", path, error) : STATUS_OK;
}

/* In a file of its own that gets its name when it is whole: so a data.mdb that is too short is
 * always a damaged one, never one that a crash left unfinished. */
enum status store_lmdb_env_make(const char *directory, char *why)
{
    char path[STORE_LMDB_PATH_BYTES + 16];
    char made[STORE_LMDB_PATH_BYTES + 16];
    char lock[STORE_LMDB_PATH_BYTES + 32];
    struct stat found;
    snprintf(path, sizeof(path), "%s/data.mdb", directory);
    snprintf(made, sizeof(made), "%s/data.new", directory);
    snprintf(lock, sizeof(lock), "%s/data.new-lock", directory);
    if (stat(path, &found) == 0)
        return STATUS_OK;
    if (errno != ENOENT)
        return say_failed(why, "look at", path, errno);
    unlink(made);
    enum status status = fill_new(made, why);
    unlink(lock);
    if (!status && rename(made, path))
        status = say_failed(why, "make", path, errno);
    if (status) {
        unlink(made);
        return status;
    }
    return store_lmdb_directory_sync(directory, why);
}

/* --- for a check or a dump ------------------------------------------------------------------- */

enum status store_lmdb_env_open_stopped(struct store_lmdb_env *env, const char *directory,
                                        int *lock_fd, struct store_lmdb_pages *pages, char *why)
{
    struct store_lmdb_env_options options = {.path = directory, .flags = MDB_RDONLY};
    struct stat found;
    char path[STORE_LMDB_PATH_BYTES + 16];
    *lock_fd = -1;
    snprintf(path, sizeof(path), "%s/data.mdb", directory);
    if (stat(path, &found))
        return say_failed(why, "look at", path, errno);
    enum status status = store_lmdb_lock(directory, lock_fd, why);
    if (status)
        return status;
    status = store_lmdb_pages_check(directory, pages, why);
    if (!status)
        status = store_lmdb_env_open(env, &options, why);
    if (status) {
        close(*lock_fd);
        *lock_fd = -1;
    }
    return status;
}
