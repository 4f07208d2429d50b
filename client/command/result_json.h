/* result_json.h - what a run came to, as JSON: the argument of `report`.
 *
 *   {"outcome":"ok","in":"5m","memo":{"etag":"x"},"note":"304"}
 *
 * The vocabulary is that of every handler; all members are optional. "stop" speaks to a worker, and
 * there is none here: it is read and has no effect.
 */
#ifndef EVERDUE_RESULT_JSON_H
#define EVERDUE_RESULT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "everdue/worker.h"
#include "record_json.h"

/* Reads an object. All bytes are borrowed from the text or the reader, until its next call. False:
 * reader->error says what is wrong. */
bool result_json_read(struct record_json *reader, const char *text, size_t count,
                      struct everdue_result *result);

#endif
