"""--sync always, interval and never; backing up; and what happens when the disk is full."""

import os
import random
import subprocess
import time

import pytest

from conftest import PROGRAMS, environment, wait_until
from raw import (
    CREATED, HOUR_US, NO_SPACE, OK, PING, PONG, PUT, REMOVE, REPORT, SYNC_BEGIN, Peer, put)


@pytest.fixture
def connect(made):
    def to(broker, **hello):
        made.append(Peer(broker.endpoint))
        assert isinstance(made[-1].hello(**hello), list)
        return made[-1]

    return to


def again(broker, peer):
    broker.kill()
    broker.start()
    peer.connect()
    peer.hello()


# --- the policies ---


def test_always_loses_nothing_that_was_acknowledged(brokers, connect):
    broker = brokers(store="lmdb")
    peer = connect(broker)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    count = 0
    for _ in range(10):
        requests = []
        for _ in range(dice.randint(1, 20)):
            requests.append(peer.post(PUT, "q", [put(f"k{count}", after=HOUR_US)]))
            count += 1
        assert peer.answer(requests[-1])[1] == [CREATED]
        again(broker, peer)
        assert len(peer.list("q")) == count


def test_interval_acknowledges_before_the_disk_and_loses_at_most_the_interval(brokers, connect):
    broker = brokers("--sync", "interval:60s", "--grace", "0s", store="lmdb")
    assert "acknowledged before they are on disk: a crash loses the last window=1m" in (
        broker.process.text())
    peer = connect(broker)
    assert peer.put("q", put("early", after=HOUR_US)) == [CREATED]
    again(broker, peer)
    assert peer.list("q") == []  # acknowledged, and the process died within the minute
    peer.put("q", put("late", after=HOUR_US))
    broker.restart()  # a stop in order writes everything
    peer.connect()
    peer.hello()
    assert [record.key for record in peer.list("q")] == ["late"]


def test_interval_writes_each_interval(brokers, connect):
    broker = brokers("--sync", "interval:20ms", store="lmdb")
    peer = connect(broker)
    peer.put("q", *[put(f"k{i}", after=HOUR_US) for i in range(100)])
    before = peer.stats()["commits_total"]

    def is_written():
        """One commit may be under way already; the next one has all that was there before."""
        peer.put("q", put("tick", after=HOUR_US))
        return peer.stats()["commits_total"] > before + 1

    wait_until(is_written, what="a commit")
    again(broker, peer)
    assert {record.key for record in peer.list("q")} >= {f"k{i}" for i in range(100)}


def test_interval_acknowledges_no_more_while_the_disk_is_behind(brokers, connect):
    """Else a disk that hangs, or is full, would let a crash lose without bound."""
    broker = brokers("--sync", "interval:200ms", "--stop-timeout", "0s", store="lmdb")
    peer = connect(broker)
    assert peer.put("q", put("early", after=HOUR_US)) == [CREATED]
    tracer = hold_fsync(broker.process.pid)
    try:
        held = []
        def is_behind():
            request = peer.post(PUT, "q", [put(f"k{len(held)}", after=HOUR_US)])
            held.append(request)
            peer.receive(0.3)
            return request not in peer.answers
        wait_until(is_behind, what="the first that waits")
        assert peer.stats()["records"] == len(held) + 1  # the turn goes on
        assert held[-1] not in peer.answers
    finally:
        tracer.terminate()
        tracer.wait()
    assert peer.answer(held[-1])[1] == [CREATED]


def test_interval_hands_out_what_is_acknowledged(brokers, connect):
    broker = brokers("--sync", "interval:60s", store="lmdb")
    worker = connect(broker, queues=["q"], credit=1)
    worker.put("q", ["k"])
    for _ in range(3):
        task, = worker.next_tasks(1)
        assert worker.report(task.report(after=1000)) == [OK]
    task, = worker.next_tasks(1)
    assert worker.report(task.report(after=HOUR_US)) == [OK]


def test_never_says_what_it_risks_and_survives_a_kill(brokers, connect):
    broker = brokers("--sync", "never", store="lmdb")
    assert "changes are never synced: a power cut may corrupt the store" in broker.process.text()
    peer = connect(broker)
    assert peer.put("q", put("k", after=HOUR_US)) == [CREATED]
    again(broker, peer)
    assert [record.key for record in peer.list("q")] == ["k"]


