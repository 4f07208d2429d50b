"""The leases of a shared heap (compat.py): what was taken before it is popped, and what was pushed
before it is acknowledged. Without clock and socket, as the lease book that it extends.

    TAKE --> [ahead, by rank and due] --pop--> out --push, consume--> [reported] --answer--> (gone)

How many are taken ahead follows the pace of the pops: at most what the process works on within
AHEAD_S, and `most`; one, which is none ahead, to begin with and for whoever is slow. What lies
there unpopped for IDLE_S is given back.

Pops keep the order of this process: none comes before a lower one that it pushed, or that was there
when it last asked. So a record held ahead may be popped when its rank is above neither of two:
`beyond`, the last rank of the last answer, for what the broker has is not below it (if that was all
there was, infinity); and `low`, the least rank of what this process pushed since. The broker grants
that from the moment at which the push is acknowledged, so only a TAKE that goes out later sees it.
"""

from __future__ import annotations

import heapq
import math

from . import wire
from .leases import Held, LeaseBook
from .records import Task
from .wire import Answer, Kind, Status

AHEAD_S = 0.05
IDLE_S = 0.2
REPORTED_MAX = 512  # pushes that wait for their answer; the next one waits, too
LOST_MAX = 4096     # keys that are remembered for `flush`
RANK = 13           # its place in a task


