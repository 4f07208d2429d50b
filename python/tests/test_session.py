"""The worker's half of the protocol against a broker that a test plays: what is sent, and when.

Times are short because the test sets the heartbeat; nothing here is judged by how fast it was.
"""

import socket
import threading
import time

import pytest
import zmq

from conftest import wait_until
from everdue import NotAllowed, wire
from everdue.connection import Connection
from everdue.leases import LeaseBook
from everdue.records import Task
from everdue.wire import Answer, Kind, Status

STORE = b"s" * 16
HELLO, REPORT, RESUME, PING, TOUCH, PUT, GIVE_BACK, CREDIT = (
    Kind.HELLO, Kind.REPORT, Kind.RESUME, Kind.PING, Kind.TOUCH, Kind.PUT, Kind.GIVE_BACK,
    Kind.CREDIT)


class FakeBroker:
    """A ROUTER that says only what the test says."""

    def __init__(self):
        self.context = zmq.Context()
        self.port = None
        self.begin()

    def begin(self):
        self.router = self.context.socket(zmq.ROUTER)
        self.router.linger = 0
        if self.port is None:
            self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        else:
            wait_until(self.bind, what="the port")
        self.peer = None
        self.heard = []  # messages as [type, field...]

    def bind(self):
        try:
            self.router.bind(f"tcp://127.0.0.1:{self.port}")
            return True
        except zmq.ZMQError:
            return False

    def end(self):
        self.router.close()

    def restart(self):
        self.end()
        self.begin()

    def read(self):
        while self.router.poll(0):
            self.peer, frame = self.router.recv_multipart()
            self.heard.append(wire.unpack(frame))

    def say(self, kind, *fields):
        self.router.send_multipart([self.peer, wire.pack(kind, *fields)])

    def welcome(self, hello, store=STORE, heartbeat_ms=60000, lease_ms=60000):
        self.say(Kind.WELCOME, hello[1], store, 16384, lease_ms, heartbeat_ms, 65536, 1 << 20,
                 False, "0.1.0", 0)


class Pair:
    """A connection and the broker that it speaks with, in one thread."""

    def __init__(self, **options):
        self.broker = FakeBroker()
        self.book = LeaseBook(600.0)
        self.connection = Connection(f"tcp://127.0.0.1:{self.broker.port}", queues=["q"], credit=4,
                                     leases=self.book, **options)

    def until(self, condition, what="the message"):
        def look():
            self.connection.turn(0.01)
            self.broker.read()
            return condition()

        return wait_until(look, what=what)

    def hear(self, kind):
        """The next message of that type, taken out of what was heard."""
        found = self.until(lambda: [each for each in self.broker.heard if each[0] == kind],
                           f"a {kind.name}")
        self.broker.heard.remove(found[0])
        return found[0]

    def open(self, **options):
        hello = self.hear(HELLO)
        self.broker.welcome(hello, **options)
        self.until(lambda: self.connection.is_open, "the session")
        return hello

    def grant(self, lease, key="a", lease_ms=60000):
        self.broker.say(Kind.TASKS, [[0, key, lease, 5, 0, 0, 0, 0, lease_ms, None, None, None, 0,
                                      0]])
        self.until(lambda: self.book.arrived, "the task")
        return self.book.arrived.popleft()

    def report(self, task):
        item = [0, task.key, task.lease, task.state, 0, None, 1, 0, 0]
        self.book.report(task, item)
        return item


@pytest.fixture
def pairs():
    made = []

    def make(**options):
        made.append(Pair(**options))
        return made[-1]

    yield make
    for pair in made:
        pair.connection.shut()
        pair.broker.end()
        pair.broker.context.term()


@pytest.fixture
def pair(pairs):
    return pairs()


def test_hello_is_first_and_nothing_else_goes_out_before_welcome(pair):
    pair.connection.post(PUT, "q", [["k"]])
    hello = pair.hear(HELLO)
    _, _, uid, _, queues, credit, _, _, resume = hello
    assert (len(uid), queues, credit, resume) == (16, ["q"], 4, 0)
    assert pair.broker.heard == []
    pair.broker.welcome(hello)
    assert pair.hear(PUT)[2:] == ["q", [["k"]]]


def test_ping_is_answered_by_pong_with_its_id(pair):
    pair.open()
    pair.broker.say(PING, 77)
    assert pair.hear(Kind.PONG) == [Kind.PONG, 77]


def test_silence_is_met_with_ping_and_then_with_a_new_socket(pairs):
    pair = pairs(heartbeat_ms=60)
    first = pair.open(heartbeat_ms=60)
    peer = pair.broker.peer
    pair.hear(PING)
    second = pair.hear(HELLO)
    assert pair.broker.peer != peer and second[2] == first[2]  # the same uid on another socket
    assert pair.connection.restarts == 1


