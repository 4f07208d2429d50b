#include "hello_limit.h"

#include <string.h>

#include "hash.h"

bool hello_limit_allows(struct hello_limit *limit, const uint8_t uid[SESSION_UID_BYTES],
                        int64_t mono_us)
{
    struct bytes bytes = {uid, SESSION_UID_BYTES};
    struct hello_place *place = &limit->places[hash_bytes(bytes, 0) % HELLO_PLACES];
    if (memcmp(place->uid, uid, SESSION_UID_BYTES) != 0 ||
        mono_us - place->since_mono_us >= HELLOS_US) {
        memcpy(place->uid, uid, SESSION_UID_BYTES);
        place->since_mono_us = mono_us;
        place->count = 0;
    }
    if (place->count >= HELLOS_MAX)
        return false;
    place->count++;
    return true;
}
