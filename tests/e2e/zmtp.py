"""ZMTP 3.0 byte by byte, over a plain socket: for peers that break its rules.

    wire = Wire(endpoint)
    wire.greet()            # the greeting and READY of the mechanism NULL
    wire.frame(b"...", more=True)
"""

import socket
import struct

from conftest import SECONDS

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00"
MORE, LONG, COMMAND = 1, 2, 4


class Wire:
    def __init__(self, endpoint):
        kind, _, rest = endpoint.partition("://")
        if kind == "ipc":
            self.socket = socket.socket(socket.AF_UNIX)
            address = rest
        else:
            self.socket = socket.socket(socket.AF_INET)
            host, _, port = rest.rpartition(":")
            address = (host, int(port))
        self.socket.settimeout(SECONDS)
        self.socket.connect(address)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            got = self.socket.recv(count - len(data))
            assert got, "the other side closed"
            data += got
        return data

    def exchange_greeting(self, mechanism=b"NULL"):
        """The other side's greeting."""
        self.socket.sendall(GREETING + mechanism.ljust(20, b"\0") + bytes(32))
        return self.exactly(64)

    def greet(self):
        self.exchange_greeting()
        self.frame(b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00",
                   flags=COMMAND)
        self.exactly(2 + self.exactly(2)[1] - 2)

    def frame(self, data, more=False, flags=0):
        self.socket.sendall(head(len(data), flags | (MORE if more else 0)) + data)

    def is_cut(self, seconds=SECONDS):
        """Whether the other side ends the connection in this time."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def close(self):
        self.socket.close()


def head(count, flags):
    if count > 255:
        return struct.pack(">BQ", flags | LONG, count)
    return struct.pack(">BB", flags, count)
