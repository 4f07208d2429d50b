#include "bodies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"

enum { BODIES = 20000, LENGTH_MAX = 3000 };

/* The model: of each body its length and the byte that it is filled with. */
struct model {
    struct bodies bodies;
    uint32_t names[BODIES];
    uint32_t lengths[BODIES];
    uint64_t random;
    uint64_t bytes; /* of payloads that are there */
};

static uint32_t draw(struct model *model, uint32_t below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)(model->random % below);
}

static int begin(void **state)
{
    static struct model model;
    model = (struct model){.random = 88172645463325252u};
    *state = &model;
    return 0;
}

static void check(const struct model *model)
{
    const char *what = NULL;
    if (!bodies_check(&model->bodies, &what))
        fail_msg("%s", what);
}

static uint32_t put(struct bodies *bodies, uint32_t i, uint32_t length)
{
    static uint8_t payload[LENGTH_MAX];
    char key[9];
    snprintf(key, sizeof(key), "%08x", i);
    memset(payload, (int)i & 0xff, length);
    return bodies_put(bodies, &(struct body_fields){.key = {(const uint8_t *)key, 8},
                                                    .payload = {payload, length}});
}

static void add(struct model *model, uint32_t i, uint32_t length)
{
    model->names[i] = put(&model->bodies, i, length);
    assert_int_not_equal(model->names[i], BODIES_NONE);
    model->lengths[i] = length;
    model->bytes += length;
}

static void drop(struct model *model, uint32_t i)
{
    bodies_give(&model->bodies, model->names[i]);
    model->bytes -= model->names[i] ? model->lengths[i] : 0;
    model->names[i] = BODIES_NONE;
}

static void drop_all(struct model *model)
{
    for (uint32_t i = 0; i < BODIES; i++)
        drop(model, i);
    check(model);
    assert_int_equal(model->bodies.used_bytes, 0);
    assert_int_equal(model->bodies.hole_bytes, 0);
    bodies_release(&model->bodies);
}

static void expect_all(const struct model *model)
{
    for (uint32_t i = 0; i < BODIES; i++) {
        char key[9];
        if (!model->names[i])
            continue;
        const uint8_t *body = bodies_at(&model->bodies, model->names[i]);
        struct bytes payload = body_payload(body);
        snprintf(key, sizeof(key), "%08x", i);
        assert_memory_equal(body_key(body).data, key, 8);
        assert_int_equal(payload.count, model->lengths[i]);
        for (uint32_t k = 0; k < payload.count; k++)
            assert_int_equal(payload.data[k], i & 0xff);
    }
}

/* Half of them short, as bodies are; some longer than a chunk keeps. */
static uint32_t any_length(struct model *model)
{
    uint32_t most = draw(model, 2) ? 40 : draw(model, 8) ? 900 : LENGTH_MAX;
    return draw(model, most);
}

static void what_was_put_is_there_until_it_is_given_back(void **state)
{
    struct model *model = *state;
    for (uint32_t i = 0; i < 5 * BODIES; i++) {
        uint32_t which = draw(model, BODIES);
        if (model->names[which])
            drop(model, which);
        else
            add(model, which, any_length(model));
    }
    check(model);
    expect_all(model);
    drop_all(model);
}

static void a_body_takes_its_length_rounded_up_to_four(void **state)
{
    struct model *model = *state;
    for (uint32_t length = 0; length <= 900; length += 9) {
        uint64_t before = model->bodies.used_bytes;
        add(model, length, length);
        uint64_t bytes = body_bytes(bodies_at(&model->bodies, model->names[length]));
        assert_int_equal(bytes, length + 8 + 4); /* key and header */
        assert_int_equal(model->bodies.used_bytes - before, (bytes + 3) / 4 * 4);
    }
    drop_all(model);
}

/* Those of other records lie between, so no chunk comes free by itself. */
static void fill_and_leave_holes(struct model *model, uint32_t length, uint32_t of_each)
{
    for (uint32_t i = 0; i < BODIES; i++)
        add(model, i, length);
    for (uint32_t i = 0; i < BODIES; i++)
        if (i % of_each)
            drop(model, i);
}

/* Moves all that is to move; returns how many that were. */
static uint32_t tidy(struct model *model)
{
    uint32_t moved = 0;
    bodies_begin_leaving(&model->bodies);
    for (uint32_t i = 0; i < BODIES; i++)
        if (model->names[i] && bodies_leaves(&model->bodies, model->names[i])) {
            model->names[i] = bodies_move(&model->bodies, model->names[i]);
            assert_int_not_equal(model->names[i], BODIES_NONE);
            moved++;
        }
    assert_int_equal(model->bodies.leaving, 0);
    check(model);
    return moved;
}

