/* fuzz_journal.c - what a store's file is read with, without the file: the journal as a whole, and
 * each kind of value. The first byte chooses.
 *
 * A journal is written as the broker writes it, with faults: bits that flip, values cut short or
 * under another's key, parts left out or come twice. It is refused exactly when there was a fault,
 * and else gives the newest state of each record. Values are any bytes, with their own checksum or
 * with a right one, as a faulty writer's would have.
 */
#include "body.h"
#include "fuzz.h"
#include "store_lmdb.h"

enum { PARTS_MAX = 16, PLANES = 2, PLANE_NUMBERS = 64, PLANE_SHIFT = 40 };

/* What should come out, kept in the simplest way. */
struct expected {
    bool is_good;
    uint64_t sequence;
    uint32_t part_next, part_count;
    bool is_there[PLANES][PLANE_NUMBERS];
    struct store_state states[PLANES][PLANE_NUMBERS];
    size_t count;
};

/* A value as it is written, and its place. */
struct part {
    uint64_t sequence;
    uint32_t number, state_count;
    struct store_lmdb_key key;
    struct store_lmdb_part value;
    size_t bytes;
};

/* --- writing --------------------------------------------------------------------------------- */

static void draw_states(struct fuzz_input *input, struct part *part)
{
    uint8_t first = fuzz_byte(input);
    uint8_t step = fuzz_byte(input);
    uint8_t plane = fuzz_byte(input);
    uint8_t count = fuzz_byte(input);
    part->state_count = count >= 0xf8 ? PART_STATES : 1 + count % 8;
    for (uint32_t i = 0; i < part->state_count; i++) {
        uint64_t low = (first + i * step) % PLANE_NUMBERS;
        part->value.states[i] = (struct store_state){
            .number = plane % 16 == 15 ? low << PLANE_SHIFT : low + 1,
            .state = part->sequence,
            .due_us = (int64_t)i,
            .failures = plane,
            .flags = STATE_PRESENT,
        };
    }
    part->bytes =
        offsetof(struct store_lmdb_part, states) + part->state_count * sizeof(struct store_state);
}

static void seal(struct part *part)
{
    part->value.checksum = store_lmdb_states_checksum(STORE_LMDB_JOURNAL, part->sequence,
                                                      part->number, &part->value, part->bytes);
    store_lmdb_key_write(&part->key, STORE_LMDB_JOURNAL, part->sequence, part->number);
}