def test_any_message_counts_as_a_sign_of_life(pairs):
    pair = pairs(heartbeat_ms=500)
    pair.open(heartbeat_ms=500)
    for _ in range(10):
        time.sleep(0.2)
        pair.broker.say(Kind.CANCEL, [])
        pair.connection.turn(0.01)
    assert pair.connection.restarts == 0


def test_no_session_is_answered_by_hello_on_another_socket(pair):
    pair.open()
    peer = pair.broker.peer
    pair.broker.say(Kind.ERROR, int(Status.NO_SESSION), "say hello first")
    pair.hear(HELLO)
    assert pair.broker.peer != peer


def test_a_report_without_answer_is_announced_and_sent_again(pair):
    pair.open()
    item = pair.report(pair.grant(17))
    running = pair.grant(18, "b")
    assert pair.hear(REPORT)[2] == [item]
    pair.broker.restart()
    hello = pair.hear(HELLO)
    assert hello[8] == 2
    pair.broker.welcome(hello)
    assert pair.hear(RESUME)[2] == [[0, "a", 17, 5], [0, "b", 18, 5]]
    again = pair.hear(REPORT)
    assert again[2] == [item]
    pair.broker.say(Kind.ANSWER, again[1], 0, [0])
    pair.until(lambda: list(pair.book.held) == [18], "the end of the report")
    assert running.cancelled is False


def test_a_resumed_lease_that_is_refused_is_cancelled_and_its_report_is_sent_all_the_same(pair):
    pair.open()
    waiting, running = pair.grant(17), pair.grant(18, "b")
    item = pair.report(waiting)
    pair.hear(REPORT)
    pair.broker.restart()
    pair.broker.welcome(pair.hear(HELLO))
    resume = pair.hear(RESUME)
    pair.broker.say(Kind.ANSWER, resume[1], 0, [int(Status.STALE), int(Status.GONE)])
    pair.until(lambda: running.cancelled, "the end of the lease")
    assert pair.hear(REPORT)[2] == [item]


def test_what_is_announced_is_not_cancelled_before_the_answer(pair):
    pair.open()
    tasks = [pair.grant(17), pair.grant(18, "b"), pair.grant(19, "c")]
    pair.broker.restart()
    hello = pair.hear(HELLO)
    assert hello[8] == 3
    pair.broker.welcome(hello)
    resume = pair.hear(RESUME)
    pair.broker.say(Kind.CANCEL, [17, 18])  # they expired before the announcement was read
    pair.broker.say(Kind.ANSWER, resume[1], 0, [0, int(Status.STALE), 0])
    pair.until(lambda: tasks[1].cancelled, "the answer")
    assert not tasks[0].cancelled
    pair.broker.say(Kind.CANCEL, [19])
    pair.until(lambda: tasks[2].cancelled, "CANCEL")
    assert not tasks[0].cancelled


def test_another_store_ends_leases_and_reports_and_hello_announces_none(pair):
    pair.open()
    pair.report(pair.grant(17))
    running = pair.grant(18, "b")
    pair.hear(REPORT)
    pair.broker.restart()
    assert pair.hear(HELLO)[8] == 2
    pair.broker.welcome([HELLO, pair.connection.hello_id], store=b"t" * 16)
    hello = pair.hear(HELLO)
    assert hello[8] == 0 and running.cancelled and not pair.book.held
    pair.broker.welcome(hello, store=b"t" * 16)
    fresh = pair.grant(17)  # the same number, of another lease
    pair.book.report(running, [0, "b", 18, 5, 0])
    pair.book.report(Task(fresh.fields(), ["q"], 0.0), [0, "a", 17, 5, 0])
    assert pair.book.held[17].item is None


def test_a_busy_broker_gets_the_report_again_a_second_later(pair):
    pair.open()
    item = pair.report(pair.grant(17))
    first = pair.hear(REPORT)
    began = time.monotonic()
    pair.broker.say(Kind.ANSWER, first[1], 0, [int(Status.BUSY)])
    again = pair.hear(REPORT)
    assert again[2] == [item] and time.monotonic() - began >= 0.95
    pair.broker.say(Kind.ANSWER, again[1], int(Status.NO_SPACE), None, "the disk is full")
    third = pair.hear(REPORT)
    pair.broker.say(Kind.ANSWER, third[1], 0, [int(Status.STALE)])
    pair.until(lambda: not pair.book.held, "its end")
    assert pair.book.refused == {Status.STALE: 1}


