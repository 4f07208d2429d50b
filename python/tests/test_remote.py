"""The shared heap from another host: network namespaces of their own stand for the two machines."""

import pytest

import netns
from conftest import PYTHON, Process, finish, python_environment, wait_until
from everdue import Client
from everdue.compat import HeapManager
from harness import Broker

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


@pytest.fixture
def network():
    if why := netns.why_not():
        pytest.skip(why)
    with netns.Network() as network:
        yield network


def test_a_manager_on_another_host_outlives_a_restart_of_the_broker(network, directory):
    near, far = network.node(), network.node()
    remote = f"tcp://{near.address}:7790"
    # The test itself comes in by a socket in the file system.
    broker = Broker(directory, f"ipc://{directory}/socket", f"lmdb:{directory}/store",
                    ("--listen", remote, "--insecure-plaintext"), near.command())
    broker.start()
    go, worker = directory / "go", None
    try:
        heap = HeapManager(broker.endpoint, comparer=lambda record: record["size"])
        heap.sync([{"id": f"k{i}", "size": i} for i in range(5)])
        heap.close()
        worker = Process(PYTHON, "-B", "-c", WORKER, remote, go, log=directory / "worker.log",
                         env=python_environment(), prefix=far.command())
        wait_until(lambda: "popped k0" in worker.text())
        broker.kill()
        broker.start()
        with Client(broker.endpoint, timeout=30) as client:
            wait_until(lambda: len(client.workers()) == 1, what="its coming back")
            assert client.get("k0").state_name == "leased"
            go.touch()
            assert worker.wait(30) == 0
            assert worker.text().splitlines() == [
                "popped k0", "pushed True", *(f"popped k{i}" for i in (1, 2, 3, 4, 0)), "done"]
            stats = client.stats()
            assert (stats["records"], stats["leased"], stats["stale_total"]) == (0, 0, 0)
    finally:
        finish(filter(None, [worker, broker.process]))
