/* row.h - rows of names with numbers or texts, as the broker tells about itself.
 *
 * Names carry their unit: ..._us and ..._ms are spans, ..._s seconds, ..._bytes sizes. The broker
 * may send names that this version does not know.
 */
#ifndef EVERDUE_ROW_H
#define EVERDUE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "everdue/client.h"
#include "text.h"

struct row {
    const struct everdue_value *values; /* borrowed */
    size_t count;
};

/* A number of a row; `otherwise` when there is none of that name. */
int64_t row_number(const struct row *row, const char *name, int64_t otherwise);

/* Whether there is a text of that name, and something in it. */
bool row_has_text(const struct row *row, const char *name);

/* Adds a text of a row, made readable. False, and nothing added, when there is none. */
bool row_add_text(const struct row *row, const char *name, struct text *text);

/* Adds a value for people, in the unit that its name tells. */
void row_add_readable(struct text *text, const struct everdue_value *value);

/* The same of the value of that name; nothing when there is none. */
void row_add_cell(const struct row *row, const char *name, struct text *text);

/* Adds the row as an object of JSON, as the broker sent it. */
void row_write_json(struct text *text, const struct row *row);

#endif
