"""faults_net.py - what networks do to broker and workers: a proxy with a plan, and partitions.

The proxy stands between client, one worker and the broker; another worker is connected directly, so
what happens to the one must not reach the other. Partitions use network namespaces of their own,
as root or in a user namespace.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from faults import Fault, go_on
from raw import CREATED, Peer
from stage import MS, Broken, Real, Setting, Stage

HERE = pathlib.Path(__file__).resolve().parent
NOISE = "noise"
REPEAT_US = 500 * MS  # a repeated message is 40 ms late; a busy machine makes it later


# --- the proxy ---


class ProxyStage(Stage):
    """A proxy before the broker, with a plan of proxy.py."""

    def __init__(self, seed: int, directory: pathlib.Path, setting: Setting, plan: str) -> None:
        super().__init__(seed, directory, setting)
        self.proxy = subprocess.Popen(
            [sys.executable, "-B", HERE / "proxy.py", "--to", str(self.port), "--seed", str(seed),
             "--plan", plan], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
            text=True)
        self.through = f"tcp://127.0.0.1:{int(self.proxy.stdout.readline())}"

    def begin(self) -> None:
        super().begin()
        for actor in (self.client, self.workers[0]):
            actor.peer.endpoint = self.through
            actor.connect()

    def start_real(self) -> Real:
        """Its heartbeats are short and its connection is bad: it may be lost at any time."""
        real = Real(self.directory, self.through, self.log)
        self.reals.append(real)
        if not self.pump(10, real.pids):
            raise Broken("an everdue-worker did not start")
        self.doubt_real(real)
        return real

    def stop_faults(self) -> None:
        """The proxy passes everything from here on."""
        self.proxy.send_signal(signal.SIGUSR1)

    def sums(self) -> dict[str, int]:
        self.proxy.send_signal(signal.SIGTERM)
        counts = json.loads(self.proxy.communicate(timeout=10)[0])
        counts.pop("pass", None)
        return super().sums() | counts

    def __exit__(self, *details) -> None:
        if self.proxy.poll() is None:
            self.proxy.kill()
            self.proxy.wait()
        super().__exit__(*details)


def proxied(plan: str, **setting):
    """Makes stages with that plan."""
    return lambda seed, directory: ProxyStage(
        seed, directory, Setting(watchful=True, unseen=True, **setting), plan)


class NoiseStage(ProxyStage):
    """Flipped bits: everdue-workers of a queue of their own behind the proxy. What they do there
    nobody can say; they live, and what everybody else does is not touched."""

    def __init__(self, seed: int, directory: pathlib.Path) -> None:
        super().__init__(seed, directory, Setting(real=2), "flip")
        self.noise = directory / NOISE
        self.noise.mkdir()

    def begin(self) -> None:
        Stage.begin(self)
        peer = Peer(self.endpoint)
        peer.hello()
        statuses = peer.put(NOISE, *[[f"n{i}"] for i in range(20)])
        if set(statuses) != {CREATED}:
            raise Broken(f"the noise was refused: {statuses}")
        peer.goodbye()
        peer.close()

    def start_real(self) -> Real:
        self.reals.append(Real(self.noise, self.through, self.log, queue=NOISE))
        return self.reals[-1]


def time_passes(stage: Stage) -> None:
    """The proxy does the rest."""
    stage.pump(0.25)
    stage.require_broker()
    for real in stage.reals:
        if real.child.poll() is not None:
            raise Broken(f"an everdue-worker ended with {real.child.returncode}")


# --- partitions ---


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{' '.join(command)}: {done.stderr.strip()}")


class Namespace:
    """A network namespace that lasts as long as a process that sleeps in it."""

    def __init__(self, inside: "Namespace | None" = None) -> None:
        user = () if os.geteuid() == 0 or inside else ("-U", "-r")
        self.user = ("-U", "--preserve-credentials") if os.geteuid() else ()
        enter = ("nsenter", "-t", str(inside.pid), *self.user) if inside and os.geteuid() else ()
        self.holder = subprocess.Popen(
            [*enter, "unshare", *user, "-n", "sh", "-c", "echo; exec sleep 3600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.pid = self.holder.pid
        if not self.holder.stdout.readline():
            raise Broken("no network namespaces here: they need root, or user namespaces")

    def prefix(self) -> tuple[str, ...]:
        return "nsenter", "-t", str(self.pid), *self.user, "-n"

    def run(self, command: str) -> None:
        run(*self.prefix(), *command.split())

    def end(self) -> None:
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


def why_no_partitions() -> str | None:
    """What keeps us from cutting anything off here."""
    for program in ("ip", "iptables", "nsenter", "unshare"):
        if not shutil.which(program):
            return f"{program} is not installed"
    try:
        space = Namespace()
    except Broken as broken:
        return str(broken)
    space.end()
    return None


class NetStage(Stage):
    """The broker in one namespace, everdue-workers in another, a cable between them. The actors
    come in by a socket in the file system, which no partition reaches."""

    def __init__(self, seed: int, directory: pathlib.Path) -> None:
        super().__init__(seed, directory, Setting(real=2, reconnect_ms=300, unseen=True))
        self.near = Namespace()
        self.far = Namespace(self.near)
        self.near.run("ip link set lo up")
        self.near.run("ip link add v0 type veth peer name v1")
        self.near.run(f"ip link set v1 netns {self.far.pid}")
        for side, name, address in [(self.near, "v0", "10.77.0.1"), (self.far, "v1", "10.77.0.2")]:
            side.run(f"ip address add {address}/24 dev {name}")
            side.run(f"ip link set {name} up")
        self.tcp = "tcp://10.77.0.1:7790"
        self.endpoint = f"ipc://{directory}/socket"
        self.listen = ("--listen", self.tcp, "--insecure-plaintext", "--listen", self.endpoint)
        self.prefix = self.near.prefix()

    def start_real(self) -> Real:
        self.reals.append(Real(self.directory, self.tcp, self.log, self.far.prefix()))
        return self.reals[-1]

    def __exit__(self, *details) -> None:
        super().__exit__(*details)
        self.far.end()
        self.near.end()


CUTS = {  # how the workers' side is cut off, and how it is healed
    "in": ("iptables -A INPUT -j DROP", "iptables -F"),
    "out": ("iptables -A OUTPUT -j DROP", "iptables -F"),
    "both": ("iptables -P INPUT DROP", "iptables -P INPUT ACCEPT"),
    "cable": ("ip link set v1 down", "ip link set v1 up"),
}


def partition(stage: NetStage) -> None:
    """The workers are cut off for less or more than three heartbeats, sometimes while the broker
    is killed and started again."""
    for real in stage.reals:
        stage.doubt_real(real)
    stage.figures["partitions"] = stage.figures.get("partitions", 0) + 1
    begin, heal = CUTS[stage.dice.choice(list(CUTS))]
    stage.far.run(begin)
    stage.pump(stage.dice.choice([0.1, 0.4, 1.0]) * stage.dice.random())
    stage.require_broker()
    if stage.dice.random() < 0.1:
        stage.kill_broker()
        stage.start_broker()
        stage.pump(0.1 * stage.dice.random())
    stage.far.run(heal)
    for real in stage.reals:
        go_on(stage, real)
    stage.pump(0.2 * stage.dice.random())


NET_FAULTS = {
    "partition": Fault(partition, NetStage, 20, ("partitions",),
                       "workers in a namespace that is cut off, in, out, both ways, by the cable"),
    "proxy-delay": Fault(time_passes, proxied("delay"), 16, ("delay", "stall", "trickle"),
                         "messages delayed, stalled, in small pieces"),
    "proxy-cut": Fault(time_passes, proxied("cut"), 16, ("cut", "delay"), "connections cut in a message"),
    "proxy-repeat": Fault(time_passes, proxied("repeat", orderly=False, repeat_us=REPEAT_US), 16,
                          ("repeat", "reorder"), "whole messages repeated and reordered"),
    "proxy-flip": Fault(time_passes, NoiseStage, 16, ("flip",), "flipped bits"),
}
