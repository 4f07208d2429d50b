"""A peer that speaks the protocol byte by byte, written from docs/protocol.md alone.

    peer = Peer(broker.endpoint)
    peer.hello(queues=["q"], credit=4)
    assert peer.put("q", ["key"]) == [CREATED]

It answers PING with PONG whenever it reads; `silent` peers do not.
"""

import contextlib
import os
import signal
import time

import msgpack
import zmq

from harness import SECONDS, wait_until

HELLO, CREDIT, REPORT, TOUCH, GIVE_BACK, RESUME, TAKE, GOODBYE, PING, PONG = range(1, 11)
PUT, REMOVE, RUN_NOW, KICK, GET, LIST, PEEK = range(16, 23)
SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT, SYNC_ABORT = range(24, 28)
PAUSE, UNPAUSE, DRAIN = range(32, 35)
STATS, WORKERS, QUEUES, BACKUP = range(36, 40)
WELCOME, TASKS, CANCEL, ANSWER, ERROR, BYE = range(64, 70)

OK, CREATED, CHANGED, UNCHANGED, PENDING = range(5)
STALE, GONE, NOT_FOUND, BUSY, NO_SPACE, TOO_LARGE = range(-1, -7, -1)
BAD_KEY, BAD_TIME, BAD_FIELD, TOO_MANY, CONFLICT, MISMATCH = range(-7, -13, -1)
PRUNE_GUARD, DUPLICATE, LEASED, NOT_PARKED, PARKED, DRAINING = range(-13, -19, -1)
TIMED_OUT, NO_SESSION, NO_NEXT, MALFORMED, UNKNOWN_TYPE, VERSION = range(-19, -25, -1)
DENIED = -25

WAITING, READY, AT_WORK, ASIDE = 1, 2, 4, 8  # bits of a record's status
REPORT_OK, REPORT_RETRY, REPORT_PARK, REPORT_REMOVE = range(4)
MESSAGE_BYTES_MAX = 1 << 20
HOUR_US = 3600 * 1000000


class Task:
    """One task as it came."""

    def __init__(self, fields):
        (self.qi, self.key, self.lease, self.state, self.due, self.lateness, self.failures,
         self.crashes, self.lease_ms, self.payload, self.memo, self.group, self.every,
         self.rank) = fields[:14]

    def report(self, outcome=REPORT_OK, due=None, after=None, **more):
        """The item of a REPORT; `more` names fields behind `ran`."""
        named = ["memo", "payload", "rank", "note", "error", "cause"]
        assert set(more) <= set(named)
        return [self.qi, self.key, self.lease, self.state, outcome, due, after, 0, 0,
                *(more.get(name) for name in named)]

    def name(self):
        return [self.qi, self.key, self.lease]

    def resume(self):
        return [self.qi, self.key, self.lease, self.state]


class Record:
    """One record as GET, LIST and PEEK tell it."""

    def __init__(self, fields):
        (self.key, self.status, self.due, self.every, self.rank, self.group, self.once,
         self.failures, self.crashes, self.state, self.payload, self.memo, self.note, self.error,
         self.park_reason, self.parked, self.last_worker, *_) = fields + [None] * 17


