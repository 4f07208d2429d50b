#!/usr/bin/env python3
"""record_broker.py PROGRAMS RECORDER DIRECTORY LOG POLICY SEED: a recorded life of a real broker.

The broker runs with the recorder preloaded; one peer changes records and marks in the same log what
it is about to send and what was acknowledged:

    sent KEY VERSION put|report|remove
    acked KEY VERSION

Versions of a key count from 1, and one change of a key is under way at a time. A put's payload and a
report's memo are the version's digits.
"""

import os
import pathlib
import random
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "e2e"))

import raw

REQUESTS = 240
SECONDS = 1.5  # at least, so that there are some intervals
UNDER_WAY = 6  # requests at a time
KEYS = 60      # put and removed; half as many are reported
SLOW_US = 2000  # a sync takes so long: an acknowledgement that does not wait for it comes before
RECORD_MARK = 8


class Log:
    """Appends marks to the recorder's log; an entry as in record.h."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def mark(self, *words):
        text = " ".join(map(str, words)).encode()
        entry = struct.pack("=IHHQQQq", len(text), RECORD_MARK, 0, 0, 0, 0,
                            time.monotonic_ns() // 1000)
        assert os.write(self.file, entry + text) == len(entry) + len(text)


class Life:
    """What is under way, and the dice."""

    def __init__(self, peer, log, seed):
        self.peer = peer
        self.log = log
        self.dice = random.Random(seed)
        self.versions = {}
        self.present = set()
        self.busy = set()
        self.under_way = {}  # request: the keys with their versions
        self.sent = 0

    def draw(self, key, kind):
        """The next version of a key, marked as sent."""
        version = self.versions[key] = self.versions.get(key, 0) + 1
        self.busy.add(key)
        self.log.mark("sent", key, version, kind)
        return version

    def post(self, kind, *fields, keys):
        request = self.peer.post(kind, *fields)
        self.under_way[request] = [(key, self.versions[key]) for key in keys]
        self.sent += 1

    def put(self, keys, after):
        puts = [raw.put(key, after=after, payload=b"%d" % self.draw(key, "put")) for key in keys]
        self.present.update(keys)
        self.post(raw.PUT, "q", puts, keys=keys)

    def remove(self, keys):
        for key in keys:
            self.draw(key, "remove")
        self.present.difference_update(keys)
        self.post(raw.REMOVE, "q", list(keys), keys=keys)

    def report(self):
        tasks, self.peer.tasks = self.peer.tasks, []
        if not tasks:
            return
        reports = [task.report(after=self.dice.randint(1000, 30000),
                               memo=b"%d" % self.draw(task.key, "report")) for task in tasks]
        self.post(raw.REPORT, reports, keys=[task.key for task in tasks])

    def step(self):
        free = [key for key in map("p{}".format, range(KEYS)) if key not in self.busy]
        keys = self.dice.sample(free, min(len(free), self.dice.randint(1, 8)))
        gone = [key for key in keys if key in self.present and self.dice.random() < 0.2]
        if gone:
            self.remove(gone)
        kept = [key for key in keys if key not in gone]
        if kept:
            self.put(kept, raw.HOUR_US)

    def take_answers(self):
        """Mark what was acknowledged; every item must have been accepted."""
        for request in [request for request in self.under_way if request in self.peer.answers]:
            status, body, text = self.peer.answers.pop(request)[:3]
            assert status == raw.OK and all(item >= 0 for item in body), (status, body, text)
            for key, version in self.under_way.pop(request):
                self.log.mark("acked", key, version)
                self.busy.discard(key)

    def run(self):
        self.put([f"r{i}" for i in range(KEYS // 2)], 1)
        until = time.monotonic() + SECONDS
        while self.under_way or self.sent < REQUESTS or time.monotonic() < until:
            is_over = self.sent >= REQUESTS and time.monotonic() >= until
            if not is_over:
                self.report()
            if not is_over and len(self.under_way) < UNDER_WAY:
                self.step()
            self.peer.receive(0.005)
            while self.peer.receive(0):
                pass
            self.take_answers()


def start(programs, recorder, directory, log, policy):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERDUE_")}
    endpoint = f"ipc://{pathlib.Path(directory).parent}/socket"  # not below the directory
    broker = subprocess.Popen(
        [f"{programs}/everdue-broker", "--listen", endpoint, "--store", f"lmdb:{directory}/store",
         "--sync", policy, "--free-bytes-least", "1M", "--log-level", "error"],
        env=kept | {"LD_PRELOAD": recorder, "EVERDUE_RECORD_DIR": directory,
                    "EVERDUE_RECORD_LOG": log, "EVERDUE_RECORD_SLOW_US": str(SLOW_US)})
    return broker, endpoint


def main():
    programs, recorder, directory, log, policy, seed = sys.argv[1:]
    broker, endpoint = start(programs, recorder, directory, log, policy)
    peer = None
    try:
        peer = raw.Peer(endpoint)
        peer.hello(queues=["q"], credit=20)
        Life(peer, Log(log), int(seed)).run()
    finally:
        if peer:
            peer.close()
        broker.terminate()
        status = broker.wait(30)
    sys.exit(1 if status else 0)


if __name__ == "__main__":
    main()
