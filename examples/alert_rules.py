"""Evaluates alert rules: python3 -m everdue.worker alert_rules:evaluate --queue rules

A rule's payload names a metrics text endpoint, a metric and a limit: {"url":
"http://host:9100/metrics", "metric": "node_load1", "above": 4}. A batch asks each endpoint once. A
rule that fires comes round after a fifth of its time; the memo says since when it does.
"""
import time
import urllib.request

import everdue


def read(url: str) -> dict[str, float]:
    """Value by metric, labels included, of an endpoint in Prometheus' text format."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        lines = answer.read(16 << 20).decode().splitlines()
    samples = (line.rpartition("}") for line in lines if line and not line.startswith("#"))
    return {(head + brace or rest.split()[0]): float(rest.split()[0 if brace else 1])
            for head, brace, rest in samples}


@everdue.handler(every="30s", batch=100, queue="rules")
def evaluate(tasks: list[everdue.Task]) -> list[dict]:
    seen: dict[str, dict[str, float] | Exception] = {}
    for url in {task.payload["url"] for task in tasks}:
        try:
            seen[url] = read(url)
        except (OSError, ValueError) as error:
            seen[url] = error
    return [judge(task, seen[task.payload["url"]]) for task in tasks]


def judge(task: everdue.Task, samples: dict[str, float] | Exception) -> dict:
    if isinstance(samples, Exception) or task.payload["metric"] not in samples:
        return {"outcome": "retry", "error": f"no value: {samples!s:.200}"}
    value = samples[task.payload["metric"]]
    if value <= task.payload["above"]:
        return {"memo": None, "note": f"ok: {value:g}"}
    return {"memo": task.memo or int(time.time()), "note": f"firing: {value:g}",
            "in": (task.every_ms or 30_000) / 5000}
