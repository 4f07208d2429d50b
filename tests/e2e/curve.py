"""CURVE by hand (ZeroMQ RFC 26), so that each command of the handshake can be damaged.

    shake = Handshake(server_public, own_public, own_secret)     # 32 bytes each
    stream.sendall(shake.hello())
    shake.take_welcome(stream.recv(...))                         # the frame's body
    stream.sendall(shake.initiate(metadata))
    stream.sendall(shake.message(b"..."))                        # once READY came

Bytes are whole frames. libsodium is there because libzmq needs it.
"""

import ctypes
import os

SODIUM = ctypes.CDLL("libsodium.so.23")
COMMAND = 4
BOX_BYTES = 16  # longer than what is in it


def _box(data: bytes, nonce: bytes, to_public: bytes, secret: bytes) -> bytes:
    out = ctypes.create_string_buffer(len(data) + BOX_BYTES)
    assert len(nonce) == 24
    done = SODIUM.crypto_box_easy(out, data, ctypes.c_ulonglong(len(data)), nonce, to_public, secret)
    assert done == 0
    return out.raw


def _open_box(box: bytes, nonce: bytes, from_public: bytes, secret: bytes) -> bytes:
    out = ctypes.create_string_buffer(len(box) - BOX_BYTES)
    done = SODIUM.crypto_box_open_easy(out, box, ctypes.c_ulonglong(len(box)), nonce, from_public,
                                       secret)
    assert done == 0, "not from the broker"
    return out.raw


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame of the transport, its length in 1 byte, or in 8 where it is longer."""
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


class Handshake:
    """One connection's keys and counters."""

    def __init__(self, server: bytes, public: bytes, secret: bytes):
        self.server, self.public, self.secret = server, public, secret
        own_public = ctypes.create_string_buffer(32)
        own_secret = ctypes.create_string_buffer(32)
        SODIUM.crypto_box_keypair(own_public, own_secret)
        self.short_public, self.short_secret = own_public.raw, own_secret.raw
        self.server_short = self.cookie = b""
        self.count = 0

    def nonce(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(8, "big")

    def hello(self) -> bytes:
        nonce = self.nonce()
        box = _box(bytes(64), b"CurveZMQHELLO---" + nonce, self.server, self.short_secret)
        return frame(b"\x05HELLO\x01\x00" + bytes(72) + self.short_public + nonce + box, COMMAND)

    def take_welcome(self, body: bytes) -> None:
        assert body[:8] == b"\x07WELCOME"
        opened = _open_box(body[24:], b"WELCOME-" + body[8:24], self.server, self.short_secret)
        self.server_short, self.cookie = opened[:32], opened[32:]

    def initiate(self, metadata: bytes) -> bytes:
        nonce, vouch_nonce = self.nonce(), os.urandom(16)
        vouch = _box(self.short_public + self.server, b"VOUCH---" + vouch_nonce, self.server_short,
                     self.secret)
        box = _box(self.public + vouch_nonce + vouch + metadata, b"CurveZMQINITIATE" + nonce,
                   self.server_short, self.short_secret)
        return frame(b"\x08INITIATE" + self.cookie + nonce + box, COMMAND)

    def message(self, data: bytes, flags: int = 0) -> bytes:
        """`flags` is the byte inside the box: 1, more follows; 2, a command."""
        nonce = self.nonce()
        box = _box(bytes([flags]) + data, b"CurveZMQMESSAGEC" + nonce, self.server_short,
                   self.short_secret)
        return frame(b"\x07MESSAGE" + nonce + box)
