#include "allow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bounds.h"
#include "certificate.h"
#include "quantity.h"

struct allow {
    struct allow_entry *entries; /* in the order of their users */
    size_t count;
    char *text; /* the names of queues lie in it */
};

/* --- words ------------------------------------------------------------------------------------ */

struct reading {
    struct allow *allow;
    char *why;
    size_t line;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct reading *reading,
                                                         const char *format, ...)
{
    va_list arguments;
    int count = snprintf(reading->why, ALLOW_WHY_BYTES, "line %zu: ", reading->line);
    va_start(arguments, format);
    vsnprintf(reading->why + count, ALLOW_WHY_BYTES - (size_t)count, format, arguments);
    va_end(arguments);
    return false;
}

static bool read_name(struct reading *reading, struct allow_entry *entry, const char *value)
{
    struct bytes name = bytes_of(value);
    if (name.count >= ALLOW_NAME_BYTES || !bytes_are_key(name))
        return refuse(reading, "a name has 1 to 64 bytes of UTF-8 without control characters");
    strcpy(entry->name, value);
    return true;
}

static bool read_roles(struct reading *reading, struct allow_entry *entry, char *value)
{
    static const struct {
        const char *name;
        unsigned role;
    } roles[] = {{"worker", ROLE_WORKER},
                 {"client", ROLE_CLIENT},
                 {"monitor", ROLE_MONITOR},
                 {"admin", ROLE_ADMIN}};
    char *rest = NULL;
    for (char *one = strtok_r(value, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        size_t i = 0;
        while (i < sizeof(roles) / sizeof(roles[0]) && strcmp(roles[i].name, one) != 0)
            i++;
        if (i == sizeof(roles) / sizeof(roles[0]))
            return refuse(reading, "\"%.64s\" is no role; there are worker, client, monitor, admin",
                          one);
        entry->roles |= roles[i].role;
    }
    return true;
}

/* The list stays as it is written, with commas; allow_has_queue reads it. */
static bool read_queues(struct reading *reading, struct allow_entry *entry, const char *value)
{
    for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        struct bytes name = {(const uint8_t *)at, (uint32_t)strcspn(at, ",")};
        bool has_star = name.count > 0 && name.data[name.count - 1] == '*';
        name.count -= has_star;
        if (!(has_star && name.count == 0) && !bytes_are_queue_name(name))
            return refuse(reading, "a queue is 1 to 64 letters, digits, '.', '_' and '-', or a "
                                   "beginning and '*'");
    }
    entry->queues = value;
    return true;
}

static bool read_count(struct reading *reading, uint32_t *count, const char *value, int64_t most)
{
    int64_t number;
    if (number_parse(value, strlen(value), 0, most, &number))
        return refuse(reading, "\"%.64s\" is no number from 0 to %lld", value, (long long)most);
    *count = (uint32_t)number;
    return true;
}

