"""Processes that are measured: started, stopped, and asked what they used."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = pathlib.Path(os.environ.get("EVERDUE_BIN", ROOT / "build" / "release" / "bin"))
PLUGINS = PROGRAMS.parent / "lib" / "everdue"


class Failure(Exception):
    """A program did not do what was asked of it, or the books of a row do not agree."""


def find(name: str) -> pathlib.Path | None:
    """A program of ours, else of the system; None when there is none."""
    if (PROGRAMS / name).exists():
        return PROGRAMS / name
    there = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return pathlib.Path(there) if there else None


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change Everdue's defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERDUE_")}
    return kept | {"LC_ALL": "C.UTF-8"} | more


def cpu_s(pid: int) -> dict[str, float]:
    """Seconds of CPU that each living thread of a process has used, by name (sums of equals)."""
    used: dict[str, float] = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text(encoding="utf-8").strip()
            nanoseconds = int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except OSError:  # it ended between the two
            continue
        used[name] = used.get(name, 0) + nanoseconds / 1e9
    return used


def status_number(pid: int, name: str, task: str = "") -> int:
    """A number of /proc/PID/status, in its own unit (kB for memory)."""
    path = f"/proc/{pid}/task/{task}/status" if task else f"/proc/{pid}/status"
    with open(path, encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))


def wakeups(pid: int) -> dict[str, int]:
    """How often each thread went to sleep by itself, so was woken up, by name (sums of equals)."""
    counts: dict[str, int] = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        name = pathlib.Path(f"/proc/{pid}/task/{task}/comm").read_text(encoding="utf-8").strip()
        counts[name] = counts.get(name, 0) + status_number(pid, "voluntary_ctxt_switches", task)
    return counts


def written_bytes(pid: int) -> int:
    """The sum of all write calls; what is sent through sockets is not in it."""
    with open(f"/proc/{pid}/io", encoding="ascii") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("wchar"))


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    return [int(child) for task in os.listdir(f"/proc/{pid}/task") for child in
            pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text("ascii").split()]


class Process:
    """One program in a process group of its own, its output in a file."""

    def __init__(self, *arguments: object, log: pathlib.Path, wrong_end: bool = True,
                 **options: Any) -> None:
        self.name, self.log, self._wrong_end = pathlib.Path(str(arguments[0])).name, log, wrong_end
        with open(log, "ab") as file:
            self._child = subprocess.Popen(
                [str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=file,
                stderr=file, start_new_session=True,
                **({"env": environment()} | options))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def check(self) -> None:
        """Fail with its last lines when it has ended."""
        if self._child.poll() is not None:
            raise Failure(f"{self.name} ended with {self._child.returncode}: {self.tail()}")

    def tail(self) -> str:
        """The last lines that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-500:].strip()

    def freeze(self) -> None:
        """Let it do nothing, so that it takes nothing from what is measured now."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> None:
        """End it; fail when it had ended before, ends with another status than 0, or not at all."""
        if self._child.poll() is None:
            self.thaw()
            self._child.send_signal(number)
        try:
            code = self._child.wait(seconds)
        except subprocess.TimeoutExpired as late:
            os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()
            raise Failure(f"{self.name} did not stop within {seconds} s") from late
        if self._wrong_end and code != 0:
            raise Failure(f"{self.name} ended with {code}: {self.tail()}")

    def kill(self) -> None:
        """End it and all its children at once, whatever it does."""
        if self._child.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()


def run(*arguments: object, **options: Any) -> bytes:
    """Run a program to its end, and return what it printed; fail when its status is not 0."""
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True,
                          check=False, **({"env": environment()} | options))
    if done.returncode:
        raise Failure(f"{pathlib.Path(str(arguments[0])).name} ended with {done.returncode}: "
                      f"{done.stderr.decode(errors='replace')[-500:].strip()}")
    return bytes(done.stdout)


def wait_until(condition, seconds: float, what: str, pause_s: float = 0.02) -> None:
    """Ask `condition()` until it is true; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failure(f"{what} did not come true within {seconds} s")
        time.sleep(pause_s)
