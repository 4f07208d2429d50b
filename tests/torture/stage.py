"""stage.py - one round of torture: a broker with its store, a client, workers, and their history.

    with Stage(seed, directory, Setting()) as stage:
        stage.begin()
        stage.pump(0.2)                 # everybody works meanwhile
        stage.kill_broker()
        stage.start_broker()
        violations = stage.end()

Two workers and a client speak the protocol themselves (actors.py); `real` everdue-workers run
witness.c. Whoever is killed or stopped here is noted in the history. All processes end with the
round; nothing is left but what save() writes.
"""

import dataclasses
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import zmq

from actors import WORK, SHELF, Actor, Client, Worker, text
from checker import Violation, check
from harness import PROGRAMS, environment
from history import History, now_us
from raw import CREDIT, QUEUES, Peer
from syncer import BULK, Syncer

WITNESS = PROGRAMS.parent / "lib" / "torture" / "witness.so"
CONFIG = "[queues]\nbackoff-first = 50ms\nbackoff-max = 400ms\n"
QUIET_S = 30  # everything must have run again by then; typically a tenth of a second
REAL_HEARTBEAT_MS = 200
MS = 1000


class Broken(Exception):
    """The round cannot go on: a process ended by itself, or nothing moves any more."""


@dataclasses.dataclass
class Setting:
    """What a fault needs of its round."""

    sync: str = "always"
    window_us: int = 0
    grace_ms: int = 5000
    reconnect_ms: int = 3000
    real: int = 1            # everdue-workers of one process each
    credit: int = 6
    keys: int = 24
    watchful: bool = False   # the actors ping, for connections that break alone
    orderly: bool = True     # messages keep their order, and come once
    repeat_us: int = 0
    unseen: bool = False
    turn_ms: int = 500       # a busy machine may hold up a turn for so long
    broker_options: tuple[str, ...] = ()


