"""Targets: what a row must reach, most of them in proportion to another row of the same run."""
from collections.abc import Callable
from dataclasses import dataclass

from rows import Row


@dataclass
class Target:
    """`value` of the rows named (ROW, or ROW.DETAIL) against `limit`."""

    text: str
    rows: tuple[str, ...]
    value: Callable[..., float]
    limit: float
    unit: str = "x"
    at_least: bool = True

    def judge(self, rows: dict[str, Row]) -> tuple[float, bool] | None:
        """The value, and whether it is good enough; None where a row was not measured."""
        numbers = []
        for name in self.rows:
            row, _, detail = name.partition(".")
            number = rows[row].number(detail) if row in rows and rows[row].samples else None
            if number is None:
                return None
            numbers.append(number)
        value = self.value(*numbers)
        return value, value >= self.limit if self.at_least else value <= self.limit


def ratio(text: str, row: str, other: str, limit: float) -> Target:
    """`row` reaches `limit` times `other`."""
    return Target(text, (row, other), lambda ours, theirs: ours / theirs, limit)


def most(text: str, row: str, limit: float, unit: str) -> Target:
    """`row` stays under `limit`."""
    return Target(text, (row,), float, limit, unit, at_least=False)


TARGETS = [
    ratio("in memory / Redis batched by 100", "memory", "redis-100", 12),
    ratio("in memory / beanstalkd pipelined by 64", "memory", "beanstalkd-64", 30),
    ratio("in memory / heap manager", "memory", "heap-manager", 120),
    ratio("in memory / raw ZeroMQ at 256", "memory", "zeromq-256", 0.2),
    ratio("durable / in memory", "durable", "memory", 0.7),
    ratio("durable / Redis with log every second", "durable", "redis-aof-100", 12),
    ratio("durable / beanstalkd with its log", "durable", "beanstalkd-log-64", 20),
    ratio("defaults / in memory", "default", "memory", 0.5),
    ratio("one in flight / ZeroMQ ping-pong", "one-in-flight", "zeromq-ping-pong", 0.8),
    Target("one by one, 256 in flight", ("one-by-one",), float, 400_000, "cycles/s"),
    most("lateness at 100,000/s, durable, p50", "lateness.p50_ms", 0.5, "ms"),
    most("lateness at 100,000/s, durable, p99", "lateness.p99_ms", 3, "ms"),
    most("longest stall beside sync, export, checkpoint", "lateness.disturbed_max_ms", 50, "ms"),
    most("idle worker: due to begin, p50", "wake-up", 0.3, "ms"),
    most("sync of 300,000 new records, durable", "sync", 1.2, "s"),
    most("sync of 300,000 unchanged records", "sync.unchanged_s", 0.6, "s"),
    most("memory per record, 300,000 synced", "sync.bytes_per_record", 160, "bytes"),
    most("memory per record, 300,000 cycled", "durable.bytes_per_record", 160, "bytes"),
    most("memory per record, 10 million cycled", "ten-million.bytes_per_record", 160, "bytes"),
    ratio("10 million records / 300,000, durable", "ten-million", "durable", 0.5),
    most("10 million: start to first dispatch", "ten-million.first_dispatch_s", 10, "s"),
    most("10 million: longest turn, loading", "ten-million.load_turn_ms_max", 10, "ms"),
    most("10 million: the same, its own CPU time", "ten-million.load_turn_cpu_ms_max", 10, "ms"),
    most("10 million: longest turn, export", "ten-million.export_turn_ms_max", 10, "ms"),
    most("10 million: the same, its own CPU time", "ten-million.export_turn_cpu_ms_max", 10, "ms"),
    ratio("command per record / bare posix_spawn", "command", "spawn", 0.85),
    most("idle broker", "idle", 0.5, "% of CPU"),
    most("bytes written a cycle at 100,000/s, durable", "written", 100, "bytes"),
]

# What explains a figure above, and is not ours to reach: text, ROW.DETAIL, unit.
REMARKS = [
    ("the disk's own longest fsync meanwhile (4 KiB)", "lateness.disturbed_disk_max_ms", "ms"),
]
