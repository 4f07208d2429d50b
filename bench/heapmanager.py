#!/usr/bin/python3
"""The Python method before and after: cycles a second of a heap behind multiprocessing.managers, of
everdue.compat.HeapManager (as it is, and in its strict form, which takes nothing ahead and waits
for each push), and of workers written in Python, in turn.

    bench/heapmanager.py [--records N] [--workers N] [--seconds S] [--rounds N]

A cycle is a pop and a push of one record (in a worker: a task and its accepted report). Prints the
median and the spread of each, and the processor time of all processes a cycle; exits with 1 when
the books do not agree. Needs a release build.
"""
import argparse
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from processes import PROGRAMS, ROOT, cpu_s, free_port

sys.path.insert(0, str(ROOT / "python"))
from everdue import Client  # noqa: E402
from everdue.compat import HeapManager  # noqa: E402

BEFORE = pathlib.Path(__file__).resolve().parent / "peers" / "heap_manager.py"
WARM_S = 1.0
STRICT = {"prefetch": 1, "wait": True}
HANDLERS = """
import random, everdue
MEAN_S = {mean}

@everdue.handler(credit=256)
def batch_1(task):
    return {{"in": random.random() * 2 * MEAN_S}}

@everdue.handler(batch=64, credit=1024)
def batch_64(tasks):
    return [{{"in": random.random() * 2 * MEAN_S}} for _ in tasks]
"""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


class Sample(NamedTuple):
    """What one round found."""

    rate: float                  # cycles a second
    cpu_us: float | None = None  # processor time of all processes a cycle


class Broker:
    """A broker of its own, as a context."""

    def __init__(self, store: str) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="everdue-bench-")
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        where = "memory" if store == "memory" else f"lmdb:{self.directory.name}/store"
        self.process = subprocess.Popen(
            [PROGRAMS / "everdue-broker", "--listen", self.endpoint, "--store", where],
            stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Broker":
        return self

    def cpu_s(self) -> float:
        """Processor time so far."""
        return sum(cpu_s(self.process.pid).values())

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.directory.cleanup()


def before(options: argparse.Namespace) -> Sample:
    """The heap in a manager's process."""
    done = subprocess.run([sys.executable, BEFORE, *map(str, (options.records, options.workers,
                                                              options.seconds))],
                          check=True, capture_output=True)
    told = json.loads(done.stdout)
    return Sample(told["cycles"] / told["seconds"], told["cpu_s"] / told["cycles"] * 1e6)


def check(is_right: bool, what: str) -> None:
    """End the run when the books do not agree."""
    if not is_right:
        sys.exit(f"heapmanager: the books do not agree: {what}")


def cycle(heap: HeapManager, records: int, until_s: float) -> int:
    """What a process of the crew does."""
    cycles = 0
    while time.monotonic() < until_s:
        popped = heap.pop()
        if popped is not None:
            due, key, payload = popped
            heap.push((due + random.random() * 2 * records, key, payload))
            cycles += 1
    heap.close()
    return cycles


def after(options: argparse.Namespace, store: str, **form: Any) -> Sample:
    """The same records and the same crew on a broker."""
    with Broker(store) as broker:
        heap = HeapManager(broker.endpoint, comparer=lambda record: record[0],
                           key=lambda record: record[1], **form)
        heap.sync((random.random() * 2 * options.records, f"rec-{i:012d}", "x" * 64)
                  for i in range(options.records))
        began_s, began_cpu_s, pipes = time.monotonic(), broker.cpu_s(), []
        for _ in range(options.workers):
            read_fd, write_fd = os.pipe()
            if os.fork() == 0:
                count = cycle(heap, options.records, began_s + options.seconds)
                os.write(write_fd, b"%d" % count)
                os._exit(0)
            os.close(write_fd)
            pipes.append(read_fd)
        cycles = sum(int(os.read(fd, 32)) for fd in pipes)
        elapsed_s = time.monotonic() - began_s
        used_s = broker.cpu_s() - began_cpu_s
        for fd in pipes:
            os.close(fd)
            used = os.wait3(0)[2]
            used_s += used.ru_utime + used.ru_stime
        heap.close()
        with Client(broker.endpoint) as client:
            stats = client.stats()
        check(stats["records"] == options.records, f"{stats['records']} records")
        check(stats["reports_ok_total"] == cycles, f"{stats['reports_ok_total']} of {cycles}")
        check(stats["leased"] == 0 and stats["stale_total"] == 0,
              f"{stats['leased']} still out, {stats['stale_total']} stale")
        return Sample(cycles / elapsed_s, used_s / cycles * 1e6)


def worker(options: argparse.Namespace, function: str) -> Sample:
    """`python3 -m everdue.worker`, with records enough that some are due at any moment."""
    with Broker("memory") as broker, tempfile.TemporaryDirectory() as directory:
        handlers = pathlib.Path(directory) / "bench_handlers.py"
        handlers.write_text(HANDLERS.format(mean=0.2), encoding="utf-8")
        with Client(broker.endpoint) as client:
            client.sync(({"key": f"rec-{i:012d}", "payload": b"x" * 64}
                         for i in range(options.records)), spread=0.2)
            process = subprocess.Popen(
                ["/usr/bin/python3", "-B", "-m", "everdue.worker", f"bench_handlers:{function}",
                 "--broker", broker.endpoint, "-n", str(options.workers), "--log-level", "error"],
                cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
            time.sleep(WARM_S)
            first, began_s = client.stats()["reports_ok_total"], time.monotonic()
            time.sleep(options.seconds)
            last, ended_s = client.stats()["reports_ok_total"], time.monotonic()
            process.send_signal(signal.SIGTERM)
            check(process.wait() == 0, "the worker's exit status")
            stats = client.stats()
            check(stats["records"] == options.records and stats["stale_total"] == 0,
                  f"{stats['records']} records, {stats['stale_total']} stale")
        return Sample((last - first) / (ended_s - began_s))


def main() -> None:
    """Measure in turn, round by round."""
    options = parse()
    rows: dict[str, Callable[[], Sample]] = {
        "before: BaseManager": lambda: before(options),
        "after: HeapManager, in memory": lambda: after(options, "memory"),
        "after: HeapManager, durable": lambda: after(options, "lmdb"),
        "its strict form, in memory": lambda: after(options, "memory", **STRICT),
        "its strict form, durable": lambda: after(options, "lmdb", **STRICT),
        "Python worker, batch 1": lambda: worker(options, "batch_1"),
        "Python worker, batch 64": lambda: worker(options, "batch_64")}
    found: dict[str, list[Sample]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, measure in rows.items():
            found[name].append(measure())
    print(f"records={options.records} workers={options.workers} seconds={options.seconds:g} "
          f"rounds={options.rounds} cpus={len(os.sched_getaffinity(0))}")
    for name, samples in found.items():
        rates = [each.rate for each in samples]
        used = [each.cpu_us for each in samples if each.cpu_us is not None]
        cpu = f"{statistics.median(used):5.0f} us of processor time a cycle" if used else ""
        print(f"{name:32} {statistics.median(rates):9,.0f} cycles/s   "
              f"({min(rates):,.0f} to {max(rates):,.0f})  {cpu}")


if __name__ == "__main__":
    main()
