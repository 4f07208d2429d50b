"""Records as clients put and read them, and tasks as workers get them."""

from __future__ import annotations

import base64
import datetime
import time
from typing import Any

from . import values
from .wire import STATES, as_bytes, as_text, trim

STATE_NAMES = {number: name for name, number in STATES.items()}
MEMBERS = frozenset(["key", "due", "due_ms", "in", "every", "rank", "group", "once", "payload",
                     "payload_b64", "memo", "memo_b64"])


class Body:
    """What tasks and records have in common."""

    __slots__ = ()

    @property
    def payload(self) -> Any:
        """What the source says: its JSON value, its bytes where it is no JSON, else None."""
        return values.from_payload(self.payload_bytes)

    @property
    def memo(self) -> Any:
        """What the last report left for the next run, in the same way."""
        return values.from_payload(self.memo_bytes)

    @property
    def due(self) -> datetime.datetime:
        return values.to_datetime(self.due_us)


class Task(Body):
    """A record that is out at this process: what a handler gets.

    Numbers end with their unit. `lease` only ever grows, so it can be handed on as a fence.
    """

    __slots__ = ("qi", "key", "lease", "state", "due_us", "lateness_us", "failures", "crashes",
                 "lease_ms", "payload_bytes", "memo_bytes", "group", "every_us", "rank", "once",
                 "queue", "arrived_s", "until_s", "begun_s", "cancelled")

    def __init__(self, fields: list, queues: list[str], now_s: float) -> None:
        (self.qi, self.key, self.lease, self.state, self.due_us, self.lateness_us, self.failures,
         self.crashes, self.lease_ms, payload, memo, group, every, self.rank) = fields[:14]
        self.once = bool(fields[14]) if len(fields) > 14 else False
        self.payload_bytes: bytes | None = as_bytes(payload)
        self.memo_bytes: bytes | None = as_bytes(memo)
        self.group: str | None = as_text(group)
        self.every_us: int = every or 0
        self.key: str = as_text(self.key)
        self.queue = queues[self.qi]
        self.arrived_s = now_s  # monotonic
        self.until_s = now_s + self.lease_ms / 1000  # monotonic; moves when the lease is touched
        self.begun_s = 0.0      # monotonic; when the handler began, 0: not yet
        self.cancelled = False  # the lease has ended otherwise: stop when it is convenient

    @property
    def lateness_ms(self) -> float:
        """The moment of dispatch minus due."""
        return self.lateness_us / 1000

    @property
    def every_ms(self) -> float | None:
        return self.every_us / 1000 if self.every_us else None

    @property
    def deadline_ms(self) -> float:
        """What remains of the lease now. It is extended while the handler runs."""
        return (self.until_s - time.monotonic()) * 1000

    def fields(self) -> list:
        """As in a TASKS message."""
        return trim([self.qi, self.key, self.lease, self.state, self.due_us, self.lateness_us,
                     self.failures, self.crashes, self.lease_ms, self.payload_bytes,
                     self.memo_bytes, self.group, self.every_us, self.rank, self.once or None])

    def __repr__(self) -> str:
        return f"<Task {self.queue}/{self.key} lease {self.lease}>"


class Record(Body):
    """A record as the broker tells it. Times are microseconds since the epoch, UTC."""

    __slots__ = ("queue", "key", "status", "due_us", "every_us", "rank", "group", "once",
                 "failures", "crashes", "state", "payload_bytes", "memo_bytes", "note", "error",
                 "park_reason", "parked_us", "last_worker")

    def __init__(self, fields: list, queue: str) -> None:
        self.queue = queue
        (key, self.status, self.due_us, self.every_us, self.rank, group, self.once, self.failures,
         self.crashes, self.state, payload, memo, note, error, reason, self.parked_us,
         worker) = (fields + [None] * 17)[:17]
        self.key: str = as_text(key)
        self.payload_bytes: bytes | None = as_bytes(payload)
        self.memo_bytes: bytes | None = as_bytes(memo)
        self.group, self.note, self.error = as_text(group), as_text(note), as_text(error)
        self.park_reason, self.last_worker = as_text(reason), as_text(worker)

    @property
    def state_name(self) -> str:
        """waiting, ready, leased or parked."""
        return STATE_NAMES.get(self.status, str(self.status))

    def fields(self) -> list:
        """As in an answer to GET, LIST or PEEK."""
        return trim([self.key, self.status, self.due_us, self.every_us, self.rank, self.group,
                     self.once, self.failures, self.crashes, self.state, self.payload_bytes,
                     self.memo_bytes, self.note, self.error, self.park_reason, self.parked_us,
                     self.last_worker])

    def as_put(self) -> dict[str, Any]:
        """What `sync` reads: this record for the same or another broker."""
        members = {"key": self.key, "due": self.due, "every": self.every_us / 10**6,
                   "rank": self.rank, "group": self.group, "once": self.once,
                   "payload": self.payload_bytes, "memo": self.memo_bytes}
        return {name: value for name, value in members.items() if value or name == "key"}

    def __repr__(self) -> str:
        due = values.to_rfc3339(self.due_us)
        return f"<Record {self.queue}/{self.key} {self.state_name} due {due}>"


def put_item(record: dict[str, Any]) -> list:
    """The item of a PUT or a SYNC_CHUNK, from members as a line of `everdue sync` has them.

    A payload or memo that is bytes goes as it is, anything else as JSON. ValueError and TypeError
    name what is wrong.
    """
    unknown = record.keys() - MEMBERS
    if unknown:
        raise ValueError(f"unknown member {sorted(unknown)[0]!r} in {record!r}")
    item = [record["key"], due_of(record), optional(values.duration_us, record.get("in")),
            optional(values.duration_us, record.get("every")), record.get("rank"),
            record.get("group"), record.get("once"), data_of(record, "payload"),
            data_of(record, "memo")]
    return trim(item)


def optional(convert, value):
    return None if value is None else convert(value)


def due_of(record: dict[str, Any]) -> int | None:
    if record.get("due_ms") is not None:
        return values.bounded_us(record["due_ms"] * 1000, record["due_ms"])
    return optional(values.time_us, record.get("due"))


def data_of(record: dict[str, Any], name: str) -> bytes | None:
    """A payload or memo in one of its two forms."""
    coded = record.get(name + "_b64")
    if coded is None:
        return values.to_payload(record.get(name))
    if record.get(name) is not None:
        raise ValueError(f"both {name} and {name}_b64 in {record!r}")
    return base64.b64decode(coded, validate=True)
