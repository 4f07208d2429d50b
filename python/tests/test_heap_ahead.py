"""HeapManager takes ahead of its pops and does not wait for its pushes: what it promises then, with
processes and brokers that die in between. Its book alone, with a clock of its own: test_ahead.py."""

import heapq
import multiprocessing
import random
import signal
import threading
import time

import pytest

from conftest import box, in_child, status_of, wait_until
from everdue import Refused, TimedOut, ahead
from everdue.compat import HeapManager

SCRIPT = """
import os, random, signal, sys, time
from everdue.compat import HeapManager
heap = HeapManager({endpoint!r}, lambda record: record["size"])
def cycle(count):
    for _ in range(count):
        record = heap.pop()
        record["size"] += 1000
        record["runs"] = record.get("runs", 0) + 1
        heap.push(record)
"""


@pytest.fixture
def eager(monkeypatch):
    """As many are taken ahead as may be, and kept, however slow this machine is."""
    monkeypatch.setattr(ahead, "AHEAD_S", 3600.0)
    monkeypatch.setattr(ahead, "IDLE_S", 3600.0)


def by_size(record):
    return record["size"]


def cycle(heap, count):
    """Pop and push so often, each with a place behind all others."""
    for _ in range(count):
        record = heap.pop()
        record["size"] += 1000
        record["runs"] = record.get("runs", 0) + 1
        heap.push(record)


def runs(client):
    """How often each record was pushed back, by key."""
    return {record.key: (record.payload or {}).get("runs", 0)
            for record in client.get_many(sorted(each.key for each in client.list()))}


def leased(client):
    return client.stats()["leased"]


def set_of(count):
    return [box(f"k{i:03d}", i) for i in range(count)]


# --- order ---


@pytest.mark.parametrize("store", ["memory", "lmdb"])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_process_sees_the_order_of_heapq(eager, heaps, broker, durable_broker, store, seed):
    """Whatever is held ahead and whatever is not acknowledged: pushes before and behind what is
    held, new records, consumed ones, sets that are replaced."""
    dice = random.Random(seed)
    heap = heaps(broker if store == "memory" else durable_broker, by_size)
    records = [box(f"k{i}", dice.randrange(10**6)) for i in range(120)]
    heap.sync(records)
    model = [(record["size"], record["id"]) for record in records]
    heapq.heapify(model)
    for i in range(400):
        record = heap.pop()
        assert record and (record["size"], record["id"]) == heapq.heappop(model), f"pop {i}"
        what = dice.random()
        if what < 0.9:
            # Mostly behind all, sometimes right in front of what is held ahead.
            record["size"] = dice.choice([dice.randrange(10**6), 10**6 + i, record["size"] + 1,
                                          -i])
            heap.push(record)
            heapq.heappush(model, (record["size"], record["id"]))
        if what > 0.97:
            new = box(f"new{i}", dice.randrange(10**6))
            heap.push(new)
            heapq.heappush(model, (new["size"], new["id"]))
        if i in (150, 300):
            records = [box(f"s{i}-{k}", dice.randrange(10**6)) for k in range(100)]
            heap.flush()
            heap.sync(records)
            model = [(each["size"], each["id"]) for each in records]
            heapq.heapify(model)


def test_what_was_pushed_is_there_for_the_next_pop(eager, heaps, durable_broker):
    """It is granted from the moment at which it is on disk; a pop that finds nothing waits for
    that."""
    heap = heaps(durable_broker, by_size)
    heap.sync([box("a", 1), box("b", 2)])
    for i in range(30):
        record = heap.pop()
        assert record == box("ab"[i % 2], i + 1)
        heap.push(box(record["id"], i + 3))


def test_a_record_that_is_held_ahead_may_be_changed(eager, heap, client):
    heap.sync(set_of(40))
    cycle(heap, 10)
    wait_until(lambda: leased(client) > 4)
    heap.push(box("k012", -5))
    assert heap.pop() == box("k012", -5)


