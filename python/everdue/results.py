"""What a handler returns, and how a function becomes a handler.

A result is None (ok, due again by every), or a mapping with any of: outcome (ok, retry, park,
remove), next (a time) or in (a duration), memo, payload, rank, note, error, stop.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping

from . import values, wire
from .errors import BadResult, NoNext
from .records import Task

MEMBERS = frozenset(["outcome", "next", "in", "memo", "payload", "rank", "note", "error", "stop"])


@dataclasses.dataclass(frozen=True)
class Handler:
    """A function with the options that `@handler` gave it. `batch` 0: one task a call."""

    function: Callable[..., Any]
    every_us: int = 0
    batch: int = 0
    credit: int | None = None
    queues: tuple[str, ...] = ()

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def handler(function: Callable | None = None, *, every: values.Duration | None = None,
            batch: int = 0, credit: int | None = None,
            queue: str | list[str] | None = None) -> Any:
    """Make a handler of a function.

    every: the next time of a record for which neither result nor record name one. batch: call the
    function with a list of at most so many tasks; it returns None, or a result for each. credit:
    how many records a process holds at most (by what it finishes). queue: where the work comes
    from. Options of the command line win.
    """
    def wrap(function: Callable) -> Handler:
        if batch < 0 or batch > wire.ITEMS_MAX:
            raise ValueError(f"batch is 0 to {wire.ITEMS_MAX}")
        queues = (queue,) if isinstance(queue, str) else tuple(queue or ())
        return Handler(function, values.duration_us(every) if every else 0, batch, credit, queues)

    return wrap(function) if function else wrap


def check_text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadResult(f"{name} is {value!r}, not text")
    return value


def to_data(name: str, value: Any) -> bytes | None:
    """A memo or payload of a result. An explicit None clears it, which the wire says as empty."""
    try:
        return values.to_payload(value) or b""
    except (TypeError, ValueError) as error:
        raise BadResult(f"{name}: {error}") from None


def next_of(result: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The wire's due and in, of which one at least is None."""
    due, after = result.get("next"), result.get("in")
    if due is not None and after is not None:
        raise BadResult("both next and in")
    try:
        return (None if due is None else values.time_us(due),
                None if after is None else values.duration_us(after))
    except (TypeError, ValueError) as error:
        raise BadResult(f"{'next' if after is None else 'in'}: {error}") from None


def report_item(task: Task, result: Mapping[str, Any] | None, every_us: int, waited_us: int,
                ran_us: int) -> list:
    """The item of a REPORT. BadResult says what is no result; NoNext, that no next time is
    named."""
    if result is None:
        result = {}
    elif not isinstance(result, Mapping):
        raise BadResult(f"a result is None or a mapping, not {result!r}")
    unknown = result.keys() - MEMBERS
    if unknown:
        raise BadResult(f"unknown member {sorted(map(str, unknown))[0]!r}")
    outcome = wire.OUTCOMES.get(result.get("outcome", "ok"))
    if outcome is None:
        raise BadResult(f"outcome is {result['outcome']!r}; it is ok, retry, park or remove")
    due, after = next_of(result)
    rank = result.get("rank")
    if rank is not None and (type(rank) is not int
                             or not wire.RANK_MIN <= rank <= wire.RANK_MAX):
        raise BadResult(f"rank is {rank!r}, not a whole number of 64 bits")
    error = check_text("error", result.get("error"))
    if outcome == 0 and due is None and after is None and not task.every_us and not task.once:
        if not every_us:
            raise NoNext(f"the result for {task.key!r} names no next time and the record has no "
                         "interval; return one (\"in\": \"5m\") or set --every")
        after = every_us
    cause = wire.CAUSE_FAILED if outcome == 1 else None
    return wire.trim([
        task.qi, task.key, task.lease, task.state, outcome, due, after, waited_us, ran_us,
        to_data("memo", result["memo"]) if "memo" in result else None,
        to_data("payload", result["payload"]) if "payload" in result else None, rank,
        check_text("note", result.get("note")), error, cause])


def failed_item(task: Task, error: str, waited_us: int, ran_us: int,
                cause: int = wire.CAUSE_FAILED) -> list:
    """The item of a REPORT for a run that failed: again, with back-off."""
    return [task.qi, task.key, task.lease, task.state, 1, None, None, waited_us, ran_us, None, None,
            None, None, error[:1024], cause]
