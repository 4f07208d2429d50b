"""syncer.py - an actor that sends whole sets: BEGIN, chunks, COMMIT, or what goes wrong with them.

Its sets hold some of the keys that the client puts and removes at the same time, on the shelf or
among the records that are out at workers, or those of a queue of its own, so many that a set is
carried out in several slices. Most are committed, a third of these prune; others are
given up, only counted, have a wrong checksum, or would prune more than they allow. A COMMIT whose
answer was lost is asked again on the next connection, until its fate is known.
"""

import dataclasses
import zlib

import msgpack

from actors import AGAIN, MS, SHELF, WORK, Actor
from history import now_us
from raw import (
    CONFLICT, HOUR_US, OK, SYNC_ABORT, SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT, put)

ALL_PPM = 1_000_000
BULK, BULK_KEYS = "bulk", 1500
PAUSE_MS = 20            # between two sets, at most
HOLD_MS = (0, 0, 5, 30)  # between the last chunk and the COMMIT, for others to come in between


@dataclasses.dataclass
class Set:
    """A set on its way."""

    queue: str
    number: int
    lines: dict[str, str]
    kind: str  # plain, prune, guarded (prunes nothing at all), wrong, dry, abort
    began: int
    opened: int = 0
    generation: int = 0
    checksum: int = 0
    unanswered: int = 0  # chunks
    act_at: int = 0      # when it is committed or given up
    is_committed: bool = False


class Syncer(Actor):
    """One set at a time. `names` are the keys of each queue that may be in it."""

    def __init__(self, *arguments, names: dict[str, list[str]], **named) -> None:
        super().__init__(*arguments, **named)
        self.names = names | {BULK: [f"b{i}" for i in range(BULK_KEYS)]}
        self.set: Set | None = None
        self.request: tuple[int, str] | None = None  # BEGIN, COMMIT or ABORT that is not answered
        self.chunks: set[int] = set()
        self.next_at = 0
        self.sets = self.committed = 0

    def begin(self) -> None:
        """A set that was not committed ended with its session; a COMMIT is asked again."""
        self.request = None
        self.chunks.clear()
        if self.set and self.set.is_committed:
            self.commit()
        else:
            self.set = None

    def work(self) -> None:
        now = now_us()
        if self.request or self.chunks:
            return
        if not self.set:
            if self.active and now >= self.next_at:
                self.open()
        elif not self.set.is_committed and now >= self.set.act_at:
            if self.set.kind == "abort":
                self.request = self.peer.post(SYNC_ABORT, self.set.generation), "abort"
            else:
                self.say_commit()
                self.commit()
        elif self.set.is_committed and now >= self.set.act_at:
            self.commit()  # it was busy

    # --- a set ---

    def open(self) -> None:
        self.sets += 1
        queue = self.dice.choice([WORK, WORK, SHELF, SHELF, BULK])
        kind = self.dice.choice(["plain"] * 3 + ["prune"] * 3 +
                                ["guarded", "wrong", "dry", "abort"])
        share = self.dice.choice([0.3, 0.9])
        size = self.dice.choice([0, 0, 300])
        lines = {key: f"set-{self.sets}:{key}" + "." * size for key in self.names[queue]
                 if self.dice.random() < share}
        self.set = Set(queue, self.sets, lines, kind, now_us())
        self.request = self.peer.post(SYNC_BEGIN, queue, None, False), "begin"

    def send_chunks(self) -> None:
        """All of it, in one to three parts."""
        sent, parts = self.set, self.dice.randint(1, 3)
        after = None if sent.queue == WORK else HOUR_US
        items = [put(key, after=after, payload=value.encode())
                 for key, value in sent.lines.items()]
        for part in range(parts):
            chunk = items[part::parts]
            sent.checksum = zlib.crc32(msgpack.packb(chunk), sent.checksum)
            self.chunks.add(self.peer.post(SYNC_CHUNK, sent.generation, chunk))
        sent.act_at = now_us() + self.dice.choice(HOLD_MS) * MS

    def say_commit(self) -> None:
        sent = self.set
        sent.is_committed = True
        self.history.add("commit", who=self.name, set=sent.number, queue=sent.queue,
                         began=sent.began, opened=sent.opened, lines=sent.lines, plan=sent.kind)

    def commit(self) -> None:
        sent = self.set
        checksum = sent.checksum ^ (sent.kind == "wrong")
        prunes = sent.kind in ("prune", "guarded")
        self.request = self.peer.post(
            SYNC_COMMIT, sent.generation, len(sent.lines), checksum, prunes,
            0 if sent.kind == "guarded" else ALL_PPM, sent.kind == "dry"), "commit"

    def finish(self) -> None:
        self.set = None
        self.next_at = now_us() + self.dice.randint(0, PAUSE_MS) * MS

    # --- answers ---

    def collect(self) -> None:
        for request in list(self.peer.answers):
            status, body, _, _ = self.peer.answers.pop(request)
            if request in self.chunks:
                self.chunks.discard(request)
                if status != OK and self.set and not self.set.is_committed:
                    self.set.kind = "abort"  # part of it was not taken
            elif self.request and request == self.request[0]:
                what, self.request = self.request[1], None
                getattr(self, "take_" + what)(status, body)

    def take_begin(self, status: int, body: int) -> None:
        if status != OK:
            self.finish()
            return
        self.set.generation, self.set.opened = body, now_us()
        self.send_chunks()

    def take_abort(self, status: int, body: object) -> None:
        self.finish()

    def take_commit(self, status: int, body: list | None) -> None:
        if status in AGAIN or status == CONFLICT:
            self.set.act_at = now_us() + 100 * MS
            return
        self.history.add("committed", who=self.name, set=self.set.number, status=status,
                         counts=body)
        self.committed += status == OK
        self.finish()

    def is_idle(self) -> bool:
        return self.is_live and not self.set
