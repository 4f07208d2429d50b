"""Who comes in, what each may do, and how somebody is put out again."""

import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from conftest import PROGRAMS, environment, finish, wait_until
from guarded import House, Key
from raw import (
    BACKUP, BUSY, CREATED, CREDIT, DENIED, DRAIN, GET, GIVE_BACK, HOUR_US, KICK, LIST, OK, PAUSE,
    PEEK, PUT, QUEUES, REMOVE, REPORT, RESUME, RUN_NOW, STATS, SYNC_ABORT, SYNC_BEGIN, SYNC_CHUNK,
    SYNC_COMMIT, TAKE, TOO_MANY, TOUCH, UNPAUSE, WORKERS, Peer, put)
from zmtp import Wire


@pytest.fixture
def guarded(directory, free_endpoint):
    """Starts a broker with this list: guarded(web1="role=worker queues=feeds")."""
    houses = []

    def start(*options, env=None, **peers):
        place = directory / f"house-{len(houses)}"
        place.mkdir()
        houses.append(House(place, free_endpoint(), options, env))
        houses[-1].write_list(**peers)
        houses[-1].start()
        return houses[-1]

    yield start
    for house in houses:
        house.close()
    finish(house.process for house in houses if house.process)


def run(*arguments, **options):
    return subprocess.run([PROGRAMS / arguments[0], *map(str, arguments[1:])], capture_output=True,
                          text=True, timeout=30, check=False, env=environment(), **options)


# --- keys ---


def test_keygen_makes_a_secret_and_never_overwrites_one(directory):
    key = Key(directory, "k")
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert (directory / "k.key.pub").read_text() == key.public + "\n"
    assert run("everdue", "keygen", "--show", key.path).stdout.strip() == key.public
    before = key.path.read_text()
    again = run("everdue", "keygen", key.path)
    assert again.returncode == 73 and "never overwritten" in again.stderr
    assert key.path.read_text() == before and key.secret not in again.stdout + again.stderr
    os.symlink("/etc/passwd", directory / "link")
    assert run("everdue", "keygen", directory / "link").returncode == 73


def test_a_key_that_others_can_read_is_no_secret_to_any_program(directory, free_endpoint):
    key = Key(directory, "k")
    (directory / "allow").write_text(f"key {key.public} role=admin\n")
    key.path.chmod(0o640)
    endpoint = free_endpoint()
    for command in (["everdue-broker", "--listen", endpoint, "--store", "memory", "--curve-key",
                     key.path, "--allow", directory / "allow"],
                    ["everdue", "-e", endpoint, "--curve-key", key.path, "--curve-server",
                     key.public, "ping"],
                    ["everdue", "keygen", "--show", key.path]):
        done = run(*command)
        assert done.returncode == 77, done
        assert "chmod" in done.stderr and str(key.path) in done.stderr
    worker = run("everdue-worker", "--broker", endpoint, "--curve-key", key.path, "--curve-server",
                 key.public, "-n", "1", "--", "true")
    assert worker.returncode != 0 and "others than its owner can read" in worker.stderr


def test_a_brokers_key_that_cannot_be_used_is_named_with_the_reason(directory):
    none, empty, allow = (directory / name for name in ("none", "empty", "allow"))
    allow.write_text("uid 0 role=admin\n")
    empty.touch(mode=0o600)
    for file, said in ((none, "No such file"), (empty, "no pair of keys")):
        for more in ([], ["--check-config"]):
            done = run("everdue-broker", "--store", "memory", "--listen", "tcp://127.0.0.1:*",
                       "--curve-key", file, "--allow", allow, *more)
            assert done.returncode == 78, done
            assert str(file) in done.stderr and said in done.stderr, done