static void holes_of_any_length_are_bounded_when_bodies_were_moved(void **state)
{
    struct model *model = *state;
    static const uint32_t lengths[] = {400, 1500, 900, 64};
    for (uint32_t k = 0; k < sizeof(lengths) / sizeof(*lengths); k++) {
        fill_and_leave_holes(model, lengths[k], 10);
        uint64_t used = model->bodies.used_bytes;
        assert_true(lengths[k] != 400 || bodies_are_sparse(&model->bodies));
        assert_int_equal(tidy(model), BODIES / 10);
        assert_false(bodies_are_sparse(&model->bodies));
        assert_int_equal(model->bodies.used_bytes, used);
        assert_true(model->bodies.hole_bytes <= used / 3);
        expect_all(model);
        assert_int_equal(tidy(model), 0);
        for (uint32_t i = 0; i < BODIES; i++)
            drop(model, i);
    }
    drop_all(model);
}

/* A body that goes, and comes, while its chunk is being left does not get back there. */
static void bodies_come_and_go_while_others_are_moved(void **state)
{
    struct model *model = *state;
    fill_and_leave_holes(model, 300, 3);
    bodies_begin_leaving(&model->bodies);
    assert_true(model->bodies.leaving > 0);
    for (uint32_t i = 0; i < BODIES; i++) {
        uint32_t which = draw(model, BODIES);
        if (model->names[which])
            drop(model, which);
        else
            add(model, which, 300);
        assert_false(model->names[which] && bodies_leaves(&model->bodies, model->names[which]));
        if (model->names[i] && bodies_leaves(&model->bodies, model->names[i]))
            model->names[i] = bodies_move(&model->bodies, model->names[i]);
    }
    assert_int_equal(model->bodies.leaving, 0);
    check(model);
    expect_all(model);
    drop_all(model);
}

/* One chunk is kept: whoever puts and removes at a chunk's begin asks for no memory. */
static void a_chunk_that_nobody_is_in_goes_back_but_for_one(void **state)
{
    struct model *model = *state;
    add(model, 0, 100);
    drop(model, 0);
    memory_plan(1, true);
    memory_enter();
    for (int i = 0; i < 10; i++) {
        add(model, 0, 100 + 8 * (uint32_t)i);
        drop(model, 0);
    }
    memory_leave();
    assert_int_equal(memory_failures(), 0);
    assert_non_null(model->bodies.spare);
    drop_all(model);
}

/* Each allocation fails once: nothing changed then, and the next try succeeds. */
static void a_body_without_memory_changes_nothing(void **state)
{
    struct model *model = *state;
    static const uint32_t lengths[] = {80, 2000};
    for (uint32_t k = 0; k < 2; k++)
        for (uint64_t failing = 1;; failing++) { /* ends: there are few allocations */
            memory_plan(failing, false);
            memory_enter();
            uint32_t name = put(&model->bodies, 1, lengths[k]);
            memory_leave();
            check(model);
            assert_int_equal(name == BODIES_NONE, memory_failures());
            bool is_done = name != BODIES_NONE;
            bodies_give(&model->bodies, name);
            assert_int_equal(model->bodies.used_bytes, 0);
            bodies_release(&model->bodies);
            if (is_done) {
                assert_true(failing > 2);
                break;
            }
        }
}

static void a_move_without_memory_changes_nothing(void **state)
{
    struct model *model = *state;
    fill_and_leave_holes(model, 400, 10);
    bodies_begin_leaving(&model->bodies);
    uint32_t which = 0;
    while (!bodies_leaves(&model->bodies, model->names[which])) /* ends: some do */
        which += 10;
    /* Until there is nowhere to move to. */
    uint32_t length = model->lengths[which], other = 0;
    memory_plan(1, true);
    memory_enter();
    for (; !memory_failures(); other++) /* ends: what is free is finite */
        if (!model->names[other])
            model->names[other] = put(&model->bodies, other, length);
    uint32_t moved = bodies_move(&model->bodies, model->names[which]);
    memory_leave();
    assert_int_equal(moved, BODIES_NONE);
    check(model);
    model->names[which] = bodies_move(&model->bodies, model->names[which]);
    assert_int_not_equal(model->names[which], BODIES_NONE);
    for (uint32_t i = 0; i < BODIES; i++)
        model->lengths[i] = length;
    expect_all(model);
    drop_all(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_put_is_there_until_it_is_given_back, begin),
        cmocka_unit_test_setup(a_body_takes_its_length_rounded_up_to_four, begin),
        cmocka_unit_test_setup(holes_of_any_length_are_bounded_when_bodies_were_moved, begin),
        cmocka_unit_test_setup(bodies_come_and_go_while_others_are_moved, begin),
        cmocka_unit_test_setup(a_chunk_that_nobody_is_in_goes_back_but_for_one, begin),
        cmocka_unit_test_setup(a_body_without_memory_changes_nothing, begin),
        cmocka_unit_test_setup(a_move_without_memory_changes_nothing, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
