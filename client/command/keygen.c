#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#include "certificate.h"
#include "commands.h"
#include "json.h"

enum { PATH_BYTES = 4096, PAIR_TEXT_BYTES = 41 };

struct keygen_input {
    struct context *context;
    const char *file;
    bool is_shown; /* nothing is made: the public key of a file that is there */
};

enum { OPTION_SHOW = 0x100 };

static const struct argp_option keygen_options[] = {
    {"show", OPTION_SHOW, NULL, 0, "Make nothing: print the public key of FILE", 0},
    {0},
};

static error_t parse_keygen(int key, char *argument, struct argp_state *state)
{
    struct keygen_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case OPTION_SHOW:
        input->is_shown = true;
        return 0;
    case ARGP_KEY_ARG:
        if (input->file)
            argp_error(state, "\"%s\" is too many", argument);
        input->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!input->file)
            argp_error(state, "FILE is missing");
        if (strlen(input->file) + sizeof(".pub") > PATH_BYTES)
            argp_error(state, "the name of FILE is too long");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static void print_key(const struct context *context, const char *public_key)
{
    struct text text;
    text_init(&text);
    if (context->format == OUTPUT_TEXT) {
        text_add_string(&text, public_key);
    } else {
        text_add(&text, "{", 1);
        json_add_member(&text, "public_key", everdue_text(public_key));
        text_add(&text, "}", 1);
    }
    output_line(&text);
    text_release(&text);
}

static int show_key(const struct keygen_input *input)
{
    struct certificate certificate;
    char text[PAIR_TEXT_BYTES];
    enum status status = certificate_read(&certificate, input->file);
    if (status == STATUS_OK) {
        zmq_z85_encode(text, certificate.public_key, CURVE_KEY_BYTES);
        explicit_bzero(&certificate, sizeof(certificate));
        print_key(input->context, text);
        return 0;
    }
    return context_fail_key(input->file, status);
}

/* A new file with this text and mode, never one that is there or behind a link. 0, or an errno. */
static int write_file(const char *path, mode_t mode, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return errno;
    size_t count = strlen(text);
    int error = write(fd, text, count) == (ssize_t)count && fchmod(fd, mode) == 0 && fsync(fd) == 0
                    ? 0
                    : errno;
    close(fd);
    if (error)
        unlink(path);
    return error;
}

static int fail_write(const char *path, int error)
{
    context_say("%s: %s%s", path, strerror(error),
                error == EEXIST ? "; a key is never overwritten" : "");
    return error == EEXIST || error == EACCES || error == EROFS ? EX_CANTCREAT : EX_IOERR;
}

static int make_key(const struct keygen_input *input)
{
    char public_key[PAIR_TEXT_BYTES], secret_key[PAIR_TEXT_BYTES];
    char text[512], path[PATH_BYTES];
    /* Ends after one or two: most begin so. Others look like options. */
    do
        if (zmq_curve_keypair(public_key, secret_key)) {
            context_say("this libzmq has no CURVE");
            return EX_SOFTWARE;
        }
    while (!isalnum((unsigned char)public_key[0]));
    snprintf(text, sizeof(text), "curve\n    public-key = \"%s\"\n    secret-key = \"%s\"\n",
             public_key, secret_key);
    int error = write_file(input->file, 0600, text);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(secret_key, sizeof(secret_key));
    if (error)
        return fail_write(input->file, error);
    snprintf(path, sizeof(path), "%s.pub", input->file);
    snprintf(text, sizeof(text), "%s\n", public_key);
    error = write_file(path, 0644, text);
    if (error) {
        unlink(input->file);
        return fail_write(path, error);
    }
    context_say("%s is secret and stays here; %s.pub is for the other side", input->file,
                input->file);
    print_key(input->context, public_key);
    return 0;
}

int command_keygen(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        keygen_options,
        parse_keygen,
        "FILE",
        "Make a key: FILE with both halves for its owner only, FILE.pub with the public one, which "
        "is printed.",
        context_children,
        NULL,
        NULL};
    struct keygen_input input = {.context = context};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    return input.is_shown ? show_key(&input) : make_key(&input);
}
