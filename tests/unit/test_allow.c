#include "allow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#define KEY_1 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLD*X_"
#define WEB1 "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define HASH "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]#f7"

static char why[ALLOW_WHY_BYTES];

static struct allow *parse(const char *text)
{
    why[0] = '\0';
    return allow_parse(text, strlen(text), why);
}

static bool has_queue(const struct allow *allow, const char *user, const char *queue)
{
    const struct allow_entry *entry = allow_find(allow, user);
    assert_non_null(entry);
    return allow_has_queue(entry, bytes_of(queue));
}

static void a_line_names_a_peer_with_role_queues_and_limits(void **state)
{
    (void)state;
    struct allow *allow =
        parse("# all of them\n"
              "\n"
              "key " WEB1 " role=worker,client queues=feeds,t-* name=web1 credit=7 "
              "connections=3 # not this\r\n"
              "\tuid 1000  role=admin\n"
              "key " HASH " role=monitor");
    assert_string_equal(why, "");
    assert_non_null(allow);
    assert_int_equal(allow_count(allow), 3);
    const struct allow_entry *web = allow_find(allow, "key:" WEB1);
    assert_string_equal(web->name, "web1");
    assert_int_equal(web->roles, ROLE_WORKER | ROLE_CLIENT);
    assert_int_equal(web->credit_max, 7);
    assert_int_equal(web->connections_max, 3);
    assert_int_equal(allow_find(allow, "uid:1000")->roles, ROLE_ADMIN);
    assert_int_equal(allow_find(allow, "key:" HASH)->connections_max, ALLOW_CONNECTIONS);
    allow_destroy(&allow);
    assert_null(allow);
}

static void who_is_not_there_is_not_found(void **state)
{
    (void)state;
    static const char *const others[] = {"",          "key:",      "uid:100",       "uid:10000",
                                         "uid:-1",    "1000",      "UID:1000",      "uid:01000",
                                         "uid:1000 ", "key:" HASH, "key:" WEB1 "x", WEB1};
    struct allow *allow = parse("uid 1000 role=monitor\nkey " WEB1 " role=monitor");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_null(allow_find(allow, others[i]));
    assert_non_null(allow_find(allow, "uid:1000"));
    allow_destroy(&allow);
    allow = parse("");
    assert_null(allow_find(allow, "uid:0"));
    allow_destroy(&allow);
}

static void queues_are_names_beginnings_or_all(void **state)
{
    (void)state;
    struct allow *allow = parse("uid 1 role=worker queues=feeds,t-*\n"
                                "uid 2 role=client queues=*\n"
                                "uid 3 role=admin\n"
                                "uid 4 role=monitor\n");
    assert_true(has_queue(allow, "uid:1", "feeds"));
    assert_true(has_queue(allow, "uid:1", "t-1") && has_queue(allow, "uid:1", "t-"));
    assert_false(has_queue(allow, "uid:1", "feed") || has_queue(allow, "uid:1", "feeds2"));
    assert_false(has_queue(allow, "uid:1", "t") || has_queue(allow, "uid:1", "xt-1"));
    assert_false(has_queue(allow, "uid:1", "") || has_queue(allow, "uid:1", "feeds,t-"));
    assert_false(has_queue(allow, "uid:1", NULL)); /* all of them */
    assert_true(has_queue(allow, "uid:2", "anything") && has_queue(allow, "uid:2", NULL));
    assert_true(has_queue(allow, "uid:3", "anything") && has_queue(allow, "uid:3", NULL));
    assert_false(has_queue(allow, "uid:4", "anything") || has_queue(allow, "uid:4", NULL));
    allow_destroy(&allow);
}