def test_own_syncs_replace_what_is_held_ahead(eager, heap, client):
    heap.sync(set_of(40))
    cycle(heap, 10)
    assert leased(client) > 4
    heap.sync([box("k020", 7, new=True), box("x", 8)])
    assert [heap.pop(), heap.pop(), heap.pop()] == [box("k020", 7, new=True), box("x", 8), None]


# --- others ---


def test_close_gives_back_what_was_held_ahead_uncounted(eager, heaps, broker, client):
    heap = heaps(broker, by_size)
    heap.sync(set_of(200))
    cycle(heap, 60)
    assert leased(client) > 16
    heap.close()
    found = list(client.list())
    assert len(found) == 200 and {(each.state_name, each.crashes) for each in found} == {
        ("ready", 0)}
    assert sum(runs(client).values()) == 60


def test_what_a_process_does_not_come_to_goes_to_others(heaps, broker, client, monkeypatch):
    """It was fast, and now works on one record for ever: the others have all the rest."""
    monkeypatch.setattr(ahead, "AHEAD_S", 3600.0)
    slow, other = heaps(broker, by_size), heaps(broker, by_size, prefetch=1)
    slow.sync(set_of(100))
    cycle(slow, 50)
    mine = slow.pop()
    seen = set()

    def has_seen_all():
        while (record := other.pop()) is not None:
            seen.add(record["id"])
        return len(seen) == 99

    wait_until(has_seen_all, what="the rest")
    assert mine["id"] not in seen
    assert client.get(mine["id"]).crashes == 0 and client.stats()["expired_total"] == 0


def test_two_processes_share_and_no_push_is_lost(heaps, broker, directory, client):
    heap = heaps(broker, by_size)
    heap.sync(set_of(300))
    count = 1500

    def work():
        cycle(heap, count)
        heap.close()

    assert [status_of(pid) for pid in [in_child(work), in_child(work)]] == [0, 0]
    found = runs(client)
    assert len(found) == 300 and sum(found.values()) == 2 * count
    stats = client.stats()
    assert stats["reports_ok_total"] == 2 * count and stats["stale_total"] == 0


