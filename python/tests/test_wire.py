"""The byte examples of docs/protocol.md: read by this package, and written again to the same
bytes."""

import re
import zlib

import msgpack
import pytest

from conftest import ROOT
from everdue import wire
from everdue.records import Record, Task, put_item
from everdue.wire import Kind, Status

DOCUMENT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def examples():
    """(name, bytes) of each example."""
    found = []
    for block in re.findall(r"```hex\n(.*?)```", DOCUMENT, re.DOTALL):
        for line in block.splitlines():
            if line.startswith(";"):
                found.append([line[1:].strip(), ""])
            else:
                found[-1][1] += line.split(";")[0]
    return [(name, bytes.fromhex(text)) for name, text in found]


EXAMPLES = examples()


def named(beginning):
    """The one example whose name begins so, as [type, field...]."""
    found = [data for name, data in EXAMPLES if name.startswith(beginning)]
    assert len(found) == 1, (beginning, found)
    return wire.unpack(found[0])


def test_there_are_examples_of_every_message():
    kinds = {wire.unpack(data)[0] for _, data in EXAMPLES}
    assert kinds == set(map(int, Kind))


@pytest.mark.parametrize("name, data", EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_is_written_again_to_the_same_bytes(name, data):
    kind, *fields = wire.unpack(data)
    assert name.split()[0] == Kind(kind).name
    assert wire.pack(kind, *fields) == data


def test_tasks_are_read_and_written_as_in_the_document():
    for name in ["TASKS with one", "TASKS with a task whose"]:
        task = named(name)[1][0]
        assert Task(task, ["feeds"], 0.0).fields() == task
    task = Task(named("TASKS with one")[1][0], ["feeds"], 0.0)
    assert (task.queue, task.key, task.lease, task.state) == ("feeds", "feed-1", 17, 16)
    assert (task.payload, task.payload_bytes, task.memo) == ({}, b"{}", None)
    assert (task.every_ms, task.group, task.lateness_ms) == (900_000, "example.org", 0.075)
    assert task.due.isoformat() == "2026-11-22T15:00:00+00:00"


def test_records_are_read_and_written_as_in_the_document():
    parked, missing = named("ANSWER to GET")[3]
    record = Record(parked, "feeds")
    assert record.fields() == parked and missing == Status.NOT_FOUND
    assert (record.state_name, record.failures, record.park_reason) == ("parked", 20, "failures")
    assert (record.memo, record.error, record.last_worker) == (b"etag-2", "503", "web1:4711")
    cursor, page = named("ANSWER to LIST")[3]
    assert cursor is None and Record(page[0], "feeds").fields() == page[0]


def test_a_put_is_written_as_in_the_document():
    assert put_item({"key": "feed-1", "every": "15m", "group": "example.org", "payload": {}}) == \
        named("PUT a new record")[3][0]
    assert put_item({"key": "feed-1", "due": "2026-11-22T15:00:00Z"}) == \
        named("PUT of a time")[3][0]


def test_a_chunk_and_its_checksum_are_those_of_the_document():
    lines = [{"key": "feed-1"}, {"key": "feed-2", "every": 900}]
    (count, packed), = wire.batches(map(put_item, lines))
    chunk = [data for name, data in EXAMPLES if name.startswith("SYNC_CHUNK")][0]
    assert wire.pack_before(Kind.SYNC_CHUNK, 19, 5, items=packed) == chunk
    assert [count, zlib.crc32(packed)] == named("SYNC_COMMIT")[3:5]


def test_status_codes_are_those_of_the_table():
    table = dict(re.findall(r"^\| (-?\d+) \| `([a-z-]+)` \|", DOCUMENT, re.MULTILINE))
    assert {str(int(each)): wire.status_name(each) for each in Status} == table


@pytest.mark.parametrize("data", [
    b"", b"\xc1", b"\x93\x01", b"\xdd\x00\xff\xff\xff", b"GET / HTTP/1.1", msgpack.packb({"a": 1}),
    msgpack.packb([2, 9, 1]), msgpack.packb([1]), msgpack.packb([1, "nine"]), b"\x92\x01\x09\x00"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(wire.ProtocolError):
        wire.unpack(data)


def test_items_are_parted_by_count_and_bytes():
    assert [count for count, _ in wire.batches([1] * 10000)] == [4096, 4096, 1808]
    sizes = [count for count, packed in wire.batches([b"x" * 60000] * 10)]
    assert sum(sizes) == 10 and max(sizes) == 4
    with pytest.raises(ValueError):
        list(wire.batches([b"x" * (1 << 20)]))
