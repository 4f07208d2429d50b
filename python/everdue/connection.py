"""One session with a broker: HELLO, heartbeats, requests and answers, reconnection.

        open            WELCOME               silence, a broken connection, no-session
   o --------> GREETING --------> OPEN --------------------------------------------------+
                  ^                                                                      |
                  +------------------------ back-off, 1 s at most -----------------------+

Not thread-safe: one thread at a time may use it. Nothing happens but in `turn`, which waits for
input, reads, answers PINGs, touches leases and sends what the lease book has. A request is kept
until it is answered and sent again after a reconnect; only those that are bound to their session
(a sync) end with status `unreachable`.
"""

from __future__ import annotations

import dataclasses
import os
import random
import socket as sockets
import sys
import time
from typing import Any, Iterable

import zmq
from zmq.utils.monitor import parse_monitor_message

from . import wire
from .curve import Curve
from .errors import NotAllowed
from .leases import LeaseBook
from .records import Task
from .wire import Answer, Kind, Status

HWM = 4096
READS_MAX = 1000  # messages in one turn, so that reading cannot hold up the rest
BACK_OFF_S = (0.02, 1.0)
HEARTBEATS_LOST = 3
ITEMS = 500  # of RESUME, TOUCH and GIVE_BACK: with keys of 1 KiB half a message
LINGER_MS = 500
CONNECT_S = 0.1  # for a connection to come about, when it is closed at once
SOCKET_OPTIONS = {
    zmq.LINGER: LINGER_MS, zmq.SNDHWM: HWM, zmq.RCVHWM: HWM, zmq.MAXMSGSIZE: wire.MESSAGE_BYTES_MAX,
    zmq.HANDSHAKE_IVL: 5000, zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 500,
    zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 30, zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3}
MONITORED = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
REFUSALS_FOR_GOOD = frozenset([Status.VERSION, Status.DENIED, Status.MALFORMED, Status.BAD_FIELD,
                               Status.BAD_KEY, Status.UNKNOWN_TYPE])


@dataclasses.dataclass
class Request:
    """What is not answered yet."""

    kind: Kind
    frame: bytes
    bound: bool  # it means nothing in another session


