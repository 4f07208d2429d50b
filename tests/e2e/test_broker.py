"""Options, files and signals of everdue-broker, and what it says about them."""

import json
import os
import re
import signal
import stat
import subprocess
import time

import pytest

from conftest import PROGRAMS, environment, wait_until
from raw import CREATED, HOUR_US, MALFORMED, OK, TOO_LARGE, TOO_MANY, Peer, put, stopped

USAGE, BAD_DATA, NO_INPUT, UNAVAILABLE, IO_ERROR, REFUSED, CONFIG = 64, 65, 66, 69, 74, 77, 78


def run(*arguments, env=None, cwd=None):
    """A broker that is expected to end by itself."""
    return subprocess.run([PROGRAMS / "everdue-broker", *map(str, arguments)], capture_output=True,
                          text=True, encoding="utf-8", timeout=20, check=False, cwd=cwd,
                          env=environment() | (env or {}))


def refused(*arguments, code, **options):
    done = run(*arguments, **options)
    assert done.returncode == code, done
    assert not done.stdout
    return done.stderr


# --- options ---


@pytest.mark.parametrize("flag, value, why", [
    ("sync", "sometimes", "write always, interval:100ms or never"),
    ("sync", "interval:5", "a duration needs a unit"),
    ("sync", "interval:0s", "1ms to 60s"),
    ("store", "redis", "memory or lmdb:DIRECTORY"),
    ("store", "lmdb:", "name a directory"),
    ("listen", "127.0.0.1:7790", "tcp://ADDRESS:PORT or ipc://PATH"),
    ("listen", "tcp://", "tcp://ADDRESS:PORT or ipc://PATH"),
    ("listen", "tcp://127.0.0.1", "tcp://ADDRESS:PORT or ipc://PATH"),
    ("listen", "tcp://127.0.0.1:99999", "1 to 65535"),
    ("listen", "ipc://@abstract", "no permissions"),
    ("listen", "ipc://", "ipc://PATH"),
    ("listen", "ipc:///" + "x" * 107, "107 bytes"),
    ("log-format", "xml", "write text or json"),
    ("log-level", "loud", "error, warning, notice, info or debug"),
    ("insecure-plaintext", "yes", "write true or false"),
    ("heartbeat", "1ms", "50ms to 10m"),
    ("lease", "25h", "100ms to 24h"),
    ("grace", "5", "a duration needs a unit"),
    ("reconnect", "soon", "250ms"),
    ("stop-timeout", "-1s", "negative"),
    ("records-max", "0", "1 to 4000000000"),
    ("bytes-max", "3x", "K, M, G and T"),
    ("payload-max", "1MiB", "at most 256KiB"),
    ("sessions-max", "many", "1 to 100000"),
    ("credit-max", "16385", "1 to 16384"),
    ("backlog-max", "0", "1 to 100000000"),
    ("journal-max", "-1", "4096, 64KiB"),
    ("free-bytes-least", "", "4096, 64KiB"),
])
def test_a_bad_value_is_named_with_reason_and_remedy(directory, flag, value, why):
    said = refused(f"--{flag}={value}", "--check-config", code=USAGE)
    assert said.startswith(f'everdue-broker: --{flag} "{value}": ') and why in said
    assert said.count("\n") == 1
    if not value:
        return
    variable = "EVERDUE_" + flag.upper().replace("-", "_")
    said = refused("--check-config", code=CONFIG, env={variable: value})
    assert said.startswith(f'everdue-broker: {variable} "{value}": ') and why in said
    file = directory / "broker.conf"
    file.write_text(f"# a comment\n\n{flag} = {value}\n", encoding="utf-8")
    said = refused("--check-config", "--config", file, code=CONFIG)
    assert said.startswith(f'everdue-broker: {file}:3: {flag} "{value}": ') and why in said


