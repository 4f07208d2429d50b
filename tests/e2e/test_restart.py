"""What survives when the broker or a worker is killed, stopped or held up."""

import os
import random
import shlex
import signal
import subprocess
import time

import pytest

from conftest import ROOT, wait_until
from raw import (
    ASIDE, CHANGED, CREATED, GIVE_BACK, HOUR_US, KICK, NOT_FOUND, OK, PAUSE, PENDING, PUT, QUEUES,
    REMOVE, REPORT, REPORT_PARK, REPORT_REMOVE, RESUME, RUN_NOW, STALE, UNPAUSE, WAITING, Peer, put,
    stopped)

LONG = 4  # records that are at work over all restarts


@pytest.fixture
def broker(made, brokers):
    return brokers("--stop-timeout", "0s", "--grace", "3s", store="lmdb")


@pytest.fixture
def peers(made, broker):
    def make(**hello):
        made.append(Peer(broker.endpoint))
        if hello:
            assert isinstance(made[-1].hello(**hello), list)
        return made[-1]

    return make


# --- the oracle ---


class Word:
    """What one thing (a payload, a memo, a pause) may be after a crash: what was acknowledged last,
    or anything that was asked for since."""

    def __init__(self, value=None):
        self.known, self.asked = value, []

    def ask(self, value):
        self.asked.append(value)

    def acknowledge(self, value):
        """It was carried out, and all that was asked for before it, too."""
        if value in self.asked:
            del self.asked[:self.asked.index(value) + 1]
            self.known = value

    def check(self, value, what):
        assert value in [self.known, *self.asked], (
            f"{what} is {value!r}; acknowledged {self.known!r}, since then asked {self.asked!r}")

    def settle(self, value, what):
        """What was asked for and not answered was carried out or not: now it is known."""
        self.check(value, what)
        self.known, self.asked = value, []


class Source:
    """Puts and removes records, changes records at work, pauses queues: forty requests at once."""

    def __init__(self, peer, dice):
        self.peer, self.dice = peer, dice
        self.records = {f"c{i}": Word() for i in range(30)}
        self.paused = {name: Word(0) for name in ["p0", "p1"]}
        self.pending = {f"long{i}": Word() for i in range(LONG)}
        self.under_way = {}  # request: (word, value)
        self.count = 0

    def begin(self):
        assert isinstance(self.peer.hello(), list)
        self.under_way.clear()

    def step(self):
        while len(self.under_way) < 40:
            self.request()
        self.peer.receive(0.005)
        self.collect()

    def collect(self):
        for request in [each for each in self.under_way if each in self.peer.answers]:
            status, body, text, _ = self.peer.answers.pop(request)
            assert status in (OK, NOT_FOUND), (status, text)  # no such queue to resume
            assert (body or [OK])[0] in (OK, CREATED, CHANGED, PENDING, NOT_FOUND), body
            word, value = self.under_way.pop(request)
            word.acknowledge(value)

    def request(self):
        self.count += 1
        kind = self.dice.randrange(12)
        value = b"%d" % self.count + b"x" * self.dice.choice([0, 0, 100, 5000])
        if kind == 0:
            name, word = self.dice.choice(list(self.paused.items()))
            value = self.dice.randrange(2)
            request = self.peer.post(PAUSE if value else UNPAUSE, name)
        elif kind < 3:
            key, word = self.dice.choice(list(self.pending.items()))
            request = self.peer.post(PUT, "work", [put(key, payload=value)])
        elif kind < 6:
            key, word = self.dice.choice(list(self.records.items()))
            value = None
            request = self.peer.post(REMOVE, "source", [key])
        else:
            key, word = self.dice.choice(list(self.records.items()))
            request = self.peer.post(PUT, "source", [put(key, after=HOUR_US, payload=value)])
        word.ask(value)
        self.under_way[request] = word, value

    def check(self, watcher):
        found = {record.key: record.payload for record in watcher.list("source")}
        for key, word in self.records.items():
            word.settle(found.pop(key, None), key)
        assert not found, "records that nobody put"
        paused = {queue["name"]: queue["paused"] for queue in watcher.items(QUEUES)}
        for name, word in self.paused.items():
            word.settle(paused.get(name, 0), name)


