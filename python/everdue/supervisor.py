"""Several worker processes and a parent that restarts them and stops them together.

The parent has no connection and no thread: it forks, waits for signals, and holds one pipe to each
child. A byte in the pipe means stop, another one stop at once; its end means that the parent died,
which is a reason to stop, too.
"""

from __future__ import annotations

import math
import os
import pathlib
import signal
import time
import traceback
from typing import Callable

from .agent import MISTAKE, STOPPED, TIMED_OUT
from .log import Log

CPUS_CAP = 16
BACK_OFF_S = (0.1, 5.0)
STEADY_S = 10.0   # a process that lived so long is started again at once
KILL_S = 4.0      # past the time to stop, before SIGKILL
FINAL = frozenset([64, 70, 76, 77, MISTAKE])  # statuses that another start would only repeat
SIGNALS = frozenset([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of its control group."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no such control group: no quota
    return max(1, count)


def process_count(wanted: str, most: int) -> int:
    """How many processes `-n` means: a number, `auto`, or `4x` for four a CPU."""
    if wanted == "auto":
        return min(usable_cpus(), CPUS_CAP)
    number = wanted.removesuffix("x")
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(f"-n {wanted}: write a number, auto or 4x")
    count = int(number) * (usable_cpus() if wanted.endswith("x") else 1)
    if count > most:
        raise ValueError(f"-n {wanted}: {count} processes; --max-workers allows {most}")
    return count


class Child:
    """One place for a worker process, over its restarts."""

    def __init__(self) -> None:
        self.pid = 0
        self.pipe_fd = -1
        self.started_s = 0.0
        self.back_off_s = 0.0
        self.start_s = 0.0  # when it is to be started, while it is not there


class Supervisor:
    """`work(control_fd)` is what each process does; it gives the exit status."""

    def __init__(self, count: int, work: Callable[[int], int], log: Log, stop_s: float) -> None:
        self.children = [Child() for _ in range(count)]
        self.work, self.log, self.stop_s = work, log, stop_s
        self.stops = 0          # how many times stopping was asked for
        self.kill_s = math.inf  # when those that are left are killed
        self.status = STOPPED

    def run(self) -> int:
        """Until all have stopped; the exit status of the whole."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        while not self.stops or any(child.pid for child in self.children):
            now_s = time.monotonic()
            for child in self.children:
                if not child.pid and not self.stops and now_s >= child.start_s:
                    self.start(child, now_s)
            received = signal.sigtimedwait(SIGNALS, min(self.next_s() - now_s, 3600.0))
            if received and received.si_signo != signal.SIGCHLD:
                self.stop()
            self.reap()
            self.kill_late(time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self.status

    def next_s(self) -> float:
        waiting = [child.start_s for child in self.children if not child.pid and not self.stops]
        return max(min([*waiting, self.kill_s, time.monotonic() + 3600]), time.monotonic())

    def start(self, child: Child, now_s: float) -> None:
        read_fd, write_fd = os.pipe()
        child.started_s = now_s
        pid = os.fork()
        if pid == 0:
            os.close(write_fd)
            self.be_child(read_fd)
        os.close(read_fd)
        child.pid, child.pipe_fd = pid, write_fd

    def be_child(self, control_fd: int) -> None:
        """Never returns. The parent's pipes to the others are closed, so that their end is seen."""
        status = 70
        try:
            for other in self.children:
                if other.pid:
                    os.close(other.pipe_fd)
            # Handlers of ours instead of "ignore", which programs that a handler starts would
            # inherit. The parent says when to stop; a signal to the whole group reaches it, too.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.set_blocking(control_fd, False)
            status = self.work(control_fd)
        except BaseException:
            self.log.write("error", "a worker process failed", traceback=traceback.format_exc())
        os._exit(status)

    def stop(self) -> None:
        """The first time: finish and report; the second: give back what runs."""
        self.stops += 1
        self.kill_s = time.monotonic() + (self.stop_s if self.stops == 1 else 0) + KILL_S
        for child in self.children:
            if child.pid:
                try:
                    os.write(child.pipe_fd, b"s")
                except BrokenPipeError:
                    pass  # it is ending already

    def reap(self) -> None:
        for child in self.children:
            pid, raw = os.waitpid(child.pid, os.WNOHANG) if child.pid else (0, 0)
            if pid:
                os.close(child.pipe_fd)
                child.pid = 0
                self.note_end(child, pid, os.waitstatus_to_exitcode(raw), time.monotonic())

    def note_end(self, child: Child, pid: int, status: int, now_s: float) -> None:
        """A process has ended: the end of all, or to be started again."""
        if status in FINAL:
            self.status = self.status or status
            if not self.stops:
                self.stop()
        elif self.stops:
            self.status = self.status or (TIMED_OUT if status == TIMED_OUT else STOPPED)
        else:
            least_s, most_s = BACK_OFF_S
            steady = now_s - child.started_s >= STEADY_S
            child.back_off_s = 0.0 if steady else min(max(least_s, child.back_off_s * 2), most_s)
            child.start_s = now_s + child.back_off_s
            self.log.write("warning", "a worker process ended; another is started", pid=pid,
                           status=status, after_s=round(now_s - child.started_s, 1))

    def kill_late(self, now_s: float) -> None:
        if now_s < self.kill_s:
            return
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
                self.status = self.status or TIMED_OUT
        self.kill_s = math.inf
