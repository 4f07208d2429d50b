"""Workers on two nodes of a network, the broker on a third: cables are pulled, brokers killed.

The handler counts its runs in the memo of its record: whatever was lost or came twice, the counts
in all memos together are the reports that the broker has accepted. Each run also writes who began
and ended it, and under which lease.
"""

import collections
import time

import pytest

import netns
from conftest import wait_until

pytestmark = pytest.mark.skipif(netns.why_not() is not None, reason=str(netns.why_not()))

CREDIT = 4
PORT = 7790
HANDLER = """#!/bin/sh
cd {directory}
echo begun $NODE $1 $EVERDUE_TASK_LEASE >> log
while [ -e hold-$NODE ]; do sleep 0.1; done
echo done $NODE $1 $EVERDUE_TASK_LEASE >> log
echo "{{\\"memo\\": $((${{EVERDUE_TASK_MEMO:-0}} + 1))}}"
"""
CONFIG = "heartbeat = {heartbeat}\ngrace = 20s\nstop-timeout = 1s\n"

Line = collections.namedtuple("Line", "what node key lease")


class Cluster:
    """A broker and the workers `a` and `b`, each on its node."""

    def __init__(self, network, directory):
        self.nodes = {name: network.node() for name in ["broker", "a", "b"]}
        self.directory = directory
        self.broker = None
        handler = directory / "handler.sh"
        handler.write_text(HANDLER.format(directory=directory), encoding="utf-8")
        handler.chmod(0o755)

    def start(self, brokers, workers, heartbeat):
        node = self.nodes["broker"]
        config = self.directory / "broker.conf"
        config.write_text(CONFIG.format(heartbeat=heartbeat), encoding="utf-8")
        self.broker = brokers("--config", config, "--insecure-plaintext", store="lmdb",
                              endpoint=f"tcp://{node.address}:{PORT}", prefix=node.command())
        for name in "ab":
            workers(self.broker, "-n", "1", "--credit", CREDIT, "--every", "400ms", "--name", name,
                    "--", self.directory / "handler.sh", "{key}", env={"NODE": name},
                    prefix=self.nodes[name].command())
        self.wait_for_workers(2)

    def wait_for_workers(self, count):
        wait_until(lambda: self.broker.stats()["workers"] == count, 60, f"{count} workers")

    def hold(self, *names):
        """Runs that have begun on these nodes do not end before release()."""
        for name in names:
            (self.directory / f"hold-{name}").touch()

    def release(self, name):
        (self.directory / f"hold-{name}").unlink()

    def lines(self, what, node=None):
        log = self.directory / "log"
        lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
        lines = [Line(*line.split()) for line in lines if len(line.split()) == 4]
        return [line for line in lines if line.what == what and node in (None, line.node)]

    def put_one_for_each_credit(self):
        """And wait until each node has its share; the keys, by node."""
        self.hold("a", "b")
        for i in range(2 * CREDIT):
            self.broker.everdue("put", f"k{i}")
        wait_until(lambda: len(self.lines("begun")) == 2 * CREDIT, what="all runs")
        held = {name: {line.key for line in self.lines("begun", name)} for name in "ab"}
        assert [len(held[name]) for name in "ab"] == [CREDIT, CREDIT]
        return held

    def wait_for_reports(self, more=10):
        before = self.broker.stats()["reports_ok_total"]
        wait_until(lambda: self.broker.stats()["reports_ok_total"] >= before + more, 30,
                   "further reports")

    def check_books(self, records):
        """Nothing is lost or doubled. The queue is held still for the moment."""
        self.broker.everdue("pause", "default")
        stats = wait_until(lambda: [each for each in [self.broker.stats()] if not each["leased"]],
                           what="the end of all leases")[0]
        found = self.broker.lines("list")
        self.broker.everdue("resume", "default")
        assert len({record["key"] for record in found}) == len(found) == records
        assert stats["records"] == stats["created_total"] - stats["removed_total"] == records
        assert stats["waiting"] + stats["ready"] == records and not stats["parked"]
        assert sum(record.get("memo", 0) for record in found) == stats["reports_ok_total"]
        assert stats["reports_failed_total"] == 0
        begun = [line.lease for line in self.lines("begun")]
        assert len(begun) == len(set(begun)), "a lease began twice"
        return stats


