/* record_json.h - a record as a line of JSON: what sync reads and export writes.
 *
 *   {"key":"a","due":"2026-11-22T15:00:00.000Z","every":"15m","group":"g","rank":0,"once":false,
 *    "payload":{"etag":"x"},"memo":null}
 *
 * Only "key" is required. "due" is RFC 3339 or epoch seconds, or "due_ms" is there instead. The
 * bytes of "payload" and "memo" are kept as the source wrote them; bytes that are no JSON come as
 * "payload_b64" and "memo_b64". Unknown members are refused by name, for a misspelt "every" that is
 * passed over in silence is found out weeks later.
 */
#ifndef EVERDUE_RECORD_JSON_H
#define EVERDUE_RECORD_JSON_H

#include <stdbool.h>

#include "everdue/client.h"
#include "json.h"
#include "text.h"

enum { RECORD_JSON_ERROR_BYTES = 384 };

/* Memory that is kept from line to line, and what was wrong with the last. */
struct record_json {
    struct json_object object;
    struct text scratch;
    char error[RECORD_JSON_ERROR_BYTES];
};

void record_json_init(struct record_json *reader);
void record_json_release(struct record_json *reader);

/* Reads a line. All bytes of `put` are borrowed from the line or the reader, until its next call.
 * False: reader->error says what is wrong, where, and what to write. */
bool record_json_read(struct record_json *reader, const char *line, size_t count,
                      struct everdue_put *put);

/* Adds the line that reads back as this record, without a newline: key, due, every, rank, group,
 * once, payload, memo; what is at its default is left out, and a due that is EVERDUE_ABSENT. */
void record_json_write(struct text *text, const struct everdue_record *record);

/* "waiting", "ready", "leased", "parked". */
const char *record_json_state_name(enum everdue_record_status status);

/* Adds all that is known of a record, for `get`, `list` and `peek`. */
void record_json_write_view(struct text *text, const char *queue,
                            const struct everdue_record *record);

#endif
