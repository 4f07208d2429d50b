#include "certificate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

enum { KEY_TEXT_BYTES = 40, LINE_BYTES_MAX = 1024, LINES_MAX = 1000 };

bool certificate_key(uint8_t key[CURVE_KEY_BYTES], const char *text)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  ".-:+=^!/*?&<>()[]{}@%$#";
    return strlen(text) == KEY_TEXT_BYTES && strspn(text, letters) == KEY_TEXT_BYTES &&
           zmq_z85_decode(key, text) != NULL;
}

bool certificate_public_key(uint8_t key[CURVE_KEY_BYTES], const char *text)
{
    char found[KEY_TEXT_BYTES + 2] = "";
    if (certificate_key(key, text))
        return true;
    FILE *stream = fopen(text, "re");
    bool is_key = stream && fscanf(stream, " %41s", found) == 1 && certificate_key(key, found);
    if (stream)
        fclose(stream);
    return is_key;
}

/* The key behind `name` and a "=", in quotes or not. False when the line has another name. */
static bool take_key(char *line, const char *name, uint8_t key[CURVE_KEY_BYTES])
{
    char *at = line + strspn(line, " \t");
    if (strncmp(at, name, strlen(name)) != 0)
        return false;
    at += strlen(name);
    at += strspn(at, " \t");
    if (*at++ != '=')
        return false;
    at += strspn(at, " \t\"'");
    at[strcspn(at, " \t\"'\r\n")] = '\0';
    return certificate_key(key, at);
}

static bool read_keys(FILE *file, struct certificate *certificate)
{
    char line[LINE_BYTES_MAX];
    bool in_curve = false;
    bool has_public = false;
    bool has_secret = false;
    for (int i = 0; i < LINES_MAX && fgets(line, sizeof(line), file); i++) {
        bool indented = line[0] == ' ' || line[0] == '\t';
        if (!indented && line[0] != '#' && line[0] != '\n')
            in_curve = strcspn(line, " \t\r\n") == 5 && memcmp(line, "curve", 5) == 0;
        if (!in_curve || !indented)
            continue;
        has_public = take_key(line, "public-key", certificate->public_key) || has_public;
        has_secret = take_key(line, "secret-key", certificate->secret_key) || has_secret;
    }
    explicit_bzero(line, sizeof(line));
    return has_public && has_secret;
}

static FILE *open_secret_or_plain(const char *file)
{
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof(path), "%s_secret", file);
    FILE *stream = bytes > 0 && (size_t)bytes < sizeof(path) ? fopen(path, "re") : NULL;
    return stream ? stream : fopen(file, "re");
}

/* A secret that others can read is none, and a file that others own they can change. */
static enum status check_owner(FILE *stream)
{
    struct stat found;
    if (fstat(fileno(stream), &found))
        return STATUS_IO;
    bool is_ours = found.st_uid == geteuid() || found.st_uid == 0;
    return is_ours && !(found.st_mode & (S_IRWXG | S_IRWXO)) ? STATUS_OK : STATUS_DENIED;
}

enum status certificate_read(struct certificate *certificate, const char *file)
{
    memset(certificate, 0, sizeof(*certificate));
    FILE *stream = open_secret_or_plain(file);
    if (!stream)
        return STATUS_IO;
    enum status status = check_owner(stream);
    if (status) {
        fclose(stream);
        return status;
    }
    bool whole = read_keys(stream, certificate);
    bool failed = ferror(stream) != 0;
    fclose(stream);
    if (whole && !failed)
        return STATUS_OK;
    explicit_bzero(certificate, sizeof(*certificate));
    return failed ? STATUS_IO : STATUS_BAD_FIELD;
}
