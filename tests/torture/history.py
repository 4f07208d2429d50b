"""history.py - what everybody saw, one event a line, in one order.

Workers, clients and whoever starts and kills processes write events; checker.py reads them. All
run on one machine, so the wall clock orders them. `t` is that clock in microseconds.

    e         who wrote it and what else it says
    rules     once, first: window_us (acknowledged, may be lost in a crash), grace_us,
              fifo (messages of one connection keep their order), repeat_us (a message may come
              again so much later), turn_us (how old the broker's clock may be when it reads a
              message: it reads it once a turn, and may be held up in it), unseen (tasks may vanish on their way while the broker runs)
    up, kill, down   the broker: about to be started, about to be killed, known to be dead
    stop      instead of kill: about to be told to end in order
    ask       who, id, op (put, remove, run_now), queue, key, value: a request leaves
    answer    who, id, status: its answer came
    session   who: WELCOME came; what was not answered on older connections comes to nothing now
    commit    who, set, queue, began, opened (BEGIN asked and answered), lines (key: value), plan:
              the COMMIT of a full set leaves for the first time
    committed who, set, status, counts: its fate is known
    grant     who, queue, key, lease, state, due, late, value, memo, crashes: a task came
    report    who, queue, key, lease, state, outcome, due, after, memo: a report leaves, each time
    reported  who, queue, key, lease, status: its answer came
    back      who, lease: given back
    resumed   who, lease, status: the answer to RESUME came
    doubt, sure   who: from here to there the broker may take this worker for lost
    listed    since, queue, values: the answer to a LIST asked at `since`, key: value or null
    quiet     the faults are over: every record must run from here on
    record    queue, key, status, due, value, memo, state: found at the end
    stats     records, created, removed: counted by the broker at the end; others: records of
              queues that the history does not follow
"""

import json
import pathlib
import time


def now_us() -> int:
    """The wall clock in microseconds."""
    return time.time_ns() // 1000


class History:
    """Events of one round, kept in memory and written to a file when somebody wants to see."""

    def __init__(self) -> None:
        self.events: list[dict] = []

    def add(self, kind: str, t: int | None = None, **fields) -> int:
        """Add an event of now, or of `t`; its time."""
        t = now_us() if t is None else t
        self.events.append({"e": kind, "t": t, **fields})
        return t

    def in_order(self) -> list[dict]:
        """All events by time; those of one moment as they were added."""
        return sorted(self.events, key=lambda event: event["t"])

    def write(self, path: pathlib.Path) -> None:
        """One JSON object a line."""
        with open(path, "w", encoding="utf-8") as file:
            for event in self.in_order():
                file.write(json.dumps(event) + "\n")


def read(path: pathlib.Path) -> list[dict]:
    """The events of a file that write() made."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
