/* base64.h - RFC 4648, section 4: with padding. */
#ifndef EVERDUE_WORKER_BASE64_H
#define EVERDUE_WORKER_BASE64_H

#include "text.h"

void base64_write(struct text *out, const void *data, size_t count);

/* Appends the decoded bytes, at most 3/4 of `count`. False: not base64, or no memory. */
bool base64_read(struct text *out, const char *data, size_t count);

#endif