class Worker:
    """Runs short records again and again, and holds the long ones over every restart."""

    def __init__(self, peer, dice):
        self.peer, self.dice = peer, dice
        self.memos = {}      # key: Word of the memo that its last report set
        self.held = {}       # key: task that is worked on
        self.outbox = {}     # key: report that is not answered
        self.under_way = {}  # request: key
        self.resent = set()  # keys whose report is sent again
        self.count = self.stale = 0

    def begin(self):
        """Say hello, announce what is held, send again what was not answered."""
        self.under_way.clear()
        assert isinstance(self.peer.hello(["work"], credit=24, lease_ms=3600000,
                                          resume=len(self.held)), list)
        if self.held:
            statuses = self.peer.items(RESUME, [task.resume() for task in self.held.values()])
            assert set(statuses) == {OK}, "a lease that a living worker holds was given away"
        self.resent = set(self.outbox)
        for key in self.outbox:
            self.send(key)

    def send(self, key):
        self.under_way[self.peer.post(REPORT, [self.outbox[key]])] = key

    def step(self):
        self.peer.receive(0.005)
        self.collect()
        for key in [key for key in self.held if not key.startswith("long")]:
            if self.dice.random() < 0.7:
                self.finish(key)

    def collect(self):
        for request in [each for each in self.under_way if each in self.peer.answers]:
            status, body, text, _ = self.peer.answers.pop(request)
            key = self.under_way.pop(request)
            memo = self.outbox.pop(key)[9]
            if (status, body) == (OK, [OK]):
                self.memos[key].acknowledge(memo)
            else:  # it ran again before this report came: at least once
                assert (status, body) == (OK, [STALE]) and key in self.resent, (status, body, text)
                self.memos[key].asked.remove(memo)
                self.stale += 1
            self.resent.discard(key)
        for task in self.peer.tasks:
            assert task.key not in self.held, "handed out twice"
            assert task.key not in self.outbox or task.key in self.resent, "handed out too early"
            self.memos.setdefault(task.key, Word()).check(task.memo, f"the memo of {task.key}")
            self.held[task.key] = task
        self.peer.tasks.clear()

    def finish(self, key):
        if key in self.outbox:  # its report of the run before is on its way
            return
        task = self.held.pop(key)
        self.count += 1
        memo = b"%d" % self.count
        self.memos[key].ask(memo)
        self.outbox[key] = task.report(after=self.dice.randrange(5000, 50000), memo=memo)
        self.send(key)


class Thief:
    """Another worker, which gives back at once whatever it gets."""

    def __init__(self, peer):
        self.peer = peer

    def begin(self):
        assert isinstance(self.peer.hello(["work"], credit=1), list)

    def step(self, worker):
        self.peer.receive(0.001)
        for task in self.peer.tasks:
            assert task.key not in worker.held, "handed out to two workers"
            self.peer.post(GIVE_BACK, [task.name() + [False]])
        self.peer.tasks.clear()


def kill_and_restart(broker, source, worker, thief):
    broker.process.kill()
    for actor in [source, worker, thief]:
        while actor.peer.receive(0):  # what came before the kill
            pass
    source.collect()
    worker.collect()
    for actor in [source, worker, thief]:
        actor.peer.connect()
        actor.peer.answers.clear()
        actor.peer.tasks.clear()
    broker.start()


