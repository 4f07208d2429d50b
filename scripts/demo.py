"""A file integrity watch on this machine's own files, from start to a balanced set of books.

    scripts/demo [--records N] [--seconds S] [--workers N] [--store memory|lmdb:DIR] [--keep] [--kill]

Finds regular files, syncs one record a file, starts a broker and workers whose handler (examples/
integrity.c) hashes each file when it comes due and chooses its next time. In the middle of the run
it changes one file of its own and waits until the change is found. Ends with a summary; the exit
status is not 0 if a record or report was lost, doubled or failed.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from datetime import datetime

from demo_files import FileSet, key_of
from demo_processes import DemoError, Everdue, Process, disk_bytes

QUEUE = "files"
CREDIT = "64"
WORKERS_MAX = 16
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")
PLUGIN = os.path.join(BUILD, "lib", "everdue", "integrity.so")
INTERVAL = "20s"  # from the first look to the second, and after a change
SPREAD_MIN_S = 20
SPREAD_MAX_S = 3600


def say(text):
    print(text, flush=True)


def options():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=positive, default=300_000, metavar="N",
                        help="files to watch at most (300000)")
    parser.add_argument("--seconds", type=positive, default=30, metavar="S",
                        help="how long to run; Ctrl-C ends it earlier (30)")
    parser.add_argument("--workers", type=positive, default=cpus(), metavar="N",
                        help=f"worker processes ({cpus()}: the CPUs, {WORKERS_MAX} at most)")
    parser.add_argument("--store", default=None, metavar="STORE",
                        help="memory or lmdb:DIR (lmdb in the demo's own temporary directory)")
    parser.add_argument("--keep", action="store_true",
                        help="leave the temporary directory: store, logs, set")
    parser.add_argument("--kill", action="store_true",
                        help="in the middle, kill the broker (kill -9) and start it again")
    chosen = parser.parse_args()
    if chosen.store and chosen.store != "memory" and not chosen.store.startswith("lmdb:"):
        parser.error("--store is memory or lmdb:DIR")
    if chosen.kill and chosen.store == "memory":
        parser.error("--kill needs a store that outlives the broker: leave out --store memory")
    return chosen


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def cpus():
    return min(len(os.sched_getaffinity(0)), WORKERS_MAX)


class Watched:
    """The file of our own that is changed in the middle of the run."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "watched.txt")
        self.changed_at = None
        self.found = None
        with open(self.path, "w", encoding="ascii") as file:
            file.write("as it was\n")

    def change(self, everdue, seconds_left):
        """Once it has been looked at as it was."""
        self.before = everdue.record(key_of(self.path))
        if "memo" not in self.before:
            return
        with open(self.path, "w", encoding="ascii") as file:
            file.write("as it is now\n")
        self.changed_at = time.monotonic()
        say(f"      changed {self.path}; its record is next due at {self.before['due']}")
        if not comes_due_within(self.before, seconds_left):
            everdue.run("run-now", self.before["key"], "--queue", QUEUE)
            say("      that is after the end of this run, so: everdue run-now")

    def look(self, everdue):
        record = everdue.record(key_of(self.path))
        if record.get("note") == "changed" and record["memo"] != self.before["memo"]:
            self.found = time.monotonic() - self.changed_at
            say(f"      the change is found after {self.found:.1f} s: {record['note']}, "
                f"digest {record['memo']['xxh3']}")


def comes_due_within(record, seconds):
    return datetime.fromisoformat(record["due"]).timestamp() < time.time() + seconds


class Books:
    """What must agree at the end. Each line is a promise; `wrong` counts those that are broken."""

    def __init__(self):
        self.wrong = 0

    def line(self, text, one, other):
        agree = one == other
        self.wrong += not agree
        sign = "=" if agree else "!="
        numbers = "0" if one == other == 0 else f"{one:,} {sign} {other:,}"
        say(f"  {'ok   ' if agree else 'WRONG'} {text}: {numbers}")


