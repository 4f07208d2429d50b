"""docs/operations.md, "Keys for a broker and two remote workers", done as a new user would."""

import os
import re
import shutil
import signal
import subprocess

import pytest

import netns
from conftest import PROGRAMS, ROOT, environment, wait_until


def documented_lines():
    """The ten lines, and the one that puts a record."""
    text = (ROOT / "docs" / "operations.md").read_text()
    text = text[text.index("## Keys for a broker and two remote workers"):]
    setup, put_one = re.findall(r"```sh\n(.*?)```", text, re.S)[:2]
    assert len(setup.splitlines()) == 10
    return setup.splitlines(True), put_one


def test_the_ten_lines_of_the_documentation_work_as_they_are_written(directory, free_endpoint):
    setup, put_one = documented_lines()
    port = free_endpoint().rpartition(":")[2]

    def here(lines):
        return lines.replace("BROKER", "127.0.0.1").replace("7790", port)

    (directory / "check.sh").write_text('#!/bin/sh\necho "$1" >> checked\n')
    (directory / "check.sh").chmod(0o755)
    env = environment() | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}",
                           "EVERDUE_STORE": f"lmdb:{directory}/store"}
    shell = subprocess.Popen(["sh", "-euc", here("".join(setup)) + "wait"], cwd=directory, env=env,
                             start_new_session=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    try:
        def put_is_accepted():
            done = subprocess.run(["sh", "-euc", here(put_one)], cwd=directory, env=env,
                                  capture_output=True, text=True, timeout=30, check=False)
            return done.returncode == 0

        wait_until(put_is_accepted, seconds=20, what="the put")
        wait_until((directory / "checked").exists, what="the worker's run")
        assert "https://example.org/feed.xml" in (directory / "checked").read_text()

        def workers():
            return subprocess.run(
                [PROGRAMS / "everdue", "-e", f"tcp://127.0.0.1:{port}", "--curve-server",
                 "broker.key.pub", "--curve-key", "me.key", "-o", "jsonl", "workers"],
                cwd=directory, env=env, capture_output=True, text=True, timeout=30,
                check=True).stdout.splitlines()

        wait_until(lambda: len(workers()) >= 2, what="processes of both workers")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.communicate(timeout=30)

@pytest.fixture
def machines():
    """Makes nodes of a network of their own; what runs there has ended before."""
    if reason := netns.why_not():
        pytest.skip(reason)
    with netns.Network() as network:
        yield network.node


def test_the_ten_lines_work_on_four_machines_and_one_can_be_struck(machines, directory):
    """Each line where its comment says, files copied as the text says; then web2 is struck."""
    setup, put_one = documented_lines()
    places, nodes, running = {}, {}, {}
    for name in ("broker", "web1", "web2", "me"):
        places[name], nodes[name] = directory / name, machines()
        places[name].mkdir()
        (places[name] / "check.sh").write_text(f'#!/bin/sh\necho {name} >> {directory}/checked\n')
        (places[name] / "check.sh").chmod(0o755)
    env = environment() | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}",
                           "EVERDUE_STORE": f"lmdb:{directory}/store"}

    def command(name, line):
        line = line.replace("BROKER", nodes["broker"].address).rstrip().removesuffix("&")
        return {"args": nodes[name].command("sh", "-euc", "exec " * line.startswith("everdue") + line),
                "cwd": places[name], "env": env}

    def run(name, line, check=True):
        return subprocess.run(**command(name, line), capture_output=True, text=True, timeout=30,
                              check=check)

    def begin(name, line):
        with open(directory / f"{name}.log", "wb") as log:
            running[name] = subprocess.Popen(**command(name, line), stdout=log, stderr=log)

    def workers():
        done = run("me", put_one[:put_one.index(" put ")] + " -o jsonl workers", check=False)
        return sum("web2" in line or "web1" in line for line in done.stdout.splitlines())

    try:
        for name, line in zip(("broker", "web1", "web2", "me"), setup[:4]):
            run(name, line)
        for name in ("web1", "web2", "me"):
            shutil.copy(places[name] / f"{name}.key.pub", places["broker"])
            shutil.copy(places["broker"] / "broker.key.pub", places[name])
        for line in setup[4:7]:
            run("broker", line)
        begin("broker", setup[7])
        begin("web1", setup[8].replace("everdue-worker", "everdue-worker -n 1 --name web1"))
        begin("web2", setup[9].replace("everdue-worker", "everdue-worker -n 1 --name web2"))
        wait_until(lambda: workers() == 2, what="both workers")
        assert run("me", put_one).returncode == 0
        wait_until((directory / "checked").exists, what="the run")

        allow = places["broker"] / "allow"
        allow.write_text("".join(line for line in allow.read_text().splitlines(True)
                                 if "web2" not in line))
        running["broker"].send_signal(signal.SIGHUP)
        wait_until(lambda: "read again" in (directory / "broker.log").read_text(), what="the list")
        wait_until(lambda: workers() == 1, what="the end of web2")
        run("me", put_one.replace("feed.xml", "other.xml"))
        wait_until(lambda: (directory / "checked").read_text().count("web1\n") >= 1,
                   what="a run at web1")
    finally:
        for child in reversed(running.values()):
            child.terminate()
            child.wait(20)
