"""The leases of one session: a worker's half of the protocol, without clock and socket.

         granted             begin              report                 answered
   o --------------> QUEUED ---------> RUNNING ---------> in the outbox ----------> (gone)
                       |                  |                    ^    | lost connection,
                       +---- give back ---+                    +----+ or `busy`: again
                                |
                             (gone)

Each lease stays here until its report has been answered or it has been given back; `Task.begun_s`
tells the first two states apart, and `Task.cancelled` says that the lease has ended otherwise.
Times are monotonic seconds and come from the caller, as in the broker's core.
"""

from __future__ import annotations

import collections
from typing import Any

from . import wire
from .records import Task
from .wire import Kind, Status

MESSAGE_BYTES = 512 << 10  # reports are gathered up to about here; a frame has 1 MiB at most
RETRY_S = 1.0


class Held:
    """One lease."""

    __slots__ = ("task", "item", "retry_s", "announced")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.item: list | None = None  # the report, once there is one
        self.retry_s = 0.0             # do not send it before
        self.announced = False         # and the answer is to come


class LeaseBook:
    """What a session holds, what is to be sent for it, and what was answered.

    `run_s_max`: leases that run longer than this are no longer touched.
    """

    def __init__(self, run_s_max: float) -> None:
        self.run_s_max = run_s_max
        self.lease_s = 60.0
        self.held: dict[int, Held] = {}
        self.arrived: collections.deque[Task] = collections.deque()  # granted, not yet looked at
        self.fresh: list[Held] = []       # reports that were never sent, or are to be sent again
        self.later: list[Held] = []       # reports that wait until their retry_s
        self.returned: list[list] = []    # items of GIVE_BACK
        self.asked: dict[int, tuple[Kind, list[Held]]] = {}  # requests under way
        self.wanted: set[int] = set()       # leases whose verdict somebody waits for,
        self.verdicts: dict[int, int] = {}  # and the answers to their reports
        self.touch_s = 0.0
        self.refused: collections.Counter[int] = collections.Counter()  # answers to reports

    # --- what happened ---

    def grant(self, task: Task, now_s: float) -> None:
        """A task came."""
        if not self.held:
            self.touch_s = now_s + self.lease_s / 3
        self.held[task.lease] = Held(task)
        self.arrived.append(task)

    def find(self, task: Task) -> Held | None:
        """By the task itself: another store may use the number of its lease again."""
        held = self.held.get(task.lease)
        return held if held is not None and held.task is task else None

    def report(self, task: Task, item: list) -> None:
        """A run has ended: the item of its REPORT, which goes out with the next messages."""
        held = self.find(task)
        if held is not None and held.item is None:
            held.item = item
            self.fresh.append(held)

    def give_back(self, task: Task, begun: bool) -> None:
        """Return a lease unreported. When this is lost with the connection the broker takes the
        lease back by itself, because it is announced no more."""
        held = self.find(task)
        if held is not None and held.item is None:
            del self.held[task.lease]
            if not task.cancelled:
                self.returned.append([task.qi, task.key, task.lease, begun])

    def cancel(self, leases: list[int]) -> None:
        """These have ended otherwise. What runs may go on and report; what has not begun is not
        to begin."""
        for lease in leases:
            held = self.held.get(lease)
            if held is not None:
                held.task.cancelled = True

    def told_ended(self, leases: list[int]) -> None:
        """CANCEL. For what is announced it was sent before that was read: the answer, which comes
        behind, says whether the lease goes on."""
        self.cancel([lease for lease in leases
                     if (held := self.held.get(lease)) is not None and not held.announced])

    def forget(self) -> None:
        """The broker has another store: nothing that is held means anything to it."""
        self.cancel(list(self.held))
        self.verdicts.update(dict.fromkeys(self.wanted, Status.GONE))
        for name in (self.held, self.arrived, self.fresh, self.later, self.returned, self.asked):
            name.clear()

    # --- what is to be sent ---

    def to_resume(self) -> list[list]:
        """Items of RESUME. Call it when a connection begins: what was under way is sent again."""
        self.asked.clear()
        self.returned.clear()
        self.fresh = [held for held in self.held.values() if held.item is not None]
        self.later.clear()
        self.touch_s = 0.0
        for held in self.held.values():
            held.announced = held.item is not None or not held.task.cancelled
        return [[held.task.qi, held.task.key, held.task.lease, held.task.state]
                for held in self.held.values() if held.announced]

    def reports(self, now_s: float) -> tuple[list[list], list[Held]] | None:
        """The next REPORT's items, or None. `sent` them with the request's id."""
        if self.later and self.later[0].retry_s <= now_s:
            self.fresh += [held for held in self.later if held.retry_s <= now_s]
            self.later = [held for held in self.later if held.retry_s > now_s]
        if not self.fresh:
            return None
        count, size = 0, 0
        for held in self.fresh:
            size += 100 + sum(len(field) for field in held.item if isinstance(field, (bytes, str)))
            if count and (size > MESSAGE_BYTES or count == wire.ITEMS_MAX):
                break
            count += 1
        batch, self.fresh = self.fresh[:count], self.fresh[count:]
        return [held.item for held in batch], batch

    def touches(self, now_s: float) -> list[Held]:
        """Leases to be touched now. All are, at a third of a lease, until their run has lasted too
        long: so none expires that waits behind a slow one."""
        if not self.held or now_s < self.touch_s:
            return []
        self.touch_s = now_s + self.lease_s / 3
        return [held for held in self.held.values()
                if held.item is None and not held.task.cancelled
                and not self.is_overdue(held.task, now_s)]

    def is_overdue(self, task: Task, now_s: float) -> bool:
        return bool(task.begun_s) and now_s - task.begun_s >= self.run_s_max

    def next_s(self) -> float:
        """When there will be something to send, if nothing happens before; infinity for never."""
        times = [held.retry_s for held in self.later[:1]]
        if self.held:
            times.append(self.touch_s)
        return min(times, default=float("inf"))

    def sent(self, request: int, kind: Kind, held: list[Held]) -> None:
        """A request about these has gone out."""
        self.asked[request] = kind, held

    # --- what was answered ---

    def answered(self, request: int, answer: wire.Answer, now_s: float) -> Kind | None:
        """An answer to a REPORT, TOUCH, RESUME or TAKE, which it returns; others are no concern of
        this."""
        kind, batch = self.asked.pop(request, (None, []))
        statuses: list[Any] = answer.body if answer.status == Status.OK else []
        if answer.status != Status.OK:
            statuses = [answer.status] * len(batch)
        for held, status in zip(batch, statuses):
            held.announced &= kind != Kind.RESUME
            if kind == Kind.REPORT:
                self.end_report(held, status, now_s)
            elif status in (Status.STALE, Status.GONE):
                self.cancel([held.task.lease])
            elif kind == Kind.TOUCH and status == Status.OK:
                held.task.until_s = now_s + self.lease_s
        return kind

    def end_report(self, held: Held, status: int, now_s: float) -> None:
        if status in wire.PASSING:
            held.retry_s = now_s + RETRY_S
            self.later.append(held)
            return
        if status < 0:
            self.refused[status] += 1
        if self.held.get(held.task.lease) is held:
            del self.held[held.task.lease]
            if held.task.lease in self.wanted:
                self.verdicts[held.task.lease] = status