class Demo:
    def __init__(self, chosen, directory):
        self.chosen = chosen
        self.directory = directory
        self.everdue = Everdue(os.path.join(BUILD, "bin"), f"ipc://{directory}/broker", QUEUE)
        self.files = FileSet(chosen.records, say, lambda: self.stopping)
        self.stopping = False
        self.lateness_max_us = 0
        self.store_directory = None
        self.killed = None
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, *_):
        self.stopping = True

    def run(self):
        self.collect()
        if self.stopping:
            return 1
        self.start_broker()
        try:
            self.sync()
            self.start_workers()
            self.watch()
            return self.finish()
        finally:
            for process in (getattr(self, "workers", None), self.broker):
                if process:
                    process.stop(10)

    def collect(self):
        scratch = os.path.join(self.directory, "files")
        os.mkdir(scratch)
        self.watched = Watched(scratch)
        self.files.paths.append(self.watched.path)
        self.files.find("/", leave_out=self.directory)
        self.files.fill_up(scratch)
        self.set_file = os.path.join(self.directory, "files.jsonl")
        self.files.write(self.set_file, INTERVAL, first=self.watched.path)
        say(self.files.describe())
        self.choose_spread()

    def choose_spread(self):
        """An interval that this machine can keep up with: most files come from a cold disk."""
        seconds = self.files.seconds_a_file()
        busy = len(self.files.paths) * seconds / self.chosen.workers
        self.spread_s = min(SPREAD_MAX_S, max(SPREAD_MIN_S, math.ceil(2 * busy)))
        say(f"reading one takes {milliseconds(seconds * 1e6)} here, so the first looks are spread "
            f"over {self.spread_s} s")

    def start_broker(self):
        store = self.chosen.store or f"lmdb:{self.directory}/store"
        if store.startswith("lmdb:"):
            self.store_directory = store.removeprefix("lmdb:")
        program = self.everdue.program("everdue-broker")
        self.broker = Process([program, "--listen", self.everdue.endpoint, "--store", store],
                              os.path.join(self.directory, "broker.log"))
        self.everdue.wait_for_broker(self.broker, 30)
        say(f"broker: {self.everdue.endpoint}, store {store}")

    def sync(self):
        """The queue becomes this set, also in a store that an earlier run has left."""
        start = time.monotonic()
        counts = json.loads(self.everdue.run(
            "-o", "json", "sync", self.set_file, "--queue", QUEUE, "--spread", f"{self.spread_s}s",
            "--prune", "--prune-max", "100%", seconds=300))
        self.synced = sum(counts[name] for name in ("created", "changed", "unchanged"))
        say(f"synced {self.synced:,} records in {time.monotonic() - start:.1f} s")
        self.before = self.everdue.stats()

    def kill_broker(self, stats):
        """As a power switch would, while the workers go on; then the same broker again."""
        self.killed = Killed(cycles_of(stats))
        self.broker.child.kill()
        self.broker.child.wait()
        say(f"      killed the broker (kill -9) after {self.killed.cycles:,} reports accepted")
        self.start_broker()
        ready = time.monotonic()
        while self.everdue.stats()["workers"] < self.chosen.workers:
            self.workers.check()
            if time.monotonic() > ready + 10:
                raise DemoError("the workers did not come back within 10 s")
            time.sleep(0.05)
        back = time.monotonic()
        say(f"      ready again after {ready - self.killed.at:.1f} s, its workers back after "
            f"{back - self.killed.at:.1f} s")

    def start_workers(self):
        """With a fixed credit: one that follows the pace of the files gives records back when they
        turn slow, and the books say that none was."""
        self.workers = Process(
            [self.everdue.program("everdue-worker"), "--broker", self.everdue.endpoint,
             "--queue", QUEUE, "-n", str(self.chosen.workers), "--credit", CREDIT,
             "--plugin", PLUGIN],
            os.path.join(self.directory, "workers.log"))
        count = "1 worker" if self.chosen.workers == 1 else f"{self.chosen.workers} workers"
        say(f"{count} for {self.chosen.seconds} s, or until Ctrl-C")

    def watch(self):
        """A line a second; the change in the middle of the run."""
        self.began = last = time.monotonic()
        end = self.began + self.chosen.seconds
        cycles = cycles_of(self.before)
        while not self.stopping and time.monotonic() < end:
            time.sleep(max(0.0, min(last + 1, end) - time.monotonic()))
            self.broker.check()
            self.workers.check()
            stats, now = self.everdue.stats(), time.monotonic()
            self.lateness_max_us = max(self.lateness_max_us, stats["lateness_max_us"])
            show_line(now - self.began, stats, (cycles_of(stats) - cycles) / (now - last))
            cycles, last = cycles_of(stats), now
            is_second_half = now > (self.began + end) / 2
            if self.chosen.kill and not self.killed and is_second_half:
                self.kill_broker(stats)
            elif self.watched.changed_at is None and is_second_half:
                self.watched.change(self.everdue, end - now - 2)
            elif self.watched.changed_at and self.watched.found is None:
                self.watched.look(self.everdue)
        self.watched_for = time.monotonic() - self.began

    def finish(self):
        """Drain with the workers still there, so that every lease ends by its report; then look,
        then stop both."""
        say("draining")
        self.everdue.run("drain", "--wait", "30s")
        if self.watched.changed_at and self.watched.found is None:
            self.watched.look(self.everdue)
        stats = self.everdue.stats()
        workers = json.loads(self.everdue.run("-o", "json", "workers"))
        found = Found(self.everdue.records())
        memory = self.broker.memory_bytes()
        drained = self.workers.stop(15)
        disk = disk_bytes(self.store_directory) if self.store_directory else 0
        stopped = self.broker.stop(15)
        self.summary(stats, found, memory, disk)
        books = Books()
        self.check_records(books, stats, found)
        self.check_cycles(books, stats, workers, found)
        books.line("exit status of the workers", drained, 0)
        books.line("exit status of the broker", stopped, 0)
        if self.watched.changed_at:
            books.line("changes of our own that were found", int(self.watched.found is not None), 1)
        return 1 if books.wrong else 0

    def gained(self, stats, name):
        return stats[name] - self.before[name]

    def summary(self, stats, found, memory, disk):
        cycles = cycles_of(stats) - cycles_of(self.before)
        failed = self.gained(stats, "reports_failed_total")
        say(f"""
records        {stats['records']:,}
cycles         {cycles:,} in {self.watched_for:.1f} s
cycles/s       {cycles / self.watched_for:,.0f}
lateness       p50 {milliseconds(stats['lateness_p50_us'])}, p99 \
{milliseconds(stats['lateness_p99_us'])} (last 60 s), max {milliseconds(self.lateness_max_us)}
files seen     {found.seen:,}; the first round takes {self.spread_s} s
files changed  {found.changed:,}
errors         {failed:,} failed runs, {found.unreadable:,} files that cannot be read
bytes on disk  {disk:,}
broker memory  {memory:,} bytes, {memory // max(1, stats['records'])} a record
""")

    def check_records(self, books, stats, found):
        say("books")
        books.line("files = records synced", len(self.files.paths), self.synced)
        books.line("records synced = records counted by the broker", self.synced, stats["records"])
        books.line("records synced = records listed", self.synced, found.records)
        books.line("records listed = different keys", found.records, len(found.keys))
        books.line("keys listed that were not synced",
                   len(found.keys - {key_of(path) for path in self.files.paths}), 0)
        books.line("records = created - removed", stats["records"],
                   stats["created_total"] - stats["removed_total"])
        books.line("records = waiting + ready + leased + parked", stats["records"],
                   sum(stats[name] for name in ("waiting", "ready", "leased", "parked")))
        books.line("leased or parked", stats["leased"] + stats["parked"], 0)

    def check_cycles(self, books, stats, workers, found):
        cycles = cycles_of(stats) - cycles_of(self.before)
        if self.killed:
            # Leases are not written down, and a new broker counts its sessions anew.
            books.line("reports accepted before the kill that are not there",
                       max(0, self.killed.cycles - cycles_of(stats)), 0)
        else:
            books.line("records handed out = reports accepted",
                       self.gained(stats, "dispatched_total"), cycles)
            books.line("reports accepted = those of each worker together", cycles,
                       sum(row["reports_ok_total"] + row["reports_failed_total"]
                           for row in workers))
        for name in ("expired_total", "lost_total", "given_back_total", "stale_total",
                     "refused_total", "undelivered_total", "reports_park_total"):
            books.line(name.removesuffix("_total").replace("_", " "), self.gained(stats, name), 0)
        failed = self.gained(stats, "reports_failed_total")
        books.line("failed runs", failed, 0)


