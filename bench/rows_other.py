"""Rows beside the cycles: how late, how long, how much memory, what idling and starting costs."""
import json
import math
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import rivals
from installed import Everdue, Window, Workers, line, workers, write_set
from processes import PROGRAMS, Failure, Process, cpu_s, wait_until, wakeups
from rows import (WIDE, Plan, Row, Sample, TooBusy, everdue_cycles, rival_cycles, shared_broker,
                  thawed, zeromq_cycles)

US_PER_MS = 1000
OFFERED = 100_000  # cycles a second
CHANGED = "y" * 62
FAR_S = 1_000_000


class Broker:
    """A broker of a row's own, gone at its end."""

    def __init__(self, plan: Plan, store: str) -> None:
        plan.brokers += 1
        self._everdue = Everdue(plan.directory / f"own-{plan.brokers}", store)

    def __enter__(self) -> Everdue:
        return self._everdue

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._everdue.stop()
        self._everdue.kill()


# --- lateness ------------------------------------------------------------------------------------


def offered(plan: Plan, rate: float) -> float:
    """Mean time between two runs of a record so that `rate` come due in a second."""
    return plan.records / rate


def steady_set(plan: Plan, mean_s: float, begin_s: float) -> Iterator[str]:
    """A set whose first due times are as they would be had it been cycled for ever: what remains of
    an interval of 0.1 to 1.9 means, of which the long ones are met more often."""
    random = Random(1)
    for number in range(plan.records):
        interval_s = mean_s * math.sqrt(0.01 + random.random() * 3.6)
        yield line(number, due=round(begin_s + interval_s * random.random(), 6))


def load_steadily(everdue: Everdue, plan: Plan, rate: float) -> None:
    """Sync a set of which `rate` records come due in each second from now on."""
    begin_s = time.time() + 1 + plan.records / 75_000
    load_lines(everdue, plan, steady_set(plan, offered(plan, rate), begin_s))
    time.sleep(max(begin_s - time.time(), 0))


def load_lines(everdue: Everdue, plan: Plan, lines: Iterator[str]) -> None:
    """Sync these lines, all records of the plan."""
    path = everdue.directory / "set.jsonl"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(lines)
    everdue.ready()
    everdue.everdue("sync", path)
    everdue.records = plan.records


def lateness_details(window: Window, late: Any, prefix: str = "") -> dict[str, float]:
    """Percentiles in ms."""
    return {f"{prefix}p50_ms": late.percentile_us(0.5) / US_PER_MS,
            f"{prefix}p99_ms": late.percentile_us(0.99) / US_PER_MS,
            f"{prefix}max_ms": late.max_us / US_PER_MS,
            f"{prefix}cycles_per_s": round(window.cycles_per_s)}


def quiet_window(crew: Workers, seconds: float) -> tuple[Window, Any]:
    """Lateness while nothing but cycles goes on."""
    before = crew.ledger.read().lateness
    window = crew.measure(seconds)
    return window, crew.ledger.read().lateness.since(before)


def until_checkpoints(crew: Workers, wanted: int, seconds: float) -> Window:
    """A window of so many seconds, and on until the broker has made `wanted` checkpoints in all,
    but not more than six times as long."""
    windows = [crew.measure(seconds)]
    while windows[-1].after["checkpoints_total"] < wanted and len(windows) < 6:
        windows.append(crew.measure(seconds))
    whole = windows[-1]
    cycles = sum(window.cycles for window in windows)
    whole.written = sum(window.written * window.cycles for window in windows) / cycles
    whole.seconds = sum(window.seconds for window in windows)
    whole.cycles, whole.before = cycles, windows[0].before
    return whole


def disturb(everdue: Everdue, plan: Plan, until: threading.Event, times: list[int]) -> None:
    """Full syncs that change every payload, and exports, one after the other; adds to `times`."""
    sets = [write_set(everdue.directory / f"set-{payload[0]}.jsonl", plan.records, payload)
            for payload in (CHANGED, "x" * 62)]
    while not until.is_set():
        everdue.everdue("sync", sets[len(times) % 2])
        with open(os.devnull, "wb") as nowhere:
            subprocess.run([PROGRAMS / "everdue", "-e", everdue.endpoint, "export"], check=True,
                           stdout=nowhere)
        times.append(1)


