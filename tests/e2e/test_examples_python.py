"""The examples in Python, and the boxes in both languages, against real servers on loopback."""

import http.server
import json
import subprocess
import threading
import time

import pytest

from conftest import PROGRAMS, ROOT, environment, wait_until

EXAMPLES = ROOT / "examples"
PYTHON = {"PYTHONPATH": f"{ROOT / 'python'}:{EXAMPLES}", "PYTHONDONTWRITEBYTECODE": "1"}
BOXES = "3 3 3 cube\n1 1 1 tiny\n10 1 2 flat\n100000 100000 2 huge\n2 2 2 small\n"
SORTED = ["tiny 1", "small 8", "flat 20", "cube 27", "huge 20000000000"]


@pytest.fixture
def serve():
    """serve(answer) starts a web server and gives its address; answer(path, headers, body) gives
    status, headers and body."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, text = answer(self.path, self.headers, body.decode())
                self.send_response(status)
                for name, value in {"Content-Length": len(text), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def python_workers(brokers, processes):
    """Starts `python3 -m everdue.worker` for an example's function."""
    def start(broker, function, *arguments):
        return processes("/usr/bin/python3", "-m", "everdue.worker", function,
                         "--broker", broker.endpoint, *arguments, name="python", env=PYTHON)

    return start


def test_examples_are_forty_lines_or_less():
    for name in ["boxes.c", "boxes.py", "feeds.py", "alert_rules.py", "refresh_tokens.py"]:
        assert len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 40, name


# --- a heap with an order of its own ---


def test_boxes_in_python_come_smallest_first(broker):
    done = subprocess.run(["/usr/bin/python3", EXAMPLES / "boxes.py", broker.endpoint], input=BOXES,
                          capture_output=True, text=True, check=True, env=environment() | PYTHON)
    assert done.stdout.splitlines() == SORTED
    assert broker.stats()["records"] == 0


def test_boxes_in_c_come_smallest_first(broker):
    done = subprocess.run([PROGRAMS / "boxes", broker.endpoint], input=BOXES, capture_output=True,
                          text=True, check=True, env=environment())
    assert done.stdout.splitlines() == [" ".join(reversed(line.split())) for line in SORTED]
    assert broker.stats()["records"] == 0


# --- feeds ---


def test_feeds_are_asked_by_etag_and_polled_by_how_often_they_change(broker, serve, workers):
    asked = {"quiet": [], "busy": [], "dated": [], "plain": []}
    changes = {"n": 0}

    def answer(path, headers, _):
        name = path.strip("/")
        asked[name].append((time.monotonic(), dict(headers)))
        if name == "busy":
            changes["n"] += 1
            return 200, {"ETag": f'"{changes["n"]}"'}, f"<rss>{changes['n']}</rss>"
        if name == "quiet" and headers["If-None-Match"] == '"same"':
            return 304, {}, ""
        if name == "dated" and headers["If-Modified-Since"]:
            return 304, {}, ""
        validators = {"quiet": {"ETag": '"same"'}, "plain": {},
                      "dated": {"Last-Modified": "Sun, 22 Nov 2026 15:00:00 GMT"}}
        return 200, validators[name], "<rss/>"

    address = serve(answer)
    for name in asked:
        broker.everdue("put", f"{address}/{name}", "--queue", "feeds")
    broker.everdue("put", "http://127.0.0.1:1/nobody", "--queue", "feeds")
    workers(broker, "--queue", "feeds", "-n", 1, "--pipe", "--", "/usr/bin/python3", "-B",
            EXAMPLES / "feeds.py", "0.1", "60")
    wait_until(lambda: len(asked["busy"]) >= 8, seconds=20)

    def memo(name):
        return broker.json("get", "--queue", "feeds", f"{address}/{name}").get("memo") or {}

    for name in ("quiet", "dated", "plain"):
        wait_until(lambda: memo(name).get("seconds", 0) >= 0.8, what=f"{name}'s longer interval")
    assert memo("busy")["seconds"] == 0.1
    assert len(asked["quiet"]) < len(asked["busy"])
    assert asked["quiet"][1][1]["If-None-Match"] == '"same"'
    assert asked["dated"][1][1]["If-Modified-Since"] == "Sun, 22 Nov 2026 15:00:00 GMT"
    dead = broker.json("get", "--queue", "feeds", "http://127.0.0.1:1/nobody")
    assert dead["failures"] >= 1 and "refused" in dead["error"]