def test_settings_that_would_let_anybody_in_are_refused(directory):
    key = Key(directory, "k")
    allow = directory / "allow"
    allow.write_text(f"key {key.public} role=admin\n")
    for options, said in (
            (["--curve-key", key.path], "--curve-key needs --allow"),
            (["--allow", allow], "cannot tell who comes over tcp://127.0.0.1:7790"),
            (["--allow", allow, "--listen", f"ipc://{directory}/s,tcp://127.0.0.1:1234"],
             "tcp://127.0.0.1:1234"),
            (["--listen", "tcp://0.0.0.0:7790"], "plain text")):
        done = run("everdue-broker", "--store", "memory", "--check-config", *options)
        assert done.returncode in (77, 78) and said in done.stderr, done


def test_beyond_loopback_keys_are_enough(directory):
    key = Key(directory, "k")
    (directory / "allow").write_text(f"key {key.public} role=admin\n")
    assert run("everdue-broker", "--store", "memory", "--check-config", "--listen",
               "tcp://0.0.0.0:7790", "--curve-key", key.path, "--allow",
               directory / "allow").returncode == 0


@pytest.mark.parametrize("content,mode,said", [
    ("key x role=admin\n", 0o600, "line 1: a public key"),
    ("uid 0 role=admin\nuid 0 role=monitor\n", 0o600, "there twice"),
    ("uid 0 role=admin\n", 0o622, "others can write it")])
def test_a_wrong_list_keeps_the_broker_from_starting(directory, free_endpoint, content, mode, said):
    key = Key(directory, "k")
    allow = directory / "allow"
    allow.write_text(content)
    allow.chmod(mode)
    for more in ([], ["--check-config"]):
        done = run("everdue-broker", "--store", "memory", "--listen", free_endpoint(),
                   "--curve-key", key.path, "--allow", allow, *more)
        assert done.returncode == 78 and said in done.stderr, done


# --- who comes in ---


def test_only_known_keys_come_in_and_the_others_are_told(guarded):
    house = guarded(boss="role=admin")
    assert house.everdue("boss", "ping").returncode == 0
    stranger = house.everdue("stranger", "ping")
    assert stranger.returncode == 77 and "does not know this key" in stranger.stderr
    plain = run("everdue", "-e", house.endpoint, "ping")
    assert plain.returncode == 77 and "wants keys" in plain.stderr
    assert house.peer("boss").hello()[3] > 0
    numbers = house.peer("boss")
    numbers.hello()
    assert numbers.stats()["refused_handshakes_total"] == 1
    assert house.key("stranger").public in house.process.text()  # so that it can be added


def test_a_client_with_keys_tells_a_plain_broker_from_none(broker, directory):
    key = Key(directory, "k")
    done = run("everdue", "-e", broker.endpoint, "--curve-key", key.path, "--curve-server",
               key.public, "ping")
    assert done.returncode == 77 and "plain text" in done.stderr


def test_workers_of_several_processes_work_with_one_key(guarded, processes):
    house = guarded(boss="role=admin", node="role=worker queues=feeds credit=2 connections=3")
    worker = processes("everdue-worker", "--broker", house.endpoint, "--queue", "feeds", "-n", "3",
                       "--credit", "8", "--every", "1h", *house.flags("node"), "--", "true")
    for i in range(30):
        assert house.everdue("boss", "put", f"k{i}", "--queue", "feeds").returncode == 0 or i
    boss = house.peer("boss")
    boss.hello()
    wait_until(lambda: boss.stats()["reports_ok_total"] == 30, what="30 reports")
    assert boss.stats()["credit"] == 6  # the list has the last word
    fourth = house.peer("node")
    assert fourth.hello(["feeds"], credit=1) == TOO_MANY
    worker.signal(signal.SIGTERM)


