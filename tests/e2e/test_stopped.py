"""--check-store, --dump-store, --salvage: the store of a broker that does not run."""

import base64
import json
import os
import re
import subprocess

import pytest

from conftest import PROGRAMS, environment

USAGE, BAD_DATA, NO_INPUT, UNAVAILABLE = 64, 65, 66, 69


def tool(*arguments, env=None):
    return subprocess.run([PROGRAMS / "everdue-broker", *map(str, arguments)], capture_output=True,
                          text=True, encoding="utf-8", timeout=20, check=False,
                          env=environment() | (env or {}))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(name="filled")
def _filled(durable_broker, directory):
    """A stopped broker; yields (directory of the store, what export said of each queue)."""
    records = [{"key": f"r{i}", "due": f"2030-01-01T00:00:{i % 60:02}.000001Z", "every": "15m",
                "rank": i - 20, "group": "g", "payload": {"n": i}, "memo": [i]} for i in range(50)]
    records += [{"key": "bytes \U0001f600 \"quoted\"", "due": 0, "once": True,
                 "payload_b64": base64.b64encode(bytes(range(256))).decode()},
                {"key": "bare", "due": "2031-01-01T00:00:00Z"}]
    file = directory / "set.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    durable_broker.everdue("sync", str(file))
    durable_broker.everdue("put", "other", "1", "--queue", "hosts", "--in", "1h")
    durable_broker.everdue("put", "bad", "--queue", "hosts", "--in", "0s")
    lease = durable_broker.lines("take", "--queue", "hosts")[0]["lease"]
    durable_broker.everdue("report", lease, '{"outcome":"park","error":"no route"}')
    exports = {queue: durable_broker.everdue("export", "--queue", queue).stdout
               for queue in ["default", "hosts"]}
    assert durable_broker.stop() == 0
    return durable_broker.store.removeprefix("lmdb:"), exports


def test_a_dump_of_a_queue_is_its_export(filled):
    store, exports = filled
    for queue, export in exports.items():
        done = tool("--dump-store", store, "--queue", queue)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(done.stdout.splitlines()) == sorted(export.splitlines())


def test_a_dump_synced_into_a_new_broker_gives_the_same_export(filled, brokers, directory):
    store, exports = filled
    file = directory / "dump.jsonl"
    file.write_text(tool("--dump-store", store, "--queue", "default").stdout, encoding="utf-8")
    other = brokers(store="memory")
    other.everdue("sync", str(file))
    export = other.everdue("export").stdout
    assert sorted(export.splitlines()) == sorted(exports["default"].splitlines())


def test_a_dump_of_all_shows_queue_state_counts_and_the_other_tables(filled):
    store, _ = filled
    done = tool("--dump-store", store)
    assert (done.returncode, done.stderr) == (0, "")
    seen = lines(done.stdout)
    queues = {row["queue"]: row for row in seen if row.get("table") == "queues"}
    assert queues["default"]["records"] == 52 and queues["hosts"]["created_total"] == 2
    assert queues["hosts"]["reports_park_total"] == 1 and not queues["hosts"]["paused"]
    records = {row["key"]: row for row in seen if "table" not in row}
    assert len(records) == 54
    assert records["r7"]["state"] == "waiting" and records["r7"]["queue"] == "default"
    assert records["bad"]["state"] == "parked" and records["bad"]["error"] == "no route"
    assert (records["bad"]["failures"], records["bad"]["crashes"]) == (0, 0)
    assert any(row.get("table") == "meta" and row["next_record"] == 55 for row in seen)


def test_changes_that_wait_are_shown(durable_broker):
    durable_broker.everdue("put", "k", "1")
    assert durable_broker.lines("take")[0]["key"] == "k"
    durable_broker.everdue("put", "k", '{"new":true}', "--rank", "3")
    durable_broker.kill()
    seen = lines(tool("--dump-store", durable_broker.store).stdout)
    changes = [row["change"] for row in seen if row.get("table") == "pending"]
    assert [(row["key"], row["rank"], row["payload"]) for row in changes] == [
        ("k", 3, {"new": True})]


def test_the_store_is_named_in_any_of_its_forms(filled):
    store, _ = filled
    for arguments in [["--check-store", store], ["--check-store", f"lmdb:{store}"],
                      [f"--check-store={store}"], ["--check-store", "--store", f"lmdb:{store}"],
                      ["--store", f"lmdb:{store}", "--check-store"]]:
        done = tool(*arguments)
        assert done.returncode == 0 and "all is well" in done.stdout, arguments
    done = tool("--check-store", env={"EVERDUE_STORE": f"lmdb:{store}"})
    assert done.returncode == 0 and "all is well" in done.stdout


