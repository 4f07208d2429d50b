"""Python values as payloads: what compat.HeapManager pushes and pops.

What JSON says exactly is JSON, so that the command and handlers in other languages read it.
Anything else is one byte that begins no JSON, then msgpack with types of its own for tuples, sets,
dates, big numbers and objects.

An object is its class's name and its attributes. No code of its class runs when it is read again,
and only classes of modules that are loaded already and are not Python's own are made: so a record
that somebody else wrote runs nothing, as a pickle could.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import json
import math
import sys
import uuid
from typing import Any

import msgpack

from . import values

MARK = b"\xc1"
TUPLE, SET, FROZENSET, OBJECT, NAMEDTUPLE, ENUM = range(1, 7)
DEPTH_MAX = 100
AS_TEXT = {  # code: (type, to text, from text)
    20: (int, str, int),
    21: (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    22: (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    23: (decimal.Decimal, str, decimal.Decimal),
    24: (uuid.UUID, str, uuid.UUID)}
COLLECTIONS = {TUPLE: tuple, SET: set, FROZENSET: frozenset}


def encode(value: Any) -> bytes:
    """A payload. TypeError names what cannot be carried."""
    if is_json(value, 0):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return MARK + pack(value)


def decode(payload: bytes | None) -> Any:
    """The value of a payload, also of one that another program wrote."""
    if payload is None or not payload.startswith(MARK):
        return values.from_payload(payload)
    return unpack(payload[1:])


def content_key(payload: bytes) -> str:
    """A key for a record that names none: equal contents have the same."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


def is_json(value: Any, depth: int) -> bool:
    """Whether JSON gives exactly this value back."""
    kind = type(value)
    if kind in (str, int, bool) or value is None:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth > DEPTH_MAX:
        raise TypeError("a record is nested too deeply, or contains itself")
    if kind is list:
        return all(is_json(each, depth + 1) for each in value)
    return kind is dict and all(type(name) is str and is_json(each, depth + 1)
                                for name, each in value.items())


# --- what JSON cannot say ---


def pack(value: Any) -> bytes:
    try:
        return msgpack.packb(value, default=to_extension, strict_types=True)
    except (OverflowError, RecursionError, ValueError) as error:
        raise TypeError(f"{type(value).__name__} cannot be carried: {error}") from None


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=from_extension, strict_map_key=False)


def to_extension(value: Any) -> msgpack.ExtType:
    kind = type(value)
    for code, (known, to_text, _) in AS_TEXT.items():
        if kind is known:
            return msgpack.ExtType(code, to_text(value).encode())
    for code, known in COLLECTIONS.items():
        if kind is known:
            ordered = list(value) if code == TUPLE else sorted(value, key=pack)
            return msgpack.ExtType(code, pack(ordered))
    name = class_name(kind)
    if isinstance(value, enum.Enum):
        return msgpack.ExtType(ENUM, pack([*name, value.name]))
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return msgpack.ExtType(NAMEDTUPLE, pack([*name, list(value)]))
    if isinstance(value, (int, float, str, bytes, dict, list, tuple, set, BaseException)):
        raise TypeError(f"{kind.__name__} derives from a type of Python's own and cannot be "
                        "carried")
    return msgpack.ExtType(OBJECT, pack([*name, attributes(value)]))


def attributes(value: Any) -> dict[str, Any]:
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def class_name(kind: type) -> tuple[str, str]:
    """Module and name, when the class can be found by them."""
    name = kind.__module__, kind.__qualname__
    if find_class(*name) is not kind:
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be carried: not a class at "
                        "the top of a module of yours")
    return name


def find_class(module: str, name: str) -> type | None:
    """A class of a loaded module that is not Python's own, else None."""
    if module.partition(".")[0] in sys.stdlib_module_names or module == "builtins":
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) else None


def from_extension(code: int, data: bytes) -> Any:
    if code in AS_TEXT:
        return AS_TEXT[code][2](data.decode())
    if code in COLLECTIONS:
        return COLLECTIONS[code](unpack(data))
    if code not in (OBJECT, NAMEDTUPLE, ENUM):
        raise ValueError(f"a record holds an unknown type {code}")
    module, name, content = unpack(data)
    kind = find_class(module, name)
    if kind is None:
        raise ValueError(f"a record holds a {module}.{name}; import {module} before you pop")
    if code == ENUM and issubclass(kind, enum.Enum):
        return kind[content]
    if code == NAMEDTUPLE and issubclass(kind, tuple):
        return tuple.__new__(kind, content)
    if code != OBJECT:
        raise ValueError(f"a record holds a {module}.{name} that is no such type here")
    made = object.__new__(kind)
    for member, value in content.items():
        object.__setattr__(made, member, value)
    return made