static bool read_word(struct reading *reading, struct allow_entry *entry, char *word)
{
    char *value = strchr(word, '=');
    if (!value || !value[1])
        return refuse(reading, "\"%.64s\" is not NAME=VALUE", word);
    *value++ = '\0';
    if (strcmp(word, "role") == 0)
        return read_roles(reading, entry, value);
    if (strcmp(word, "queues") == 0)
        return read_queues(reading, entry, value);
    if (strcmp(word, "name") == 0)
        return read_name(reading, entry, value);
    if (strcmp(word, "credit") == 0)
        return read_count(reading, &entry->credit_max, value, CREDIT_MAX);
    if (strcmp(word, "connections") == 0)
        return read_count(reading, &entry->connections_max, value, 100000);
    return refuse(
        reading, "\"%.64s\" is not known; there are role, queues, name, credit, connections", word);
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool read_user(struct reading *reading, struct allow_entry *entry, const char *kind,
                      const char *value)
{
    uint8_t key[CURVE_KEY_BYTES];
    int64_t uid;
    if (!kind || !value)
        return refuse(reading, "a line is: key PUBLIC-KEY or uid NUMBER, then role=... queues=...");
    if (strcmp(kind, "key") == 0 && !certificate_key(key, value))
        return refuse(reading,
                      "a public key has forty characters of Z85; everdue keygen prints it");
    if (strcmp(kind, "uid") == 0 && number_parse(value, strlen(value), 0, UINT32_MAX - 1, &uid))
        return refuse(reading, "a uid is a number; id -u prints it");
    if (strcmp(kind, "key") != 0 && strcmp(kind, "uid") != 0)
        return refuse(reading, "a line begins with key or uid, not \"%.64s\"", kind);
    if (kind[0] == 'k')
        snprintf(entry->user, sizeof(entry->user), "key:%s", value);
    else
        snprintf(entry->user, sizeof(entry->user), "uid:%lld", (long long)uid);
    return true;
}

static bool check_entry(struct reading *reading, const struct allow_entry *entry)
{
    if (!entry->roles)
        return refuse(reading, "role= is missing: worker, client, monitor, admin");
    if ((entry->roles & (ROLE_WORKER | ROLE_CLIENT)) && !entry->queues[0])
        return refuse(reading, "queues= is missing: names, or * for all");
    return true;
}

/* `#` begins a comment where a word begins; a key may have one within. */
static bool read_line(struct reading *reading, char *line)
{
    struct allow_entry entry = {
        .credit_max = CREDIT_MAX, .connections_max = ALLOW_CONNECTIONS, .queues = ""};
    char *rest = NULL;
    const char *kind = strtok_r(line, " \t\r", &rest);
    if (!kind || kind[0] == '#')
        return true;
    if (!read_user(reading, &entry, kind, strtok_r(NULL, " \t\r", &rest)))
        return false;
    char *word = strtok_r(NULL, " \t\r", &rest);
    for (; word && word[0] != '#'; word = strtok_r(NULL, " \t\r", &rest))
        if (!read_word(reading, &entry, word))
            return false;
    if (!check_entry(reading, &entry))
        return false;
    if (reading->allow->count == ALLOW_ENTRIES_MAX)
        return refuse(reading, "more than %d peers", ALLOW_ENTRIES_MAX);
    reading->allow->entries[reading->allow->count++] = entry;
    return true;
}

static size_t count_lines(const char *text, size_t count)
{
    size_t lines = 1;
    for (size_t i = 0; i < count; i++)
        lines += text[i] == '\n';
    return lines < ALLOW_ENTRIES_MAX ? lines : ALLOW_ENTRIES_MAX;
}

static int compare(const void *a, const void *b)
{
    const struct allow_entry *one = a, *other = b;
    return strcmp(one->user, other->user);
}

static bool sort(struct reading *reading)
{
    struct allow *allow = reading->allow;
    qsort(allow->entries, allow->count, sizeof(*allow->entries), compare);
    for (size_t i = 1; i < allow->count; i++)
        if (compare(&allow->entries[i - 1], &allow->entries[i]) == 0) {
            snprintf(reading->why, ALLOW_WHY_BYTES, "%s is there twice", allow->entries[i].user);
            return false;
        }
    return true;
}

static bool read_all(struct reading *reading, size_t count)
{
    char *at = reading->allow->text;
    const char *end = at + count;
    while (at < end) { /* a line at a time */
        char *line = at;
        char *stop = memchr(at, '\n', (size_t)(end - at));
        at = stop ? stop + 1 : line + (end - line);
        reading->line++;
        if (stop)
            *stop = '\0';
        if (strlen(line) != (size_t)((stop ? stop : end) - line))
            return refuse(reading, "a byte is zero");
        if (strlen(line) > ALLOW_LINE_BYTES_MAX)
            return refuse(reading, "longer than %d bytes", ALLOW_LINE_BYTES_MAX);
        if (!read_line(reading, line))
            return false;
    }
    return sort(reading);
}

/* --- the list --------------------------------------------------------------------------------- */

struct allow *allow_parse(const char *text, size_t count, char why[ALLOW_WHY_BYTES])
{
    struct allow *allow = calloc(1, sizeof(*allow));
    if (allow && count <= ALLOW_BYTES_MAX) {
        allow->entries = calloc(count_lines(text, count), sizeof(*allow->entries));
        allow->text = calloc(1, count + 1);
    }
    if (!allow || !allow->entries || !allow->text) {
        snprintf(why, ALLOW_WHY_BYTES, count > ALLOW_BYTES_MAX ? "over 8 MiB" : "out of memory");
        allow_destroy(&allow);
        return NULL;
    }
    struct reading reading = {.allow = allow, .why = why};
    if (count > 0)
        memcpy(allow->text, text, count);
    if (!read_all(&reading, count))
        allow_destroy(&allow);
    return allow;
}

void allow_destroy(struct allow **allow)
{
    struct allow *old = *allow;
    if (!old)
        return;
    free(old->entries);
    free(old->text);
    free(old);
    *allow = NULL;
}

/* Whoever can write the list can let himself in. */
static const char *check_owner(int fd, size_t *count)
{
    struct stat found;
    if (fstat(fd, &found))
        return strerror(errno);
    if (!S_ISREG(found.st_mode))
        return "not a file";
    if (found.st_uid != 0 && found.st_uid != geteuid())
        return "its owner is neither root nor the broker's user";
    if (found.st_mode & (S_IWGRP | S_IWOTH))
        return "others can write it; chmod go-w";
    if (found.st_size > ALLOW_BYTES_MAX)
        return "over 8 MiB";
    *count = (size_t)found.st_size;
    return NULL;
}

static const char *read_file(int fd, char **text, size_t *count)
{
    const char *why = check_owner(fd, count);
    if (why)
        return why;
    *text = malloc(*count + 1);
    if (!*text)
        return "out of memory";
    size_t done = 0;
    ssize_t got = 1;
    while (done < *count && got > 0) { /* ends with the file */
        got = read(fd, *text + done, *count - done);
        done += got > 0 ? (size_t)got : 0;
    }
    *count = done;
    return got < 0 ? strerror(errno) : NULL;
}

struct allow *allow_read(const char *path, char why[ALLOW_WHY_BYTES])
{
    char *text = NULL;
    char said[ALLOW_WHY_BYTES / 2] = "";
    size_t count = 0;
    struct allow *allow = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const char *wrong = fd < 0 ? strerror(errno) : read_file(fd, &text, &count);
    if (fd >= 0)
        close(fd);
    if (!wrong) {
        allow = allow_parse(text, count, why);
        wrong = why;
    }
    if (!allow) {
        snprintf(said, sizeof(said), "%.240s", wrong);
        snprintf(why, ALLOW_WHY_BYTES, "%.240s: %s", path, said);
    }
    free(text);
    return allow;
}

/* --- asked ------------------------------------------------------------------------------------ */

const struct allow_entry *allow_find(const struct allow *allow, const char *user)
{
    size_t from = 0, to = allow->count;
    while (from < to) { /* halves */
        size_t middle = from + (to - from) / 2;
        int order = strcmp(user, allow->entries[middle].user);
        if (order == 0)
            return &allow->entries[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

size_t allow_count(const struct allow *allow)
{
    return allow->count;
}

bool allow_has_queue(const struct allow_entry *entry, struct bytes queue)
{
    const char *at = entry->roles & ROLE_ADMIN ? "*" : entry->queues;
    while (at && *at) { /* ends with the list */
        size_t count = strcspn(at, ",");
        bool has_star = count > 0 && at[count - 1] == '*';
        size_t fixed = count - has_star;
        bool fits = has_star ? queue.count >= fixed : queue.count == fixed;
        if (!queue.data ? has_star && fixed == 0 : fits && memcmp(queue.data, at, fixed) == 0)
            return true;
        at = at[count] ? at + count + 1 : NULL;
    }
    return false;
}
