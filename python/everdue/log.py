"""Lines on standard error, as the other programs write them: time, program, level, message,
values."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

PROGRAM = "everdue.worker"
LEVELS = ("error", "warning", "notice", "info", "debug")


class Log:
    """`level` is the most talkative one that is written."""

    def __init__(self, form: str = "text", level: str = "info") -> None:
        self.form = form
        self.levels = LEVELS[:LEVELS.index(level) + 1]

    def write(self, level: str, message: str, **values: Any) -> None:
        if level not in self.levels:
            return
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"
        if self.form == "json":
            line = json.dumps({"time": stamp, "program": PROGRAM, "level": level,
                               "message": message, **values}, default=str)
        else:
            words = [f"{name}={printable(value)}" for name, value in values.items()]
            line = " ".join([stamp, PROGRAM, level, printable(message), *words])
        # One write, so that lines of several processes do not mix.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def printable(value: Any) -> str:
    """Without anything that a terminal or a reader of lines would take for more than text."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(value))
