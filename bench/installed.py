"""Everdue as it is installed: a broker and workers as processes of their own, over loopback TCP."""
import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ledger import Ledger, Page
from processes import (PLUGINS, PROGRAMS, Failure, Process, children, cpu_s, environment, free_port,
                       run, status_number, wait_until, written_bytes)

PAYLOAD = "x" * 62  # as a JSON string: 64 bytes
STALL_S = 5.0  # longest without a cycle that is waited out


def line(number: int, payload: str = PAYLOAD, **more: object) -> str:
    """A record as `everdue sync` reads it: a key of 16 bytes, a payload of 64."""
    return json.dumps({"key": f"rec-{number:012d}", "payload": payload} | more) + "\n"


def write_set(path: pathlib.Path, records: int, payload: str = PAYLOAD) -> pathlib.Path:
    """The whole set as a file of JSON lines."""
    with open(path, "w", encoding="ascii") as file:
        file.writelines(line(number, payload) for number in range(records))
    return path


@dataclass
class Window:
    """What happened between two looks at a broker and its workers."""

    seconds: float
    cycles: int
    broker_us: float  # CPU time for each cycle
    workers_us: float
    written: float  # bytes for each cycle, all write calls
    tasks_a_message: float
    threads: dict[str, float] = field(default_factory=dict)  # broker's, us of CPU a cycle
    before: dict[str, Any] = field(default_factory=dict)  # the broker's numbers
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def cycles_per_s(self) -> float:
        """The headline."""
        return self.cycles / self.seconds

    def details(self) -> dict[str, Any]:
        """For the table and the JSON file."""
        return {"broker_us_per_cycle": round(self.broker_us, 3),
                "workers_us_per_cycle": round(self.workers_us, 3),
                "bytes_written_per_cycle": round(self.written, 1),
                "tasks_per_message": round(self.tasks_a_message, 1),
                "broker_threads_us": {name: round(us, 3) for name, us in self.threads.items()},
                "bytes_in_per_cycle": self._per_cycle("bytes_in_total"),
                "bytes_out_per_cycle": self._per_cycle("bytes_out_total"),
                "commits": self.after["commits_total"] - self.before["commits_total"],
                "checkpoints": self.after["checkpoints_total"] - self.before["checkpoints_total"]}

    def _per_cycle(self, name: str) -> float:
        return round((self.after[name] - self.before[name]) / max(self.cycles, 1), 1)


