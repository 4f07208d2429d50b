#include "hash.h"

#define XXH_INLINE_ALL /* the core links nothing */
#include <xxhash.h>

uint64_t hash_bytes(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.count, seed);
}
