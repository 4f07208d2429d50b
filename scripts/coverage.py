"""coverage.py BUILD [--lines FILE...]: branches taken, as gcov tells of a build with --coverage.

A branch counts once for each place in the source, taken in any of the programs. Those to a failed
assertion do not count: they are our own bugs, and there is no test of them. Nor do the three
*_check.c of the core, which are nothing but assertions for tests. --lines prints each line with
branches that were never taken, and which of its branches those are.
"""

import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = {
    "core": ["broker/sched*.c", "broker/heap*.c", "broker/run.c", "broker/shelves*.c",
             "broker/chunks.c", "broker/nodes.c", "broker/table.c", "broker/slab.c",
             "broker/body.c", "broker/hash.c", "broker/stats.c"],
    "codec": ["common/wire*.c", "common/message*.c", "common/fields.c", "common/bytes.c",
              "common/utf8.c"],
    "store and journal": ["broker/store*.c"],
}
ASSERTIONS = {"sched_check.c", "heap_check.c", "shelves_check.c"}


def gcov(build):
    """What each object file counted, as dicts of gcov's JSON."""
    for notes in sorted(build.rglob("*.gcda")):
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                               notes.name], cwd=notes.parent, capture_output=True, text=True,
                              check=False)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                yield from json.loads(line)["files"]


def source_of(name, build):
    path = pathlib.Path(name)
    path = path if path.is_absolute() else build / path
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else None


def collect(build):
    """{file: {(line, place): times taken}}"""
    taken = collections.defaultdict(collections.Counter)
    for file in gcov(build):
        source = source_of(file["file"], build)
        if not source or source.startswith("tests/"):
            continue
        text = (ROOT / source).read_text(encoding="utf-8").splitlines()
        for line in file["lines"]:
            if "assert(" in text[line["line_number"] - 1]:
                continue
            for place, branch in enumerate(line["branches"]):
                taken[source][line["line_number"], place] += branch["count"]
    return taken


def share(counts):
    return sum(1 for count in counts if count), len(counts)


def print_part(name, patterns, taken):
    files = sorted({str(path.relative_to(ROOT)) for pattern in patterns
                    for path in ROOT.glob(pattern) if path.name not in ASSERTIONS})
    done = total = 0
    for file in files:
        one, all_ = share(taken[file].values())
        done, total = done + one, total + all_
        if all_:
            print(f"{file:36} {one:5} of {all_:5}  {100 * one / all_:5.1f} %")
    print(f"{name:36} {done:5} of {total:5}  {100 * done / max(total, 1):5.1f} %\n")


def print_lines(file, taken):
    """Branches are counted as gcov has them: for each condition the one that holds comes first."""
    text = (ROOT / file).read_text(encoding="utf-8").splitlines()
    for line in sorted({line for (line, _), count in taken.items() if not count}):
        marks = "".join("+" if count else "-"
                        for (at, _), count in sorted(taken.items()) if at == line)
        print(f"{file}:{line}: {marks} {text[line - 1].strip()}")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    taken = collect(build)
    if "--lines" in sys.argv:
        for file in sys.argv[sys.argv.index("--lines") + 1:]:
            print_lines(file, taken[file])
        return
    for name, patterns in PARTS.items():
        print_part(name, patterns, taken)


if __name__ == "__main__":
    main()