@pytest.fixture
def network():
    with netns.Network() as made:
        yield made


@pytest.fixture
def cluster(network, directory, brokers, workers):
    """The network comes first, so that it goes last: programs say goodbye over it."""
    made = Cluster(network, directory)
    yield lambda heartbeat="1s": made.start(brokers, workers, heartbeat) or made
    for node in made.nodes.values():
        node.mend()
    for name in directory.glob("hold-*"):
        name.unlink()


def test_the_records_of_a_node_that_is_cut_off_are_handled_by_the_other(cluster):
    nodes = cluster()
    held = nodes.put_one_for_each_credit()
    nodes.release("b")
    began = time.monotonic()
    nodes.nodes["a"].cut()
    wait_until(lambda: held["a"] <= {line.key for line in nodes.lines("done", "b")}, 30,
               "runs of its records on the other node")
    print(f"the other node had run them all {time.monotonic() - began:.1f} s after the cut")
    stats = nodes.broker.stats()
    assert (stats["workers"], stats["lost_total"]) == (1, CREDIT)
    nodes.release("a")
    wait_until(lambda: len(nodes.lines("done", "a")) == CREDIT, what="the end of the runs there")

    nodes.nodes["a"].mend()
    nodes.wait_for_workers(2)
    wait_until(lambda: nodes.broker.stats()["stale_total"] == CREDIT, 30, "stale reports")
    wait_until(lambda: len(nodes.lines("done", "a")) > CREDIT, 30, "work on the node that is back")
    assert nodes.check_books(2 * CREDIT)["lost_total"] == CREDIT


def test_a_cut_that_is_shorter_than_the_heartbeats_loses_nothing(cluster):
    nodes = cluster(heartbeat="20s")
    nodes.put_one_for_each_credit()
    nodes.nodes["a"].cut()
    nodes.release("a")
    wait_until(lambda: len(nodes.lines("done", "a")) == CREDIT, what="the end of the runs")
    nodes.nodes["a"].mend()
    wait_until(lambda: nodes.broker.stats()["reports_ok_total"] >= CREDIT, 30, "their reports")
    nodes.release("b")
    nodes.wait_for_reports()
    stats = nodes.check_books(2 * CREDIT)
    assert (stats["lost_total"], stats["stale_total"]) == (0, 0)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_both_nodes_hold_is_theirs_after_the_broker_was_restarted(cluster, end):
    nodes = cluster()
    nodes.put_one_for_each_credit()
    getattr(nodes.broker, end)()
    nodes.broker.start()
    nodes.wait_for_workers(2)
    wait_until(lambda: not nodes.broker.stats()["in_grace"], 30, "the end of the grace")
    assert nodes.broker.stats()["leased"] == 2 * CREDIT
    assert len(nodes.lines("begun")) == 2 * CREDIT, "handed out a second time"
    nodes.release("a")
    nodes.release("b")
    nodes.wait_for_reports()
    stats = nodes.check_books(2 * CREDIT)
    assert (stats["lost_total"], stats["stale_total"]) == (0, 0)


def test_cuts_and_kills_under_work_lose_and_double_nothing(cluster):
    nodes = cluster()
    for i in range(3 * CREDIT):
        nodes.broker.everdue("put", f"k{i}")
    for name in "ab":
        nodes.wait_for_reports()
        nodes.nodes[name].cut()
        nodes.wait_for_workers(1)
        nodes.wait_for_reports()
        nodes.broker.kill()
        nodes.broker.start()
        nodes.wait_for_reports()
        nodes.nodes[name].mend()
        nodes.wait_for_workers(2)
        nodes.check_books(3 * CREDIT)
    nodes.nodes["broker"].cut()
    nodes.wait_for_workers(0)
    nodes.nodes["broker"].mend()
    nodes.wait_for_workers(2)
    nodes.broker.restart()
    nodes.wait_for_reports()
    nodes.check_books(3 * CREDIT)
