"""Rows: what is measured. Each is opened once, measured several times in turn with the others of
its group, and closed."""
import contextlib
import pathlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import rivals
from installed import Everdue, workers


@dataclass
class Plan:
    """How much of everything; `quick` and `smoke` are smaller."""

    directory: pathlib.Path
    records: int = 300_000
    rounds: int = 5
    warm_s: float = 1.0
    window_s: float = 4.0
    large_records: int = 10_000_000
    busy_s: float = 15.0  # of syncs and exports beside the cycles
    idle_s: float = 20.0
    is_smoke: bool = False  # peers may be missing, the machine may be busy
    brokers: int = 0  # that rows started for themselves
    servers: dict[str, Any] = field(default_factory=dict)  # those that rows share, by name

    def rounds_of(self, row: "Row") -> int:
        """How often a row is measured: those that are compared with others in turn most often, above
        all those that mostly wait to be woken, which a busy host disturbs most."""
        if row.rounds:
            return min(row.rounds, self.rounds)
        if row.group in ("ping-pong", "command"):
            return 2 * self.rounds - 1
        return self.rounds if row.group == "cycles" else max(self.rounds // 2, 1)

    @property
    def mean_s(self) -> float:
        """Mean time between two runs of a record that offers more than anything can do."""
        return self.records / 3_000_000


@dataclass
class Sample:
    """One measurement of one row."""

    value: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Row:
    """A line of the table. `measure` is called once a round."""

    name: str
    title: str
    unit: str
    measure: Callable[[Plan], Sample]
    group: str = "cycles"
    rounds: int | None = None  # None: as the plan says for its group
    is_long: bool = False  # left out by --quick
    in_quick: bool = True  # without being asked for
    is_variant: bool = False  # left out by --smoke: another row runs the same programs
    details: dict[str, Any] = field(default_factory=dict)  # of every sample
    samples: list[Sample] = field(default_factory=list)

    def number(self, detail: str) -> float | None:
        """The median of a detail of its samples, or of their values; None where it is not there."""
        if not detail:
            return self.median
        numbers = [sample.details[detail] for sample in self.samples if detail in sample.details]
        return statistics.median(numbers) if numbers else None

    @property
    def median(self) -> float:
        """Of its samples."""
        return statistics.median(sample.value for sample in self.samples)

    @property
    def least(self) -> float:
        """The lowest sample."""
        return min(sample.value for sample in self.samples)

    @property
    def most(self) -> float:
        """The highest sample."""
        return max(sample.value for sample in self.samples)


class Missing(Exception):
    """A row that cannot be measured here: a program is not installed."""


class TooBusy(Exception):
    """The machine does too much else for this row to mean anything."""


# --- cycles of Everdue ---------------------------------------------------------------------------

CURVE = "-curve"


def shared_broker(plan: Plan, store: str) -> Everdue:
    """A broker with the set of the plan, frozen while nobody uses it; guarded where the name of
    its store ends so."""
    if store not in plan.servers:
        everdue = plan.servers[store] = Everdue(
            plan.directory / f"everdue-{store}", store.removesuffix(CURVE), store.endswith(CURVE))
        everdue.load(plan.records, plan.mean_s)
        everdue.broker.freeze()
    server: Everdue = plan.servers[store]
    return server


@contextlib.contextmanager
def thawed(server: Any):
    """Let a server run meanwhile."""
    server.thaw()
    try:
        yield server
    finally:
        server.freeze()


def everdue_cycles(store: str, *options: object,
                   plugin: str = "reschedule") -> Callable[[Plan], Sample]:
    """Cycles a second with workers that are started with these options."""
    def measure(plan: Plan) -> Sample:
        everdue = shared_broker(plan, store)
        with thawed(everdue.broker):
            with workers(everdue, plan.mean_s, *options, plugin=plugin) as crew:
                time.sleep(plan.warm_s)
                window = crew.measure(plan.window_s)
            return Sample(window.cycles_per_s, window.details() | {
                "bytes_per_record": round(everdue.memory_per_record(), 1)})
    return measure


# --- cycles of others ----------------------------------------------------------------------------


def rival_cycles(kind: type[rivals.Rival], batch: int) -> Callable[[Plan], Sample]:
    """Cycles a second of a server, by its driver."""
    def measure(plan: Plan) -> Sample:
        if not rivals.is_installed(kind):
            raise Missing(f"needs {' and '.join(kind.needs)}")
        name = kind.__name__.lower()
        if name not in plan.servers:
            plan.servers[name] = kind(plan.directory / name, plan.records)
            plan.servers[name].freeze()
        with thawed(plan.servers[name]) as server:
            return Sample(server.cycle(plan.window_s, batch))
    return measure


def zeromq_cycles(count: int, batch: int, messages: int) -> Callable[[Plan], Sample]:
    """Cycles a second of bare sockets."""
    def measure(plan: Plan) -> Sample:
        return Sample(rivals.zeromq(plan.window_s, count, batch, messages))
    return measure


def heap_manager_cycles(plan: Plan) -> Sample:
    """Cycles a second of the method that Everdue replaces."""
    return Sample(rivals.heap_manager(plan.records, plan.window_s))


WIDE = ("-n", 2, "--credit", 2048)  # 4,096 in flight

CYCLES = [
    Row("memory", "Everdue, in memory, 4,096 in flight", "cycles/s",
        everdue_cycles("memory", *WIDE)),
    Row("durable", "Everdue, fsync before each acknowledgement", "cycles/s",
        everdue_cycles("lmdb", *WIDE)),
    Row("memory-curve", "Everdue, in memory, admitted by keys and encrypted", "cycles/s",
        everdue_cycles("memory" + CURVE, *WIDE), is_variant=True),
    Row("durable-curve", "Everdue, fsync and encrypted", "cycles/s",
        everdue_cycles("lmdb" + CURVE, *WIDE), in_quick=False, is_variant=True),
    Row("default", "Everdue, everything at its defaults (durable)", "cycles/s",
        everdue_cycles("lmdb"), is_variant=True),
    Row("one-by-one", "Everdue, in memory, one record a call, 256 in flight", "cycles/s",
        everdue_cycles("memory", "-n", 2, "--credit", 128, plugin="reschedule_one")),
    Row("one-in-flight", "Everdue, in memory, one record in flight", "cycles/s",
        everdue_cycles("memory", "-n", 1, "--credit", 1), group="ping-pong", is_variant=True),
    Row("zeromq-256", "raw ZeroMQ, batches of 256, 4,096 in flight", "cycles/s",
        zeromq_cycles(2, 256, 8)),
    Row("zeromq-1", "raw ZeroMQ, batches of 1, 256 in flight", "cycles/s",
        zeromq_cycles(2, 1, 128), is_variant=True),
    Row("zeromq-ping-pong", "raw ZeroMQ, one record in flight", "cycles/s",
        zeromq_cycles(1, 1, 1), group="ping-pong", is_variant=True),
    Row("redis-100", "Redis, Lua, in memory, batches of 100", "cycles/s",
        rival_cycles(rivals.Redis, 100)),
    Row("redis-1", "Redis, Lua, in memory, one by one", "cycles/s",
        rival_cycles(rivals.Redis, 1), in_quick=False, is_variant=True),
    Row("redis-aof-100", "Redis, log with fsync every second, 100", "cycles/s",
        rival_cycles(rivals.RedisAof, 100), is_variant=True),
    Row("redis-always-100", "Redis, log with fsync each time, 100", "cycles/s",
        rival_cycles(rivals.RedisAlways, 100), in_quick=False, is_variant=True),
    Row("beanstalkd-64", "beanstalkd, in memory, pipelined by 64", "cycles/s",
        rival_cycles(rivals.Beanstalkd, 64)),
    Row("beanstalkd-1", "beanstalkd, in memory, one by one", "cycles/s",
        rival_cycles(rivals.Beanstalkd, 1), in_quick=False, is_variant=True),
    Row("beanstalkd-log-64", "beanstalkd, log with fsync every 50 ms, 64", "cycles/s",
        rival_cycles(rivals.BeanstalkdLog, 64), is_variant=True),
    Row("beanstalkd-fsync-64", "beanstalkd, log with fsync each time, 64", "cycles/s",
        rival_cycles(rivals.BeanstalkdFsync, 64), in_quick=False, is_variant=True),
    Row("postgres-256", "PostgreSQL, SKIP LOCKED, 256", "cycles/s",
        rival_cycles(rivals.Postgres, 256)),
    Row("postgres-async-256", "PostgreSQL, the same, synchronous_commit off", "cycles/s",
        rival_cycles(rivals.PostgresAsync, 256), in_quick=False, is_variant=True),
    Row("heap-manager", "heap behind multiprocessing.managers", "cycles/s", heap_manager_cycles),
]