class Real:
    """An everdue-worker with one process, and the file of its witness."""

    def __init__(self, directory: pathlib.Path, endpoint: str, log, prefix: tuple = (),
                 queue: str = WORK) -> None:
        self.child = subprocess.Popen(
            [*prefix, PROGRAMS / "everdue-worker", "--broker", endpoint, "-n", "1", "--queue",
             queue, "--credit", "3", "--heartbeat", f"{REAL_HEARTBEAT_MS}ms", "--lease", "60s",
             "--log-level", "error", "--plugin", WITNESS, "--", directory],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
            start_new_session=True)

    def pids(self) -> list[int]:
        """The processes that work now; the parent restarts one that died."""
        try:
            path = f"/proc/{self.child.pid}/task/{self.child.pid}/children"
            with open(path, encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        except OSError:
            return []

    def signal(self, number: int) -> None:
        """To parent and child."""
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass


class Stage:
    def __init__(self, seed: int, directory: pathlib.Path, setting: Setting) -> None:
        self.seed, self.directory, self.setting = seed, directory, setting
        self.dice = random.Random(seed)
        self.history = History()
        self.log = open(directory / "log", "ab")
        self.port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"  # of the actors and everdue-workers
        self.listen: tuple = ("--listen", self.endpoint)
        self.prefix: tuple = ()  # what the broker is started by
        self.broker: subprocess.Popen | None = None
        self.reals: list[Real] = []
        self.actors: list[Actor] = []
        self.syncer: Syncer | None = None
        self.doubted: set[str] = set()
        self.figures = {"starts": 0, "broker_kills": 0, "worker_kills": 0, "stops": 0, "restarts": 0}
        (directory / "config").write_text(CONFIG, encoding="ascii")

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_) -> None:
        for actor in self.actors:
            actor.close()
        for real in self.reals:
            real.signal(signal.SIGKILL)
            real.child.wait()
        if self.broker and self.broker.poll() is None:
            self.broker.kill()
            self.broker.wait()
        self.log.close()

    # --- processes ---

    def begin(self) -> None:
        """Start everything."""
        setting = self.setting
        self.history.add("rules", window_us=setting.window_us, grace_us=setting.grace_ms * MS,
                         fifo=setting.orderly, repeat_us=setting.repeat_us,
                         unseen=setting.unseen, turn_us=setting.turn_ms * MS)
        common = {"history": self.history, "dice": self.dice, "watchful": setting.watchful}
        self.client = Client("client", self.endpoint, keys=setting.keys, orderly=setting.orderly,
                             **common)
        self.workers = [Worker(f"peer-{letter}", self.endpoint, credit=setting.credit, **common)
                        for letter in "ab"]
        self.actors = [self.client, *self.workers]
        if setting.orderly:
            names: dict[str, list[str]] = {}
            for queue, key in self.client.names + self.client.shelf:
                names.setdefault(queue, []).append(key)
            self.syncer = Syncer("syncer", self.endpoint, names=names, **common)
            self.actors.append(self.syncer)
        self.start_broker()
        for _ in range(setting.real):
            self.start_real()

    def start_broker(self, **environ: str) -> None:
        """Start it, with these variables besides, and let everybody come back."""
        setting = self.setting
        self.figures["starts"] += 1
        self.history.add("up")
        self.broker = subprocess.Popen(
            [*self.prefix, PROGRAMS / "everdue-broker", *self.listen, "--store", f"lmdb:{self.directory}/store", "--sync", setting.sync, "--config",
             self.directory / "config", "--grace", f"{setting.grace_ms}ms", "--reconnect",
             f"{setting.reconnect_ms}ms", "--free-bytes-least", "1MiB", "--stop-timeout", "0s",
             *setting.broker_options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=environment() | environ, start_new_session=True)
        for actor in self.actors:
            actor.connect()

    def start_real(self) -> Real:
        self.reals.append(Real(self.directory, self.endpoint, self.log))
        return self.reals[-1]

    def kill_broker(self) -> None:
        self.history.add("kill")
        self.broker.kill()
        self.figures["broker_kills"] += 1
        self.broker_is_gone()

    def stop_broker(self) -> None:
        """SIGTERM once somebody is there, and everybody works on until it has ended in order."""
        self.pump_or_break(QUIET_S, lambda: any(actor.is_live for actor in self.actors), "a session")
        self.history.add("stop")
        self.broker.terminate()
        self.end_in_order(self.broker, "the broker")
        self.broker_is_gone()

    def end_in_order(self, child: subprocess.Popen, what: str) -> None:
        """A process that was told to end does so, with 0."""
        self.pump_or_break(QUIET_S, lambda: child.poll() is not None, f"the end of {what}")
        if child.returncode != 0:
            raise Broken(f"{what} stopped with {child.returncode}")

    def broker_is_gone(self) -> None:
        """It ended: read what had come from it."""
        self.broker.wait()
        for actor in self.actors:
            actor.drain()
        self.history.add("down")

    def doubt(self, who: str) -> None:
        if who not in self.doubted:
            self.history.add("doubt", who=who)
            self.doubted.add(who)

    def sure(self, who: str, t: int | None = None) -> None:
        if who in self.doubted:
            self.history.add("sure", t, who=who)
            self.doubted.discard(who)

    def doubt_real(self, real: Real) -> None:
        """Whoever works for it, and whoever is started for it meanwhile."""
        for pid in real.pids():
            self.doubt(f"real-{pid}")

    # --- time passes ---

    def pump(self, seconds: float, until=lambda: False) -> bool:
        """Everybody works for so long, or until the condition is true; whether it was."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.004))
        return True

    def turn(self, seconds: float) -> None:
        poller = zmq.Poller()
        for actor in self.actors:
            poller.register(actor.peer.socket, zmq.POLLIN)
        poller.poll(max(1, int(seconds * 1000)))
        for actor in self.actors:
            actor.turn()

    def pump_or_break(self, seconds: float, until, what: str) -> None:
        if not self.pump(seconds, until):
            raise Broken(f"{what} within {seconds} s")

    def stop_faults(self) -> None:
        """What must end before everything can come to rest."""

    def require_broker(self) -> None:
        if self.broker.poll() is not None:
            raise Broken(f"the broker ended with {self.broker.returncode}")

    # --- the end ---

    def end(self) -> list[Violation]:
        """No more faults: all must run again. Then count and check."""
        self.require_broker()
        self.stop_faults()
        quiet = self.history.add("quiet")
        for actor in self.actors:
            actor.active = False
        names = {name[1] for name in self.client.names}
        self.pump(QUIET_S, lambda: self.is_settled(quiet, names))
        for worker in self.workers:  # takes nothing more
            worker.peer.send(CREDIT, 0)
        for real in self.reals:
            real.signal(signal.SIGTERM)
        self.pump(QUIET_S, lambda: all(actor.is_idle() for actor in self.actors) and
                  not any(worker.held for worker in self.workers))
        for real in self.reals:
            if real.child.wait(QUIET_S) != 0:
                raise Broken(f"an everdue-worker ended with {real.child.returncode}")
        self.look()
        self.broker.terminate()
        if self.broker.wait(QUIET_S) != 0:
            raise Broken(f"the broker stopped with {self.broker.returncode}")
        for path in self.directory.glob("witness-*"):
            read_witness(path, self.history)
        return check(self.history.in_order())

    def is_settled(self, quiet: int, names: set[str]) -> bool:
        """Every record that is there has run since."""
        self.require_broker()
        askers = [actor for actor in (self.client, self.syncer) if actor]
        if not all(actor.is_idle() for actor in askers) or not all(
                worker.is_live for worker in self.workers):
            return False
        ran = {event["key"] for event in self.history.events[-4000:]
               if event["e"] == "grant" and event["due"] + event["late"] > quiet}
        for path in self.directory.glob("witness-*"):
            ran |= {line.split()[7] for line in path.read_text("utf-8").splitlines()
                    if line.startswith("B") and int(line.split()[1]) > quiet}
        left = names - ran
        return not left or not self.are_there(left)

    def are_there(self, keys: set[str]) -> bool:
        """Whether one of them is there and not parked."""
        peer = Peer(self.endpoint)
        peer.hello()
        found = [peer.get(WORK, key) for key in sorted(keys)]
        peer.close()
        return any(record and record.status != 8 for record in found)

    def look(self) -> None:
        """What is there now, and the broker's own counts."""
        peer = Peer(self.endpoint)
        peer.hello()
        known = (WORK, SHELF, BULK)
        for queue in [queue["name"] for queue in peer.items(QUEUES) if queue["name"] in known]:
            for record in peer.list(queue):
                self.history.add("record", queue=queue, key=record.key, status=record.status,
                                 due=record.due, value=text(record.payload),
                                 memo=text(record.memo), state=record.state)
        stats = peer.stats()
        others = sum(queue["records"] for queue in peer.items(QUEUES)
                     if queue["name"] not in known)
        self.history.add("stats", records=stats["records"], created=stats["created_total"],
                         removed=stats["removed_total"], others=others)
        peer.goodbye()
        peer.close()

    def sums(self) -> dict[str, int]:
        """What happened, for the table of results."""
        kinds = [event["e"] for event in self.history.events]
        return self.figures | {
            "acknowledged": self.client.acknowledged + kinds.count("reported"),
            "grants": kinds.count("grant"), "resumed": kinds.count("resumed"),
            "stale": sum(worker.late for worker in self.workers),
            "sets": self.syncer.committed if self.syncer else 0}

    def save(self, place: pathlib.Path) -> None:
        """Keep what shows a violation."""
        place.mkdir(parents=True, exist_ok=True)
        self.history.write(place / "history.jsonl")
        self.log.flush()
        (place / "log").write_bytes((self.directory / "log").read_bytes())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_witness(path: pathlib.Path, history: History) -> None:
    """The runs of one process of an everdue-worker. A last line without its end is not there."""
    who = "real-" + path.name.removeprefix("witness-")
    for line in path.read_text("utf-8").split("\n")[:-1]:
        kind, *rest = line.split(" ")
        if kind == "B":
            t, lease, state, due, late, crashes = map(int, rest[:6])
            key, value, memo = (None if word == "-" else word for word in rest[6:])
            history.add("grant", t, who=who, queue=WORK, key=key, lease=lease, state=state,
                        due=due, late=late, value=value, memo=memo, crashes=crashes)
        else:
            t, lease, state, key, after = rest
            history.add("report", int(t), who=who, queue=WORK, key=key, lease=int(lease),
                        state=int(state), outcome=0, due=None, after=int(after), memo=f"m{lease}")