class Everdue:
    """A broker with its directory; `store` is memory, lmdb, or default (what it does unasked).
    A guarded one lets in who has a key of its list, over CURVE."""

    def __init__(self, directory: pathlib.Path, store: str, is_guarded: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.store = directory, store
        self.guard: tuple[object, ...] = ()  # options of the broker,
        self.keys: tuple[object, ...] = ()   # and of whoever connects
        if is_guarded:
            self._make_keys()
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.records = 0
        self.start()

    def _make_keys(self) -> None:
        """One for the broker and one for everybody else."""
        ours, theirs, allow = (self.directory / name for name in ("key", "peer", "allow"))
        run(PROGRAMS / "everdue", "keygen", ours)
        public = run(PROGRAMS / "everdue", "keygen", theirs).decode().strip()
        allow.write_text(f"key {public} role=admin,worker,client queues=*\n", encoding="ascii")
        self.guard = ("--curve-key", ours, "--allow", allow)
        self.keys = ("--curve-server", f"{ours}.pub", "--curve-key", theirs)

    def start(self) -> None:
        """Start the broker; the first command waits until it answers."""
        options: tuple[object, ...] = ("--listen", self.endpoint, *self.guard)
        if self.store == "memory":
            options += ("--store", "memory")
        self.broker = Process(PROGRAMS / "everdue-broker", *options,
                              log=self.directory / "broker.log",
                              env=environment(EVERDUE_STORE=f"lmdb:{self.directory}/store"))

    def everdue(self, *arguments: object, **options: Any) -> bytes:
        """Run a command of `everdue`."""
        return run(PROGRAMS / "everdue", "-e", self.endpoint, *self.keys, *arguments, **options)

    def stats(self) -> dict[str, Any]:
        """The broker's numbers."""
        self.broker.check()
        answer: dict[str, Any] = json.loads(self.everdue("-o", "json", "stats"))
        return answer

    def ready(self, seconds: float = 60) -> None:
        """Wait until the broker answers."""
        def answers() -> bool:
            self.broker.check()
            with contextlib.suppress(Failure):
                return bool(self.everdue("ping"))
            return False
        wait_until(answers, seconds, "an answer of the broker", 0.001)

    def load(self, records: int, spread_s: float) -> None:
        """Sync a set of new records whose first due times are spread."""
        path = write_set(self.directory / "set.jsonl", records)
        self.everdue("sync", path, "--spread", f"{max(int(spread_s * 1000), 1)}ms")
        path.unlink()
        self.records = records
        self.check_records()

    def check_records(self) -> None:
        """All records are there and nothing was answered stale or lost."""
        now = self.stats()
        if now["records"] != self.records or now["parked"]:
            raise Failure(f"{now['records']} records, {now['parked']} parked, "
                          f"of {self.records} that were put")

    def memory_per_record(self) -> float:
        """RssAnon of the broker at rest, in bytes for each record: what a burst took goes back when
        nothing has come in for a tenth of a second."""
        time.sleep(0.5)
        return status_number(self.broker.pid, "RssAnon") * 1024 / max(self.records, 1)

    def stop(self) -> None:
        """End the broker in order."""
        self.broker.stop()

    def kill(self) -> None:
        """End the broker at once."""
        self.broker.kill()


class Workers:
    """everdue-worker with a plugin that only chooses new times, and its ledger."""

    def __init__(self, everdue: Everdue, mean_s: float, *options: object,
                 plugin: str = "reschedule") -> None:
        self._everdue = everdue
        self.before = everdue.stats()
        self.ledger = Ledger(everdue.directory / "ledger", everdue.records)
        self._process = Process(
            PROGRAMS / "everdue-worker", "--broker", everdue.endpoint, *everdue.keys, *options,
            "--plugin", PLUGINS / f"{plugin}.so", "--", mean_s, self.ledger.path,
            log=everdue.directory / "worker.log")

    def pids(self) -> list[int]:
        """The processes that do the work."""
        return children(self._process.pid)

    def _cpu_s(self) -> float:
        return sum(sum(cpu_s(pid).values()) for pid in self.pids())

    def measure(self, seconds: float) -> Window:
        """Look at everything twice."""
        everdue = self._everdue
        broker_s, workers_s = cpu_s(everdue.broker.pid), self._cpu_s()
        written = written_bytes(everdue.broker.pid)
        before, began_s = everdue.stats(), time.monotonic()
        time.sleep(seconds)
        after = everdue.stats()
        # A disk may stand still for longer than a short window.
        while (after["reports_ok_total"] == before["reports_ok_total"]
               and time.monotonic() < began_s + seconds + STALL_S):
            time.sleep(0.05)
            after = everdue.stats()
        ended_s = time.monotonic()
        broker_end_s, workers_s = cpu_s(everdue.broker.pid), self._cpu_s() - workers_s
        written = written_bytes(everdue.broker.pid) - written
        cycles = after["reports_ok_total"] - before["reports_ok_total"]
        if not cycles:
            raise Failure("not a single cycle")
        dispatched = after["dispatched_total"] - before["dispatched_total"]
        answers = after["messages_in_total"] - before["messages_in_total"]
        tasks = max(after["messages_out_total"] - before["messages_out_total"] - answers, 1)
        us = {name: (end_s - broker_s.get(name, 0)) * 1e6 / cycles
              for name, end_s in broker_end_s.items()}
        return Window(ended_s - began_s, cycles, sum(us.values()), workers_s * 1e6 / cycles,
                      written / cycles, dispatched / tasks, us, before, after)

    def stop(self) -> Page:
        """End them in order, and check the books: each report that a worker made was accepted
        once, each record handed out was worked on or given back, no record went out twice."""
        self._process.stop()
        page, now, before = self.ledger.read(), self._everdue.stats(), self.before
        self.ledger.close()

        def counted(*names: str) -> int:
            return sum(int(now[name]) - int(before[name]) for name in names)
        accepted = counted("reports_ok_total")
        undone = counted("given_back_total", "lost_total", "expired_total")
        if page.breaks:
            raise Failure(f"{page.breaks} records were handed out twice")
        if accepted != page.cycles or counted("dispatched_total") != accepted + undone:
            raise Failure(f"{page.cycles} cycles at the workers, {accepted} reports accepted, "
                          f"{counted('dispatched_total')} dispatched, {undone} undone")
        if counted("stale_total") or now["leased"]:
            raise Failure(f"{counted('stale_total')} reports stale, {now['leased']} still leased")
        self._everdue.check_records()
        return page

    def kill(self) -> None:
        """End them at once."""
        self._process.kill()


@contextlib.contextmanager
def workers(everdue: Everdue, mean_s: float, *options: object,
            plugin: str = "reschedule") -> Iterator[Workers]:
    """Workers whose books are checked at the end, unless something else went wrong first."""
    them = Workers(everdue, mean_s, *options, plugin=plugin)
    try:
        yield them
        them.stop()
    finally:
        them.kill()
