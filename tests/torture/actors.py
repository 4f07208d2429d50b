"""actors.py - a client and workers that speak the protocol themselves and write down what they see.

They never wait: whoever drives them calls turn() whenever there may be something to do. A broker
that is gone is met with connect(), as a new connection with everything unanswered announced again.
"""

import random

from history import History, now_us
from raw import (
    BUSY, GIVE_BACK, HOUR_US, KICK, LIST, OK, PING, PUT, REMOVE, REPORT, REPORT_OK, REPORT_REMOVE,
    REPORT_RETRY, RESUME, RUN_NOW, Peer, Record, Task, put)

MS = 1000
WORK, SHELF = "work", "shelf"
SILENCE_US = 150 * MS  # behind a proxy: no word for so long, and we ask
AGAIN = {BUSY, -5, -26, -28}  # busy, no-space, io, no-memory: send again


def text(value: bytes | None) -> str | None:
    """Bytes as a history has them."""
    return None if not value else value.decode("utf-8", "backslashreplace")


class Actor:
    """One session. `watchful` ones ping, and connect again when the broker stays silent: needed
    where a connection can break without the broker ending."""

    def __init__(self, name: str, endpoint: str, history: History, dice: random.Random,
                 watchful: bool = False) -> None:
        self.name, self.history, self.dice, self.watchful = name, history, dice, watchful
        self.peer = Peer(endpoint)
        self.is_live = False
        self.heard_us = self.asked_us = now_us()
        self.active = True  # False: asks for nothing new

    def connect(self) -> None:
        """Start anew, with the same uid."""
        self.peer.connect()
        self.peer.answers.clear()
        self.peer.tasks.clear()
        self.peer.errors.clear()
        self.peer.welcome = None
        self.is_live = False
        self.heard_us = self.asked_us = now_us()
        self.say_hello()

    def say_hello(self) -> None:
        self.peer.post_hello()

    def begin(self) -> None:
        """WELCOME has come."""

    def work(self) -> None:
        """Whatever there is to do while the session lives."""

    def collect(self) -> None:
        """Take what came out of self.peer."""

    def drain(self) -> None:
        """Read what came, do nothing else."""
        while self.peer.receive(0):
            self.heard_us = now_us()
        if self.peer.welcome and not self.is_live:
            self.is_live = True
            self.history.add("session", who=self.name)
            self.begin()
        self.collect()

    def turn(self) -> None:
        self.drain()
        if self.peer.errors:  # the broker does not know this session
            self.connect()
        if self.is_live:
            self.work()
        if self.watchful:
            self.watch()

    def watch(self) -> None:
        now = now_us()
        if now - self.heard_us > 3 * SILENCE_US:
            self.connect()
        elif now - max(self.heard_us, self.asked_us) > SILENCE_US and self.is_live:
            self.peer.post(PING)
            self.asked_us = now

    def close(self) -> None:
        self.peer.close()


class Client(Actor):
    """Puts and removes records and asks them to run now: many requests at once, or (`orderly`
    False) one at a time for each key. Its shelf of records that never run is listed after every
    welcome, so that a loss shows before the next put hides it."""

    def __init__(self, *arguments, keys: int = 24, shelf: int = 16, at_once: int = 8,
                 orderly: bool = True, **named) -> None:
        super().__init__(*arguments, **named)
        self.names = [(WORK, f"w{i}") for i in range(keys)]
        self.shelf = [(SHELF, f"s{i}") for i in range(shelf)]
        self.at_once, self.orderly = at_once, orderly
        self.under_way: dict[int, tuple[str, str, str]] = {}  # request: (op, queue, key)
        self.listing: tuple[int, int] | None = None
        self.filled: set[tuple[str, str]] = set()
        self.acknowledged = self.values = self.listings = 0

    def begin(self) -> None:
        self.under_way.clear()
        self.listing = self.peer.post(LIST, SHELF, 15, None, 0, 1000), now_us()
        for name in self.names + self.shelf:
            if name not in self.filled:
                self.put(*name)

    def work(self) -> None:
        while self.active and not self.listing and len(self.under_way) < self.at_once:
            if not self.request():
                return

    def request(self) -> bool:
        queue, key = self.dice.choice(self.names if self.dice.random() < 0.5 else self.shelf)
        if not self.orderly and any(each[1:] == (queue, key) for each in self.under_way.values()):
            return False
        kind = self.dice.random()
        if kind < 0.65:
            self.put(queue, key)
        elif queue == SHELF or kind < 0.70:
            self.ask("remove", queue, key, REMOVE, [key])
            self.filled.discard((queue, key))
            if queue == WORK and self.orderly:
                self.put(queue, key)
        elif kind < 0.92:
            self.ask("run_now", queue, key, RUN_NOW, [key])
        else:
            self.ask("run_now", queue, key, KICK, [key])
        return True

    def put(self, queue: str, key: str) -> None:
        self.values += 1
        value = f"{self.name}:{self.values}"
        size = self.dice.choice([0, 0, 0, 200, 3000])
        padded = value + "." * size
        after = HOUR_US if queue == SHELF else None
        self.ask("put", queue, key, PUT, [put(key, after=after, payload=padded.encode())], padded)

    def ask(self, op: str, queue: str, key: str, kind: int, items: list, value=None) -> None:
        request = self.peer.id + 1
        self.history.add("ask", who=self.name, id=request, op=op, queue=queue, key=key,
                         value=value)
        assert self.peer.post(kind, queue, items) == request
        self.under_way[request] = op, queue, key

    def collect(self) -> None:
        for request in list(self.peer.answers):
            status, body, _, _ = self.peer.answers.pop(request)
            if self.listing and request == self.listing[0]:
                self.take_listing(body, self.listing[1])
            elif request in self.under_way:
                op, queue, key = self.under_way.pop(request)
                item = body[0] if status == OK else status
                self.history.add("answer", who=self.name, id=request, status=item)
                self.acknowledged += item >= 0
                if op == "put" and item >= 0:
                    self.filled.add((queue, key))

    def take_listing(self, body: list | None, since: int) -> None:
        self.listing = None
        if body is None:
            return
        self.listings += 1
        found = {record.key: text(record.payload) for record in map(Record, body[1])}
        self.history.add("listed", since=since, queue=SHELF,
                         values={key: found.pop(key, None) for _, key in self.shelf} | found)

    def is_idle(self) -> bool:
        return self.is_live and not self.under_way and not self.listing