def test_twenty_kills_at_random_moments_lose_and_double_nothing(broker, peers):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    source, worker, thief = Source(peers(), dice), Worker(peers(), dice), Thief(peers())
    setup = peers(queues=[])
    setup.put("work", *[put(f"w{i}") for i in range(40)], *[put(f"long{i}") for i in range(LONG)])
    setup.goodbye()
    for _ in range(20):
        worker.begin()
        thief.begin()
        source.begin()
        until = time.monotonic() + dice.uniform(0.05, 0.4)
        while time.monotonic() < until or not worker.held.keys() >= source.pending.keys():
            source.step()
            worker.step()
            thief.step(worker)
        kill_and_restart(broker, source, worker, thief)
        watcher = peers(queues=[])
        source.check(watcher)
        stats = watcher.stats()
        assert stats["records"] == stats["created_total"] - stats["removed_total"]
        watcher.goodbye()
    worker.begin()
    for key in source.pending:
        task = worker.held[key]
        assert task.crashes == 0
        assert worker.peer.report(task.report(after=HOUR_US)) == [OK]
        assert worker.peer.report(task.report(after=HOUR_US)) == [OK]
        source.pending[key].settle(worker.peer.get("work", key).payload, f"the payload of {key}")
    print(f"{source.count} requests, {worker.count} runs, {worker.stale} of them in vain")
    assert worker.count > 100


# --- what was acknowledged ---


def test_all_that_was_acknowledged_is_there_after_a_kill(broker, peers):
    peer = peers(queues=["q"], lease_ms=3600000)
    assert peer.put("q", *[put(f"k{i}", after=HOUR_US, payload=b"p") for i in range(9)]) == (
        [CREATED] * 9)
    assert peer.items(REMOVE, "q", ["k0"]) == [OK]
    for key, report in [("k1", {"outcome": REPORT_PARK, "error": "broken"}),
                        ("k2", {"outcome": REPORT_PARK}), ("k3", {"after": HOUR_US, "memo": b"m"}),
                        ("k4", {"outcome": REPORT_REMOVE})]:
        assert peer.items(RUN_NOW, "q", [key]) == [OK]
        task, = peer.take(wait_ms=1000)
        assert task.key == key and peer.report(task.report(**report)) == [OK]
    assert peer.items(KICK, "q", ["k2"]) == [OK]
    task, = peer.take(wait_ms=1000, detached=False)
    assert (task.key, peer.put("q", put("k2", payload=b"new"))) == ("k2", [PENDING])
    assert peer.ask(PAUSE, "q")[0] == OK
    broker.kill()
    broker.start()
    peer.connect()
    peer.hello(["q"], resume=1)
    assert peer.items(RESUME, [task.resume()]) == [OK]
    assert peer.get("q", "k0") is None and peer.get("q", "k4") is None
    parked = peer.get("q", "k1")
    assert (parked.status, parked.error) == (ASIDE, "broken")
    assert (peer.get("q", "k3").memo, peer.get("q", "k3").failures) == (b"m", 0)
    assert peer.items(QUEUES)[0]["paused"] == 1
    assert peer.report(task.report(after=HOUR_US)) == [OK]
    changed = peer.get("q", "k2")
    assert (changed.payload, changed.status) == (b"new", WAITING)
    stats = peer.stats()
    assert (stats["created_total"], stats["removed_total"], stats["records"]) == (9, 2, 7)


def test_a_report_whose_answer_was_lost_is_repeated_after_a_restart(broker, peers):
    worker = peers(queues=["q"], credit=1)
    worker.put("q", ["k"])
    task, = worker.next_tasks(1)
    report = task.report(after=HOUR_US, memo=b"once")
    first = worker.post(REPORT, [report])
    worker.answer(first)
    broker.kill()
    broker.start()
    worker.connect()
    worker.hello(["q"], credit=1)
    assert worker.report(report) == [OK]
    assert worker.stats()["reports_ok_total"] == 1
    assert worker.get("q", "k").memo == b"once"


