#include "output.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "context.h"
#include "readable.h"

/* Rows whose widths are found together. */
enum { TABLE_ROWS = 1000 };

bool output_format_parse(const char *name, enum output_format *format)
{
    static const char *const names[] = {
        [OUTPUT_TEXT] = "text",
        [OUTPUT_JSON] = "json",
        [OUTPUT_JSONL] = "jsonl",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        *format = (enum output_format)i;
        return true;
    }
    return false;
}

/* The reader of our output has gone: there is nobody left to tell anything. */
static void end_quietly(int signal_number)
{
    (void)signal_number;
    _exit(EX_OK);
}

void output_begin(void)
{
    signal(SIGPIPE, end_quietly);
    setlocale(LC_CTYPE, "");
}

bool output_is_open(void)
{
    return !ferror(stdout);
}

int output_finish(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    context_say("standard output: %s", errno ? strerror(errno) : "not everything was written");
    return EX_IOERR;
}

bool output_has_colour(void)
{
    const char *none = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(none && *none) && terminal && strcmp(terminal, "dumb") != 0;
}

void output_text(const struct text *text)
{
    fwrite(text->data, 1, text->count, stdout);
}

void output_line(const struct text *text)
{
    output_text(text);
    putchar('\n');
}

void output_value(int width, const char *name, struct everdue_bytes value)
{
    struct text text;
    if (value.count == 0)
        return;
    text_init(&text);
    readable_add(&text, value);
    if (!text.failed)
        printf("%-*s %s\n", width, name, text.data);
    text_release(&text);
}

/* --- JSON objects ----------------------------------------------------------------------------- */

void output_list_begin(struct output_list *list, enum output_format format)
{
    *list = (struct output_list){.format = format};
    if (format == OUTPUT_JSON)
        putchar('[');
}

void output_list_add(struct output_list *list, const struct text *object)
{
    if (list->format == OUTPUT_JSON)
        fputs(list->count > 0 ? ",\n" : "\n", stdout);
    output_text(object);
    if (list->format != OUTPUT_JSON)
        putchar('\n');
    list->count++;
}

void output_list_end(struct output_list *list)
{
    if (list->format == OUTPUT_JSON)
        fputs(list->count > 0 ? "\n]\n" : "]\n", stdout);
}

/* --- tables ----------------------------------------------------------------------------------- */

struct output_table {
    struct libscols_table *table;
    size_t columns;
    size_t rows; /* not printed yet */
};

static bool add_columns(struct output_table *table, const struct output_column *columns)
{
    bool has_colour = output_has_colour();
    scols_table_enable_colors(table->table, has_colour);
    for (size_t i = 0; i < table->columns; i++) {
        struct libscols_column *column = scols_table_new_column(
            table->table, columns[i].name, 0, columns[i].is_number ? SCOLS_FL_RIGHT : 0);
        if (!column)
            return false;
        if (has_colour)
            scols_cell_set_color(scols_column_get_header(column), "bold");
    }
    return true;
}

struct output_table *output_table_new(const struct output_column *columns, size_t count)
{
    struct output_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->table = scols_new_table();
    table->columns = count;
    if (table->table && add_columns(table, columns))
        return table;
    scols_unref_table(table->table);
    free(table);
    return NULL;
}

static void print_part(struct output_table *table)
{
    if (table->rows == 0)
        return;
    fflush(stdout);
    scols_print_table(table->table);
    scols_table_remove_lines(table->table);
    scols_table_enable_noheadings(table->table, 1);
    table->rows = 0;
}

void output_table_add(struct output_table *table, const char *const *cells, const char *colour,
                      size_t coloured)
{
    struct libscols_line *line = scols_table_new_line(table->table, NULL);
    if (!line)
        return;
    for (size_t i = 0; i < table->columns; i++)
        scols_line_set_data(line, i, cells[i] ? cells[i] : "");
    if (colour)
        scols_cell_set_color(scols_line_get_cell(line, coloured), colour);
    if (++table->rows == TABLE_ROWS)
        print_part(table);
}

void output_table_destroy(struct output_table **table)
{
    if (!*table)
        return;
    print_part(*table);
    scols_unref_table((*table)->table);
    free(*table);
    *table = NULL;
}