def test_nothing_is_acknowledged_before_it_is_on_disk(brokers, connect):
    """The store's thread is held in its fsync; the broker's turn goes on."""
    broker = brokers("--stop-timeout", "0s", store="lmdb")
    peer = connect(broker, queues=["q"])
    tracer = hold_fsync(broker.process.pid)
    try:
        request = peer.post(PUT, "q", [put("k")])
        assert peer.stats()["records"] == 1
        assert peer.take(wait_ms=100) == []  # granted from a durable state only
        assert request not in peer.answers
    finally:
        tracer.terminate()
        tracer.wait()
    assert peer.answer(request)[1] == [CREATED]
    assert [task.key for task in peer.take(wait_ms=5000)] == ["k"]


def test_a_worker_is_told_of_a_removal_when_it_is_on_disk(brokers, connect):
    """Else it would not announce the lease after a crash that takes the removal back."""
    broker = brokers("--stop-timeout", "0s", store="lmdb")
    worker, client = connect(broker, queues=["q"], credit=1), connect(broker)
    client.put("q", put("k"))
    task = worker.next_tasks(1)[0]
    tracer = hold_fsync(broker.process.pid)
    try:
        request = client.post(REMOVE, "q", ["k"])
        assert client.stats()["records"] == 0
        worker.send(PING, 1)
        while worker.receive()[0] != PONG:
            pass
        assert worker.cancelled == [] and request not in client.answers
    finally:
        tracer.terminate()
        tracer.wait()
    worker.wait(lambda: worker.cancelled == [task.lease], what="CANCEL")
    assert client.answer(request)[1] == [OK]


@pytest.mark.parametrize("calls", ["fsync,fdatasync", "pwrite64,pwritev,writev"])
def test_a_failed_write_or_fsync_ends_the_broker_and_acknowledges_nothing(brokers, connect, calls):
    """What the disk said of a page that it could not write is not asked twice (S15)."""
    broker = brokers("--stop-timeout", "0s", store="lmdb")
    peer = connect(broker)
    assert peer.put("q", put("before", after=HOUR_US)) == [CREATED]
    tracer = inject(broker.process.pid, "error=EIO", calls)
    try:
        request = peer.post(PUT, "q", [put("k", after=HOUR_US)])
        assert broker.process.wait(10) == 74
    finally:
        tracer.terminate()
        tracer.wait()
    peer.receive(0.3)
    assert request not in peer.answers
    assert "Input/output error" in broker.process.text()
    again(broker, peer)
    assert "before" in [record.key for record in peer.list("q")]


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_what_the_disk_has_no_room_for_waits_and_is_written_when_it_has(brokers, connect, error):
    """Full, over a quota, over `ulimit -f`: nothing is acknowledged, and nothing ends (S14)."""
    broker = brokers("--stop-timeout", "0s", store="lmdb")
    peer = connect(broker, queues=["q"], credit=1)
    assert peer.put("q", put("before", after=HOUR_US)) == [CREATED]
    tracer = inject(broker.process.pid, f"error={error}", "pwrite64,pwritev,writev")
    try:
        request = peer.post(PUT, "q", [put("k")])
        wait_until(lambda: peer.stats()["disk_short"], what="the broker's notice")
        assert request not in peer.answers and not peer.tasks
    finally:
        tracer.terminate()
        tracer.wait()
    assert peer.answer(request)[1] == [CREATED]
    assert [task.key for task in peer.next_tasks(1)] == ["k"]
    again(broker, peer)
    assert {record.key for record in peer.list("q")} == {"before", "k"}


def hold_fsync(pid):
    """Each fsync and the like of this process takes a minute, until the tracer ends."""
    return inject(pid, "delay_enter=60000000")


def inject(pid, fault, calls="fsync,fdatasync,msync,pwrite64,pwritev"):
    """Until the tracer ends each of these calls of the process meets the fault."""
    command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", "-e",
               f"inject={calls}:{fault}", "-o", "/dev/null"]
    try:
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.wait()
        pytest.skip(f"strace cannot attach here: {line.strip()}")
    return tracer


# --- a full disk ---


@pytest.fixture
def small_disk(directory):
    """A file system of 48 MiB."""
    place = directory / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a file system can be mounted by root only")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], check=False,
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place, leave):
    """Take all room but `leave` bytes."""
    space = os.statvfs(place)
    with open(place / "ballast", "ab") as file:
        os.posix_fallocate(file.fileno(), file.tell(),
                           space.f_bavail * space.f_frsize - leave)
    return place / "ballast"


