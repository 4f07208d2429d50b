"""The client against a real broker, beside the C command."""

import os
import signal
import threading
import time

import pytest

from conftest import wait_until
from everdue import (Conflict, Refused, Status, SyncRefused, TimedOut, Unreachable)
from everdue.leases import LeaseBook
from harness import Broker


def test_what_python_puts_the_command_reads_and_the_other_way_round(client, broker):
    assert client.put("py", {"etag": "ä"}, every="15m", rank=-3, group="g") == Status.CREATED
    told = broker.json("get", "py")
    assert (told["payload"], told["every"], told["rank"], told["group"]) == \
        ({"etag": "ä"}, "15m", -3, "g")
    broker.everdue("put", "c", '[1, 2]', "--in", "1h", "--once")
    record = client.get("c")
    assert (record.payload, record.payload_bytes, record.once) == ([1, 2], b"[1, 2]", True)
    assert record.state_name == "waiting" and client.get("nothing") is None


def test_statuses_are_those_of_the_protocol(client):
    assert client.put_many([{"key": "a"}, {"key": "a", "rank": 1}, {"key": "\n"},
                            {"key": "b", "payload": b"x" * 70000}]) == [
        Status.CREATED, Status.CHANGED, Status.BAD_KEY, Status.TOO_LARGE]
    with pytest.raises(Refused, match="bad-key") as refused:
        client.put("")
    assert refused.value.status == Status.BAD_KEY
    assert client.remove("a", "b") == [Status.OK, Status.NOT_FOUND]
    assert client.run_now("a") == [Status.NOT_FOUND]


def test_parked_records_are_kicked(client):
    client.put_many([{"key": key} for key in "abc"])
    for task in client.take(3):
        assert client.report(task, {"outcome": "park", "error": task.key}) == Status.OK
    assert client.run_now("a") == [Status.PARKED]
    parked = {record.key: record for record in client.list(states=["parked"])}
    assert {key: each.error for key, each in parked.items()} == {"a": "a", "b": "b", "c": "c"}
    assert client.kick("a", "a", "z") == [Status.OK, Status.NOT_PARKED, Status.NOT_FOUND]
    assert client.kick_all() == 2


def test_take_report_touch_give_back(client):
    client.put("a", b"\xff", memo="m")
    task, = client.take(5, lease="30s")
    assert (task.key, task.payload, task.memo, task.queue) == ("a", b"\xff", "m", "default")
    assert 29_000 < task.deadline_ms <= 30_000
    assert client.touch(task, "60s") == Status.OK and task.deadline_ms > 59_000
    assert client.give_back(task) == Status.OK
    again, = client.take()
    assert again.lease > task.lease and again.crashes == 0
    assert client.report(task, {"in": "1h"}) == Status.STALE
    assert client.report(again, {"in": "1h", "memo": [1]}) == Status.OK
    assert client.report(again, {"in": "2h"}) == Status.OK  # the same answer, nothing changes
    record = client.get("a")
    assert record.memo == [1] and record.due_us / 1e6 < time.time() + 3700
    assert client.take(wait="50ms") == []


def test_a_late_report_counts_while_nobody_else_was_given_the_record(client):
    client.put_many([{"key": "late"}, {"key": "gone"}])
    late, gone = sorted(client.take(2, lease="100ms"), key=lambda task: task.key == "gone")
    client.pause("default")
    wait_until(lambda: client.stats()["expired_total"] == 2)
    client.remove("gone")
    assert client.report(late, {"in": "1h"}) == Status.OK
    assert client.report(gone, {"in": "1h"}) == Status.GONE
    assert client.get("late").state == late.lease


def test_a_put_while_a_record_is_out_is_pending_and_wins(client):
    client.put("a", 1)
    task, = client.take()
    assert client.put("a", 2) == Status.PENDING
    assert client.report(task, {"in": "1h", "payload": 3}) == Status.OK
    assert client.get("a").payload == 2


def test_a_taken_record_of_another_queue_is_reported_after_the_session_changed(clients, broker):
    client = clients(broker)
    client.put("a", queue="one")
    client.put("b", queue="two")
    first, = client.take(queue="one")
    second, = client.take(queue="two")  # says HELLO again, with two queues
    assert client.report(first, {"in": "1h"}) == client.report(second, {"in": "1h"}) == Status.OK


def test_list_walks_over_pages_and_export_is_what_sync_reads(client, broker, brokers, clients):
    records = [{"key": f"k{i:04}", "payload": {"i": i}, "every": "1h", "rank": i % 3 - 1}
               for i in range(1200)]
    assert client.sync(records, spread="1h").created == 1200
    assert sorted(each.key for each in client.list()) == [each["key"] for each in records]
    assert len(list(client.list(prefix="k000"))) == 10
    exported = list(client.export())
    other = clients(brokers())
    assert other.sync(exported).created == 1200
    assert sorted(map(str, other.export())) == sorted(map(str, exported))
    assert client.sync(exported).unchanged == 1200
    assert len(client.peek(7)) == 7


