"""What people would pick instead, each on the same work: the server and what drives it.

Every driver prints one line of JSON and fails when its books are wrong; bench/peers/ has them.
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import sys
import time

from processes import PROGRAMS, Failure, Process, find, free_port, run, wait_until

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
WORKERS = 2


class Rival:
    """A server with a set of records in it, frozen while others are measured."""

    needs: tuple[str, ...] = ()  # programs without which its rows are left out
    driver = ""

    def __init__(self, directory: pathlib.Path, records: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.records, self.port = directory, records, free_port()
        self.server = self.start()
        self.load()

    def start(self) -> Process:
        """Start the server."""
        raise NotImplementedError

    def address(self) -> str:
        """Where the driver finds it."""
        raise NotImplementedError

    def load(self) -> None:
        """Put the records, once the server answers."""
        until = time.monotonic() + 20
        while True:
            self.server.check()
            try:
                self.drive("load")
                return
            except Failure:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def drive(self, command: str, *more: object) -> bytes:
        """Run the driver."""
        return run(PROGRAMS / self.driver, self.address(), command, self.records, *more)

    def cycle(self, seconds: float, batch: int) -> float:
        """Cycles a second over so many seconds; fails when the books are wrong."""
        done = json.loads(self.drive("cycle", WORKERS, seconds, batch))
        self.drive("check")
        return float(done["cycles"] / done["seconds"])

    def freeze(self) -> None:
        """Let it do nothing."""
        self.server.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self.server.thaw()

    def kill(self) -> None:
        """End it: its data is thrown away."""
        self.server.kill()


class Beanstalkd(Rival):
    """In memory."""

    needs, driver = ("beanstalkd",), "beanstalkd_bench"

    def start(self) -> Process:
        return Process(find("beanstalkd"), "-l", "127.0.0.1", "-p", self.port, *self.options(),
                       log=self.directory / "log")

    def options(self) -> tuple[object, ...]:
        """More arguments of the server."""
        return ()

    def address(self) -> str:
        return str(self.port)


class BeanstalkdLog(Beanstalkd):
    """With its log, fsync every 50 ms, which is its default."""

    def options(self) -> tuple[object, ...]:
        (self.directory / "wal").mkdir()
        return "-b", self.directory / "wal", "-f", 50


class BeanstalkdFsync(Beanstalkd):
    """With its log, fsync after each write."""

    def options(self) -> tuple[object, ...]:
        (self.directory / "wal").mkdir()
        return "-b", self.directory / "wal", "-f", 0


class Redis(Rival):
    """Sorted sets and Lua, in memory."""

    needs, driver = ("redis-server", "redis_bench"), "redis_bench"
    fsync = ""

    def start(self) -> Process:
        keep = ("--appendonly", "yes", "--appendfsync", self.fsync) if self.fsync else (
            "--appendonly", "no")
        return Process(find("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--save",
                       "", "--dir", self.directory, *keep, log=self.directory / "log")

    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class RedisAof(Redis):
    """The same with its log, fsync every second."""

    fsync = "everysec"


class RedisAlways(Redis):
    """The same with its log, fsync before each answer."""

    fsync = "always"


class Postgres(Rival):
    """A table with SKIP LOCKED in a cluster of its own, on a private socket, synchronous_commit on.

    It has background processes, so that it is stopped rather than frozen while others run. Run by
    root it runs as the user postgres, because it refuses to be root's.
    """

    needs, driver = ("pg_ctl", "postgres_bench"), "postgres_bench"
    synchronous_commit = "on"

    def start(self) -> Process:
        os.chmod(self.directory.parent, 0o711)
        os.chmod(self.directory, 0o711)
        if os.getuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(self.directory, postgres.pw_uid, postgres.pw_gid)
        run(*self._as_owner("initdb"), "-D", self.directory / "data", "-A", "trust", "-U",
            "postgres", "-N", "--locale=C", "-E", "UTF8", cwd="/")
        return self._serve()

    @staticmethod
    def _as_owner(program: str) -> tuple[str, ...]:
        there = postgres_program(program)
        if os.getuid() == 0:
            return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", str(there))
        return (str(there),)

    def _serve(self) -> Process:
        settings = {"listen_addresses": "", "unix_socket_directories": self.directory,
                    "shared_buffers": "512MB", "max_wal_size": "4GB",
                    "random_page_cost": "1.1",  # all of it is in memory
                    "synchronous_commit": self.synchronous_commit}
        return Process(*self._as_owner("postgres"), "-D", self.directory / "data",
                       *(f"--{name}={value}" for name, value in settings.items()),
                       log=self.directory / "log", cwd="/")

    def address(self) -> str:
        return f"host={self.directory} user=postgres dbname=postgres"

    def freeze(self) -> None:
        self.server.stop(signal.SIGINT)

    def thaw(self) -> None:
        self.server = self._serve()
        wait_until((self.directory / ".s.PGSQL.5432").exists, 20, "PostgreSQL's socket")
        wait_until(self._answers, 20, "an answer of PostgreSQL")

    def _answers(self) -> bool:
        self.server.check()
        try:
            run(postgres_program("pg_isready"), "-h", self.directory)
        except Failure:
            return False
        return True


class PostgresAsync(Postgres):
    """The same with synchronous_commit off: a crash loses the last moments."""

    synchronous_commit = "off"


def postgres_program(name: str) -> pathlib.Path | None:
    """Debian keeps PostgreSQL's programs out of the PATH; the newest version's."""
    there = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if there:
        return there[-1]
    found = shutil.which(name)
    return pathlib.Path(found) if found else None


def is_installed(rival: type[Rival]) -> bool:
    """Whether all that it needs is there."""
    return all(find(name) or postgres_program(name) for name in rival.needs)


# --- without a server ----------------------------------------------------------------------------


def heap_manager(records: int, seconds: float) -> float:
    """Cycles a second of the heap behind multiprocessing.managers."""
    done = json.loads(run(sys.executable, PEERS / "heap_manager.py", records, WORKERS, seconds))
    return float(done["cycles"] / done["seconds"])


def zeromq(seconds: float, workers: int, batch: int, messages: int) -> float:
    """Cycles a second of a bare ROUTER with DEALERs."""
    done = json.loads(run(PROGRAMS / "zeromq_bench", workers, seconds, batch, messages))
    return float(done["cycles"] / done["seconds"])


def spawn(seconds: float, workers: int, in_flight: int) -> float:
    """Commands a second of a bare posix_spawn loop."""
    done = json.loads(run(PROGRAMS / "spawn_bench", workers, seconds, in_flight))
    return float(done["cycles"] / done["seconds"])
