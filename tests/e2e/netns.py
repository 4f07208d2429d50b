"""Network namespaces as machines of their own: nodes at a switch, whose cables can be pulled.

    with Network() as network:
        server, client = network.node(), network.node()
        subprocess.run(client.command("curl", f"http://{server.address}/"))
        client.cut()   # the cable is out: nothing arrives, and no connection is told
        client.mend()

Needs root, `ip` and `nsenter`: `why_not()` says what is missing. Nothing outside is touched: the
switch has a namespace of its own, too. Only the standard library is used, and nothing of ours.
"""

import itertools
import os
import subprocess

_count = itertools.count(1)


def why_not():
    """Why there can be no such network here, or None. Tries it."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network() as network:
            network.node()
    except FileNotFoundError as error:
        return f"network namespaces need {error.filename}"
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.strip()}"
    return None


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _inside(name, *arguments):
    """nsenter, and not `ip -n` or `ip netns exec`: these mount /sys anew, which a chroot forbids."""
    return ["nsenter", f"--net=/run/netns/{name}", *map(str, arguments)]


def _ip_in(name, *arguments):
    subprocess.run(_inside(name, "ip", *arguments), check=True, capture_output=True, text=True)


class Node:
    """A namespace with one interface, `eth0`, and loopback."""

    def __init__(self, name, address, switch, port):
        self.name, self.address = name, address
        self._switch, self._port = switch, port

    def command(self, *arguments):
        """The command line that runs `arguments` on this node, under the same process id."""
        return _inside(self.name, *arguments)

    def cut(self):
        """Pull the cable. What is sent is lost; there is no FIN and no error."""
        _ip_in(self._switch, "link", "set", self._port, "down")

    def mend(self):
        _ip_in(self._switch, "link", "set", self._port, "up")


class Network:
    """A switch and its nodes, 10.77.0.1 and so on. Leaving the context removes them all; stop
    what runs there before."""

    def __init__(self):
        self._prefix = f"everdue-{os.getpid()}-{next(_count)}"
        self._switch = f"{self._prefix}-switch"
        self._names = []

    def __enter__(self):
        self._add(self._switch)
        try:
            _ip_in(self._switch, "link", "add", "name", "bridge", "type", "bridge")
            _ip_in(self._switch, "link", "set", "bridge", "up")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in reversed(self._names):
            subprocess.run(["ip", "netns", "delete", name], check=False)
        self._names.clear()

    def _add(self, name):
        _ip("netns", "add", name)
        self._names.append(name)

    def node(self):
        """A new node, its cable plugged in."""
        number = len(self._names)
        name, port = f"{self._prefix}-{number}", f"port{number}"
        node = Node(name, f"10.77.0.{number}", self._switch, port)
        self._add(name)
        _ip_in(name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns",
               self._switch)
        _ip_in(self._switch, "link", "set", port, "master", "bridge", "up")
        _ip_in(name, "address", "add", f"{node.address}/24", "dev", "eth0")
        for interface in ["eth0", "lo"]:
            _ip_in(name, "link", "set", interface, "up")
        return node
