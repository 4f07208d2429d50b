"""checker.py - finds in a history what docs/guarantees.md says cannot be.

    lost          acknowledged as put and not there at the end
    gone          an acknowledged change or report that a later task, or the end, does not show
    wiped         a full set that changed what it must not
    resurrected   acknowledged as removed and seen again
    phantom       a value that nobody asked for
    doubled       one lease twice, one record twice
    numbers       a lease number or state number that does not grow
    early         handed out before it was due, or before the time that its report named
    overlapping   handed out while another worker had it and nothing excused that
    stale         a report that counted although the record had been given to somebody else
    refused       a report that did not count although nobody else had the record
    stuck         a record that did not run again after the faults were over
    counts        records is not created - removed, or not what is there

Pure: check(events) gives a list of violations and reads nothing else.
"""

import dataclasses
from collections.abc import Iterator

from sets import add_sets, wrongs
from story import NEVER, Change, Grant, Record, Report, Story

STALE = -1
WEAK_TURN_US = 1_000_000  # without waiting for the disk a turn may grant what it has just read
PARKED = 8


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something that was promised and did not hold."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def check(events: list[dict]) -> list[Violation]:
    """All violations of a history whose events are in order."""
    story = Story(events)
    add_sets(story)
    found = list(check_numbers(story))
    found += [Violation("wiped", wrong) for wrong in wrongs(story)]
    for record in story.records.values():
        for part in (check_early, check_overlaps, check_refusals, check_values, check_memos,
                     check_end):
            found += part(story, record)
    found += check_counts(story)
    return found


def name(record: Record) -> str:
    return "/".join(record.name)


# --- numbers ---


def check_numbers(story: Story) -> Iterator[Violation]:
    """One counter draws all numbers: each once, growing with time."""
    grants = sorted(((grant.lease, grant.sent, grant.t, record) for record in
                     story.records.values() for grant in record.grants), key=lambda each: each[:3])
    for before, after in zip(grants, grants[1:]):
        if before[0] == after[0]:
            if not story.rules.repeat_us:
                yield Violation("doubled", f"lease {after[0]} of {name(after[3])} came twice")
        elif before[1] > after[1]:
            yield Violation("numbers", f"lease {after[0]} of {name(after[3])} was drawn before "
                                       f"the lower {before[0]} of {name(before[3])}")
    for record in story.records.values():
        yield from check_states(story, record)


def check_states(story: Story, record: Record) -> Iterator[Violation]:
    """The state number of a record never goes back; a crash may take it back where it may take
    back what was acknowledged."""
    highest: Grant | None = None
    for grant in sorted(record.grants, key=lambda grant: grant.lease):
        if grant.state >= grant.lease:
            yield Violation("numbers", f"{name(record)}: lease {grant.lease} is not above its "
                                       f"state {grant.state}")
        if highest and grant.state < highest.state and (
                story.is_kept(highest.sent) or story.next_kill(highest.sent) > grant.sent):
            yield Violation("gone", f"{name(record)}: state {highest.state} was granted, and "
                                    f"{grant.state} later, with lease {grant.lease}")
        if not highest or grant.state > highest.state:
            highest = grant


# --- one record's leases ---


def check_early(story: Story, record: Record) -> Iterator[Violation]:
    for grant in record.grants:
        if grant.t < grant.due or grant.sent < grant.due:
            yield Violation("early", f"{name(record)}: lease {grant.lease} came "
                                     f"{grant.due - grant.t} us before it was due")
        report = record.reports.get(grant.state)
        if not report or grant.due >= report.earliest_due:
            continue
        starts = [each.sent for each in record.grants if each.lease == report.lease]
        since = starts[0] if starts else report.sent
        if not any(nudge.start <= grant.t and nudge.end >= since for nudge in record.nudges):
            yield Violation("early", f"{name(record)}: lease {grant.lease} is due "
                                     f"{report.earliest_due - grant.due} us before the time that "
                                     f"the report of {report.lease} named")


