"""The protocol as a stranger speaks it: what is refused, promised, and must never happen."""

import random
import zlib

import msgpack
import pytest

from conftest import wait_until
from raw import (
    AT_WORK, BAD_FIELD, BAD_KEY, BAD_TIME, CONFLICT, CREATED, CREDIT, DRAIN,
    GET, GIVE_BACK, GONE, GOODBYE, HELLO, HOUR_US, KICK, MALFORMED, MESSAGE_BYTES_MAX, MISMATCH,
    NO_SESSION, NOT_FOUND, OK, PAUSE, PING, PONG, PUT, READY, REMOVE, REPORT, RESUME,
    RUN_NOW, STALE, STATS, SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT, TAKE, TASKS, TOO_LARGE, TOUCH,
    UNKNOWN_TYPE, UNPAUSE, VERSION, Peer, put, stopped)


@pytest.fixture
def broker(made, brokers):
    return brokers("--stop-timeout", "0s")


@pytest.fixture
def peers(made, broker):
    """Makes peers of a broker, this test's own unless another is named."""

    def make(of=broker, silent=False, **hello):
        made.append(Peer(of.endpoint, silent))
        if hello:
            assert isinstance(made[-1].hello(**hello), list)
        return made[-1]

    return make


@pytest.fixture
def peer(peers):
    return peers(queues=["q"])


def refused_by(peer, *frames):
    """The status of the ERROR that answers these frames."""
    peer.send_raw(*frames)
    peer.wait(lambda: peer.errors, what="ERROR")
    return peer.errors.pop()


# --- what is refused ---


def test_a_connection_without_hello_is_told_to_say_it(peers):
    stranger, watcher = peers(), peers(queues=[])
    for message in [[1, PUT, 1, "q", [["k"]]], [1, STATS, 1], [1, PING, 1], [1, GOODBYE, 1]]:
        assert refused_by(stranger, msgpack.packb(message)) == NO_SESSION
    stats = watcher.stats()
    assert (stats["refused_no_session_total"], stats["refused_total"]) == (4, 4)
    assert stats["records"] == 0
    assert isinstance(stranger.hello(), list)


@pytest.mark.parametrize("frames, status", [
    ([msgpack.packb([1, 63, 1])], UNKNOWN_TYPE),
    ([msgpack.packb([1, 1000000, 1])], UNKNOWN_TYPE),
    ([msgpack.packb([1, -1, 1])], UNKNOWN_TYPE),
    ([msgpack.packb([2, PING, 1])], VERSION),
    ([msgpack.packb([-1])], VERSION),
    ([msgpack.packb([1])], MALFORMED),
    ([b""], MALFORMED),
    ([b"\xc1"], MALFORMED),
    ([b"\xdd\x00\xff\xff\xff"], MALFORMED),
    ([b"\x93\x01\x09"], MALFORMED),
    ([b"GET / HTTP/1.1\r\n\r\n"], MALFORMED),
    ([msgpack.packb({"type": 1})], MALFORMED),
    ([msgpack.packb([1, PING, 1]), b"more"], MALFORMED),
    ([b"", msgpack.packb([1, PING, 1])], MALFORMED),
    ([msgpack.packb([1, PING, 1])] * 50, MALFORMED),
    ([msgpack.packb([1, PUT, 1, "q", "no items"])], MALFORMED),
    ([msgpack.packb([1, PUT, 1, "q", [["k"]] * 4097])], MALFORMED),
    ([msgpack.packb([1, DRAIN, 1, "soon"])], MALFORMED),
    ([msgpack.packb([1, DRAIN, 1])], MALFORMED),
    ([msgpack.packb([1, UNPAUSE, 1, 5])], MALFORMED),
    ([msgpack.packb([1, PAUSE, 1, ["q"]])], MALFORMED),
    ([msgpack.packb([1, KICK, 1, 5])], MALFORMED),
    ([msgpack.packb([1, STATS, "x"])], MALFORMED),
])
def test_what_is_no_message_is_refused_counted_and_does_nothing(peers, frames, status):
    peer, other = peers(queues=["q"]), peers(queues=["q"])
    assert refused_by(peer, *frames) == status
    stats = other.stats()
    names = {MALFORMED: "malformed", VERSION: "version", UNKNOWN_TYPE: "unknown_type"}
    assert stats[f"refused_{names[status]}_total"] == stats["refused_total"] == 1
    assert stats["draining"] == 0 and stats["records"] == 0
    assert peer.put("q", ["k"]) == [CREATED]


