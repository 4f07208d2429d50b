"""The `everdue` command against a real broker: what is printed, what it exits with."""

import gzip
import json
import subprocess
import time

import pytest

from conftest import PROGRAMS, environment, wait_until

USAGE, BAD_DATA, NO_INPUT, UNREACHABLE, IO_ERROR, TIMED_OUT = 64, 65, 66, 69, 74, 75


def write_lines(path, records):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        for record in records:
            file.write((record if isinstance(record, str) else json.dumps(record)) + "\n")
    return path


def refused(broker, *arguments, code, **options):
    """Run a command that must end with `code`; what it says on stderr."""
    done = broker.everdue(*arguments, check=False, **options)
    assert done.returncode == code, done
    assert done.stderr.startswith("everdue"), done
    return done.stderr


# --- without a broker ---


def run(*arguments, **options):
    return subprocess.run([PROGRAMS / "everdue", *arguments], capture_output=True, text=True,
                          encoding="utf-8", timeout=30, check=False, env=environment(), **options)


def test_no_broker_is_said_with_what_to_try(free_endpoint):
    endpoint = free_endpoint()
    done = run("-e", endpoint, "get", "a")
    assert done.returncode == UNREACHABLE
    assert done.stderr == (f"everdue: no broker at {endpoint} after 3 s. Is it running? "
                           "Try: everdue-broker, or: everdue dev\n")


def test_a_wait_does_not_make_an_absent_broker_take_longer(free_endpoint):
    begin = time.monotonic()
    done = run("-e", free_endpoint(), "take", "--wait", "1m")
    assert done.returncode == UNREACHABLE
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("arguments, said", [
    (["-e", "127.0.0.1:7790"], "127.0.0.1:7790: not an endpoint; write tcp://HOST:PORT"),
    (["-e", "tcp://127.0.0.1"], "tcp://127.0.0.1: not an endpoint"),
    (["--curve-server", "/nonexistent.pub"], "--curve-server /nonexistent.pub: neither a key"),
    (["--curve-key", "/nonexistent"], "/nonexistent: No such file or directory"),
])
def test_what_is_no_endpoint_or_key_is_named(arguments, said):
    done = run(*arguments, "ping")
    assert done.returncode in (USAGE, NO_INPUT) and said in done.stderr, done


def test_a_worker_says_that_there_is_no_broker(free_endpoint, processes, brokers):
    endpoint = free_endpoint()
    worker = processes("everdue-worker", "--broker", endpoint, "-n", "1", "--", "true")
    wait_until(lambda: f"no broker at {endpoint} yet" in worker.text(), seconds=30)
    brokers("--listen", endpoint, "--store", "memory")
    wait_until(lambda: "connected to the broker" in worker.text(), seconds=30)


def test_an_unknown_command_is_answered_with_the_nearest():
    done = run("stauts")
    assert done.returncode == USAGE
    assert done.stderr == ('everdue: unknown command "stauts"; did you mean "status"? '
                           "See: everdue help\n")


@pytest.mark.parametrize("arguments", [
    [], ["put"], ["get"], ["get", "a", "b"], ["get", ""], ["rm"], ["sync"], ["sync", "a", "b"],
    ["-o", "xml", "stats"], ["put", "a", "--in", "5"], ["put", "a", "--in", "5m", "--due", "1"],
    ["put", "a", "--due", "1763822400123"], ["put", "a", "--queue", "a b"], ["take", "0"],
    ["list", "--state", "sleeping"], ["sync", "x", "--on-bad", "ask"], ["pause"], ["peek", "x"],
    ["take", "--lease", "1ms"], ["stat", "0"], ["report"], ["sync", "x", "--prune-max", "20"],
    ["put", "a", "b", "c"], ["--nonsense"],
])
def test_a_wrong_call_is_refused_as_usage(arguments):
    done = run(*arguments)
    assert done.returncode == USAGE
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("program, arguments, hint", [
    ("everdue", ["--broker", "tcp://h:1", "ping"], "--endpoint tcp://h:1"),
    ("everdue", ["ping", "--broker=tcp://h:1"], "--endpoint tcp://h:1"),
    ("everdue-worker", ["--endpoint", "tcp://h:1", "--", "true"], "--broker tcp://h:1"),
])
def test_the_other_programs_name_for_the_broker_is_suggested(program, arguments, hint):
    done = subprocess.run([PROGRAMS / program, *arguments], capture_output=True, text=True,
                          check=False, timeout=20, env=environment())
    assert done.returncode == USAGE
    assert hint in done.stderr and "nrecognized" not in done.stderr


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["help", "sync"], ["sync", "--help"],
                                       ["--version"], ["put", "--version"]])
