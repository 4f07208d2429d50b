/* recode.h - reads any message of the protocol with the readers of message.h and writes it anew.
 * For tests: what comes out equals what went in when a message is in its shortest form. */
#ifndef EVERDUE_TEST_RECODE_H
#define EVERDUE_TEST_RECODE_H

#include "message.h"

struct recode_shape {
    int type;
    const char *name;
    /* The fields behind version and type, one letter each: see recode.c. */
    const char *fields;
};

/* The shape of a message, or of the body of the answer to it (`name` is "GET", say); NULL: none. */
const struct recode_shape *recode_find(int type);
const char *recode_find_body(const char *name);

/* `body` is the shape of an answer's body; NULL: passed over and copied. Gives the reader's status;
 * UNKNOWN_TYPE for a type that is not in the list. `out` is what was written as far as it was read.
 */
enum status recode(const void *data, size_t count, const char *body, struct wire_buffer *out);

#endif
