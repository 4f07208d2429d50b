/* result_json.h - what a run came to, as JSON: a handler's line, or the argument of `report`.
 *
 *   {"outcome":"ok","in":"5m","memo":{"etag":"x"},"note":"304"}
 *
 * The vocabulary is one for all handlers; all members are optional, and null is the same as leaving
 * one out, but for payload and memo, where any value may stand. Two members belong to the lines of
 * a child that has several tasks in hand: "lease" says which one is meant, "touch" extends it.
 */
#ifndef EVERDUE_RESULT_JSON_H
#define EVERDUE_RESULT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "everdue/worker.h"
#include "json.h"
#include "text.h"

enum { RESULT_JSON_ERROR_BYTES = 400, RESULT_JSON_NAME_BYTES = 48 };

/* What the last object said. Its bytes are borrowed from the object's text and from here, until the
 * next one is read. */
struct result_json {
    struct everdue_result result;
    bool has_outcome;
    bool has_lease;
    uint64_t lease;
    int64_t touch_us;                     /* EVERDUE_ABSENT unless the line only extends a lease */
    char error[RESULT_JSON_ERROR_BYTES];  /* "", or what is wrong, the member named */
    char unknown[RESULT_JSON_NAME_BYTES]; /* "", or a member that was ignored */
    struct json_object object;            /* memory that is kept from object to object */
    struct text scratch;
};

void result_json_init(struct result_json *reader);
void result_json_release(struct result_json *reader);

/* Reads what a handler wrote. All members are read, also behind one that is wrong, so that the
 * lease is found; what is not known is ignored. False: it is no JSON object, only `error` is set.
 */
bool result_json_read(struct result_json *reader, const char *text, size_t count);

/* Reads what a person wrote, who is there to correct it: refuses what is not known, comes twice or
 * excludes another member; "lease" and "touch" have no meaning. False: `error` says what is wrong.
 */
bool result_json_read_strictly(struct result_json *reader, const char *text, size_t count);

#endif
