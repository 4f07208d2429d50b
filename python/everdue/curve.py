"""CURVE keys: the broker's public one, and the pair of this process. `everdue keygen` makes
them."""

from __future__ import annotations

import dataclasses
import os
import re
import stat

KEY = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"  # Z85


@dataclasses.dataclass(frozen=True)
class Curve:
    """Keys in Z85, 40 characters each."""

    server_key: str
    public_key: str
    secret_key: str = dataclasses.field(repr=False)

    @classmethod
    def load(cls, server: str | os.PathLike[str], own: str | os.PathLike[str]) -> Curve:
        """From the broker's public key, or a file that holds it, and the file with this process's
        own two. OSError or ValueError says what is wrong."""
        text = os.fspath(server)
        if not re.fullmatch(KEY, text):
            text = read(text)
        found = re.search(rf'public-key = "({KEY})"', text) or re.fullmatch(rf"({KEY})\s*", text)
        if not found:
            raise ValueError(f"{server} is no key of 40 characters, nor a file that holds one")
        return cls(found[1], *read_pair(own))


def read(path: str | os.PathLike[str]) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(65536)


def read_pair(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Public and secret key. A file that others can read holds no secret."""
    text = read(path)
    pair = [re.search(rf'{name}-key = "({KEY})"', text) for name in ("public", "secret")]
    if not all(pair):
        raise ValueError(f"{path} holds no pair of keys; everdue keygen makes one")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        raise ValueError(f"{path} can be read by others (mode {mode:o}): chmod 600, or make a new "
                         "key")
    return pair[0][1], pair[1][1]