def test_threads_share_what_is_held_ahead(heaps, broker, client):
    heap = heaps(broker, by_size)
    heap.sync(set_of(100))
    threads = [threading.Thread(target=cycle, args=(heap, 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heap.flush()
    found = runs(client)
    assert len(found) == 100 and sum(found.values()) == 800


def test_the_strict_form_holds_nothing_ahead_and_waits(eager, heaps, broker, client):
    strict = heaps(broker, by_size, prefetch=1, wait=True)
    other = heaps(broker, by_size)
    strict.sync(set_of(50))
    for i in range(20):
        record = strict.pop()
        assert leased(client) == 1
        other.push(box(f"first{i}", -1000 + i))  # another process's comes at once
        record["size"] += 1000
        assert strict.push(record) is True
        assert client.get(record["id"]).rank == record["size"]
        assert strict.pop()["id"] == f"first{i}"
    mine = strict.pop()
    other.sync([])
    assert strict.push(mine) is False and strict.flush() == []


# --- what was refused ---


def test_flush_names_what_was_removed_while_it_was_out(heaps, broker, client):
    heap, other = heaps(broker, by_size), heaps(broker, by_size)
    heap.sync([box("a", 1), box("b", 2)])
    first = heap.pop()
    # The broker says so, but nobody here has read it when the push goes out.
    with heap._client.lock:
        other.sync([box("b", 2)])
        assert heap.push(first) is True
    assert heap.flush() == ["a"] and heap.flush() == []
    assert [heap.pop()["id"], heap.pop()] == ["b", None]


def test_what_is_too_large_is_refused_at_once_and_stays_out(heap, client):
    heap.sync([box("a", 1)])
    popped = heap.pop()
    popped["text"] = "x" * 100_000
    with pytest.raises(Refused, match="'a': 100.* bytes are more than the 65536"):
        heap.push(popped)
    assert client.get("a").state_name == "leased"
    popped["text"] = "short"
    assert heap.push(popped) is True and heap.flush() == []
    assert client.get("a").payload == popped


@pytest.mark.parametrize("say", [HeapManager.pop, HeapManager.flush, HeapManager.close,
                                 lambda heap: heap.push({"id": "new", "size": 1})])
def test_what_the_broker_refuses_is_raised_by_the_next_call(heaps, broker, client, say):
    heap = heaps(broker, by_size)
    heap.sync([box("a", 1)])
    popped = heap.pop()
    heap._client.connection.limits["payload_max"] = 1 << 20  # it would have been refused here
    popped["text"] = "x" * 100_000
    assert heap.push(popped) is True
    wait_until(lambda: client.get("a").state_name != "leased", what="its coming back")
    wait_until(lambda: heap._book.faults)
    with pytest.raises(Refused, match="'a': too-large; it was popped, and comes back as it was"):
        say(heap)
    record = client.get("a")
    assert (record.payload, record.crashes) == (box("a", 1), 1)
    assert heap.flush() == []  # said once


# --- processes that die ---


def test_what_a_killed_process_had_comes_back(pythons, heaps, broker, client):
    """What it had flushed counts; of the rest each record is as it was or as it was pushed, and
    all of them are there for others."""
    heap = heaps(broker, by_size)
    heap.sync(set_of(100))
    process = pythons("-c", SCRIPT.format(endpoint=broker.endpoint) + """
cycle(50)
heap.flush()
print("flushed", flush=True)
cycle(7)
heap.pop()
os.kill(os.getpid(), signal.SIGKILL)
""")
    process.expected.add(-signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and "flushed" in process.text()
    wait_until(lambda: not leased(client), what="its coming back")
    found = runs(client)
    assert len(found) == 100 and all(found[f"k{i:03d}"] >= 1 for i in range(50))
    assert 50 <= sum(found.values()) <= 57
    assert sum(each.crashes for each in client.get_many(found)) >= 1
    wait_until(lambda: client.stats()["ready"] == 100, what="the back-off")
    assert len({heap.pop()["id"] for _ in range(100)}) == 100


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "sys.exit(cycle(1))"])
def test_a_process_that_ends_without_close_loses_no_push(pythons, heaps, durable_broker, clients,
                                                         end):
    client, heap = clients(durable_broker), heaps(durable_broker, by_size)
    heap.sync(set_of(100))
    process = pythons("-c", SCRIPT.format(endpoint=durable_broker.endpoint) + "cycle(60)\n" + end)
    assert process.wait() == 0, process.text()
    found = list(client.list())
    assert len(found) == 100 and {each.state_name for each in found} == {"ready"}
    assert sum(runs(client).values()) == 60 + ("cycle" in end)
    assert sum(each.crashes for each in found) == 0


def test_a_child_of_multiprocessing_loses_no_push(heaps, durable_broker, clients):
    """It ends without what an interpreter does at its end."""
    client, heap = clients(durable_broker), heaps(durable_broker, by_size)
    heap.sync(set_of(100))
    child = multiprocessing.get_context("fork").Process(target=cycle, args=(heap, 60))
    child.start()
    child.join(20)
    assert child.exitcode == 0 and sum(runs(client).values()) == 60 and not leased(client)


def test_a_heap_that_nobody_has_any_more_loses_no_push(broker, client, heaps):
    heaps(broker, by_size).sync(set_of(30))

    def use():
        cycle(HeapManager(broker.endpoint, by_size), 20)

    use()
    wait_until(lambda: sum(runs(client).values()) == 20 and not leased(client))


# --- brokers that die ---


def test_a_broker_that_is_killed_before_it_answers_loses_no_push(eager, heaps, clients,
                                                                durable_broker):
    heap = heaps(durable_broker, by_size)
    heap.sync(set_of(60))
    cycle(heap, 30)
    heap.flush()
    durable_broker.process.signal(signal.SIGSTOP)
    held = len(heap._book.ahead)
    assert held > 8
    began_s = time.monotonic()
    cycle(heap, 8)  # of what is held ahead, without an answer to any push
    assert time.monotonic() - began_s < 5 and heap._book.is_pushing()
    durable_broker.kill()
    durable_broker.start()
    assert heap.flush() == []
    client = clients(durable_broker)
    found = runs(client)
    assert len(found) == 60 and sum(found.values()) == 38
    assert client.stats()["stale_total"] == 0
    # What was held ahead still is, under the same leases.
    cycle(heap, 22)
    heap.close()
    assert set(runs(client).values()) == {1}


def test_a_push_that_nobody_answers_is_said(eager, heaps, durable_broker, clients):
    heap = heaps(durable_broker, by_size, timeout=0.7)
    heap.sync(set_of(60))
    cycle(heap, 30)
    heap.flush()
    durable_broker.process.signal(signal.SIGSTOP)
    try:
        cycle(heap, 5)
        with pytest.raises(TimedOut, match="did not answer within 0.7 s"):
            heap.flush()
        with pytest.raises(TimedOut):
            heap.close()
    finally:
        durable_broker.process.signal(signal.SIGCONT)
    client = clients(durable_broker)
    wait_until(lambda: not leased(client))
    assert 30 <= sum(runs(client).values()) <= 35


def test_pushes_wait_when_too_many_are_not_answered(eager, heaps, durable_broker, monkeypatch):
    monkeypatch.setattr("everdue.compat.REPORTED_MAX", 4)
    heap = heaps(durable_broker, by_size, timeout=0.7)
    heap.sync(set_of(60))
    cycle(heap, 30)
    heap.flush()
    durable_broker.process.signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut):
            cycle(heap, 5)
        assert len(heap._book.reported) == 4
    finally:
        durable_broker.process.signal(signal.SIGCONT)
    assert heap.flush() == []


def test_an_exit_says_what_was_not_acknowledged(pythons, heaps, broker, client):
    heaps(broker, by_size).sync(set_of(60))
    process = pythons("-c", "from everdue import keeper\nkeeper.CLOSE_S = 0.5\n"
                      + SCRIPT.format(endpoint=broker.endpoint) + f"""
from everdue import ahead
ahead.AHEAD_S = ahead.IDLE_S = 3600
cycle(30)
heap.flush()
os.kill({broker.process.pid}, signal.SIGSTOP)
cycle(3)
""")
    try:
        assert process.wait() == 0
    finally:
        broker.process.signal(signal.SIGCONT)
    assert "3 records that were pushed, and not acknowledged" in process.text()


WORKER = SCRIPT + """
while True:
    pushed = []
    for _ in range(random.randrange(1, 60)):
        record = heap.pop()
        if record is not None:
            record["size"] += 1000
            record["runs"] = record.get("runs", 0) + 1
            heap.push(record)
            pushed.append((record["id"], record["runs"]))
    lost = heap.flush()
    os.write(1, "".join(f"{{key}} {{runs}}\\n" for key, runs in pushed
                        if key not in lost).encode())
"""


def test_kills_of_brokers_and_processes_lose_and_double_no_push(pythons, heaps, durable_broker,
                                                              clients):
    """Each push counts its record's runs up by one. What a flush has acknowledged is there at the
    end, and no two of them counted the same run."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    heaps(durable_broker, by_size).sync(set_of(120))
    source = WORKER.format(endpoint=durable_broker.endpoint)
    crew = [pythons("-c", source) for _ in range(3)]
    everybody = list(crew)
    for _ in range(8):
        time.sleep(dice.uniform(0.2, 0.7))
        if dice.random() < 0.5:
            durable_broker.kill()
            durable_broker.start()
        else:
            crew.pop(dice.randrange(3)).kill()
            crew.append(pythons("-c", source))
            everybody.append(crew[-1])
    time.sleep(1)
    for process in crew:
        process.kill()
    found = runs(clients(durable_broker, timeout=30))
    told = [line.split() for process in everybody for line in process.text().splitlines()]
    assert all(len(words) == 2 for words in told), f"seed {seed}: {told}"
    assert len(found) == 120 and len(told) > 100, f"seed {seed}: {len(told)} pushes"
    assert len(set(map(tuple, told))) == len(told), f"seed {seed}: one run was counted twice"
    for key, count in told:
        assert int(count) <= found[key], f"seed {seed}: {key} had {count} runs, now {found[key]}"