class Killed:
    """The moment at which the broker was killed."""

    def __init__(self, cycles):
        self.at = time.monotonic()
        self.cycles = cycles


class Found:
    """What the records say at the end."""

    def __init__(self, records):
        self.records = self.seen = self.changed = self.unreadable = 0
        self.keys = set()
        for record in records:
            self.records += 1
            self.keys.add(record["key"])
            self.seen += "memo" in record or "note" in record
            self.changed += record.get("note") == "changed"
            self.unreadable += record.get("note", "changed") != "changed"


def cycles_of(stats):
    """Accepted reports, whatever their outcome."""
    return sum(stats[f"reports_{outcome}_total"] for outcome in ("ok", "failed", "park", "remove"))


def milliseconds(us):
    return f"{us / 1000:,.2f} ms"


def show_line(seconds, stats, rate):
    say(f"{seconds:4.0f} s  {stats['records']:,} records  due {stats['ready']:,}  "
        f"leased {stats['leased']:,}  {rate:,.0f} cycles/s  "
        f"lateness p50 {milliseconds(stats['lateness_p50_us'])} "
        f"p99 {milliseconds(stats['lateness_p99_us'])}")


def main():
    chosen = options()
    directory = tempfile.mkdtemp(prefix="everdue-demo-")
    demo = Demo(chosen, directory)
    try:
        status = demo.run()
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        status = 1
    if chosen.keep:
        say(f"kept: {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
