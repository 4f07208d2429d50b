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
"""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
import time
import weakref
from typing import Any, Callable, Iterable

from . import content, values, wire
from .client import Client
from .curve import Curve
from .errors import Conflict, EverdueError
from .leases import LeaseBook
from .records import Task
from .wire import Kind, Status

TICK_S = 0.5        # the keeper looks after the connection so often,
HURRY_S = 0.02      # and so often while it is lost: leases are to be announced within a grace
HEARTBEAT_MS = 5000
CLOSE_S = 5.0
RUN_S_MAX = float("inf")  # a lease is kept as long as its process lives

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
    """

    def __init__(self, endpoint: str, comparer: Callable[[Any], int | float] | None = None,
                 key: Callable[[Any], Any] | None = None, queue: str = "default", *,
                 timeout: float = 30.0, lease: values.Duration = "60s",
                 curve: Curve | None = None) -> None:
        self._arguments = (endpoint, comparer, key, queue)
        self._options = {"timeout": timeout, "lease": lease, "curve": curve}
        self._endpoint, self._comparer, self._key, self._queue = self._arguments
        self._kind: type | None = None  # of what the comparer gave so far
        self._begin()
        _managers.add(self)

    def _begin(self) -> None:
        self._book = LeaseBook(RUN_S_MAX)
        self._client = Client(self._endpoint, queues=[self._queue], heartbeat_ms=HEARTBEAT_MS,
                              leases=self._book, **self._options)
        self._outs: dict[int, Out] = {}  # by thread
        self._keeper: threading.Thread | None = None
        self._ended = threading.Event()

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
        until_s = time.monotonic() + self._client.timeout
        while True:
            try:
                self._client.sync(puts.values(), queue=self._queue, prune=True, prune_max=1.0)
                return
            except Conflict:  # another process replaces it at this moment
                if time.monotonic() >= until_s:
                    raise
                time.sleep(0.05)

    def pop(self) -> Any:
        """The smallest record, None when nothing is there. The one before is consumed."""
        with self._client.lock:
            self._keep()
            self._consume(self._outs.pop(threading.get_ident(), None))
            body = self._client.body(Kind.TAKE, 0, 1, 0, 0, False)
            if not body:
                return None
            now_s = time.monotonic()
            task = Task(body[0], [self._queue], now_s)
            self._book.grant(task, now_s)
            task.begun_s = now_s
        try:
            record = content.decode(task.payload_bytes)
        except Exception as error:
            # Nobody here can read it: set it aside with its reason rather than lose it.
            self._report(task, 2, error=str(error))
            raise
        record = task.key if record is None else record
        self._outs[threading.get_ident()] = Out(task, record)
        return record

    def push(self, record: Any) -> bool:
        """Put a record in, or back: with its new content and place, due at once. False: it was
        popped, and has been removed or given to somebody else since (by a sync; after this process
        was cut off for longer than a lease)."""
        payload, rank = content.encode(record), self._rank(record)
        key = self._key_of(record, payload)
        with self._client.lock:
            for thread, out in self._outs.items():
                if out.record is record or out.task.key == key:
                    del self._outs[thread]
                    return self._report(out.task, 0, payload, rank) == Status.OK
            self._client.put(key, payload, queue=self._queue, in_=0, rank=rank)
        return True

    def close(self) -> None:
        """Consume what is out and end the session. A later call begins another."""
        with self._client.lock:
            self._ended.set()
            for out in self._outs.values():
                self._consume(out)
            self._outs.clear()
            try:
                self._serve(lambda: not self._book.held, CLOSE_S)
            except EverdueError:
                pass  # what is not acknowledged comes back, which is what the broker promises
            self._client.close()
        self._begin()

    def __enter__(self) -> HeapManager:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            # The work on what is out has failed: it goes back, and counts as a crash.
            with self._client.lock:
                for out in self._outs.values():
                    self._book.give_back(out.task, True)
                self._outs.clear()
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

    # --- leases ---

    def _consume(self, out: Out | None) -> None:
        """It was used: remove it. Goes out with the next message and is sent until acknowledged."""
        if out is not None:
            self._book.report(out.task, [out.task.qi, out.task.key, out.task.lease, out.task.state,
                                         3, None, None, 0, self._ran_us(out.task)])
            self._client.connection.flush()

    def _ran_us(self, task: Task) -> int:
        return int((time.monotonic() - task.begun_s) * 1e6)

    def _report(self, task: Task, outcome: int, payload: bytes | None = None,
                rank: int | None = None, error: str | None = None) -> int:
        """Report and wait for the verdict. Without one the report stays in the outbox."""
        item = [task.qi, task.key, task.lease, task.state, outcome, None,
                0 if outcome == 0 else None, 0, self._ran_us(task), None, payload, rank, None,
                error]
        with self._client.lock:
            if self._book.find(task) is None:
                return Status.GONE  # the broker has another store
            wanted, verdicts = self._book.wanted, self._book.verdicts
            wanted.add(task.lease)
            try:
                self._book.report(task, wire.trim(item))
                self._client.connection.flush()
                self._serve(lambda: task.lease in verdicts, self._client.timeout)
                if task.lease not in verdicts:
                    raise self._client.silence()
                return verdicts[task.lease]
            finally:
                wanted.discard(task.lease)
                verdicts.pop(task.lease, None)

    def _serve(self, is_done: Callable[[], bool], seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not is_done() and (left_s := until_s - time.monotonic()) > 0:
            self._client.connection.turn(left_s)

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=keep, name="everdue heap", daemon=True,
                                            args=(weakref.ref(self), self._client, self._ended))
            self._keeper.start()

    def _forget_in_child(self) -> None:
        """The child of a fork: what is out is out at the parent."""
        self._begin()


def keep(manager: weakref.ref, client: Client, ended: threading.Event) -> None:
    """Heartbeats, touches and reconnection while the process works on what it popped."""
    pause_s = TICK_S
    while not ended.wait(pause_s) and manager() is not None:
        with client.lock:
            if ended.is_set():
                return
            try:
                client.tend()
            except EverdueError:
                pass  # the next call says it
            pause_s = TICK_S if client.connection.is_open else HURRY_S


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