def test_a_worker_says_why_it_may_not_come_in_once_and_not_each_second(guarded, processes):
    house = guarded(boss="role=admin")
    worker = processes("everdue-worker", "--broker", house.endpoint, "-n", "1", "--every", "1h",
                       *house.flags("stranger"), "--", "true")
    numbers = house.peer("boss")
    numbers.hello()
    wait_until(lambda: numbers.stats()["refused_handshakes_total"] >= 3, what="three attempts")
    assert worker.text().count("does not know this key") == 1
    house.allow(boss="role=admin", stranger="role=worker queues=default")
    wait_until(lambda: "connected" in worker.text(), what="a connection")


# --- what each may do ---

REQUESTS = {
    CREDIT: [5], REPORT: [[]], TOUCH: [0, []], GIVE_BACK: [[]], RESUME: [[]],
    TAKE: [0, 1, 0, 0, True], PUT: ["mine", []], REMOVE: ["mine", []], RUN_NOW: ["mine", []],
    KICK: ["mine", []], GET: ["mine", []], LIST: ["mine", 15, None, 0, 1], PEEK: ["mine", 1],
    SYNC_BEGIN: ["mine", None, False], SYNC_CHUNK: [99, []], SYNC_COMMIT: [99, 0, 0, False, 0, False],
    SYNC_ABORT: [99], PAUSE: ["mine"], UNPAUSE: ["mine"], DRAIN: [0], STATS: ["mine"],
    WORKERS: [], QUEUES: [], BACKUP: ["relative"]}
WORK = {CREDIT, REPORT, TOUCH, GIVE_BACK, RESUME, TAKE}
RECORDS = {PUT, REMOVE, RUN_NOW, KICK, GET, LIST, PEEK, SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT,
           SYNC_ABORT}
MAY = {"role=worker queues=mine": WORK | {STATS},
       "role=client queues=mine": RECORDS | {STATS},
       "role=worker,client queues=mine": WORK | RECORDS | {STATS},
       "role=monitor": {STATS, WORKERS, QUEUES},
       "role=admin": set(REQUESTS)}


@pytest.mark.parametrize("role", MAY)
def test_a_role_allows_what_it_says_and_nothing_else(guarded, role):
    house = guarded(one=role)
    peer = house.peer("one")
    assert isinstance(peer.hello(["mine"] if "worker" in role else []), list)
    allowed = set()
    for kind, fields in REQUESTS.items():
        if kind == CREDIT:
            peer.send(CREDIT, *fields)
            assert peer.ask(STATS, "mine")[0] != DENIED
            denied = peer.errors == [DENIED]
        else:
            denied = peer.ask(kind, *fields)[0] == DENIED
        if not denied:
            allowed.add(kind)
    assert allowed == MAY[role]


def test_other_queues_are_out_of_reach(guarded):
    house = guarded(boss="role=admin", one="role=worker,client queues=mine,t-*",
                    watch="role=monitor")
    boss, one, watch = (house.peer(name) for name in ("boss", "one", "watch"))
    boss.hello()
    assert boss.put("theirs", ["k"]) == [CREATED]
    assert one.hello(["theirs"]) == DENIED
    assert one.hello(["mine", "theirs"], credit=5) == DENIED
    assert isinstance(one.hello(["mine", "t-1"], credit=5), list)
    for kind in RECORDS - {SYNC_CHUNK, SYNC_COMMIT, SYNC_ABORT} | {STATS}:
        fields = ["theirs", *REQUESTS[kind][1:]]
        assert one.ask(kind, *fields)[0] == DENIED, kind
    assert one.ask(STATS)[0] == DENIED and watch.hello() and watch.ask(STATS)[0] == OK
    assert one.put("t-2", ["k"]) == [CREATED]
    assert boss.get("theirs", "k").state == boss.get("theirs", "k").state
    # A full set of another queue: neither filled, nor committed, nor given up, nor its counts read.
    generation = boss.items(SYNC_BEGIN, "theirs", None, False)
    for kind, fields in ((SYNC_CHUNK, [generation, [put("evil")]]),
                         (SYNC_COMMIT, [generation, 0, 0, True, 1000000, False]),
                         (SYNC_ABORT, [generation])):
        assert one.ask(kind, *fields)[0] == DENIED
    assert boss.ask(SYNC_COMMIT, generation, 0, 0, True, 1000000, False)[0] == OK
    assert one.ask(SYNC_COMMIT, generation, 0, 0, True, 1000000, False)[0] == DENIED
    assert boss.list("theirs") == [] and boss.stats()["refused_denied_total"] > 15


