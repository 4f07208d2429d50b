"""The proxy knows where messages begin and end, and its plans do what they are called."""

import random
import socket

import pytest

from proxy import Direction

GREETING = bytes(64)


class Counting:
    """In place of the proxy: a plan, and what was done."""

    def __init__(self, plan):
        self.plan, self.counts, self.stalled = plan, [], 0

    def count(self, action):
        self.counts.append(action)

    def stall(self, direction, until):
        self.stalled = until
        direction.free_at = until


def message(text):
    return bytes([0, len(text)]) + text


@pytest.fixture
def direction():
    """Makes a direction whose source is never read."""
    pairs = []

    def make(**plan):
        pairs.append(socket.socketpair())
        return Direction(*pairs[-1], random.Random(1), Counting(plan))

    yield make
    for pair in pairs:
        for each in pair:
            each.close()


def sent(direction):
    """All that is to be sent, and what waits out of order."""
    return b"".join(data for _, data, _ in direction.ready), [data for *_, data in direction.later]


def test_a_greeting_passes_in_parts(direction):
    one = direction(cut=1.0)
    one.take(GREETING[:10])
    assert sent(one)[0] == GREETING[:10]
    one.take(GREETING[10:] + b"\x04\x02ab")
    assert sent(one)[0] == GREETING + b"\x04\x02ab"  # a command is not harmed


def test_messages_are_found_in_any_pieces(direction):
    one = direction()
    stream = GREETING + message(b"a") * 3 + b"\x02" + (300).to_bytes(8, "big") + b"x" * 300
    for place in range(0, len(stream), 7):
        one.take(stream[place:place + 7])
    assert one.messages == 4 and sent(one)[0] == stream


def test_the_first_messages_pass_unharmed(direction):
    one = direction(cut=1.0)
    one.take(GREETING + message(b"abc") * 4)
    assert one.proxy.counts[-4:] == ["pass", "pass", "pass", "cut"]
    assert one.ready[-1][2] and len(one.ready[-1][1]) < 5


def test_a_repeated_message_comes_twice_and_whole(direction):
    one = direction(repeat=1.0)
    one.take(GREETING + message(b"abc") * 3 + message(b"again"))
    passed, later = sent(one)
    assert passed.endswith(message(b"again")) and later == [message(b"again")]


def test_a_reordered_message_lets_others_pass(direction):
    one = direction(reorder=1.0)
    one.take(GREETING + message(b"abc") * 3 + message(b"late"))
    assert sent(one) == (GREETING + message(b"abc") * 3, [message(b"late")])


def test_a_flip_changes_one_bit(direction):
    one = direction(flip=1.0)
    one.take(GREETING + message(b"abc") * 3 + message(b"\x00" * 8))
    flipped = one.ready[-1][1]
    assert len(flipped) == 10
    assert sum((a ^ b).bit_count() for a, b in zip(flipped, message(b"\x00" * 8))) == 1


def test_the_same_seed_meets_the_same_faults(direction):
    plan = {"repeat": 0.3, "flip": 0.3, "delay": 0.3}
    one, two = direction(**plan), direction(**plan)
    for each in one, two:
        each.take(GREETING + b"".join(message(b"%d" % i) for i in range(50)))
    assert one.proxy.counts == two.proxy.counts
    assert [data for _, data, _ in one.ready] == [data for _, data, _ in two.ready]
