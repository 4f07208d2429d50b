"""The programs and fixtures of tests/e2e (harness.py, raw.py), and workers written in Python.

A module with handlers is written into the test's folder; what they saw is appended to a file there.
"""

import os
import pathlib
import sys
import textwrap
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests" / "e2e")]
pytest.register_assert_rewrite("harness", "raw")

from harness import (  # noqa: E402, F401
    PROGRAMS, Process, broker, brokers, directory, durable_broker, environment, finish,
    free_endpoint, processes, wait_until, workers)

import everdue  # noqa: E402
from everdue.compat import HeapManager  # noqa: E402

PYTHON = "/usr/bin/python3"


def python_environment(*folders):
    """Where the package is found, and modules of these folders."""
    path = os.pathsep.join(map(str, [ROOT / "python", *folders]))
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def clients(brokers):
    """Makes clients: clients(broker). They are closed at the end of the test, before the
    brokers."""
    made = []

    def make(broker, **options):
        made.append(everdue.Client(broker.endpoint, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(clients, broker):
    return clients(broker)


@pytest.fixture
def pythons(brokers, directory):
    """Starts Python programs in the test's folder; stops them before their broker."""
    started = []

    def start(*arguments):
        log = directory / f"python-{len(started)}.log"
        started.append(Process(PYTHON, "-B", *arguments, log=log,
                               env=python_environment(directory)))
        return started[-1]

    yield start
    finish(reversed(started))


@pytest.fixture
def python_workers(directory, pythons):
    """Starts `python3 -m everdue.worker` on the functions of a source:
    python_workers(broker, "def run(task): ...", "-n", 2)."""
    def start(broker, source, *options, function="run"):
        name = f"handlers{time.monotonic_ns()}"
        text = HANDLER_HEAD.format(seen=str(directory / "seen")) + textwrap.dedent(source)
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
        return pythons("-m", "everdue.worker", f"{name}:{function}", "--broker", broker.endpoint,
                       *options)

    return start


HANDLER_HEAD = """\
import os, signal, time
import everdue

def note(*words):
    fd = os.open({seen!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join(map(str, words)) + "\\n").encode())
    os.close(fd)

"""


@pytest.fixture
def seen(directory):
    """What handlers noted so far, line by line."""
    def read():
        path = directory / "seen"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    return read


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- shared heaps ---


@pytest.fixture
def heaps(brokers):
    """Depends on `brokers`, so that heaps are closed before their broker."""
    made = []

    def make(broker, *arguments, **options):
        made.append(HeapManager(broker.endpoint, *arguments, **options))
        return made[-1]

    yield make
    for heap in made:
        heap.close()


@pytest.fixture
def heap(heaps, broker):
    return heaps(broker, lambda record: record["size"])


def box(name, size, **more):
    return {"id": name, "size": size, **more}


def in_child(work):
    """Run `work()` in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(work() or 0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(99)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
