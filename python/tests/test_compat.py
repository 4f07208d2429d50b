"""HeapManager: the shared heap, beside heapq as its model, with processes that die."""

import heapq
import multiprocessing
import os
import pickle
import random
import signal
import time

import pytest

from conftest import box, in_child, status_of, wait_until
from everdue import Refused, content
from everdue.compat import HeapManager, to_rank


class Box:
    def __init__(self, length, width, height, id):
        self.length, self.width, self.height, self.id = length, width, height, id

    def __eq__(self, other):
        return isinstance(other, Box) and vars(self) == vars(other)


def volume(box):
    return box.length * box.width * box.height


# --- order ---


def test_pop_gives_the_smallest_by_the_comparer_as_heapq_does(heaps, broker):
    dice = random.Random(4)
    boxes = [Box(*(dice.randint(1, 20) for _ in range(3)), id=i) for i in range(200)]
    heap = heaps(broker, volume)
    assert heap.pop() is None
    heap.sync(boxes)
    model = [volume(each) for each in boxes]
    heapq.heapify(model)
    while model:
        popped = heap.pop()
        assert volume(popped) == heapq.heappop(model) and popped in boxes
    assert heap.pop() is None


@pytest.mark.parametrize("places", [
    [-5, 0, 3, 2**40, -2**63, 2**63 - 1], [-1e300, -1.5, -0.0, 1e-300, 0.1, 2.5, 1e300,
                                          float("inf"), float("-inf")]])
def test_ints_and_floats_keep_their_order(heaps, broker, places):
    heap = heaps(broker, lambda record: places[record["id"]])
    heap.sync([{"id": i} for i in range(len(places))])
    assert [places[heap.pop()["id"]] for _ in places] == sorted(places)


def test_ranks_of_floats_are_in_order():
    dice = random.Random(5)
    floats = [dice.choice([-1, 1]) * dice.random() * 10 ** dice.randint(-300, 300)
              for _ in range(5000)] + [0.0, float("inf"), float("-inf"), 5e-324, -5e-324]
    assert sorted(floats, key=to_rank) == sorted(floats)
    assert to_rank(-0.0) == to_rank(0.0) == 0 and to_rank(7) == 7


@pytest.mark.parametrize("value", ["a", None, (1, 2), float("nan"), 1 << 63, -(1 << 63) - 1, 1j])
def test_a_comparer_that_gives_anything_else_is_a_type_error_that_says_so(heaps, broker, value):
    heap = heaps(broker, lambda record: value)
    with pytest.raises(TypeError, match="the comparer gave"):
        heap.push({"id": 1})
    with pytest.raises(TypeError, match="the comparer gave"):
        heap.sync([{"id": 1}])
    assert heap.pop() is None


def test_int_and_float_have_no_common_order(heap):
    heap.push(box("a", 2))
    with pytest.raises(TypeError, match="use float"):
        heap.push(box("b", 1.5))


def test_without_a_comparer_records_come_as_they_arrived(heaps, broker):
    heap = heaps(broker)
    for i in range(20):
        heap.push({"id": str(i)})
    assert [heap.pop()["id"] for _ in range(20)] == [str(i) for i in range(20)]


# --- what becomes of what was popped ---


def test_what_was_popped_is_consumed_by_the_next_pop(heap, client):
    heap.sync([box("a", 1), box("b", 2)])
    assert heap.pop() == box("a", 1)
    assert client.get("a").state_name == "leased"
    assert heap.pop() == box("b", 2)
    wait_until(lambda: client.get("a") is None)
    assert heap.pop() is None
    wait_until(lambda: client.stats()["records"] == 0)


def test_what_was_popped_is_consumed_by_close(heap, client):
    heap.sync([box("a", 1), box("b", 2)])
    heap.pop()
    heap.close()
    assert [record.key for record in client.list()] == ["b"]
    assert heap.pop() == box("b", 2)  # it may be used again


def test_push_of_what_was_popped_is_its_report(heap, client):
    heap.sync([box("a", 1), box("b", 2), box("c", 3)])
    popped = heap.pop()
    popped["size"] = 5
    assert heap.push(popped) is True and heap.flush() == []
    record = client.get("a")
    assert (record.rank, record.payload, record.failures) == (5, box("a", 5), 0)
    assert client.stats()["reports_ok_total"] == 1
    assert [heap.pop()["id"] for _ in range(3)] == ["b", "c", "a"]


def test_push_of_an_equal_record_is_known_by_its_key(heap, client):
    heap.sync([box("a", 1)])
    heap.pop()
    heap.push(box("a", 9))
    heap.flush()
    assert client.get("a").rank == 9 and client.stats()["created_total"] == 1
    heap.push(box("new", 0))
    assert heap.pop() == box("new", 0)