def test_three_malformed_messages_cut_the_connection_and_no_other(peers):
    peer, other = peers(queues=["q"]), peers(queues=["q"])
    for _ in range(3):
        peer.send_raw(b"\xc1")
    wait_until(lambda: other.stats()["sessions"] == 1, what="the cut")
    assert other.put("q", ["k"]) == [CREATED]
    peer.connect()
    peer.errors.clear()
    assert isinstance(peer.hello(), list)


def test_an_oversized_frame_ends_its_connection_only(peers):
    peer, other = peers(queues=["q"]), peers(queues=["q"])
    peer.send_raw(b"\x00" * (MESSAGE_BYTES_MAX + 1))
    wait_until(lambda: other.stats()["sessions"] == 1, what="the end of the session")
    assert other.put("q", ["k"]) == [CREATED]


def test_fields_that_a_later_version_appends_are_passed_over(peer):
    assert peer.items(PUT, "q", [["k", None, None, None, None, None, None, None, None, "new", {}]],
                      "new", [1]) == [CREATED]
    assert peer.ask(STATS, None, "new")[0] == OK


# --- garbage ---


def valid_messages():
    """One of each kind, as a session with the queue q may send them."""
    uid = bytes(16)
    lease = [0, "k", 1]
    return [msgpack.packb([1, *message]) for message in [
        [HELLO, 1, uid, "n", ["q"], 4, 0, 0, 1], [CREDIT, 3], [PING, 1], [PONG, 1],
        [REPORT, 2, [lease + [1, 0, None, 5, 1, 1, b"m", b"p", 1, "note", "error", 1]]],
        [TOUCH, 3, 1000, [lease]], [GIVE_BACK, 4, [lease + [True]]], [RESUME, 5, [lease + [1]]],
        [TAKE, 6, 0, 2, 10, 100, True], [PUT, 7, "q", [["k", 1, 2, 3, 4, "g", True, b"p", b"m"]]],
        [REMOVE, 8, "q", ["k", "x"]], [RUN_NOW, 9, "q", ["k"]], [KICK, 10, "q", None],
        [KICK, 11, "q", ["k"]], [GET, 12, "q", ["k"]], [21, 13, "q", 15, "k", 0, 5],
        [22, 14, "q", 5], [SYNC_BEGIN, 15, "q", 5, False], [SYNC_CHUNK, 16, 1, [["k"], ["x"]]],
        [SYNC_COMMIT, 17, 1, 2, 12345, True, 1000000, False], [27, 18, 1], [PAUSE, 19, "q"],
        [UNPAUSE, 20, "q"], [UNPAUSE, 21], [DRAIN, 22, 1], [STATS, 23, "q"], [37, 24], [38, 25],
       [39, 26, "everdue"], [GOODBYE, 27]]]


def mutate(dice, message):
    """A few bytes changed, removed, doubled or put in."""
    data = bytearray(message)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(4)
        if kind == 0 and place < len(data):
            data[place] = dice.choice([0, 1, 0x7F, 0x80, 0xC0, 0xC1, 0xDD, 0xDF, 0xFF,
                                       dice.randrange(256)])
        elif kind == 1:
            del data[place:place + dice.randint(1, 3)]
        elif kind == 2:
            data[place:place] = data[place:place + dice.randint(1, 8)]
        else:
            data[place:place] = dice.randbytes(dice.randint(1, 4))
    return bytes(data)


def random_message(dice, messages):
    kind = dice.randrange(10)
    if kind == 0:
        return dice.randbytes(dice.randrange(200))
    if kind == 1:
        return dice.choice(messages)
    return mutate(dice, dice.choice(messages))


@pytest.mark.parametrize("store", ["memory", "lmdb"])
def test_no_garbage_ends_the_broker(brokers, peers, store):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    broker = brokers("--reconnect", "100ms", store=store)
    messages = valid_messages()
    for _ in range(100):
        peer = Peer(broker.endpoint)
        peer.hello(queues=["q"], credit=dice.randrange(4))
        for _ in range(60):
            frames = [random_message(dice, messages) for _ in range(1 + (dice.random() < 0.02))]
            peer.send_raw(*frames)
        peer.socket.linger = 1000
        peer.close()
    watcher = peers(broker)
    watcher.id = 1 << 40
    watcher.hello(["q"])
    wait_until(lambda: watcher.stats()["sessions"] == 1, what="the end of the others")
    stats = watcher.stats()
    assert stats["refused_total"] > 500
    assert stats["records"] == stats["created_total"] - stats["removed_total"]
    assert broker.stop() == 0


