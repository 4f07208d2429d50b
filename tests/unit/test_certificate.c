#include "certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#define KEY "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
#define PAIR "curve\n    public-key = \"" KEY "\"\n    secret-key = \"" KEY "\"\n"

static char path[] = "/tmp/everdue-certificate-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fchmod(fileno(file), mode), 0);
    fclose(file);
}

static void a_pair_that_others_may_read_or_write_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0666};
    struct certificate certificate;
    uint8_t key[CURVE_KEY_BYTES];
    (void)state;
    write_file(PAIR, 0600);
    assert_int_equal(certificate_read(&certificate, path), STATUS_OK);
    assert_true(certificate_key(key, KEY));
    assert_memory_equal(certificate.public_key, key, CURVE_KEY_BYTES);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_file(PAIR, modes[i]);
        assert_int_equal(certificate_read(&certificate, path), STATUS_DENIED);
        memset(key, 0, sizeof(key));
        assert_memory_equal(certificate.secret_key, key, CURVE_KEY_BYTES);
    }
    write_file(PAIR, 0400);
    assert_int_equal(certificate_read(&certificate, path), STATUS_OK);
}

static void a_public_key_is_a_text_or_in_a_file(void **state)
{
    uint8_t key[CURVE_KEY_BYTES], same[CURVE_KEY_BYTES];
    (void)state;
    assert_true(certificate_public_key(key, KEY));
    write_file("\n  " KEY "\n", 0644);
    assert_true(certificate_public_key(same, path));
    assert_memory_equal(key, same, CURVE_KEY_BYTES);
    static const char *const others[] = {"", KEY "x", "curve\n", "\n\n", PAIR};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        write_file(others[i], 0644);
        assert_false(certificate_public_key(same, path));
    }
    assert_false(certificate_public_key(same, "/nonexistent"));
    assert_false(certificate_public_key(same, "/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_that_others_may_read_or_write_is_refused),
        cmocka_unit_test(a_public_key_is_a_text_or_in_a_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
