#!/usr/bin/python3 -B
"""proxy.py - a TCP proxy that does to ZeroMQ's messages what networks do, and worse, by a plan.

    proxy.py --to 7790 --seed 5 --plan cut      # says its port on standard output

It knows where a ZMTP 3 message begins and ends, so it can cut in the middle of one, or repeat and
reorder whole ones. What happens to the n-th message of a direction of a connection is drawn from
the seed: the same seed, connections and messages meet the same faults. The first three messages of
each direction pass unharmed (HELLO and what belongs to it); handshakes pass, but for flipped bits.

    delay     it and all behind it wait for up to 150 ms
    trickle   its bytes go out in pieces of one to seven
    stall     nothing passes in either direction for up to 800 ms
    cut       a part of it goes out, then both sides get a reset
    repeat    it comes again, up to 40 ms later, whatever came between
    reorder   it waits up to 40 ms, and others overtake it
    flip      one bit of it is changed, in its length or in what it says

SIGUSR1: from here on everything passes. SIGTERM ends it; what it did is printed as JSON then.
"""

import argparse
import heapq
import json
import random
import selectors
import signal
import socket
import struct
import time

PLANS = {
    "delay": {"delay": 0.05, "trickle": 0.05, "stall": 0.004},
    "cut": {"cut": 0.01, "delay": 0.01},
    "repeat": {"repeat": 0.05, "reorder": 0.05},
    "flip": {"flip": 0.04},
}
UNHARMED = 3
GREETING_BYTES = 64
READ_BYTES = 1 << 16
LONG, COMMAND = 2, 4  # bits of a frame's flags


class Direction:
    """What goes from one socket to the other: pieces to send, each not before its time."""

    def __init__(self, source: socket.socket, sink: socket.socket, dice: random.Random,
                 proxy: "Proxy") -> None:
        self.source, self.sink, self.dice, self.proxy = source, sink, dice, proxy
        self.read = bytearray()
        self.greeting_left = GREETING_BYTES
        self.units = 0
        self.messages = 0
        self.ready: list[tuple[float, bytes, bool]] = []  # when, what, whether a reset follows
        self.later: list[tuple[float, int, bytes]] = []   # messages out of order
        self.free_at = 0.0          # nothing is sent before
        self.ended = False

    def take(self, data: bytes) -> None:
        if self.greeting_left:  # it comes in parts, and each side waits for parts of the other's
            count = min(self.greeting_left, len(data))
            self.greeting_left -= count
            self.do_pass(data[:count], time.monotonic())
            data = data[count:]
        self.read += data
        while (count := self.unit_bytes()) and len(self.read) >= count:
            unit = bytes(self.read[:count])
            del self.read[:count]
            is_message = not unit[0] & COMMAND
            self.units += 1
            if is_message:
                self.messages += 1
            self.plan(unit, is_message and self.messages > UNHARMED)

    def unit_bytes(self) -> int:
        """Length of the frame that begins here; 0: too little is there to tell."""
        if len(self.read) < 2:
            return 0
        if not self.read[0] & LONG:
            return 2 + self.read[1]
        return 9 + int.from_bytes(self.read[1:9], "big") if len(self.read) >= 9 else 0

    def plan(self, unit: bytes, may_harm: bool) -> None:
        chance, now = self.dice.random(), time.monotonic()
        action = "pass"
        for name, share in self.proxy.plan.items() if may_harm else ():
            if chance < share:
                action = name
                break
            chance -= share
        self.proxy.count(action)
        getattr(self, "do_" + action)(unit, now)

    def do_pass(self, unit: bytes, now: float) -> None:
        self.ready.append((now, unit, False))

    def do_delay(self, unit: bytes, now: float) -> None:
        self.ready.append((now + 0.15 * self.dice.random(), unit, False))

    def do_trickle(self, unit: bytes, now: float) -> None:
        while unit:
            count = self.dice.randint(1, 7) if len(unit) < 200 else len(unit) // 7
            self.ready.append((now, unit[:count], False))
            unit = unit[count:]

    def do_stall(self, unit: bytes, now: float) -> None:
        until = now + 0.8 * self.dice.random()
        self.proxy.stall(self, until)
        self.ready.append((until, unit, False))

    def do_cut(self, unit: bytes, now: float) -> None:
        self.ready.append((now, unit[:self.dice.randrange(len(unit))], True))

    def do_repeat(self, unit: bytes, now: float) -> None:
        self.do_pass(unit, now)
        self.do_reorder(unit, now)

    def do_reorder(self, unit: bytes, now: float) -> None:
        heapq.heappush(self.later, (now + 0.04 * self.dice.random(), self.units, unit))

    def do_flip(self, unit: bytes, now: float) -> None:
        place = self.dice.randrange(len(unit))
        flipped = unit[place] ^ 1 << self.dice.randrange(8)
        self.do_pass(unit[:place] + bytes([flipped]) + unit[place + 1:], now)

    def next_at(self) -> float:
        """When there is something to send."""
        times = [self.ready[0][0]] if self.ready else []
        times += [self.later[0][0]] if self.later else []
        return max(min(times), self.free_at) if times else float("inf")

    def send(self, now: float) -> bool:
        """Send what is due; False when the connection is over."""
        if now < self.free_at:
            return True
        while self.later and self.later[0][0] <= now:
            self.ready.append((now, heapq.heappop(self.later)[2], False))
        while self.ready and self.ready[0][0] <= now:
            when, data, is_cut = self.ready[0]
            try:
                sent = self.sink.send(data) if data else 0
            except BlockingIOError:
                self.free_at = now + 0.002
                return True
            if sent < len(data):
                self.ready[0] = when, data[sent:], is_cut
                continue
            del self.ready[0]
            if is_cut:
                return False
        return not (self.ended and not self.ready and not self.later)