def test_help_and_version_are_data(arguments):
    done = run(*arguments)
    assert done.returncode == 0
    assert done.stdout and not done.stderr


def test_every_command_of_the_help_has_help_of_its_own():
    text = run("help").stdout
    names = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and
             not line.strip().startswith(("-", "("))]
    assert len(names) == 25
    for name in names:
        done = run("help", name)
        assert done.returncode == 0 and "Usage: everdue" in done.stdout


def test_what_is_no_lease_is_bad_data():
    done = run("report", "17")
    assert done.returncode == BAD_DATA
    assert "is no lease" in done.stderr


# --- records ---


def test_a_record_is_put_shown_and_removed(broker):
    put = broker.everdue("put", "feed-1", '{"etag": "x"}', "--in", "1h", "--every", "15m",
                         "--rank", "-2", "--group", "example.org", "--once")
    assert put.stdout == "created feed-1\n"
    assert broker.everdue("put", "feed-1", "--rank", "3").stdout == "changed feed-1\n"
    record = broker.json("get", "feed-1")
    assert record["payload"] == {"etag": "x"}
    assert (record["state"], record["every"], record["rank"]) == ("waiting", "15m", 3)
    assert (record["group"], record["once"], record["queue"]) == ("example.org", True, "default")
    text = broker.everdue("get", "feed-1").stdout
    assert 'payload      {"etag": "x"}' in text and "every        15m" in text
    assert broker.everdue("rm", "feed-1").stdout == "ok feed-1\n"
    assert 'no record "feed-1"' in refused(broker, "get", "feed-1", code=1)
    assert "no such record" in refused(broker, "rm", "feed-1", code=1)


def test_a_payload_may_come_from_standard_input(broker):
    broker.everdue("put", "a", "-", "--in", "1h", input="[1, 2]")
    assert broker.json("get", "a")["payload"] == [1, 2]
    broker.everdue("put", "a", "hello")
    assert broker.json("get", "a")["payload_b64"] == "aGVsbG8="
    assert "payload      hello" in broker.everdue("get", "a").stdout


def test_several_keys_have_an_answer_each(broker):
    broker.everdue("put", "a", "--in", "1h")
    done = broker.everdue("-o", "json", "run-now", "a", "b", check=False)
    assert done.returncode == 1
    answers = json.loads(done.stdout)
    assert [(answer["key"], answer["status"]) for answer in answers] == [
        ("a", "ok"), ("b", "not-found")]
    assert broker.json("get", "a")["state"] == "ready"


@pytest.mark.parametrize("command", ["list", "export", "peek"])
def test_a_queue_that_is_none_is_told_from_an_empty_one(broker, command):
    broker.everdue("put", "a", "-q", "feeds")
    broker.everdue("rm", "a", "-q", "feeds")
    assert broker.everdue(command, "-q", "feeds").returncode == 0
    assert 'there is no queue "fedes"' in refused(broker, command, "-q", "fedes", code=1)


def test_list_and_peek_show_what_is_there(broker):
    for i in range(5):
        broker.everdue("put", f"a/{i}", "--in", f"{5 - i}h", "-q", "q")
    broker.everdue("put", "b/0", "-q", "q")
    assert len(broker.json("list", "-q", "q")) == 6
    assert len(broker.lines("list", "-q", "q", "--prefix", "a/")) == 5
    assert [r["key"] for r in broker.lines("list", "-q", "q", "--state", "ready,parked")] == ["b/0"]
    assert [r["key"] for r in broker.lines("peek", "2", "-q", "q")] == ["b/0", "a/4"]
    table = broker.everdue("list", "-q", "q").stdout.splitlines()
    assert table[0].split() == ["KEY", "STATE", "DUE", "IN", "EVERY", "FAILURES", "NOTE"]
    assert len(table) == 7


# --- sets ---


def records(count, **members):
    return [{"key": f"feed-{i}", "due": "2040-01-01T00:00:00Z", "every": "15m", **members}
            for i in range(count)]