def test_a_client_gets_no_work_and_a_monitor_no_queues(guarded):
    house = guarded(client="role=client queues=q", watch="role=monitor", boss="role=admin")
    assert house.peer("client").hello(credit=1) == DENIED
    assert house.peer("client").hello(["q"], credit=0) == DENIED
    assert house.peer("watch").hello(["q"]) == DENIED
    assert house.everdue("watch", "workers").returncode == 0
    assert house.everdue("watch", "stats").returncode == 0
    refused = house.everdue("watch", "drain")
    assert refused.returncode == 77 and "role" in refused.stderr


def test_the_session_of_another_peer_cannot_be_taken_over(guarded):
    house = guarded(one="role=worker queues=a", two="role=worker queues=b", boss="role=admin")
    one, two, boss = (house.peer(name) for name in ("one", "two", "boss"))
    boss.hello()
    boss.put("a", ["k"])
    one.hello(["a"], credit=1)
    task = one.next_tasks(1)[0]
    two.uid = one.uid
    assert two.hello(["b"], credit=1) == DENIED
    assert one.report(task.report(after=HOUR_US)) == [OK]


# --- out again ---


def test_a_key_that_is_struck_from_the_list_is_out_at_once(guarded):
    house = guarded(bad="role=worker queues=q", good="role=worker queues=q", boss="role=admin")
    bad, good, boss = (house.peer(name) for name in ("bad", "good", "boss"))
    boss.hello()
    bad.hello(["q"], credit=10)
    boss.put("q", *[[f"k{i}"] for i in range(10)])
    tasks = bad.next_tasks(10)
    assert boss.stats("q")["leased"] == 10
    house.allow(good="role=worker queues=q", boss="role=admin")
    bad.wait(lambda: DENIED in bad.errors, what="the word that it is out")
    assert boss.stats("q")["leased"] == 0  # its leases came back
    bad.send(REPORT, 99, [tasks[0].report(after=HOUR_US)])
    wait_until(lambda: boss.stats()["cut_connections_total"] == 1, what="the cut")
    good.hello(["q"], credit=10)
    assert {task.key for task in good.next_tasks(10)} == {task.key for task in tasks}
    assert boss.stats("q")["reports_ok_total"] == 0
    bad.connect()
    bad.post_hello(["q"], credit=10)
    wait_until(lambda: boss.stats()["refused_handshakes_total"] >= 1, what="the refusal")
    assert bad.receive(0.3) is None
    assert boss.stats("q")["leased"] == 10


def test_who_is_struck_is_out_within_a_second(guarded):
    """The best of three, for a machine that does much else."""
    house = guarded(bad="role=worker queues=q", boss="role=admin")
    boss, took_s = house.peer("boss"), []
    boss.hello()
    for i in range(1, 4):
        bad = house.peer("bad")
        bad.hello(["q"], credit=1)
        began = time.monotonic()
        house.allow(boss="role=admin")
        bad.wait(lambda bad=bad: DENIED in bad.errors, what="the word that it is out")
        wait_until(lambda i=i: boss.stats()["cut_connections_total"] == i, what="the cut")
        took_s.append(time.monotonic() - began)
        house.allow(bad="role=worker queues=q", boss="role=admin")
        bad.close()
    print(f"out after {[round(seconds, 3) for seconds in took_s]} s")
    assert min(took_s) < 1