@pytest.mark.parametrize("text, line, what", [
    ("sync = never\nrecord-max = 5\n", 2, 'record-max "5": no such setting'),
    ("sync\n", 1, 'not "name = value"'),
    ("[queue a b]\nfailures-max = 1\n", 2, "[queue a b] failures-max"),
    ("[queue q]\nfailures = 1\n", 2, "there are failures-max, crashes-max"),
    ("[queue q]\nsync = never\n", 2, "no such setting of a queue"),
    ("[quue q]\nfailures-max = 1\n", 2, "no such section"),
    ("[queues]\nparks-share = 5\n", 2, "parks-share"),
    ("[queues]\nbackoff-first = 10x\n", 2, "not a unit of time"),
])
def test_what_is_wrong_in_the_file_is_named_with_its_line(directory, text, line, what):
    file = directory / "broker.conf"
    file.write_text(text, encoding="utf-8")
    said = refused("--check-config", "--config", file, code=CONFIG)
    assert said.startswith(f"everdue-broker: {file}:{line}: ") and what in said


def test_a_file_that_cannot_be_read_is_said(directory):
    missing = directory / "missing"
    assert refused("--check-config", "--config", missing, code=CONFIG) == (
        f"everdue-broker: {missing}: No such file or directory\n")
    assert "Is a directory" in refused("--check-config", "--config", directory, code=CONFIG)
    large = directory / "large"
    large.write_bytes(b"# a comment\n" * 90000)
    assert f"{large}: over 1 MiB" in refused("--check-config", "--config", large, code=CONFIG)
    binary = directory / "binary"
    binary.write_bytes(b"store = memory\0\n")
    assert "a zero byte" in refused("--check-config", "--config", binary, code=CONFIG)
    assert str(missing) in refused("--check-config", code=CONFIG,
                                   env={"EVERDUE_CONFIG": str(missing)})


def test_the_documented_file_is_right(directory):
    file = directory / "broker.conf"
    file.write_text("""\
store = memory
log-format = json          # for machines

[queues]
failures-max = 20          # parked after so many failed runs in a row
parks-share = 1%           ; or this share of the queue
[queue tokens]
failures-max = 5
""", encoding="utf-8")
    assert refused("--check-config", "--config", file, code=0) == (
        "everdue-broker: the settings are good\n")


def test_a_flag_wins_over_the_variable_and_that_over_the_file(processes, directory, free_endpoint):
    file = directory / "broker.conf"
    file.write_text("listen = tcp://127.0.0.1:1\nstore = memory\npayload-max = 10\n"
                    "records-max = 10\ncredit-max = 10\n", encoding="utf-8")
    endpoint = free_endpoint()
    processes("everdue-broker", "--config", file, "--listen", endpoint, "--credit-max=30",
              env={"EVERDUE_LISTEN": "tcp://127.0.0.1:2", "EVERDUE_RECORDS_MAX": "2",
                   "EVERDUE_CREDIT_MAX": "20"})
    peer = Peer(endpoint)
    _, _, credit_max, _, _, payload_max, *_ = peer.hello()
    assert (credit_max, payload_max) == (30, 10)
    assert peer.put("q", ["a"], ["b"], ["c"]) == [CREATED, CREATED, TOO_MANY]
    peer.close()


def test_help_and_version_are_data():
    shown = run("--help")
    assert shown.returncode == 0 and not shown.stderr
    for name in ["--listen", "--store", "--sync", "--config", "--check-config", "--log-format",
                 "--insecure-plaintext", "EVERDUE_LOG_FORMAT", "SIGHUP"]:
        assert name in shown.stdout
    version = run("--version")
    assert version.returncode == 0 and not version.stderr
    assert re.fullmatch(r"everdue-broker \S+ \(libzmq \S+, czmq \S+, msgpack \S+, lmdb \S+\)\n",
                        version.stdout)
    assert "takes no arguments" in refused("memory", code=USAGE)
    assert "--nonsense" in refused("--nonsense", code=USAGE)


# --- where it listens ---


# libzmq binds to the names of interfaces, too, and these may begin as they like.
@pytest.mark.parametrize("address", ["0.0.0.0:7790", "*:7790", "[::]:7790", "192.0.2.1:7790",
                                     "eth0:7790", "127.lan:7790", "127.1:7790", "[::ffff:1.2.3.4]:*",
                                     "localhost.example:7790", "[::11:7790", "128.0.0.1:*"])
