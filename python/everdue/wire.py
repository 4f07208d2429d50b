"""Messages of the Everdue protocol, version 1 (docs/protocol.md): numbers, packing, unpacking.

A message is one msgpack array, [version, type, field...]. Fields that are missing at the end are
nil, and items are sent without the Nones at their end; fields beyond those known are left alone.
"""

from __future__ import annotations

import enum
from typing import Any, Iterable, Iterator, NamedTuple

import msgpack

VERSION = 1
MESSAGE_BYTES_MAX = 1 << 20
ITEMS_MAX = 4096
BATCH_BYTES = 256 << 10  # of requests with many items: small enough to be answered soon
ITEM_BYTES_MAX = MESSAGE_BYTES_MAX - 1024  # beside it there must be room for a head
TIME_US_MAX = (1 << 52) - 1
RANK_MIN, RANK_MAX = -(1 << 63), (1 << 63) - 1


class Kind(enum.IntEnum):
    """Types of messages."""

    HELLO, CREDIT, REPORT, TOUCH, GIVE_BACK, RESUME, TAKE, GOODBYE, PING, PONG = range(1, 11)
    PUT, REMOVE, RUN_NOW, KICK, GET, LIST, PEEK = range(16, 23)
    SYNC_BEGIN, SYNC_CHUNK, SYNC_COMMIT, SYNC_ABORT = range(24, 28)
    PAUSE, UNPAUSE, DRAIN = range(32, 35)
    STATS, WORKERS, QUEUES, BACKUP = range(36, 40)
    WELCOME, TASKS, CANCEL, ANSWER, ERROR, BYE = range(64, 70)


class Status(enum.IntEnum):
    """Codes of requests and items. 0 and above are successes."""

    OK, CREATED, CHANGED, UNCHANGED, PENDING = range(5)
    STALE, GONE, NOT_FOUND, BUSY, NO_SPACE, TOO_LARGE = range(-1, -7, -1)
    BAD_KEY, BAD_TIME, BAD_FIELD, TOO_MANY, CONFLICT, MISMATCH = range(-7, -13, -1)
    PRUNE_GUARD, DUPLICATE, LEASED, NOT_PARKED, PARKED, DRAINING = range(-13, -19, -1)
    TIMED_OUT, NO_SESSION, NO_NEXT, MALFORMED, UNKNOWN_TYPE, VERSION = range(-19, -25, -1)
    DENIED, IO, CORRUPT, NO_MEMORY, LOCKED, UNREACHABLE, INTERRUPTED = range(-25, -32, -1)


# A report (or a whole request) that meets one of these is sent again a second later.
PASSING = frozenset([Status.BUSY, Status.NO_SPACE, Status.NO_MEMORY, Status.IO])

OUTCOMES = {"ok": 0, "retry": 1, "park": 2, "remove": 3}
CAUSE_NONE, CAUSE_FAILED, CAUSE_TIMED_OUT, CAUSE_KILLED = range(4)
STATES = {"waiting": 1, "ready": 2, "leased": 4, "parked": 8}


class ProtocolError(ValueError):
    """Bytes that are no message of this protocol."""


class Answer(NamedTuple):
    """The answer to one request: its status as a whole, its body, and words for people."""

    status: int
    body: Any = None
    text: str | None = None


def status_name(status: int) -> str:
    """The name as the document writes it; the number where it is not known."""
    try:
        return Status(status).name.lower().replace("_", "-")
    except ValueError:
        return str(status)


def trim(fields: list) -> list:
    """Without the Nones at the end. Changes and returns the list itself."""
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def pack(kind: int, *fields: Any) -> bytes:
    """A message, with the fields as they are given."""
    return msgpack.packb([VERSION, int(kind), *fields])


def array_head(count: int) -> bytes:
    """The first bytes of an array of so many."""
    return msgpack.Packer().pack_array_header(count)


def pack_before(kind: int, *fields: Any, items: bytes) -> bytes:
    """A message whose last field is packed already: the items, which a checksum may cover."""
    packed = b"".join(map(msgpack.packb, (VERSION, int(kind), *fields)))
    return array_head(len(fields) + 3) + packed + items


def batches(items: Iterable, bytes_max: int = BATCH_BYTES) -> Iterator[tuple[int, bytes]]:
    """Items as they are sent, in arrays of at most so many bytes and ITEMS_MAX items: (count,
    packed array). An item over MESSAGE_BYTES_MAX is a ValueError."""
    packed: list[bytes] = []
    size = 0
    packer = msgpack.Packer()
    for item in items:
        data = packer.pack(item)
        if len(data) > ITEM_BYTES_MAX:
            raise ValueError(f"an item of {len(data)} bytes fits no message")
        if packed and (size + len(data) > bytes_max or len(packed) == ITEMS_MAX):
            yield len(packed), array_head(len(packed)) + b"".join(packed)
            packed, size = [], 0
        packed.append(data)
        size += len(data)
    if packed:
        yield len(packed), array_head(len(packed)) + b"".join(packed)


def unpack(frame: bytes) -> list:
    """A message as [type, field...]; ProtocolError when it is none, or of another version."""
    try:
        # Sizes are bounded by the frame's own length. A str that is no UTF-8 comes through
        # unharmed, because bin may be sent as str.
        message = msgpack.unpackb(frame, strict_map_key=False, unicode_errors="surrogateescape")
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"no msgpack: {error}") from None
    if not isinstance(message, list) or len(message) < 2 or type(message[1]) is not int:
        raise ProtocolError("no array that begins with version and type")
    if message[0] != VERSION:
        raise ProtocolError(f"version {message[0]!r}, not {VERSION}")
    return message[1:]


def as_bytes(value: str | bytes | None) -> bytes | None:
    """A bin field, which may have come as str."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def as_text(value: str | bytes | None) -> str | None:
    """A str field, which may have come as bin."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
