"""A broker that crashes again and again."""

import signal

from conftest import wait_until
from raw import CREATED, DRAINING, OK, PUT, REMOVE, SYNC_BEGIN, Peer


def crash(broker):
    """It dies of itself, as an assertion does it."""
    broker.process.expected.add(-signal.SIGABRT)
    broker.process.signal(signal.SIGABRT)
    assert broker.process.wait() == -signal.SIGABRT


def test_after_three_crashes_within_a_minute_only_administrators_are_served(brokers, workers):
    broker = brokers(store="lmdb")
    for key in ("poison", "other"):
        broker.everdue("put", key)
    for _ in range(2):
        crash(broker)
        broker.start()
        assert broker.stats()["safe_mode"] == 0
    crash(broker)
    broker.start()
    assert broker.stats()["safe_mode"] == 1
    assert "safe mode" in broker.process.text()
    assert "everdue resume" in broker.everdue("status", check=False).stdout

    worker = workers(broker, "-n", "1", "--every", "1h", "--", "true")
    wait_until(lambda: broker.stats()["refused_hello_total"] > 1, what="a worker that tries again")
    assert worker.is_running()
    assert broker.stats()["dispatched_total"] == 0
    peer = Peer(broker.endpoint)
    peer.hello()
    assert peer.ask(PUT, "default", [["new"]])[0] == DRAINING
    assert peer.ask(SYNC_BEGIN, "default")[0] == DRAINING
    assert peer.items(REMOVE, "default", ["poison"]) == [OK]
    assert {record["key"] for record in broker.lines("list")} == {"other"}

    broker.everdue("resume")
    wait_until(lambda: broker.stats()["reports_ok_total"] == 1, what="work")
    assert broker.stats()["safe_mode"] == 0
    assert peer.put("default", ["new"]) == [CREATED]
    peer.close()


def test_kills_and_orderly_ends_are_no_crashes(brokers):
    broker = brokers(store="lmdb")
    for _ in range(3):
        broker.kill()
        broker.start()
        broker.restart()
    assert broker.stats()["safe_mode"] == 0
