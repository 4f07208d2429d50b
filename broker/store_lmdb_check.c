/* store_lmdb_check.c - a stopped store, verified or visited. */
#include "store_lmdb.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

struct printer {
    void (*print)(const char *line, void *user);
    void *user;
    uint64_t rows[STORE_TABLE_COUNT];
    uint64_t parked;
};

static void print_text(const struct printer *printer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_text(const struct printer *printer, const char *format, ...)
{
    char line[LINE_BYTES + STORE_WHY_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    printer->print(line, printer->user);
}

static void print_hex(char *text, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * count] = '\0';
}

static void print_identity(const struct printer *printer, const struct store_lmdb_info *info)
{
    char id[2 * sizeof(info->id) + 1];
    char owner[2 * sizeof(info->fence.owner) + 1];
    print_hex(id, info->id, sizeof(info->id));
    print_hex(owner, info->fence.owner, sizeof(info->fence.owner));
    print_text(printer, "store %s owner %s epoch %" PRIu64 " sequence %" PRIu64, id, owner,
               info->fence.epoch, info->fence.sequence);
}

/* --- check ----------------------------------------------------------------------------------- */

static enum status count_row(const struct store_row *row, const uint8_t *bytes, void *user)
{
    (void)bytes;
    ((struct printer *)user)->rows[row->table]++;
    return STATUS_OK;
}

static enum status count_record(const struct store_state *state, const uint8_t *body,
                                uint32_t count, void *user)
{
    struct printer *printer = user;
    (void)body;
    (void)count;
    printer->rows[STORE_RECORDS]++;
    printer->parked += (state->flags & STATE_PARKED) != 0;
    return STATUS_OK;
}

/* All of the journal, also what a pass has folded and not yet trimmed. */
static enum status check_journal(const struct store_lmdb_env *env, const struct printer *printer,
                                 char *why)
{
    struct store_lmdb_states states;
    MDB_txn *txn = NULL;
    MDB_stat stat;
    int error = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn);
    if (!error)
        error = mdb_stat(txn, env->tables[STORE_LMDB_JOURNAL], &stat);
    enum status status = STATUS_IO;
    if (error)
        store_lmdb_say(why, "table journal: %s", mdb_strerror(error));
    else
        status =
            store_lmdb_gather(env, txn, env->info.folded, env->info.fence.sequence, &states, why);
    if (!status) {
        print_text(printer, "journal: %zu parts, %" PRIu64 " not folded, of %zu records",
                   stat.ms_entries, states.parts, states.count);
        store_lmdb_states_release(&states);
    }
    if (txn)
        mdb_txn_abort(txn);
    return status;
}

static enum status check_content(const struct store_lmdb_env *env, struct printer *printer,
                                 char *why)
{
    struct store_visitor visitor = {count_row, count_record, printer};
    print_identity(printer, &env->info);
    enum status status = store_lmdb_load(env, &visitor, why);
    if (status)
        return status;
    for (unsigned i = 0; i < STORE_TABLE_COUNT; i++)
        print_text(printer, "%s: %" PRIu64, store_lmdb_table_names[i], printer->rows[i]);
    print_text(printer, "parked: %" PRIu64, printer->parked);
    return check_journal(env, printer, why);
}

static void print_pages(const struct printer *printer, const struct store_lmdb_pages *pages)
{
    print_text(printer,
               "pages of %" PRIu64 " bytes: %" PRIu64 " in use, %" PRIu64 " free, %" PRIu64
               " leaked",
               pages->page_bytes, pages->in_use, pages->free, pages->leaked);
    if (pages->repaired)
        print_text(printer, "a header of data.mdb that did not count its commit was set right");
}

enum status store_check_lmdb(const char *directory, void (*print)(const char *line, void *user),
                             void *user)
{
    struct printer printer = {.print = print, .user = user};
    struct store_lmdb_env env;
    struct store_lmdb_pages pages;
    char why[STORE_WHY_BYTES] = "";
    int lock_fd = -1;
    enum status status = store_lmdb_env_open_stopped(&env, directory, &lock_fd, &pages, why);
    if (!status) {
        print_pages(&printer, &pages);
        status = check_content(&env, &printer, why);
        store_lmdb_env_close(&env);
        close(lock_fd);
    }
    if (status)
        print_text(&printer, "%s: %s", status_name(status), why);
    else
        print_text(&printer, "all is well");
    return status;
}

/* --- everything ------------------------------------------------------------------------------ */

enum status store_visit_lmdb(const char *directory, const struct store_visitor *visitor, char *why)
{
    struct store_lmdb_env env;
    struct store_lmdb_pages pages;
    int lock_fd = -1;
    why[0] = '\0';
    enum status status = store_lmdb_env_open_stopped(&env, directory, &lock_fd, &pages, why);
    if (status)
        return status;
    status = store_lmdb_load(&env, visitor, why);
    store_lmdb_env_close(&env);
    close(lock_fd);
    return status;
}
