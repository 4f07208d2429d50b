"""How much a session asks for: what its handler finishes in 20 ms, between two bounds.

As the C worker's (docs/operations.md, Workers): more, at most twice as much, when 20 ms went by in
which more was finished than there is credit; less when 40 ms were spent with something in hand and
less than half of that was finished. A handler that hangs keeps no more than the least after 40 to
80 ms; one that has nothing to do keeps its credit. Monotonic seconds come from the caller.
"""

from __future__ import annotations

PACE_S = 0.02
JUDGED_S = 0.04


class Pace:
    """`most` no more than `least`: the credit stays."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.begin(0.0)

    def begin(self, now_s: float) -> None:
        """A connection begins, and with it the credit."""
        self.credit = self.least
        self.began_s = self.passed_s = now_s
        self.finished = 0    # since then,
        self.worked_s = 0.0  # and the time with something in hand,
        self.worked = 0      # with what was finished in it
        self.has_work = False

    def finish(self, count: int) -> None:
        """So many records are done with."""
        self.finished += count
        self.worked += count

    def let_pass(self, now_s: float, has_work: bool) -> int:
        """The credit; `has_work`: from now on something is in hand."""
        if self.has_work:
            self.worked_s += now_s - self.passed_s
        self.passed_s, self.has_work = now_s, has_work
        if self.most > self.least:
            self._more(now_s)
            self._less()
        return self.credit

    def _more(self, now_s: float) -> None:
        elapsed_s = now_s - self.began_s
        if elapsed_s < PACE_S:
            return
        wanted = min(int(self.finished * PACE_S / elapsed_s), 2 * self.credit, self.most)
        self.credit = max(self.credit, wanted)
        self.began_s, self.finished = now_s, 0

    def _less(self) -> None:
        if self.worked_s < JUDGED_S:
            return
        wanted = int(self.worked * PACE_S / self.worked_s)
        if wanted < self.credit // 2:
            self.credit = max(wanted, self.least)
        self.worked_s, self.worked = 0.0, 0

    def next_s(self) -> float:
        """When it has something to say though nothing happens; infinity for never."""
        if not self.has_work or self.credit <= self.least:
            return float("inf")
        return self.passed_s + JUDGED_S - self.worked_s
