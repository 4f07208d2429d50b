"""What `cmake --install` puts somewhere is enough to build and run a worker in C."""

import json
import os
import re
import shlex
import subprocess

import pytest

from conftest import PROGRAMS, ROOT, environment, wait_until

BUILD = PROGRAMS.parent
EXAMPLE = re.compile(r"```c\n(#include <everdue/worker\.h>.*?)```", re.S)


def run(*command, env=None):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=60, check=False, env=environment() | (env or {}))
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def prefix(directory):
    if not (BUILD / "CMakeCache.txt").exists():
        pytest.skip(f"{BUILD} is no build folder")
    run("cmake", "--install", BUILD, "--prefix", directory / "prefix")
    return directory / "prefix"


def flags(prefix):
    """What pkg-config says, and the folder that the loader needs."""
    (described,) = prefix.glob("lib/**/everdue.pc")
    text = run("pkg-config", "--cflags", "--libs", "everdue",
               env={"PKG_CONFIG_PATH": str(described.parent)})
    return shlex.split(text), described.parents[1]


def readme_worker(endpoint):
    """The worker of the README, with what it checks by, and where the broker is."""
    source = EXAMPLE.search((ROOT / "README.md").read_text(encoding="utf-8")).group(1)
    assert "{.queues" in source
    source = source.replace("{.queues", "{.endpoint = " + json.dumps(endpoint) + ", .queues")
    check = "static int check(const void *key, size_t count) { return key && count == 5; }\n"
    return source.replace("\nstatic void handle", "\n" + check + "\nstatic void handle", 1)


def test_the_worker_of_the_readme_builds_against_what_is_installed_and_works(
        broker, prefix, directory):
    (directory / "worker.c").write_text(readme_worker(broker.endpoint), encoding="utf-8")
    arguments, libraries = flags(prefix)
    run(os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror",
        directory / "worker.c", "-o", directory / "worker", *arguments)

    broker.everdue("put", "host1", "--queue", "hosts")
    broker.everdue("put", "not-reachable", "--queue", "hosts")
    worker = subprocess.Popen([directory / "worker"],
                              env=environment() | {"LD_LIBRARY_PATH": str(libraries)})
    try:
        def both_reported():
            stats = broker.stats("hosts")
            return stats["reports_ok_total"] == 1 and stats["reports_failed_total"] >= 1

        wait_until(both_reported, what="a report of each kind")
    finally:
        worker.terminate()
        worker.wait()
    assert broker.json("get", "host1", "--queue", "hosts")["failures"] == 0
    assert broker.json("get", "not-reachable", "--queue", "hosts")["failures"] >= 1


def test_the_installed_programs_say_their_version(prefix):
    for program in "everdue", "everdue-broker", "everdue-worker":
        assert run(prefix / "bin" / program, "--version").startswith(program + " ")
