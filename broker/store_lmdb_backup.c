/* store_lmdb_backup.c - a hot copy, with an identity of its own. */
#include "store_lmdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct target {
    const char *directory;
    bool made; /* the directory is ours to remove */
    char path[STORE_LMDB_PATH_BYTES + 16];
    char part[STORE_LMDB_PATH_BYTES + 16]; /* becomes `path` when it is whole */
    char lock[STORE_LMDB_PATH_BYTES + 32];
};

static enum status say_failed(const char *what, const char *path, int error, char *why)
{
    store_lmdb_say(why, "cannot %s %s: %s", what, path, mdb_strerror(error));
    if (error == ENOENT)
        return STATUS_NOT_FOUND;
    return store_lmdb_lacks_space(error) ? STATUS_NO_SPACE : STATUS_IO;
}

static bool is_empty(const char *directory)
{
    DIR *stream = opendir(directory);
    if (!stream)
        return false;
    bool empty = true;
    const struct dirent *entry = readdir(stream);
    for (; entry && empty; entry = readdir(stream))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(stream);
    return empty;
}

static enum status target_make(struct target *target, const char *directory, char *why)
{
    target->directory = directory;
    if (!directory[0] || strlen(directory) >= STORE_LMDB_PATH_BYTES - 32) {
        store_lmdb_say(why, "the name of the directory is empty or too long");
        return STATUS_BAD_FIELD;
    }
    snprintf(target->path, sizeof(target->path), "%s/data.mdb", directory);
    snprintf(target->part, sizeof(target->part), "%s/data.new", directory);
    snprintf(target->lock, sizeof(target->lock), "%s/data.new-lock", directory);
    target->made = mkdir(directory, 0700) == 0;
    if (!target->made && errno != EEXIST)
        return say_failed("make", directory, errno, why);
    if (!is_empty(directory)) {
        store_lmdb_say(why, "%s is not an empty directory. Choose one that does not exist",
                       directory);
        return STATUS_BAD_FIELD;
    }
    return STATUS_OK;
}

static enum status copy(const struct store_lmdb_env *env, const struct target *target, char *why)
{
    int fd = open(target->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return say_failed("make", target->part, errno, why);
    int error = mdb_env_copyfd2(env->env, fd, 0);
    if (!error && fsync(fd))
        error = errno;
    close(fd);
    return error ? say_failed("write", target->part, error, why) : STATUS_OK;
}

/* Workers drop what they hold when they meet another identity: the copy is another store. */
static enum status give_identity(const struct target *target, char *why)
{
    struct store_lmdb_env env;
    struct store_lmdb_env_options options = {.path = target->part, .flags = MDB_NOSUBDIR};
    MDB_txn *txn = NULL;
    enum status status = store_lmdb_env_open(&env, &options, why);
    if (status)
        return status;
    int error = 0;
    if (getrandom(env.info.id, sizeof(env.info.id), 0) != (ssize_t)sizeof(env.info.id))
        error = EIO;
    if (!error)
        error = mdb_txn_begin(env.env, NULL, 0, &txn);
    if (!error)
        error = store_lmdb_env_put_info(&env, txn, &env.info);
    if (!error)
        error = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn); /* of none does nothing */
    store_lmdb_env_close(&env);
    return error ? say_failed("write", target->part, error, why) : STATUS_OK;
}

enum status store_lmdb_backup(const struct store_lmdb_env *env, const char *directory, char *why)
{
    struct target target = {0}; /* nothing was made */
    enum status status = target_make(&target, directory, why);
    if (status == STATUS_OK) {
        status = copy(env, &target, why);
        if (!status)
            status = give_identity(&target, why);
        unlink(target.lock);
        if (!status && rename(target.part, target.path))
            status = say_failed("make", target.path, errno, why);
        if (!status)
            status = store_lmdb_directory_sync(directory, why);
        if (status) {
            unlink(target.part);
            unlink(target.path);
        }
    }
    if (status && target.made)
        rmdir(directory);
    return status;
}