def test_an_address_beyond_loopback_is_refused(address):
    said = refused("--listen", f"tcp://{address}", "--store", "memory", code=REFUSED)
    assert f"tcp://{address} is open to others" in said and "--insecure-plaintext" in said


@pytest.mark.parametrize("address", ["127.0.0.1:*", "127.255.0.9:7790", "[::1]:7790", "localhost:*",
                                     "[0:0:0:0:0:0:0:1]:*"])
def test_all_of_loopback_is_taken(address):
    assert "good" in refused("--listen", f"tcp://{address}", "--store", "memory", "--check-config",
                             code=0)


def test_beyond_loopback_may_be_insisted_on(brokers):
    broker = brokers("--insecure-plaintext", "--listen", "tcp://0.0.0.0:*")
    log = broker.process.text()
    assert "anybody on the network can read and write" in log
    assert re.search(r"listening endpoint=tcp://0\.0\.0\.0:\d+\n", log)


def test_several_endpoints_serve_the_same_records(brokers, free_endpoint, directory):
    more = [free_endpoint(), f"ipc://{directory}/socket"]
    broker = brokers("--listen", ",".join(more), "--listen", "tcp://[::1]:*")
    broker.everdue("put", "k")
    log = broker.process.text()
    version_6 = re.search(r"listening endpoint=(tcp://\[::1\]:\d+)\n", log).group(1)
    for endpoint in [*more, version_6]:
        assert f"listening endpoint={endpoint}\n" in log
        done = subprocess.run([PROGRAMS / "everdue", "-e", endpoint, "get", "k"], check=False,
                              capture_output=True, timeout=20, env=environment())
        assert done.returncode == 0, endpoint


def test_an_endpoint_in_use_is_said_with_what_to_try(broker):
    said = refused("--listen", broker.endpoint, "--store", "memory", code=UNAVAILABLE)
    assert "Address already in use" in said and "choose another --listen" in said
    said = refused("--listen", "tcp://192.0.2.1:7790", "--insecure-plaintext", "--store", "memory",
                   code=CONFIG)
    assert "endpoint=tcp://192.0.2.1:7790" in said and "Cannot assign" in said


def test_a_socket_is_its_owners_and_is_not_stolen(brokers):
    broker = brokers(endpoint="ipc")
    path = broker.endpoint.removeprefix("ipc://")
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    assert "Address already in use" in refused("--listen", broker.endpoint, "--store", "memory",
                                               code=UNAVAILABLE)
    broker.everdue("ping")
    with stopped(broker.process):  # too busy to answer is not gone
        refused("--listen", broker.endpoint, "--store", "memory", code=UNAVAILABLE)
    broker.kill()
    assert os.path.exists(path)
    broker.start()  # over the socket that was left behind
    assert broker.stop() == 0


def test_a_file_in_the_place_of_a_socket_is_left_alone(directory):
    file = directory / "precious"
    file.write_text("data", encoding="utf-8")
    said = refused("--listen", f"ipc://{file}", "--store", "memory", code=CONFIG)
    assert "File exists" in said and file.read_text(encoding="utf-8") == "data"
    assert "No such file" in refused("--listen", f"ipc://{directory}/none/socket", "--store",
                                     "memory", code=CONFIG)


@pytest.mark.parametrize("name", ["socket", "socket.lock"])
def test_a_link_in_the_place_of_a_socket_or_its_lock_leads_nowhere(directory, name):
    """Whoever may write to the folder cannot make the broker write, or remove, elsewhere."""
    precious = directory / "precious"
    for target in (precious, directory / "new"):
        precious.write_text("kept")
        (directory / name).symlink_to(target)
        done = run("--store", "memory", "--listen", f"ipc://{directory}/socket")
        assert done.returncode != 0 and "cannot listen" in done.stderr, done
        assert precious.read_text() == "kept" and not (directory / "new").exists()
        assert (directory / name).is_symlink()
        (directory / name).unlink()


