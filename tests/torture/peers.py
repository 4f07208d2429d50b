"""peers.py - Everdue, beanstalkd and Redis behind one interface, for compare.

Each keeps jobs that run again and again: put, take one that is due, finish it with the seconds
until it runs next, remove. A driver speaks the system's own protocol over one connection; a call
that the system did not answer raises Away. What each is asked to promise is in PEERS.
"""

import dataclasses
import pathlib
import socket
import subprocess
import time
from collections.abc import Callable

from harness import PROGRAMS, environment
from raw import CREATED, OK, PUT, REMOVE, REPORT, RESUME, TAKE, Peer, Task, put
from stage import free_port

SECONDS = 10
QUEUE = "jobs"


class Away(Exception):
    """The system does not answer; whatever was asked may have been done or not."""


class Driver:
    """A system on a folder. A job's name is a number of ours; take() gives -1 for what is none."""

    def __init__(self, directory: pathlib.Path, options: tuple[str, ...]) -> None:
        self.directory, self.options, self.port = directory, options, free_port()
        self.process: subprocess.Popen | None = None

    def command(self) -> list:
        raise NotImplementedError

    def start(self, environ: dict[str, str]) -> None:
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment() | environ)
        end = time.monotonic() + SECONDS
        while not self.connect():
            if time.monotonic() > end or self.process.poll() is not None:
                raise Away(f"it does not start: {(self.directory / 'log').read_text()[-400:]}")
            time.sleep(0.01)

    def connect(self) -> bool:
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        except OSError:
            return False
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        return self.is_ready()

    def is_ready(self) -> bool:
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as fault:
            raise Away from fault

    def line(self) -> bytes:
        try:
            line = self.file.readline()
        except OSError as fault:
            raise Away from fault
        if not line.endswith(b"\r\n"):
            raise Away
        return line[:-2]

    def body(self, count: int) -> bytes:
        try:
            data = self.file.read(count + 2)
        except OSError as fault:
            raise Away from fault
        if len(data) != count + 2:
            raise Away
        return data[:-2]


