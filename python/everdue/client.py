"""A client: puts, reads and removes records, syncs sets, takes and reports by hand, asks and
controls.

Each call waits for its answer and raises where there is none. It may be used by many threads (one
call at a time) and after a fork: the child opens a connection of its own. Nothing runs in the
background; the connection is opened by the first call, and again after it was lost.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Any, Iterable, Iterator, Mapping

from . import results, values, wire
from .connection import Connection
from .curve import Curve
from .errors import Refused, TimedOut, Unreachable
from .leases import LeaseBook
from .records import Record, Task, put_item
from .sync import SyncCounts, run_sync
from .wire import Answer, Kind, Status

ENDPOINT = "tcp://127.0.0.1:7790"
HEARTBEAT_MS = 600_000  # of a client that only asks now and then
BUSY_S = 0.2
LIST_MAX = 500

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """See the top of the file.

    timeout: seconds that a call waits for its answer. queues: what `take` will take from, so that
    it need not say HELLO again. heartbeat_ms and leases are for those who hold leases that end with
    the session (compat.py).
    """

    def __init__(self, endpoint: str | None = None, *, timeout: float = 10.0,
                 queues: Iterable[str] = (), lease: values.Duration = 0, name: str | None = None,
                 curve: Curve | None = None, heartbeat_ms: int = HEARTBEAT_MS,
                 leases: LeaseBook | None = None) -> None:
        self.endpoint = endpoint or os.environ.get("EVERDUE_ENDPOINT") or ENDPOINT
        self.timeout = timeout
        self._options = {"queues": list(queues), "lease_ms": values.duration_ms(lease),
                         "heartbeat_ms": heartbeat_ms, "name": name, "curve": curve,
                         "leases": leases}
        self.lock = threading.RLock()
        self._connection: Connection | None = None
        _clients.add(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session. A later call begins another."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def forget_in_child(self) -> None:
        """After a fork, in the child: what the parent has is the parent's."""
        self.lock = threading.RLock()
        if self._connection is not None:
            self._connection.forget_in_child()
            self._connection = None

    @property
    def connection(self) -> Connection:
        """Hold `lock` while you use it."""
        if self._connection is None:
            self._connection = Connection(self.endpoint, **self._options)
        return self._connection

    # --- asking ---

    def call(self, kind: Kind, *fields: Any, wait_s: float | None = None,
             bound: bool = False) -> Answer:
        """A request and its answer, whatever its status. Raises Unreachable and TimedOut."""
        with self.lock:
            return self.wait(self.connection.post(kind, *fields, bound=bound), wait_s)

    def call_items(self, kind: Kind, *fields: Any, items: bytes, bound: bool = False) -> Answer:
        """The same for items that are packed already."""
        with self.lock:
            request = self.connection.draw_id()
            frame = wire.pack_before(kind, request, *fields, items=items)
            return self.wait(self.connection.post_frame(request, kind, frame, bound))

    def wait(self, request: int, wait_s: float | None = None) -> Answer:
        """The answer to a request of this client. One that is refused as `busy` is sent again."""
        with self.lock:
            connection = self.connection
            until_s = time.monotonic() + (self.timeout if wait_s is None else wait_s)
            about = connection.requests.get(request)
            try:
                while True:
                    answer = connection.take_answer(request)
                    now_s = time.monotonic()
                    if answer and answer.status == Status.BUSY and now_s + BUSY_S < until_s:
                        self.pause_s(BUSY_S)
                        connection.post_frame(request, about.kind, about.frame, about.bound)
                    elif answer:
                        return answer
                    elif now_s >= until_s:
                        raise self.silence()
                    else:
                        connection.turn(until_s - now_s)
            finally:
                connection.drop(request)

    def pause_s(self, seconds: float) -> None:
        """Let time pass, and serve the connection meanwhile."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self.connection.turn(left_s)

    def silence(self) -> Unreachable | TimedOut:
        """Why there was no answer. A host that vanished breaks no connection for a long time, so
        the next call begins with a new one; where there are leases heartbeats see to that."""
        if self.connection.is_open:
            if self.connection.leases is None:
                self.connection.renew()
            return TimedOut(f"{self.endpoint} did not answer within {self.timeout:g} s")
        return Unreachable(f"no broker at {self.endpoint} after {self.timeout:g} s. Is it running? "
                           "Try: everdue-broker, or: everdue dev")

    def tend(self) -> None:
        """One turn without waiting: heartbeats, touches, what came. For who holds leases."""
        with self.lock:
            self.connection.turn(0)

    def body(self, kind: Kind, *fields: Any, wait_s: float | None = None) -> Any:
        return checked(self.call(kind, *fields, wait_s=wait_s)).body

    def _statuses(self, kind: Kind, queue: str, items: Iterable) -> list[Status]:
        """The status of each item, over as many messages as it takes."""
        statuses: list[Status] = []
        for _, packed in wire.batches(items):
            statuses += map(Status, checked(self.call_items(kind, queue, items=packed)).body)
        return statuses

    # --- records ---

    def put(self, key: str, payload: Any = None, *, queue: str = "default",
            **members: Any) -> Status:
        """Add or change a record: CREATED, CHANGED, PENDING, or Refused is raised. What is not
        given is kept; a new record without `due` and `in_` is due now.

        members: due (a time), in_ (a duration), every (a duration; 0 clears), rank, group, once,
        memo. payload and memo: bytes as they are, anything else as JSON.
        """
        if "in_" in members:
            members["in"] = members.pop("in_")
        status = self.put_many([{"key": key, "payload": payload, **members}], queue=queue)[0]
        if status < 0:
            raise Refused(status, f"{key!r}: {wire.status_name(status)}")
        return status

    def put_many(self, records: Iterable[Mapping[str, Any]], *,
                 queue: str = "default") -> list[Status]:
        """Put many; the status of each, errors too. Members as in a line of `everdue sync`."""
        return self._statuses(Kind.PUT, queue, map(put_item, records))

    def get(self, key: str, *, queue: str = "default") -> Record | None:
        return self.get_many([key], queue=queue)[0]

    def get_many(self, keys: Iterable[str], *, queue: str = "default") -> list[Record | None]:
        """A record, or None where there is none, for each key."""
        found: list[Record | None] = []
        for _, packed in wire.batches(keys):
            for fields in checked(self.call_items(Kind.GET, queue, items=packed)).body:
                found.append(Record(fields, queue) if isinstance(fields, list) else None)
        return found

    def remove(self, *keys: str, queue: str = "default") -> list[Status]:
        """OK or NOT_FOUND for each."""
        return self._statuses(Kind.REMOVE, queue, keys)

    rm = remove

    def run_now(self, *keys: str, queue: str = "default") -> list[Status]:
        """OK, PENDING, PARKED (kick it) or NOT_FOUND for each."""
        return self._statuses(Kind.RUN_NOW, queue, keys)

    def kick(self, *keys: str, queue: str = "default") -> list[Status]:
        """OK, NOT_PARKED, LEASED or NOT_FOUND for each."""
        return self._statuses(Kind.KICK, queue, keys)

    def kick_all(self, *, queue: str = "default") -> int:
        """Bring back all parked records; how many."""
        return self.body(Kind.KICK, queue, None)

    def list(self, *, queue: str = "default", states: Iterable[str] = tuple(wire.STATES),
             prefix: str | None = None) -> Iterator[Record]:
        """Records in storage order, page by page. One that is there all the while comes once."""
        cursor: int | None = 0
        wanted = sum(wire.STATES[state] for state in states)
        while cursor is not None:
            cursor, page = self.body(Kind.LIST, queue, wanted, prefix, cursor, LIST_MAX)
            yield from (Record(fields, queue) for fields in page)

    def peek(self, count: int = 10, *, queue: str = "default") -> list[Record]:
        """The next ones by due."""
        return [Record(fields, queue) for fields in self.body(Kind.PEEK, queue, count)]

    def export(self, *, queue: str = "default") -> Iterator[dict[str, Any]]:
        """All records as mappings that `sync` and `put_many` take."""
        return (record.as_put() for record in self.list(queue=queue))

    def sync(self, records: Iterable[Mapping[str, Any]], *, queue: str = "default",
             prune: bool = False, prune_max: float = 0.2, spread: values.Duration | None = None,
             due_take: bool = False, dry_run: bool = False, skip_bad: bool = False) -> SyncCounts:
        """Make the queue equal to the set, or change nothing and raise. See sync.py."""
        return run_sync(self, records, queue, spread, due_take, skip_bad, prune, prune_max, dry_run)

    # --- by hand ---

    def queue_index(self, queue: str) -> int:
        """Its place in the session's list; a queue that is new there costs another HELLO."""
        with self.lock:
            queues = self.connection.queues
            if queue not in queues:
                queues.append(queue)
                self.connection.renew()
            return queues.index(queue)

    def take(self, count: int = 1, *, queue: str = "default", wait: values.Duration = 0,
             lease: values.Duration = 0) -> list[Task]:
        """Up to `count` due records, as soon as there is one, [] when the wait has ended. Their
        leases are ended by report, give_back or expiry, not by the end of this process."""
        wait_ms, index = values.duration_ms(wait), self.queue_index(queue)
        body = self.body(Kind.TAKE, index, count, wait_ms, values.duration_ms(lease), True,
                         wait_s=self.timeout + wait_ms / 1000)
        now_s = time.monotonic()
        return [Task(fields, self.connection.queues, now_s) for fields in body]

    def report(self, task: Task, result: Mapping[str, Any] | None = None) -> Status:
        """Report a task that was taken. OK; STALE or GONE: somebody else has it, or nobody."""
        item = results.report_item(task, result, 0, 0, 0)
        item[0] = self.queue_index(task.queue)
        return Status(self.body(Kind.REPORT, [item])[0])

    def touch(self, task: Task, lease: values.Duration = 0) -> Status:
        """Let the lease end so long from now; 0: as long as at the beginning."""
        lease_ms = values.duration_ms(lease) or task.lease_ms
        name = [self.queue_index(task.queue), task.key, task.lease]
        status = Status(self.body(Kind.TOUCH, lease_ms, [name])[0])
        if status == Status.OK:
            task.until_s = time.monotonic() + lease_ms / 1000
        return status

    def give_back(self, task: Task, begun: bool = False) -> Status:
        """Return the lease unreported; `begun` counts as a crash of the record."""
        name = [self.queue_index(task.queue), task.key, task.lease, begun]
        return Status(self.body(Kind.GIVE_BACK, [name])[0])

    # --- control and looking ---

    def pause(self, queue: str = "default") -> None:
        """Nothing more of it is handed out, across restarts too."""
        self.body(Kind.PAUSE, queue)

    def resume(self, queue: str | None = None) -> None:
        """End a pause; without a queue, a drain."""
        self.body(Kind.UNPAUSE, *([queue] if queue else []))

    def drain(self, wait: values.Duration = "60s") -> bool:
        """The broker hands out nothing more. True when no lease is out, False when `wait` ended."""
        wait_ms = values.duration_ms(wait)
        answer = self.call(Kind.DRAIN, wait_ms, wait_s=self.timeout + wait_ms / 1000)
        return answer.status != Status.TIMED_OUT and bool(checked(answer))

    def stats(self, queue: str | None = None) -> dict[str, int | str]:
        return self.body(Kind.STATS, *([queue] if queue else []))

    def workers(self) -> list[dict[str, Any]]:
        return self.body(Kind.WORKERS)

    def queues(self) -> list[dict[str, Any]]:
        return self.body(Kind.QUEUES)

    def backup(self, directory: str | os.PathLike[str], wait_s: float = 600) -> None:
        """A hot copy into a directory on the broker's host."""
        self.body(Kind.BACKUP, os.fspath(directory), wait_s=wait_s)

    def ping(self) -> float:
        """Seconds that a question takes (a list of queues: PING has no use without a session)."""
        began_s = time.monotonic()
        self.body(Kind.QUEUES)
        return time.monotonic() - began_s


def checked(answer: Answer) -> Answer:
    """The answer, when the request was carried out."""
    if answer.status == Status.UNREACHABLE:
        raise Unreachable(answer.text)
    if answer.status < 0:
        raise Refused(answer.status, answer.text or wire.status_name(answer.status))
    return answer


def _forget_in_child() -> None:
    for client in list(_clients):
        client.forget_in_child()


os.register_at_fork(after_in_child=_forget_in_child)
