"""The processes of the demo: a broker, its workers, and the `everdue` command to look at them."""

import ctypes
import json
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1


class DemoError(Exception):
    """Ends the demo with its text."""


def _follow_parent():
    """In the child: a signal of our own if the demo is killed, none of the terminal's."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """One program with its log in a file. It has a session of its own, so that Ctrl-C reaches only
    the demo, which stops its processes in order."""

    def __init__(self, arguments, log):
        self.name = os.path.basename(arguments[0])
        self.log = log
        with open(log, "ab") as file:
            self.child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file,
                                          stderr=file, preexec_fn=_follow_parent)

    def check(self):
        code = self.child.poll()
        if code is not None:
            raise DemoError(f"{self.name} ended by itself with {code}:\n{self.tail()}")

    def stop(self, seconds):
        """SIGTERM, then SIGKILL. Returns the exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-12:]).rstrip()

    def memory_bytes(self):
        """RssAnon: its own memory, without pages of mapped files."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        return 0


class Everdue:
    """The installed programs and one endpoint."""

    def __init__(self, programs, endpoint, queue):
        self.programs = programs
        self.endpoint = endpoint
        self.queue = queue

    def program(self, name):
        return os.path.join(self.programs, name)

    def command(self, *arguments):
        return [self.program("everdue"), "-e", self.endpoint, *arguments]

    def run(self, *arguments, seconds=60):
        """Standard output of a command that must succeed. Ctrl-C does not reach it."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True,
                              timeout=seconds, check=False, start_new_session=True)
        if done.returncode != 0:
            raise DemoError(f"everdue {arguments[0]} exited {done.returncode}: "
                            f"{done.stderr.strip()}")
        return done.stdout

    def wait_for_broker(self, broker, seconds):
        until = time.monotonic() + seconds
        while True:
            broker.check()
            done = subprocess.run(self.command("ping"), capture_output=True, check=False,
                                  start_new_session=True)
            if done.returncode == 0:
                return
            if time.monotonic() > until:
                raise DemoError(f"the broker did not answer within {seconds} s:\n{broker.tail()}")
            time.sleep(0.05)

    def stats(self):
        return json.loads(self.run("-o", "json", "stats", "--queue", self.queue))

    def record(self, key):
        return json.loads(self.run("-o", "json", "get", key, "--queue", self.queue))

    def records(self):
        """All records of the queue, one at a time."""
        arguments = self.command("-o", "jsonl", "list", "--queue", self.queue)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                              start_new_session=True) as child:
            for line in child.stdout:
                yield json.loads(line)
        if child.returncode != 0:
            raise DemoError(f"everdue list exited {child.returncode}")


def disk_bytes(directory):
    """What the files below a directory take on disk: the store's map is sparse."""
    total = 0
    for folder, _, names in os.walk(directory):
        total += sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in names)
    return total
