/* The byte examples of docs/protocol.md, decoded and written anew. In a block of `hex` each message
 * begins with "; NAME what it is", an answer with "; ANSWER to NAME: what it is"; in the lines that
 * follow, what stands behind a ';' is for people. */
#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recode.h"

enum { EXAMPLES_MAX = 200, EXAMPLE_BYTES_MAX = 1000 };

struct example {
    int line;
    char name[32];
    char answered[32]; /* of an answer: the request; empty otherwise */
    uint8_t bytes[EXAMPLE_BYTES_MAX];
    size_t count;
};

static struct example examples[EXAMPLES_MAX];
static size_t example_count;

/* --- reading the document --------------------------------------------------------------------- */

static void begin_example(const char *line, int number)
{
    assert_true(example_count < EXAMPLES_MAX);
    struct example *example = &examples[example_count++];
    example->line = number;
    if (sscanf(line, "; %31[A-Z_] to %31[^:]:", example->name, example->answered) < 1)
        fail_msg("line %d: an example begins with \"; NAME\"", number);
    if (strcmp(example->name, "ANSWER") == 0 && !example->answered[0])
        fail_msg("line %d: to what is it the answer? \"; ANSWER to NAME: ...\"", number);
}

static void add_bytes(char *line, int number)
{
    line[strcspn(line, ";\n")] = '\0';
    for (char *word = strtok(line, " \t"); word; word = strtok(NULL, " \t")) {
        if (example_count == 0 || strlen(word) != 2 || strspn(word, "0123456789abcdef") != 2)
            fail_msg("line %d: %s is no byte of an example", number, word);
        struct example *example = &examples[example_count - 1];
        assert_true(example->count < EXAMPLE_BYTES_MAX);
        example->bytes[example->count++] = (uint8_t)strtoul(word, NULL, 16);
    }
}

static int read_document(void **state)
{
    char line[1000];
    bool in_block = false;
    FILE *file = fopen(PROTOCOL_MD, "r");
    (void)state;

    assert_non_null(file);
    for (int number = 1; fgets(line, sizeof(line), file); number++) {
        if (strncmp(line, "```", 3) == 0)
            in_block = strcmp(line, "```hex\n") == 0;
        else if (in_block && line[0] == ';')
            begin_example(line, number);
        else if (in_block)
            add_bytes(line, number);
    }
    fclose(file);
    return example_count > 0 ? 0 : -1;
}

static const char *body_of(const struct example *example)
{
    return example->answered[0] ? recode_find_body(example->answered) : NULL;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void every_example_is_the_message_that_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < example_count; i++) {
        const struct example *example = &examples[i];
        struct wire_reader reader;
        struct message_head head;
        wire_reader_init(&reader, example->bytes, example->count);
        assert_int_equal(message_read_head(&reader, &head), STATUS_OK);
        const struct recode_shape *shape = recode_find(head.type);
        if (!shape || strcmp(shape->name, example->name) != 0)
            fail_msg("line %d: type %d is not %s", example->line, head.type, example->name);
    }
}

static void every_example_is_read_whole_and_written_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < example_count; i++) {
        const struct example *example = &examples[i];
        struct wire_buffer out;
        wire_buffer_init(&out);
        enum status status = recode(example->bytes, example->count, body_of(example), &out);
        if (status)
            fail_msg("line %d: %s is %s", example->line, example->name, status_name(status));
        if (out.count != example->count || memcmp(out.data, example->bytes, out.count) != 0)
            fail_msg("line %d: %s is written otherwise", example->line, example->name);
        wire_buffer_release(&out);
    }
}

/* From a copy on the heap, so that a sanitizer sees what is read behind the end. */
static void every_example_cut_at_every_byte_is_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < example_count; i++) {
        const struct example *example = &examples[i];
        for (size_t count = 0; count < example->count; count++) {
            struct wire_buffer out;
            uint8_t *bytes = malloc(count ? count : 1);
            assert_non_null(bytes);
            memcpy(bytes, example->bytes, count);
            wire_buffer_init(&out);
            enum status status = recode(bytes, count, body_of(example), &out);
            if (status != STATUS_MALFORMED)
                fail_msg("line %d: %s, %zu bytes of it: %s", example->line, example->name, count,
                         status_name(status));
            wire_buffer_release(&out);
            free(bytes);
        }
    }
}

/* Each byte replaced by each other one: whatever that means, nothing outside is read or believed.
 */
static void every_example_with_one_wrong_byte_is_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < example_count; i++) {
        const struct example *example = &examples[i];
        uint8_t *bytes = malloc(example->count);
        struct wire_buffer out;
        assert_non_null(bytes);
        wire_buffer_init(&out);
        memcpy(bytes, example->bytes, example->count);
        for (size_t place = 0; place < example->count; place++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                bytes[place] = (uint8_t)byte;
                wire_buffer_clear(&out);
                recode(bytes, example->count, body_of(example), &out);
                assert_true(out.count < 100 * EXAMPLE_BYTES_MAX);
            }
            bytes[place] = example->bytes[place];
        }
        wire_buffer_release(&out);
        free(bytes);
    }
}

/* The list of types is the header's own text: a type that is added there without an example fails.
 */
static void every_type_of_message_h_has_an_example(void **state)
{
    char line[1000];
    int types = 0;
    FILE *file = fopen(MESSAGE_H, "r");
    (void)state;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        char name[40];
        int type;
        if (sscanf(line, " MESSAGE_%39[A-Z_] = %d", name, &type) != 2)
            continue;
        types++;
        const struct recode_shape *shape = recode_find(type);
        if (!shape || strcmp(shape->name, name) != 0)
            fail_msg("recode.c does not know %s", name);
        bool found = false;
        for (size_t i = 0; i < example_count && !found; i++)
            found = strcmp(examples[i].name, name) == 0;
        if (!found)
            fail_msg("docs/protocol.md has no byte example of %s", name);
    }
    fclose(file);
    assert_true(types > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_is_the_message_that_it_says),
        cmocka_unit_test(every_example_is_read_whole_and_written_as_it_was),
        cmocka_unit_test(every_example_cut_at_every_byte_is_malformed),
        cmocka_unit_test(every_example_with_one_wrong_byte_is_survived),
        cmocka_unit_test(every_type_of_message_h_has_an_example),
    };
    return cmocka_run_group_tests(tests, read_document, NULL);
}