/* Behind the seal. Whether it is no longer what was sealed. */
static bool damage(struct fuzz_input *input, struct part *part)
{
    uint64_t where = fuzz_number(input, 2);
    uint8_t what = fuzz_byte(input);
    uint8_t *bytes = (uint8_t *)&part->value;
    switch (what % 4) {
    case 0:
        bytes[where % part->bytes] ^= (uint8_t)(1u << what / 32);
        return true;
    case 1:
        part->bytes = where % part->bytes;
        return true;
    case 2:
        part->key.bytes[where % part->key.count] ^= (uint8_t)(1u << what / 32);
        return true;
    default:
        part->key.count = where % part->key.count;
        return true;
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static unsigned place_in_plane(uint64_t number)
{
    return (unsigned)(number >> PLANE_SHIFT ? number >> PLANE_SHIFT : number - 1);
}

/* Whether the part may come now, and what it changes. */
static bool expect(struct expected *expected, const struct part *part)
{
    bool is_inside = expected->part_next < expected->part_count;
    bool follows = is_inside ? part->sequence == expected->sequence &&
                                   part->number == expected->part_next &&
                                   part->value.part_count == expected->part_count
                             : part->sequence != expected->sequence && part->number == 0;
    if (!follows || part->number >= part->value.part_count)
        return false;
    for (uint32_t i = 0; i < part->state_count; i++) {
        uint64_t number = part->value.states[i].number;
        unsigned plane = number >> PLANE_SHIFT != 0;
        unsigned at = place_in_plane(number);
        if (!number)
            return false;
        expected->count += !expected->is_there[plane][at];
        expected->is_there[plane][at] = true;
        expected->states[plane][at] = part->value.states[i];
    }
    expected->sequence = part->sequence;
    expected->part_next = part->number + 1;
    expected->part_count = part->value.part_count;
    return true;
}

static enum status read_part(struct store_lmdb_journal *journal, const struct part *part, char *why)
{
    char *key = fuzz_copy(part->key.bytes, part->key.count);
    char *value = fuzz_copy((const uint8_t *)&part->value, part->bytes);
    enum status status =
        store_lmdb_journal_add(journal, &(MDB_val){.mv_size = part->key.count, .mv_data = key},
                               &(MDB_val){.mv_size = part->bytes, .mv_data = value}, why);
    free(key);
    free(value);
    return status;
}

static void check_states(const struct store_lmdb_states *states, const struct expected *expected)
{
    FUZZ_CHECK(states->count == expected->count);
    for (size_t i = 0; i < states->count; i++) {
        uint64_t number = states->states[i].number;
        unsigned plane = number >> PLANE_SHIFT != 0;
        unsigned at = place_in_plane(number);
        FUZZ_CHECK(i == 0 || number > states->states[i - 1].number);
        FUZZ_CHECK(memcmp(&states->states[i], &expected->states[plane][at],
                          sizeof(states->states[i])) == 0);
    }
}

/* The next part of a writer that goes on from the last one, or not quite. */
static void draw_part(struct fuzz_input *input, const struct expected *expected, struct part *part)
{
    uint8_t how = fuzz_byte(input);
    bool is_inside = expected->part_next < expected->part_count;
    part->value.unused = 0;
    part->sequence = expected->sequence + !is_inside + (how % 16 == 1);
    part->number = (is_inside ? expected->part_next : 0) + (how % 16 == 2);
    part->value.part_count = is_inside ? expected->part_count : 1u + how / 16u % 4u;
    if (how % 16 == 3)
        part->value.part_count = (uint32_t)fuzz_number(input, 4);
    if (how % 16 == 4)
        part->sequence -= part->sequence > 1;
    draw_states(input, part);
    seal(part);
}

static void read_journal(struct fuzz_input *input)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_lmdb_states states = {0};
    struct store_lmdb_journal journal = {.states = &states};
    struct expected expected = {.is_good = true};
    for (int i = 0; i < PARTS_MAX && input->left && expected.is_good; i++) {
        struct part part;
        draw_part(input, &expected, &part);
        bool is_damaged = fuzz_byte(input) % 16 == 15 && damage(input, &part);
        expected.is_good = !is_damaged && expect(&expected, &part);
        enum status status = read_part(&journal, &part, why);
        FUZZ_CHECK(status == (expected.is_good ? STATUS_OK : STATUS_CORRUPT));
        FUZZ_CHECK(!status || why[0]);
    }
    if (expected.is_good) {
        bool is_whole = expected.part_next == expected.part_count;
        FUZZ_CHECK((store_lmdb_journal_end(&journal, why) == STATUS_OK) == is_whole);
        FUZZ_CHECK(store_lmdb_states_finish(&states));
        check_states(&states, &expected);
    }
    store_lmdb_states_release(&states);
}

/* --- values ---------------------------------------------------------------------------------- */

static void read_key(const MDB_val *value)
{
    for (unsigned table = 0; table < STORE_LMDB_TABLES; table++) {
        struct store_lmdb_key key;
        uint64_t a = 0;
        uint64_t b = 0;
        if (table == STORE_LMDB_INFO || !store_lmdb_key_read(value, table, &a, &b))
            continue;
        store_lmdb_key_write(&key, table, a, b);
        FUZZ_CHECK(key.count == value->mv_size &&
                   memcmp(key.bytes, value->mv_data, key.count) == 0);
    }
}

static void read_states(const MDB_val *value, bool is_sealed)
{
    struct store_lmdb_page page;
    struct store_lmdb_part part;
    uint64_t checksum = 0;
    if (is_sealed && value->mv_size >= sizeof(checksum)) {
        checksum =
            store_lmdb_states_checksum(STORE_LMDB_JOURNAL, 1, 0, value->mv_data, value->mv_size);
        memcpy(value->mv_data, &checksum, sizeof(checksum));
    }
    FUZZ_CHECK(store_lmdb_part_read(value, 1, 0, &part) <= PART_STATES);
    if (is_sealed && value->mv_size >= sizeof(checksum)) {
        checksum = store_lmdb_states_checksum(STORE_LMDB_HOT, 3, 0, value->mv_data, value->mv_size);
        memcpy(value->mv_data, &checksum, sizeof(checksum));
    }
    for (unsigned i = 0; store_lmdb_page_read(value, 3, &page) && i < PAGE_STATES; i++)
        FUZZ_CHECK(!page.states[i].number || page.states[i].number == 3 * PAGE_STATES + i + 1);
}

static void read_info(const MDB_val *value, bool is_sealed)
{
    char why[STORE_WHY_BYTES] = "";
    struct store_lmdb_info info;
    if (is_sealed && value->mv_size == sizeof(info)) {
        memcpy(&info, value->mv_data, sizeof(info));
        store_lmdb_info_seal(&info);
        memcpy(value->mv_data, &info, sizeof(info));
        FUZZ_CHECK(store_lmdb_info_read(value, &info, why) == STATUS_OK);
    }
    if (store_lmdb_info_read(value, &info, why))
        FUZZ_CHECK(why[0]);
}

static bool are_same(struct bytes one, struct bytes other)
{
    return one.count == other.count && (!one.count || !memcmp(one.data, other.data, one.count));
}

/* What is valid is viewed within its bounds (the copy ends where it ends), and packed anew it says
 * the same. */
static void read_body(const uint8_t *body, uint32_t count)
{
    struct body_fields fields;
    struct body_fields again;
    if (!body_is_valid(body, count))
        return;
    body_view_stored(body, &fields);
    uint8_t *packed = malloc(body_measure(&fields));
    uint8_t *stored = malloc(count);
    if (!packed || !stored)
        abort();
    body_pack(&fields, packed);
    FUZZ_CHECK(body_bytes(packed) == body_measure(&fields) && body_stored_bytes(packed) <= count);
    body_store(packed, stored);
    FUZZ_CHECK(body_is_valid(stored, body_stored_bytes(packed)));
    free(stored);
    body_view(packed, &again);
    FUZZ_CHECK(are_same(fields.key, again.key) && are_same(fields.payload, again.payload));
    FUZZ_CHECK(!fields.payload.data == !again.payload.data && fields.once == again.once);
    FUZZ_CHECK(are_same(fields.group, again.group) && are_same(fields.memo, again.memo));
    FUZZ_CHECK(are_same(fields.note, again.note) && are_same(fields.error, again.error));
    FUZZ_CHECK(are_same(fields.park_reason, again.park_reason));
    FUZZ_CHECK(are_same(fields.last_worker, again.last_worker));
    FUZZ_CHECK(fields.every_us == again.every_us && fields.rank == again.rank);
    FUZZ_CHECK(fields.parked_us == again.parked_us && body_rank(packed) == fields.rank);
    free(packed);
}

static void read_row(const MDB_val *value, bool is_sealed)
{
    uint32_t count = 0;
    size_t bytes = value->mv_size - ROW_CHECKSUM_BYTES;
    if (is_sealed && value->mv_size >= ROW_CHECKSUM_BYTES) {
        uint64_t checksum = store_lmdb_checksum(STORE_RECORDS, 5, 0, value->mv_data, bytes);
        memcpy((uint8_t *)value->mv_data + bytes, &checksum, sizeof(checksum));
        FUZZ_CHECK(store_lmdb_row_read(value, STORE_RECORDS, 5, 0, &count) && count == bytes);
    } else if (store_lmdb_row_read(value, STORE_RECORDS, 5, 0, &count)) {
        FUZZ_CHECK(count == bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct fuzz_input input = {data, count};
    uint8_t which = fuzz_byte(&input);
    if (which % 8 < 3) {
        read_journal(&input);
        return 0;
    }
    char *copy = fuzz_copy(input.at, input.left); /* a read beyond it is seen */
    const MDB_val value = {.mv_size = input.left, .mv_data = copy};
    if (which % 8 == 3)
        read_key(&value);
    else if (which % 8 == 4)
        read_states(&value, which & 128);
    else if (which % 8 == 5)
        read_info(&value, which & 128);
    else if (which % 8 == 6)
        read_body((const uint8_t *)copy, (uint32_t)input.left);
    else
        read_row(&value, which & 128);
    free(copy);
    return 0;
}
