"""A broker with keys and a list of peers, and peers with keys of their own.

    house = guarded(web1="role=worker queues=feeds", boss="role=admin")
    boss = house.peer("boss")
    assert house.everdue("web1", "put", "k").returncode == 77
    house.allow(boss="role=admin")      # web1 is out
"""

import re
import signal
import subprocess

from conftest import PROGRAMS, Process, environment, wait_until
from raw import Peer


class Key:
    """A file that `everdue keygen` made."""

    def __init__(self, directory, name):
        self.path = directory / f"{name}.key"
        done = subprocess.run([PROGRAMS / "everdue", "keygen", self.path], capture_output=True,
                              text=True, check=True, timeout=20, env=environment())
        self.public = done.stdout.strip()
        self.secret = re.search(r'secret-key = "(.{40})"', self.path.read_text()).group(1)


class House:
    """One broker on loopback TCP whose list can be changed."""

    def __init__(self, directory, endpoint, options=(), env=None):
        self.directory = directory
        self.endpoint = endpoint
        self.options = options
        self.env = env
        self.keys = {"broker": Key(directory, "broker")}
        self.list = directory / "allow"
        self.process = None
        self.peers = []

    def key(self, name):
        if name not in self.keys:
            self.keys[name] = Key(self.directory, name)
        return self.keys[name]

    def write_list(self, **peers):
        self.list.write_text("".join(f"key {self.key(name).public} {what} name={name}\n"
                                     for name, what in peers.items()))

    def start(self):
        self.process = Process("everdue-broker", "--listen", self.endpoint, "--curve-key",
                               self.keys["broker"].path, "--allow", self.list, "--store", "memory",
                               *self.options, log=self.directory / "broker.log", env=self.env)
        wait_until(lambda: "ready" in self.process.text() or not self.process.is_running())
        assert self.process.is_running(), self.process.text()

    def allow(self, **peers):
        """Another list, in force when this returns."""
        self.write_list(**peers)
        self.reload("the list of peers was read again")

    def reload(self, said):
        before = self.process.text().count(said)
        self.process.signal(signal.SIGHUP)
        wait_until(lambda: self.process.text().count(said) > before, what=said)

    def peer(self, name, **options):
        """A connection with this key, which has said nothing yet."""
        key = self.key(name)
        keys = (self.keys["broker"].public.encode(), key.public.encode(), key.secret.encode())
        self.peers.append(Peer(self.endpoint, keys=keys, **options))
        return self.peers[-1]

    def flags(self, name):
        return ["--curve-key", self.key(name).path, "--curve-server", f"{self.keys['broker'].path}.pub"]

    def everdue(self, name, *arguments):
        return subprocess.run(
            [PROGRAMS / "everdue", "-e", self.endpoint, *self.flags(name), *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False, env=environment())

    def close(self):
        for peer in self.peers:
            peer.close()
