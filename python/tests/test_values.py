"""Durations, times, payloads, and results as handlers write them."""

import datetime
import re

import pytest

import everdue
from conftest import ROOT
from everdue import errors, results, values
from everdue.records import Task, put_item

UTC = datetime.timezone.utc


def test_the_version_is_that_of_the_programs():
    header = (ROOT / "common" / "version.h").read_text("ascii")
    assert re.search(r'EVERDUE_VERSION "(.*)"', header)[1] == everdue.__version__


@pytest.mark.parametrize("given, us", [
    ("250ms", 250_000), ("30s", 30_000_000), ("1h30m", 5_400_000_000), ("2d", 172_800_000_000),
    ("1.5s", 1_500_000), (5, 5_000_000), (0.25, 250_000), (0, 0),
    (datetime.timedelta(minutes=5), 300_000_000)])
def test_durations(given, us):
    assert values.duration_us(given) == us


@pytest.mark.parametrize("given", ["", "5", "5 m", "m5", "-5m", "5x", "5m3", -1, float("nan"),
                                   "99999999d", 1e12])
def test_what_is_no_duration_is_refused(given):
    with pytest.raises(ValueError):
        values.duration_us(given)


@pytest.mark.parametrize("given", [None, True, b"5m", []])
def test_other_types_are_no_duration(given):
    with pytest.raises(TypeError):
        values.duration_us(given)


@pytest.mark.parametrize("given", [
    "2026-11-22T15:00:00Z", "2026-11-22T16:00:00.000000+01:00", 1795359600, 1795359600.0,
    datetime.datetime(2026, 11, 22, 15, tzinfo=UTC)])
def test_times(given):
    assert values.time_us(given) == 1795359600 * 10**6
    assert values.to_rfc3339(values.time_us(given)) == "2026-11-22T15:00:00.000000Z"


@pytest.mark.parametrize("given", ["2026-11-22T15:00:00", "soon", "2026-11-22", 1763822400123, -5,
                                   datetime.datetime(2026, 11, 22)])
def test_what_is_no_time_is_refused(given):
    with pytest.raises(ValueError):
        values.time_us(given)


def test_milliseconds_in_a_field_of_seconds_are_recognised():
    with pytest.raises(ValueError, match="looks like milliseconds"):
        values.time_us(1763822400123)


def test_payloads_are_json_or_bytes():
    for value in [{"a": [1, 2.5, None, "ä"]}, "text", 17, b"\xff\x00", [], None]:
        assert values.from_payload(values.to_payload(value)) == value
    with pytest.raises(ValueError):
        values.to_payload(float("nan"))


@pytest.mark.parametrize("record, word", [
    ({"key": "a", "evry": "5m"}, "evry"), ({"key": "a", "every": "5"}, "duration"),
    ({"key": "a", "payload": 1, "payload_b64": "eA=="}, "both"),
    ({"key": "a", "payload_b64": "?"}, "")])
def test_a_wrong_member_of_a_record_is_named(record, word):
    with pytest.raises(ValueError, match=word):
        put_item(record)


# --- results ---


def task(every_us=0, once=None):
    fields = [0, "key", 17, 16, 0, 0, 0, 0, 60000, None, None, None, every_us, 0, once]
    return Task(fields, ["q"], 0.0)


HEAD = [0, "key", 17, 16]


@pytest.mark.parametrize("result, rest", [
    ({"in": "5m"}, [0, None, 300_000_000, 1, 2]),
    ({"next": "2026-11-22T15:00:00Z"}, [0, 1795359600 * 10**6, None, 1, 2]),
    ({"outcome": "remove"}, [3, None, None, 1, 2]),
    ({"outcome": "retry", "in": 1}, [1, None, 1_000_000, 1, 2] + [None] * 5 + [1]),
    ({"outcome": "park", "error": "why"}, [2, None, None, 1, 2] + [None] * 4 + ["why"]),
    ({"in": 1, "memo": {"etag": "x"}, "payload": b"p", "rank": -1, "note": "n"},
     [0, None, 1_000_000, 1, 2, b'{"etag":"x"}', b"p", -1, "n"]),
    ({"in": 1, "memo": None}, [0, None, 1_000_000, 1, 2, b""])])
def test_results_become_reports(result, rest):
    assert results.report_item(task(), result, 0, 1, 2) == HEAD + rest


def test_an_ok_may_leave_the_next_time_to_record_handler_or_once():
    assert results.report_item(task(every_us=5), None, 0, 1, 2) == [*HEAD, 0, None, None, 1, 2]
    assert results.report_item(task(every_us=5), None, 7, 1, 2) == [*HEAD, 0, None, None, 1, 2]
    assert results.report_item(task(), {}, 7, 1, 2) == [*HEAD, 0, None, 7, 1, 2]
    assert results.report_item(task(once=True), None, 7, 1, 2) == [*HEAD, 0, None, None, 1, 2]
    with pytest.raises(errors.NoNext):
        results.report_item(task(), None, 0, 1, 2)


@pytest.mark.parametrize("result, word", [
    ("ok", "mapping"), ({"outcome": "fine"}, "fine"), ({"nxt": 1}, "nxt"), ({"in": "5"}, "in:"),
    ({"in": 1, "next": 1}, "both"), ({"rank": 1.5}, "rank"), ({"rank": 1 << 63}, "rank"),
    ({"note": 5, "in": 1}, "note"), ({"memo": {1, 2}, "in": 1}, "memo")])
def test_what_is_no_result_is_named(result, word):
    with pytest.raises(errors.BadResult, match=word):
        results.report_item(task(), result, 0, 1, 2)
