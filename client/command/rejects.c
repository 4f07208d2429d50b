#include "rejects.h"

#include <stdlib.h>

#include "context.h"
#include "json.h"
#include "line_reader.h"

bool rejects_open(struct rejects *rejects, const char *source, const char *path)
{
    *rejects = (struct rejects){.source = source};
    if (!path)
        return true;
    rejects->file = fopen(path, "we");
    return rejects->file != NULL;
}

bool rejects_close(struct rejects *rejects)
{
    bool is_complete = !rejects->failed;
    if (rejects->file)
        is_complete = fclose(rejects->file) == 0 && is_complete;
    free(rejects->late);
    *rejects = (struct rejects){0};
    return is_complete;
}

static void name(struct rejects *rejects, uint64_t line, const char *reason)
{
    rejects->count++;
    if (rejects->count <= REJECTS_NAMED_MAX)
        context_say("%s:%llu: %s", rejects->source, (unsigned long long)line, reason);
    else if (rejects->count == REJECTS_NAMED_MAX + 1)
        context_say("more bad lines follow; they are counted only");
}

static void write_reject(struct rejects *rejects, uint64_t line, const char *reason,
                         struct everdue_bytes source)
{
    struct text text;
    if (!rejects->file)
        return;
    text_init(&text);
    text_add(&text, "{", 1);
    json_add_number(&text, "line", (long long)line);
    json_add_member(&text, "reason", everdue_text(reason));
    if (source.data)
        json_add_member(&text, "text", source);
    text_add_string(&text, "}\n");
    if (text.failed || fwrite(text.data, 1, text.count, rejects->file) != text.count)
        rejects->failed = true;
    text_release(&text);
}

void rejects_add(struct rejects *rejects, uint64_t line, const char *reason, const char *text,
                 size_t count)
{
    name(rejects, line, reason);
    write_reject(rejects, line, reason, (struct everdue_bytes){text, count});
}

void rejects_add_late(struct rejects *rejects, uint64_t line, int status)
{
    name(rejects, line, everdue_status_text(status));
    if (!rejects->file)
        return;
    if (rejects->late_count == rejects->late_room) {
        size_t room = rejects->late_room ? rejects->late_room * 2 : 64;
        struct reject *late = realloc(rejects->late, room * sizeof(*late));
        if (!late) {
            rejects->failed = true;
            return;
        }
        rejects->late = late;
        rejects->late_room = room;
    }
    rejects->late[rejects->late_count++] = (struct reject){line, status};
}

static int compare_lines(const void *a, const void *b)
{
    const struct reject *left = a;
    const struct reject *right = b;
    return (left->line > right->line) - (left->line < right->line);
}

void rejects_fetch(struct rejects *rejects, const char *path)
{
    struct line_reader lines;
    const char *line;
    size_t count;
    size_t next = 0;
    if (rejects->late_count == 0)
        return;
    if (!line_reader_open(&lines, path)) {
        rejects->failed = true;
        return;
    }
    qsort(rejects->late, rejects->late_count, sizeof(*rejects->late), compare_lines);
    while (next < rejects->late_count) {
        enum line_reader_event event = line_reader_next(&lines, &line, &count);
        if (event == LINE_READER_END || event == LINE_READER_FAILED)
            break;
        const struct reject *late = &rejects->late[next];
        if (event != LINE_READER_LINE || lines.number != late->line)
            continue;
        write_reject(rejects, late->line, everdue_status_text(late->status),
                     (struct everdue_bytes){line, count});
        next++;
    }
    if (next < rejects->late_count)
        rejects->failed = true;
    line_reader_close(&lines);
}