static void a_line_that_is_wrong_is_named_and_there_is_no_list(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        {"uid 1 role=admin\nkey\n", "line 2: a line is"},
        {"user 1 role=admin", "begins with key or uid, not \"user\""},
        {"key abc role=admin", "forty characters"},
        {"key " KEY_1 "_ role=admin", "forty characters"},
        {"uid x role=admin", "a uid is a number"},
        {"uid -1 role=admin", "a uid is a number"},
        {"uid 4294967295 role=admin", "a uid is a number"},
        {"uid 1", "role= is missing"},
        {"uid 1 role=", "not NAME=VALUE"},
        {"uid 1 role=,", "role= is missing"},
        {"uid 1 role=root", "\"root\" is no role"},
        {"uid 1 role=worker", "queues= is missing"},
        {"uid 1 role=client,monitor", "queues= is missing"},
        {"uid 1 role=worker queues=a/b", "a queue is"},
        {"uid 1 role=worker queues=a,,b", "a queue is"},
        {"uid 1 role=worker queues=a,", "a queue is"},
        {"uid 1 role=worker queues=a*b", "a queue is"},
        {"uid 1 role=worker queues=** ", "a queue is"},
        {"uid 1 role=worker queues=../*", "a queue is"},
        {"uid 1 role=admin credit=16385", "no number from 0 to 16384"},
        {"uid 1 role=admin connections=x", "no number"},
        {"uid 1 role=admin name=\x1b[2J", "a name has"},
        {"uid 1 role=admin colour=red", "\"colour\" is not known"},
        {"uid 1 role=admin admin", "\"admin\" is not NAME=VALUE"},
        {"uid 1 role=admin\nuid 01 role=monitor", "uid:1 is there twice"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct allow *allow = parse(rows[i].text);
        if (allow || !strstr(why, rows[i].said))
            fail_msg("%s: %s", rows[i].text, why);
    }
}

static void zeros_and_endless_lines_are_refused(void **state)
{
    (void)state;
    static const char zero[] = "uid 1 role=monitor\0admin";
    char *line = calloc(1, ALLOW_LINE_BYTES_MAX + 2);
    memset(line, '#', ALLOW_LINE_BYTES_MAX + 1);
    assert_null(allow_parse(zero, sizeof(zero) - 1, why));
    assert_non_null(strstr(why, "a byte is zero"));
    assert_null(parse(line));
    assert_non_null(strstr(why, "longer than"));
    assert_null(allow_parse(line, (size_t)ALLOW_BYTES_MAX + 1, why));
    assert_non_null(strstr(why, "8 MiB"));
    free(line);
}

/* Bytes by a seed: pieces of what is right, in any order. Nothing may happen but a list or a text.
 */
static void nothing_that_a_file_holds_does_harm(void **state)
{
    (void)state;
    static const char *const pieces[] = {"key ",     "uid ",
                                         WEB1,       "1000",
                                         " role=",   "worker",
                                         "admin",    ",",
                                         " queues=", "*",
                                         "feeds",    "\n",
                                         " name=",   "\r",
                                         "#",        "\t",
                                         "=",        " credit=",
                                         "\xff",     "\x00x",
                                         "-",        "99999999999999999999"};
    uint64_t dice = 88172645463325252u;
    unsigned lists = 0;
    for (int round = 0; round < 20000; round++) {
        char text[1024] = "";
        size_t count = 0;
        for (int i = 0; i < 12; i++) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            const char *piece = pieces[dice % (sizeof(pieces) / sizeof(pieces[0]))];
            size_t bytes = piece[0] ? strlen(piece) : 2;
            memcpy(text + count, piece, bytes);
            count += bytes;
        }
        why[0] = '\0';
        struct allow *allow = allow_parse(text, count, why);
        assert_true(allow || why[0]);
        lists += allow != NULL;
        allow_destroy(&allow);
    }
    assert_in_range(lists, 1, 19999);
}

static void a_file_that_others_may_write_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/everdue-allow-XXXXXX", folder[] = "/tmp/everdue-allow-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "uid 1 role=admin\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct allow *allow = allow_read(path, why);
    assert_int_equal(allow_count(allow), 1);
    allow_destroy(&allow);
    static const mode_t modes[] = {0620, 0602, 0666};
    for (size_t i = 0; i < 3; i++) {
        chmod(path, modes[i]);
        assert_null(allow_read(path, why));
        assert_non_null(strstr(why, "others can write it"));
    }
    unlink(path);
    assert_null(allow_read(path, why));
    assert_non_null(strstr(why, "No such file"));
    assert_non_null(mkdtemp(folder));
    assert_null(allow_read(folder, why));
    assert_non_null(strstr(why, "not a file"));
    rmdir(folder);
    assert_null(allow_read("/dev/zero", why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_a_peer_with_role_queues_and_limits),
        cmocka_unit_test(who_is_not_there_is_not_found),
        cmocka_unit_test(queues_are_names_beginnings_or_all),
        cmocka_unit_test(a_line_that_is_wrong_is_named_and_there_is_no_list),
        cmocka_unit_test(zeros_and_endless_lines_are_refused),
        cmocka_unit_test(nothing_that_a_file_holds_does_harm),
        cmocka_unit_test(a_file_that_others_may_write_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