class Proxy:
    def __init__(self, port: int, seed: int, plan: str) -> None:
        self.port, self.seed, self.plan = port, seed, PLANS[plan]
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.pairs: list[tuple[Direction, Direction]] = []
        self.connections = 0
        self.counts: dict[str, int] = {}
        self.is_over = False

    def count(self, action: str) -> None:
        self.counts[action] = self.counts.get(action, 0) + 1

    def stall(self, direction: Direction, until: float) -> None:
        for pair in self.pairs:
            if direction in pair:
                for each in pair:
                    each.free_at = max(each.free_at, until)

    def run(self) -> None:
        while not self.is_over:
            wait = min((each.next_at() for pair in self.pairs for each in pair),
                       default=float("inf")) - time.monotonic()
            for key, _ in self.selector.select(min(max(wait, 0), 0.2)):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.receive(key.data)
            now = time.monotonic()
            for pair in list(self.pairs):
                self.send(pair, now)

    def accept(self) -> None:
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.port), timeout=1)
        except OSError:
            near.close()
            return
        self.connections += 1
        dice = [random.Random(f"{self.seed}:{self.connections}:{side}") for side in "io"]
        pair = Direction(near, far, dice[0], self), Direction(far, near, dice[1], self)
        self.pairs.append(pair)
        for direction in pair:
            direction.source.setblocking(False)
            direction.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(direction.source, selectors.EVENT_READ, (pair, direction))

    def receive(self, data: tuple) -> None:
        pair, direction = data
        if pair not in self.pairs:
            return
        try:
            got = direction.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close(pair)
            return
        if got:
            direction.take(got)
        else:  # what is on its way still arrives
            direction.ended = True
            self.selector.unregister(direction.source)

    def send(self, pair: tuple, now: float) -> None:
        try:
            if not all([direction.send(now) for direction in pair]):
                self.close(pair)
        except OSError:
            self.close(pair)

    def close(self, pair: tuple) -> None:
        """With a reset, as a router that has forgotten the connection does."""
        self.pairs.remove(pair)
        for direction in pair:
            if direction.source in self.selector.get_map():
                self.selector.unregister(direction.source)
            direction.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack("ii", 1, 0))
        for direction in pair:
            direction.source.close()

    def relent(self, *_) -> None:
        self.plan = {}

    def stop(self, *_) -> None:
        self.is_over = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--to", type=int, required=True, help="port of the broker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", choices=list(PLANS), required=True)
    options = parser.parse_args()
    proxy = Proxy(options.to, options.seed, options.plan)
    signal.signal(signal.SIGTERM, proxy.stop)
    signal.signal(signal.SIGUSR1, proxy.relent)
    print(proxy.listener.getsockname()[1], flush=True)
    proxy.run()
    print(json.dumps(proxy.counts), flush=True)


if __name__ == "__main__":
    main()