# --- sessions ---


def test_a_hello_with_the_uid_of_a_live_session_replaces_it(peers):
    old, new = peers(queues=["q"], credit=2), peers()
    assert old.put("q", ["a"], ["b"]) == [CREATED] * 2
    first, second = old.next_tasks(2)
    new.uid = old.uid
    new.hello(["q"], credit=0, resume=1)
    old.wait(lambda: NO_SESSION in old.errors, what="the end of the old session")
    assert new.items(RESUME, [first.resume()]) == [OK]
    assert new.report(first.report(after=HOUR_US)) == [OK]
    record = new.get("q", second.key)  # not announced: given back uncounted
    assert (record.status, record.crashes) == (READY, 0)


def test_a_silent_session_is_pinged_and_lost_after_three_heartbeats(peers):
    watcher = peers(queues=["q"])
    silent = peers(silent=True, queues=["q"], credit=1, heartbeat_ms=100)
    lively = peers(queues=["q"], heartbeat_ms=100)
    watcher.put("q", ["k"])
    assert silent.next_tasks(1)[0].key == "k"
    wait_until(lambda: [silent.receive(0.01), lively.receive(0.01)] and silent.errors,
               what="the end of the session")
    assert silent.errors == [NO_SESSION]
    record = watcher.get("q", "k")
    assert (record.status, record.crashes) == (READY, 1)
    assert watcher.stats()["lost_total"] == 1
    assert lively.stats()["sessions"] == 2


def test_a_broken_connection_may_come_back_with_its_leases(peers):
    worker = peers(queues=["q"], credit=1)
    worker.put("q", ["k"])
    task, = worker.next_tasks(1)
    worker.connect()
    worker.hello(["q"], credit=1, resume=1)
    assert worker.items(RESUME, [task.resume()]) == [OK]
    assert worker.report(task.report(after=HOUR_US)) == [OK]
    assert not worker.tasks


def test_work_goes_out_again_when_half_of_what_is_out_has_come_back(broker, peers):
    worker = peers(queues=["q"], credit=2048)
    assert worker.put("q", *([f"{number}"] for number in range(4096))) == [CREATED] * 4096
    tasks, sizes = worker.next_tasks(2048), []
    with stopped(broker.process):
        for begin in range(0, 2048, 256):
            worker.post(REPORT, [task.report(after=HOUR_US) for task in tasks[begin:begin + 256]])
    while sum(sizes) < 2048:
        kind, *fields = worker.receive()
        sizes += [len(fields[0])] if kind == TASKS else []
    assert max(sizes) <= 1024


def test_a_connection_that_broke_before_its_hello_was_read_is_no_session(brokers, peers):
    broker = brokers("--reconnect", "0s")
    watcher, short = peers(broker, queues=["q"]), peers(broker)
    short.hello()
    short.goodbye()
    with stopped(broker.process):
        short.post_hello(["q"], credit=4)
        short.socket.linger = 1000
        short.close()
        wait_until(lambda: connections_of(broker) == 1, what="the end of the connection")
    wait_until(lambda: watcher.stats()["sessions"] == 1, what="the end of the session")


def connections_of(broker):
    """How many TCP connections to its port are established at the other side."""
    port = int(broker.endpoint.rpartition(":")[2])
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file][1:]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_on_ipc_a_broken_connection_is_a_lost_worker_at_once(brokers, peers):
    broker = brokers("--reconnect", "1h", endpoint="ipc")
    watcher, worker = peers(broker, queues=["q"]), peers(broker, queues=["q"], credit=1)
    watcher.put("q", ["k"])
    worker.next_tasks(1)
    worker.close()
    wait_until(lambda: watcher.get("q", "k").crashes == 1, what="the loss")


def test_goodbye_gives_leases_back_and_lets_answers_come(peers):
    worker = peers(queues=["q"], credit=1)
    worker.put("q", ["k"])
    worker.next_tasks(1)
    request = worker.post(PUT, "q", [["other"]])
    assert worker.goodbye() == OK
    assert worker.answer(request)[1] == [CREATED]
    watcher = peers(queues=["q"])
    assert watcher.get("q", "k").crashes == 0


