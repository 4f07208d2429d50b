"""Raw bytes at a running broker while honest workers go on: greetings, handshakes (CURVE's, too) and
frames of the transport, and messages of the protocol with bytes changed. EVERDUE_FUZZ_SECONDS (4)
and EVERDUE_FUZZ_SEED choose a longer run."""

import itertools
import os
import random
import socket
import time

import msgpack
import pytest
from zmq.utils import z85

import curve
from guarded import House
from raw import (CREATED, GET, GIVE_BACK, GOODBYE, HELLO, KICK, LIST, OK, PEEK, PING, PUT, REMOVE,
                 REPORT, RESUME, RUN_NOW, SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT, TAKE, TOUCH, UNPAUSE,
                 Peer, put)

SECONDS = float(os.environ.get("EVERDUE_FUZZ_SECONDS", 4))
HONEST = 20
TYPES = [b"DEALER", b"DEALER", b"DEALER", b"REQ", b"ROUTER", b"PUB", b"", b"\xff" * 60]


def greeting(mechanism=b"NULL"):
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def properties(dice):
    """What READY and INITIATE carry."""
    named = [(b"Socket-Type", dice.choice(TYPES))]
    if dice.random() < 0.3:
        named.append((b"Identity", dice.randbytes(dice.choice([0, 1, 5, 255, 256, 300]))))
    if dice.random() < 0.1:
        named.append((b"X" * dice.choice([0, 1, 255]), dice.randbytes(dice.randint(0, 600))))
    return b"".join(bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
                    for name, value in named)


def messages(dice):
    """Well-formed messages, to be damaged."""
    key = dice.choice(["h1", "x", "", "k" * 1025])
    number = dice.choice([0, 1, 2**31, 2**53, 2**64 - 1, -1])
    lease = [0, key, dice.randint(0, 60)]
    yield [1, HELLO, number, bytes(16), "n", ["q"], 4, 0, 600000, 0]
    yield [1, PUT, number, "q", [put(key, after=number, payload=bytes(dice.randint(0, 99)))]]
    yield [1, REPORT, number, [[0, key, number, number, dice.randint(-1, 5), None, 1000, 0, 0]]]
    yield [1, TAKE, number, 0, dice.choice([0, 1, 20000]), 0, 0, False]
    yield [1, GET, number, "q", [key]]
    yield [1, LIST, number, "q", 15, None, number, 100]
    yield [1, GIVE_BACK, number, [lease + [dice.choice([True, False])]]]
    yield [1, TOUCH, number, [lease], dice.choice([0, 1000, number])]
    yield [1, RESUME, number, [lease + [number]]]
    yield [1, dice.choice([REMOVE, RUN_NOW, KICK, PEEK]), number, "q", [key]]
    yield [1, SYNC_BEGIN, number, "q", 0, False]
    yield [1, SYNC_CHUNK, number, dice.randint(0, 4), [put(key)]]
    yield [1, SYNC_COMMIT, number, dice.randint(0, 4), 1, number, True, 1000000, False]
    yield [1, dice.choice([PING, GOODBYE]), number]
    yield [1, dice.randint(0, 80), number, None, [], {}, number]


def damaged(dice, data):
    data = bytearray(data)
    for _ in range(dice.randint(0, 3) if data else 0):
        where = dice.randrange(len(data))
        what = dice.randrange(3)
        if what == 0:
            data[where] ^= 1 << dice.randrange(8)
        elif what == 1:
            data[where:where + dice.randint(1, 8)] = dice.randbytes(dice.randint(1, 8))
        else:
            data[where:] = b"\xc0"
    return bytes(data)


def perhaps(dice, data, often):
    """Damaged so often, of 1."""
    return damaged(dice, data) if dice.random() < often else data


def commands(dice):
    """Of the transport, after the handshake: some are RFC 37's, none is everdue's."""
    name = dice.choice([b"PING", b"PONG", b"SUBSCRIBE", b"CANCEL", b"JOIN", b"READY", b"ERROR", b""])
    return bytes([len(name)]) + name + dice.randbytes(dice.choice([0, 2, 18, 300]))


def frames(dice):
    """What one connection says behind its greeting."""
    yield frame(perhaps(dice, b"\x05READY" + properties(dice), 0.1), 4)
    yield frame(msgpack.packb([1, HELLO, 1, dice.randbytes(16), "f", ["q"], 0, 0, 0, 0]))
    for message in messages(dice):
        body = damaged(dice, msgpack.packb(message))
        yield frame(body, dice.choice([0] * 8 + [1, 4, 0xfd]),
                    dice.choice([0, 255, 2**31, 2**63]) if dice.random() < 0.05 else None)
        if dice.random() < 0.1:
            yield frame(commands(dice), 4)


def frame(body, flags=0, count=None):
    """A frame of the transport, its length in 8 bytes."""
    return bytes([flags | 2]) + (len(body) if count is None else count).to_bytes(8, "big") + body


