"""The wall clock of a running broker is set; leases and waits go by the other."""

import glob
import subprocess

import pytest

from conftest import PROGRAMS, environment, wait_until

TEN_YEARS, TEN_YEARS_BACK = "+315360000s", "-315360000s"


@pytest.fixture
def library():
    """libfaketime."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        pytest.skip("Debian's package faketime is not installed")
    return found[0]


@pytest.fixture
def stepped(directory, free_endpoint, library):
    """A broker whose wall clock a file sets: set_clock("-3600s")."""
    offset = directory / "offset"
    offset.write_text("+0\n")
    endpoint = free_endpoint()
    child = subprocess.Popen(
        [PROGRAMS / "everdue-broker", "--store", "memory", "--listen", endpoint],
        stderr=open(directory / "broker.log", "wb"),
        env=environment() | {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset),
                             "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"})

    def everdue(*arguments):
        return subprocess.run([PROGRAMS / "everdue", "-e", endpoint, *arguments], check=False,
                              capture_output=True, text=True, env=environment()).stdout

    def set_clock(text):
        offset.write_text(text + "\n")
        everdue("ping")  # a turn in which it is seen

    everdue.set_clock = set_clock
    wait_until(lambda: "pong" in everdue("ping"), what="the broker's answer")
    yield everdue
    child.terminate()
    assert child.wait(10) == 0


@pytest.mark.parametrize("step", ["-3600s", TEN_YEARS_BACK])
def test_status_says_that_the_clock_was_set_back_and_nothing_is_early(stepped, step):
    stepped("put", "soon", "--in", "1s")
    stepped("put", "out")
    assert "out" in stepped("take", "--lease", "1h")
    stepped.set_clock(step)
    assert "The wall clock was set back by" in stepped("status")
    assert "waiting" in stepped("get", "soon")
    assert "leased" in stepped("get", "out")
    stepped.set_clock("+0")
    wait_until(lambda: "ready" in stepped("get", "soon"), what="the time before the step")


def test_a_clock_set_forward_makes_due_what_was_to_come_ten_seconds_later(stepped):
    stepped("put", "later", "--in", "1h")
    assert "waiting" in stepped("get", "later")
    stepped.set_clock(TEN_YEARS)
    assert "The wall clock was set forward by" in stepped("status")
    assert "waiting" in stepped("get", "later")
    stepped("put", "soon", "--in", "1s")
    wait_until(lambda: "ready" in stepped("get", "soon"), what="what is due by the time before")
    assert "waiting" in stepped("get", "later")
    wait_until(lambda: "ready" in stepped("get", "later"), seconds=30, what="the end of the hold")


def test_a_clock_that_is_put_right_soon_makes_nothing_due(stepped):
    stepped("put", "later", "--in", "1h")
    stepped.set_clock(TEN_YEARS)
    assert "waiting" in stepped("get", "later")
    stepped.set_clock("+0")
    assert "The wall clock was set back by" in stepped("status")
    stepped("put", "soon", "--in", "1s")
    wait_until(lambda: "ready" in stepped("get", "soon"), what="the second")
    assert "waiting" in stepped("get", "later")


def test_a_clock_that_was_never_set_is_refused_where_that_is_asked_for(library, free_endpoint):
    def run(*options):
        child = subprocess.Popen(
            [PROGRAMS / "everdue-broker", "--store", "memory", "--listen", free_endpoint(),
             *options], stderr=subprocess.PIPE, text=True,
            env=environment() | {"LD_PRELOAD": library, "FAKETIME": "@2001-01-01 00:00:00",
                                 "DONT_FAKE_MONOTONIC": "1"})
        line = child.stderr.readline()
        while "was built" not in line and "ready" not in line and line:
            line = child.stderr.readline()
        if "ready" in line:
            child.terminate()
        child.communicate(timeout=20)
        return line, child.returncode

    line, code = run("--require-sane-clock")
    assert "the wall clock says 2001-01-01T00:0" in line and code == 71
    line, code = run()
    assert " ready " in line and code == 0