@pytest.mark.parametrize("name", ["owner.lock", "lock.mdb", "data.mdb", "reserve", "crashes"])
@pytest.mark.parametrize("target", ["precious", "new"])
def test_a_link_in_the_place_of_a_stores_file_leads_nowhere(brokers, directory, name, target):
    """Nor can whoever made the store's directory before the broker did."""
    store, precious = directory / "store", directory / "precious"
    store.mkdir()
    precious.write_text("kept")
    (store / name).symlink_to(directory / target)
    done = run("--store", f"lmdb:{store}", "--listen", f"ipc://{directory}/none/socket")
    assert done.returncode in (IO_ERROR, CONFIG), done
    assert precious.read_text() == "kept" and not (directory / "new").exists()
    if done.returncode == IO_ERROR:
        assert f"{store}/{name}" in done.stderr or str(store) in done.stderr, done


# --- where the records are ---


def test_a_second_broker_on_a_store_is_refused_with_the_first_ones_pid(durable_broker):
    done = run("--listen", "tcp://127.0.0.1:*", "--store", durable_broker.store)
    assert done.returncode == UNAVAILABLE
    assert f"another process (pid {durable_broker.process.pid}) has the store" in done.stderr
    done = run("--check-store", durable_broker.store.removeprefix("lmdb:"))
    assert done.returncode == UNAVAILABLE


def test_a_directory_that_is_none_is_said(directory):
    file = directory / "file"
    file.write_text("", encoding="utf-8")
    for place in [file, file / "store", "/proc/everdue"]:
        said = refused("--listen", "tcp://127.0.0.1:*", "--store", f"lmdb:{place}", code=IO_ERROR)
        assert str(place) in said and "the store cannot be opened" in said


def test_a_directory_that_cannot_be_written_is_said(directory):
    place = directory / "store"
    place.mkdir()
    place.chmod(0o500)
    command = [PROGRAMS / "everdue-broker", "--listen", "tcp://127.0.0.1:*", "--store",
               f"lmdb:{place}"]
    if os.geteuid() == 0:  # root may write anywhere: as nobody, for whom the folders are open
        directory.chmod(0o755)
        os.chown(place, 65534, 65534)
    options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False,
                              env=environment(), **options)
    except PermissionError as error:
        pytest.skip(f"the programs lie where nobody else may read them: {error}")
    assert done.returncode == IO_ERROR
    assert "Permission denied" in done.stderr and str(place) in done.stderr


def test_a_damaged_store_is_refused_and_named(durable_broker):
    durable_broker.everdue("put", "k")
    assert durable_broker.stop() == 0
    path = durable_broker.store.removeprefix("lmdb:")
    with open(f"{path}/data.mdb", "r+b") as file:
        file.write(b"\0" * 8192)
    done = run("--listen", durable_broker.endpoint, "--store", durable_broker.store)
    assert done.returncode == BAD_DATA
    assert path in done.stderr and "data.mdb" in done.stderr
    assert "--check-store" in done.stderr and "--salvage" in done.stderr


def test_memory_is_said_aloud(broker):
    assert "kept in memory only: a restart forgets them" in broker.process.text()


def test_policies_of_queues_do_not_keep_the_store_from_loading(brokers, directory):
    file = directory / "broker.conf"
    file.write_text("[queue tokens]\nfailures-max = 1\n[queue hosts]\ncrashes-max = 1\n",
                    encoding="utf-8")
    broker = brokers(store="lmdb")
    broker.everdue("put", "a", "--queue", "hosts", "--in", "1h")
    broker.everdue("put", "b", "--queue", "feeds", "--in", "1h")
    broker.everdue("put", "c", "--queue", "tokens")
    for _ in range(2):
        broker.restart("--config", file)
        for key, queue in [("a", "hosts"), ("b", "feeds"), ("c", "tokens")]:
            broker.everdue("get", key, "--queue", queue)
    peer = Peer(broker.endpoint)
    peer.hello(["tokens"])
    task, = peer.take(wait_ms=5000)
    assert peer.report(task.report(outcome=1)) == [OK]
    assert peer.get("tokens", "c").status == 8
    peer.close()


# --- signals and the log ---


