"""Results as a table for people and as JSON for bench/plot."""
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
from typing import Any

from rows import Row
from targets import REMARKS, TARGETS


def number(value: float) -> str:
    """Three digits that matter, with commas where it is large."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def machine() -> dict[str, Any]:
    """What was measured on, and when."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpus:
        models = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    root = pathlib.Path(__file__).resolve().parents[1]
    commit = ""
    if shutil.which("git"):  # else from a tree that was copied to a machine without it
        commit = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"],
                                capture_output=True, text=True, check=False).stdout.strip()
    return {"cpu": models[0] if models else platform.machine(),
            "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": commit or "not in git"}


def _cpu(row: Row) -> str:
    """CPU time of broker and workers for each cycle, the least of all rounds."""
    parts = [min(sample.details[name] for sample in row.samples)
             for name in ("broker_us_per_cycle", "workers_us_per_cycle")
             if name in row.samples[0].details]
    return " + ".join(f"{us:.2f}" for us in parts)


def table(rows: list[Row]) -> str:
    """One line a row: median, spread, CPU time."""
    lines = [f"{'row':<21} {'what':<54} {'median':>11} {'lowest':>11} {'highest':>11} {'n':>2}  "
             f"{'unit':<9} broker + workers us/cycle"]
    for row in rows:
        if row.samples:
            lines.append(f"{row.name:<21} {row.title:<54} {number(row.median):>11} "
                         f"{number(row.least):>11} {number(row.most):>11} {len(row.samples):>2}  "
                         f"{row.unit:<9} {_cpu(row)}".rstrip())
    return "\n".join(lines)


def judged(rows: list[Row]) -> list[dict[str, Any]]:
    """Each target that can be judged by these rows."""
    by_name = {row.name: row for row in rows}
    found = []
    for target in TARGETS:
        judgement = target.judge(by_name)
        if judgement:
            found.append({"what": target.text, "value": judgement[0], "limit": target.limit,
                          "unit": target.unit, "at_least": target.at_least, "met": judgement[1]})
    return found


def target_table(rows: list[Row]) -> str:
    """One line a target."""
    lines = [f"{'target':<54} {'measured':>11} {'wanted':>13}  unit"]
    for target in judged(rows):
        wanted = ("at least " if target["at_least"] else "under ") + number(target["limit"])
        lines.append(f"{target['what']:<54} {number(target['value']):>11} {wanted:>17}  "
                     f"{target['unit']:<9} {'met' if target['met'] else 'MISSED'}")
    by_name = {row.name: row for row in rows}
    for text, place, unit in REMARKS:
        row, _, detail = place.partition(".")
        value = by_name[row].number(detail) if row in by_name else None
        if value is not None:
            lines.append(f"{text:<54} {number(value):>11} {'':>17}  {unit}")
    return "\n".join(lines)


def write_json(path: pathlib.Path, rows: list[Row], about: dict[str, Any]) -> None:
    """All samples with their details."""
    path.write_text(json.dumps({
        "machine": machine() | about,
        "rows": {row.name: {"title": row.title, "unit": row.unit, "median": row.median,
                            "samples": [{"value": sample.value} | sample.details
                                        for sample in row.samples]}
                 for row in rows if row.samples},
        "targets": judged(rows)}, indent=1) + "\n", encoding="utf-8")
