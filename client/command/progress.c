#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "quantity.h"

enum {
    BAR_COLUMNS = 30,
    BAR_COLUMNS_LEAST = 10,
    REST_BYTES = 256,
    SHOW_EVERY_US = 100000,
    SECOND_US = 1000000,
    ETA_S_MAX = 360000
};

char *progress_rate(char room[32], double each_second)
{
    static const struct {
        double unit;
        const char *letter;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        /* 999.6 is shown as 1.0k, not as 1000. */
        if (each_second < units[i].unit * 0.9995)
            continue;
        double scaled = each_second / units[i].unit;
        snprintf(room, 32, "%.*f%s", scaled < 9.95 ? 1 : 0, scaled, units[i].letter);
        return room;
    }
    snprintf(room, 32, "%.0f", each_second);
    return room;
}

static void format_eta(char room[32], double seconds)
{
    if (!(seconds < ETA_S_MAX)) {
        snprintf(room, 32, "-:--");
        return;
    }
    unsigned left = (unsigned)(seconds + 0.5);
    if (left >= 3600)
        snprintf(room, 32, "%u:%02u:%02u", left / 3600, left / 60 % 60, left % 60);
    else
        snprintf(room, 32, "%u:%02u", left / 60, left % 60);
}

/* Of `columns` in all, brackets and blanks included; empty where that is too few to tell a share.
 */
static void format_bar(char room[BAR_COLUMNS + 8], int columns, uint64_t done, uint64_t total)
{
    int inside = columns - (int)strlen("[]  ");
    room[0] = '\0';
    if (inside < BAR_COLUMNS_LEAST)
        return;
    if (inside > BAR_COLUMNS)
        inside = BAR_COLUMNS;
    size_t filled = (size_t)((double)done / (double)total * inside);
    room[0] = '[';
    memset(room + 1, '#', filled);
    memset(room + 1 + filled, '-', (size_t)inside - filled);
    memcpy(room + 1 + inside, "]  ", 4);
}

char *progress_format(char line[PROGRESS_LINE_BYTES], const struct progress *progress,
                      uint64_t done, uint64_t bad, int64_t elapsed_us, unsigned columns)
{
    char done_text[QUANTITY_TEXT_BYTES], total_text[QUANTITY_TEXT_BYTES];
    char bad_text[QUANTITY_TEXT_BYTES], rate_text[32], eta[32], bar[BAR_COLUMNS + 8];
    char rest[REST_BYTES];
    double each_second = elapsed_us > 0 ? (double)done * SECOND_US / (double)elapsed_us : 0;
    uint64_t total = progress->total;
    count_format(done, done_text);
    count_format(bad, bad_text);
    progress_rate(rate_text, each_second);
    if (total == 0) {
        snprintf(line, PROGRESS_LINE_BYTES, "%.200s  %s  %s/s  bad %s", progress->name, done_text,
                 rate_text, bad_text);
        return line;
    }
    /* A file that grows while it is read. */
    if (total < done)
        total = done;
    format_eta(eta, each_second > 0 ? (double)(total - done) / each_second : ETA_S_MAX);
    unsigned share = (unsigned)((double)done / (double)total * 100);
    count_format(total, total_text);
    int wide = snprintf(rest, sizeof(rest), "%2u%%  %s/%s  %s/s  ETA %s  bad %s", share, done_text,
                        total_text, rate_text, eta, bad_text);
    /* The last column stays free: some terminals would go on to the next line. */
    int before = (int)strlen(progress->name) + 2;
    format_bar(bar, (int)columns - 1 - before - wide, done, total);
    snprintf(line, PROGRESS_LINE_BYTES, "%.200s  %s%s", progress->name, bar, rest);
    return line;
}

void progress_begin(struct progress *progress, const char *name, uint64_t total, int64_t now_us,
                    bool is_on)
{
    *progress = (struct progress){
        .name = name, .total = total, .begin_us = now_us, .shown_us = now_us, .is_on = is_on};
}

static void show(struct progress *progress, uint64_t done, uint64_t bad, int64_t now_us,
                 const char *end)
{
    char line[PROGRESS_LINE_BYTES];
    struct winsize size = {0};
    unsigned columns = PROGRESS_COLUMNS_DEFAULT;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    progress_format(line, progress, done, bad, now_us - progress->begin_us, columns);
    fprintf(stderr, "\r%s\033[K%s", line, end);
    fflush(stderr);
    progress->shown_us = now_us;
}

void progress_show(struct progress *progress, uint64_t done, uint64_t bad, int64_t now_us)
{
    if (progress->is_on && now_us - progress->shown_us >= SHOW_EVERY_US)
        show(progress, done, bad, now_us, "");
}

void progress_end(struct progress *progress, uint64_t done, uint64_t bad, int64_t now_us)
{
    if (progress->is_on)
        show(progress, done, bad, now_us, "\n");
    progress->is_on = false;
}