class DiskWatch:
    """What the disk does by itself meanwhile: the longest fsync of a block of a file of its own."""

    PAUSE_S, BLOCK = 0.01, bytes(4096)

    def __init__(self, directory: pathlib.Path) -> None:
        self.max_s = 0.0
        self._path = directory / "watch"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, self.BLOCK, 0)
            os.fsync(file)
            while not self._done.wait(self.PAUSE_S):
                began_s = time.monotonic()
                os.pwrite(file, self.BLOCK, 0)
                os.fdatasync(file)
                self.max_s = max(self.max_s, time.monotonic() - began_s)
        finally:
            os.close(file)

    def __enter__(self) -> "DiskWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._path.unlink()


def lateness(plan: Plan) -> Sample:
    """100,000 cycles a second, durable: first alone, then beside syncs, exports, checkpoints."""
    rate = min(OFFERED, plan.records)
    with Broker(plan, "lmdb") as everdue:
        load_steadily(everdue, plan, rate)
        with workers(everdue, offered(plan, rate), *WIDE) as crew:
            time.sleep(plan.warm_s)
            window, late = quiet_window(crew, plan.window_s)
            details = window.details() | lateness_details(window, late)
            done, before = threading.Event(), crew.ledger.read().lateness
            times: list[int] = []
            disturber = threading.Thread(target=disturb, args=(everdue, plan, done, times))
            first = everdue.stats()["checkpoints_total"]
            disturber.start()
            try:
                with DiskWatch(everdue.directory) as disk:
                    busy = until_checkpoints(crew, first + 1, plan.busy_s)
            finally:
                done.set()
                disturber.join()
            late = crew.ledger.read().lateness.since(before)
            details |= lateness_details(busy, late, "disturbed_") | {
                "disturbed_disk_max_ms": disk.max_s * 1000,
                "disturbed_by_syncs_and_exports": len(times),
                "disturbed_by_checkpoints": busy.after["checkpoints_total"] - first}
    if window.cycles_per_s < 0.9 * rate:
        raise TooBusy(f"{window.cycles_per_s:.0f} cycles/s of {rate} offered")
    return Sample(details["p99_ms"], details)


def written(plan: Plan) -> Sample:
    """Bytes that the broker hands to write for each durable cycle, checkpoints included."""
    with Broker(plan, "lmdb") as everdue:
        load_steadily(everdue, plan, OFFERED)
        with workers(everdue, offered(plan, OFFERED), *WIDE) as crew:
            time.sleep(plan.warm_s)
            first = everdue.stats()["checkpoints_total"]
            window = until_checkpoints(crew, first + 2, plan.busy_s)
    return Sample(window.written, window.details() | {"cycles_per_s": round(window.cycles_per_s)})


def offered_row(rate: int) -> Row:
    """A point of lateness against offered load."""
    def measure(plan: Plan) -> Sample:
        with Broker(plan, "lmdb") as everdue:
            load_steadily(everdue, plan, rate)
            with workers(everdue, offered(plan, rate), *WIDE) as crew:
                time.sleep(plan.warm_s)
                window, late = quiet_window(crew, plan.window_s)
        return Sample(late.percentile_us(0.99) / US_PER_MS,
                      {"x": rate} | lateness_details(window, late))
    return Row(f"offered-{rate}", f"p99 lateness at {rate:,} cycles/s offered, durable", "ms",
               measure, group="offered", in_quick=False, is_variant=True)


def soon_and_far(plan: Plan, soon: int, begin_s: float, gap_s: float) -> Iterator[str]:
    """A set of which `soon` records come due one by one, and all others in some days."""
    for number in range(plan.records):
        due_s = begin_s + number * gap_s if number < soon else begin_s + FAR_S
        yield line(number, due=round(due_s, 6))


