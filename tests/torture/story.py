"""story.py - a history by record: what was asked, granted and reported, and when it was certain.

Pure: events in, objects out. checker.py says what must not be found in them.
"""

import bisect
import collections
import dataclasses
import math

NOT_FOUND = -3
REMOVE = 3  # outcome of a report
NEVER = math.inf


@dataclasses.dataclass
class Change:
    """A put or removal of a record: by a client, or a report with the outcome `remove`.

    It took effect once between start and end, if it took effect; by `certain` it had."""

    who: str
    number: int  # of the client's request; -1: a report
    value: str | None  # None: removed
    start: float
    end: float = NEVER
    certain: float = NEVER
    found_none: bool = False  # a removal of what was not there: it changed nothing
    undone: float = NEVER     # a crash took it back: it may have been seen until then


@dataclasses.dataclass
class Nudge:
    """A request that may move the due time and nothing else."""

    start: float
    end: float = NEVER


@dataclasses.dataclass
class Report:
    """All sendings of the report of one lease."""

    who: str
    lease: int
    state: int
    outcome: int
    memo: str | None
    earliest_due: int  # what it named, at the least
    sent: int
    sendings: int = 1
    answers: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    @property
    def ok_at(self) -> float:
        return next((t for t, status in self.answers if status == 0), NEVER)

    def may_have_counted(self, may_repeat: bool) -> bool:
        """Stale or gone as the answer to the only sending: it never did. A second sending may be
        stale because the first counted and the record went on."""
        if not self.answers or self.ok_at < NEVER:
            return True
        return self.sendings > 1 or may_repeat


@dataclasses.dataclass
class Grant:
    """A task that came to a worker."""

    who: str
    lease: int
    state: int
    due: int
    sent: int  # the broker's clock when it was granted: due + lateness
    t: int     # when the worker had it
    value: str | None
    memo: str | None
    ended: float = NEVER  # reported or given back, by the worker's clock


class Record:
    """All that a history says of one key of one queue."""

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name
        self.changes: list[Change] = []
        self.nudges: list[Nudge] = []
        self.grants: list[Grant] = []
        self.reports: dict[int, Report] = {}
        self.sights: list[tuple[int, int, str | None]] = []  # asked, answered, what was there
        self.found: list[dict] = []

    @property
    def removals(self) -> list[Change]:
        return [change for change in self.changes if change.value is None and
                change.undone == NEVER]


class Rules:
    """What the round's faults and settings allow."""

    def __init__(self, event: dict) -> None:
        self.window_us: int = event.get("window_us", 0)
        self.grace_us: int = event.get("grace_us", 0)
        self.fifo: bool = event.get("fifo", True)
        self.repeat_us: int = event.get("repeat_us", 0)
        self.turn_us: int = event.get("turn_us", 0)
        self.unseen: bool = event.get("unseen", False)


