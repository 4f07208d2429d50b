#include "cpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX];

static int set_up(void **state)
{
    const char *folder = getenv("TMPDIR");
    (void)state;
    snprintf(root, sizeof(root), "%s/everdue-cpus-XXXXXX", folder ? folder : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int unlink_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file below the root, with its folders. */
static void write_file(const char *path, const char *text)
{
    char full[2 * PATH_MAX];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void without_cgroups_there_is_no_quota(void **state)
{
    (void)state;
    assert_int_equal(cpus_of_quota(root), 0);
    write_file("/proc/self/cgroup", "");
    assert_int_equal(cpus_of_quota(root), 0);
    write_file("/proc/self/cgroup", "no colon here\n0\n1:2\n::\n");
    assert_int_equal(cpus_of_quota(root), 0);
}

static void the_quota_of_version_2_is_rounded_up(void **state)
{
    static const struct {
        const char *text;
        unsigned cpus;
    } rows[] = {
        {"max 100000\n", 0},
        {"200000 100000\n", 2},
        {"150000 100000\n", 2},
        {"50000 100000\n", 1},
        {"1000 100000\n", 1},
        {"100001 100000\n", 2},
        {"9223372036854775807 1\n", 65536},
        {"100000 0\n", 0},
        {"-1 100000\n", 0},
        {"garbage\n", 0},
        {"", 0},
    };
    (void)state;

    write_file("/proc/self/cgroup", "0::/app.slice/everdue.service\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_file("/sys/fs/cgroup/app.slice/everdue.service/cpu.max", rows[i].text);
        if (cpus_of_quota(root) != rows[i].cpus)
            fail_msg("%s gave %u", rows[i].text, cpus_of_quota(root));
    }
}

static void the_least_quota_of_all_groups_above_counts(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "0::/a/b\n");
    write_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    write_file("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(cpus_of_quota(root), 3);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    assert_int_equal(cpus_of_quota(root), 3);
    write_file("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    assert_int_equal(cpus_of_quota(root), 2);
}

static void in_a_container_the_root_of_the_mount_counts(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "0::/docker/0123456789\n");
    write_file("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(cpus_of_quota(root), 4);
    write_file("/proc/self/cgroup", "0::/../../other\n");
    assert_int_equal(cpus_of_quota(root), 4);
}

static void the_quota_of_version_1_is_found_by_its_controller(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "9:cpuset:/x\n5:memory:/x\n4:cpu,cpuacct:/x\n0::/\n");
    write_file("/sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us", "100000\n");
    write_file("/sys/fs/cgroup/cpuset/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_of_quota(root), 0);
    write_file("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "350000\n");
    assert_int_equal(cpus_of_quota(root), 0);
    write_file("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_of_quota(root), 4);
    write_file("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(cpus_of_quota(root), 0);
}

static void a_path_of_any_length_is_survived(void **state)
{
    static char line[3 * PATH_MAX];
    (void)state;
    memset(line, 'x', sizeof(line) - 1);
    memcpy(line, "0::/", 4);
    write_file("/proc/self/cgroup", line);
    assert_int_equal(cpus_of_quota(root), 0);
}

static void affinity_bounds_what_is_usable(void **state)
{
    cpu_set_t all;
    cpu_set_t one;
    size_t cpu = 0;
    (void)state;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    assert_in_range(cpus_usable(), 1, CPU_COUNT(&all));
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(cpus_usable(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(without_cgroups_there_is_no_quota),
        test(the_quota_of_version_2_is_rounded_up),
        test(the_least_quota_of_all_groups_above_counts),
        test(in_a_container_the_root_of_the_mount_counts),
        test(the_quota_of_version_1_is_found_by_its_controller),
        test(a_path_of_any_length_is_survived),
        test(affinity_bounds_what_is_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
