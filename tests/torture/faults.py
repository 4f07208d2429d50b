"""faults.py - what is done to the processes, a fault a function: one call is one cycle.

Each is named as --fault names it, with the setting of its rounds, how many cycles a round has, and
what a cycle counts as in docs/reliability.md.
"""

import dataclasses
import os
import pathlib
import signal
from collections.abc import Callable

from history import now_us
from stage import MS, PROGRAMS, REAL_HEARTBEAT_MS, Broken, Real, Setting, Stage

CUT_HOW = ("before", "half", "after")
SWEEP_CYCLES, SWEEP_ROUNDS = 30, 40  # 400 calls
FIRST_ROUNDS = 300                   # 100 calls
CUT = PROGRAMS.parent / "lib" / "torture" / "cut.so"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One kind of torture."""

    cycle: Callable[[Stage], None]
    make: Callable[[int, pathlib.Path], Stage]
    cycles: int  # in a round
    counts: tuple[str, ...]  # sums that are its cycles in the figures
    about: str
    finds: tuple[str, ...] = ()  # a control: violations, one of which must be found


# --- the broker is killed ---


def kill_broker(stage: Stage) -> None:
    """kill -9 at any moment, also while workers come back."""
    stage.pump(stage.dice.choice([0.02, 0.1, 0.25]) * stage.dice.random())
    stage.require_broker()
    stage.kill_broker()
    stage.start_broker()


def kill_busy_broker(stage: Stage) -> None:
    """Not before requests were answered and workers have something: a control must have something
    to find, however slow the machine is."""
    before = stage.client.acknowledged
    stage.pump_or_break(20, lambda: stage.client.acknowledged > before + 20 and
                        all(worker.held for worker in stage.workers), "work")
    stage.require_broker()
    stage.kill_broker()
    stage.start_broker()


class CutStage(Stage):
    """The journal is folded all the time, so that checkpoints are hit too."""

    def __init__(self, seed: int, directory: pathlib.Path) -> None:
        super().__init__(seed, directory, Setting(broker_options=("--journal-max", "64KiB")))

    def next_cut(self) -> tuple[int, str]:
        """At which call, and how. Near the beginning half of the time: a start writes, too."""
        return self.dice.randint(1, self.dice.choice([20, 400])), self.dice.choice(CUT_HOW)

    def cut_variables(self) -> dict[str, str]:
        at, how = self.next_cut()
        return {"LD_PRELOAD": str(CUT), "EVERDUE_CUT_DIR": f"{self.directory}/store",
                "EVERDUE_CUT_AT": str(at), "EVERDUE_CUT_HOW": how}


class SweepStage(CutStage):
    """One call after the other, each in all three ways: seed n has the calls from 10 (n - 1) + 1
    on, counted from a start of the broker on a store that has records, and seed 41 the first ones
    again."""

    def __init__(self, seed: int, directory: pathlib.Path) -> None:
        super().__init__(seed, directory)
        self.place = (seed - 1) % SWEEP_ROUNDS * SWEEP_CYCLES

    def next_cut(self) -> tuple[int, str]:
        place, self.place = self.place, self.place + 1
        return place // len(CUT_HOW) + 1, CUT_HOW[place % len(CUT_HOW)]


class FirstStage(CutStage):
    """A store that does not exist yet: the calls of its very first life, seed n at call
    (n - 1) / 3 + 1, and seed 301 at the first again."""

    def start_broker(self, **environ: str) -> None:
        is_first = not self.figures["starts"]
        super().start_broker(**(self.cut_variables() if is_first else environ))

    def next_cut(self) -> tuple[int, str]:
        place = (self.seed - 1) % FIRST_ROUNDS
        return place // len(CUT_HOW) + 1, CUT_HOW[place % len(CUT_HOW)]


def cut_broker(stage: CutStage) -> None:
    """The broker runs until it is killed before, in or after a certain write or sync; a later
    start is left alone, to write more."""
    if stage.broker.poll() is None:
        stage.kill_broker()
    stage.start_broker(**stage.cut_variables())
    see_the_cut(stage)


def see_the_cut(stage: CutStage) -> None:
    """It ends by itself, or after 2 s by us; then a start that is left alone."""
    if not stage.pump(2, lambda: stage.broker.poll() is not None):
        stage.kill_broker()
    else:
        stage.history.add("kill")
        stage.figures["broker_kills"] += 1
        stage.figures["cuts"] = stage.figures.get("cuts", 0) + 1
        stage.broker_is_gone()
        if stage.broker.returncode != -signal.SIGKILL:
            raise Broken(f"the broker ended with {stage.broker.returncode}")
    stage.start_broker()
    stage.pump(0.02 * stage.dice.random())


# --- an upgrade ---


def upgrade(stage: Stage) -> None:
    """The broker, an everdue-worker or both are told to end while everybody works, end in order,
    and start again: no record may be handed out twice for that."""
    stage.pump(0.02 + 0.15 * stage.dice.random())
    stage.require_broker()
    stage.figures["restarts"] += 1
    real = stage.dice.choice(stage.reals) if stage.dice.random() < 0.4 else None
    if real:
        real.child.terminate()
    if not real or stage.dice.random() < 0.5:
        stage.stop_broker()
        stage.pump(0.1 * stage.dice.random())
        stage.start_broker()
    if real:
        stage.end_in_order(real.child, "an everdue-worker")
        stage.reals.remove(real)
        stage.start_real()


def in_order(seed: int, directory: pathlib.Path) -> Stage:
    """Reports are waited for, or not, or for a part of the longest runs."""
    patience = ("0s", "50ms", "2s")[seed % 3]
    return Stage(seed, directory, Setting(real=2, broker_options=("--stop-timeout", patience)))


def in_order_interval(seed: int, directory: pathlib.Path) -> Stage:
    """A stop in order writes all, also what was acknowledged a moment before."""
    return Stage(seed, directory, Setting(sync="interval:500ms", window_us=600 * MS, real=2))


# --- workers are killed and stopped ---


def lost_after_us() -> int:
    """How long a broker may take a worker for lost after it went on: it has to be heard first."""
    return 10 * REAL_HEARTBEAT_MS * MS


def kill_worker(stage: Stage) -> None:
    """kill -9 of an everdue-worker, or only of its working process, which its parent restarts."""
    stage.pump(0.02 + 0.15 * stage.dice.random())
    stage.require_broker()
    real = stage.dice.choice(stage.reals)
    stage.pump_or_break(10, real.pids, "the restart of a worker's process")
    pids = real.pids()
    stage.doubt_real(real)
    stage.figures["worker_kills"] += 1
    if stage.dice.random() < 0.3:
        os.kill(pids[0], signal.SIGKILL)
        return
    real.signal(signal.SIGKILL)
    real.child.wait()
    stage.reals.remove(real)
    stage.start_real()


def stop(stage: Stage, real: Real) -> None:
    stage.doubt_real(real)
    stage.figures["stops"] += 1
    real.signal(signal.SIGSTOP)


def go_on(stage: Stage, real: Real) -> None:
    """What it got while it was stopped may have been given to others until it is heard again."""
    real.signal(signal.SIGCONT)
    for pid in real.pids():
        stage.sure(f"real-{pid}", now_us() + lost_after_us())


def stop_worker(stage: Stage) -> None:
    """SIGSTOP for less or more than three heartbeats, then SIGCONT."""
    real = stage.dice.choice(stage.reals)
    stop(stage, real)
    stage.pump(stage.dice.choice([0.05, 0.3, 0.9]) * stage.dice.random())
    stage.require_broker()
    go_on(stage, real)
    stage.pump(0.1 * stage.dice.random())


def stop_broker(stage: Stage) -> None:
    """The broker is held up; what came meanwhile is read before any lease ends."""
    stage.pump(0.1 * stage.dice.random())
    stage.require_broker()
    stage.figures["stops"] += 1
    stage.broker.send_signal(signal.SIGSTOP)
    for real in stage.reals:  # it may time out and come back with what it holds
        stage.doubt_real(real)
    stage.pump(stage.dice.choice([0.05, 0.2, 1.0]) * stage.dice.random())
    stage.broker.send_signal(signal.SIGCONT)
    for real in stage.reals:
        go_on(stage, real)


def stop_and_kill(stage: Stage) -> None:
    """A worker is stopped, the broker killed and started, or stopped and killed; the worker goes
    on, or is killed, while the broker comes back."""
    real = stage.dice.choice(stage.reals)
    stop(stage, real)
    stage.pump(0.2 * stage.dice.random())
    stage.require_broker()
    if stage.dice.random() < 0.3:
        stage.broker.send_signal(signal.SIGSTOP)
        stage.pump(0.2 * stage.dice.random())
    stage.kill_broker()
    stage.start_broker()
    stage.pump(0.2 * stage.dice.random())
    if stage.dice.random() < 0.3:
        stage.figures["worker_kills"] += 1
        real.signal(signal.SIGKILL)
        real.child.wait()
        stage.reals.remove(real)
        stage.start_real()
    else:
        go_on(stage, real)


def plain(seed: int, directory: pathlib.Path) -> Stage:
    return Stage(seed, directory, Setting())


def interval(seed: int, directory: pathlib.Path) -> Stage:
    return Stage(seed, directory, Setting(sync="interval:50ms", window_us=300 * MS))


def never(seed: int, directory: pathlib.Path) -> Stage:
    """What it acknowledged is the system's, which a kill does not touch."""
    return Stage(seed, directory, Setting(sync="never"))


