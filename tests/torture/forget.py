"""forget.py - takes back from files what a power cut would have taken: see forget.c.

    forget(log, directory, dice)    # undoes all writes that no sync covers, or (by dice) some
"""

import pathlib
import random
import struct

NOTE = struct.Struct("=6Q")  # as struct note in forget.c
WROTE, SYNCED = 1, 2


def notes(log: bytes):
    """(kind, number, inode, offset, size, bytes) each; a torn last one is left out."""
    place = 0
    while place + NOTE.size <= len(log):
        kind, number, inode, offset, size, count = NOTE.unpack_from(log, place)
        place += NOTE.size
        if place + count > len(log):
            return
        yield kind, number, inode, offset, size, log[place:place + count]
        place += count


def unsynced(log: bytes) -> list[tuple]:
    """The writes that no sync of their file covers, latest first."""
    writes, covered = [], {}
    for note in notes(log):
        if note[0] == WROTE:
            writes.append(note)
        else:
            covered[note[2]] = max(note[1], covered.get(note[2], 0))
    return [note for note in reversed(writes) if note[1] >= covered.get(note[2], 0)]


def forget(log: pathlib.Path, directory: pathlib.Path, dice: random.Random | None = None) -> int:
    """Undo what the disk need not have kept; with dice, each file keeps its first so many writes.
    Returns how many writes were undone."""
    files = {path.stat().st_ino: path for path in directory.rglob("*") if path.is_file()}
    undone, keep = 0, {}
    lost = unsynced(log.read_bytes())
    for _, number, inode, offset, size, was in lost:
        mine = [note[1] for note in lost if note[2] == inode]
        first = keep.setdefault(inode, dice.choice([*mine, max(mine) + 1]) if dice else 0)
        if number < first or inode not in files:
            continue
        with open(files[inode], "r+b") as file:
            file.seek(offset)
            file.write(was)
            if size < file.seek(0, 2):
                file.truncate(size)
        undone += 1
    return undone
