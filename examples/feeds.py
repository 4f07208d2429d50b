#!/usr/bin/python3
"""Polls feeds: everdue-worker --queue feeds --pipe -- ./feeds.py [LEAST_S [MOST_S]]

The key is the URL. What changed comes back in half the time, what did not (by ETag, Last-Modified
or its bytes) in twice the time, between LEAST_S and MOST_S (60, 86400). Needs no package.
"""
import hashlib
import json
import sys
import urllib.error
import urllib.request

LEAST_S, MOST_S = map(float, (sys.argv[1:] + ["60", "86400"][len(sys.argv) - 1:]))


def poll(url: str, memo: dict) -> dict:
    """The memo for the next run; `seconds` in it is the time until then."""
    names = {"etag": "If-None-Match", "modified": "If-Modified-Since"}
    headers = {names[each]: memo[each] for each in names if memo.get(each)}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as got:
            new = {"etag": got.headers["ETag"], "modified": got.headers["Last-Modified"],
                   "digest": hashlib.sha256(got.read(16 << 20)).hexdigest()}
    except urllib.error.HTTPError as error:
        if error.code != 304:
            raise
        new = memo
    seconds = memo.get("seconds", 4 * LEAST_S) * (2 if new["digest"] == memo.get("digest") else 0.5)
    return {**new, "seconds": min(max(seconds, LEAST_S), MOST_S)}


for line in sys.stdin:
    task = json.loads(line)
    try:
        memo = poll(task["key"], task.get("memo") or {})
        result = {"memo": memo, "in": f"{memo['seconds']:.3f}s"}
    except (OSError, ValueError) as error:  # not reached, no feed there, no URL
        result = {"outcome": "retry", "error": str(error)}
    print(json.dumps({"lease": task["lease"], **result}), flush=True)
