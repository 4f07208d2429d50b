"""Fixtures that start the real programs.

    def test_a_record_that_was_put_can_be_read_again(broker):
        broker.everdue("put", "feed-1", '{"etag": "x"}')
        assert broker.json("get", "feed-1")["payload"] == {"etag": "x"}

Every process is stopped by its process id at the end of its test, which fails when one of them had
died or does not stop with status 0. The programs come from EVERDUE_BIN, else build/release/bin.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("EVERDUE_BIN", ROOT / "build" / "release" / "bin"))
SECONDS = 10  # no wait here is meant to take so long; sanitizers and busy machines are slow


def wait_until(condition, seconds=SECONDS, what="the condition"):
    """Poll until `condition()` is true, and return what it gave."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


def environment():
    """Ours, without what would change the programs' defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERDUE_")}
    return kept | {"NO_COLOR": "1", "LC_ALL": "C.UTF-8"}


class Process:
    """A program of ours with its output in a file; `prefix` is a command that executes it, as
    netns.Node.command() is."""

    def __init__(self, program, *arguments, log, env=None, prefix=()):
        self.log = pathlib.Path(log)
        self.expected = {0}  # exit statuses that are no failure at the end of the test
        with open(self.log, "ab") as file:
            self.child = subprocess.Popen(
                [*prefix, PROGRAMS / program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file,
                stderr=file, env=environment() | (env or {}), start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, seconds=SECONDS):
        """Its exit status, negative for a signal."""
        return self.child.wait(seconds)

    def stop(self, seconds=SECONDS, patience=None):
        """SIGTERM; a second one after `patience` seconds, which ends ours at once; SIGKILL to its
        whole session when that does not help."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        try:
            return self.wait(patience or seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGTERM if patience else signal.SIGKILL)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            return self.wait()

    def kill(self):
        """As `kill -9` does."""
        self.expected.add(-signal.SIGKILL)
        self.child.kill()
        return self.wait()

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")


class Broker:
    """A broker that can be stopped, killed and started again on the same endpoint and store."""

    def __init__(self, directory, endpoint, store, options, prefix=()):
        self.prefix = prefix
        self.directory = pathlib.Path(directory)
        self.endpoint = endpoint
        self.store = store
        self.options = options
        self.process = None

    def start(self, *more, seconds=SECONDS):
        self.process = Process("everdue-broker", "--listen", self.endpoint, "--store", self.store,
                               *self.options, *more, log=self.directory / "broker.log",
                               prefix=self.prefix)
        wait_until(self.answers, seconds, "the broker's answer")

    def answers(self):
        assert self.process.is_running(), f"the broker ended:\n{self.process.text()}"
        return self.everdue("ping", check=False).returncode == 0

    def stop(self):
        return self.process.stop()

    def kill(self):
        return self.process.kill()

    def restart(self, *more):
        assert self.stop() == 0
        self.start(*more)

    def everdue(self, *arguments, input=None, check=True, seconds=60):
        """Run the `everdue` command against this broker; the finished process."""
        done = subprocess.run(
            [*self.prefix, PROGRAMS / "everdue", "-e", self.endpoint, *map(str, arguments)],
            input=input, capture_output=True, text=True, encoding="utf-8", timeout=seconds, check=False,
            env=environment())
        assert not check or done.returncode == 0, f"everdue {arguments}: {done}"
        return done

    def json(self, *arguments, **options):
        """What the command prints with -o json."""
        return json.loads(self.everdue("-o", "json", *arguments, **options).stdout)

    def lines(self, *arguments, **options):
        """The records that the command prints with -o jsonl."""
        output = self.everdue("-o", "jsonl", *arguments, **options).stdout
        return [json.loads(line) for line in output.splitlines()]

    def stats(self, queue=None):
        return self.json("stats", *(["--queue", queue] if queue else []))


@pytest.fixture
def directory():
    """A folder with a short path: a Unix socket's has 107 bytes at most."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="everdue-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def free_endpoint():
    """Makes loopback endpoints whose ports were free a moment ago."""

    def make():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{probe.getsockname()[1]}"

    return make


@pytest.fixture
def processes(directory):
    """Starts programs; stops them in the reverse order at the end of the test."""
    started = []

    def start(program, *arguments, name=None, env=None, prefix=()):
        log = directory / f"{name or program}-{len(started)}.log"
        started.append(Process(program, *arguments, log=log, env=env, prefix=prefix))
        return started[-1]

    yield start
    finish(reversed(started))


@pytest.fixture
def brokers(directory, free_endpoint):
    """Starts brokers: brokers("--sync", "never", store="lmdb"), by default in memory on loopback
    TCP (endpoint="ipc" for a socket in the test's folder, or an address)."""
    started = []

    def start(*options, store="memory", endpoint="tcp", prefix=()):
        place = directory / f"broker-{len(started)}"
        place.mkdir()
        if store == "lmdb":
            store = f"lmdb:{place}/store"
        address = {"tcp": free_endpoint(), "ipc": f"ipc://{place}/socket"}.get(endpoint, endpoint)
        started.append(Broker(place, address, store, options, prefix))
        started[-1].start()
        return started[-1]

    yield start
    finish(broker.process for broker in started)


@pytest.fixture
def broker(brokers):
    """A broker in memory."""
    return brokers()


@pytest.fixture
def durable_broker(brokers):
    """A broker with its records on disk, each acknowledgement after an fsync."""
    return brokers(store="lmdb")


@pytest.fixture
def workers(brokers, processes):
    """Starts an everdue-worker: workers(broker, "--queue", "q", "-n", 2, "--", "true"). It depends
    on `brokers`, so that workers are stopped before their broker."""

    def start(broker, *arguments, env=None, prefix=()):
        return processes("everdue-worker", "--broker", broker.endpoint, *arguments, env=env,
                         prefix=prefix)

    return start


@pytest.fixture
def preload(directory):
    """The environment that loads preload.c; a sanitizer would insist on being the first."""
    library = directory / "preload.so"
    source = pathlib.Path(__file__).with_name("preload.c")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0"}


def finish(processes):
    """Stop them all, show their logs (with a test that failed), then complain about one."""
    faults = []
    for process in processes:
        status = process.stop(patience=1)
        print(f"--- {process.log.name}, exit status {status}\n{process.text()}")
        if status not in process.expected:
            faults.append(f"{process.log.name}: exit status {status}")
    assert not faults, faults