def test_sync_prunes_only_what_it_may(client):
    client.sync([{"key": f"k{i}"} for i in range(100)], spread="1h")
    kept = client.sync([{"key": f"k{i}"} for i in range(50)])
    assert (kept.unchanged, kept.absent, kept.pruned) == (50, 50, 0)
    with pytest.raises(SyncRefused) as refused:
        client.sync([{"key": f"k{i}"} for i in range(50)], prune=True)
    assert refused.value.status == Status.PRUNE_GUARD
    assert client.stats()["records"] == 100
    dry = client.sync([{"key": "k1"}], prune=True, prune_max=1, dry_run=True)
    assert dry.absent == 99 and client.stats()["records"] == 100
    assert client.sync([{"key": "k1"}], prune=True, prune_max=1).pruned == 99
    assert client.sync([], prune=True, prune_max=1).pruned == 1


def test_a_bad_record_is_named_and_changes_nothing(client):
    records = [{"key": "a"}, {"key": "b"}, {"key": "a"}, {"key": "c" * 2000}]
    with pytest.raises(SyncRefused, match="record 3, 'a': duplicate") as refused:
        client.sync(records)
    assert [each[0] for each in refused.value.rejected] == [3, 4]
    with pytest.raises(ValueError, match="nope"):
        client.sync([{"key": "a"}, {"key": "b", "nope": 1}])
    assert client.stats()["records"] == 0
    counts = client.sync(records, skip_bad=True)
    assert (counts.created, counts.rejected) == (2, 2)


def test_one_sync_of_a_queue_at_a_time(client, clients, broker):
    def endless():
        yield {"key": "a"}
        with pytest.raises(Conflict):
            clients(broker).sync([{"key": "b"}])
        yield {"key": "c"}

    assert client.sync(endless()).created == 2


def test_a_sync_whose_begin_was_not_answered_stands_in_nobodys_way(clients, broker):
    client = clients(broker, leases=LeaseBook(600.0))  # its silence alone is no cause for a hello
    client.put("first")
    client.timeout = 0
    with pytest.raises(TimedOut):
        client.sync([{"key": "a"}])
    client.timeout = 10

    def sync():
        try:
            return client.sync([{"key": "a"}])
        except Conflict:  # the broker is about to end the first
            return None

    assert wait_until(sync, what="the first to end").created == 1


def test_a_sync_that_loses_its_broker_changes_nothing_and_may_be_repeated(clients, durable_broker):
    client = clients(durable_broker, timeout=20)

    def broken():
        for i in range(20000):
            if i == 15000:
                durable_broker.kill()
                durable_broker.start()
            yield {"key": f"k{i}"}

    with pytest.raises(Unreachable, match="nothing was changed"):
        client.sync(broken())
    assert client.stats()["records"] == 0
    assert client.sync({"key": f"k{i}"} for i in range(20000)).created == 20000


def test_a_request_is_sent_again_to_a_broker_that_comes_back(clients, durable_broker):
    client = clients(durable_broker, timeout=20)
    client.put("a")
    durable_broker.kill()
    back = threading.Timer(0.5, durable_broker.start)
    back.start()
    assert client.put("b") == Status.CREATED
    back.join()
    assert sorted(record.key for record in client.list()) == ["a", "b"]


def test_nobody_there_is_said_in_time(free_endpoint, clients, directory):
    client = clients(Broker(directory, free_endpoint(), "memory", ()), timeout=0.3)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no broker at tcp://127.0.0.1:.* after 0.3 s"):
        client.put("a")
    assert time.monotonic() - began < 5


def test_a_broker_that_does_not_answer_is_told_apart(clients, broker):
    client = clients(broker, timeout=0.3)
    client.put("a")
    broker.process.signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut):
            client.put("b")
    finally:
        broker.process.signal(signal.SIGCONT)
    client.timeout = 10
    assert client.put("c") == Status.CREATED


def test_pause_resume_drain_and_what_is_told(client, broker):
    client.put("a")
    client.pause("default")
    assert client.take() == []
    client.resume("default")
    task, = client.take()
    assert client.drain("50ms") is False
    client.report(task, {"in": 0})
    assert client.drain("5s") is True
    client.resume()
    assert [each.key for each in client.take(wait="1s")] == ["a"]
    assert client.queues()[0]["name"] == "default" and len(client.workers()) == 1
    assert client.stats("default")["leased"] == client.stats()["leased"] == 1
    with pytest.raises(Refused):
        client.stats("nowhere")


def test_a_backup_is_a_store(clients, durable_broker, brokers, directory):
    client = clients(durable_broker)
    client.put("a")
    client.backup(directory / "copy")
    assert (directory / "copy").is_dir()


def test_a_forked_child_opens_a_connection_of_its_own(client):
    client.put("parent")
    uid, peer = client.connection.uid, client.connection.peer
    assert is_open(*peer)
    pid = os.fork()
    if pid == 0:
        try:
            ok = (client.put("child") == Status.CREATED and client.connection.uid != uid
                  and not is_open(*peer))
            client.close()
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sorted(each.key for each in client.list()) == ["child", "parent"]
    assert is_open(*peer) and client.connection.restarts == 0


def is_open(fd, inode):
    """Whether this process has that socket. Two ends of a broken one would keep it from
    breaking."""
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def test_many_threads_may_use_one_client(client):
    def work(name):
        for i in range(50):
            client.put(f"{name}-{i}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.stats()["records"] == 200
