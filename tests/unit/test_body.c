#include "body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounds.h"

static uint64_t draw(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static struct body_fields all_fields(void)
{
    return (struct body_fields){
        .key = bytes_of("https://example.org/feed.xml"),
        .payload = bytes_of("{\"etag\":\"x\"}"),
        .every_us = 900000000,
        .rank = -7,
        .once = true,
        .group = bytes_of("example.org"),
        .memo = bytes_of("memo"),
        .note = bytes_of("a note"),
        .error = bytes_of("an error"),
        .park_reason = bytes_of("20 failures"),
        .last_worker = bytes_of("web1:4711"),
        .parked_us = 1763822400000000,
    };
}

static void expect_bytes(struct bytes got, struct bytes expected)
{
    assert_int_equal(got.count, expected.count);
    if (expected.count)
        assert_memory_equal(got.data, expected.data, expected.count);
}

static void expect_view(const uint8_t *body, const struct body_fields *expected)
{
    struct body_fields got;
    body_view(body, &got);
    expect_bytes(got.key, expected->key);
    expect_bytes(got.payload, expected->payload);
    assert_int_equal(!got.payload.data, !expected->payload.data);
    assert_int_equal(got.every_us, expected->every_us);
    assert_int_equal(got.rank, expected->rank);
    assert_int_equal(got.once, expected->once);
    expect_bytes(got.group, expected->group);
    expect_bytes(got.memo, expected->memo);
    expect_bytes(got.note, expected->note);
    expect_bytes(got.error, expected->error);
    expect_bytes(got.park_reason, expected->park_reason);
    expect_bytes(got.last_worker, expected->last_worker);
    assert_int_equal(got.parked_us, expected->parked_us);
    expect_bytes(body_key(body), expected->key);
    assert_int_equal(body_rank(body), expected->rank);
    assert_int_equal(body_every_us(body), expected->every_us);
}

/* In an allocation that ends where it ends, so that the sanitizer sees a byte too many. */
static uint8_t *packed(const struct body_fields *fields)
{
    uint8_t *body = malloc(body_measure(fields));
    assert_non_null(body);
    body_pack(fields, body);
    assert_int_equal(body_bytes(body), body_measure(fields));
    return body;
}

static uint8_t *stored(const struct body_fields *fields, uint32_t *count)
{
    uint8_t *body = packed(fields);
    *count = body_stored_bytes(body);
    uint8_t *data = malloc(*count);
    assert_non_null(data);
    body_store(body, data);
    free(body);
    return data;
}

static void round_trip(const struct body_fields *fields)
{
    struct body_fields seen;
    uint32_t count;
    uint8_t *body = packed(fields);
    expect_view(body, fields);
    free(body);
    uint8_t *data = stored(fields, &count);
    assert_true(body_is_valid(data, count));
    body_view_stored(data, &seen);
    body = packed(&seen);
    expect_view(body, fields);
    free(body);
    free(data);
}

static void what_is_packed_is_seen_again(void **state)
{
    (void)state;
    struct body_fields fields = all_fields();
    round_trip(&fields);
    round_trip(&(struct body_fields){.key = bytes_of("k")});
}

static void every_choice_of_fields_is_seen_again(void **state)
{
    (void)state;
    for (unsigned choice = 0; choice < 1u << 11; choice++) {
        struct body_fields fields = all_fields();
        struct bytes *texts[] = {&fields.payload,    &fields.group, &fields.memo,
                                 &fields.note,       &fields.error, &fields.park_reason,
                                 &fields.last_worker};
        for (unsigned i = 0; i < 7; i++)
            if (!(choice & 1u << i))
                *texts[i] = (struct bytes){NULL, 0};
        fields.every_us = choice & 1u << 7 ? fields.every_us : 0;
        fields.rank = choice & 1u << 8 ? fields.rank : 0;
        fields.parked_us = choice & 1u << 9 ? fields.parked_us : 0;
        fields.once = choice & 1u << 10;
        round_trip(&fields);
    }
}

static void an_empty_payload_is_not_an_absent_one(void **state)
{
    (void)state;
    round_trip(&(struct body_fields){.key = bytes_of("k"), .payload = bytes_of("")});
    uint8_t *body = packed(&(struct body_fields){.key = bytes_of("k"), .payload = bytes_of("")});
    struct body_fields got;
    body_view(body, &got);
    assert_non_null(got.payload.data);
    free(body);
}

static void the_longest_fields_fit(void **state)
{
    (void)state;
    static uint8_t many[PAYLOAD_BYTES_MAX];
    memset(many, 'x', sizeof(many));
    round_trip(&(struct body_fields){
        .key = {many, KEY_BYTES_MAX},
        .payload = {many, PAYLOAD_BYTES_MAX},
        .memo = {many, PAYLOAD_BYTES_MAX},
        .group = {many, GROUP_BYTES_MAX},
        .note = {many, NOTE_BYTES_MAX},
        .error = {many, NOTE_BYTES_MAX},
        .rank = INT64_MIN,
        .every_us = INT64_MAX,
    });
}

/* A copy that ends where it ends, so that a read behind it is seen by the sanitizer. */
static bool is_valid_alone(const uint8_t *data, uint32_t count)
{
    uint8_t *copy = malloc(count ? count : 1);
    assert_non_null(copy);
    if (count)
        memcpy(copy, data, count);
    bool is_valid = body_is_valid(copy, count);
    if (is_valid) {
        struct body_fields fields;
        body_view_stored(copy, &fields);
        assert_true(body_measure(&fields) <= count);
    }
    free(copy);
    return is_valid;
}

static void no_truncated_body_is_valid(void **state)
{
    (void)state;
    struct body_fields fields = all_fields();
    uint32_t count;
    uint8_t *body = stored(&fields, &count);
    for (uint32_t i = 0; i < count; i++)
        assert_false(is_valid_alone(body, i));
    assert_true(is_valid_alone(body, count));
    free(body);
}

static void a_body_with_a_byte_too_many_is_not_valid(void **state)
{
    (void)state;
    struct body_fields fields = all_fields();
    uint32_t count;
    uint8_t *body = stored(&fields, &count);
    uint8_t *longer = calloc(1, count + 1);
    memcpy(longer, body, count);
    assert_false(is_valid_alone(longer, count + 1));
    free(longer);
    free(body);
}

static void a_changed_body_is_refused_or_read_within_its_bounds(void **state)
{
    (void)state;
    struct body_fields fields = all_fields();
    uint32_t count;
    uint8_t *body = stored(&fields, &count);
    for (uint32_t i = 0; i < count * 8; i++) {
        body[i / 8] ^= (uint8_t)(1u << i % 8);
        is_valid_alone(body, count);
        body[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    free(body);
}

static void random_bytes_are_refused_or_read_within_their_bounds(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    uint8_t data[96];
    for (int i = 0; i < 200000; i++) {
        uint32_t count = (uint32_t)(draw(&random) % sizeof(data));
        for (uint32_t j = 0; j < count; j++)
            data[j] = (uint8_t)(draw(&random) >> 32);
        if (i % 2 && count > 8) { /* a header that is nearly right, so that more is looked at */
            data[0] = (uint8_t)(draw(&random) % count);
            data[1] = data[2] = data[3] = data[5] = 0;
            data[4] = (uint8_t)(draw(&random) % count);
            data[7] &= 7;
        }
        is_valid_alone(data, count);
    }
}

static void a_body_whose_key_is_no_key_is_not_valid(void **state)
{
    (void)state;
    uint32_t count;
    uint8_t *body = stored(&(struct body_fields){.key = bytes_of("key")}, &count);
    body[count - 1] = '\n';
    assert_false(is_valid_alone(body, count));
    body[count - 1] = 0xff;
    assert_false(is_valid_alone(body, count));
    body[count - 1] = 'z';
    assert_true(is_valid_alone(body, count));
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_seen_again),
        cmocka_unit_test(every_choice_of_fields_is_seen_again),
        cmocka_unit_test(an_empty_payload_is_not_an_absent_one),
        cmocka_unit_test(the_longest_fields_fit),
        cmocka_unit_test(no_truncated_body_is_valid),
        cmocka_unit_test(a_body_with_a_byte_too_many_is_not_valid),
        cmocka_unit_test(a_changed_body_is_refused_or_read_within_its_bounds),
        cmocka_unit_test(random_bytes_are_refused_or_read_within_their_bounds),
        cmocka_unit_test(a_body_whose_key_is_no_key_is_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
