"""plan.py - a made-up history, moment by moment, for the tests of the checker."""

from checker import check
from history import History

OK, STALE, GONE, MS = 0, -1, -2, 1000


class Plan:
    """Writes a history moment by moment: one client c, workers peer-a and peer-b, records of the
    queue q. Times are milliseconds."""

    def __init__(self, **rules):
        self.history, self.ids = History(), 0
        self.say(0, "rules", grace_us=5000 * MS, **rules)
        self.say(0, "up")

    def say(self, ms, kind, **fields):
        self.history.add(kind, ms * MS, **fields)

    def ask(self, ms, op, key, value=None, until=None, status=OK):
        """A request of the client, answered at `until` if that is given."""
        self.ids += 1
        self.say(ms, "ask", who="c", id=self.ids, op=op, queue="q", key=key, value=value, due=None)
        if until is not None:
            self.say(until, "answer", who="c", id=self.ids, status=status)

    def grant(self, ms, lease, key="k", who="peer-a", state=1, due=None, value="v1", memo=None):
        due = ms if due is None else due
        self.say(ms, "grant", who=who, queue="q", key=key, lease=lease, state=state, due=due * MS,
                 late=(ms - due) * MS, value=value, memo=memo, crashes=0)

    def report(self, ms, lease, key="k", who="peer-a", state=1, until=None, status=OK, outcome=0,
               after=0, memo="own"):
        self.say(ms, "report", who=who, queue="q", key=key, lease=lease, state=state,
                 outcome=outcome, due=None, after=after * MS,
                 memo=f"m{lease}" if memo == "own" else memo)
        if until is not None:
            self.say(until, "reported", who=who, queue="q", key=key, lease=lease, status=status)

    def kill(self, ms, up):
        self.say(ms, "kill")
        self.say(ms + 1, "down")
        self.say(up, "up")

    def stop(self, ms, up):
        """It ends in order, within 2 ms."""
        self.say(ms, "stop")
        self.say(ms + 2, "down")
        self.say(up, "up")

    def end(self, ms, *found, created=1, removed=0):
        """What is there at the end: (key, value, memo) each."""
        for key, value, memo in found:
            self.say(ms, "record", queue="q", key=key, status=1, due=0, value=value, memo=memo,
                     state=0)
        self.say(ms, "stats", records=len(found), created=created, removed=removed)

    def kinds(self):
        return [violation.kind for violation in check(self.history.in_order())]


def cycle(plan, ms, lease, state, memo, **more):
    """A grant and its report that counted, 4 ms long."""
    plan.grant(ms, lease, state=state, memo=memo, **more)
    plan.report(ms + 2, lease, state=state, until=ms + 4)
