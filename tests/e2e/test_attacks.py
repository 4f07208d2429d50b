"""What an attacker tries, on a broker at which an honest peer goes on working."""

import contextlib
import os
import random
import socket
import struct
import time

import msgpack
import pytest

from conftest import wait_until
from guarded import House
from raw import (
    BUSY, CREATED, CREDIT, DENIED, GET, HELLO, HOUR_US, MALFORMED, NO_SESSION, OK, PING, PONG, PUT,
    REPORT, SYNC_BEGIN, SYNC_CHUNK, TOUCH, Peer, put)
from zmtp import COMMAND, MORE, Wire, head


@pytest.fixture
def endpoint():
    """Parametrized by tests of both transports."""
    return "tcp"


@pytest.fixture
def broker(brokers, endpoint):
    return brokers("--stop-timeout", "0s", endpoint=endpoint)


@pytest.fixture
def peers(broker):
    made = []

    def make(**hello):
        made.append(Peer(broker.endpoint))
        if hello:
            assert isinstance(made[-1].hello(**hello), list)
        return made[-1]

    yield make
    for peer in made:
        peer.close()


@pytest.fixture
def wires(broker):
    """Raw connections, with the handshake done or not."""
    made = []

    def make(endpoint=broker.endpoint, greets=True):
        made.append(Wire(endpoint))
        if greets:
            made[-1].greet()
        return made[-1]

    yield make
    for wire in made:
        wire.close()


class Honest:
    """A peer that puts and works while somebody else does harm."""

    def __init__(self, peers):
        self.peer = peers(queues=["honest"], credit=4)
        self.rounds = 0

    def works(self, rounds=5):
        """So many records put, done and reported; the longest round's seconds."""
        longest = 0
        for _ in range(rounds):
            began = time.monotonic()
            self.rounds += 1
            assert self.peer.put("honest", [f"k{self.rounds}"]) == [CREATED]
            task = self.peer.next_tasks(1)[0]
            assert self.peer.report(task.report(after=HOUR_US)) == [OK]
            longest = max(longest, time.monotonic() - began)
        return longest


@pytest.fixture
def honest(peers):
    return Honest(peers)


