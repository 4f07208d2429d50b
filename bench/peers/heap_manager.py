#!/usr/bin/env python3
"""A heap behind multiprocessing.managers, popped and pushed by N processes: what Everdue replaces.

    heap_manager.py RECORDS WORKERS SECONDS

Pop and push under the manager's lock, one record in each call, because that is all the method
offers. Prints one line of JSON, with the processor time of all processes while they cycled; fails
when a record is missing or there twice at the end.
"""
import heapq
import json
import multiprocessing
import multiprocessing.managers
import random
import resource
import sys
import threading
import time

PAYLOAD = "x" * 64
Record = tuple[float, str, str]


class Heap:
    """The shared set, ordered by due time (in cycles of the whole crew)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []

    def fill(self, count: int) -> None:
        """Put `count` records, spread over two rounds through all of them."""
        with self._lock:
            self._records = [(random.random() * 2 * count, f"rec-{i:012d}", PAYLOAD)
                             for i in range(count)]
            heapq.heapify(self._records)

    def pop(self) -> Record | None:
        """The record that is due first."""
        with self._lock:
            return heapq.heappop(self._records) if self._records else None

    def push(self, record: Record) -> None:
        """Take a record back with its new time."""
        with self._lock:
            heapq.heappush(self._records, record)

    def cpu_s(self) -> float:
        """Processor time of the process that has the heap, so far."""
        return time.process_time()

    def keys(self) -> tuple[int, int]:
        """How many records there are, and how many keys."""
        with self._lock:
            return len(self._records), len({key for _, key, _ in self._records})


class HeapManager(multiprocessing.managers.BaseManager):
    """The server process."""


HeapManager.register("Heap", Heap)


def work(heap: Heap, records: int, until_s: float, counts: multiprocessing.Queue) -> None:
    """Cycle until `until_s` of the monotonic clock."""
    cycles = 0
    while time.monotonic() < until_s:
        record = heap.pop()
        if record is None:
            continue
        due, key, payload = record
        heap.push((due + random.random() * 2 * records, key, payload))
        cycles += 1
    counts.put(cycles)


def main() -> None:
    """Fill, run, check the books."""
    records, workers, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    manager = HeapManager()
    manager.start()
    heap = manager.Heap()
    heap.fill(records)
    counts: multiprocessing.Queue = multiprocessing.Queue()
    begin_s, filled_cpu_s = time.monotonic(), heap.cpu_s()
    processes = [multiprocessing.Process(target=work,
                                         args=(heap, records, begin_s + seconds, counts))
                 for _ in range(workers)]
    for process in processes:
        process.start()
    cycles = sum(counts.get() for _ in processes)
    elapsed_s = time.monotonic() - begin_s
    for process in processes:
        process.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the workers: the manager lives on
    cpu_s = heap.cpu_s() - filled_cpu_s + used.ru_utime + used.ru_stime
    if heap.keys() != (records, records):
        sys.exit(f"heap manager: {heap.keys()} records and keys instead of {records}")
    manager.shutdown()
    print(json.dumps({"cycles": cycles, "seconds": elapsed_s, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main()
