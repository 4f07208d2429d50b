"""Durations, times and payloads, as people write them and as the wire carries them.

A duration is text such as `250ms 30s 5m 1h30m 2d`, a timedelta, or a number of seconds. A time is
RFC 3339, a datetime with a zone, or epoch seconds. The wire has whole microseconds for both.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

from .wire import TIME_US_MAX

UNITS_US = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
SECONDS_MAX = 1e11  # above, a number of seconds is most likely one of milliseconds

Duration = str | int | float | datetime.timedelta
Time = str | int | float | datetime.datetime


def bounded_us(value: float, given: object) -> int:
    """Rounded to whole microseconds, when it is in the protocol's range."""
    if not 0 <= value <= TIME_US_MAX:
        raise ValueError(f"{given!r} is out of range: 0 to 2^52 - 1 microseconds")
    return round(value)


def seconds_us(value: int | float, given: object) -> int:
    if value > SECONDS_MAX:
        raise ValueError(f"{given!r} seconds looks like milliseconds; divide by 1000")
    return bounded_us(value * 10**6, given)


def duration_us(value: Duration) -> int:
    """A duration in microseconds; ValueError or TypeError says what is wrong with it."""
    if isinstance(value, datetime.timedelta):
        return bounded_us(value / datetime.timedelta(microseconds=1), value)
    if isinstance(value, str):
        parts = PART.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            raise ValueError(f"{value!r} is no duration; write 250ms, 30s, 5m, 1h30m or 2d")
        return bounded_us(sum(float(number) * UNITS_US[unit] for number, unit in parts), value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return seconds_us(value, value)
    raise TypeError(f"{value!r} is no duration")


def duration_ms(value: Duration) -> int:
    """A duration in whole milliseconds, rounded up, so that what is short does not become none."""
    return -(-duration_us(value) // 1000)


def duration_s(value: Duration) -> float:
    return duration_us(value) / 10**6


def time_us(value: Time) -> int:
    """A moment in microseconds since the epoch, UTC."""
    if isinstance(value, str):
        if not re.search(r"(Z|z|[+-]\d\d:\d\d)$", value):
            raise ValueError(f"{value!r} names no zone; write 2026-11-22T15:00:00Z")
        # fromisoformat takes fractions of any length, and cuts them at microseconds.
        value = datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} names no zone; add tzinfo=datetime.timezone.utc")
        return bounded_us((value - EPOCH) // datetime.timedelta(microseconds=1), value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return seconds_us(value, value)
    raise TypeError(f"{value!r} is no time")


def to_datetime(us: int) -> datetime.datetime:
    return EPOCH + datetime.timedelta(microseconds=us)


def to_rfc3339(us: int) -> str:
    """As the `everdue` command writes it, with microseconds."""
    return to_datetime(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_payload(value: Any) -> bytes | None:
    """Bytes for a payload or memo: bytes as they are, anything else as JSON; None is none."""
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False,
                      separators=(",", ":")).encode()


def from_payload(data: bytes | None) -> Any:
    """A payload's JSON value, its bytes where it is no JSON, None where there is none."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