def wake_up(plan: Plan) -> Sample:
    """A worker that has nothing to do, and records that come due 10 ms apart."""
    soon = min(200, plan.records)
    with Broker(plan, "memory") as everdue:
        begin_s = time.time() + 3 + plan.records / 100_000
        load_lines(everdue, plan, soon_and_far(plan, soon, begin_s, 0.01))
        with workers(everdue, FAR_S, "-n", 1) as crew:
            is_idle = time.time() < begin_s
            wait_until(lambda: crew.ledger.read().cycles >= soon, 60, "that all came due", 0.5)
            page = crew.ledger.read()
    if page.cycles != soon:
        raise Failure(f"{page.cycles} cycles of {soon} records")
    if not is_idle:
        raise TooBusy("the first record was due before the worker was there")
    return Sample(page.start.percentile_us(0.5) / US_PER_MS,
                  {"p99_ms": page.start.percentile_us(0.99) / US_PER_MS,
                   "max_ms": page.start.max_us / US_PER_MS,
                   "dispatch_p50_ms": page.lateness.percentile_us(0.5) / US_PER_MS})


# --- sync, memory, idling ------------------------------------------------------------------------


def timed(work: Any, *arguments: object) -> float:
    """Seconds that a call takes."""
    began_s = time.monotonic()
    work(*arguments)
    return time.monotonic() - began_s


def sync(plan: Plan) -> Sample:
    """A full set from JSON lines, durable: all new, then again unchanged."""
    with Broker(plan, "lmdb") as everdue:
        everdue.ready()
        path = write_set(everdue.directory / "set.jsonl", plan.records)
        new_s = timed(everdue.everdue, "sync", path, "--spread", "1h")
        everdue.records = plan.records
        everdue.check_records()
        memory = everdue.memory_per_record()
        same_s = timed(everdue.everdue, "sync", path)
        export_s = timed(everdue.everdue, "export")
        everdue.check_records()
        return Sample(new_s, {"unchanged_s": same_s, "export_s": export_s,
                              "bytes_per_record": round(memory, 1)})


def idle(plan: Plan) -> Sample:
    """300,000 records that are not due and two workers: who wakes up, and what it costs."""
    with Broker(plan, "lmdb") as everdue:
        load_lines(everdue, plan, soon_and_far(plan, 0, time.time(), 0))
        with workers(everdue, FAR_S) as crew:
            wait_until(lambda: everdue.stats()["workers"] == 2, 10, "two workers")
            time.sleep(plan.warm_s)
            pids = [everdue.broker.pid, *crew.pids()]
            before = everdue.stats()
            time.sleep(1)  # what the look itself caused, a session and its end, is over by then
            woken, used_s = [wakeups(pid) for pid in pids], [sum(cpu_s(p).values()) for p in pids]
            time.sleep(plan.idle_s)
            woken = [{name: (count - then[name]) / plan.idle_s for name, count in
                      wakeups(pid).items()} for pid, then in zip(pids, woken)]
            used_s = [sum(cpu_s(pid).values()) - then for pid, then in zip(pids, used_s)]
            after = everdue.stats()
    # Two looks, each a hello, a request, a goodbye and what is answered, are no heartbeats.
    messages = (after["messages_in_total"] + after["messages_out_total"] -
                before["messages_in_total"] - before["messages_out_total"])
    return Sample(used_s[0] / plan.idle_s * 100, {
        "workers_cpu_percent": round(sum(used_s[1:]) / plan.idle_s * 100, 4),
        "broker_wakeups_per_s": sum(woken[0].values()),
        "worker_wakeups_per_s": sum(sum(each.values()) for each in woken[1:]) / len(woken[1:]),
        "broker_thread_wakeups_per_s": woken[0], "worker_thread_wakeups_per_s": woken[1],
        "messages_per_s_with_two_looks": messages / plan.idle_s, "seconds": plan.idle_s})


# --- ten million ---------------------------------------------------------------------------------