@pytest.mark.parametrize("name", ["feeds.jsonl", "feeds.jsonl.gz"])
def test_a_sync_makes_the_queue_equal_to_the_file(broker, directory, name):
    path = write_lines(directory / name, records(1000))
    done = broker.everdue("sync", path, "-q", "feeds")
    assert done.stdout.startswith("synced 1,000 records in ")
    assert done.stdout.endswith(": +1,000 new, ~0 changed, =0 unchanged, 0 rejected, "
                                "0 not in the file\n")
    assert done.stderr == ""
    path = write_lines(directory / name, records(990, rank=1)[:10] + records(990)[10:])
    done = broker.everdue("sync", path, "-q", "feeds")
    assert done.stdout.endswith(": +0 new, ~10 changed, =980 unchanged, 0 rejected, "
                                "10 not in the file (kept; --prune removes)\n")
    counts = broker.json("sync", path, "-q", "feeds", "--prune")
    assert (counts["records"], counts["unchanged"], counts["pruned"]) == (990, 990, 10)
    assert broker.stats()["records"] == 990


def test_an_export_is_what_sync_reads(broker, brokers):
    for i in range(50):
        broker.everdue("put", f"é {i}", ['{"a": [1, 2]}', "hello", "\x01\x02", ""][i % 4],
                       "--due", f"2040-01-01T00:00:00.{i:06}Z", "--rank", i % 3,
                       *(["--every", "1h"] if i % 2 else []), *(["--once"] if i % 5 else []))
    export = broker.everdue("export").stdout
    other = brokers()
    other.everdue("sync", "-", input=export)
    assert sorted(other.everdue("export").stdout.splitlines()) == sorted(export.splitlines())
    counts = broker.json("sync", "-", "--prune", input=export)
    assert (counts["unchanged"], counts["absent"]) == (50, 0)


def test_a_bad_line_changes_nothing(broker, directory):
    lines = records(100)
    lines[41] = {"key": "x", "due": 1763822400123}
    lines[70] = '{"key":"y","evry":"1m"}'
    path = write_lines(directory / "feeds.jsonl", lines)
    said = refused(broker, "sync", path, code=BAD_DATA)
    assert (f'everdue: {path}:42: "due" is 1763822400123, which looks like milliseconds; '
            "write due_ms or divide by 1000\n") in said
    assert f'everdue: {path}:71: unknown member "evry"; did you mean "every"?\n' in said
    assert broker.stats()["records"] == 0


def test_a_line_that_the_broker_refuses_changes_nothing(broker, directory):
    path = write_lines(directory / "feeds.jsonl", ["", *records(100), {"key": "feed-7"}])
    said = refused(broker, "sync", path, code=BAD_DATA)
    assert f"everdue: {path}:102: the key came before in this set\n" in said
    assert broker.stats()["records"] == 0


@pytest.mark.parametrize("from_stdin", [False, True])
def test_bad_lines_may_be_left_out(broker, directory, from_stdin):
    broker.everdue("put", "old", "--in", "1h")
    lines = [*records(100), '{"key":"x"', {"key": "feed-7", "rank": 2}]
    path = write_lines(directory / "feeds.jsonl", lines)
    rejects = directory / "rejects.jsonl"
    done = broker.everdue("sync", "-" if from_stdin else path, "--on-bad", "skip", "--rejects",
                          rejects, "--prune", input=path.read_text() if from_stdin else None)
    assert "+100 new" in done.stdout and "2 rejected" in done.stdout
    assert "2 bad lines were left out" in done.stderr and "nothing was pruned" in done.stderr
    found = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(reject["line"], reject["text"]) for reject in found] == [
        (101, '{"key":"x"'), (102, '{"key": "feed-7", "rank": 2}')]
    assert all(reject["reason"] for reject in found)
    assert broker.stats()["records"] == 101


def test_a_prune_above_the_share_changes_nothing(broker, directory):
    broker.everdue("sync", write_lines(directory / "a.jsonl", records(100)))
    path = write_lines(directory / "b.jsonl", records(50, rank=1))
    assert "--prune-max" in refused(broker, "sync", path, "--prune", code=1)
    assert "rank" not in broker.json("get", "feed-1")
    assert broker.stats()["records"] == 100
    broker.everdue("sync", path, "--prune", "--prune-max", "50%")
    assert broker.stats()["records"] == 50


def test_an_empty_file_does_not_empty_the_queue(broker, directory):
    broker.everdue("put", "a", "--in", "1h")
    path = write_lines(directory / "empty.jsonl", [])
    assert "--prune-max 100%" in refused(broker, "sync", path, "--prune", code=BAD_DATA)
    assert broker.stats()["records"] == 1
    broker.everdue("sync", path, "--prune", "--prune-max", "100%")
    assert broker.stats()["records"] == 0