def say(dice, stream, data):
    """At once, or in pieces."""
    if dice.random() < 0.9:
        stream.sendall(data)
        return
    for begin, end in itertools.pairwise(sorted({0, len(data), *(
            dice.randrange(len(data) + 1) for _ in range(3))})):
        stream.sendall(data[begin:end])
        time.sleep(0)


def one_stranger(dice, address, _keys):
    """Says its bytes and goes."""
    with socket.create_connection(address, timeout=2) as stream:
        try:
            say(dice, stream, perhaps(dice, greeting(), 0.2))
            for piece in frames(dice):
                say(dice, stream, piece)
            stream.settimeout(0.01)
            stream.recv(4096)
        except OSError:
            pass  # it was cut off, which is right


def receive_frame(stream):
    """The body of the next one, of 255 bytes at most; what is there when the connection ends."""
    head = stream.recv(2, socket.MSG_WAITALL)
    return stream.recv(head[1], socket.MSG_WAITALL) if len(head) == 2 else b""


def one_stranger_with_keys(dice, address, keys):
    """The same through CURVE: damaged in its handshake, or inside of what is encrypted."""
    shake = curve.Handshake(*keys)
    with socket.create_connection(address, timeout=2) as stream:
        stream.settimeout(0.1)  # a command that was made longer is waited for
        try:
            say(dice, stream, perhaps(dice, greeting(b"CURVE"), 0.1))
            stream.recv(64, socket.MSG_WAITALL)
            say(dice, stream, perhaps(dice, shake.hello(), 0.2))
            welcome = receive_frame(stream)
            if not welcome.startswith(b"\x07WELCOME"):
                return
            shake.take_welcome(welcome)
            say(dice, stream, perhaps(dice, shake.initiate(perhaps(dice, properties(dice), 0.1)),
                                      0.2))
            if not receive_frame(stream).startswith(b"\x05READY"):
                return
            say(dice, stream, shake.message(
                msgpack.packb([1, HELLO, 1, dice.randbytes(16), "f", ["q"], 0, 0, 0, 0])))
            for message in messages(dice):
                inside = shake.message(damaged(dice, msgpack.packb(message)),
                                       dice.choice([0] * 8 + [1, 2, 0xff]))
                say(dice, stream, perhaps(dice, inside, 0.05))
            stream.settimeout(0.01)
            stream.recv(4096)
        except OSError:
            pass


def go_on(dice, peer, address, stranger, keys=None):
    """Honest work beside strangers, for SECONDS; how many there were."""
    strangers = reports = 0
    worst = 0.0
    peer.hello(queues=["honest"], credit=HONEST)
    assert peer.put("honest", *[[f"h{i}"] for i in range(HONEST)]) == [CREATED] * HONEST
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for _ in range(5):
            stranger(dice, address, keys)
            strangers += 1
        peer.ask(UNPAUSE, None)  # among so many there is a DRAIN that is well formed, and allowed
        began = time.monotonic()
        task, = peer.next_tasks(1)
        assert peer.report(task.report(after=1000, memo=b"%d" % reports)) == [OK]
        worst = max(worst, time.monotonic() - began)
        reports += 1
    records = peer.list("honest")
    assert sorted(record.key for record in records) == sorted(f"h{i}" for i in range(HONEST))
    assert reports
    print(f"{strangers} strangers, {reports} reports, the slowest after {worst * 1000:.0f} ms")
    return strangers


@pytest.fixture
def dice():
    seed = int(os.environ.get("EVERDUE_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    return random.Random(seed)


def address_of(endpoint):
    host, port = endpoint.removeprefix("tcp://").split(":")
    return host, int(port)


def test_honest_workers_go_on_while_raw_bytes_come(brokers, free_endpoint, dice):
    broker = brokers(store="lmdb", endpoint=free_endpoint())
    peer = Peer(broker.endpoint)
    strangers = go_on(dice, peer, address_of(broker.endpoint), one_stranger)
    assert broker.process.is_running()
    assert broker.stats()["refused_total"] > strangers / 4  # they came as far as the decoders
    peer.close()


def test_honest_workers_go_on_while_raw_bytes_come_encrypted(directory, free_endpoint, dice):
    house = House(directory, free_endpoint())
    house.write_list(boss="role=admin", stranger="role=worker,client queues=q")
    house.start()
    key = house.key("stranger")
    keys = [z85.decode(text.encode()) for text in (house.keys["broker"].public, key.public,
                                                   key.secret)]
    boss = house.peer("boss")
    strangers = go_on(dice, boss, address_of(house.endpoint), one_stranger_with_keys, keys)
    assert house.process.is_running()
    assert boss.stats()["refused_total"] > strangers / 4
    house.close()
    assert house.process.stop() == 0, house.process.text()
