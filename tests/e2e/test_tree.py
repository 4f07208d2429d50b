"""`everdue run` and `everdue dev`: a broker and its workers as one process tree."""

import os
import signal
import subprocess

from conftest import PROGRAMS, environment, wait_until

UNREACHABLE, MISCONFIGURED = 69, 78


def everdue(endpoint, *arguments):
    return subprocess.run([PROGRAMS / "everdue", "-e", endpoint, *arguments], capture_output=True,
                          text=True, check=False, timeout=30, env=environment())


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def name_of(pid):
    """None: it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def child_named(pid, name):
    return next((child for child in children_of(pid) if name_of(child) == name), None)


def test_dev_prints_records_as_they_come_due(processes, free_endpoint):
    endpoint = free_endpoint()
    dev = processes("everdue", "-e", endpoint, "dev", "-n", "1")
    wait_until(lambda: dev.text().count("demo/every-second") >= 2, what="a second run")
    wait_until(lambda: "demo/once" in dev.text(), what="the one that runs once")
    assert "run 1" in dev.text() and " late\n" in dev.text()
    dev.signal(signal.SIGINT)
    assert dev.wait(20) == 0
    assert everdue(endpoint, "ping").returncode == UNREACHABLE


def test_run_keeps_a_broker_and_workers_together(processes, free_endpoint, directory):
    endpoint = free_endpoint()
    tree = processes("everdue", "-e", endpoint, "run", "--store", f"lmdb:{directory}/store", "-n",
                     "1", "--every", "1s", "--", "touch", "{key}")
    wait_until(lambda: everdue(endpoint, "ping").returncode == 0, what="the broker")
    first, second = directory / "first", directory / "second"
    assert everdue(endpoint, "put", str(first)).returncode == 0
    wait_until(first.exists, what="the first run")
    for name in ["everdue-broker", "everdue-worker"]:
        pid = wait_until(lambda: child_named(tree.pid, name), what=name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: child_named(tree.pid, name) not in (None, pid), what="a restart")
    wait_until(lambda: everdue(endpoint, "ping").returncode == 0, what="the broker again")
    assert everdue(endpoint, "put", str(second)).returncode == 0
    wait_until(second.exists, seconds=30, what="the second run")
    pids = children_of(tree.pid)
    tree.signal(signal.SIGTERM)
    assert tree.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_second_broker_is_not_started_on_an_endpoint_in_use(broker):
    done = broker.everdue("dev", check=False)
    assert done.returncode == MISCONFIGURED
    assert f"a broker is running at {broker.endpoint} already" in done.stderr


def test_a_handler_that_cannot_be_run_stops_the_tree(processes, free_endpoint):
    endpoint = free_endpoint()
    dev = processes("everdue", "-e", endpoint, "dev", "-n", "1", "--", "/nonexistent/handler")
    dev.expected = {MISCONFIGURED}
    assert dev.wait(20) == MISCONFIGURED
    assert "everdue-worker ended with 78" in dev.text()
