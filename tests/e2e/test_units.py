"""The units of packaging/systemd under a systemd of their own, in namespaces (boot.sh).

With control groups of version 1 where /sys/fs/cgroup has them, else of version 2. EVERDUE_CGROUP2
names a place where version 2 is mounted, to try that on a machine of version 1.
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import PROGRAMS, ROOT, wait_until

HERE = pathlib.Path(__file__).resolve().parent
V1 = [pathlib.Path("/sys/fs/cgroup") / name for name in ("systemd", "memory", "pids")]
V2 = pathlib.Path(os.environ.get("EVERDUE_CGROUP2", "/sys/fs/cgroup"))
VERSION = 2 if "EVERDUE_CGROUP2" in os.environ or not all(path.is_dir() for path in V1) else 1
HIERARCHIES = [V2] if VERSION == 2 else V1
CANNOT = 77
WORKER = "everdue-worker@feeds"
DROP_IN = """[Service]
LoadCredential=key:/etc/everdue/feeds.key
Environment=EVERDUE_CURVE_KEY=%d/key
"""
BUSY_S = 60  # a start, a stop, the watchdog's 10 s: on a machine that does much else


def why_not():
    """Why there can be no systemd here; empty: there can."""
    if os.geteuid() != 0:
        return "needs root"
    if not pathlib.Path("/lib/systemd/systemd").exists() or not shutil.which("nsenter"):
        return "systemd is not installed"
    if "debug" in str(PROGRAMS):
        return "sanitizers need what the units take away"
    if VERSION == 2 and not (V2 / "cgroup.controllers").exists():
        return f"no control groups: neither {V1[0]} and its like nor {V2}/cgroup.controllers"
    return ""


class Systemd:
    """Its process, and commands in its namespaces."""

    def __init__(self, place):
        self.groups = [path / f"everdue-{os.getpid()}" for path in HIERARCHIES]
        for group in self.groups:
            group.mkdir()
        with open(place / "console", "wb") as console:
            self.child = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
                 HERE / "boot.sh", place, PROGRAMS, ROOT / "packaging" / "systemd",
                 str(VERSION)],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=self.enter)
        self.place = place
        wait_until(self.is_up, BUSY_S, "systemd")

    def enter(self):
        """A control group of its own, which is the root of its namespace."""
        for group in self.groups:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def pid(self):
        path = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        return path.read_text(encoding="ascii").split()[0]

    def is_up(self):
        code = self.child.poll()
        said = (self.place / "console").read_text(errors="replace")
        if code == CANNOT:
            pytest.skip(said[-200:])
        assert code is None, said
        return self.do("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def do(self, *command, given=None):
        """Run a command there."""
        try:
            pid = self.pid()
        except (OSError, IndexError):  # not yet
            return subprocess.CompletedProcess(command, 1, "", "")
        return subprocess.run(
            ["nsenter", "--target", pid, "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root",
             "--wd", *command], input=given, capture_output=True, text=True, timeout=BUSY_S,
            check=False)

    def show(self, unit, name):
        return self.do("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def start(self, unit):
        done = self.do("systemctl", "start", unit)
        assert done.returncode == 0, self.journal(unit)

    def write(self, path, text):
        assert self.do("tee", path, given=text).returncode == 0

    def journal(self, unit):
        """What it logged, and how it stands."""
        return (self.do("journalctl", "--no-pager", "-u", unit).stdout[-2000:] +
                self.do("systemctl", "status", "--no-pager", "--full", unit).stdout)

    def stats(self):
        answer = self.do("everdue", "-o", "json", "stats").stdout
        return json.loads(answer) if answer else {"records": 0, "reports_ok_total": 0}

    def close(self):
        """Whatever it started ends with it."""
        if self.child.poll() is None:
            os.kill(int(self.pid()), 9)
            self.child.wait()
        for group in self.groups:
            wait_until(lambda group=group: self.is_removed(group), what="the end of its processes")

    @staticmethod
    def is_removed(group):
        for path, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return True


@pytest.fixture
def systemd(directory):
    if reason := why_not():
        pytest.skip(reason)
    one = Systemd(directory)
    yield one
    one.close()


def test_the_units_start_work_come_back_and_stop(systemd):
    systemd.write("/etc/everdue/broker.conf", "")
    systemd.write("/etc/everdue/worker-feeds.env",
                  "ARGUMENTS=--queue feeds --every 1s -- /bin/true {key}\n")
    systemd.start("everdue-broker")
    systemd.start(WORKER)
    assert systemd.do("everdue", "put", "k", "--queue", "feeds").returncode == 0
    wait_until(lambda: systemd.stats()["reports_ok_total"] >= 1, BUSY_S, "a report")

    for signal, what in [("KILL", "a start after kill -9"), ("STOP", "the watchdog's start")]:
        before = systemd.show("everdue-broker", "MainPID")
        done = systemd.stats()["reports_ok_total"]
        systemd.do("kill", f"-{signal}", before)
        wait_until(lambda before=before: systemd.show("everdue-broker", "MainPID") not in (
            before, "0"), BUSY_S, what)
        wait_until(lambda done=done: systemd.stats()["reports_ok_total"] > done, BUSY_S, "more")
    assert systemd.stats()["records"] == 1
    assert systemd.show("everdue-broker", "NRestarts") == "2"

    assert systemd.do("systemctl", "reload", "everdue-broker").returncode == 0
    wait_until(lambda: "read again" in systemd.journal("everdue-broker"), BUSY_S, "the reload")
    for unit in (WORKER, "everdue-broker"):
        assert systemd.do("systemctl", "stop", unit).returncode == 0
        assert systemd.show(unit, "ExecMainStatus") == "0", systemd.journal(unit)


def test_the_units_work_with_keys(systemd):
    """As docs/operations.md says: the broker's key is its user's, a worker's a credential."""
    folder = "/etc/everdue"
    for name in ("broker", "feeds", "me"):
        assert systemd.do("everdue", "keygen", f"{folder}/{name}.key").returncode == 0
    assert systemd.do("chown", "everdue", f"{folder}/broker.key").returncode == 0
    roles = {"feeds": "role=worker queues=feeds", "me": "role=admin"}
    systemd.write(f"{folder}/allow", "".join(
        f"key {systemd.do('cat', f'{folder}/{name}.key.pub').stdout.strip()} {role}\n"
        for name, role in roles.items()))
    systemd.write(f"{folder}/broker.conf",
                  f"curve-key = {folder}/broker.key\nallow = {folder}/allow\n")
    systemd.write(f"{folder}/worker-feeds.env", "ARGUMENTS=--queue feeds --every 1s "
                  f"--curve-server {folder}/broker.key.pub -- /bin/true {{key}}\n")
    drop_in = f"/etc/systemd/system/{WORKER}.service.d"
    assert systemd.do("mkdir", drop_in).returncode == 0
    systemd.write(f"{drop_in}/key.conf", DROP_IN)
    assert systemd.do("systemctl", "daemon-reload").returncode == 0
    systemd.start("everdue-broker")
    systemd.start(WORKER)
    mine = ["everdue", "--curve-server", f"{folder}/broker.key.pub", "--curve-key", f"{folder}/me.key"]
    assert systemd.do(*mine, "put", "k", "--queue", "feeds").returncode == 0
    wait_until(lambda: json.loads(systemd.do(*mine, "-o", "json", "stats").stdout)[
        "reports_ok_total"] >= 1 or print(systemd.journal(WORKER)), BUSY_S, "a report")
    assert systemd.do("everdue", "ping").returncode == 77


def test_a_wrong_configuration_is_not_tried_again_and_again(systemd):
    systemd.write("/etc/everdue/broker.conf", "nonsense = 1\n")
    assert systemd.do("systemctl", "start", "everdue-broker").returncode != 0
    assert systemd.show("everdue-broker", "ExecMainStatus") == "78"
    assert systemd.show("everdue-broker", "ActiveState") == "failed"
    assert systemd.show("everdue-broker", "NRestarts") == "0"