# --- alert rules ---


def test_rules_fire_clear_and_are_evaluated_by_batch(broker, serve, python_workers):
    load, asked = {"value": 1.5}, []

    def answer(path, *_):
        asked.append(path)
        return 200, {}, ("# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\n"
                         f"node_load1 {load['value']}\n"
                         'disk_used{path="/a b"} 0.97 1763822400123\n')

    url = serve(answer) + "/metrics"
    rules = {"load": {"metric": "node_load1", "above": 4},
             "disk": {"metric": 'disk_used{path="/a b"}', "above": 0.9},
             "lost": {"metric": "no_such_metric", "above": 0}}
    lines = [json.dumps({"key": name, "every": "1s", "payload": {"url": url, **rule}})
             for name, rule in rules.items()]
    broker.everdue("sync", "-", "--queue", "rules", "--spread", "1ms", input="\n".join(lines))
    python_workers(broker, "alert_rules:evaluate", "-n", 1)

    def rule(name):
        return broker.json("get", "--queue", "rules", name)

    wait_until(lambda: rule("load").get("note") == "ok: 1.5")
    wait_until(lambda: rule("disk").get("note") == "firing: 0.97")
    wait_until(lambda: "no value" in rule("lost").get("error", ""))
    load["value"] = 8
    wait_until(lambda: rule("load").get("note") == "firing: 8")
    since = rule("load")["memo"]
    assert abs(since - time.time()) < 60
    load["value"] = 2
    wait_until(lambda: rule("load").get("note") == "ok: 2")
    assert "memo" not in rule("load")
    # 500 rules of one endpoint need far fewer questions than rules.
    many = [json.dumps({"key": f"r{i}", "every": "1h", "payload": {"url": url, **rules["load"]}})
            for i in range(500)]
    asked.clear()
    broker.everdue("sync", "-", "--queue", "rules", "--spread", "1ms", input="\n".join(many))
    wait_until(lambda: rule("r499").get("note") and rule("r0").get("note"))
    assert len(asked) < 250


# --- tokens ---


def test_tokens_are_refreshed_before_they_expire_and_refused_ones_parked(
        broker, serve, python_workers):
    asked = []

    def answer(_, headers, body):
        form = dict(part.split("=") for part in body.split("&"))
        asked.append((time.monotonic(), form))
        if form["client_id"] == "revoked":
            return 400, {}, '{"error": "invalid_grant"}'
        number = int(form["refresh_token"].removeprefix("r")) + 1
        return 200, {}, json.dumps({"access_token": f"a{number}", "refresh_token": f"r{number}",
                                    "expires_in": 1})

    url = serve(answer) + "/token"
    for name in ("app", "revoked"):
        broker.everdue("put", name, json.dumps({"url": url, "client_id": name,
                                                "refresh_token": "r0"}), "--queue", "tokens")
    python_workers(broker, "refresh_tokens:refresh", "-n", 1)
    wait_until(lambda: len([1 for _, form in asked if form["client_id"] == "app"]) >= 4)
    runs = [(at, form) for at, form in asked if form["client_id"] == "app"]
    assert [form["refresh_token"] for _, form in runs[:4]] == ["r0", "r1", "r2", "r3"]  # rotated
    assert all(later[0] - earlier[0] >= 0.75 for earlier, later in zip(runs, runs[1:]))
    memo = broker.json("get", "--queue", "tokens", "app")["memo"]
    assert int(memo["access_token"][1:]) >= 3
    revoked = broker.json("get", "--queue", "tokens", "revoked")
    assert revoked["state"] == "parked" and "refused" in revoked["error"]
