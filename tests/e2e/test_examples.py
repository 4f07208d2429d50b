"""The examples against real web servers on loopback."""

import contextlib
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import ROOT, wait_until

EXAMPLES = ROOT / "examples"


class Site:
    """A web server. `pages` maps a path to its text, or to a function that makes it; `seen` has the
    paths that were asked for, in order."""

    def __init__(self, pages, port=0):
        self.pages, self.seen = pages, []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.seen.append(self.path)
                page = site.pages.get(self.path)
                text = page() if callable(page) else page
                self.send_response(200 if text else 404)
                self.end_headers()
                self.wfile.write((text or "no such page").encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02])
        self.thread.start()

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site():
    """Starts servers: site({"/": "home"})."""
    with contextlib.ExitStack() as stack:

        def start(pages, port=0):
            made = Site(pages, port)
            stack.callback(made.stop)
            return made

        yield start


# --- check_http.sh ---


def test_a_web_server_that_stops_is_noted_as_down_and_checked_more_often(
        broker, workers, site, directory):
    """The records come round every hour, so whatever is checked in between is what is down."""
    up, down = site({"/": "home"}), site({"/": "home"})
    hosts = directory / "hosts.jsonl"
    hosts.write_text("".join(
        json.dumps({"key": url, "every": "1h", "due": 0}) + "\n"
        for url in [up.url(), down.url(), up.url("/missing")]), encoding="utf-8")
    broker.everdue("sync", hosts, "--queue", "hosts")
    workers(broker, "--queue", "hosts", "-n", "1", "--exit-map", "nagios", "--",
            EXAMPLES / "check_http.sh", "{key}", "200ms")

    def record(url):
        return broker.json("get", url, "--queue", "hosts")

    def note_is(url, state):
        return record(url).get("note", "").startswith(state)

    wait_until(lambda: note_is(up.url(), "OK: 200") and note_is(down.url(), "OK: 200"),
               what="the first checks")
    wait_until(lambda: up.seen.count("/missing") >= 3, what="checks of the page that is missing")
    assert note_is(up.url("/missing"), "WARNING: 404")

    down.stop()
    broker.everdue("run-now", down.url(), "--queue", "hosts")
    wait_until(lambda: note_is(down.url(), "CRITICAL: "), what="a note that it is down")
    first = record(down.url())
    assert first["memo"]["state"] == "CRITICAL" and first["memo"]["since"] in first["note"]
    wait_until(lambda: record(down.url())["due"] != first["due"], what="a check that comes soon")
    assert record(down.url())["memo"] == first["memo"], "it is down since the same moment"

    again = site({"/": "home"}, port=down.port)
    wait_until(lambda: note_is(again.url(), "OK: 200"), what="a note that it is up")
    assert (up.seen.count("/"), again.seen) == (1, ["/"]), "what is up waits for its hour"
    stats = broker.stats("hosts")
    assert (stats["reports_failed_total"], stats["parked"]) == (0, 0), "each check worked"


def test_the_list_of_the_compose_file_is_one_that_sync_takes(broker):
    counts = broker.json("sync", EXAMPLES / "hosts.jsonl", "--queue", "hosts")
    assert (counts["created"], counts["rejected"]) == (6, 0)
    assert broker.stats("hosts")["records"] == 6


# --- recrawl.c ---


def test_pages_that_change_are_fetched_more_often_than_others(broker, processes, site):
    count = iter(range(1_000_000))
    pages = site({"/news": lambda: f"item {next(count)}", "/law": "as ever"})
    for path in ["/news", "/law", "/gone"]:
        broker.everdue("put", pages.url(path), "--every", "400ms")
    crawler = processes("recrawl", broker.endpoint)
    crawler.expected = {-signal.SIGTERM}  # a plain program: it does not catch it

    def record(path):
        return broker.json("get", pages.url(path))

    def interval(path):
        return record(path).get("memo", {}).get("in_us")

    wait_until(lambda: interval("/law") == 3_200_000, what="the longest interval")
    wait_until(lambda: interval("/news") == 50_000, what="the shortest interval")
    assert record("/news")["note"] == "changed" and "note" not in record("/law")
    assert pages.seen.count("/news") > pages.seen.count("/law")
    gone = wait_until(lambda: record("/gone").get("failures") and record("/gone"))
    assert gone["error"] == "HTTP response code said error" and "memo" not in gone