def test_a_worker_that_does_not_come_back_loses_its_leases_after_the_grace(broker, peers):
    gone, other = peers(queues=["q"], credit=1), peers(queues=["q"])
    gone.put("q", ["k"], put("later", after=HOUR_US))
    task, = gone.next_tasks(1)
    broker.kill()
    gone.close()
    broker.start("--grace", "1s")
    other.connect()
    other.hello(["q"], credit=1)
    assert other.items(RUN_NOW, "q", ["later"]) == [OK]
    assert other.next_tasks(1)[0].key == "later"  # what was not due before goes on at once
    other.send(2, 2)
    again, = other.next_tasks(1)
    assert (again.key, again.crashes) == ("k", 0) and again.lease > task.lease


def test_another_store_makes_a_worker_start_anew(brokers, made):
    broker = brokers("--stop-timeout", "0s")
    peer = Peer(broker.endpoint)
    made.append(peer)
    peer.hello(["q"], credit=1)
    store = peer.store
    broker.restart()
    peer.connect()
    peer.hello(["q"], credit=1)
    assert peer.store != store and peer.welcome[7] is False


# --- real workers ---


def script(directory, text):
    """A command for everdue-worker."""
    path = directory / "run.sh"
    path.write_text(f"#!/bin/sh\nset -e\ncd {shlex.quote(str(directory))}\n{text}\n",
                    encoding="utf-8")
    path.chmod(0o755)
    return path


def runs_of(directory, word="begun"):
    log = directory / "log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return sorted(line.split()[1] for line in lines if line.startswith(word))


# Until it may go, or the test is over: who outlives its killed worker ends, too.
LONG_RUN = """echo "begun $1" >> log
while [ ! -e go ] && [ -e log ]; do sleep 0.02; done
echo "done $1" >> log"""


def test_long_runs_go_on_over_a_kill_of_the_broker(broker, workers, directory):
    run = script(directory, LONG_RUN)
    broker.everdue("put", "a", "--every", "1h")
    broker.everdue("put", "b", "--every", "1h")
    workers(broker, "-n", "2", "--credit", "1", "--", run, "{key}")
    wait_until(lambda: runs_of(directory) == ["a", "b"], what="the runs")
    broker.kill()
    broker.start("--grace", "5s")
    began = time.monotonic()
    wait_until(lambda: broker.stats()["workers"] == 2, what="the workers")
    print(f"workers were back {time.monotonic() - began:.2f} s after the broker")
    wait_until(lambda: not broker.stats()["in_grace"], what="the end of the grace")
    assert broker.stats()["leased"] == 2
    (directory / "go").touch()
    wait_until(lambda: broker.stats()["reports_ok_total"] == 2, what="the reports")
    assert runs_of(directory) == runs_of(directory, "done") == ["a", "b"]
    assert [broker.json("get", key)["crashes"] for key in "ab"] == [0, 0]


def test_a_run_that_ends_while_the_broker_is_away_counts(broker, workers, directory):
    run = script(directory, LONG_RUN)
    broker.everdue("put", "a", "--every", "1h")
    workers(broker, "-n", "1", "--", run, "{key}")
    wait_until(lambda: runs_of(directory) == ["a"], what="the run")
    broker.kill()
    (directory / "go").touch()
    wait_until(lambda: runs_of(directory, "done") == ["a"], what="the end of the run")
    broker.start("--grace", "5s")
    wait_until(lambda: broker.json("get", "a")["state"] == "waiting", what="the report")
    assert runs_of(directory) == ["a"] and broker.stats()["reports_ok_total"] == 1


