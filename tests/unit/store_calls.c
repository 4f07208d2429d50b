#include "store_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { PLACES_MAX = 512 };

struct place {
    const void *caller;
    bool is_lmdb;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct place places[PLACES_MAX];
static uint64_t place_count;
static uint64_t planned_place, planned_turn, turns_met;
static int planned_error;
static bool fired;

void store_calls_watch(void)
{
    place_count = 0;
}

uint64_t store_calls_places(void)
{
    return place_count;
}

bool store_calls_may_give(uint64_t place, int error)
{
    if (places[place].is_lmdb)
        return error == ENOMEM || error == MDB_CORRUPTED;
    return error == EIO || error == ENOSPC;
}

void store_calls_plan(uint64_t place, uint64_t turn, int error)
{
    pthread_mutex_lock(&mutex);
    planned_place = place;
    planned_turn = turn;
    planned_error = error;
    turns_met = 0;
    fired = fired && place == 0;
    pthread_mutex_unlock(&mutex);
}

bool store_calls_fired(void)
{
    return fired;
}

/* 0: it does not fail. */
static int error_of(const void *caller, bool is_lmdb)
{
    int error = 0;
    uint64_t at = 0;
    pthread_mutex_lock(&mutex);
    while (at < place_count && places[at].caller != caller)
        at++;
    if (at == place_count && place_count < PLACES_MAX)
        places[place_count++] = (struct place){caller, is_lmdb};
    if (at + 1 == planned_place && ++turns_met == planned_turn) {
        fired = true;
        error = planned_error;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

static bool fails(const void *caller)
{
    int error = error_of(caller, false);
    if (error)
        errno = error;
    return error != 0;
}

/* gcc's address of the caller is that of the place. */
#define CALLER __builtin_return_address(0)

/* Those that set errno. */
#define SYSTEM_CALL(type, failure, name, parameters, arguments)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(CALLER) ? (failure) : __real_##name arguments;                                \
    }

/* Those that return an error's number. */
#define NUMBER_CALL(is_lmdb, name, parameters, arguments)                                          \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        int error = error_of(CALLER, is_lmdb);                                                     \
        return error ? error : __real_##name arguments;                                            \
    }

SYSTEM_CALL(int, -1, fstat, (int fd, struct stat *found), (fd, found))
SYSTEM_CALL(int, -1, stat, (const char *path, struct stat *found), (path, found))
SYSTEM_CALL(int, -1, statvfs, (const char *path, struct statvfs *found), (path, found))
SYSTEM_CALL(int, -1, fsync, (int fd), (fd))
SYSTEM_CALL(int, -1, fdatasync, (int fd), (fd))
SYSTEM_CALL(int, -1, flock, (int fd, int how), (fd, how))
SYSTEM_CALL(int, -1, ftruncate, (int fd, off_t count), (fd, count))
SYSTEM_CALL(int, -1, fallocate, (int fd, int mode, off_t offset, off_t count),
            (fd, mode, offset, count))
SYSTEM_CALL(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
SYSTEM_CALL(int, -1, rename, (const char *from, const char *to), (from, to))
SYSTEM_CALL(int, -1, eventfd, (unsigned count, int flags), (count, flags))
SYSTEM_CALL(int, -1, getrlimit, (int which, struct rlimit *limit), (which, limit))
SYSTEM_CALL(ssize_t, -1, getrandom, (void *bytes, size_t count, unsigned flags),
            (bytes, count, flags))
SYSTEM_CALL(ssize_t, -1, pread, (int fd, void *bytes, size_t count, off_t offset),
            (fd, bytes, count, offset))
SYSTEM_CALL(ssize_t, -1, pwrite, (int fd, const void *bytes, size_t count, off_t offset),
            (fd, bytes, count, offset))
SYSTEM_CALL(DIR *, NULL, opendir, (const char *path), (path))

NUMBER_CALL(false, posix_fallocate, (int fd, off_t offset, off_t count), (fd, offset, count))
NUMBER_CALL(false, pthread_create,
            (pthread_t * thread, const pthread_attr_t *how, void *(*run)(void *), void *user),
            (thread, how, run, user))

NUMBER_CALL(true, mdb_env_create, (MDB_env * *env), (env))
NUMBER_CALL(true, mdb_env_set_maxdbs, (MDB_env * env, MDB_dbi count), (env, count))
NUMBER_CALL(true, mdb_env_set_maxreaders, (MDB_env * env, unsigned count), (env, count))
NUMBER_CALL(true, mdb_env_set_mapsize, (MDB_env * env, size_t bytes), (env, bytes))
NUMBER_CALL(true, mdb_env_open, (MDB_env * env, const char *path, unsigned flags, mdb_mode_t mode),
            (env, path, flags, mode))
NUMBER_CALL(true, mdb_env_copyfd2, (MDB_env * env, int fd, unsigned flags), (env, fd, flags))
NUMBER_CALL(true, mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
            (env, parent, flags, txn))
NUMBER_CALL(true, mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi),
            (txn, name, flags, dbi))
NUMBER_CALL(true, mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
            (txn, dbi, key, value))
NUMBER_CALL(true, mdb_put,
            (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags),
            (txn, dbi, key, value, flags))
NUMBER_CALL(true, mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
            (txn, dbi, key, value))
NUMBER_CALL(true, mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **cursor),
            (txn, dbi, cursor))
NUMBER_CALL(true, mdb_cursor_get,
            (MDB_cursor * cursor, MDB_val *key, MDB_val *value, MDB_cursor_op what),
            (cursor, key, value, what))
NUMBER_CALL(true, mdb_cursor_del, (MDB_cursor * cursor, unsigned flags), (cursor, flags))

/* A commit that fails has ended its transaction. */
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    int error = error_of(CALLER, true);
    if (!error)
        return __real_mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return error;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return fails(CALLER) ? -1 : __real_open(path, flags, mode);
}