def test_records_without_id_are_known_by_their_content(heaps, broker, client):
    heap = heaps(broker, lambda record: record[0])
    heap.sync([(2.5, 1, "x"), (1.5, 2, "y"), (1.5, 2, "y")])
    assert client.stats()["records"] == 2
    popped = heap.pop()
    assert popped == (1.5, 2, "y")
    heap.push((9.0, 2, "y"))  # another content, another key
    assert [heap.pop(), heap.pop(), heap.pop()] == [(2.5, 1, "x"), (9.0, 2, "y"), None]


def test_an_object_that_was_changed_is_known_though_its_hash_is_not(heaps, broker, client):
    heap = heaps(broker, lambda record: record["size"])
    heap.push({"size": 1})
    popped = heap.pop()
    popped["size"] = 2
    heap.push(popped)
    heap.flush()
    assert client.stats()["records"] == 1 and heap.pop() == {"size": 2}


def test_a_key_function_and_keys_that_are_no_keys(heaps, broker):
    heap = heaps(broker, key=lambda record: record["name"])
    heap.push({"name": "a"})
    with pytest.raises(Refused, match="bad-key"):
        heap.push({"name": "a\nb"})
    with pytest.raises(ValueError, match="two records have the key 'a'"):
        heap.sync([{"name": "a"}, {"name": "a", "x": 1}])


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
def test_what_a_process_had_when_it_died_comes_back(heap, client, number):
    heap.sync([box("a", 1), box("b", 2)])

    def work():
        assert heap.pop() == box("a", 1)
        if number:
            os.kill(os.getpid(), number)
        return 7  # without close, without atexit

    assert status_of(in_child(work)) in (-signal.SIGKILL, 7)
    wait_until(lambda: client.get("a").state_name == "ready", what="its coming back")
    assert client.get("a").crashes == 1
    assert heap.pop() == box("a", 1)


def test_what_a_process_had_comes_back_though_its_child_lives(heap, heaps, broker, client, pythons,
                                                              directory):
    """The child has a copy of every descriptor; it must not keep the connection open."""
    heap.sync([box("a", 1)])
    parent = pythons("-c", f"""
import os, signal, time
from everdue.compat import HeapManager
heap = HeapManager({broker.endpoint!r})
heap.pop()
pid = os.fork()
if pid == 0:
    time.sleep(60)
print(pid, flush=True)
time.sleep(60)
""")
    child = int(wait_until(lambda: parent.text().strip()))
    try:
        began = time.monotonic()
        parent.kill()
        wait_until(lambda: client.get("a").state_name == "ready", what="its coming back")
        assert time.monotonic() - began < 8  # three heartbeats would be fifteen seconds
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_block_that_fails_gives_back_what_was_out(heaps, broker, client):
    client.put("a", {"id": "a"})
    with pytest.raises(ZeroDivisionError):
        with HeapManager(broker.endpoint) as heap:
            heap.pop()
            1 / 0
    assert client.get("a").crashes == 1 and client.get("a").state_name == "ready"


# --- sync ---


def test_sync_replaces_the_set_without_a_guard(heap, client):
    heap.sync([box(f"k{i}", i) for i in range(100)])
    heap.sync([box("k1", -1), box("new", 7)])
    assert {record.key: record.rank for record in client.list()} == {"k1": -1, "new": 7}
    heap.sync([])
    assert heap.pop() is None


def test_sync_does_not_double_what_is_out(heap, heaps, broker, client):
    records = [box("a", 1), box("b", 2)]
    heap.sync(records)
    mine = heap.pop()
    heaps(broker, lambda record: record["size"]).sync(records)
    assert client.stats()["records"] == 2
    heap.push(mine)
    assert [heap.pop()["id"], heap.pop()["id"], heap.pop()] == ["a", "b", None]


def test_what_sync_removed_while_it_was_out_never_comes_back(heap, client):
    heap.sync([box("a", 1), box("b", 2)])
    mine = heap.pop()
    heap.sync([box("b", 2)])
    assert heap.push(mine) is False  # the cancellation came before the answer to the sync
    assert heap.flush() == []        # and so this is told once
    assert [heap.pop()["id"], heap.pop()] == ["b", None]


# --- many processes ---