def sync_from_pipe(everdue: Everdue, records: int, spread_s: float) -> float:
    """Sync so many new records from a pipe: seconds, those of the writer included."""
    began_s = time.monotonic()
    command = subprocess.Popen([PROGRAMS / "everdue", "-e", everdue.endpoint, "sync", "-",
                                "--spread", f"{int(spread_s * 1000)}ms"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert command.stdin
    payload = json.dumps("x" * 62).encode()
    for begin in range(0, records, 10_000):
        command.stdin.write(b"".join(b'{"key":"rec-%012d","payload":%b}\n' % (number, payload)
                                     for number in range(begin, min(begin + 10_000, records))))
    command.stdin.close()
    if command.wait():
        raise Failure(f"sync of {records} records ended with {command.returncode}")
    everdue.records = records
    return time.monotonic() - began_s


def first_dispatch(everdue: Everdue, plan: Plan, mean_s: float) -> dict[str, float]:
    """Kill the broker, start it on what is on its disk: seconds until it answers and dispatches."""
    everdue.broker.kill()
    began_s = time.monotonic()
    everdue.start()
    everdue.ready(120)
    ready_s = time.monotonic() - began_s
    with workers(everdue, mean_s, *WIDE) as crew:
        wait_until(lambda: crew.ledger.read().cycles > 0, 60, "a first cycle", 0.005)
        started_s = time.monotonic() - began_s
        time.sleep(plan.warm_s)
        window = crew.measure(plan.window_s)
    return {"ready_s": ready_s, "first_dispatch_s": started_s,
            "restarted_cycles_per_s": round(window.cycles_per_s),
            "restarted_bytes_per_record": round(everdue.memory_per_record(), 1)}


def turns(everdue: Everdue, name: str) -> dict[str, float]:
    """The longest turn since the start: by the clock, and what it used itself."""
    now = everdue.stats()
    return {f"{name}_turn_ms_max": now["turn_us_max"] / US_PER_MS,
            f"{name}_turn_cpu_ms_max": now["turn_cpu_us_max"] / US_PER_MS}


def ten_million(plan: Plan) -> Sample:
    """A large set: loaded, cycled, killed, started again, exported; durable."""
    mean_s = plan.large_records / 3_000_000
    with Broker(plan, "lmdb") as everdue:
        everdue.ready()
        details: dict[str, Any] = {"records": plan.large_records}
        details["load_s"] = sync_from_pipe(everdue, plan.large_records, mean_s)
        everdue.check_records()
        details |= turns(everdue, "load")
        with workers(everdue, mean_s, *WIDE) as crew:
            time.sleep(plan.warm_s + 2 * mean_s)
            window = crew.measure(plan.window_s)
        details |= window.details() | {"bytes_per_record": round(everdue.memory_per_record(), 1)}
        details |= first_dispatch(everdue, plan, mean_s)
        everdue.broker.stop()
        everdue.start()
        everdue.ready(120)
        with open(os.devnull, "wb") as nowhere:
            details["export_s"] = timed(lambda: subprocess.run(
                [PROGRAMS / "everdue", "-e", everdue.endpoint, "export"], check=True,
                stdout=nowhere))
        details |= turns(everdue, "export")
    return Sample(window.cycles_per_s, details)


# --- commands ------------------------------------------------------------------------------------

COMMAND_WORKERS, COMMANDS_IN_FLIGHT = 2, 2  # the worker's defaults


def command(plan: Plan) -> Sample:
    """`true` for each record, by the installed worker at its defaults."""
    everdue = shared_broker(plan, "memory")
    with thawed(everdue.broker):
        before = everdue.stats()
        worker = Process(PROGRAMS / "everdue-worker", "--broker", everdue.endpoint, "-n",
                         COMMAND_WORKERS, "--every", "10s", "--", "true",
                         log=everdue.directory / "command.log")
        try:
            time.sleep(plan.warm_s)
            first, began_s = everdue.stats(), time.monotonic()
            time.sleep(plan.window_s)
            last, ended_s = everdue.stats(), time.monotonic()
            worker.stop()
        finally:
            worker.kill()
        after = everdue.stats()
        undone = sum(after[name] - before[name] for name in
                     ("given_back_total", "lost_total", "expired_total"))
        done = after["reports_ok_total"] - before["reports_ok_total"]
        if after["dispatched_total"] - before["dispatched_total"] != done + undone:
            raise Failure(f"{done} runs reported, {undone} undone, of "
                          f"{after['dispatched_total'] - before['dispatched_total']}")
        everdue.check_records()
        runs = last["reports_ok_total"] - first["reports_ok_total"]
        return Sample(runs / (ended_s - began_s), {"in_flight": COMMAND_WORKERS *
                                                   COMMANDS_IN_FLIGHT})


def spawn(plan: Plan) -> Sample:
    """The same without Everdue."""
    return Sample(rivals.spawn(plan.window_s, COMMAND_WORKERS, COMMANDS_IN_FLIGHT))


# --- curves --------------------------------------------------------------------------------------


def batch_rows(batch: int) -> list[Row]:
    """Points of throughput by how many records a worker asks for at a time."""
    rows = [("everdue", everdue_cycles("memory", "-n", 2, "--credit", batch)),
            ("everdue-durable", everdue_cycles("lmdb", "-n", 2, "--credit", batch)),
            ("zeromq", zeromq_cycles(2, batch, 1)),
            ("redis", rival_cycles(rivals.Redis, batch)),
            ("beanstalkd", rival_cycles(rivals.Beanstalkd, batch)),
            ("postgres", rival_cycles(rivals.Postgres, batch))]
    return [Row(f"batch-{name}-{batch}", f"{name}, {batch} at a time", "cycles/s", measure,
                group="batch", in_quick=False, is_variant=True, details={"x": batch})
            for name, measure in rows]


def size_row(records: int) -> Row:
    """A point of throughput and memory by the number of records, in memory."""
    def measure(plan: Plan) -> Sample:
        mean_s = records / 3_000_000
        with Broker(plan, "memory") as everdue:
            everdue.ready()
            sync_from_pipe(everdue, records, mean_s)
            with workers(everdue, mean_s, *WIDE) as crew:
                time.sleep(plan.warm_s + 2 * mean_s)
                window = crew.measure(plan.window_s)
            return Sample(window.cycles_per_s, window.details() | {
                "x": records, "bytes_per_record": round(everdue.memory_per_record(), 1)})
    return Row(f"size-{records}", f"Everdue, in memory, {records:,} records", "cycles/s", measure,
               group="size", in_quick=False, is_variant=True, is_long=records > 300_000,
               rounds=2 if records <= 1_000_000 else 1)


OTHERS = [
    Row("lateness", "p99 lateness at 100,000 cycles/s, durable", "ms", lateness, group="lateness"),
    Row("written", "bytes written a cycle at 100,000/s, durable, with checkpoints", "bytes",
        written, group="written", rounds=1, in_quick=False,
        is_variant=True),
    Row("wake-up", "idle worker: due to begin of the handler, p50", "ms", wake_up, group="wake-up"),
    Row("sync", "everdue sync of 300,000 new records, durable", "s", sync, group="sync"),
    Row("command", "a command (true) for each record, 4 in flight", "runs/s", command,
        group="command"),
    Row("spawn", "bare posix_spawn loop of true, 4 in flight", "runs/s", spawn, group="command"),
    Row("idle", "broker with 300,000 records, 2 workers, nothing due", "% of CPU", idle,
        group="idle", rounds=1),
    Row("ten-million", "Everdue, 10 million records, durable", "cycles/s", ten_million,
        group="ten-million", rounds=1, is_long=True, is_variant=True),
    *(offered_row(rate) for rate in (1_000, 10_000, 30_000, 100_000, 200_000, 300_000, 500_000)),
    *(row for batch in (1, 4, 16, 64, 256) for row in batch_rows(batch)),
    *(size_row(records) for records in (10_000, 100_000, 300_000, 1_000_000, 10_000_000)),
]