def test_an_answer_never_goes_to_whoever_came_after(durable_broker, peers):
    leaving, coming = peers(durable_broker), peers(durable_broker)
    leaving.hello()
    coming.hello()
    assert coming.goodbye() == OK
    with stopped(durable_broker.process):
        request = leaving.post(PUT, "q", [["k"]])
        leaving.post(GOODBYE)
        for _ in range(4):  # the connections are read by turns: this one is behind
            coming.send(PING, 0)
        coming.post_hello()
    coming.wait(lambda: coming.welcome, what="WELCOME")
    assert leaving.answer(request)[1] == [CREATED]
    coming.stats()  # whatever was sent to it has come by now
    assert not coming.answers


# --- work ---


def test_credit_is_never_exceeded(peers):
    worker, watcher = peers(queues=["q"], credit=5), peers(queues=["q"])
    watcher.put("q", *[[f"k{i}"] for i in range(50)])
    tasks, seen = [], 0
    while seen < 50:
        tasks += worker.next_tasks(1)
        assert watcher.stats()["leased"] <= 5
        if len(tasks) == 5:
            assert worker.report(*(task.report(after=HOUR_US) for task in tasks)) == [OK] * 5
            seen, tasks = seen + 5, []
    worker.send(CREDIT, 0)
    watcher.put("q", ["more"])
    watcher.put("q", ["more"])
    assert not worker.tasks and worker.receive(0.1) is None
    worker.send(CREDIT, 1)
    assert worker.next_tasks(1)[0].key == "more"


def test_a_report_repeated_is_answered_with_the_same_bytes(peers):
    worker = peers(queues=["q"], credit=1)
    worker.put("q", ["k"])
    task, = worker.next_tasks(1)
    answers = []
    for _ in range(3):
        worker.send(REPORT, 77, [task.report(after=HOUR_US, memo=b"m")])
        answers.append(worker.answer(77))
    assert answers[0][:2] == [OK, [OK]]
    assert answers[0] == answers[1] == answers[2]
    assert worker.stats()["reports_ok_total"] == 1


def test_a_take_waits_for_what_comes_due(peers):
    taker, watcher = peers(queues=["q"]), peers(queues=["q"])
    request = taker.post(TAKE, 0, 2, 5000, 0, True)
    watcher.put("q", put("later", after=HOUR_US), put("soon", after=100000))
    assert [task[1] for task in taker.answer(request)[1]] == ["soon"]
    assert taker.take(wait_ms=50) == []


def test_a_bound_take_ends_with_its_session_and_a_detached_one_lives_on(peers):
    taker, watcher = peers(queues=["q"]), peers(queues=["q"])
    watcher.put("q", ["a"], ["b"])
    bound, = taker.take(detached=False)
    free, = taker.take(detached=True)
    taker.goodbye()
    assert watcher.get("q", bound.key).status == READY
    assert watcher.get("q", free.key).status == AT_WORK
    assert watcher.report(free.report(after=HOUR_US)) == [OK]


def test_a_take_of_large_records_fits_one_message(peers):
    taker = peers(queues=["q"])
    for i in range(40):
        taker.put("q", put(f"k{i}", payload=b"x" * 60000))
    tasks = []
    while len(tasks) < 40:
        request = taker.post(TAKE, 0, 40, 0, 0, True)
        _, body, _, frame = taker.answer(request)
        assert body and len(frame) <= MESSAGE_BYTES_MAX
        tasks += body
    assert len({task[1] for task in tasks}) == 40


def test_what_cannot_be_taken_is_refused(peer):
    for arguments in [(1, 1, 0, 0, True), (0, 0, 0, 0, True), (0, 20000, 0, 0, True)]:
        assert peer.ask(TAKE, *arguments)[0] == BAD_FIELD
    assert peer.ask(TAKE, 0, 1, 0, 5, True)[0] == BAD_TIME


def test_touch_give_back_and_report_know_whose_lease_it_is(peers):
    worker, other = peers(queues=["q"], credit=1), peers(queues=["q"])
    other.put("q", ["k"])
    task, = worker.next_tasks(1)
    wrong = [0, "k", task.lease + 1]
    assert worker.items(TOUCH, 1000, [task.name(), wrong, [0, "none", 1]]) == [OK, STALE, GONE]
    assert worker.items(GIVE_BACK, [wrong + [False]]) == [STALE]
    assert other.items(REMOVE, "q", ["k"]) == [OK]
    worker.wait(lambda: task.lease in worker.cancelled, what="CANCEL")
    assert worker.report(task.report(after=HOUR_US)) == [GONE]