def check_overlaps(story: Story, record: Record) -> Iterator[Violation]:
    slack_us = WEAK_TURN_US if story.rules.window_us else 0
    grants = sorted(record.grants, key=lambda grant: grant.lease)
    for first, second in zip(grants, grants[1:]):
        if first.lease == second.lease or first.ended <= second.sent + slack_us:
            continue
        if story.is_excused(first, second.sent) or any(
                change.start <= second.t and change.end >= first.sent
                for change in record.removals):
            continue
        yield Violation("overlapping", f"{name(record)}: {second.who} got it with lease "
                                       f"{second.lease} while {first.who} had {first.lease}")


def check_refusals(story: Story, record: Record) -> Iterator[Violation]:
    """The numbers rule, as far as it shows from outside."""
    by_state: dict[int, set[int]] = {}
    for report in record.reports.values():
        if report.ok_at < NEVER:
            by_state.setdefault(report.state, set()).add(report.lease)
            yield from check_accepted(story, record, report)
        elif report.sendings == 1 and any(status == STALE for _, status in report.answers):
            yield from check_refused(story, record, report)
    for state, leases in by_state.items():
        if len(leases) > 1 and not story.rules.window_us:
            yield Violation("stale", f"{name(record)}: the reports of the leases {sorted(leases)} "
                                     f"of one state, {state}, all counted")


def check_accepted(story: Story, record: Record, report: Report) -> Iterator[Violation]:
    for grant in record.grants:
        if grant.lease > report.lease and grant.state == report.state and (
                grant.t < report.sent and report.ok_at < story.next_kill(grant.t)):
            yield Violation("stale", f"{name(record)}: the report of {report.lease} counted "
                                     f"although {grant.who} had been given {grant.lease}")


def check_refused(story: Story, record: Record, report: Report) -> Iterator[Violation]:
    answered = report.answers[0][0]
    own = [grant for grant in record.grants if grant.lease == report.lease]
    if not own or story.rules.unseen or story.rules.window_us or story.rules.repeat_us:
        return
    if any(grant.lease > report.lease and grant.sent <= answered for grant in record.grants):
        return
    asked = [*record.changes, *record.nudges]
    if any(each.start <= answered and each.end >= own[0].sent for each in asked):
        return
    if not story.is_excused(own[0], answered):
        yield Violation("refused", f"{name(record)}: the report of {report.lease} was stale, and "
                                   f"nobody else had been given the record")


# --- one record's values ---


class Register:
    """What a record may hold: nothing that was certainly overwritten."""

    def __init__(self, story: Story, record: Record) -> None:
        self.story = story
        self.changes = [Change("", -1, None, -NEVER, -NEVER, -NEVER), *record.changes]
        self.waiting = sorted((change for change in record.changes if
                               story.is_kept(change.certain)), key=lambda each: each.certain)
        self.place = 0
        self.start = -NEVER  # the latest start of a change that is certain
        self.numbers: dict[str, int] = {}  # client: its latest request that is certain

    def pass_to(self, t: float) -> None:
        """Everything acknowledged by t is certain."""
        while self.place < len(self.waiting) and self.waiting[self.place].certain < t:
            self.settle(self.waiting[self.place])
            self.place += 1

    def settle(self, change: Change) -> None:
        self.start = max(self.start, change.start)
        if change.number >= 0:
            self.numbers[change.who] = max(change.number, self.numbers.get(change.who, -1))

    def is_over(self, change: Change) -> bool:
        """Whether something that is certain came after it for sure."""
        if change.end < self.start:
            return True
        return self.story.rules.fifo and 0 <= change.number < self.numbers.get(change.who, -1)

    def fits(self, value: str | None, since: float, t: float) -> Change | None:
        """The change that a sight of `value` between the two may show."""
        return next((change for change in self.changes if change.value == value and
                     change.start <= t and since <= change.undone and
                     not self.is_over(change)), None)

    def last_is_removal(self) -> bool:
        return all(self.is_over(change) for change in self.changes if change.value is not None)


