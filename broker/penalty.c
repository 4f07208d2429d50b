#include "penalty.h"

#include <stddef.h>
#include <string.h>

#include "hash.h"

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "::ffff:127.", 11) == 0 ||
           strcmp(address, "::1") == 0;
}

/* libzmq names a process behind ipc:// by ":uid:gid:pid". */
static bool is_host(const char *address)
{
    return address && address[0] && !(address[0] == ':' && address[1] != ':');
}

uint64_t penalty_who(const char *user, const char *address)
{
    if (!is_host(address))
        address = NULL;
    if (!user && (!address || is_loopback(address)))
        return 0;
    uint64_t who = hash_bytes(bytes_of(user ? user : ""), 1);
    who ^= hash_bytes(bytes_of(address ? address : ""), 2);
    return who ? who : 1;
}

void penalty_begin(struct penalties *penalties, uint64_t who, int64_t mono_us)
{
    if (who)
        penalties->places[who % PENALTY_PLACES] = (struct penalty){who, mono_us + PENALTY_US};
}

bool penalty_holds(const struct penalties *penalties, uint64_t who, int64_t mono_us)
{
    const struct penalty *penalty = &penalties->places[who % PENALTY_PLACES];
    return who && penalty->who == who && mono_us < penalty->until_us;
}
