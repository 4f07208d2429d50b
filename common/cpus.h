/* cpus.h - how many CPUs this process may use: affinity and cgroup quota (v1 and v2), at least 1.
 */
#ifndef EVERDUE_CPUS_H
#define EVERDUE_CPUS_H

unsigned cpus_usable(void);

/* What the cgroup of this process grants, in whole CPUs, rounded up; 0: no quota. `root` stands
 * before /proc and /sys: "" but in tests. */
unsigned cpus_of_quota(const char *root);

#endif
