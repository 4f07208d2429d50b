#include "crashes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum {
    SECONDS_DIGITS = 10, /* until the year 2286 */
    SIGNAL_DIGITS = 2,
    LINE_BYTES = SECONDS_DIGITS + 1 + SIGNAL_DIGITS + 1,
    LINES_MAX = 1000, /* the file begins anew beyond that */
};

static const int watched[] = {SIGABRT, SIGSEGV};
enum { WATCHED_COUNT = 2 };

/* A signal handler has nothing else to find its things by. */
static int mark_fd = -1;
static struct sigaction before[WATCHED_COUNT];

static bool path_of(const char *directory, char path[PATH_MAX])
{
    int count = snprintf(path, PATH_MAX, "%s/crashes", directory);
    if (count > 0 && count < PATH_MAX)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* --- read ------------------------------------------------------------------------------------- */

uint32_t crashes_count(const char *directory, int64_t wall_us, int *last)
{
    char path[PATH_MAX];
    char line[LINE_BYTES * 2];
    uint32_t count = 0;
    *last = 0;
    FILE *file = path_of(directory, path) ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) { /* ends with the file */
        long long seconds;
        int number;
        bool is_line = sscanf(line, "%10lld %2d", &seconds, &number) == 2;
        int64_t ago_s = wall_us / US_PER_S - (is_line ? seconds : 0);
        if (!is_line || ago_s < 0 || ago_s >= CRASHES_WINDOW_S)
            continue;
        count++;
        *last = number;
    }
    fclose(file);
    return count;
}

/* --- written ---------------------------------------------------------------------------------- */

static void put_digits(char *end, int64_t number, int digits)
{
    for (int i = 0; i < digits; i++, number /= 10)
        *--end = (char)('0' + number % 10);
}

/* Only what a handler may call. The signal comes again when it returns, and meets what was there
 * before: a sanitizer's report, or the end. */
static void mark(int number)
{
    char line[LINE_BYTES];
    put_digits(line + SECONDS_DIGITS, (int64_t)time(NULL), SECONDS_DIGITS);
    line[SECONDS_DIGITS] = ' ';
    put_digits(line + LINE_BYTES - 1, number, SIGNAL_DIGITS);
    line[LINE_BYTES - 1] = '\n';
    if (write(mark_fd, line, sizeof(line)) < 0)
        line[0] = 0; /* one crash less is known */
    for (int i = 0; i < WATCHED_COUNT; i++)
        sigaction(watched[i], &before[i], NULL);
    raise(number);
}

bool crashes_watch(const char *directory)
{
    char path[PATH_MAX];
    if (!path_of(directory, path))
        return false;
    mark_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (mark_fd < 0)
        return false;
    if (lseek(mark_fd, 0, SEEK_END) > LINE_BYTES * LINES_MAX && ftruncate(mark_fd, 0))
        return false;
    struct sigaction action = {.sa_handler = mark};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < WATCHED_COUNT; i++)
        if (sigaction(watched[i], &action, &before[i]))
            return false;
    return true;
}
