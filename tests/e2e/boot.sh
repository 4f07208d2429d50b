#!/bin/bash
# boot.sh - systemd as process 1 of namespaces of its own, on this machine's files with a layer above.
#
#   unshare --mount --pid --uts --ipc --cgroup --fork tests/e2e/boot.sh PLACE PROGRAMS UNITS VERSION
#
# For test_units.py. VERSION is that of control groups, 1 or 2. PROGRAMS go to /usr/bin and UNITS to /etc/systemd/system of the layer, which
# lies in memory and ends with the namespace. Nothing of this machine's own services is started.
# 77: it cannot be had here, and standard error says why.
set -eu
place=$1 programs=$2 units=$3 version=$4 root=$1/root
cannot() { echo "$1" >&2; exit 77; }

mount --make-rprivate /
mkdir -p "$place/layer" "$root"
mount -t tmpfs layer "$place/layer"
mkdir "$place/layer/upper" "$place/layer/work"
mount -t overlay overlay "$root" \
    -o "lowerdir=/,upperdir=$place/layer/upper,workdir=$place/layer/work" || cannot "no overlay"
install -m 755 "$programs"/everdue "$programs"/everdue-broker "$programs"/everdue-worker \
    "$root/usr/bin"
install -m 644 "$units"/*.service "$root/etc/systemd/system"
mkdir -p "$root/etc/everdue"
id everdue >/dev/null 2>&1 || useradd --root "$root" --system everdue
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$root/etc/systemd/system/try.target"
for unit in systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysctl \
    systemd-remount-fs systemd-random-seed systemd-update-utmp; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
if [ "$version" = 2 ]; then
    mount -t cgroup2 cgroup "$root/sys/fs/cgroup" || cannot "no cgroup v2"
else
    mount -t tmpfs -o mode=755 cgroup "$root/sys/fs/cgroup"
    for kind in systemd memory pids; do
        mkdir "$root/sys/fs/cgroup/$kind"
    done
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" || cannot "no cgroup v1"
    mount -t cgroup -o memory cgroup "$root/sys/fs/cgroup/memory" || cannot "no memory cgroup"
    mount -t cgroup -o pids cgroup "$root/sys/fs/cgroup/pids" || cannot "no pids cgroup"
fi
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
mount --make-rshared / # as systemd does where it boots a machine: credentials are mounted so
exec env -i container=namespace PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=try.target --show-status=no --log-target=console --log-level=notice