def test_a_dry_run_changes_nothing(broker, directory):
    path = write_lines(directory / "feeds.jsonl", records(10))
    done = broker.everdue("sync", path, "--dry-run")
    assert done.stdout.startswith("would sync 10 records in ")
    assert "+10 new" in done.stdout and done.stdout.endswith("; nothing was changed\n")
    assert broker.stats()["records"] == 0


def test_records_that_are_due_at_once_are_warned_of(broker, directory):
    path = write_lines(directory / "feeds.jsonl", [{"key": f"k{i}"} for i in range(10)])
    done = broker.everdue("sync", path)
    assert done.stderr == ('everdue: warning: 10 new records without "due" and "every" are due at '
                           "once; --spread 1h spreads them\n")
    path = write_lines(directory / "more.jsonl", [{"key": f"l{i}"} for i in range(10)])
    assert broker.everdue("sync", path, "--spread", "1h").stderr == ""
    assert broker.everdue("sync", path, "--every", "1h").stderr == ""
    assert broker.json("get", "l1")["every"] == "1h"


def test_due_times_of_known_keys_are_kept_unless_taken(broker, directory):
    path = write_lines(directory / "feeds.jsonl", records(1))
    broker.everdue("put", "feed-0", "--due", "2041-01-01T00:00:00Z", "--every", "15m")
    broker.everdue("sync", path)
    assert broker.json("get", "feed-0")["due"] == "2041-01-01T00:00:00.000000Z"
    broker.everdue("sync", path, "--due", "take")
    assert broker.json("get", "feed-0")["due"] == "2040-01-01T00:00:00.000000Z"


def test_a_gzip_file_that_was_cut_off_changes_nothing(broker, directory):
    whole = write_lines(directory / "a.jsonl.gz", records(1000))
    cut = directory / "cut.jsonl.gz"
    cut.write_bytes(whole.read_bytes()[:-50])
    assert "the gzip file is cut off" in refused(broker, "sync", cut, code=IO_ERROR)
    assert broker.stats()["records"] == 0
    assert "No such file" in refused(broker, "sync", directory / "none", code=NO_INPUT)


