"""A heap that many processes share, as one behind multiprocessing.managers: sync, pop, push.

    heap = HeapManager("tcp://127.0.0.1:7790", comparer=lambda box: box["volume"])
    heap.sync(boxes)          # replaces the set
    box = heap.pop()          # the smallest, None when there is none
    heap.push(box)            # back, with its new content and its new place

What differs from a heap in a process: it is on disk; what was popped and not pushed back is
consumed when this thread pops again or the manager is closed, and comes back if the process dies
before; `sync` does not double what is out at a worker. A background thread keeps the lease as long
as you work. A record has a key (`key(record)`, else `.id` or `["id"]`, else a hash of its content),
and there is one record of a key.

A process that is fast takes records ahead of its pops, and does not wait for the answers to its
pushes: `prefetch` and `wait` of HeapManager say what that means, and switch it off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import threading
import time
import weakref
from typing import Any, Callable, Iterable

from . import content, values, wire
from .ahead import REPORTED_MAX, HeapBook
from .client import BUSY_S, Client, checked
from .curve import Curve
from .errors import Conflict, EverdueError, Refused
from .keeper import CLOSE_S, Session
from .records import Task
from .wire import Kind, Status

HEARTBEAT_MS = 5000
PREFETCH = 64

_managers: weakref.WeakSet[HeapManager] = weakref.WeakSet()


@dataclasses.dataclass
class Out:
    """A record that was popped and neither pushed back nor consumed."""

    task: Task
    record: Any


class HeapManager:
    """See the top of the file. For many threads and, after a fork, for the child as well, which
    opens a connection of its own.

    comparer: a function of a record that gives its place, an int or a float (of one kind for all);
    the smallest is popped first. None: the order of arrival. timeout: seconds to wait for the
    broker. lease: how long a record stays out after its process was cut off.

    prefetch: how many records a process that is fast may have taken before it pops them: at most
    what it works on within 50 ms, none when it is slower than 25 ms a record. They count as out,
    are given back when it does not come to them, and what others push meanwhile comes after them;
    what this process pushes does not. 0 or 1: none, pop asks the broker each time.

    wait: whether `push` of what was popped waits until the broker has it on disk. False: it is
    sent with others, again until it is acknowledged, and `flush` waits; until then a death of this
    process gives the record back as it was.
    """

    def __init__(self, endpoint: str, comparer: Callable[[Any], int | float] | None = None,
                 key: Callable[[Any], Any] | None = None, queue: str = "default", *,
                 timeout: float = 30.0, lease: values.Duration = "60s", prefetch: int = PREFETCH,
                 wait: bool = False, curve: Curve | None = None) -> None:
        self._arguments = (endpoint, comparer, key, queue)
        self._options = {"timeout": timeout, "lease": lease, "prefetch": prefetch, "wait": wait,
                         "curve": curve}
        self._comparer, self._key, self._queue = comparer, key, queue
        self._wait = wait
        self._kind: type | None = None  # of what the comparer gave so far
        self._begin()
        _managers.add(self)

    def _begin(self) -> None:
        options = self._options
        self._book = HeapBook(options["prefetch"])
        self._client = Client(self._arguments[0], queues=[self._queue], heartbeat_ms=HEARTBEAT_MS,
                              leases=self._book, timeout=options["timeout"],
                              lease=options["lease"], curve=options["curve"])
        self._session = Session(self, self._client, self._book)
        self._outs: dict[int, Out] = {}  # by thread

    def __reduce__(self) -> tuple:
        # Sent to another process (spawn) it is another session on the same heap.
        return _make, (type(self), self._arguments, self._options)

    # --- the heap ---

    def sync(self, records: Iterable[Any]) -> None:
        """Replace the set by these. What is not among them is removed; what is out at a worker
        stays there, once. Two contents under one key are a ValueError."""
        puts: dict[str, dict[str, Any]] = {}
        for record in records:
            payload, rank = content.encode(record), self._rank(record)
            key = self._key_of(record, payload)
            put = {"key": key, "payload": payload, "rank": rank}
            if puts.setdefault(key, put) != put:
                raise ValueError(f"two records have the key {key!r}; pass a key function")
        self._raise_fault()
        self._put_back()
        until_s = time.monotonic() + self._client.timeout
        while True:
            try:
                self._client.sync(puts.values(), queue=self._queue, prune=True, prune_max=1.0)
                self._put_back()  # what another thread took ahead of the old set
                return
            except Conflict:  # another process replaces it at this moment
                if time.monotonic() >= until_s:
                    raise
                time.sleep(0.05)

    def pop(self) -> Any:
        """The smallest record, None when nothing is there. The one before is consumed."""
        with self._client.lock:
            self._raise_fault()
            self._await_room()
            self._consume(self._outs.pop(threading.get_ident(), None))
            try:
                task = self._next_task()
            finally:
                self._session.tend_soon()
        if task is None:
            return None
        try:
            record = content.decode(task.payload_bytes)
        except Exception as error:
            # Nobody here can read it: set it aside with its reason rather than lose it.
            self._report(task, 2, error=str(error))
            raise
        record = task.key if record is None else record
        with self._client.lock:
            self._outs[threading.get_ident()] = Out(task, record)
        return record

    def push(self, record: Any) -> bool:
        """Put a record in, or back: with its new content and place, due at once. False: it was
        popped, and has been removed or given to somebody else since (by a sync; after this process
        was cut off for longer than a lease). Without `wait` that is often known later: see
        `flush`."""
        payload, rank = content.encode(record), self._rank(record)
        key = self._key_of(record, payload)
        with self._client.lock:
            self._raise_fault()
            for thread, out in self._outs.items():
                if out.record is record or out.task.key == key:
                    return self._push_back(thread, out.task, payload, rank)
            self._put_back(key)
            self._client.put(key, payload, queue=self._queue, in_=0, rank=rank)
            self._book.note_rank(rank)
        return True

    def flush(self) -> list[str]:
        """Wait until the broker has all that was pushed on disk. The keys of what was pushed since
        the last flush, but had been removed or given to somebody else meanwhile."""
        with self._client.lock:
            self._session.settle(self._client.timeout)
            self._raise_fault()
            lost, self._book.lost = self._book.lost, []
            return lost

    def close(self) -> None:
        """Consume what is out, wait for what was pushed, and end the session. A later call begins
        another."""
        with self._client.lock:
            session, book = self._session, self._book
            try:
                for out in self._outs.values():
                    self._consume(out)
                # Without an answer what was consumed comes back, which is what the broker promises.
                session.settle(self._client.timeout if book.is_pushing() else CLOSE_S)
                self._raise_fault()
            finally:
                session.end()
                self._begin()

    def __enter__(self) -> HeapManager:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        # The work on what is out has failed: it goes back, and counts as a crash.
        with self._client.lock:
            for out in self._outs.values():
                self._book.give_back(out.task, True)
            self._outs.clear()
            with contextlib.suppress(EverdueError):  # the exception of the block says more
                self.close()

# --- what a BaseManager has, so that its users need not change ---

    def start(self) -> None:
        """Nothing is to be started: the broker is there already."""

    connect = start
    shutdown = close

    @classmethod
    def register(cls, name: str, *_: Any, **__: Any) -> None:
        """As BaseManager.register: `manager.name()` is the heap, which is this manager itself."""
        setattr(cls, name, lambda self, *_, **__: self)

    # --- places and keys ---

    def _rank(self, record: Any) -> int:
        if self._comparer is None:
            return 0
        value = self._comparer(record)
        kind = float if isinstance(value, float) else int
        rank = to_rank(value)
        if self._kind not in (None, kind):
            raise TypeError(f"the comparer gave a {kind.__name__}, {value!r}, and others of "
                            "another kind before; int and float have no common order here, use "
                            "float()")
        self._kind = kind
        return rank

    def _key_of(self, record: Any, payload: bytes) -> str:
        if self._key is not None:
            return str(self._key(record))
        if isinstance(record, dict):
            found = record.get("id")
        else:
            found = getattr(record, "id", None)
        return content.content_key(payload) if found is None else str(found)

    # --- popping ---

    def _next_task(self) -> Task | None:
        """The least record. Nothing is there only when a TAKE says so that was sent in this call,
        after all pushes of this process were acknowledged."""
        book, connection = self._book, self._client.connection
        until_s = time.monotonic() + self._client.timeout
        own_take = 0  # the one of this call
        connection.read()
        while True:
            task = book.first()
            if task is not None and book.may_pop(task):
                now_s = time.monotonic()
                book.pop(now_s)
                book.looks = book.looks if own_take else 1
                if book.is_low():
                    self._ask(book.to_fill(now_s))
                return task
            has_looked = own_take and own_take == book.last_take
            if task is None and has_looked and book.low == float("inf"):
                return None
            if connection.is_open and book.take is None:
                self._heed_refusal()
                least_unseen = has_looked or (task is not None and book.low < task.rank)
                if not (least_unseen and book.is_pushing()):
                    own_take = self._ask(book.to_look() if task else
                                         book.to_fill(time.monotonic()))
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise self._client.silence()
            connection.turn(left_s)

    def _ask(self, count: int) -> int:
        """Send a TAKE after the reports; its id, 0 when the connection was lost."""
        book, connection = self._book, self._client.connection
        book.trim_ahead()
        connection.flush()
        if not connection.is_open:
            return 0
        take = connection.tell(Kind.TAKE, 0, count, 0, 0, False)
        book.begin_take(take, count)
        return take

    def _heed_refusal(self) -> None:
        """A TAKE was refused: wait a little for a broker that is busy, else say so."""
        answer, self._book.refused_take = self._book.refused_take, None
        if answer and answer.status == Status.BUSY:
            self._client.pause_s(BUSY_S)
        elif answer:
            checked(answer)

    def _put_back(self, key: str | None = None) -> None:
        """What is held ahead (the record of this key) becomes the broker's again, before it is
        changed."""
        with self._client.lock:
            book, connection = self._book, self._client.connection
            self._session.serve(lambda: book.take is None, self._client.timeout)
            book.give_back_ahead(key)
            connection.flush()

    # --- reporting ---

    def _consume(self, out: Out | None) -> None:
        """It was used: remove it. Goes out with others and is sent until acknowledged."""
        if out is not None:
            self._send(out.task, 3)

    def _push_back(self, thread: int, task: Task, payload: bytes, rank: int) -> bool:
        bytes_max = self._client.connection.limits.get("payload_max") or len(payload)
        if len(payload) > bytes_max:
            raise Refused(Status.TOO_LARGE, f"{task.key!r}: {len(payload)} bytes are more than "
                                            f"the {bytes_max} that the broker takes")
        if self._wait or task.cancelled:
            del self._outs[thread]
            return self._report(task, 0, payload, rank) == Status.OK
        self._await_room()
        del self._outs[thread]
        is_held = self._book.find(task) is not None
        self._send(task, 0, payload, rank)
        return is_held

    def _await_room(self) -> None:
        book = self._book
        if len(book.reported) >= REPORTED_MAX:
            if not self._session.serve(lambda: len(book.reported) < REPORTED_MAX,
                                       self._client.timeout):
                raise self._client.silence()

    def _send(self, task: Task, outcome: int, payload: bytes | None = None,
              rank: int | None = None, error: str | None = None) -> None:
        """A report, with others when enough have come together."""
        waited_us = int((task.begun_s - task.arrived_s) * 1e6)
        ran_us = int((time.monotonic() - task.begun_s) * 1e6)
        item = [task.qi, task.key, task.lease, task.state, outcome, None,
                0 if outcome == 0 else None, waited_us, ran_us, None, payload, rank, None, error]
        self._book.push(task, item, float("inf") if rank is None else rank)
        if self._book.is_to_be_sent():
            self._client.connection.flush()
        self._session.tend_soon()

    def _report(self, task: Task, outcome: int, payload: bytes | None = None,
                rank: int | None = None, error: str | None = None) -> int:
        """Report and wait for the verdict. Without one the report stays in the outbox."""
        with self._client.lock:
            book = self._book
            if book.find(task) is None:
                return Status.GONE  # the broker has another store
            book.wanted.add(task.lease)
            try:
                self._send(task, outcome, payload, rank, error)
                self._client.connection.flush()
                if not self._session.serve(lambda: task.lease in book.verdicts,
                                           self._client.timeout):
                    raise self._client.silence()
                status = book.verdicts[task.lease]
            finally:
                book.wanted.discard(task.lease)
                book.verdicts.pop(task.lease, None)
        if status < 0 and status not in (Status.STALE, Status.GONE):
            raise refusal(task.key, status)
        return status

    def _raise_fault(self) -> None:
        """What the broker found wrong with an earlier push."""
        faults, self._book.faults = self._book.faults, []
        if faults:
            raise refusal(*faults[0], more=len(faults) - 1)

    def _forget_in_child(self) -> None:
        """The child of a fork: what is out is out at the parent."""
        self._begin()


def refusal(key: str, status: int, more: int = 0) -> Refused:
    others = f" (and {more} more)" if more else ""
    return Refused(status, f"{key!r}: {wire.status_name(status)}{others}; it was popped, and comes "
                           "back as it was")


def to_rank(value: int | float) -> int:
    """The rank of what a comparer gave: an int is its own, a float is mapped so that order is
    kept."""
    if isinstance(value, float):
        if value != value:
            raise TypeError("the comparer gave nan, which has no place in an order")
        # As integers the bits of floats are in order, but for the negative ones, which run
        # backwards. Adding 0.0 makes one zero of two.
        bits = struct.unpack(">q", struct.pack(">d", value + 0.0))[0]
        return bits if bits >= 0 else bits ^ wire.RANK_MAX
    if not isinstance(value, int):
        raise TypeError(f"the comparer gave {value!r}; it must give an int or a float")
    if not wire.RANK_MIN <= value <= wire.RANK_MAX:
        raise TypeError(f"the comparer gave {value!r}, which does not fit into 64 bits; use "
                        "float()")
    return int(value)


def _make(cls: type, arguments: tuple, options: dict) -> HeapManager:
    return cls(*arguments, **options)


def _forget_in_child() -> None:
    for manager in list(_managers):
        manager._forget_in_child()


os.register_at_fork(after_in_child=_forget_in_child)
