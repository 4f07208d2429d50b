"""What is over a limit is refused and the broker goes on; how large it is; a backup of it."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import PROGRAMS, environment, wait_until
from raw import (
    BACKUP, BUSY, CONFLICT, CREATED, HOUR_US, NO_SPACE, NOT_FOUND, OK, PUT, REMOVE, SYNC_BEGIN,
    SYNC_CHUNK, SYNC_COMMIT, TOO_MANY, Peer, put)

# --- limits ---


def test_sessions_max_refuses_one_more_and_keeps_the_others(brokers):
    broker = brokers("--sessions-max", "2", "--reconnect", "0s")
    peers = [Peer(broker.endpoint) for _ in range(3)]
    assert isinstance(peers[0].hello(["q"]), list) and isinstance(peers[1].hello(), list)
    assert peers[2].hello() == TOO_MANY
    peers[1].goodbye()
    assert isinstance(peers[2].hello(), list)
    assert peers[0].put("q", ["a"]) == [CREATED]
    for peer in peers:
        peer.close()


def test_bytes_max_refuses_more_and_frees_what_goes(brokers):
    broker = brokers("--bytes-max", "10K")
    peer = Peer(broker.endpoint)
    peer.hello()
    large = [put(f"k{i}", payload=b"x" * 3000) for i in range(5)]
    statuses = peer.put("q", *large)
    assert statuses[:3] == [CREATED] * 3 and statuses[4] in (NO_SPACE, TOO_MANY)
    assert peer.items(REMOVE, "q", ["k0"]) == [OK]
    assert peer.put("q", large[4]) == [CREATED]
    peer.close()


def test_backlog_max_says_busy_while_the_disk_is_behind(brokers):
    broker = brokers("--backlog-max", "10", store="lmdb")
    peer = Peer(broker.endpoint)
    peer.hello()
    statuses = peer.put("q", *[[f"k{i}"] for i in range(20)])
    assert statuses == [CREATED] * 10 + [BUSY] * 10
    assert peer.put("q", ["k19"]) == [CREATED]
    peer.close()


def test_too_few_file_descriptors_are_said(directory):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    done = subprocess.run([PROGRAMS / "everdue-broker", "--store", "memory", "--listen",
                           f"ipc://{directory}/socket"], preexec_fn=limit, capture_output=True,
                          text=True, timeout=20, check=False, env=environment())
    assert done.returncode == 71
    assert "256 file descriptors are too few" in done.stderr and "ulimit -n" in done.stderr


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"this test needs 2,048 file descriptors, not {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_too_many_connections_are_cut_and_do_no_harm(many_descriptors, directory, free_endpoint,
                                                     kind):
    endpoint = free_endpoint() if kind == "tcp" else f"ipc://{directory}/socket"
    broker = subprocess.Popen(
        [PROGRAMS / "everdue-broker", "--store", "memory", "--listen", endpoint],
        stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (700, 700)))
    peer, strangers = Peer(endpoint), []
    try:
        peer.hello()
        for _ in range(1000):
            strangers.append(socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX))
            strangers[-1].settimeout(10)
            strangers[-1].connect(("127.0.0.1", int(endpoint.rpartition(":")[2]))
                                  if kind == "tcp" else f"{directory}/socket")
        wait_until(lambda: peer.stats()["refused_connections_total"] > 200, what="the cuts")
        assert peer.put("q", ["k"]) == [CREATED]
    finally:
        for each in [peer, *strangers]:
            each.close()
        broker.terminate()
        said = broker.communicate(timeout=20)[1]
    assert broker.returncode == 0
    assert "too many connections" in said and "fewer sessions than configured" in said


def test_the_kernel_ends_connections_whose_hosts_are_gone(broker, directory):
    """A host that lost its power says nothing: its descriptor comes back within a minute (S3)."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace, peer = directory / "trace", Peer(broker.endpoint)
    tracer = subprocess.Popen(["strace", "-f", "-p", str(broker.process.pid), "-e",
                               "trace=setsockopt", "-o", trace], stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.wait()
        pytest.skip(f"strace cannot attach here: {line.strip()}")
    peer.connect()
    peer.hello()
    peer.close()
    tracer.terminate()
    tracer.wait()
    asked = set(re.findall(r"(\w+, \[\d+\])", trace.read_text()))
    assert {"SO_KEEPALIVE, [1]", "TCP_KEEPIDLE, [30]", "TCP_KEEPINTVL, [10]", "TCP_KEEPCNT, [3]",
            "TCP_USER_TIMEOUT, [30000]"} <= asked


# --- a full set that stands open ---


def test_a_full_set_that_stands_open_is_shown_with_its_holder_and_given_up(brokers, directory):
    settings, lines = directory / "broker.conf", directory / "set.jsonl"
    settings.write_text("sync-idle = 10m\n")
    lines.write_text('{"key":"k"}\n')
    broker = brokers("--config", settings)
    holder, other = Peer(broker.endpoint), Peer(broker.endpoint)
    holder.hello()
    other.hello()
    generation = holder.items(SYNC_BEGIN, "q", None, False)
    assert holder.items(SYNC_CHUNK, generation, [put("new")]) == [CREATED]
    status, _, text = other.ask(SYNC_BEGIN, "q", None, False)
    assert status == CONFLICT and f'"test:{os.getpid()}" began it' in text
    done = broker.everdue("sync", lines, "--queue", "q", check=False)
    assert done.returncode == 1 and f'"test:{os.getpid()}" began it' in done.stderr
    shown = broker.stats("q")
    assert shown["sync"] == "open" and shown["sync_by"] == f"test:{os.getpid()}"
    assert 0 <= shown["sync_idle_s"] <= shown["sync_age_s"] < 60 and shown["syncs"] == 1
    other.items(PUT, "idle", [put("k")])
    rows = {row["name"]: row["sync_by"] for row in broker.json("queues")}
    assert rows == {"q": f"test:{os.getpid()}", "idle": ""}
    heads, *lines_of = broker.everdue("queues").stdout.splitlines()
    under = {line.split()[0]: line[heads.index("SYNC_BY"):].split() for line in lines_of}
    assert under["q"][0] == f"test:{os.getpid()}" and under["idle"] == []

    settings.write_text("sync-idle = 1s\n")
    broker.process.signal(signal.SIGHUP)
    wait_until(lambda: other.stats()["syncs"] == 0, what="the end of the set")
    assert "a full set was given up" in broker.process.text()
    assert holder.items(SYNC_CHUNK, generation, [put("late")]) == [NOT_FOUND]
    assert holder.ask(SYNC_COMMIT, generation, 1, 0, False, 0, False)[0] == NOT_FOUND
    assert broker.everdue("sync", lines, "--queue", "q").returncode == 0
    assert [record.key for record in other.list("q")] == ["k"]
    holder.close()
    other.close()


# --- backup ---


def test_a_backup_while_it_runs_is_a_store_of_its_own(brokers, processes, directory,
                                                      free_endpoint):
    broker = brokers(store="lmdb")
    peer = Peer(broker.endpoint)
    peer.hello(["q"])
    for i in range(20):
        assert set(peer.put("q", *[put(f"k{i}-{j}", after=HOUR_US, payload=b"x" * 100)
                                   for j in range(100)])) == {CREATED}
    first = peer.post(BACKUP, str(directory / "copy"))
    later = [peer.post(PUT, "q", [put(f"later{i}", after=HOUR_US)]) for i in range(50)]
    assert peer.ask(BACKUP, str(directory / "other"))[0] in (-4, OK)
    assert peer.answer(first)[0] == OK
    assert all(peer.answer(request)[0] == OK for request in later)
    assert peer.ask(BACKUP, "relative")[0] == -9
    assert peer.ask(BACKUP, str(directory / "copy"))[0] != OK
    endpoint = free_endpoint()
    processes("everdue-broker", "--listen", endpoint, "--store", f"lmdb:{directory}/copy")
    copied = Peer(endpoint)
    copied.hello()
    assert copied.store != peer.store
    keys = {record.key for record in copied.list("q")}
    assert {f"k{i}-{j}" for i in range(20) for j in range(100)} <= keys
    for each in [peer, copied]:
        each.close()


# --- size ---


def test_300000_records_are_small_and_idle(brokers):
    broker = brokers("--sync", "never", store="lmdb")
    peer = Peer(broker.endpoint)
    peer.hello()

    def anonymous_bytes():
        with open(f"/proc/{broker.process.pid}/status", encoding="ascii") as file:
            text = file.read()
        return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) * 1024

    def cpu_seconds():
        with open(f"/proc/{broker.process.pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    for i in range(0, 300000, 2000):
        peer.post(PUT, "q", [put(f"key-{j:012}", after=HOUR_US, payload=b"x" * 64)
                            for j in range(i, i + 2000)])
        # LMDB keeps the pages of its largest commit: none is larger than a few messages.
        peer.wait(lambda: len(peer.answers) >= i // 2000 - 3, seconds=30, what="an answer")
    peer.wait(lambda: len(peer.answers) == 150, seconds=30, what="the last answer")
    assert peer.stats()["records"] == 300000
    peer.close()
    used = anonymous_bytes() / 300000
    broker.restart()
    reloaded = anonymous_bytes() / 300000
    began, busy = time.monotonic(), cpu_seconds()
    wait_until(lambda: time.monotonic() > began + 2, what="two idle seconds")
    share = (cpu_seconds() - busy) / (time.monotonic() - began)
    print(f"{used:.0f} bytes a record, {reloaded:.0f} after a restart, "
          f"{share * 100:.2f} % of a CPU when idle")
    assert used < 300 and reloaded < 165 and share < 0.1
