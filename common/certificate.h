/* certificate.h - reads the certificate files that czmq writes (zcert_save, `everdue keygen`).
 *
 *   curve
 *       public-key = "..."       forty characters of Z85
 *       secret-key = "..."
 *
 * Read here and not by czmq's zcert_load, which logs and leaks when a file is damaged.
 */
#ifndef EVERDUE_CERTIFICATE_H
#define EVERDUE_CERTIFICATE_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"

enum { CURVE_KEY_BYTES = 32 };

struct certificate {
    uint8_t public_key[CURVE_KEY_BYTES];
    uint8_t secret_key[CURVE_KEY_BYTES];
};

/* From FILE_secret if there is one, as czmq does, else from FILE. IO: it cannot be read. BAD_FIELD:
 * it does not hold both keys. On error both are zero. */
enum status certificate_read(struct certificate *certificate, const char *file);

/* One key from its forty characters; false when it is none. */
bool certificate_key(uint8_t key[CURVE_KEY_BYTES], const char *text);

#endif