# --- full sets ---


class Set:
    """A sync by hand."""

    def __init__(self, peer, queue="q"):
        status, self.generation, _ = peer.ask(SYNC_BEGIN, queue, None, False)
        self.peer, self.count, self.checksum, self.status = peer, 0, 0, status

    def chunk(self, *puts):
        items = [list(item) for item in puts]
        self.checksum = zlib.crc32(msgpack.packb(items), self.checksum)
        self.count += len(items)
        return self.peer.items(SYNC_CHUNK, self.generation, items)

    def commit(self, count=None, checksum=None):
        return self.peer.ask(SYNC_COMMIT, self.generation, self.count if count is None else count,
                             self.checksum if checksum is None else checksum, True, 1000000, False)


def keys(peer):
    return sorted(record.key for record in peer.list("q"))


def test_a_sync_with_a_wrong_checksum_or_count_changes_nothing(peer):
    peer.put("q", put("old", after=HOUR_US))
    for wrong in [{"checksum": 1}, {"count": 1}]:
        one = Set(peer)
        one.chunk(["new"], ["newer"])
        assert one.commit(**wrong)[0] == MISMATCH
        assert keys(peer) == ["old"]
        assert one.commit()[0] in (MISMATCH, NOT_FOUND)
    good = Set(peer)
    good.chunk(["new"])
    good.chunk(["newer"])
    status, counts, _ = good.commit()
    assert (status, counts) == (OK, [2, 0, 0, 0, 0, 1, 1, 2])
    assert good.commit()[:2] == [OK, counts]
    assert keys(peer) == ["new", "newer"]


def test_a_sync_that_breaks_off_changes_nothing(peers):
    source, watcher = peers(queues=[]), peers(queues=["q"])
    watcher.put("q", put("old", after=HOUR_US))
    for end in [Peer.close, Peer.connect, Peer.goodbye]:
        source.connect()
        source.hello()
        one = Set(source)
        assert one.chunk(["new"]) == [CREATED]
        assert Set(watcher).status == CONFLICT
        end(source)
        wait_until(lambda: Set(watcher).status == OK, what="the end of the sync")
        assert keys(watcher) == ["old"]
        watcher.connect()
        watcher.hello(["q"])


def test_nobody_can_spoil_the_sync_of_another(peers):
    source, stranger = peers(queues=[]), peers(queues=[])
    one = Set(source)
    one.chunk(["a"])
    assert stranger.items(SYNC_CHUNK, one.generation, [["x"], ["y"]]) == [CONFLICT] * 2
    assert stranger.items(SYNC_CHUNK, one.generation, []) == []
    assert stranger.items(SYNC_CHUNK, one.generation + 1, [["x"]]) == [NOT_FOUND]
    assert stranger.ask(27, one.generation)[0] == CONFLICT
    assert stranger.ask(SYNC_COMMIT, one.generation, 0, 0, True, 0, False)[0] == CONFLICT
    assert one.commit()[0] == OK
    two = Set(stranger)
    two.chunk(["b"])
    assert two.commit()[0] == OK
    assert keys(source) == ["b"]


# --- limits ---


def test_keys_and_queue_names_have_bounds(peer):
    assert peer.put("q", ["k" * 1024], ["k" * 1025], [""], ["a\nb"], [b"\xff"], ["ü"]) == [
        CREATED, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY, CREATED]
    for name in ["n" * 65, "", "a b", "ü", "a/b"]:
        assert peer.put(name, ["k"]) == [BAD_FIELD]
        assert peer.ask(PAUSE, name)[0] == BAD_FIELD
    assert peer.put("n" * 64, ["k"]) == [CREATED]
    assert peer.get("q", "k" * 1024).key == "k" * 1024


def test_times_and_payloads_have_bounds(peer):
    end = 1 << 52
    assert peer.put("q", put("a", due=end), put("b", after=end), put("c", every=end),
                    put("d", due=-1), put("e", payload=b"x" * 65537),
                    put("f", memo=b"x" * 65537), put("g", group="g" * 256)) == [
        BAD_TIME, BAD_TIME, BAD_TIME, BAD_TIME, TOO_LARGE, TOO_LARGE, BAD_FIELD]
    assert peer.put("q", put("h", payload=b"x" * 65536, memo=b"y" * 65536)) == [CREATED]
