"""What a power cut would have taken is taken back, and nothing else."""

import os
import random
import subprocess

import pytest

from forget import forget, unsynced
from harness import PROGRAMS

WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(fd, b"first..")
os.fsync(fd)
os.pwrite(fd, b"FIRST", 0)
os.fdatasync(fd)
os.pwrite(fd, b"lost!", 0)
os.write(fd, b"grown")
"""


@pytest.fixture
def written(tmp_path):
    """A file of 12 bytes, of which a sync covers FIRST.., and the log of its writes."""
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir()
    subprocess.run(
        ["/usr/bin/python3", "-c", WRITER, data / "file"], check=True, env=os.environ | {
            "LD_PRELOAD": str(PROGRAMS.parent / "lib" / "torture" / "forget.so"),
            "EVERDUE_FORGET_DIR": str(data), "EVERDUE_FORGET_LOG": str(log)})
    assert (data / "file").read_bytes() == b"lost!..grown"
    return data, log


def test_all_that_no_sync_covers_is_taken_back(written):
    data, log = written
    assert len(unsynced(log.read_bytes())) == 2
    assert forget(log, data) == 2
    assert (data / "file").read_bytes() == b"FIRST.."


def test_by_dice_a_beginning_is_kept(written):
    data, log = written
    before = (data / "file").read_bytes()
    found = set()
    for seed in range(20):
        (data / "file").write_bytes(before)
        forget(log, data, random.Random(seed))
        found.add((data / "file").read_bytes())
    assert found == {b"FIRST..", b"lost!..", b"lost!..grown"}


def test_a_torn_note_at_the_end_is_left_out(written):
    _, log = written
    assert len(unsynced(log.read_bytes()[:-3])) == 1
