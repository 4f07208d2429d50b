/* fuzz_config.c - the broker's configuration file. What is refused is refused with a text. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    static struct options options; /* 1 MiB; the same memory each time */
    static int fd = -1;
    char path[64];
    if (fd < 0)
        fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, count, 0) != (ssize_t)count)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memset(&options, 0, sizeof(options));
    sched_settings_init(&options.server.sched);
    bool good = config_read(&options, path);
    FUZZ_CHECK(good || options.why[0]);
    FUZZ_CHECK(options.endpoint_count <= ENDPOINTS_MAX && options.policy_count <= POLICIES_MAX);
    return 0;
}
