"""Everdue for Python: a client, a worker and a shared heap, over pyzmq and msgpack.

    client = everdue.Client("tcp://127.0.0.1:7790")
    client.put("feed-1", {"etag": "x"}, every="15m")

    @everdue.handler(every="5m")                  # python3 -m everdue.worker module:poll -n 4
    def poll(task):
        return {"memo": fetch(task.key, task.memo)}

Where to read on: client.py, worker.py, compat.py (HeapManager). Written from docs/protocol.md
alone; wire.py has its numbers, connection.py its rules for sessions, leases.py those for leases.
"""

__version__ = "0.1.0"

from .client import Client  # noqa: E402
from .curve import Curve
from .errors import (BadResult, Conflict, EverdueError, NotAllowed, Refused, SyncRefused, TimedOut,
                     Unreachable)
from .records import Record, Task
from .results import handler
from .wire import Status

__all__ = ["BadResult", "Client", "Conflict", "Curve", "EverdueError", "NotAllowed", "Record",
           "Refused", "Status", "SyncRefused", "Task", "TimedOut", "Unreachable", "handler"]
