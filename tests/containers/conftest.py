"""The stack of docker-compose.yml in the engine that is there: docker or podman.

Where there is none the tests are skipped, with the reason; with EVERDUE_CONTAINERS=required they
fail instead. Everything runs under a project name of its own and is removed at the end, but for the
images, which stay as the cache of the next run.
"""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD_SECONDS = 600
WORKERS = 3


def wait_until(condition, seconds=60, what="the condition"):
    """Poll until `condition()` is true, and return what it gave."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"{what} did not come true within {seconds} s"
        time.sleep(0.2)


def succeeds(*command):
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False,
                              stdin=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_engine():
    """The engine's command and that of its compose, or why there is none."""
    if succeeds("docker", "info") and succeeds("docker", "compose", "version"):
        return ["docker"], ["docker", "compose"], None
    if shutil.which("podman-compose") and succeeds("podman", "info"):
        return ["podman"], ["podman-compose"], None
    return None, None, ("no container engine: neither docker with compose and its daemon, "
                        "nor podman with podman-compose")


class Stack:
    """The services of the compose file, by name."""

    def __init__(self, engine, compose, project):
        self.engine, self.compose_command, self.project = engine, compose, project
        self.is_podman = engine == ["podman"]
        # HEALTHCHECK is no part of the OCI format, which podman builds by default.
        self.environment = os.environ | {"BUILDAH_FORMAT": "docker", "WORKERS": str(WORKERS)}

    def run(self, command, seconds=120, check=True):
        done = subprocess.run([str(part) for part in command], cwd=ROOT, env=self.environment,
                              capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL)
        print(f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}"
        return done

    def compose(self, *arguments, **options):
        return self.run([*self.compose_command, "-p", self.project, *arguments], **options)

    def up(self):
        self.compose("up", "-d", "--scale", f"worker={WORKERS}")

    def ids(self, service):
        """Its containers, also those that ended."""
        labels = {"project": self.project, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}"
                   for name, value in labels.items()]
        return self.run([*self.engine, "ps", "-a", "-q", *filters]).stdout.split()

    def inspect(self, container, template):
        return self.run([*self.engine, "inspect", "--format", template, container]).stdout.strip()

    def command(self, verb, service, *arguments, **options):
        """`podman exec`, `kill`, `stop` and so on with the first container of a service."""
        return self.run([*self.engine, verb, self.ids(service)[0], *arguments], **options)

    def everdue(self, *arguments, check=True):
        """The `everdue` command in the broker's container."""
        return self.command("exec", "broker", "everdue", *arguments, check=check)

    def json(self, *arguments):
        return json.loads(self.everdue("-o", "json", *arguments).stdout)

    def answers(self):
        return self.everdue("ping", check=False).returncode == 0

    def health(self):
        """What the engine says. Podman checks by a timer of systemd: where there is none, we ask."""
        container, = self.ids("broker")
        if self.is_podman:
            self.run(["podman", "healthcheck", "run", container], check=False)
        return self.inspect(container, "{{.State.Health.Status}}")

    def remove(self):
        self.compose("down", "-v", check=False)
        for container in [each for service in ["worker", "sync", "shop", "blog", "broker", "keys"]
                          for each in self.ids(service)]:
            self.run([*self.engine, "rm", "-f", container], check=False)
        if self.is_podman:  # its compose leaves the network
            self.run(["podman", "network", "rm", f"{self.project}_default"], check=False)


@pytest.fixture(scope="session")
def stack():
    engine, compose, why = find_engine()
    if why and os.environ.get("EVERDUE_CONTAINERS") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    made = Stack(engine, compose, f"everdue-test-{os.getpid()}")
    began = time.monotonic()
    made.compose("build", "broker", "worker", seconds=BUILD_SECONDS)
    print(f"images built in {time.monotonic() - began:.0f} s")
    try:
        made.up()
        yield made
    finally:
        for service in ["broker", "worker", "sync"]:
            for container in made.ids(service):
                made.run([*engine, "logs", container], check=False)
        made.remove()
