"""Worker processes for a handler written in Python.

    python3 -m everdue.worker module:function -n 4 --queue feeds --every 5m

`function` is one that @everdue.handler made, or a plain function of a task. It is imported in each
process, with the current folder first in the path. Exit status: 0 stopped; 64 usage; 75 a run had
to be ended; 76 another version of the protocol; 77 the broker refused; 78 the handler's mistake, or
it asked to stop.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any, Callable, NoReturn, Sequence

import msgpack
import zmq

from . import __version__, values
from .agent import MISTAKE, Agent, Options
from .client import ENDPOINT
from .curve import Curve
from .log import LEVELS, Log
from .results import Handler, handler as make_handler
from .supervisor import Supervisor, process_count, usable_cpus

CREDIT_MAX = 16384


class Usage(Exception):
    """A mistake on the command line."""


class Parser(argparse.ArgumentParser):
    """With the exit status of the other programs."""

    def error(self, message: str) -> NoReturn:
        self.exit(64, f"{self.prog}: {message}\n")


def as_argument(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """With the words of `convert` about what is wrong, instead of argparse's."""
    def converted(text: str) -> Any:
        try:
            return convert(text)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Flags win over variables (EVERDUE_BROKER, EVERDUE_QUEUE with blanks between several, ...)."""
    def said(name: str, default: str | None = None) -> str | None:
        return os.environ.get("EVERDUE_" + name) or default

    parser = Parser(
        prog="python3 -m everdue.worker", description=__doc__.splitlines()[0],
        epilog="Durations are written 250ms 30s 5m 1h30m 2d. Each option can be set by a variable, "
               "the flag wins: EVERDUE_BROKER, EVERDUE_QUEUE, EVERDUE_WORKERS and so on.")
    add = parser.add_argument
    add("handler", metavar="MODULE:FUNCTION")
    add("-V", "--version", action="version", version=versions())
    add("--broker", default=said("BROKER", ENDPOINT), help="where the broker listens (%(default)s)")
    add("--queue", action="append", help="queue to work on; may be repeated (default)")
    add("-n", "--workers", default=said("WORKERS", "auto"),
        help="processes: a number, auto (CPUs usable, 16 at most) or 4x (4 a CPU)")
    add("--max-workers", type=int, default=said("MAX_WORKERS", "256"),
        help="the most that -n may ask for (%(default)s)")
    add("--credit", type=int, default=said("CREDIT"), help="records held by each process (16, or "
        "twice the batch; unless given up to 1024, with what 20 ms of work finish)")
    add("--every", type=as_argument(values.duration_us), default=said("EVERY"),
        help="next time of a record for which neither result nor record name one")
    add("--lease", type=as_argument(values.duration_ms), default=said("LEASE", "60s"),
        help="length of a lease (60s); extended while a run lasts")
    add("--timeout", type=as_argument(values.duration_s), default=said("TIMEOUT", "10m"),
        help="of one run; its process ends then and another is started (10m)")
    add("--stop-timeout", type=as_argument(values.duration_s), default=said("STOP_TIMEOUT", "8s"),
        help="how long to finish after SIGTERM (8s); the rest is given back")
    add("--heartbeat", type=as_argument(values.duration_ms), default=said("HEARTBEAT", "5s"),
        help="of the connection with the broker (5s)")
    add("--name", default=said("NAME"), help="shown by everdue workers (default host:pid)")
    add("--curve-server", default=said("CURVE_SERVER"), help="the broker's public CURVE key")
    add("--curve-key", default=said("CURVE_KEY"), help="file with this worker's CURVE key")
    add("--log-format", choices=["text", "json"], default=said("LOG_FORMAT", "text"))
    add("--log-level", choices=LEVELS, default=said("LOG_LEVEL", "info"))
    options = parser.parse_args(arguments)
    options.queue = options.queue or (said("QUEUE") or "").split()
    return options


def versions() -> str:
    """Of this package and what it stands on."""
    return (f"everdue {__version__} (pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, msgpack "
            f"{'.'.join(map(str, msgpack.version))}, Python {sys.version.split()[0]})")


def load(name: str) -> Handler:
    """The function that MODULE:FUNCTION names. Usage says what is wrong with it."""
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise Usage(f"{name}: write MODULE:FUNCTION")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    function: Any = importlib.import_module(module)
    for part in attribute.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise Usage(f"{name}: there is no such function")
    return function if isinstance(function, Handler) else make_handler(function)


def run(source: Callable[[], Handler], options: Options, count: int) -> int:
    """`count` processes, each with what `source()` gives; the exit status of the whole."""
    def work(control_fd: int) -> int:
        try:
            handler = source()
        except BaseException as error:
            # A broken deploy must not be tried again and again, nor burn a record.
            options.log.write("error", f"the handler cannot be loaded: {type(error).__name__}: "
                              f"{error}")
            return MISTAKE
        if not options.queues:
            options.queues = handler.queues or ("default",)
        return Agent(handler, options, control_fd).run()

    return Supervisor(count, work, options.log, options.stop_s).run()


def curve_of(options: argparse.Namespace) -> Curve | None:
    if not options.curve_server and not options.curve_key:
        return None
    if not options.curve_server or not options.curve_key:
        raise Usage("--curve-server and --curve-key go together")
    return Curve.load(options.curve_server, options.curve_key)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    log = Log(options.log_format, options.log_level)
    try:
        count = process_count(options.workers, options.max_workers)
        if options.credit is not None and not 1 <= options.credit <= CREDIT_MAX:
            raise Usage(f"--credit is 1 to {CREDIT_MAX}")
        settings = Options(options.broker, options.queue, options.credit, options.every or 0,
                           options.lease, options.heartbeat, options.timeout, options.stop_timeout,
                           options.name, curve_of(options), log)
    except (Usage, ValueError, OSError) as error:
        print(f"everdue.worker: {error}", file=sys.stderr)
        return 64
    log.write("notice", f"{count} processes ({usable_cpus()} CPUs, cap 16), "
              f"credit {options.credit or 'by handler'}, lease {options.lease / 1000:g} s")
    return run(lambda: load(options.handler), settings, count)


if __name__ == "__main__":
    sys.exit(main())
