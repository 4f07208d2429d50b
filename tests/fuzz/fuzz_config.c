/* fuzz_config.c - the broker's configuration file. What is refused is refused with a text. A text
 * ends with its first zero byte, and reading beyond it is seen. */
#include "fuzz.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    static struct options options; /* 56 KiB; the same memory each time */
    char *text = malloc(count + 1);
    if (!text)
        abort();
    memcpy(text, data, count);
    text[count] = '\0';
    memset(&options, 0, sizeof(options));
    sched_settings_init(&options.server.sched);
    bool is_good = config_parse(&options, text, "fuzzed.conf");
    FUZZ_CHECK(is_good || strncmp(options.why, "fuzzed.conf:", 12) == 0);
    FUZZ_CHECK(options.endpoint_count <= ENDPOINTS_MAX && options.policy_count <= POLICIES_MAX);
    free(text);
    return 0;
}