def test_a_role_that_shrinks_ends_the_session_and_one_that_fits_goes_on(guarded):
    house = guarded(one="role=worker queues=a,b", two="role=worker queues=a,b", boss="role=admin")
    one, two, boss = (house.peer(name) for name in ("one", "two", "boss"))
    boss.hello()
    one.hello(["a"], credit=1)
    two.hello(["a", "b"], credit=1)
    house.allow(one="role=worker queues=a", two="role=worker queues=a", boss="role=admin")
    two.wait(lambda: DENIED in two.errors, what="the end of a session that does not fit")
    boss.put("a", ["k"])
    assert one.report(one.next_tasks(1)[0].report(after=HOUR_US)) == [OK]


def test_a_wrong_list_changes_nothing(guarded):
    house = guarded(one="role=worker queues=q", boss="role=admin")
    one = house.peer("one")
    one.hello(["q"], credit=1)
    house.list.write_text("key nonsense\n")
    house.reload("the one before stays in force")
    assert house.everdue("boss", "put", "k", "--queue", "q").returncode == 0
    assert one.report(one.next_tasks(1)[0].report(after=HOUR_US)) == [OK]


def test_the_broker_ends_when_its_admission_does(guarded, preload):
    house = guarded(env=preload | {"EVERDUE_TEST_ZAP": "1"}, boss="role=admin")
    house.process.expected.add(70)
    house.peer("boss").post_hello()
    assert house.process.wait() == 70
    assert "who may come in has ended" in house.process.text()


def test_each_start_draws_its_own_seed_before_its_first_socket(directory, preload):
    seeds = directory / "seeds"
    for i in range(3):
        process = subprocess.Popen(
            [PROGRAMS / "everdue-broker", "--store", "memory", "--listen", f"ipc://{directory}/{i}"],
            env=environment() | preload | {"EVERDUE_TEST_SEEDS": str(seeds)},
            stderr=subprocess.DEVNULL)
        wait_until(lambda: (directory / str(i)).exists(), what="the socket")
        process.terminate()
        assert process.wait(20) == 0
    drawn = [line.split() for line in seeds.read_text().splitlines()]
    first = [seed for seed, sockets in drawn if sockets == "0"]
    assert len(first) == 3 and len(set(first)) == 3, drawn


# --- penalties ---


def test_who_breaks_the_protocol_begins_no_session_for_a_minute(guarded):
    house = guarded(one="role=worker queues=q", two="role=worker queues=q", boss="role=admin")
    bad, sibling, other, boss = map(house.peer, ["one", "one", "two", "boss"])
    for peer in [bad, sibling, boss]:
        assert isinstance(peer.hello([] if peer is boss else ["q"], int(peer is not boss)), list)
    assert boss.put("q", *[[f"k{i}"] for i in range(2)]) == [CREATED] * 2
    leases = {bad.next_tasks(1)[0].key, sibling.next_tasks(1)[0].key}
    assert leases == {"k0", "k1"}
    for _ in range(3):
        bad.send_raw(b"\xc1")
    wait_until(lambda: boss.stats()["cut_connections_total"] == 1, what="the cut")
    assert boss.stats()["penalties_total"] == 1
    # Its session went with its connection, and its lease came back.
    wait_until(lambda: boss.stats()["leased"] == 1, what="the end of its lease")
    bad.connect()
    assert bad.hello(["q"], 1) == BUSY
    fresh = house.peer("one")
    assert fresh.hello(["q"], 1) == BUSY
    # Who has the same key and was here before comes back; another key is another peer.
    sibling.connect()
    assert isinstance(sibling.hello(["q"], 1), list)
    assert isinstance(other.hello(["q"], 1), list)
    fresh.send_raw(b"\xc1")
    wait_until(lambda: boss.stats()["cut_connections_total"] == 2, what="the cut at once")
    assert boss.stats()["penalties_total"] == 2


