"""How the programs are built, and what a service manager is told."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import PROGRAMS, ROOT, environment, wait_until

SANITIZED = "debug" in str(PROGRAMS)
UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True,
                          timeout=60).stdout


# --- how they are built ---


@pytest.mark.skipif(SANITIZED, reason="sanitizers take the place of some of it")
@pytest.mark.parametrize("path", [PROGRAMS / name for name in ("everdue", "everdue-broker",
                                                               "everdue-worker")]
                         + [PROGRAMS.parent / "lib" / "libeverdue.so"], ids=lambda path: path.name)
def test_what_is_shipped_is_hardened(path):
    header, program = readelf("-h", path), readelf("-l", path)
    dynamic, symbols = readelf("-d", path), readelf("-s", path)
    assert re.search(r"Type:\s+DYN", header)  # a program can be loaded anywhere
    if path.suffix != ".so":
        assert "PIE" in dynamic
    assert "GNU_RELRO" in program and re.search(r"BIND_NOW|FLAGS.*NOW", dynamic)
    stack = next(line for line in program.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack and not re.search(r"LOAD.*RWE", program)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__(snprintf|vsnprintf|memcpy|strcpy)_chk", symbols)
    assert "TEXTREL" not in dynamic and "RPATH" not in dynamic
    if os.uname().machine == "x86_64":
        # Each of our functions begins with one; the note of the whole needs a libc built so, too.
        code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True,
                              text=True, check=True, timeout=60).stdout
        assert code.count("endbr64") > 200


# --- units ---


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_well_formed_and_closed(unit, directory):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not there")
    place = directory / unit.name.replace("@.", "@feeds.")
    place.write_text(unit.read_text().replace("/usr/bin/everdue", f"{PROGRAMS}/everdue"))
    (directory / "worker-feeds.env").touch()
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", place], capture_output=True,
                              text=True, timeout=60, check=False, env=environment())
    mine = [line for line in verified.stderr.splitlines() if "everdue" in line]
    assert mine == [] and verified.returncode == 0, verified.stderr
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", place],
                            capture_output=True, text=True, timeout=60, check=False,
                            env=environment())
    exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", judged.stdout).group(1))
    print(f"{unit.name}: exposure {exposure}")
    assert exposure <= (1.5 if "broker" in unit.name else 3.0), judged.stdout


def test_the_broker_tells_that_it_is_ready_lives_and_stops(directory, processes):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(directory / "notify"))
    listener.settimeout(20)
    broker = processes("everdue-broker", "--store", "memory", "--listen", f"ipc://{directory}/s",
                       env={"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "400000"})
    said = [listener.recv(64) for _ in range(6)]
    assert said[0] == b"READY=1" and said[1:] == [b"WATCHDOG=1"] * 5
    broker.signal(signal.SIGSTOP)  # a turn that hangs is noticed by its silence
    wait_until(lambda: open(f"/proc/{broker.pid}/stat").read().split()[2] == "T")
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            listener.recv(64)
    listener.settimeout(1)
    with pytest.raises(TimeoutError):
        listener.recv(64)
    broker.signal(signal.SIGCONT)
    listener.settimeout(20)
    assert listener.recv(64) == b"WATCHDOG=1"
    broker.signal(signal.SIGTERM)
    wait_until(lambda: listener.recv(64) == b"STOPPING=1", what="the word that it stops")
    assert broker.wait() == 0


def test_a_watchdog_of_another_process_is_not_fed(directory, processes):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(directory / "notify"))
    listener.settimeout(20)
    processes("everdue-broker", "--store", "memory", "--listen", f"ipc://{directory}/s",
              env={"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "400000",
                   "WATCHDOG_PID": "1"})
    assert listener.recv(64) == b"READY=1"
    listener.settimeout(0.7)
    with pytest.raises(TimeoutError):
        listener.recv(64)
