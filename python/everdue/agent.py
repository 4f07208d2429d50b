"""One worker process: a session in a thread of its own, the handler in the main thread.

    TASKS --> [I/O thread] --queue--> [main thread: handler] --items--> [I/O thread] --> REPORT

The I/O thread answers heartbeats, touches leases and keeps reports until they are acknowledged,
while the handler works or hangs. Neither thread polls: the handler's thread waits on a condition,
the other one on its socket, an eventfd and the pipe from the supervisor.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
import time
import traceback
from typing import Any, Sequence

from . import results, wire
from .connection import Connection
from .curve import Curve
from .errors import BadResult, NoNext, NotAllowed
from .leases import LeaseBook
from .log import Log
from .pace import Pace
from .records import Task

# Exit statuses, those of everdue-worker and sysexits.
STOPPED, OUR_BUG, TIMED_OUT, OTHER_VERSION, NOT_ALLOWED, MISTAKE = 0, 70, 75, 76, 77, 78
CREDIT = 16       # of a process whose handler gets one task a call; where it begins,
CREDIT_MOST = 1024  # and how far it grows with what is finished, unless it is given
LAST_WORDS_S = 2.0


@dataclasses.dataclass
class Options:
    """What a worker process is told. Times are seconds unless the name says otherwise."""

    endpoint: str
    queues: Sequence[str] = ("default",)
    credit: int | None = None
    every_us: int = 0
    lease_ms: int = 0
    heartbeat_ms: int = 0
    run_s_max: float = 600.0
    stop_s: float = 8.0
    name: str | None = None
    curve: Curve | None = None
    log: Log = dataclasses.field(default_factory=Log)


class Agent:
    """See the top of the file. `control_fd`: a byte, or its end, means stop; another one, at
    once."""

    def __init__(self, handler: results.Handler, options: Options,
                 control_fd: int | None = None) -> None:
        self.handler, self.options, self.log = handler, options, options.log
        self.batch = handler.batch
        self.every_us = options.every_us or handler.every_us
        given = options.credit or handler.credit
        credit = given or max(CREDIT, 2 * handler.batch)
        self.pace = Pace(credit, credit if given else CREDIT_MOST)
        self.book = LeaseBook(options.run_s_max)
        self.connection = Connection(
            options.endpoint, queues=options.queues, credit=credit, lease_ms=options.lease_ms,
            heartbeat_ms=options.heartbeat_ms, name=options.name, leases=self.book,
            curve=options.curve)
        self.control_fd = control_fd
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_woken = False
        self.condition = threading.Condition()
        self.queue: collections.deque[Task] = collections.deque()   # for the handler
        self.items: collections.deque[tuple[Task, list]] = collections.deque()  # its reports
        self.returns: collections.deque[Task] = collections.deque()  # leases to give back unbegun
        self.running: Sequence[Task] = ()
        self.stop_asked = 0     # how many times
        self.stop_end_s = float("inf")
        self.status = STOPPED
        self.handler_is_done = False

    # --- the main thread ---

    def run(self) -> int:
        """Work until told to stop; the exit status."""
        thread = threading.Thread(target=self.serve_guarded, name="everdue", daemon=True)
        thread.start()
        while (tasks := self.next_tasks()):
            self.run_tasks(tasks)
        self.handler_is_done = True
        self.wake()
        thread.join()
        os.close(self.wake_fd)
        return self.status

    def next_tasks(self) -> list[Task]:
        """Wait for work; [] when there will be none."""
        with self.condition:
            while True:
                while not self.queue and not self.stop_asked:
                    self.condition.wait()
                if self.stop_asked:
                    return []
                tasks = [self.queue.popleft()
                         for _ in range(min(self.batch or 1, len(self.queue)))]
                # Begun from here on: what happens now is a crash of these records.
                now_s = time.monotonic()
                self.returns.extend(task for task in tasks if task.cancelled)
                tasks = [task for task in tasks if not task.cancelled]
                for task in tasks:
                    task.begun_s = now_s
                self.running = tasks
                if tasks:
                    return tasks

    def run_tasks(self, tasks: list[Task]) -> None:
        began_s = tasks[0].begun_s
        try:
            given = self.handler.function(tasks if self.batch else tasks[0])
            outcome = self.match(tasks, given)
        except Exception as error:  # a run that failed; the traceback is for the log
            self.log.write("warning", "the handler failed", key=tasks[0].key, tasks=len(tasks),
                           error=describe(error), traceback=traceback.format_exc())
            outcome = [error] * len(tasks)
        ran_us = int((time.monotonic() - began_s) * 1e6)
        for task, result in zip(tasks, outcome):
            self.finish(task, result, ran_us)
        self.running = ()
        self.wake()

    def match(self, tasks: list[Task], given: Any) -> Sequence[Any]:
        """A result for each task."""
        if not self.batch:
            return [given]
        if given is None:
            return [None] * len(tasks)
        found = list(given)
        if isinstance(given, (dict, str)) or len(found) != len(tasks):
            raise BadResult(f"a batch of {len(tasks)} needs None or as many results, not {given!r}")
        return found

    def finish(self, task: Task, result: Any, ran_us: int) -> None:
        """Turn one result into a report."""
        waited_us = max(0, int((task.begun_s - task.arrived_s) * 1e6))
        if isinstance(result, Exception):
            item = results.failed_item(task, describe(result), waited_us, ran_us)
        else:
            try:
                item = results.report_item(task, result, self.every_us, waited_us, ran_us)
                if result and result.get("stop"):
                    self.stop_for(result.get("error") or "the handler asked to stop")
            except NoNext as error:
                self.returns.append(task)
                self.stop_for(str(error))
                return
            except (BadResult, TypeError) as error:
                self.log.write("warning", "no result", key=task.key, error=describe(error))
                item = results.failed_item(task, describe(error), waited_us, ran_us)
        self.items.append((task, item))

    def stop_for(self, reason: str) -> None:
        """The handler's mistake, or its wish: this worker takes no more work."""
        if self.status == STOPPED:
            self.log.write("error", f"stopping: {reason}")
            self.status = MISTAKE
        self.ask_to_stop()

    def wake(self) -> None:
        """Let the I/O thread look at what the handler left. It clears the flag before it looks."""
        if not self.is_woken:
            self.is_woken = True
            os.eventfd_write(self.wake_fd, 1)

    def ask_to_stop(self) -> None:
        with self.condition:
            self.stop_asked += 1
            self.condition.notify_all()
        self.wake()

    # --- the I/O thread ---

    def serve_guarded(self) -> None:
        try:
            self.serve()
        except NotAllowed as error:
            is_version = error.status == wire.Status.VERSION
            self.end_for(OTHER_VERSION if is_version else NOT_ALLOWED, str(error))
        except BaseException:
            self.end_for(OUR_BUG, traceback.format_exc())

    def end_for(self, status: int, reason: str) -> None:
        """There will be no session. The handler may be in the middle of something: end after it,
        but do not wait for it for ever."""
        self.log.write("error", f"stopping: {reason}")
        self.status = status
        self.ask_to_stop()
        until_s = time.monotonic() + self.options.stop_s
        while not self.handler_is_done and time.monotonic() < until_s:
            time.sleep(0.05)
        if not self.handler_is_done:
            os._exit(status)

    def serve(self) -> None:
        while not self.is_finished():
            now_s = time.monotonic()
            fds = [self.wake_fd] + ([] if self.control_fd is None else [self.control_fd])
            self.connection.turn(max(0.0, self.next_s() - now_s), fds)
            self.read_control()
            self.pace.finish(self.collect())
            self.hand_over()
            self.follow_pace(time.monotonic())
            self.watch(time.monotonic())
        self.connection.close()

    def is_finished(self) -> bool:
        """Told to stop, and nothing is left to be done or acknowledged."""
        return bool(self.stop_asked and self.handler_is_done and not self.items
                    and not self.returns and not self.book.held)

    def next_s(self) -> float:
        """When `watch` will have something to do."""
        running = self.running
        run_end_s = running[0].begun_s + self.options.run_s_max if running else float("inf")
        # A run may begin while this thread waits: look at the clock a few times in each limit.
        return min(run_end_s, self.stop_end_s, self.pace.next_s(),
                   time.monotonic() + self.options.run_s_max / 4)

    def read_control(self) -> None:
        if self.is_woken:
            self.is_woken = False
            try:
                os.eventfd_read(self.wake_fd)
            except BlockingIOError:
                pass  # the flag came before its count; that wakes us once more
        if self.control_fd is None:
            return
        try:
            said = os.read(self.control_fd, 16)
        except BlockingIOError:
            return
        if not said:
            self.control_fd = None  # the supervisor is gone: nobody would start us again
        for _ in range(max(1, len(said))):
            self.ask_to_stop()

    def collect(self) -> int:
        """What the handler has done; how many reports."""
        count = 0
        while self.items:
            self.book.report(*self.items.popleft())
            count += 1
        while self.returns:
            self.book.give_back(self.returns.popleft(), False)
        return count

    def follow_pace(self, now_s: float) -> None:
        """Ask for what the handler finishes, and give back what is held beyond that."""
        if self.stop_asked or self.pace.most <= self.pace.least:
            return
        if not self.connection.is_open:
            self.pace.begin(now_s)
            self.connection.credit = self.pace.credit  # HELLO says it
            return
        before = self.connection.credit
        credit = self.pace.let_pass(now_s, bool(self.queue or self.running))
        if credit != before:
            self.connection.set_credit(credit)
        if credit < before:
            with self.condition:
                while self.queue and len(self.queue) + len(self.running) > credit:
                    self.book.give_back(self.queue.pop(), False)

    def hand_over(self) -> None:
        """What has arrived, to the handler, or back when this worker stops."""
        arrived = self.book.arrived
        if self.stop_asked:
            if self.connection.credit:
                self.connection.set_credit(0)
                self.stop_end_s = time.monotonic() + self.options.stop_s
            with self.condition:
                arrived.extend(self.queue)
                self.queue.clear()
            for task in arrived:
                self.book.give_back(task, False)
            arrived.clear()
        elif arrived:
            with self.condition:
                self.queue.extend(arrived)
                self.condition.notify()
            arrived.clear()

    def watch(self, now_s: float) -> None:
        """A run that lasts too long, and a stop that does."""
        running = self.running
        if running and self.book.is_overdue(running[0], now_s):
            self.give_up(f"a run lasted {self.options.run_s_max:g} s", running,
                         wire.CAUSE_TIMED_OUT)
        elif self.stop_asked > 1 or now_s >= self.stop_end_s:
            if self.handler_is_done or not running:
                self.give_back_all(())
                self.book.held.clear()
            else:
                self.give_up("the run did not end in time", running, None)

    def give_up(self, reason: str, running: Sequence[Task], cause: int | None) -> None:
        """The handler does not come back. Nothing in Python ends it but the end of the process; the
        supervisor starts another. What ran is reported as failed, or given back as a crash."""
        self.log.write("error", f"ending this process: {reason}", key=running[0].key)
        for task in running if cause else ():
            self.book.report(task, results.failed_item(
                task, reason, 0, int((time.monotonic() - task.begun_s) * 1e6), cause))
        self.give_back_all(running)
        self.connection.set_credit(0)
        until_s = time.monotonic() + LAST_WORDS_S
        while self.book.held and time.monotonic() < until_s:
            self.connection.turn(until_s - time.monotonic())
        self.connection.close()
        os._exit(TIMED_OUT)

    def give_back_all(self, running: Sequence[Task]) -> None:
        """Every lease without a report; those in `running` had begun."""
        begun = {task.lease for task in running}
        for held in list(self.book.held.values()):
            self.book.give_back(held.task, held.task.lease in begun)


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


