"""The session of a shared heap (compat.py), and the thread that looks after it: the keeper.

The calls of the heap serve the connection while they wait; between them the keeper answers
heartbeats, touches leases, reconnects, sends reports that wait for others, and gives back what
was taken ahead and is not popped. All of it under the client's lock.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from multiprocessing import util
from typing import Callable

from .ahead import HeapBook
from .client import Client
from .errors import EverdueError

TICK_S = 0.5        # the keeper looks after the connection so often,
SEND_S = 0.05       # so often while something lies here that others may want,
HURRY_S = 0.02      # and so often while it is lost: leases are to be announced within a grace
CLOSE_S = 5.0       # to wait for answers when nothing but a repetition hangs on them

_sessions: dict[int, Session] = {}  # of this process, until they have ended
_exit_pid = 0  # the process that will end its sessions when it exits


class Session:
    """See the top of the file. `user`: whose it is; when that is gone the session ends."""

    def __init__(self, user: object, client: Client, book: HeapBook) -> None:
        self.user = weakref.ref(user)
        self.client, self.book = client, book
        self.keeper: threading.Thread | None = None
        self.wake = threading.Event()
        self.is_drowsy = False  # the keeper waits for long
        self.has_ended = False

    def serve(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Turns of the connection until it is done, or the time is over."""
        until_s = time.monotonic() + seconds
        while not is_done() and (left_s := until_s - time.monotonic()) > 0:
            self.client.connection.turn(left_s)
        return is_done()

    def settle(self, seconds: float) -> None:
        """Send all reports and wait for the answers; raises where a push gets none."""
        book = self.book
        if book.reported and not self.serve(lambda: not book.reported, seconds) \
                and book.is_pushing():
            raise self.client.silence()

    def end(self) -> None:
        """Say goodbye: what is held ahead goes back with that, uncounted."""
        self.has_ended = True
        self.wake.set()
        _sessions.pop(id(self), None)
        self.client.close()

    def leave(self) -> None:
        """End it for good, as nobody will use it: what was pushed is waited for, and what is out
        goes back, as a crash."""
        if not self.client.lock.acquire(timeout=CLOSE_S):
            return  # a thread that nobody waits for is in the middle of a call
        try:
            if self.has_ended:
                return
            for held in list(self.book.held.values()):
                self.book.give_back(held.task, bool(held.task.begun_s))
            try:
                self.settle(CLOSE_S)
            except EverdueError as error:
                sys.stderr.write(f"everdue: {error}: {len(self.book.reported)} records that were "
                                 "pushed, and not acknowledged, may come back as they were\n")
            self.end()
        finally:
            self.client.lock.release()

    # --- the keeper ---

    def tend_soon(self) -> None:
        """Somebody uses it: there must be a keeper, and it must not sleep long over what lies
        here."""
        if self.keeper is None:
            self.keeper = threading.Thread(target=self.keep, name="everdue heap", daemon=True)
            _sessions[id(self)] = self
            leave_at_exit()
            self.keeper.start()
        elif self.is_drowsy and self.book.is_in_hurry():
            self.is_drowsy = False
            self.wake.set()

    def keep(self) -> None:
        """Heartbeats, touches, reconnection and what is late, while the process works on what it
        popped."""
        pause_s = TICK_S
        while True:
            self.wake.wait(pause_s)
            self.wake.clear()
            if self.user() is None:
                self.leave()
            with self.client.lock:
                if self.has_ended:
                    return
                pause_s = self.tend()
                self.is_drowsy = pause_s == TICK_S

    def tend(self) -> float:
        """One turn without waiting; seconds until the next."""
        self.book.give_back_idle(time.monotonic())
        try:
            self.client.tend()
        except EverdueError:
            pass  # the next call says it
        if not self.client.connection.is_open:
            return HURRY_S
        return SEND_S if self.book.is_in_hurry() else TICK_S


def leave_at_exit() -> None:
    """When this process exits, wait for what it pushed. By multiprocessing's own list of what is
    to be done then, because its children run nothing else."""
    global _exit_pid
    if _exit_pid != os.getpid():
        _exit_pid = os.getpid()
        util.Finalize(None, leave_all, exitpriority=1)


def leave_all() -> None:
    """End the sessions that nobody closed."""
    for session in list(_sessions.values()):
        session.leave()


os.register_at_fork(after_in_child=_sessions.clear)
