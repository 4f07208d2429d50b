/* certificate.h - reads key files: those that `everdue keygen` and czmq's zcert_save write.
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

/* From FILE_secret if there is one, as czmq does, else from FILE. IO: it cannot be read. DENIED:
 * others than its owner may read it, or its owner is neither root nor the process's user.
 * BAD_FIELD: it does not hold both keys. On error both are zero. */
enum status certificate_read(struct certificate *certificate, const char *file);

/* One key from its forty characters; false when it is none. */
bool certificate_key(uint8_t key[CURVE_KEY_BYTES], const char *text);

/* A public key: its forty characters, or the name of a file that begins with them (FILE.pub). */
bool certificate_public_key(uint8_t key[CURVE_KEY_BYTES], const char *text);

#endif