@pytest.mark.parametrize("arguments, why", [
    (["--check-store", "--store", "memory"], "the store is memory; name the directory of one"),
    (["--check-store", "a", "b"], '"b" is one directory too many'),
    (["--check-store", "a", "--dump-store", "a"], "at a time"),
    (["--check-store", "a", "--queue", "q"], "it goes with --dump-store and --salvage"),
    (["--dump-store", "a", "--queue", "no name"], "that is no name of a queue"),
    (["--dump-store", "lmdb:"], "that is no name of a directory"),
    (["stray"], '"stray" is no option'),
    (["--queue", "q"], '"q" is no option'),
])
def test_what_is_no_store_of_a_stopped_broker_is_refused(arguments, why):
    done = tool(*arguments)
    assert done.returncode == USAGE and why in done.stderr and not done.stdout


def test_a_store_that_is_looked_at_must_be_there_and_have_the_queue(filled, directory):
    store, _ = filled
    for option in ["--check-store", "--dump-store", "--salvage"]:
        done = tool(option, directory / "none")
        assert done.returncode == NO_INPUT and "none: No such file or directory" in done.stderr
    done = tool("--dump-store", store, "--queue", "nobody")
    assert done.returncode == 1 and not done.stdout
    assert 'no queue "nobody"' in done.stderr and "hosts (2 records)" in done.stderr


def test_a_store_that_is_in_use_is_refused(durable_broker):
    done = tool("--dump-store", durable_broker.store)
    assert done.returncode == UNAVAILABLE and str(durable_broker.process.pid) in done.stderr


def test_a_dump_that_cannot_be_written_fails(filled):
    store, _ = filled
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([PROGRAMS / "everdue-broker", "--dump-store", store], stdout=full,
                              stderr=subprocess.PIPE, timeout=20, check=False, env=os.environ)
    assert done.returncode == 74 and done.stderr


# --- salvage ---


def damage(store, needle, back=0):
    """Flips a byte of each place in the file where these bytes stand; how many there were."""
    with open(f"{store}/data.mdb", "r+b") as file:
        content = bytearray(file.read())
        at, places = content.find(needle), 0
        while at >= 0:
            content[at - back] ^= 1
            places += 1
            at = content.find(needle, at + 1)
        file.seek(0)
        file.write(content)
    return places


def test_a_salvage_of_a_store_that_is_whole_is_its_export(filled):
    store, exports = filled
    for queue, export in exports.items():
        done = tool("--salvage", store, "--queue", queue)
        assert done.returncode == 0, done
        assert sorted(done.stdout.splitlines()) == sorted(export.splitlines())
        assert "0 losses" in done.stderr


def test_a_salvage_of_several_queues_asks_for_one(filled):
    done = tool("--salvage", filled[0])
    assert done.returncode == USAGE and not done.stdout
    assert "choose one with --queue" in done.stderr and "hosts (2 records)" in done.stderr


def test_a_damaged_record_is_named_and_all_others_come_back(filled, brokers, directory):
    store, exports = filled
    assert damage(store, b'{"n": 17}')
    assert tool("--check-store", store).returncode == BAD_DATA
    broken = tool("--dump-store", store, "--queue", "default")
    assert broken.returncode == BAD_DATA and "--salvage" in broken.stderr
    done = tool("--salvage", f"lmdb:{store}", "--queue", "default")
    assert done.returncode == 1
    assert "lost: table records, key 18, 0: its checksum does not match" in done.stderr
    assert "queue default: 51 records are whole, and it had 52" in done.stderr
    file = directory / "salvaged.jsonl"
    file.write_text(done.stdout, encoding="utf-8")
    other = brokers(store="lmdb")
    other.everdue("sync", str(file))
    wanted = [line for line in exports["default"].splitlines() if '"key":"r17"' not in line]
    assert sorted(other.everdue("export").stdout.splitlines()) == sorted(wanted)


def test_a_queue_whose_name_is_lost_is_offered_under_its_number(filled):
    store, _ = filled
    assert damage(store, b"hosts")
    checked = tool("--check-store", store)
    assert checked.returncode == BAD_DATA and "--salvage prints what is whole" in checked.stderr
    done = tool("--salvage", store, "--queue", "hosts")
    assert done.returncode == 1 and not done.stdout
    name = re.search(r"(queue-\d+) \(2 records, its name is lost\)", done.stderr).group(1)
    done = tool("--salvage", store, "--queue", name)
    assert done.returncode == 1 and {line["key"] for line in lines(done.stdout)} == {"other", "bad"}
    assert f"its 2 records are printed with --queue {name}" in done.stderr


def test_what_waited_for_a_report_is_named_with_its_content(durable_broker):
    durable_broker.everdue("put", "k", "1")
    assert durable_broker.lines("take")[0]["key"] == "k"
    durable_broker.everdue("put", "k", '{"new":true}')
    durable_broker.kill()
    done = tool("--salvage", "--store", durable_broker.store)
    assert done.returncode == 1 and lines(done.stdout)[0]["payload"] == 1
    assert '"payload":{"new":true}' in done.stderr


def test_a_file_without_a_header_cannot_be_salvaged(filled):
    store, _ = filled
    with open(f"{store}/data.mdb", "r+b") as file:
        file.write(b"\0" * 8192)
    done = tool("--salvage", store)
    assert done.returncode == BAD_DATA and not done.stdout
    assert "both headers of data.mdb are damaged" in done.stderr
