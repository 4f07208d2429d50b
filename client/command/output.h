/* output.h - data on standard output: tables for people, JSON for programs.
 *
 * A reader that goes away (`everdue list | head`) ends the command quietly, with 0. Other errors
 * stop a walk (output_is_open) and are said at the end (output_finish).
 */
#ifndef EVERDUE_OUTPUT_H
#define EVERDUE_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "everdue/types.h"
#include "text.h"

enum output_format { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_JSONL };

bool output_format_parse(const char *name, enum output_format *format);

/* Once, before anything is printed. */
void output_begin(void);

/* Whether what is printed now can still arrive. */
bool output_is_open(void);

/* Flushes. Returns 0, or 74 having said why. */
int output_finish(void);

/* Whether colours and bars make sense on stdout: a terminal, and no NO_COLOR. */
bool output_has_colour(void);

void output_text(const struct text *text);
void output_line(const struct text *text);

/* A line of a name and, readable, a value. Names are filled up to `width`, so that the values stand
 * below each other. Without a value: nothing. */
void output_value(int width, const char *name, struct everdue_bytes value);

/* --- JSON objects ----------------------------------------------------------------------------- */

/* Objects one after the other: an array, or a line each. */
struct output_list {
    enum output_format format; /* not text */
    size_t count;
};
void output_list_begin(struct output_list *list, enum output_format format);
void output_list_add(struct output_list *list, const struct text *object);
void output_list_end(struct output_list *list);

/* --- tables ----------------------------------------------------------------------------------- */

struct output_column {
    const char *name;
    bool is_number; /* to the right */
};

struct output_table;

/* NULL when memory is out. The columns are borrowed for the call. */
struct output_table *output_table_new(const struct output_column *columns, size_t count);

/* A row; cells may be NULL. `colour`, or NULL, is for the cell `coloured`. Rows are printed in
 * parts, so a table of millions of rows needs no more memory than one of a thousand. */
void output_table_add(struct output_table *table, const char *const *cells, const char *colour,
                      size_t coloured);

/* Prints what is left and frees. */
void output_table_destroy(struct output_table **table);

#endif