def anonymous_mib(broker):
    with open(f"/proc/{broker.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024


# --- below the protocol ---


@pytest.mark.parametrize("endpoint", ["tcp", "ipc"])
@pytest.mark.parametrize("size", [2, 65536])
def test_a_message_that_never_ends_is_cut_and_its_memory_is_used_again(broker, wires, honest, size):
    block = (head(size, MORE) + bytes(size)) * (262144 // (size + 2))
    sent, most = [0, 0, 0], [anonymous_mib(broker)] * 3
    for i in range(3):
        wire = wires()
        wire.socket.settimeout(1)
        with pytest.raises(OSError):  # the broker ends it, or takes nothing any more
            while sent[i] < 1 << 31:
                wire.socket.sendall(block)
                sent[i] += len(block)
                most[i] = max(most[i], anonymous_mib(broker))
        assert honest.works() < 5
        wait_until(lambda: honest.peer.stats()["cut_connections_total"] == i + 1, what="the cut")
        assert wire.is_cut()
    assert "a message that does not end" in broker.process.text()
    print(f"MiB sent {[count >> 20 for count in sent]}, of memory {[round(mib) for mib in most]}")
    # What it cost follows what was sent before it was noticed, and does not add up.
    assert anonymous_mib(broker) < 2 * max(most[:1]) * max(1, max(sent) / sent[0]) + 64


@pytest.mark.parametrize("endpoint", ["tcp", "ipc"])
def test_many_messages_that_never_end_are_too_much_together(broker, wires, honest):
    crowd = [wires() for _ in range(16)]
    part = head(65536, MORE) + bytes(65536)
    for wire in crowd:
        with contextlib.suppress(OSError):  # it is cut already
            for _ in range(112):  # 7 MiB: each alone would be left alone
                wire.socket.sendall(part)
    wait_until(lambda: honest.peer.stats()["cut_connections_total"] >= 4, what="the cuts")
    assert honest.works() < 5


@pytest.mark.parametrize("endpoint", ["tcp", "ipc"])
def test_large_messages_in_a_row_are_no_attack(broker, peers):
    peer = peers(queues=["q"])
    puts = [put(f"k{i}", after=HOUR_US, payload=bytes(60000)) for i in range(16)]
    for _ in range(100):  # 96 MB without waiting for an answer
        peer.post(PUT, "q", puts)
    peer.wait(lambda: len(peer.answers) == 100, seconds=60, what="the answers")
    assert peer.stats()["cut_connections_total"] == 0


def test_a_second_frame_ends_its_connection_and_no_other(broker, peers, honest):
    peer = peers()
    peer.send_raw(msgpack.packb([1, PING, 1]), b"more")
    peer.wait(lambda: MALFORMED in peer.errors, what="the refusal")
    wait_until(lambda: honest.peer.stats()["cut_connections_total"] == 1, what="the cut")
    honest.works()


def test_strangers_who_send_garbage_are_cut(wires, honest):
    wire = wires()
    for _ in range(3):
        wire.frame(b"\xc1garbage")
    assert wire.is_cut()
    honest.works()


def test_frames_over_the_limit_and_broken_rules_end_their_connection(wires, honest):
    for data in (struct.pack(">BQ", 2, 1 << 40), struct.pack(">BQ", 2, (1 << 20) + 1) + bytes(64),
                 b"\xff" * 64):
        wire = wires()
        wire.socket.sendall(data)
        assert wire.is_cut(), data[:16]
    honest.works()


def test_silent_and_slow_connections_hold_nobody_up(broker, wires, honest):
    silent = [wires(greets=False) for _ in range(300)]
    half = wires(greets=False)
    half.socket.sendall(b"\xff\x00\x00")
    assert honest.works(20) < 5
    assert half.is_cut(15)  # a handshake has 5 s
    for wire in silent[::50]:
        assert wire.is_cut(15)


def test_of_too_many_connections_without_hello_those_that_are_too_many_are_cut(broker, wires, honest):
    strangers = [wires() for _ in range(260)]
    wait_until(lambda: honest.peer.stats()["cut_connections_total"] >= 4, seconds=20,
               what="the cuts")
    assert "without hello" in broker.process.text()
    honest.works()
    assert sum(not wire.is_cut(0.01) for wire in strangers) >= 200


def test_handshakes_in_a_row_hold_nobody_up(broker, wires, honest):
    began = time.monotonic()
    count = 0
    while time.monotonic() - began < 2:
        wire = Wire(broker.endpoint)
        wire.greet()
        wire.close()
        count += 1
        if count % 50 == 0:
            assert honest.works(1) < 5
    assert count > 50 and honest.works() < 5


def test_descriptors_that_are_used_again_cut_nobody_else(broker, peers, wires, honest):
    """Connections come and go while others are cut: each cut must meet the one it is meant for."""
    good = [peers(queues=["q"]) for _ in range(5)]
    for _ in range(60):
        wire = wires()
        wire.frame(msgpack.packb([1, PING, 1]), more=True)
        wire.frame(b"")
        if random.random() < 0.7:
            wire.close()
        fresh = peers(queues=["q"])
        assert fresh.ask(PUT, "q", [])[0] == OK
        good.append(fresh)
    last = wires()
    last.frame(msgpack.packb([1, PING, 1]), more=True)
    last.frame(b"")
    assert last.is_cut()  # and so, before it, were all those that were to be cut
    for peer in good:
        assert peer.ask(PUT, "q", [])[0] == OK  # its first connection still: no error came
        assert peer.errors == []


# --- in the protocol ---


def test_forged_numbers_are_never_accepted(broker, peers):
    worker, thief = peers(queues=["q"], credit=100), peers(queues=["q"], credit=0)
    worker.put("q", *[[f"k{i}"] for i in range(100)])
    tasks = {task.key: task for task in worker.next_tasks(100)}
    dice = random.Random(7)
    accepted = 0
    for _ in range(50):
        forged = []
        for _ in range(2000):
            task = tasks[dice.choice(list(tasks))]
            lease, state = dice.randrange(1 << 53), dice.randrange(1 << 53)
            if dice.random() < 0.4:  # one of them is right
                lease, state = dice.choice([(task.lease, state), (lease, task.state)])
            forged.append([0, task.key, lease, state, 0, None, HOUR_US, 0, 0])
        accepted += sum(status == OK for status in thief.report(*forged))
        accepted += sum(status == OK for status in thief.items(
            TOUCH, 1000, [[0, report[1], dice.randrange(1 << 53)] for report in forged]))
    assert accepted == 0
    assert set(worker.report(*[task.report(after=HOUR_US) for task in tasks.values()])) == {OK}


def test_sessions_without_end_over_one_connection_are_busy(peers, honest):
    peer = peers()
    for i in range(500):
        peer.send(HELLO, 5 + i, os.urandom(16), "another", ["q"], 1, 0, 600000, 0)
    peer.wait(lambda: 504 in peer.answers, what="busy")
    assert {answer[0] for answer in peer.answers.values()} == {BUSY} and len(peer.answers) >= 400
    assert honest.works() < 5


def test_a_hello_that_is_played_again_and_again_is_busy_and_harms_nobody(peers, honest):
    peer = peers(queues=["q"], credit=1)
    hello = msgpack.packb([1, HELLO, 5, peer.uid, "again", ["q"], 1, 0, 600000, 0])
    for _ in range(500):
        peer.send_raw(hello)
    peer.wait(lambda: 5 in peer.answers, what="busy")
    assert peer.answers[5][0] == BUSY
    assert honest.works() < 5
    assert honest.peer.stats()["refused_hello_total"] >= 400


def test_msgpack_that_promises_too_much_costs_nothing(broker, peers, honest):
    before = anonymous_mib(broker)
    bombs = [b"\xdd\xff\xff\xff\xff", b"\x93\x01\x10\xdd\x10\x00\x00\x00", b"\x91" * 1000,
             b"\xdf\xff\xff\xff\xff", b"\x94\x01\x10\x01\xc6\xff\xff\xff\xff",
             b"\x94\x01\x10\x01\xa1q" + b"\xdd\x00\xff\xff\xff" * 20,
             b"\x9a\x01\x01\x01\xc4\x10" + bytes(16) + b"\xa0\xdd\x7f\xff\xff\xff"]
    for bomb in bombs:
        peer = peers(queues=["q"])
        peer.send_raw(bomb)
        peer.wait(lambda peer=peer: peer.errors, what="the refusal")
        assert peer.errors == [MALFORMED]
    assert anonymous_mib(broker) < before + 32
    honest.works()


def test_pings_without_end_hold_nobody_up(peers, wires, honest):
    wire = wires()
    flood = b"".join(head(len(ping), 0) + ping for ping in [msgpack.packb([1, PING, 1])] * 20000)
    peer = peers(queues=["q"])
    wire.socket.settimeout(0.2)
    for _ in range(20):
        try:
            wire.socket.sendall(flood)
        except OSError:
            break
        for _ in range(200):
            peer.send(PING, 7)
    assert honest.works() < 5


def stuff(wire, requests):
    """Asks for half a MiB each time, and does not read."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.frame(msgpack.packb([1, HELLO, 1, os.urandom(16), "deaf", ["q"], 0, 0, 600000, 0]))
    for i in range(requests):
        wire.frame(msgpack.packb([1, GET, 2 + i, "q", [f"k{j}" for j in range(8)]]))


@pytest.mark.parametrize("endpoint", ["tcp", "ipc"])
def test_small_answers_that_are_not_read_cost_no_more_than_their_share(broker, wires, honest):
    wire, count = wires(), 500000
    wire.frame(msgpack.packb([1, HELLO, 1, os.urandom(16), "deaf", ["q"], 0, 0, 600000, 0]))
    unknown = msgpack.packb([1, 127])  # answered with a text
    wire.socket.sendall((head(len(unknown), 0) + unknown) * count)
    wait_until(lambda: honest.peer.stats()["messages_in_total"] > count, what="all of them")
    now = honest.peer.stats()
    assert now["messages_dropped_total"] > 1000 and now["unread_bytes"] <= 16 << 20
    assert now["unread_bytes"] > 15 << 20
    assert honest.works() < 5
    assert "what was sent before is not read" in broker.process.text()
    wire.close()
    wait_until(lambda: honest.peer.stats()["unread_bytes"] == 0, what="the end of what was unread")


@pytest.fixture
def large(honest):
    """Eight records of 60,000 bytes."""
    keys = [put(f"k{i}", after=HOUR_US, payload=bytes(60000)) for i in range(8)]
    assert honest.peer.put("q", *keys) == [CREATED] * 8


@pytest.mark.parametrize("endpoint", ["tcp", "ipc"])
def test_who_asks_and_does_not_read_costs_no_more_than_its_share(broker, wires, honest, large):
    before = anonymous_mib(broker)
    refused = honest.peer.stats()["refused_total"]
    stuff(wires(), 2000)  # a GB of answers
    wait_until(lambda: honest.peer.stats()["refused_total"] > refused + 1000, what="the refusals")
    assert honest.works() < 5
    assert anonymous_mib(broker) < before + 64
    assert honest.peer.stats()["cut_connections_total"] == 0
    assert 8 << 20 < honest.peer.stats()["unread_bytes"] <= (16 << 20) + (1 << 20)


def test_of_many_who_do_not_read_those_who_hold_most_are_cut(broker, wires, honest, large):
    before = anonymous_mib(broker)
    crowd = [wires() for _ in range(20)]  # a GB, were it allowed
    for wire in crowd:
        stuff(wire, 120)
    wait_until(lambda: honest.peer.stats()["cut_connections_total"] >= 1, seconds=30,
               what="the cut")
    assert "what it was sent is not read" in broker.process.text()
    assert honest.works() < 5
    assert len(honest.peer.get("q", "k0").payload) == 60000
    assert anonymous_mib(broker) < before + 600
    for wire in crowd:
        wire.close()
    wait_until(lambda: honest.peer.stats()["unread_bytes"] == 0, what="the end of what was unread")


@pytest.mark.parametrize("credit", [2**32, 2**32 - 1, 2**63, 2**64 - 1, 65536])
def test_credit_over_all_bounds_is_cut_to_the_bound(peers, credit):
    peer = peers(queues=["q"])
    peer.send(CREDIT, credit)
    numbers = peer.stats()
    assert numbers["credit"] == 16384
    peer.send(HELLO, 77, peer.uid, "x", ["q"], credit, 0, 600000, 0)
    peer.wait(lambda: peer.welcome and peer.welcome[0] == 77 or 77 in peer.answers or peer.errors)
    assert peer.stats()["credit"] <= 16384


def test_those_who_hoard_leave_others_their_share(peers):
    hoarders = [peers(queues=["q"], credit=16384) for _ in range(4)]
    honest = peers(queues=["q"], credit=16)
    honest.put("q", *[[f"k{i}"] for i in range(1000)])
    assert len(honest.next_tasks(16)) == 16
    assert all(hoarder.stats()["leased"] <= 1000 for hoarder in hoarders)


def test_what_is_staged_is_bounded_as_what_is_stored(brokers):
    broker = brokers("--bytes-max", "1MiB", "--stop-timeout", "0s")
    peer = Peer(broker.endpoint)
    peer.hello()
    for i in range(8):  # several at once, none of which ends
        generation = peer.items(SYNC_BEGIN, f"q{i}", None, False)
        for j in range(10):
            peer.items(SYNC_CHUNK, generation,
                       [put(f"k{j}-{k}", payload=bytes(1000)) for k in range(100)])
    assert anonymous_mib(broker) < 100
    peer.close()
    other = Peer(broker.endpoint)
    other.hello()
    wait_until(lambda: other.put("q", ["k"]) == [CREATED], what="room again")
    other.close()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", ".." * 33, "q\x00", "q\n",
                                  "q*", "*", ""])
def test_names_of_queues_lead_nowhere(peers, honest, name):
    peer = peers(queues=[])
    status, body, _ = peer.ask(PUT, name, [["k"]])
    assert status < 0 or all(item < 0 for item in body)
    assert peer.hello([name]) != []
    honest.works(1)


def test_what_peers_say_cannot_forge_a_line_of_the_log(broker, peers):
    evil = "x\n2026-01-01T00:00:00.000Z everdue-broker notice stopped exit=0\x1b[2J\u009b"
    peer = Peer(broker.endpoint)
    peer.send(HELLO, 1, peer.uid, evil, ["q"], 1, 0, 600000, 0)
    peer.wait(lambda: peer.welcome)
    peer.ask(39, "/" + evil)
    peer.close()
    text = broker.process.text()
    assert "stopped exit=0" not in [line.split(" ", 3)[-1] for line in text.splitlines()]
    assert "\x1b" not in text and "\u009b" not in text


# --- with keys ---


@pytest.fixture
def house(directory, free_endpoint):
    house = House(directory, free_endpoint())
    house.write_list(worker="role=worker queues=q", boss="role=admin")
    house.start()
    yield house
    house.close()
    assert house.process.stop() == 0, house.process.text()


def test_unknown_keys_in_a_row_hold_nobody_up(house):
    boss = house.peer("boss")
    boss.hello(["honest"], credit=4)
    honest = Honest.__new__(Honest)
    honest.peer, honest.rounds = boss, 0
    crowd = [house.peer("stranger") for _ in range(60)]
    for stranger in crowd:
        stranger.post_hello()
    assert honest.works(20) < 5
    wait_until(lambda: boss.stats()["refused_handshakes_total"] >= 60, what="60 refusals")
    assert all(stranger.receive(0) is None for stranger in crowd)
    assert house.process.text().count("a peer was refused") <= 10  # and not a line for each


def test_plain_bytes_and_replayed_handshakes_do_not_pass_curve(house):
    endpoint = house.endpoint
    for first in (b"\x05HELLO" + bytes(194), b"\x05READY" + bytes(20), os.urandom(200)):
        wire = Wire(endpoint)
        wire.exchange_greeting(b"CURVE")
        wire.frame(first, flags=COMMAND)
        assert wire.is_cut(10)
        wire.close()
    assert house.everdue("boss", "ping").returncode == 0


def test_a_worker_with_a_key_cannot_use_it_for_more(house):
    worker = house.peer("worker")
    worker.hello(["q"], credit=1)
    for kind, fields in ((PUT, ["q", [["k"]]]), (39, ["/tmp/x"]), (34, [0]), (37, [])):
        assert worker.ask(kind, *fields)[0] == DENIED
    worker.connect()
    worker.send(REPORT, 9, [])
    worker.wait(lambda: NO_SESSION in worker.errors, what="no session without hello")