def test_one_refreshes_and_n_work_and_nothing_is_lost_or_doubled(heaps, broker, directory):
    """1 + N: the set is replaced all the while, none of its calls waits for the workers, and no
    record is out twice at a time."""
    heap = heaps(broker, lambda record: record["size"])
    records = [box(f"k{i}", i) for i in range(60)]
    heap.sync(records)
    stop = multiprocessing.Event()

    def work():
        dice = random.Random(os.getpid())
        count = 0
        while not stop.is_set():
            record = heap.pop()
            if record is None:
                time.sleep(0.001)
                continue
            held = directory / record["id"]
            fd = os.open(held, os.O_CREAT | os.O_EXCL)  # fails when somebody else has it, too
            os.close(fd)
            time.sleep(dice.choice([0, 0.001, 0.01]))
            held.unlink()
            record["size"] += 60
            heap.push(record)
            count += 1
        heap.close()
        return 0 if count > 10 else 1

    pids = [in_child(work) for _ in range(3)]
    slowest = 0.0
    for _ in range(10):
        began = time.monotonic()
        heap.sync(records)
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.2)
    stop.set()
    assert [status_of(pid) for pid in pids] == [0, 0, 0]
    assert slowest < 5
    # What was consumed at the end was none: every record was pushed back.
    found = [heap.pop()["id"] for _ in records]
    assert sorted(found) == sorted(record["id"] for record in records) and heap.pop() is None


def test_a_manager_can_be_sent_to_a_spawned_process(broker, heaps):
    heap = heaps(broker, abs, str)
    heap.push(-5)
    again = pickle.loads(pickle.dumps(heap))
    assert again.pop() == -5
    again.close()


def test_code_for_a_base_manager_runs(broker):
    """As it was, but for the import and the endpoint."""
    BaseManager = HeapManager

    class Manager(BaseManager):
        pass

    Manager.register("Heap", list)
    manager = Manager(broker.endpoint, lambda record: record[0])
    manager.start()
    heap = manager.Heap()
    heap.sync([(2.0, "b"), (1.0, "a")])
    due, name = heap.pop()
    heap.push((due + 5, name))
    assert [heap.pop(), heap.pop(), heap.pop()] == [(2.0, "b"), (6.0, "a"), None]
    manager.shutdown()


# --- over faults ---


def test_the_lease_is_kept_while_the_process_works(heaps, broker, client):
    heap = heaps(broker, lease="2s")
    heap.push({"id": "a"})
    popped = heap.pop()
    time.sleep(3)
    assert client.get("a").state_name == "leased" and client.stats()["expired_total"] == 0
    assert heap.push(popped) is True


def test_a_broker_that_is_killed_costs_nothing(heaps, clients, durable_broker):
    heap = heaps(durable_broker, lambda record: record["size"])
    client = clients(durable_broker, timeout=30)
    heap.sync([box(f"k{i}", i) for i in range(20)])
    first = heap.pop()
    durable_broker.kill()
    durable_broker.start()
    time.sleep(1.5)  # the keeper announces the lease, without a call of ours
    assert client.get("k0").state_name == "leased"
    assert heap.push(first) is True
    seen = []
    for i in range(20):
        if i in (5, 12):
            durable_broker.kill()
            durable_broker.start()
        seen.append(heap.pop()["id"])
    assert seen == [f"k{i}" for i in range(20)] and heap.pop() is None


# --- what records may be ---


@pytest.mark.parametrize("value", [
    {"id": 1, "x": [1, 2.5, None, True]}, (1, "a"), [(1, 2), [3]], {1: "a"}, {"a", "b"},
    frozenset([1]), b"\x00\xff", "text", 5, 2**70, -2**70, 1.5, {"n": float("inf")}, "",
    Box(1, 2, 3, 4), [Box(1, 2, 3, (4, 5))]])
def test_what_is_pushed_is_popped(heaps, broker, value):
    heap = heaps(broker)
    heap.push(value)
    popped = heap.pop()
    assert popped == value and type(popped) is type(value)


def test_plain_records_are_json_to_others(heap, broker):
    heap.push(box("a", 1, tags=["x"]))
    assert broker.json("get", "a")["payload"] == box("a", 1, tags=["x"])


def test_a_record_of_the_command_can_be_popped(heaps, broker):
    broker.everdue("put", "a", '{"id": "a", "n": 1}', "--rank", "5")
    broker.everdue("put", "bare", "--rank", "7")
    heap = heaps(broker)
    assert [heap.pop(), heap.pop()] == [{"id": "a", "n": 1}, "bare"]


class Trap:
    def __reduce__(self):
        return os.system, ("true",)


def test_no_code_travels(heap):
    class Local:
        pass

    for value in [lambda: 0, Local(), os, heap, ValueError("x"), open]:
        with pytest.raises(TypeError):
            content.encode(value)
    assert isinstance(content.decode(content.encode(Trap())), Trap)  # not what __reduce__ says


def test_what_nobody_can_read_is_parked_with_its_reason(heap, client):
    client.put("a", content.encode(Trap()).replace(b"Trap", b"Trip"))
    with pytest.raises(ValueError, match="Trip"):
        heap.pop()
    assert client.get("a").state_name == "parked" and "Trip" in client.get("a").error
