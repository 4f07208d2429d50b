"""What can go wrong, as exceptions. All are EverdueErrors; each says what, where and what to
try."""

from __future__ import annotations


class EverdueError(Exception):
    """Anything that this package raises about a broker or what it said."""


class Unreachable(EverdueError):
    """No broker answered, or the connection was lost in the middle of what cannot be repeated."""


class TimedOut(EverdueError):
    """The broker is there, and the answer did not come in time."""


class NotAllowed(EverdueError):
    """Security or the protocol's version forbids the session: trying again would not help.
    `status` is the broker's number for it (wire.Status)."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Refused(EverdueError):
    """The broker answered with an error; `status` is its number (wire.Status)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Conflict(Refused):
    """Another sync of the queue is under way."""


class SyncRefused(Refused):
    """A sync changed nothing; `rejected` has the bad lines as (number, key, status)."""

    def __init__(self, status: int, text: str,
                 rejected: list[tuple[int, str, int]] | None = None) -> None:
        super().__init__(status, text)
        self.rejected = rejected or []


class BadResult(EverdueError, ValueError):
    """A handler returned what is no result; the message names the member."""


class NoNext(BadResult):
    """A result without next time, of a record without every, at a handler without every."""