def child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def test_the_record_of_a_killed_worker_runs_again_and_no_other(brokers, workers, directory):
    broker = brokers("--reconnect", "0s")
    run = script(directory, LONG_RUN)
    workers(broker, "-n", "1", "--credit", "1", "--name", "other", "--", run, "{key}")
    wait_until(lambda: broker.stats()["workers"] == 1)
    broker.everdue("put", "kept", "--every", "1h")
    wait_until(lambda: runs_of(directory) == ["kept"], what="the first run")
    victim = workers(broker, "-n", "1", "--credit", "1", "--", run, "{key}")
    wait_until(lambda: broker.stats()["workers"] == 2)
    broker.everdue("put", "lost", "--every", "1h")
    wait_until(lambda: runs_of(directory) == ["kept", "lost"], what="the second run")
    child, = child_of(victim.pid)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: runs_of(directory) == ["kept", "lost", "lost"], what="the run again")
    assert broker.json("get", "lost")["crashes"] == 1
    assert broker.json("get", "kept")["crashes"] == 0
    (directory / "go").touch()
    wait_until(lambda: broker.stats()["reports_ok_total"] == 2, what="the reports")


def test_the_record_of_a_stopped_worker_runs_again_and_its_report_is_stale(broker, workers,
                                                                          directory):
    run = script(directory, LONG_RUN)
    broker.everdue("put", "k", "--every", "1h")
    frozen = workers(broker, "-n", "1", "--heartbeat", "100ms", "--", run, "{key}")
    wait_until(lambda: runs_of(directory) == ["k"], what="the run")
    child, = child_of(frozen.pid)
    os.kill(child, signal.SIGSTOP)
    workers(broker, "-n", "1", "--", run, "{key}")
    wait_until(lambda: runs_of(directory) == ["k", "k"], what="the run again")
    assert broker.json("get", "k")["crashes"] == 1
    (directory / "go").touch()
    wait_until(lambda: broker.stats()["reports_ok_total"] == 1, what="the report")
    os.kill(child, signal.SIGCONT)
    wait_until(lambda: broker.stats()["workers"] == 2, what="the worker that went on")
    wait_until(lambda: broker.stats()["stale_total"] == 1, what="its report")
    assert broker.stats()["reports_ok_total"] == 1


def test_a_broker_that_was_held_up_reads_reports_before_it_ends_leases(broker, peers):
    worker, other = peers(queues=["q"], credit=1, lease_ms=1200), peers(queues=["q"])
    other.put("q", ["k"])
    task, = worker.next_tasks(1)
    with stopped(broker.process):
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 2.4, what="twice the lease")
        request = worker.post(REPORT, [task.report(after=HOUR_US)])
    assert worker.answer(request)[1] == [OK]
    stats = other.stats()
    assert (stats["expired_total"], stats["reports_late_total"], stats["lost_total"]) == (0, 0, 0)


PLUGIN = """
#include <everdue/worker.h>

EVERDUE_API void everdue_handle(const struct everdue_task *task, struct everdue_result *result,
                                void *user)
{
    (void)task;
    (void)user;
    result->in_us = 20000;
}
"""


def test_workers_with_plugins_go_on_by_themselves_after_every_kill(brokers, workers, directory):
    source, plugin = directory / "plugin.c", directory / "plugin.so"
    source.write_text(PLUGIN, encoding="utf-8")
    compiled = subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "client" / "include", "-o",
                               plugin, source], check=False, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    broker = brokers("--grace", "2s", store="lmdb")
    workers(broker, "-n", "2", "--plugin", plugin)
    peer = Peer(broker.endpoint)
    peer.hello()
    assert set(peer.put("default", *[[f"k{i}"] for i in range(500)])) == {CREATED}
    peer.close()
    for _ in range(4):
        wait_until(lambda: broker.stats()["reports_ok_total"] > 2000, what="work")
        broker.kill()
        broker.start()
        began = time.monotonic()
        wait_until(lambda: broker.stats()["workers"] == 2, what="the workers")
        print(f"workers were back {time.monotonic() - began:.2f} s after the broker")
        assert time.monotonic() - began < 3
    stats = wait_until(lambda: broker.stats()["waiting"] + broker.stats()["leased"] > 0 and
                       broker.stats())
    assert (stats["records"], stats["parked"], stats["lost_total"]) == (500, 0, 0)
