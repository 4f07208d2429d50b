/* fuzz_allow.c - the list of those who may connect. What is refused is refused with a text; what is
 * accepted can be asked for anybody. */
#include "allow.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    char why[ALLOW_WHY_BYTES] = "";
    char user[ALLOW_USER_BYTES] = "";
    char *copy = fuzz_copy(data, count);
    struct allow *allow = allow_parse(copy, count, why);
    FUZZ_CHECK(allow || why[0]);
    for (int i = 0; allow && i < 3; i++) {
        snprintf(user, sizeof(user), "uid:%d", i * 1000);
        const struct allow_entry *entry = allow_find(allow, user);
        if (!entry)
            continue;
        FUZZ_CHECK(strcmp(entry->user, user) == 0 && entry->roles);
        allow_has_queue(entry, bytes_of("feeds"));
        allow_has_queue(entry, (struct bytes){0});
    }
    FUZZ_CHECK(!allow || allow_count(allow) <= ALLOW_ENTRIES_MAX);
    allow_destroy(&allow);
    free(copy);
    return 0;
}