class Worker(Actor):
    """Works on tasks for a while each, reports them, keeps each report until it is answered, and
    announces what it holds on every new connection."""

    def __init__(self, *arguments, credit: int = 6, long: float = 0.05, heartbeat_ms: int = 600000,
                 **named) -> None:
        super().__init__(*arguments, **named)
        self.credit, self.long, self.heartbeat_ms = credit, long, heartbeat_ms
        self.held: dict[int, tuple[Task, int]] = {}  # lease: task and when its run ends
        self.outbox: dict[int, list] = {}            # lease: report that is not answered
        self.under_way: dict[int, tuple[str, list[int]]] = {}
        self.again: list[tuple[int, int]] = []       # when to send again, lease
        self.seen: set[int] = set()
        self.names: dict[int, str] = {}              # lease: key
        self.runs = self.late = 0

    def say_hello(self) -> None:
        self.announced = list(self.held) + list(self.outbox)
        self.peer.post_hello([WORK], self.credit, 60000, self.heartbeat_ms, len(self.announced))

    def begin(self) -> None:
        self.under_way.clear()
        self.again.clear()
        if self.announced:
            items = [[0, self.names[lease], lease, self.state_of(lease)] for lease in
                     self.announced]
            self.under_way[self.peer.post(RESUME, items)] = "resumed", self.announced
        for lease in self.outbox:
            self.send(lease)

    def state_of(self, lease: int) -> int:
        return self.held[lease][0].state if lease in self.held else self.outbox[lease][3]

    def work(self) -> None:
        now = now_us()
        for lease, (task, ends) in list(self.held.items()):
            if ends <= now:
                self.finish(task)
        while self.again and self.again[0][0] <= now:
            lease = self.again.pop(0)[1]
            if lease in self.outbox:
                self.send(lease)

    def collect(self) -> None:
        for request in list(self.peer.answers):
            status, body, _, _ = self.peer.answers.pop(request)
            what, leases = self.under_way.pop(request, (None, []))
            for place, lease in enumerate(leases):
                self.take_answer(what, lease, body[place] if status == OK else status)
        tasks, self.peer.tasks = self.peer.tasks, []
        for task in tasks:
            self.take_task(task)

    def take_answer(self, what: str | None, lease: int, status: int) -> None:
        if what == "resumed":
            self.history.add("resumed", who=self.name, lease=lease, status=status)
            if status != OK and lease in self.held:
                self.give_up(lease)
        elif what == "reported" and lease in self.outbox:
            if status in AGAIN:
                self.again.append((now_us() + 200 * MS, lease))
                return
            self.history.add("reported", who=self.name, queue=WORK, key=self.names[lease],
                             lease=lease, status=status)
            self.late += status != OK
            del self.outbox[lease]

    def give_up(self, lease: int) -> None:
        """The broker says that it is not ours any more. Half the time we report all the same."""
        task, _ = self.held[lease]
        if self.dice.random() < 0.5:
            self.finish(task)
        else:
            self.held.pop(lease)
            self.history.add("back", who=self.name, lease=lease)

    def take_task(self, task: Task) -> None:
        if task.lease in self.seen and self.watchful:
            return  # a message that was repeated on its way
        self.seen.add(task.lease)
        self.names[task.lease] = task.key
        self.history.add("grant", who=self.name, queue=WORK, key=task.key, lease=task.lease,
                         state=task.state, due=task.due, late=task.lateness,
                         value=text(task.payload), memo=text(task.memo), crashes=task.crashes)
        least, most = (300, 900) if self.dice.random() < self.long else (0, 40)
        self.held[task.lease] = task, now_us() + self.dice.randint(least, most) * MS

    def finish(self, task: Task) -> None:
        self.held.pop(task.lease)
        kind = self.dice.random()
        if kind < 0.03:
            self.history.add("back", who=self.name, lease=task.lease)
            self.peer.post(GIVE_BACK, [task.name() + [kind < 0.01]])
            return
        self.runs += 1
        most = 300 if kind > 0.95 else 80
        after, due, memo = self.dice.randint(10, most) * MS, None, f"m{task.lease}".encode()
        outcome = REPORT_OK
        if kind < 0.06:
            outcome, memo = REPORT_REMOVE, None
        elif kind < 0.10:
            outcome = REPORT_RETRY
        elif kind < 0.50:
            after, due = None, now_us() + after
        self.outbox[task.lease] = task.report(outcome, due=due, after=after, memo=memo)
        self.send(task.lease)

    def send(self, lease: int) -> None:
        item = self.outbox[lease]
        self.history.add("report", who=self.name, queue=WORK, key=item[1], lease=lease,
                         state=item[3], outcome=item[4], due=item[5], after=item[6],
                         memo=text(item[9]))
        self.under_way[self.peer.post(REPORT, [item])] = "reported", [lease]

    def is_idle(self) -> bool:
        return self.is_live and not self.outbox
