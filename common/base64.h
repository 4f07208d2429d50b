/* base64.h - RFC 4648: the usual alphabet for payloads, the URL one without padding for leases. */
#ifndef EVERDUE_BASE64_H
#define EVERDUE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };

/* Adds the bytes in base64; the standard alphabet with padding, the URL one without. */
void base64_encode(struct text *text, const void *data, size_t count,
                   enum base64_alphabet alphabet);

/* Decodes at most count / 4 * 3 + 2 bytes into `room`; padding may be there or not. `*decoded` is
 * their number. False when it is no base64 of this alphabet. */
bool base64_decode(const char *text, size_t count, enum base64_alphabet alphabet, uint8_t *room,
                   size_t *decoded);

#endif
