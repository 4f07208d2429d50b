#include "cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPUS_MAX = 65536 };

/* --- affinity --------------------------------------------------------------------------------- */

/* The kernel refuses a set that is too small for it, so that the size has to be tried. */
static unsigned cpus_of_affinity(void)
{
    for (size_t room = 1024; room <= CPUS_MAX; room *= 4) {
        cpu_set_t *set = CPU_ALLOC(room);
        if (!set)
            return 0;
        size_t bytes = CPU_ALLOC_SIZE(room);
        CPU_ZERO_S(bytes, set);
        int error = sched_getaffinity(0, bytes, set);
        int count = error ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (!error)
            return (unsigned)count;
    }
    return 0;
}

/* --- quota ------------------------------------------------------------------------------------ */

static bool read_line(const char *path, char *line, size_t room)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool there = fgets(line, (int)room, file) != NULL;
    fclose(file);
    return there;
}

static unsigned whole_cpus(long long quota_us, long long period_us)
{
    if (quota_us <= 0 || period_us <= 0)
        return 0;
    long long cpus = quota_us / period_us + (quota_us % period_us != 0);
    return cpus < CPUS_MAX ? (unsigned)cpus : CPUS_MAX;
}

/* v2: one file with "150000 100000" or "max 100000". */
static unsigned quota_v2(const char *folder)
{
    char path[PATH_MAX];
    char line[64];
    long long quota_us;
    long long period_us;
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    if (!read_line(path, line, sizeof(line)) ||
        sscanf(line, "%lld %lld", &quota_us, &period_us) != 2)
        return 0;
    return whole_cpus(quota_us, period_us);
}

/* v1: two files; a quota of -1 is none. */
static unsigned quota_v1(const char *folder)
{
    char path[PATH_MAX];
    char quota[32];
    char period[32];
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, quota, sizeof(quota)))
        return 0;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (!read_line(path, period, sizeof(period)))
        return 0;
    return whole_cpus(atoll(quota), atoll(period));
}

static unsigned least(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The least quota of the group and all above it. In a container the group's own path is often not
 * below its mount; then only the mount's root is there, and it is the container's. */
static unsigned least_quota(const char *mount, const char *group, unsigned (*quota)(const char *))
{
    char folder[PATH_MAX];
    size_t mount_bytes = strlen(mount);
    unsigned cpus = 0;
    if (strstr(group, "/.."))
        group = "";
    int bytes = snprintf(folder, sizeof(folder), "%s%s", mount, group);
    if (bytes < 0 || (size_t)bytes >= sizeof(folder))
        return 0;

    /* Ends: each turn takes one name from the path. */
    for (;;) {
        cpus = least(cpus, quota(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || slash < folder + mount_bytes)
            return cpus;
        *slash = '\0';
    }
}

/* Whether "cpu" is one of the names in "cpu,cpuacct". */
static bool names_cpu(const char *names)
{
    for (const char *name = names; name; name = strchr(name, ',')) {
        name += *name == ',';
        size_t bytes = strcspn(name, ",");
        if (bytes == 3 && memcmp(name, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* One line of /proc/self/cgroup: "0::/group" of v2 or "4:cpu,cpuacct:/group" of v1. */
static unsigned quota_of_line(const char *root, char *line)
{
    char mount[PATH_MAX];
    char *names = strchr(line, ':');
    char *group = names ? strchr(names + 1, ':') : NULL;
    if (!group)
        return 0;
    *group++ = '\0';
    names++;
    group[strcspn(group, "\n")] = '\0';

    if (*names == '\0') {
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
        unsigned cpus = least_quota(mount, group, quota_v2);
        snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/unified", root);
        return least(cpus, least_quota(mount, group, quota_v2));
    }
    if (!names_cpu(names))
        return 0;
    snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, names);
    unsigned cpus = least_quota(mount, group, quota_v1);
    snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/cpu", root);
    return least(cpus, least_quota(mount, group, quota_v1));
}

unsigned cpus_of_quota(const char *root)
{
    char path[PATH_MAX];
    char line[PATH_MAX];
    unsigned cpus = 0;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file))
        cpus = least(cpus, quota_of_line(root, line));
    fclose(file);
    return cpus;
}

unsigned cpus_usable(void)
{
    unsigned cpus = least(cpus_of_affinity(), cpus_of_quota(""));
    return cpus > 0 ? cpus : 1;
}
