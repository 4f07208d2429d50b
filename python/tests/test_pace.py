"""How much a worker process asks for: traces of the pure part, and one worker that hangs."""

import pytest

from conftest import wait_until
from everdue.pace import JUDGED_S, Pace


def work(pace, now_s, records, each_s, most_s):
    """A handler with `records` before it, each of which takes `each_s`, seen every 5 ms from now_s
    on; when it is done with them, or most_s later."""
    done_s, end_s = now_s, now_s + most_s
    pace.let_pass(now_s, records > 0)
    while records and now_s < end_s - 1e-9:
        now_s += 0.005
        count = min(records, int((now_s - done_s) / each_s + 1e-6))
        done_s, records = done_s + count * each_s, records - count
        pace.finish(count)
        pace.let_pass(now_s, records > 0)
    return now_s


@pytest.fixture
def pace():
    made = Pace(16, 1024)
    made.begin(100.0)
    return made


def test_a_quick_handler_gets_more_at_most_twice_as_much_at_a_time(pace):
    now_s, seen = 100.0, []
    for _ in range(6):
        now_s = work(pace, now_s, 10**6, 10e-6, 0.0201)
        seen.append(pace.credit)
    assert seen == sorted(seen) and all(b <= 2 * a for a, b in zip([16, *seen], seen))
    assert seen[-1] > 500


def test_a_handler_that_hangs_has_the_least_within_80_ms(pace):
    now_s = work(pace, 100.0, 10**6, 10e-6, 0.3)
    assert pace.credit == 1024
    assert now_s < pace.next_s() <= now_s + JUDGED_S
    for _ in range(2):  # what was finished before it hung counts in the first
        pace.let_pass(pace.next_s() + 1e-6, True)
    assert pace.credit == 16
    assert pace.next_s() == float("inf")


def test_who_has_nothing_to_do_keeps_its_credit_and_wants_no_wake_up(pace):
    now_s = work(pace, 100.0, 20000, 10e-6, 1)
    assert pace.credit == 1024 and pace.next_s() == float("inf")
    assert pace.let_pass(now_s + 3600, True) == 1024


def test_a_slow_handler_and_a_given_credit_stay_where_they_are(pace):
    work(pace, 100.0, 1000, 0.01, 2)
    assert pace.credit == 16
    given = Pace(100, 100)
    work(given, 0.0, 10**5, 10e-6, 1)
    assert given.credit == 100


def test_a_quick_worker_holds_more_and_gives_it_back_when_it_hangs(
        client, broker, python_workers, directory):
    flag = directory / "hang"
    for number in range(1000):
        client.put(f"k{number}")
    python_workers(broker, f"""
        @everdue.handler(every="1ms")
        def run(task):
            while os.path.exists({str(flag)!r}):
                time.sleep(0.01)
    """, "-n", 1)
    wait_until(lambda: broker.stats()["reports_ok_total"] > 3000)
    flag.touch()
    wait_until(lambda: broker.stats()["given_back_total"] > 0, what="what it held beyond its pace")
    wait_until(lambda: broker.stats()["leased"] == 16)
    now = broker.stats()
    assert now["lost_total"] == now["expired_total"] == 0
    flag.unlink()
    wait_until(lambda: broker.stats()["reports_ok_total"] > now["reports_ok_total"] + 1000)