class Story:
    """A history, sorted out."""

    def __init__(self, events: list[dict]) -> None:
        self.rules = Rules({})
        self.records: dict[tuple[str, str], Record] = {}
        self.ups: list[int] = []
        self.kills: list[int] = []
        self.stops: set[int] = set()  # those of them that were ends in order
        self.downs: list[int] = []
        self.doubts: dict[str, list[list[float]]] = collections.defaultdict(list)
        self.resumed: dict[int, list[int]] = collections.defaultdict(list)
        self.telling: set[str] = set()  # workers that say when a lease was resumed
        self.quiet = NEVER
        self.stats: dict | None = None
        self.commits: list[dict] = []  # of full sets, each with its answer or None
        self._open: dict[tuple[str, int], tuple[dict, Change | Nudge]] = {}
        self._by_lease: dict[int, Grant] = {}
        for event in events:
            getattr(self, "_see_" + event["e"])(event)
        self._see_removing_reports()

    def record(self, event: dict) -> Record:
        name = (event["queue"], event["key"])
        if name not in self.records:
            self.records[name] = Record(name)
        return self.records[name]

    def is_kept(self, t: float) -> bool:
        """Whether what was seen or acknowledged at t is beyond any crash."""
        end = self.next_kill(t)
        return t < NEVER and (self.rules.window_us == 0 or end in self.stops or
                              end - t > self.rules.window_us)

    def next_kill(self, t: float) -> float:
        """The kill of the broker that ran at t, or was killed shortly before: what had come from
        it may be read a little later."""
        place = bisect.bisect_left(self.downs, t)
        return self.kills[place] if place < len(self.downs) else NEVER

    def is_excused(self, grant: Grant, until: float) -> bool:
        """Whether the broker may have taken the lease away between its grant and `until`: it had
        a reason to take the worker for lost, or was restarted and did not hear in time. A worker
        that does not tell of its leases is expected to be back in time."""
        for start, end in self.doubts[grant.who]:
            if start < until and grant.sent < end:
                return True
        return grant.who in self.telling and any(
            grant.sent < up and self._waited_in_vain(grant, up, until) for up in self.ups)

    def _waited_in_vain(self, grant: Grant, up: int, until: float) -> bool:
        """Whether a grace passed without the lease being announced again."""
        waited = up + self.rules.grace_us
        return waited <= until and waited <= self.next_kill(up) and not any(
            up <= t <= waited for t in self.resumed[grant.lease])

    # --- one event each ---

    def _see_rules(self, event: dict) -> None:
        self.rules = Rules(event)

    def _see_up(self, event: dict) -> None:
        self.ups.append(event["t"])

    def _see_kill(self, event: dict) -> None:
        self.kills.append(event["t"])

    def _see_stop(self, event: dict) -> None:
        """It was told to end: whatever it acknowledged until then, or will, is on disk when it has."""
        self.kills.append(event["t"])
        self.stops.add(event["t"])

    def _see_down(self, event: dict) -> None:
        self.downs.append(event["t"])
        self._end_open(event["t"], lambda who: True)

    def _see_session(self, event: dict) -> None:
        self._end_open(event["t"], lambda who: who == event["who"])

    def _see_doubt(self, event: dict) -> None:
        self.doubts[event["who"]].append([event["t"], NEVER])

    def _see_sure(self, event: dict) -> None:
        self.doubts[event["who"]][-1][1] = event["t"]

    def _see_quiet(self, event: dict) -> None:
        self.quiet = event["t"]

    def _see_stats(self, event: dict) -> None:
        self.stats = event

    def _see_ask(self, event: dict) -> None:
        record = self.record(event)
        if event["op"] == "run_now":
            nudge = Nudge(event["t"])
            record.nudges.append(nudge)
            self._open[event["who"], event["id"]] = event, nudge
            return
        value = event["value"] if event["op"] == "put" else None
        change = Change(event["who"], event["id"], value, event["t"])
        record.changes.append(change)
        self._open[event["who"], event["id"]] = event, change

    def _see_answer(self, event: dict) -> None:
        ask, change = self._open.pop((event["who"], event["id"]), (None, None))
        if not ask:
            return
        if isinstance(change, Nudge):
            change.end = event["t"] + self.rules.repeat_us
            return
        is_done = event["status"] >= 0 or (ask["op"] == "remove" and event["status"] == NOT_FOUND)
        if not is_done:
            self.record(ask).changes.remove(change)
            return
        change.end = event["t"] + self.rules.repeat_us
        change.certain = event["t"]
        change.found_none = event["status"] == NOT_FOUND

    def _end_open(self, t: int, concerns) -> None:
        for name in [name for name in self._open if concerns(name[0])]:
            self._open.pop(name)[1].end = t

    def _see_commit(self, event: dict) -> None:
        self.commits.append(event | {"answer": None})

    def _see_committed(self, event: dict) -> None:
        for commit in self.commits:
            if (commit["who"], commit["set"]) == (event["who"], event["set"]):
                commit["answer"] = event

    def _see_grant(self, event: dict) -> None:
        grant = Grant(event["who"], event["lease"], event["state"], event["due"],
                      event["due"] + event["late"], event["t"], event["value"], event["memo"])
        if self.rules.repeat_us and grant.lease in self._by_lease:
            return  # the message came again
        self.record(event).grants.append(grant)
        self._by_lease[grant.lease] = grant

    def _see_report(self, event: dict) -> None:
        record = self.record(event)
        self._end_lease(event["lease"], event["t"])
        report = record.reports.get(event["lease"])
        if report:
            report.sendings += 1
            return
        due = event["due"]
        if due is None:  # counted from the turn that read it, whose clock is a little older
            grant = self._by_lease.get(event["lease"])
            since = max(event["t"] - self.rules.turn_us, grant.sent if grant else 0)
            due = since + (event["after"] or 0)
        if event["outcome"] == REMOVE:  # it stays when it was put meanwhile, due as the put says
            due = 0
        record.reports[event["lease"]] = Report(
            event["who"], event["lease"], event["state"], event["outcome"], event["memo"], due,
            event["t"])

    def _see_reported(self, event: dict) -> None:
        self.record(event).reports[event["lease"]].answers.append((event["t"], event["status"]))

    def _see_back(self, event: dict) -> None:
        """It needs no disk, so the turn that reads it may grant the record again, under the time
        at which it began."""
        self._end_lease(event["lease"], event["t"] - self.rules.turn_us)

    def _end_lease(self, lease: int, t: float) -> None:
        grant = self._by_lease.get(lease)
        if grant:
            grant.ended = min(grant.ended, t)

    def _see_resumed(self, event: dict) -> None:
        self.telling.add(event["who"])
        if event["status"] == 0:
            self.resumed[event["lease"]].append(event["t"])

    def _see_listed(self, event: dict) -> None:
        for key, value in event["values"].items():
            record = self.record({"queue": event["queue"], "key": key})
            record.sights.append((event["since"], event["t"], value))

    def _see_record(self, event: dict) -> None:
        self.record(event).found.append(event)

    def _see_removing_reports(self) -> None:
        """A put that came while the record was out wins over its report's `remove`: such a report
        is as old as its lease."""
        for record in self.records.values():
            starts = {grant.lease: grant.sent for grant in record.grants}
            for report in record.reports.values():
                if report.outcome != REMOVE or not report.may_have_counted(
                        self.rules.repeat_us > 0):
                    continue
                record.changes.append(Change(
                    report.who, -1, None, starts.get(report.lease, report.sent), report.ok_at,
                    report.ok_at))