def test_the_log_is_json_where_asked(brokers):
    broker = brokers("--log-format", "json", store="lmdb")
    peer = Peer(broker.endpoint)
    peer.hello()
    peer.send_raw(b"\xc1")
    peer.wait(lambda: MALFORMED in peer.errors)
    peer.close()
    broker.process.signal(signal.SIGHUP)
    wait_until(lambda: "read again" in broker.process.text())
    assert broker.stop() == 0
    lines = [json.loads(line) for line in broker.process.text().splitlines()]
    messages = [line["message"] for line in lines]
    assert messages[:2] == ["listening", "ready"] and messages[-1] == "stopped"
    for line in lines:
        assert line["program"] == "everdue-broker" and line["level"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_sighup_reads_the_file_again_and_flags_still_win(brokers, directory):
    file = directory / "broker.conf"
    file.write_text("records-max = 2\n", encoding="utf-8")
    broker = brokers("--config", file, "--payload-max", "10")
    peer = Peer(broker.endpoint)

    def reload(text, said):
        before = broker.process.text().count(said)
        file.write_text(text, encoding="utf-8")
        broker.process.signal(signal.SIGHUP)
        wait_until(lambda: broker.process.text().count(said) > before, what=said)

    reload("records-max = 3\npayload-max = 20\nlease = 30s\n", "the settings were read again")
    assert peer.hello()[3] == 30000  # although there was no queue yet
    assert peer.put("q", ["a"], ["b"], ["c"], ["d"]) == [CREATED] * 3 + [TOO_MANY]
    assert peer.put("q", put("a", payload=b"x" * 11)) == [TOO_LARGE]
    reload("records-max = 4\nnonsense = 1\n", "the settings are wrong")
    assert 'nonsense \\"1\\": no such setting' in broker.process.text()
    assert peer.put("q", ["d"]) == [TOO_MANY]
    reload("records-max = 4\nsync = never\n", "change with a restart only")
    assert peer.put("q", ["d"]) == [CREATED]
    peer.close()


def test_sigterm_waits_for_reports(durable_broker):
    peer = Peer(durable_broker.endpoint)
    peer.hello(["q"])
    peer.put("q", ["a"], ["b"])
    task, = peer.take()
    durable_broker.process.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in durable_broker.process.text())
    assert peer.take() == []  # nothing more is handed out
    assert peer.report(task.report(after=HOUR_US)) == [OK]
    peer.wait(lambda: peer.said_bye, what="BYE")
    assert durable_broker.process.wait() == 0
    peer.close()
    durable_broker.start()
    assert durable_broker.json("get", "a", "--queue", "q")["state"] == "waiting"


def test_a_stop_waits_its_whole_timeout_after_idle_time(brokers):
    broker = brokers("--stop-timeout", "1s", "--log-level", "debug")
    peer = Peer(broker.endpoint)
    peer.hello(["q"])
    peer.put("q", ["a"])
    task, = peer.take()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 1.2, what="idle time")
    broker.process.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in broker.process.text())
    assert peer.report(task.report(after=HOUR_US)) == [OK]
    assert broker.process.wait() == 0
    peer.close()


def test_a_second_sigterm_ends_at_once(brokers):
    broker = brokers("--stop-timeout", "1h")
    peer = Peer(broker.endpoint)
    peer.hello(["q"])
    peer.put("q", ["a"])
    peer.take()
    broker.process.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in broker.process.text())
    assert broker.process.is_running()
    broker.process.signal(signal.SIGTERM)
    assert broker.process.wait() == 0
    peer.close()


# --- at rest ---


def wakes(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary"))


@pytest.mark.parametrize("store", ["memory", "lmdb"])
def test_a_broker_that_nobody_talks_to_sleeps(brokers, store):
    broker = brokers(store=store)
    peers = [Peer(broker.endpoint) for _ in range(3)]
    for peer in peers:
        peer.hello(["default"], credit=10)

    def is_at_rest():  # after the last commit, the last look at what came in
        before = wakes(broker.process)
        time.sleep(0.3)
        return wakes(broker.process) == before

    wait_until(is_at_rest, what="a third of a second without a wake")
    before = wakes(broker.process)
    time.sleep(2)
    assert wakes(broker.process) - before <= 2, "of its own accord, with 3 sessions and no message"
    for peer in peers:
        peer.close()