def test_a_reader_that_goes_away_ends_the_command_quietly(broker, directory):
    broker.everdue("sync", write_lines(directory / "feeds.jsonl", records(20000)))
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -e "$1" export | head -n 1',
         PROGRAMS / "everdue", broker.endpoint], capture_output=True, text=True, check=False,
        timeout=30, env=environment())
    assert done.returncode == 0 and done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_full_disk_is_an_error(broker):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([PROGRAMS / "everdue", "-e", broker.endpoint, "stats"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=30,
                              env=environment())
    assert done.returncode == IO_ERROR
    assert "No space left" in done.stderr


def test_a_backup_holds_all_records(durable_broker, brokers, directory):
    durable_broker.everdue("put", "a", "1", "--in", "1h")
    durable_broker.everdue("backup", directory / "copy")
    copy = brokers(store=f"lmdb:{directory}/copy")
    assert copy.json("get", "a")["payload"] == 1


# --- by hand ---


def test_a_record_is_taken_and_reported_by_hand(broker):
    broker.everdue("put", "a", '{"n": 1}', "--every", "1h")
    task, = broker.json("take", "--lease", "30s")
    assert (task["key"], task["payload"], task["every_ms"]) == ("a", {"n": 1}, 3600000)
    assert 0 < task["deadline_ms"] <= 30000
    assert broker.json("get", "a")["state"] == "leased"
    assert broker.everdue("report", task["lease"], '{"memo": [1], "note": "done"}').stdout == "ok a\n"
    record = broker.json("get", "a")
    assert (record["state"], record["memo"], record["note"]) == ("waiting", [1], "done")
    assert broker.everdue("report", task["lease"]).returncode == 0  # the same answer again


def test_nothing_due_is_the_answer_no(broker):
    assert 'nothing is due in queue "default"' in refused(broker, "take", code=1)
    assert "nothing is due" in refused(broker, "take", "--wait", "100ms", code=TIMED_OUT)


def test_a_take_waits_for_the_first(broker):
    broker.everdue("put", "a", "--in", "300ms")
    task, = broker.json("take", "--wait", "5s")
    assert task["key"] == "a"


def test_several_are_taken_at_once(broker):
    for i in range(5):
        broker.everdue("put", f"k{i}")
    tasks = broker.lines("take", "3")
    assert [task["key"] for task in tasks] == ["k0", "k1", "k2"]
    assert broker.everdue("take").stdout.startswith("key        k3\nlease      ")


def test_a_result_without_a_next_time_is_refused(broker):
    broker.everdue("put", "a")
    task, = broker.json("take")
    assert "names no next time" in refused(broker, "report", task["lease"], code=BAD_DATA)
    assert "unknown member" in refused(broker, "report", task["lease"], '{"nots": 1}',
                                       code=BAD_DATA)
    broker.everdue("report", task["lease"], "-", input='{"outcome": "remove"}')
    assert broker.stats()["records"] == 0
    refused(broker, "report", task["lease"], code=1)


def test_a_parked_record_is_kicked(broker):
    broker.everdue("put", "a")
    task, = broker.json("take")
    broker.everdue("report", task["lease"], '{"outcome": "park", "error": "no route"}')
    record, = broker.lines("list", "--state", "parked")
    assert record["key"] == "a" and record["park_reason"]
    assert "everdue list --state parked" in broker.everdue("status").stdout
    assert "kick" in refused(broker, "run-now", "a", code=1)
    assert broker.everdue("kick").stdout == "kicked 1 record\n"
    assert broker.json("get", "a")["state"] == "ready"
    assert "not parked" in refused(broker, "kick", "a", code=1)


# --- looking and control ---

STATS = """records waiting ready leased parked workers created_total removed_total dispatched_total
    reports_ok_total reports_failed_total reports_park_total reports_remove_total expired_total
    stale_total refused_total lateness_p50_us lateness_p99_us lateness_max_us
    start_lateness_p99_us head_lateness_us store journal_bytes uptime_s version""".split()


def test_stats_have_the_promised_members(broker):
    broker.everdue("put", "a", "--in", "1h", "-q", "q")
    stats = broker.stats()
    assert [name for name in STATS if name not in stats] == []
    assert (stats["records"], stats["waiting"], stats["store"]) == (1, 1, "memory")
    assert broker.stats("q")["records"] == 1
    text = broker.everdue("stats").stdout
    assert all(name in text for name in STATS)


def test_stat_prints_a_line_each_time(broker):
    lines = broker.everdue("stat", "50ms", "3").stdout.splitlines()
    assert len(lines) == 4 and lines[0].split()[0] == "waiting"
    assert len(broker.lines("stat", "50ms", "3")) == 3


def test_status_speaks_in_sentences(broker):
    assert broker.everdue("status").stdout.startswith("All is well.\n0 records in ")
    broker.everdue("put", "a")
    text = broker.everdue("status").stdout
    assert "! Nobody works: 1 record due" in text
    assert broker.json("status")["well"] is False


def test_a_paused_queue_grants_nothing(broker):
    broker.everdue("put", "a", "-q", "q")
    assert broker.everdue("pause", "q").stdout == "paused q\n"
    refused(broker, "take", "-q", "q", code=1)
    assert "! Paused: q." in broker.everdue("status").stdout
    row, = [row for row in broker.lines("queues") if row["name"] == "q"]
    assert (row["records"], row["paused"]) == (1, 1)
    assert broker.everdue("resume", "q").stdout == "resumed q\n"
    assert broker.json("take", "-q", "q")[0]["key"] == "a"


def test_a_drain_waits_for_the_leases(broker):
    broker.everdue("put", "a", "--every", "1h")
    task, = broker.json("take")
    refused(broker, "drain", "--wait", "100ms", code=TIMED_OUT)
    broker.everdue("report", task["lease"])
    assert broker.everdue("drain").stdout.startswith("drained: ")
    broker.everdue("resume")
    broker.everdue("put", "b")
    assert broker.json("take")[0]["key"] == "b"


def test_workers_are_shown_with_their_names(broker, workers):
    workers(broker, "-n", "1", "--name", "web1", "--", "true")
    row = wait_until(lambda: broker.json("workers"))[0]
    assert {"name", "credit", "in_flight", "queues", "seen_ms", "reports_ok_total",
            "reports_failed_total", "connected_s"} <= set(row)
    assert "web1" in row["name"]
    assert "web1" in broker.everdue("workers").stdout


def test_a_ping_names_the_version(broker):
    assert broker.everdue("ping").stdout.startswith(f"pong from {broker.endpoint}, version ")
    assert set(broker.json("ping")) == {"endpoint", "version", "round_trip_us"}