def test_leases_are_touched_at_a_third_and_no_longer_than_a_run_may_last(pairs):
    pair = pairs()
    pair.open(lease_ms=300)
    task, over = pair.grant(17, lease_ms=300), pair.grant(18, "b", lease_ms=300)
    over.begun_s = time.monotonic() - 1000
    touch = pair.hear(TOUCH)
    assert touch[3] == [[0, "a", 17]]
    before = task.until_s
    pair.broker.say(Kind.ANSWER, touch[1], 0, [0])
    pair.until(lambda: task.until_s > before, "the longer lease")
    stale = pair.hear(TOUCH)
    pair.broker.say(Kind.ANSWER, stale[1], 0, [int(Status.STALE)])
    pair.until(lambda: task.cancelled, "its end")


def test_many_reports_are_parted_into_messages_that_fit(pair):
    pair.open()
    tasks = [pair.grant(number, f"k{number}") for number in range(1, 31)]
    for task in tasks:
        pair.book.report(task, [0, task.key, task.lease, 5, 0, None, 1, 0, 0, b"m" * 60000])
    seen = []
    while len(seen) < 30:
        message = pair.hear(REPORT)
        assert len(wire.pack(*message)) < 1 << 20
        seen += [item[2] for item in message[2]]
    assert seen == list(range(1, 31))


def test_cancelled_leases_are_not_given_back_and_others_are(pair):
    pair.open()
    first, second = pair.grant(17), pair.grant(18, "b")
    pair.broker.say(Kind.CANCEL, [17, 99])
    pair.until(lambda: first.cancelled, "CANCEL")
    for task in (first, second):
        pair.book.give_back(task, False)
    assert pair.hear(GIVE_BACK)[2] == [[0, "b", 18, False]]
    assert not pair.book.held


def test_nonsense_is_counted_and_changes_nothing(pair):
    pair.open()
    for frames in [[b""], [b"\xc1"], [b"\x92\x02\x41"], [b"\x92\x01\x41"], [b"a", b"b"],
                   [wire.pack(Kind.TASKS, [[0, "a"]])], [wire.pack(Kind.TASKS, [[9] * 14])],
                   [wire.pack(Kind.ANSWER)], [wire.pack(Kind.CANCEL, 5)],
                   [wire.pack(Kind.WELCOME)]]:
        pair.broker.router.send_multipart([pair.broker.peer, *frames])
    pair.until(lambda: pair.connection.nonsense == 10, "the tenth")
    assert pair.connection.is_open and not pair.book.held
    pair.grant(17)


def test_unknown_types_and_trailing_fields_are_ignored(pair):
    pair.open()
    pair.broker.say(99, "new", 1)
    task = [0, "a", 17, 5, 0, 0, 0, 0, 60000, None, None, None, 0, 0, None, "x"]
    pair.broker.say(Kind.TASKS, [task], "more")
    pair.until(lambda: pair.book.arrived, "the task")
    assert pair.connection.nonsense == 0


@pytest.mark.parametrize("status", [Status.VERSION, Status.DENIED])
def test_what_forbids_the_session_for_good_is_raised(pair, status):
    pair.hear(HELLO)
    pair.broker.say(Kind.ERROR, int(status), "no")
    with pytest.raises(NotAllowed, match="no") as raised:
        pair.until(lambda: False)
    assert raised.value.status == status


def test_what_is_closed_before_its_welcome_says_goodbye_all_the_same(pair):
    hello = pair.hear(HELLO)
    closing = threading.Thread(target=pair.connection.close)
    closing.start()
    time.sleep(0.2)  # it would have been closed by now
    pair.broker.welcome(hello)
    kinds = []

    def is_goodbye_heard():
        pair.broker.read()
        kinds[:] = [message[0] for message in pair.broker.heard]
        return Kind.GOODBYE in kinds

    wait_until(is_goodbye_heard, what="GOODBYE")
    pair.broker.say(Kind.ANSWER, pair.broker.heard[kinds.index(Kind.GOODBYE)][1], 0, None, None)
    closing.join()


def test_a_connection_that_never_came_about_is_closed_at_once():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # nobody listens there
        connection = Connection(f"tcp://127.0.0.1:{probe.getsockname()[1]}", queues=["q"], credit=4)
        connection.turn(0.01)
        began_s = time.monotonic()
        connection.close(wait_s=60)
        assert time.monotonic() - began_s < 30


def test_a_full_broker_is_asked_again(pair):
    hello = pair.hear(HELLO)
    pair.broker.say(Kind.ANSWER, hello[1], int(Status.TOO_MANY))
    pair.open()


def test_what_is_bound_to_a_session_ends_with_it_and_the_rest_is_repeated(pair):
    pair.open()
    bound = pair.connection.post(Kind.SYNC_BEGIN, "q", None, False, bound=True)
    free = pair.connection.post(PUT, "q", [["k"]])
    pair.hear(PUT)
    pair.broker.restart()
    pair.open()
    assert pair.hear(PUT)[1] == free
    assert pair.connection.take_answer(bound) == Answer(Status.UNREACHABLE, None,
                                                        "the connection was lost")
