"""The stack of docker-compose.yml in the engine that is there: docker or podman.

Where there is none the tests are skipped, with the reason; with EVERDUE_CONTAINERS=required they
fail instead. Everything runs under a project name of its own and is removed at the end, but for the
images, which stay as the cache of the next run.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

BUILD_SECONDS = 600
WORKERS = 3

# An engine on a busy machine is slow: longer than the waits for our own programs.
wait_until = functools.partial(harness.wait_until, seconds=60)


def fails(*command):
    """The last line of what a command says when it fails, else None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                              stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
    return said[-1] if done.returncode else None


def find_engine():
    """The engine's command and that of its compose, or why there is none that can run anything."""
    why = []
    for engine, compose in [("docker", ["docker", "compose"]), ("podman", ["podman-compose"])]:
        problem = (fails(engine, "info") or fails(*compose, "version") or
                   fails(engine, "run", "--rm", "debian:bookworm-slim", "true"))
        if problem is None:
            return [engine], compose, None
        why.append(f"{engine}: {problem}")
    return None, None, f"no container engine works here ({'; '.join(why)})"


class Stack:
    """The services of the compose file, by name."""

    def __init__(self, engine, compose, project):
        self.engine, self.compose_command, self.project = engine, compose, project
        self.is_podman = engine == ["podman"]
        # HEALTHCHECK is no part of the OCI format, which podman builds by default.
        self.environment = os.environ | {"BUILDAH_FORMAT": "docker", "WORKERS": str(WORKERS)}

    def run(self, command, seconds=120, check=True):
        done = subprocess.run([str(part) for part in command], cwd=harness.ROOT, check=False,
                              env=self.environment, capture_output=True, text=True,
                              timeout=seconds, stdin=subprocess.DEVNULL)
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
        """The container may be between two starts; then there is no answer, either."""
        return self.everdue("ping", check=False).returncode == 0

    def health(self):
        """What the engine says. Podman checks by timers of systemd: where there are none, we ask."""
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
        for service in ["keys", "broker", "worker", "sync"]:
            for container in made.ids(service):
                made.run([*engine, "logs", container], check=False)
        made.remove()
