"""Targets: what a row must reach, most of them in proportion to another row of the same run."""
from collections.abc import Callable
from dataclasses import dataclass

from rows import Row


@dataclass
class Target:
    """`value` of the rows named, against `limit`; None where a row is not there."""

    text: str
    rows: tuple[str, ...]
    value: Callable[..., float]
    limit: float
    unit: str = "x"
    at_least: bool = True

    def judge(self, rows: dict[str, Row]) -> tuple[float, bool] | None:
        """The value, and whether it is good enough."""
        if any(name not in rows or not rows[name].samples for name in self.rows):
            return None
        value = self.value(*(rows[name].median for name in self.rows))
        return value, value >= self.limit if self.at_least else value <= self.limit


def ratio(text: str, row: str, other: str, limit: float) -> Target:
    """`row` reaches `limit` times `other`."""
    return Target(text, (row, other), lambda ours, theirs: ours / theirs, limit)


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
]
