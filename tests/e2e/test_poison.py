"""A record that kills whoever works on it."""

from conftest import wait_until

OTHERS = [f"good-{i}" for i in range(8)]
RUN = """#!/bin/sh
case $1 in poison) kill -KILL $PPID ;; esac
echo "$1" >> "$(dirname "$0")/log"
"""


def test_a_record_that_kills_its_workers_is_parked_and_the_others_go_on(brokers, workers,
                                                                        directory):
    settings, run = directory / "config", directory / "run.sh"
    settings.write_text("[queues]\nbackoff-first = 20ms\nbackoff-max = 100ms\n", encoding="ascii")
    run.write_text(RUN, encoding="ascii")
    run.chmod(0o755)
    broker = brokers("--reconnect", "0s", "--config", settings)
    broker.everdue("put", "poison", "--every", "1h")
    for key in OTHERS:
        broker.everdue("put", key, "--every", "100ms")

    def counts():
        done = (directory / "log").read_text(encoding="ascii").split()
        return {key: done.count(key) for key in OTHERS}

    workers(broker, "-n", "4", "--", run, "{key}")
    record = wait_until(lambda: parked(broker), seconds=60, what="the parking")
    assert record["crashes"] == 10 and record["park_reason"] == "its lease was lost too often"
    assert record["last_worker"]
    before = counts()
    wait_until(lambda: all(counts()[key] > before[key] + 2 for key in OTHERS), seconds=30,
               what="the runs of the others")
    stats = broker.stats()
    assert stats["parked"] == 1 and stats["records"] == 1 + len(OTHERS)
    # Whoever was in hand with it was lost with it, and has run since.
    wait_until(lambda: all(broker.json("get", key)["crashes"] == 0 for key in OTHERS),
               what="good runs")


def parked(broker):
    record = broker.json("get", "poison")
    return record if record["state"] == "parked" else None
