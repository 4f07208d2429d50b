"""Raw bytes at a running broker while honest workers go on: greetings, handshakes and frames of the
transport, and messages of the protocol with bytes changed. EVERDUE_FUZZ_SECONDS (4) and
EVERDUE_FUZZ_SEED choose a longer run."""

import os
import random
import socket
import time

import msgpack

from raw import GET, HELLO, LIST, OK, PUT, REPORT, TAKE, UNPAUSE, Peer, put

SECONDS = float(os.environ.get("EVERDUE_FUZZ_SECONDS", 4))
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
HONEST = 20


def messages(dice):
    """Well-formed messages, to be damaged."""
    key = dice.choice(["h1", "x", "", "k" * 1025])
    number = dice.choice([0, 1, 2**31, 2**53, 2**64 - 1, -1])
    yield [1, HELLO, number, bytes(16), "n", ["q"], 4, 0, 600000, 0]
    yield [1, PUT, number, "q", [put(key, after=number, payload=bytes(dice.randint(0, 99)))]]
    yield [1, REPORT, number, [[0, key, number, number, dice.randint(-1, 5), None, 1000, 0, 0]]]
    yield [1, TAKE, number, 0, dice.choice([0, 1, 20000]), 0, 0, False]
    yield [1, GET, number, "q", [key]]
    yield [1, LIST, number, "q", 15, None, number, 100]
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


def frames(dice):
    """What one connection says behind its greeting."""
    out = [damaged(dice, READY) if dice.random() < 0.1 else READY]
    out.append(frame(msgpack.packb([1, HELLO, 1, dice.randbytes(16), "f", ["q"], 0, 0, 0, 0])))
    for message in messages(dice):
        body = damaged(dice, msgpack.packb(message))
        out.append(frame(body, dice.choice([0] * 8 + [1, 4, 0xfd]),
                         dice.choice([0, 255, 2**31, 2**63]) if dice.random() < 0.05 else None))
    return out


def frame(body, flags=0, count=None):
    """A frame of the transport, its length in 8 bytes."""
    return bytes([flags | 2]) + (len(body) if count is None else count).to_bytes(8, "big") + body


def one_stranger(dice, address):
    """Says its bytes and goes; the number of bytes."""
    said = 0
    with socket.create_connection(address, timeout=2) as stream:
        try:
            greeting = damaged(dice, GREETING) if dice.random() < 0.2 else GREETING
            for piece in [greeting] + frames(dice):
                stream.sendall(piece)
                said += len(piece)
            stream.settimeout(0.01)
            stream.recv(4096)
        except OSError:
            pass  # it was cut off, which is right
    return said


def test_honest_workers_go_on_while_raw_bytes_come(brokers):
    seed = int(os.environ.get("EVERDUE_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    dice = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    broker = brokers(store="lmdb", endpoint=f"tcp://127.0.0.1:{address[1]}")
    peer = Peer(broker.endpoint)
    peer.hello(queues=["honest"], credit=HONEST)
    peer.put("honest", *[[f"h{i}"] for i in range(HONEST)])
    strangers = reports = 0
    worst = 0.0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for _ in range(5):
            one_stranger(dice, address)
            strangers += 1
        peer.ask(UNPAUSE, None)  # among so many there is a DRAIN that is well formed, and allowed
        began = time.monotonic()
        task, = peer.next_tasks(1)
        assert peer.report(task.report(after=1000, memo=b"%d" % reports)) == [OK]
        worst = max(worst, time.monotonic() - began)
        reports += 1
    records = peer.list("honest")
    assert sorted(record.key for record in records) == sorted(f"h{i}" for i in range(HONEST))
    assert reports and broker.process.is_running()
    assert broker.stats()["refused_total"] > strangers / 4  # they came as far as the decoders
    print(f"{strangers} strangers, {reports} reports, the slowest after {worst * 1000:.0f} ms")
    peer.close()