def check_values(story: Story, record: Record) -> Iterator[Violation]:
    """Payloads belong to clients; a record that is there was put, one that is not was removed."""
    register = Register(story, record)
    asked = {change.value for change in record.changes}
    for since, t, value, what, is_granted in sorted(sights(story, record), key=lambda each: each[0]):
        register.pass_to(since)
        change = register.fits(value, since, t)
        if change:
            if is_granted and story.is_kept(since):  # handed out from what is on disk
                register.settle(change)
        elif value is None:
            yield Violation("lost", f"{name(record)} was acknowledged, and {what} does not show it")
        elif value not in asked:
            yield Violation("phantom", f"{name(record)}: {what} shows {value!r}; nobody put that")
        else:
            yield Violation("resurrected" if register.last_is_removal() else "gone",
                            f"{name(record)}: {what} shows {value!r}, which was overwritten or "
                            f"removed before")


def sights(story: Story, record: Record) -> Iterator[tuple[int, int, str | None, str, bool]]:
    """When the record was seen, from and to; its value; where; whether in a task."""
    for grant in record.grants:
        yield grant.sent, grant.t, grant.value, f"lease {grant.lease}", True
    for since, t, value in record.sights:
        yield since, t, value, f"the list at {t}", False
    if story.stats:
        value = record.found[0]["value"] if record.found else None
        yield story.stats["t"], story.stats["t"], value, "the end", False


def check_memos(story: Story, record: Record) -> Iterator[Violation]:
    """A memo belongs to the last report that counted; reports count in the order of leases."""
    seen = [(grant.sent, grant.t, grant.memo, grant.lease) for grant in record.grants]
    if story.stats:
        seen += [(story.stats["t"],) * 2 + (found["memo"], NEVER) for found in record.found[:1]]
    counted = sorted((report for report in record.reports.values() if
                      report.memo is not None and story.is_kept(report.ok_at)),
                     key=lambda report: report.ok_at)
    by_memo = {report.memo: report for report in record.reports.values()}
    top: Report | None = None
    place = 0
    for sent, t, memo, lease in sorted(seen, key=lambda each: each[0]):
        while place < len(counted) and counted[place].ok_at < sent:
            if not top or counted[place].lease > top.lease:
                top = counted[place]
            place += 1
        what = f"{name(record)}: " + ("the end" if lease == NEVER else f"lease {lease}")
        shown = by_memo.get(memo)
        if memo is None:
            if top and not any(removal.end >= top.sent for removal in record.removals):
                yield Violation("gone", f"{what} shows no memo after the report of {top.lease}")
        elif not shown or shown.sent > t or shown.lease >= lease:
            yield Violation("phantom", f"{what} shows the memo {memo!r}, which nobody reported")
        elif not shown.may_have_counted(story.rules.repeat_us > 0):
            yield Violation("stale", f"{what} shows the memo of {shown.lease}, which was refused")
        elif top and shown.lease < top.lease:
            yield Violation("gone", f"{what} shows the memo of {shown.lease} although the report "
                                    f"of {top.lease} had counted")
        elif story.is_kept(sent):
            top = shown


# --- the end ---


def check_end(story: Story, record: Record) -> Iterator[Violation]:
    if len(record.found) > 1:
        yield Violation("doubled", f"{name(record)} is there {len(record.found)} times")
    is_to_run = record.grants and record.found and record.found[0]["status"] != PARKED
    if is_to_run and story.quiet < NEVER and not any(
            grant.t > story.quiet for grant in record.grants):
        yield Violation("stuck", f"{name(record)} did not run again")
    for report in record.reports.values():
        if story.quiet < NEVER and story.stats and not report.answers and (
                report.who.startswith("peer")):
            yield Violation("stuck", f"{name(record)}: the report of {report.lease} was never "
                                     f"answered")


def check_counts(story: Story) -> Iterator[Violation]:
    if not story.stats:
        return
    there = sum(len(record.found) for record in story.records.values())
    there += story.stats.get("others", 0)
    records, created = story.stats["records"], story.stats["created"]
    if records != created - story.stats["removed"] or records != there:
        yield Violation("counts", f"{records} records, {there} listed, {created} created, "
                                  f"{story.stats['removed']} removed")
