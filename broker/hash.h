/* hash.h - XXH3 as the broker uses it: keys in the table, jitter, spread. Pure. */
#ifndef EVERDUE_HASH_H
#define EVERDUE_HASH_H

#include "wire.h"

uint64_t hash_bytes(struct bytes bytes, uint64_t seed);

#endif