class Peer:
    """One DEALER. `uid` and the leases are what outlives its connections."""

    def __init__(self, endpoint, silent=False, keys=None):
        self.endpoint = endpoint
        self.keys = keys    # of CURVE: the server's public one, our public and secret ones
        self.silent = silent
        self.uid = os.urandom(16)
        self.id = 0
        self.tasks = []     # streamed and not yet taken out of here
        self.cancelled = []
        self.errors = []    # statuses of ERROR messages
        self.said_bye = False
        self.answers = {}   # id: [status, body, text, raw bytes]
        self.welcome = None
        self.socket = None
        self.connect()

    def connect(self):
        """A new socket; a message that was not answered is lost with the old one."""
        self.close()
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.reconnect_ivl = 20
        if self.keys:
            (self.socket.curve_serverkey, self.socket.curve_publickey,
             self.socket.curve_secretkey) = self.keys
        self.socket.connect(self.endpoint)

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    # --- messages ---

    def send(self, *fields):
        self.socket.send(msgpack.packb([1, *fields]))

    def send_raw(self, *frames):
        self.socket.send_multipart(frames)

    def receive(self, seconds=SECONDS):
        """The next message as [type, ...], filed where it belongs; None: nothing came."""
        until = time.monotonic() + seconds
        while True:
            left_ms = max(0, int((until - time.monotonic()) * 1000))
            if not self.socket.poll(left_ms):
                return None
            frame = self.socket.recv()
            version, *message = msgpack.unpackb(frame, raw=False, strict_map_key=False)
            assert version == 1
            self.file(message, frame)
            if message[0] != PING:
                return message
            if not self.silent:
                self.send(PONG, message[1])

    def file(self, message, frame):
        kind, *fields = message
        if kind == WELCOME:
            self.welcome = fields
        elif kind == TASKS:
            self.tasks += [Task(task) for task in fields[0]]
        elif kind == CANCEL:
            self.cancelled += fields[0]
        elif kind == ANSWER:
            self.answers[fields[0]] = [*fields[1:], None, None][:3] + [frame]
        elif kind == ERROR:
            self.errors.append(fields[0])
        elif kind == BYE:
            self.said_bye = True

    def wait(self, condition, seconds=SECONDS, what="the message"):
        """Read until `condition()` is true; what it gave."""
        until = time.monotonic() + seconds
        while not condition():
            left = until - time.monotonic()
            assert left > 0, f"{what} did not come within {seconds} s"
            self.receive(left)
        return condition()

    def post(self, kind, *fields):
        """Send a request without waiting for its answer; its id."""
        self.id += 1
        self.send(kind, self.id, *fields)
        return self.id

    def answer(self, request, seconds=SECONDS):
        self.wait(lambda: request in self.answers, seconds, f"the answer {request}")
        return self.answers.pop(request)

    def ask(self, kind, *fields, seconds=SECONDS):
        """A request's [status, body, text]."""
        return self.answer(self.post(kind, *fields), seconds)[:3]

    def items(self, kind, *fields):
        """A request's item statuses; it must be accepted as a whole."""
        status, body, text = self.ask(kind, *fields)
        assert status == OK, (status, text)
        return body

    # --- sessions ---

    def post_hello(self, queues=(), credit=0, lease_ms=0, heartbeat_ms=600000, resume=0):
        self.welcome = None
        return self.post(HELLO, self.uid, f"test:{os.getpid()}", list(queues), credit, lease_ms,
                         heartbeat_ms, resume)

    def hello(self, *arguments, **named):
        """Say hello; WELCOME's fields, or the status of a refusal."""
        request = self.post_hello(*arguments, **named)
        self.wait(lambda: self.welcome or request in self.answers or self.errors, what="WELCOME")
        return self.welcome or self.answers.pop(request, self.errors)[0]

    @property
    def store(self):
        return self.welcome[1]

    def goodbye(self):
        return self.ask(GOODBYE)[0]

    def next_tasks(self, count, seconds=SECONDS):
        """Wait for so many tasks and take them."""
        self.wait(lambda: len(self.tasks) >= count, seconds, f"{count} tasks")
        tasks, self.tasks = self.tasks[:count], self.tasks[count:]
        return tasks

    # --- records ---

    def put(self, queue, *puts):
        return self.items(PUT, queue, [list(put) for put in puts])

    def get(self, queue, key):
        """The record, or None."""
        found = self.items(GET, queue, [key])[0]
        return Record(found) if isinstance(found, list) else None

    def list(self, queue, statuses=15, page=1000):
        """All records of a queue, page by page."""
        records, cursor = [], 0
        while cursor is not None:
            cursor, found = self.items(LIST, queue, statuses, None, cursor, page)
            records += [Record(record) for record in found]
        return records

    def report(self, *reports):
        return self.items(REPORT, list(reports))

    def take(self, count=1, wait_ms=0, lease_ms=0, detached=True, qi=0, seconds=SECONDS):
        status, body, text = self.ask(TAKE, qi, count, wait_ms, lease_ms, detached,
                                      seconds=seconds)
        assert status == OK, (status, text)
        return [Task(task) for task in body]

    def stats(self, queue=None):
        return self.items(STATS, queue)


def put(key, due=None, after=None, every=None, rank=None, group=None, once=None, payload=None,
        memo=None):
    """The item of a PUT or SYNC_CHUNK; times are microseconds."""
    return [key, due, after, every, rank, group, once, payload, memo]


@contextlib.contextmanager
def stopped(process):
    """Hold a process with SIGSTOP, so that what is sent meanwhile is read together."""
    process.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) == "T", what="the stop")
    yield
    process.signal(signal.SIGCONT)


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]
