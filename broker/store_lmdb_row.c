/* store_lmdb_row.c - how keys and values are written, and how their damage is noticed. */
#include "store_lmdb.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

const char *const store_lmdb_table_names[STORE_LMDB_TABLES] = {
    [STORE_META] = "meta",    [STORE_QUEUES] = "queues",        [STORE_SESSIONS] = "sessions",
    [STORE_SYNCS] = "syncs",  [STORE_PENDING] = "pending",      [STORE_RECORDS] = "records",
    [STORE_LMDB_HOT] = "hot", [STORE_LMDB_JOURNAL] = "journal", [STORE_LMDB_INFO] = "info",
};

static const char info_magic[8] = "everdue";

/* --- keys ------------------------------------------------------------------------------------ */

/* How many bytes of b follow the 8 of a. */
static size_t b_bytes(unsigned table)
{
    if (table == STORE_RECORDS || table == STORE_PENDING || table == STORE_LMDB_HOT)
        return 0;
    return table == STORE_LMDB_JOURNAL ? 4 : 8;
}

static void write_big_endian(uint8_t *bytes, size_t count, uint64_t value)
{
    for (size_t i = count; i > 0; i--) {
        bytes[i - 1] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t read_big_endian(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

void store_lmdb_key_write(struct store_lmdb_key *key, unsigned table, uint64_t a, uint64_t b)
{
    write_big_endian(key->bytes, 8, a);
    write_big_endian(key->bytes + 8, b_bytes(table), b);
    key->count = 8 + b_bytes(table);
}

bool store_lmdb_key_read(const MDB_val *key, unsigned table, uint64_t *a, uint64_t *b)
{
    const uint8_t *bytes = key->mv_data;
    if (key->mv_size != 8 + b_bytes(table))
        return false;
    *a = read_big_endian(bytes, 8);
    *b = read_big_endian(bytes + 8, b_bytes(table));
    return true;
}

MDB_val store_lmdb_key_value(struct store_lmdb_key *key)
{
    return (MDB_val){.mv_size = key->count, .mv_data = key->bytes};
}

/* --- checksums ------------------------------------------------------------------------------- */

uint64_t store_lmdb_checksum(unsigned table, uint64_t a, uint64_t b, const void *bytes,
                             size_t count)
{
    /* Odd constants, so that each key gives another seed. */
    uint64_t seed = a * 0x9e3779b97f4a7c15u + b * 0xc2b2ae3d27d4eb4fu + table;
    return XXH3_64bits_withSeed(bytes, count, seed);
}

bool store_lmdb_row_read(const MDB_val *value, unsigned table, uint64_t a, uint64_t b,
                         uint32_t *count)
{
    uint64_t checksum = 0;
    if (value->mv_size < ROW_CHECKSUM_BYTES || value->mv_size > UINT32_MAX)
        return false;
    *count = (uint32_t)(value->mv_size - ROW_CHECKSUM_BYTES);
    memcpy(&checksum, (const uint8_t *)value->mv_data + *count, sizeof(checksum));
    return checksum == store_lmdb_checksum(table, a, b, value->mv_data, *count);
}

uint64_t store_lmdb_states_checksum(unsigned table, uint64_t a, uint64_t b, const void *value,
                                    size_t count)
{
    return store_lmdb_checksum(table, a, b, (const uint8_t *)value + sizeof(uint64_t),
                               count - sizeof(uint64_t));
}

bool store_lmdb_page_read(const MDB_val *value, uint64_t number, struct store_lmdb_page *page)
{
    if (value->mv_size != sizeof(*page))
        return false;
    memcpy(page, value->mv_data, sizeof(*page));
    if (page->checksum !=
        store_lmdb_states_checksum(STORE_LMDB_HOT, number, 0, page, sizeof(*page)))
        return false;
    for (size_t i = 0; i < PAGE_STATES; i++) {
        uint64_t found = page->states[i].number;
        if (found && found != number * PAGE_STATES + i + 1)
            return false;
    }
    return true;
}

uint32_t store_lmdb_part_read(const MDB_val *value, uint64_t sequence, uint64_t number,
                              struct store_lmdb_part *part)
{
    const size_t head = offsetof(struct store_lmdb_part, states);
    size_t count = (value->mv_size - head) / sizeof(part->states[0]);
    if (value->mv_size <= head || value->mv_size > sizeof(*part) ||
        head + count * sizeof(part->states[0]) != value->mv_size)
        return 0;
    memcpy(part, value->mv_data, value->mv_size);
    if (part->checksum !=
        store_lmdb_states_checksum(STORE_LMDB_JOURNAL, sequence, number, part, value->mv_size))
        return 0;
    return number < part->part_count ? (uint32_t)count : 0;
}

/* --- info ------------------------------------------------------------------------------------ */

enum { INFO_BYTES_MAX = 1024 };

/* Every format begins as this one does, up to and with the checksum, and covers all its bytes, so
 * that a newer one can be told from a damaged one. */
static uint64_t info_checksum(const void *info, size_t count)
{
    uint8_t copy[INFO_BYTES_MAX];
    memcpy(copy, info, count);
    memset(copy + offsetof(struct store_lmdb_info, checksum), 0, sizeof(uint64_t));
    return store_lmdb_checksum(STORE_LMDB_INFO, 0, 0, copy, count);
}

void store_lmdb_info_seal(struct store_lmdb_info *info)
{
    memcpy(info->magic, info_magic, sizeof(info->magic));
    info->format = STORE_LMDB_FORMAT;
    info->bytes = sizeof(*info);
    info->checksum = info_checksum(info, sizeof(*info));
}

enum status store_lmdb_info_read(const MDB_val *value, struct store_lmdb_info *info, char *why)
{
    const size_t head = offsetof(struct store_lmdb_info, transaction);
    size_t count = value->mv_size;
    memset(info, 0, sizeof(*info));
    memcpy(info, value->mv_data, count < sizeof(*info) ? count : sizeof(*info));
    if (count < head || count > INFO_BYTES_MAX ||
        memcmp(info->magic, info_magic, sizeof(info->magic)) != 0) {
        store_lmdb_say(why, "table info, key info: not a store of everdue");
        return STATUS_CORRUPT;
    }
    if (info->bytes != count || info->checksum != info_checksum(value->mv_data, count)) {
        store_lmdb_say(why, "table info, key info: its checksum does not match");
        return STATUS_CORRUPT;
    }
    if (info->format != STORE_LMDB_FORMAT || count != sizeof(*info)) {
        store_lmdb_say(why,
                       "the store has format %u, and this version knows format %d: it was "
                       "written by a newer version. Start that one, or restore a backup",
                       info->format, STORE_LMDB_FORMAT);
        return STATUS_VERSION;
    }
    return STATUS_OK;
}

void store_lmdb_say(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, STORE_WHY_BYTES, format, arguments);
    va_end(arguments);
}