class Beanstalkd(Driver):
    """put, reserve, release with a delay, delete. A job has the number that its put is given."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.jobs: dict[int, int] = {}  # name: beanstalkd's number

    def command(self) -> list:
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", self.directory / "data",
                *self.options]

    def ask(self, text: str) -> list[bytes]:
        self.send(text.encode())
        return self.line().split()

    def put(self, name: int) -> None:
        said = self.ask(f"put 0 0 60 {len(str(name))}\r\n{name}\r\n")
        if said[0] != b"INSERTED":
            raise Away(said)
        self.jobs[name] = int(said[1])

    def take(self) -> tuple[int, object] | None:
        said = self.ask("reserve-with-timeout 0\r\n")
        if said[0] != b"RESERVED":
            return None
        body = self.body(int(said[2]))
        return int(body) if body.isdigit() else -1, int(said[1])

    def finish(self, name: int, lease: object, seconds: int) -> bool:
        return self.ask(f"release {lease} 0 {seconds}\r\n")[0] == b"RELEASED"

    def remove(self, name: int) -> bool:
        return self.ask(f"delete {self.jobs[name]}\r\n")[0] == b"DELETED"

    def there(self) -> set[int]:
        found = set()
        for name, job in self.jobs.items():
            said = self.ask(f"stats-job {job}\r\n")
            if said[0] == b"OK":
                self.body(int(said[1]))
                found.add(name)
        return found


class Redis(Driver):
    """A sorted set of times and a hash of payloads, each step a script, so that it is atomic: the
    usual way to keep a schedule in Redis. A lease is a time a minute ahead."""

    PUT = "redis.call('HSET','job',ARGV[1],ARGV[1]) return redis.call('ZADD','due',ARGV[2],ARGV[1])"
    TAKE = ("local found = redis.call('ZRANGEBYSCORE','due','-inf',ARGV[1],'LIMIT',0,1) "
            "if not found[1] then return '' end "
            "redis.call('ZADD','due',ARGV[1]+60000,found[1]) return found[1]")
    FINISH = ("if not redis.call('ZSCORE','due',ARGV[1]) then return 0 end "
              "redis.call('ZADD','due',ARGV[2],ARGV[1]) return 1")
    REMOVE = "redis.call('HDEL','job',ARGV[1]) return redis.call('ZREM','due',ARGV[1])"

    def command(self) -> list:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir",
                self.directory / "data", "--save", "", "--appendonly", "yes", *self.options]

    def is_ready(self) -> bool:
        """Not while it loads."""
        try:
            ready = self.ask("PING") == b"PONG"
        except Away:
            ready = False
        if not ready:
            self.close()
        return ready

    def ask(self, *words) -> object:
        parts = [str(word).encode() for word in words]
        self.send(b"*%d\r\n" % len(parts) +
                  b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self.answer()

    def answer(self) -> object:
        line = self.line()
        if line[:1] == b"$":
            return self.body(int(line[1:])) if line != b"$-1" else None
        if line[:1] == b"*":
            return [self.answer() for _ in range(int(line[1:]))]
        return int(line[1:]) if line[:1] == b":" else line[1:]

    @staticmethod
    def in_ms(seconds: float) -> int:
        return int((time.time() + seconds) * 1000)

    def script(self, text: str, *words) -> object:
        return self.ask("EVAL", text, 0, *words)

    def put(self, name: int) -> None:
        if self.script(self.PUT, name, self.in_ms(0)) != 1:
            raise Away

    def take(self) -> tuple[int, object] | None:
        found = self.script(self.TAKE, self.in_ms(0))
        return (int(found), None) if found else None

    def finish(self, name: int, lease: object, seconds: int) -> bool:
        return self.script(self.FINISH, name, self.in_ms(seconds)) == 1

    def remove(self, name: int) -> bool:
        return self.script(self.REMOVE, name) == 1

    def there(self) -> set[int]:
        times = {int(name) for name in self.ask("ZRANGE", "due", 0, -1)}
        return times & {int(name) for name in self.ask("HKEYS", "job")}


class Everdue(Driver):
    """put, take, report, remove. A worker that comes back announces what it holds."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.peer = Peer(f"tcp://127.0.0.1:{self.port}")
        self.held: dict[int, object] = {}

    def command(self) -> list:
        return [PROGRAMS / "everdue-broker", "--listen", self.peer.endpoint, "--store",
                f"lmdb:{self.directory}/data", *self.options]

    def connect(self) -> bool:
        self.peer.connect()
        self.peer.answers.clear()
        self.peer.tasks.clear()
        self.peer.post_hello([QUEUE], 0, 60000, 600000, len(self.held))
        self.wait(lambda: self.peer.welcome)
        if self.held:
            self.ask(RESUME, [task.resume() for task in self.held.values()])
        return True

    def close(self) -> None:
        self.peer.close()

    def wait(self, condition) -> object:
        """Read until it is true; the process may end meanwhile."""
        end = time.monotonic() + SECONDS
        while not condition():
            self.peer.receive(0.02)
            if not condition() and (self.process.poll() is not None or time.monotonic() > end):
                raise Away
        return condition()

    def ask(self, kind: int, *fields) -> list:
        request = self.peer.post(kind, *fields)
        self.wait(lambda: request in self.peer.answers)
        status, body, text, _ = self.peer.answers.pop(request)
        if status != OK:
            raise Away(f"{status} {text}")
        return body

    def put(self, name: int) -> None:
        if self.ask(PUT, QUEUE, [put(str(name), payload=b"%d" % name)]) != [CREATED]:
            raise Away

    def take(self) -> tuple[int, object] | None:
        tasks = self.ask(TAKE, 0, 1, 0, 60000, False)
        if not tasks:
            return None
        task = Task(tasks[0])
        self.held[int(task.key)] = task
        return int(task.key), task

    def finish(self, name: int, lease: object, seconds: int) -> bool:
        done = self.ask(REPORT, [lease.report(after=seconds * 1000000)]) == [OK]
        self.held.pop(name, None)
        return done

    def remove(self, name: int) -> bool:
        return self.ask(REMOVE, QUEUE, [str(name)]) == [OK]

    def there(self) -> set[int]:
        watcher = Peer(self.peer.endpoint)
        watcher.hello()
        found = {int(record.key) for record in watcher.list(QUEUE)}
        watcher.close()
        return found


@dataclasses.dataclass(frozen=True)
class Rival:
    """A system with its options, and what they promise."""

    make: Callable[[pathlib.Path, tuple[str, ...]], Driver]
    options: tuple[str, ...]
    promise: str


PEERS = {
    "everdue, always": Rival(Everdue, ("--sync", "always"), "acknowledged is on disk"),
    "everdue, interval:100ms": Rival(Everdue, ("--sync", "interval:100ms"),
                                     "may lose the last 100 ms"),
    "beanstalkd -b, -f 0": Rival(Beanstalkd, ("-f", "0"), "fsync at each write"),
    "beanstalkd -b": Rival(Beanstalkd, (), "may lose the last 50 ms"),
    "redis, appendfsync always": Rival(Redis, ("--appendfsync", "always"),
                                       "fsync before each answer"),
    "redis, appendfsync everysec": Rival(Redis, ("--appendfsync", "everysec"),
                                         "may lose the last second"),
}
