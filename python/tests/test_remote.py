"""The shared heap from another host: network namespaces of their own stand for the two machines."""

import os
import subprocess

import pytest

from conftest import PYTHON, Process, finish, python_environment, wait_until
from everdue import Client
from everdue.compat import HeapManager
from harness import PROGRAMS, Broker

NEAR, FAR = "10.78.0.1", "10.78.0.2"
WORKER = """
import pathlib, sys, time
from everdue.compat import HeapManager
heap = HeapManager(sys.argv[1], comparer=lambda record: record["size"])
record = heap.pop()
print("popped", record["id"], flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.02)
record["size"] = 100
print("pushed", heap.push(record), flush=True)
while (record := heap.pop()) is not None:
    print("popped", record["id"], flush=True)
heap.close()
print("done", flush=True)
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """The names of two namespaces with a cable between them."""
    near, far = names = [f"everdue-py-{os.getpid()}-{side}" for side in ("near", "far")]
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        ip("-n", near, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far)
        for name, address in [(near, NEAR), (far, FAR)]:
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


class HostBroker(Broker):
    """A broker on a host of its own; the test reaches it by a socket in the file system, too."""

    def __init__(self, directory, host):
        super().__init__(directory, f"ipc://{directory}/socket", f"lmdb:{directory}/store", ())
        self.host, self.remote = host, f"tcp://{NEAR}:7790"

    def start(self, *more):
        self.process = Process(
            "/usr/bin/env", "ip", "netns", "exec", self.host, PROGRAMS / "everdue-broker",
            "--listen", self.remote, "--listen", self.endpoint, "--insecure-plaintext", "--store",
            self.store, *more, log=self.directory / "broker.log")
        wait_until(self.answers, what="the broker's answer")


def test_a_manager_on_another_host_outlives_a_restart_of_the_broker(hosts, directory):
    broker = HostBroker(directory, hosts[0])
    broker.start()
    go = directory / "go"
    worker = None
    try:
        heap = HeapManager(broker.endpoint, comparer=lambda record: record["size"])
        heap.sync([{"id": f"k{i}", "size": i} for i in range(5)])
        heap.close()
        worker = Process("/usr/bin/env", "ip", "netns", "exec", hosts[1], PYTHON, "-B", "-c", WORKER,
                         broker.remote, go, log=directory / "worker.log", env=python_environment())
        wait_until(lambda: "popped k0" in worker.text())
        broker.kill()
        broker.start()
        with Client(broker.endpoint, timeout=30) as client:
            wait_until(lambda: len(client.workers()) == 1, what="its coming back")
            assert client.get("k0").state_name == "leased"
            go.touch()
            assert worker.wait(30) == 0
            assert worker.text().split() == (
                "popped k0 pushed True popped k1 popped k2 popped k3 popped k4 popped k0 done").split()
            stats = client.stats()
            assert (stats["records"], stats["leased"], stats["stale_total"]) == (0, 0, 0)
    finally:
        finish(filter(None, [worker, broker.process]))
