"""Full sets: BEGIN, chunks, COMMIT. The queue becomes equal to the set, or nothing changes.

New records are added, known ones that differ are changed and keep due, memo and lease. What is not
in the set is kept, or removed with `prune`, if it is no more than the share `prune_max` of the
queue. `spread` parts new records that name no due time. `due_take` takes due times for known
records, too.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, NamedTuple

from . import values, wire
from .errors import Conflict, SyncRefused, TimedOut, Unreachable
from .records import put_item
from .wire import Answer, Kind, Status

if TYPE_CHECKING:
    from .client import Client

SHARE = 1_000_000  # prune_max travels in millionths
COMMIT_S = 120.0   # a large set is carried out in slices


class SyncCounts(NamedTuple):
    """What a sync did. `kept`: left alone, because they were put or removed since it began;
    `absent`: in the queue and not in the set; `due_now`: new, and neither due, spread nor every
    gave a time."""

    created: int
    changed: int
    unchanged: int
    rejected: int
    kept: int
    absent: int
    pruned: int
    due_now: int


class Staging:
    """The chunks of one sync: counted, summed up, each answered before the next goes out."""

    def __init__(self, client: Client, generation: int) -> None:
        self.client, self.generation = client, generation
        self.count = self.checksum = 0
        self.rejected: list[tuple[int, str, int]] = []

    def add(self, keys: list[str], packed: bytes) -> None:
        """Send one chunk while the broker's answer to the one before is on its way."""
        self.checksum = zlib.crc32(packed, self.checksum)
        answer = sync_checked(self.client.call_items(Kind.SYNC_CHUNK, self.generation, items=packed,
                                                     bound=True))
        for number, (key, status) in enumerate(zip(keys, answer.body), self.count + 1):
            if status < 0:
                self.rejected.append((number, key, status))
        self.count += len(keys)

    def check(self, skip_bad: bool) -> None:
        if self.rejected and not skip_bad:
            number, key, status = self.rejected[0]
            raise SyncRefused(status, f"record {number}, {key!r}: {wire.status_name(status)}; "
                              f"{len(self.rejected)} bad in all, nothing was changed",
                              self.rejected)


def run_sync(client: Client, records: Iterable[Mapping[str, Any]], queue: str,
             spread: values.Duration | None, due_take: bool, skip_bad: bool, prune: bool,
             prune_max: float, dry_run: bool) -> SyncCounts:
    """Raises SyncRefused (also for the first bad record, unless skip_bad), Conflict,
    Unreachable."""
    spread_us = None if spread is None else values.duration_us(spread)
    generation = sync_checked(begin(client, queue, spread_us, due_take)).body
    staging = Staging(client, generation)
    try:
        keys: list[str] = []
        for count, packed in wire.batches(items_of(records, keys)):
            staging.add(keys[:count], packed)
            del keys[:count]
            staging.check(skip_bad)
        answer = client.call(Kind.SYNC_COMMIT, generation, staging.count, staging.checksum, prune,
                             round(prune_max * SHARE), dry_run, wait_s=COMMIT_S)
        return SyncCounts(*sync_checked(answer).body)
    except BaseException:
        abort(client, generation)
        raise


def begin(client: Client, queue: str, spread_us: int | None, due_take: bool) -> Answer:
    """What is not answered in time may have begun all the same, under a name that nobody knows, and
    would stand in the way of every other sync: it ends with its session."""
    try:
        return client.call(Kind.SYNC_BEGIN, queue, spread_us, due_take, bound=True)
    except TimedOut:
        with client.lock:
            client.connection.renew()
        raise


def items_of(records: Iterable[Mapping[str, Any]], keys: list[str]) -> Iterator[list]:
    """Items of chunks; their keys are left in `keys`."""
    for record in records:
        item = put_item(record)
        keys.append(item[0])
        yield item


def abort(client: Client, generation: int) -> None:
    """Let another sync begin at once. When this is not possible the session's end does it."""
    try:
        client.call(Kind.SYNC_ABORT, generation, wait_s=1.0, bound=True)
    except Exception:  # the first fault is the one to be told
        pass


def sync_checked(answer: Answer) -> Answer:
    text = answer.text or wire.status_name(answer.status)
    if answer.status == Status.UNREACHABLE:
        raise Unreachable(f"{text}; nothing was changed, call again")
    if answer.status == Status.CONFLICT:
        raise Conflict(answer.status, text)
    if answer.status < 0:
        raise SyncRefused(answer.status, text)
    return answer