class Connection:
    """See the top of the file. `leases` is where tasks go, None for a client that takes none."""

    def __init__(self, endpoint: str, *, queues: Iterable[str] = (), credit: int = 0,
                 lease_ms: int = 0, heartbeat_ms: int = 0, name: str | None = None,
                 leases: LeaseBook | None = None, curve: Curve | None = None) -> None:
        self.endpoint = endpoint
        self.queues, self.credit = list(queues), credit
        self.lease_ms, self.heartbeat_ms = lease_ms, heartbeat_ms
        self.name = name or f"{sockets.gethostname()}:{os.path.basename(sys.argv[0])}:{os.getpid()}"
        self.leases = leases
        self.curve = curve
        self.uid = os.urandom(16)
        self.store: bytes | None = None
        self.limits: dict[str, Any] = {}
        self.fault: NotAllowed | None = None  # why no session will begin, as things are
        self.is_open = False
        self.nonsense = 0  # messages of the broker that were none
        self.restarts = 0  # sessions that were lost
        self.socket: zmq.Socket | None = None
        self.monitor: zmq.Socket | None = None
        self.poller = zmq.Poller()
        self.peer: tuple[int, int] | None = None  # file descriptor and inode, for forget_in_child
        self.requests: dict[int, Request] = {}
        self.answers: dict[int, Answer] = {}
        self.outgoing: list[bytes] = []  # what the socket did not take yet
        self.next_id = 1
        self.hello_id = 0
        self.resumed: list[list] = []  # what this session announces
        self.heard_s = self.pinged_s = self.open_s = 0.0
        self.back_off_s = 0.0

    # --- requests ---

    def post(self, kind: Kind, *fields: Any, bound: bool = False) -> int:
        """Send a request as soon as there is a session; its id, for `take_answer`."""
        request = self.draw_id()
        return self.post_frame(request, kind, wire.pack(kind, request, *fields), bound)

    def post_frame(self, request: int, kind: Kind, frame: bytes, bound: bool) -> int:
        self.requests[request] = Request(kind, frame, bound)
        if self.is_open:
            self.send(frame)
        return request

    def draw_id(self) -> int:
        request, self.next_id = self.next_id, self.next_id + 1
        return request

    def take_answer(self, request: int) -> Answer | None:
        return self.answers.pop(request, None)

    def drop(self, request: int) -> None:
        """Nobody waits for it any more."""
        self.requests.pop(request, None)
        self.answers.pop(request, None)

    def set_credit(self, credit: int) -> None:
        self.credit = credit
        if self.is_open:
            self.send(wire.pack(Kind.CREDIT, credit))

    # --- the turn ---

    def turn(self, wait_s: float, fds: Iterable[int] = ()) -> None:
        """Wait up to `wait_s` for a message (or for one of `fds`), read what is there, and do what
        the time demands. Raises NotAllowed when no session can begin."""
        self.do_due(time.monotonic())
        wait_s = min(wait_s, max(0.0, self.next_s() - time.monotonic()))
        for fd in fds:
            self.poller.register(fd, zmq.POLLIN)
        try:
            ready = {each for each, _ in self.poller.poll(min(wait_s * 1000, 2**31 - 1))}
        finally:
            for fd in fds:
                self.poller.unregister(fd)
        # Messages first: what arrived before a connection broke counts, answers above all.
        has_event = self.monitor in ready
        if has_event or self.socket in ready:
            self.read()
        if has_event:
            self.read_monitor()
        self.do_due(time.monotonic())
        if self.fault:
            # Said once for each attempt: a key may be let in later.
            fault, self.fault = self.fault, None
            self.lose(time.monotonic())
            raise fault

    def flush(self) -> None:
        """Send what the lease book has, without waiting for anything."""
        self.do_due(time.monotonic())

    def next_s(self) -> float:
        """When this connection needs a turn even without input."""
        if self.socket is None:
            return self.open_s
        times = [self.silence_s()]
        if self.outgoing:
            times.append(time.monotonic() + 0.01)
        if self.is_open and self.leases:
            times.append(self.leases.next_s())
        return min(times)

    def heartbeat_s(self) -> float:
        return (self.limits.get("heartbeat_ms") or self.heartbeat_ms or 5000) / 1000

    def silence_s(self) -> float:
        """When the next thing is done about silence: a PING, or giving the broker up."""
        heartbeat_s = self.heartbeat_s()
        if not self.is_open:
            return self.heard_s + HEARTBEATS_LOST * min(heartbeat_s, 5.0)
        return min(self.heard_s + HEARTBEATS_LOST * heartbeat_s,
                   max(self.heard_s, self.pinged_s) + heartbeat_s)

    def do_due(self, now_s: float) -> None:
        if self.socket is None:
            if now_s >= self.open_s:
                self.open(now_s)
            return
        if now_s >= self.silence_s():
            limit = HEARTBEATS_LOST * min(self.heartbeat_s(), 5.0 if not self.is_open else 1e9)
            if now_s - self.heard_s >= limit:
                self.lose(now_s)
                return
            self.pinged_s = now_s
            self.send(wire.pack(Kind.PING, self.draw_id()))
        if self.outgoing:
            frames, self.outgoing = self.outgoing, []
            for frame in frames:
                self.send(frame)
        if self.is_open and self.leases:
            self.send_for_leases(self.leases, now_s)

    def send_for_leases(self, leases: LeaseBook, now_s: float) -> None:
        while (batch := leases.reports(now_s)) is not None:
            leases.sent(self.tell(Kind.REPORT, batch[0]), Kind.REPORT, batch[1])
        while leases.returned:
            self.tell(Kind.GIVE_BACK, leases.returned[:ITEMS])
            del leases.returned[:ITEMS]
        touched = leases.touches(now_s)
        for first in range(0, len(touched), ITEMS):
            part = touched[first:first + ITEMS]
            names = [[held.task.qi, held.task.key, held.task.lease] for held in part]
            leases.sent(self.tell(Kind.TOUCH, self.lease_ms, names), Kind.TOUCH, part)

    def tell(self, kind: Kind, *fields: Any) -> int:
        """Send what the lease book repeats by itself in the next session, if need be."""
        request = self.draw_id()
        self.send(wire.pack(kind, request, *fields))
        return request

    def send(self, frame: bytes) -> None:
        """Never blocks: what the socket does not take is kept, in order."""
        if self.outgoing or self.socket is None:
            self.outgoing.append(frame)
            return
        try:
            self.socket.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            self.outgoing.append(frame)

    # --- sessions ---

    def open(self, now_s: float) -> None:
        """A new socket and HELLO. Whether anybody listens shows later."""
        self.socket = context().socket(zmq.DEALER)
        for option, value in SOCKET_OPTIONS.items():
            self.socket.setsockopt(option, value)
        if self.curve:
            self.socket.curve_serverkey = self.curve.server_key.encode()
            self.socket.curve_publickey = self.curve.public_key.encode()
            self.socket.curve_secretkey = self.curve.secret_key.encode()
        self.monitor = self.socket.get_monitor_socket(MONITORED)
        self.socket.connect(self.endpoint)
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.monitor, zmq.POLLIN)
        self.heard_s = self.pinged_s = now_s
        self.say_hello()

    def say_hello(self) -> None:
        self.hello_id = self.draw_id()
        self.resumed = self.leases.to_resume() if self.leases and self.store else []
        self.send(wire.pack(Kind.HELLO, self.hello_id, self.uid, self.name, self.queues,
                            self.credit, self.lease_ms, self.heartbeat_ms, len(self.resumed)))

    def shut(self) -> None:
        """Close the socket. What was not sent is kept for the next session, by those who asked."""
        self.is_open = False
        self.outgoing.clear()
        self.peer = None
        if self.socket is not None:
            self.poller = zmq.Poller()
            self.socket.disable_monitor()
            self.monitor.close(linger=0)
            self.socket.close(linger=LINGER_MS)
            self.socket = self.monitor = None

    def lose(self, now_s: float) -> None:
        """The session is lost: end what was bound to it, open another after a back-off."""
        if self.is_open:
            self.restarts += 1
        self.shut()
        for request in [each for each, about in self.requests.items() if about.bound]:
            del self.requests[request]
            self.answers[request] = Answer(Status.UNREACHABLE, None, "the connection was lost")
        least_s, most_s = BACK_OFF_S
        self.back_off_s = min(max(least_s, self.back_off_s * 2), most_s)
        # Parted by chance, so that a thousand workers do not come back in step.
        self.open_s = now_s + self.back_off_s * random.uniform(0.5, 1)

    def renew(self) -> None:
        """Say HELLO anew at once, with the queues as they are now, and announce what is held."""
        if self.socket is not None:
            self.lose(time.monotonic())
            self.open_s = 0.0

    def begin(self, fields: list) -> None:
        """WELCOME."""
        request, store, credit_max, lease_ms, heartbeat_ms, payload_max, message_max = fields[:7]
        if request != self.hello_id or self.is_open:
            return
        store = wire.as_bytes(store)
        is_other, self.store = self.store not in (None, store), store
        if is_other and self.leases:
            self.leases.forget()
            if self.resumed:
                # The broker waits for leases that it has never granted: announce none instead.
                self.say_hello()
                return
        self.limits = {"credit_max": credit_max, "lease_ms": lease_ms, "heartbeat_ms": heartbeat_ms,
                       "payload_max": payload_max, "message_max": message_max,
                       "version": fields[8] if len(fields) > 8 else None}
        self.is_open = True
        self.back_off_s = 0.0
        if self.leases:
            self.leases.lease_s = lease_ms / 1000
            self.resume(self.leases)
        for about in list(self.requests.values()):
            self.send(about.frame)

    def resume(self, leases: LeaseBook) -> None:
        for first in range(0, len(self.resumed), ITEMS):
            part = self.resumed[first:first + ITEMS]
            leases.sent(self.tell(Kind.RESUME, part), Kind.RESUME,
                        [leases.held[item[2]] for item in part])
        self.resumed = []

    def close(self, wait_s: float = 1.0) -> None:
        """Say goodbye, wait a little for the answer, close. What is still held is given back."""
        until_s = time.monotonic() + wait_s
        try:
            self.wait_for_welcome(until_s)
            if self.is_open:
                self.flush()  # what is given back goes before the goodbye
                goodbye = self.post(Kind.GOODBYE, bound=True)
                while goodbye in self.requests and time.monotonic() < until_s:
                    self.turn(until_s - time.monotonic())
        except (NotAllowed, zmq.ZMQError):
            pass  # it was to end anyway
        self.shut()

    def wait_for_welcome(self, until_s: float) -> None:
        """A HELLO that is on its way begins a session, which has leases before its WELCOME is here:
        without a goodbye they would be lost, and count as crashes. Where nobody listens the
        connection itself does not come."""
        connect_s = min(time.monotonic() + CONNECT_S, until_s)
        while (self.socket is not None and not self.is_open and
               (now_s := time.monotonic()) < (until_s if self.peer else connect_s)):
            self.turn((until_s if self.peer else connect_s) - now_s)

    # --- reading ---

    def read(self) -> None:
        for _ in range(READS_MAX):
            # Asking first is cheaper than the exception of a socket that has nothing.
            if self.socket is None or not self.socket.get(zmq.EVENTS) & zmq.POLLIN:
                return
            frames = self.socket.recv_multipart(zmq.DONTWAIT)
            self.heard_s = time.monotonic()
            try:
                if len(frames) != 1:
                    raise wire.ProtocolError("a message of several frames")
                self.handle(*wire.unpack(frames[0]))
            except (TypeError, ValueError, IndexError, AttributeError, KeyError):
                # A message that is not shaped as its type demands. It is answered by nothing, and
                # what waits for it ends by its own time limit.
                self.nonsense += 1

    def handle(self, kind: int, *fields: Any) -> None:
        if kind == Kind.ANSWER:
            self.file_answer(fields[0], Answer(*fields[1:4]))
        elif kind == Kind.TASKS and self.leases is not None:
            self.grant(self.leases, fields[0])
        elif kind == Kind.CANCEL and self.leases is not None:
            self.leases.told_ended(fields[0])
        elif kind == Kind.PING:
            self.send(wire.pack(Kind.PONG, fields[0]))
        elif kind == Kind.WELCOME:
            self.begin(list(fields))
        elif kind == Kind.ERROR:
            self.handle_error(fields[0], fields[1] if len(fields) > 1 else None)
        # BYE needs nothing: reports are still taken until the connection ends.

    def grant(self, leases: LeaseBook, items: list) -> None:
        for task in [Task(each, self.queues, self.heard_s) for each in items]:
            leases.grant(task, self.heard_s)

    def handle_error(self, status: int, text: str | None) -> None:
        if status in REFUSALS_FOR_GOOD and not self.is_open:
            words = wire.as_text(text) or wire.status_name(status)
            self.fault = NotAllowed(f"{self.endpoint}: {words}", status)
        elif status == Status.NO_SESSION:
            self.lose(self.heard_s)

    def file_answer(self, request: int, answer: Answer) -> None:
        if request == self.hello_id and not self.is_open:
            if answer.status in REFUSALS_FOR_GOOD:
                self.handle_error(answer.status, answer.text)
            else:
                self.lose(self.heard_s)  # too many sessions, draining: there will be room
        elif self.requests.pop(request, None) is not None:
            self.answers[request] = answer
        elif self.leases is not None:
            kind = self.leases.answered(request, answer, self.heard_s)
            if kind == Kind.TAKE and answer.status == Status.OK:
                # At once: what is not held when the session is lost is not announced.
                self.grant(self.leases, answer.body)

    def read_monitor(self) -> None:
        while self.monitor is not None and self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())
            if event["event"] == zmq.EVENT_CONNECTED:
                self.note_peer(int(event["value"]))
            elif event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.fault = NotAllowed(f"{self.endpoint}: the broker refused this key",
                                        Status.DENIED)
            elif event["event"] == zmq.EVENT_DISCONNECTED:
                self.lose(time.monotonic())

    # --- fork ---

    def note_peer(self, fd: int) -> None:
        try:
            self.peer = fd, os.fstat(fd).st_ino
        except OSError:
            self.peer = None  # closed again already

    def forget_in_child(self) -> None:
        """After a fork, in the child: leave everything to the parent, but close the child's copy of
        the connection. Otherwise the broker would not see the parent die while the child lives."""
        if self.peer is not None:
            fd, inode = self.peer
            try:
                if os.fstat(fd).st_ino == inode:
                    os.close(fd)
            except OSError:
                pass  # it was closed meanwhile


_contexts: dict[int, zmq.Context] = {}


def context() -> zmq.Context:
    """One context a process; a forked child must not use its parent's."""
    made = _contexts.get(os.getpid())
    if made is None:
        made = _contexts[os.getpid()] = zmq.Context()
    return made