def is_answered(peer, request):
    peer.stats()  # everything before its answer has come when it comes
    return request in peer.answers


def fill_with_reports(peer, count):
    """Reports with large memos until one is not answered any more: its request."""
    for _ in range(count):
        task, = peer.next_tasks(1)
        request = peer.post(REPORT, [task.report(after=HOUR_US, memo=os.urandom(60000))])
        began = time.monotonic()
        while not is_answered(peer, request):
            if time.monotonic() > began + 1:
                return request
        assert peer.answers.pop(request)[1] == [OK]
    raise AssertionError("the disk does not get full")


def test_a_full_disk_refuses_puts_holds_reports_and_goes_on_by_itself(small_disk, brokers,
                                                                      connect):
    broker = brokers("--free-bytes-least", "16M", "--grace", "0s", "--stop-timeout", "0s",
                     store=f"lmdb:{small_disk}/store")
    worker, source = connect(broker, queues=["q"], credit=1), connect(broker)
    source.put("q", *[[f"k{i}"] for i in range(300)])
    ballast = fill(small_disk, leave=8 << 20)
    wait_until(lambda: source.stats()["disk_short"], what="the broker's notice")
    assert source.put("q", ["new"], put("k299", payload=b"x")) == [NO_SPACE] * 2
    assert source.ask(SYNC_BEGIN, "q", None, False)[0] == NO_SPACE
    held = fill_with_reports(worker, 300)
    assert source.stats()["backlog"] > 0
    assert source.put("q", ["newer"]) == [NO_SPACE]  # at once, though a batch waits for room
    ballast.unlink()
    assert worker.answer(held)[1] == [OK]
    wait_until(lambda: source.put("q", put("new", after=HOUR_US)) == [CREATED], what="room")
    task, = worker.next_tasks(1)
    assert worker.report(task.report(after=HOUR_US, memo=b"last")) == [OK]
    log = broker.process.text()
    assert "the disk is nearly full: puts and syncs are refused" in log
    assert "there is room on the disk again" in log
    again(broker, source)
    assert source.get("q", task.key).memo == b"last" and source.get("q", "new")


def test_puts_that_wait_for_the_disk_are_refused_when_it_is_full(small_disk, brokers, connect,
                                                                 preload):
    still = small_disk / "still"
    broker = brokers("--free-bytes-least", "16M", store=f"lmdb:{small_disk}/store",
                     prefix=["env", f"EVERDUE_TEST_STILL={still}"] +
                     [f"{name}={value}" for name, value in preload.items()])
    source, other = connect(broker), connect(broker)
    source.put("q", put("k", after=HOUR_US))
    still.touch()
    many = [put(f"f{i}", after=HOUR_US, payload=bytes(512)) for i in range(200)]
    asked = [source.post(PUT, "q", many) for _ in range(60)]
    wait_until(lambda: other.stats()["held_bytes"] > 0, what="what waits")
    fill(small_disk, leave=8 << 20)
    refused = source.answer(asked[-1])
    assert set(refused[1]) == {NO_SPACE}
    assert other.stats()["held_bytes"] == 0
    still.unlink()
    assert set(source.answer(asked[0])[1]) == {CREATED}


def test_a_stop_with_a_full_disk_says_what_was_not_written(small_disk, brokers, connect):
    broker = brokers("--free-bytes-least", "16M", "--stop-timeout", "0s",
                     store=f"lmdb:{small_disk}/store")
    worker = connect(broker, queues=["q"], credit=1)
    worker.put("q", *[[f"k{i}"] for i in range(100)])
    fill(small_disk, leave=1 << 20)
    fill_with_reports(worker, 100)
    broker.process.expected = {74}
    assert broker.stop() == 74
    assert "stopped before all that was accepted was on disk" in broker.process.text()


def test_a_disk_too_small_for_a_store_is_said(small_disk):
    fill(small_disk, leave=16384)
    done = subprocess.run([PROGRAMS / "everdue-broker", "--listen", "tcp://127.0.0.1:*", "--store",
                           f"lmdb:{small_disk}/store"], check=False, capture_output=True, text=True,
                          timeout=20, env=environment())
    assert done.returncode == 74, done
    assert "the store cannot be opened" in done.stderr and "No space left" in done.stderr