def too_weak(seed: int, directory: pathlib.Path) -> Stage:
    return Stage(seed, directory, Setting(sync="interval:2s"))


def too_hasty(seed: int, directory: pathlib.Path) -> Stage:
    return Stage(seed, directory, Setting(broker_options=("--grace", "0s")))


def workers(seed: int, directory: pathlib.Path) -> Stage:
    """Leases of the dead come back soon, so that much happens."""
    return Stage(seed, directory, Setting(real=2, reconnect_ms=200, unseen=True))


def held_up(seed: int, directory: pathlib.Path) -> Stage:
    """The broker may be stopped between its look at the clock and its look at a message."""
    return Stage(seed, directory, Setting(real=2, reconnect_ms=200, unseen=True, turn_ms=2000))


def workers_and_broker(seed: int, directory: pathlib.Path) -> Stage:
    return Stage(seed, directory, Setting(real=2, reconnect_ms=200, grace_ms=1000, unseen=True))


PROCESS_FAULTS = {
    "broker-kill": Fault(kill_broker, plain, 40, ("broker_kills",),
                         "kill -9 of the broker at random moments under load"),
    "broker-cut": Fault(cut_broker, CutStage, 30, ("broker_kills",),
                        "the broker killed at a certain write or sync of its store"),
    "broker-cut-sweep": Fault(cut_broker, SweepStage, SWEEP_CYCLES, ("broker_kills",),
                              "the same at each write and sync in turn, after a start"),
    "broker-cut-first": Fault(see_the_cut, FirstStage, 1, ("broker_kills",),
                              "the same at each write and sync in turn of a store's first life"),
    "broker-kill-interval": Fault(kill_broker, interval, 40, ("broker_kills",),
                                  "the same with --sync interval:50ms"),
    "broker-kill-never": Fault(kill_broker, never, 40, ("broker_kills",),
                               "the same with --sync never"),
    "upgrade": Fault(upgrade, in_order, 40, ("restarts",),
                     "the broker and everdue-workers end in order and start again"),
    "upgrade-interval": Fault(upgrade, in_order_interval, 40, ("restarts",),
                              "the same with --sync interval:500ms, of which nothing may be lost"),
    "worker-kill": Fault(kill_worker, workers, 40, ("worker_kills", "stops"),
                         "kill -9 of everdue-workers"),
    "worker-stop": Fault(stop_worker, workers, 20, ("worker_kills", "stops"),
                         "SIGSTOP and SIGCONT of everdue-workers"),
    "broker-stop": Fault(stop_broker, held_up, 20, ("stops",),
                         "SIGSTOP and SIGCONT of the broker"),
    "stop-and-kill": Fault(stop_and_kill, workers_and_broker, 20, ("broker_kills",),
                           "workers stopped while the broker is killed, and both"),
    "control-sync": Fault(kill_busy_broker, too_weak, 8, (),
                          "acknowledged before the disk, and checked as if after it", ("lost", "gone")),
    "control-grace": Fault(kill_busy_broker, too_hasty, 8, (),
                           "no grace after a restart, and checked as if there were",
                           ("overlapping",)),
}