class HeapBook(LeaseBook):
    """See the top of the file. `most`: records held ahead, at most; 0 or 1 for none."""

    def __init__(self, most: int) -> None:
        super().__init__(math.inf)  # a lease is kept as long as its process lives
        self.most = max(1, most)
        self.window = 1
        self.ahead: list[tuple[int, int, int, Task]] = []
        self.take: int | None = None              # the TAKE under way,
        self.asked_for = 0                        # and how many for
        self.last_take = 0                        # the one that was answered last
        self.refused_take: Answer | None = None   # its answer, where it was no success
        self.beyond: float = math.inf
        self.low = self.next_low = math.inf       # next_low: once the TAKE under way is answered
        self.looks = 1                            # how many to ask for when one may be lower
        self.reported: dict[int, float] = {}      # ranks by lease; infinity: consumed
        self.lost: list[str] = []                 # keys of pushes that were stale or gone
        self.faults: list[tuple[str, int]] = []   # keys and statuses of reports that were wrong
        self.paced_s, self.popped_s, self.popped = 0.0, 0.0, 0

    # --- ahead ---

    def first(self) -> Task | None:
        """The least that is held ahead. What was cancelled meanwhile is not."""
        while self.arrived:
            task = self.arrived.popleft()
            heapq.heappush(self.ahead, (task.rank, task.due_us, task.lease, task))
        while self.ahead:
            task = self.ahead[0][3]
            if not task.cancelled:
                return task
            heapq.heappop(self.ahead)
            self.give_back(task, False)
        return None

    def may_pop(self, task: Task) -> bool:
        """Whether nothing at the broker comes before it, as far as this process can know."""
        return task.rank <= self.low and task.rank <= self.beyond

    def pop(self, now_s: float) -> Task:
        """Take out what `first` gave. It has begun."""
        task = heapq.heappop(self.ahead)[3]
        task.begun_s = self.popped_s = now_s
        self.popped += 1
        return task

    def give_back_ahead(self, key: str | None = None) -> None:
        """All that is held ahead, or the record of this key, unbegun."""
        self.first()
        kept = [entry for entry in self.ahead if key not in (None, entry[3].key)]
        gone = [entry for entry in self.ahead if key in (None, entry[3].key)]
        self.keep_ahead(kept, gone)

    def trim_ahead(self) -> None:
        """What lower ones have pushed far back is for others."""
        if len(self.ahead) > 2 * self.window:
            self.ahead.sort()
            self.keep_ahead(self.ahead[:self.window], self.ahead[self.window:])

    def keep_ahead(self, kept: list, gone: list) -> None:
        for rank, _, _, task in gone:
            self.give_back(task, False)
            self.note_rank(rank)
        heapq.heapify(kept)
        self.ahead = kept

    def give_back_idle(self, now_s: float) -> None:
        """Others may have what this process does not come to."""
        if (self.ahead or self.arrived) and now_s - self.popped_s >= IDLE_S:
            self.give_back_ahead()
            self.window = 1

    # --- takes ---

    def widen(self, now_s: float) -> None:
        """Follow the pace since the last call: twice as many at most, at once as few as need
        be."""
        if self.popped:
            pace_s = max(now_s - self.paced_s, 1e-9) / self.popped
            self.window = max(1, min(self.most, 2 * self.window, int(AHEAD_S / pace_s)))
        self.paced_s, self.popped = now_s, 0

    def is_low(self) -> bool:
        """Whether to ask for more before they are needed."""
        return (self.window > 1 and 2 * len(self.ahead) <= self.window and not self.take
                and not self.refused_take)

    def to_fill(self, now_s: float) -> int:
        """How many to ask for, at the pace of now."""
        self.widen(now_s)
        return max(1, self.window - len(self.ahead))

    def to_look(self) -> int:
        """How many to ask for because a lower one may be there: more each time in a row."""
        self.looks, count = min(2 * self.looks, self.window), self.looks
        return max(1, count)

    def begin_take(self, request: int, count: int) -> None:
        """A TAKE for so many has gone out, after all reports that were ready."""
        self.sent(request, Kind.TAKE, [])
        self.take, self.asked_for, self.refused_take = request, count, None
        self.next_low = min(self.reported.values(), default=math.inf)

    def answered(self, request: int, answer: Answer, now_s: float) -> Kind | None:
        """As the lease book; and the end of a TAKE, whose tasks are granted beside this."""
        kind = super().answered(request, answer, now_s)
        if kind == Kind.TAKE:
            self.take, self.last_take = None, request
            if answer.status == Status.OK:
                self.low = self.next_low
                is_all = len(answer.body) < self.asked_for
                self.beyond = math.inf if is_all else answer.body[-1][RANK]
            else:
                self.refused_take = answer
        return kind

    # --- reports ---

    def push(self, task: Task, item: list, rank: float = math.inf) -> None:
        """A report: of a record that comes back with this rank, or is consumed."""
        if self.find(task) is not None:
            self.report(task, wire.trim(item))
            self.reported[task.lease] = rank
            self.note_rank(rank)

    def note_rank(self, rank: float) -> None:
        """A record of this rank comes to be, by this process."""
        self.low, self.next_low = min(self.low, rank), min(self.next_low, rank)

    def is_pushing(self) -> bool:
        """Whether records that were pushed are not acknowledged."""
        return min(self.reported.values(), default=math.inf) < math.inf

    def is_to_be_sent(self) -> bool:
        """Whether enough reports have come together. Half a window's are, as with takes, so that
        they travel together; whoever is slow has a window of one, and they go at once."""
        return 2 * len(self.fresh) >= self.window

    def is_in_hurry(self) -> bool:
        """Whether something here is not to wait for long."""
        return bool(self.fresh or self.ahead or self.arrived or self.take)

    def end_report(self, held: Held, status: int, now_s: float) -> None:
        """As the lease book; what was refused, and nobody waits for, is remembered."""
        super().end_report(held, status, now_s)
        if status in wire.PASSING:
            return
        task = held.task
        rank = self.reported.pop(task.lease, math.inf)
        if status >= 0:
            return
        is_bad = status not in (Status.STALE, Status.GONE)
        if is_bad:
            # Back with it at once, as it was, rather than when the lease ends.
            self.returned.append([task.qi, task.key, task.lease, True])
        if task.lease in self.wanted:
            return
        if is_bad:
            self.faults.append((task.key, status))
        elif rank < math.inf:
            self.note_lost(task.key)

    def note_lost(self, key: str) -> None:
        self.lost.append(key)
        del self.lost[:-LOST_MAX]

    # --- sessions ---

    def to_resume(self) -> list[list]:
        """As the lease book. A TAKE under way is lost with its session, and what it was granted
        goes back, because nobody announces it."""
        self.take = None
        return super().to_resume()

    def forget(self) -> None:
        """Another store: what is pushed there is lost, which `flush` tells."""
        for lease, rank in self.reported.items():
            if rank < math.inf and lease not in self.wanted and lease in self.held:
                self.note_lost(self.held[lease].task.key)
        super().forget()
        self.ahead.clear()
        self.reported.clear()
        self.take = None
        self.beyond = self.low = self.next_low = math.inf