def test_without_keys_nobody_on_this_host_is_punished_for_another(brokers, made):
    broker = brokers()
    for _ in range(2):
        bad = Peer(broker.endpoint)
        made.append(bad)
        bad.hello()
        for _ in range(3):
            bad.send_raw(b"\xc1")
    made.append(Peer(broker.endpoint))
    assert isinstance(made[-1].hello(), list)
    wait_until(lambda: made[-1].stats()["cut_connections_total"] == 2, what="the cuts")
    assert made[-1].stats()["penalties_total"] == 0


# --- ipc ---


def test_over_ipc_the_list_names_users(directory, processes):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("root and setpriv are needed to be another user")
    directory.chmod(0o755)
    allow = directory / "allow"
    allow.write_text("uid 0 role=admin\nuid 65534 role=client queues=q\n")
    endpoint = f"ipc://{directory}/socket"
    broker = processes("everdue-broker", "--listen", endpoint, "--store", "memory", "--allow", allow)
    wait_until(lambda: run("everdue", "-e", endpoint, "ping").returncode == 0, what="the broker")

    assert as_user(65534, endpoint, "q").communicate(timeout=30)[0] == "[1]\n"
    assert as_user(65534, endpoint, "other").communicate(timeout=30)[0] == "denied\n"
    assert as_user(65533, endpoint, "q").communicate(timeout=30)[0] == "out\n"
    assert run("everdue", "-e", endpoint, "queues").returncode == 0

    struck = as_user(65534, endpoint, "q", "stays")
    assert struck.stdout.readline() == "[2]\n"  # changed
    allow.write_text("uid 0 role=admin\n")
    broker.signal(signal.SIGHUP)
    assert struck.communicate(timeout=30)[0] == "struck\n"
    assert as_user(65534, endpoint, "q").communicate(timeout=30)[0] == "out\n"


def as_user(uid, *arguments):
    """CONNECT, by another user: not our programs, which he may not be able to reach."""
    return subprocess.Popen(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                             shutil.which("python3", path="/usr/bin"), "-c", CONNECT, *arguments],
                            stdout=subprocess.PIPE, text=True, env=environment())


CONNECT = """
import sys, msgpack, zmq
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(sys.argv[1])
socket.send(msgpack.packb([1, 1, 1, b"u" * 16, "x", [], 0, 0, 600000, 0]))
socket.send(msgpack.packb([1, 16, 2, sys.argv[2], [["k"]]]))
stays = len(sys.argv) > 3
while socket.poll(20000 if stays else 2000):
    _, kind, *fields = msgpack.unpackb(socket.recv())
    if kind == 67:
        print("denied" if fields[1] == -25 else fields[2], flush=True)
    elif kind == 68:
        print("struck" if fields[0] == -25 else fields)
    if kind == 68 or kind == 67 and not stays:
        break
else:
    print("out")
"""


def test_a_socket_is_its_owners_unless_there_is_a_list(brokers):
    broker = brokers(endpoint="ipc")
    path = broker.endpoint.removeprefix("ipc://")
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0


def test_a_second_broker_cannot_take_the_path(brokers):
    broker = brokers(endpoint="ipc")
    for _ in range(2):
        second = run("everdue-broker", "--listen", broker.endpoint, "--store", "memory")
        assert second.returncode == 69 and "cannot listen" in second.stderr
    assert broker.everdue("ping").returncode == 0


# --- secrets ---


def test_a_broker_with_a_key_leaves_no_core_and_shows_no_secret(guarded):
    house = guarded(boss="role=admin")
    peer = house.peer("boss")
    peer.hello()
    said = house.process.text()
    for name in ("broker", "boss"):
        assert house.key(name).secret not in said
    # A process that is not dumpable belongs to root in /proc, whoever runs it.
    assert os.stat(f"/proc/{house.process.pid}/environ").st_uid == 0
    wire = Wire(house.endpoint)
    assert b"CURVE" in wire.exchange_greeting(b"CURVE")
    wire.close()
