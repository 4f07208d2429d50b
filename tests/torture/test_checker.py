"""The history checker finds what is planted, and nothing in a history that is sound."""

import pytest

from plan import MS, OK, STALE, Plan, cycle


@pytest.fixture
def plan():
    return Plan()


# --- sound ---


def test_a_sound_history_has_no_violation(plan):
    plan.ask(1, "put", "k", "v1", until=3)
    cycle(plan, 10, 5, 1, None)
    cycle(plan, 20, 6, 5, "m5")
    plan.ask(26, "put", "k", "v2", until=28)
    cycle(plan, 30, 9, 8, "m6", value="v2")
    plan.ask(40, "put", "other", "x", until=42)
    plan.ask(43, "remove", "other", until=45)
    plan.end(90, ("k", "v2", "m9"), created=2, removed=1)
    assert plan.kinds() == []


def test_what_was_not_answered_may_be_there_or_not(plan):
    for key in ["a", "b"]:
        plan.ask(1, "put", key, "v")
    plan.kill(2, 5)
    plan.end(90, ("a", "v", None))
    assert plan.kinds() == []


def test_what_was_not_answered_may_be_there_up_to_some_request(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "put", "k", "v2")
    plan.ask(4, "put", "k", "v3")
    plan.kill(5, 9)
    plan.end(90, ("k", "v2", None))
    assert plan.kinds() == []


def test_a_report_that_was_not_answered_may_count_or_not(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.report(11, 5)
    plan.kill(12, 20)
    plan.say(25, "resumed", who="peer-a", lease=5, status=OK)
    plan.report(26, 5, until=28)
    plan.grant(30, 6, state=5, memo="m5")
    assert plan.kinds() == []


def test_a_lost_workers_record_may_be_handed_out_again(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.say(11, "doubt", who="peer-a")
    plan.grant(20, 6, who="peer-b")
    plan.report(30, 5, until=31, status=STALE)
    plan.report(32, 6, who="peer-b", until=33)
    assert plan.kinds() == []


def test_after_a_grace_in_vain_the_record_may_be_handed_out_again(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.grant(10, 4, key="k2")
    plan.ask(1, "put", "k2", "v1", until=2)
    plan.kill(20, 30)
    plan.say(40, "resumed", who="peer-a", lease=4, status=OK)
    plan.grant(5031, 9, who="peer-b")
    assert plan.kinds() == []


def test_a_late_report_counts_after_a_crash_of_the_broker(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.say(11, "doubt", who="peer-a")
    plan.grant(20, 6, who="peer-b")
    plan.say(21, "doubt", who="peer-b")
    plan.kill(22, 25)
    plan.report(30, 5, until=31)
    plan.report(32, 6, who="peer-b", until=33, status=STALE)
    plan.grant(40, 8, state=5, memo="m5")
    assert plan.kinds() == []


def test_a_put_while_the_record_is_out_wins_over_the_removing_report(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.ask(11, "put", "k", "v2", until=12)
    plan.report(13, 5, outcome=3, after=50, memo=None, until=15)
    plan.grant(20, 6, state=5, value="v2", due=13)
    plan.end(90, ("k", "v2", None))
    assert plan.kinds() == []


def test_a_weak_policy_may_lose_its_window(plan):
    plan = Plan(window_us=100 * MS)
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(150, "put", "k", "v2", until=151)
    plan.ask(150, "put", "new", "v", until=151)
    plan.kill(200, 205)
    plan.end(290, ("k", "v1", None))
    assert plan.kinds() == []


def test_a_stop_in_order_excuses_no_loss_of_a_weak_policy():
    plan = Plan(window_us=100 * MS)
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(150, "put", "k", "v2", until=151)
    plan.stop(152, 160)
    plan.kill(400, 405)
    plan.end(490, ("k", "v1", None))
    assert plan.kinds() == ["gone"]


def test_what_came_after_a_stop_in_order_may_be_lost_with_a_kill():
    plan = Plan(window_us=100 * MS)
    plan.stop(5, 10)
    plan.ask(150, "put", "k", "v1", until=151)
    plan.kill(200, 205)
    plan.end(290, created=0)
    assert plan.kinds() == []


def test_a_request_that_came_again_late_may_count_late(plan):
    plan = Plan(repeat_us=50 * MS, fifo=False)
    plan.ask(1, "put", "k", "v1", until=5)
    plan.ask(10, "put", "k", "v2", until=12)
    plan.end(90, ("k", "v1", None))
    assert plan.kinds() == []


# --- planted ---


def test_lost(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.kill(5, 9)
    plan.end(90, created=0)
    assert plan.kinds() == ["lost"]


def test_lost_and_hidden_by_the_next_put(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "put", "k", "v2", until=4)
    plan.kill(5, 9)
    plan.say(12, "listed", since=10 * MS, queue="q", values={"k": "v1"})
    plan.ask(13, "put", "k", "v3", until=14)
    plan.end(90, ("k", "v3", None))
    assert plan.kinds() == ["gone"]


def test_lost_beyond_the_window():
    plan = Plan(window_us=100 * MS)
    plan.ask(1, "put", "k", "v1", until=2)
    plan.kill(150, 155)
    plan.end(290, created=0)
    assert plan.kinds() == ["lost"]


def test_acknowledged_and_gone(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "put", "k", "v2", until=4)
    plan.kill(5, 9)
    plan.end(90, ("k", "v1", None))
    assert plan.kinds() == ["gone"]


def test_a_later_request_that_counted_stands_for_all_before_it(plan):
    plan.ask(1, "put", "k", "v1")
    plan.ask(2, "put", "k", "v2", until=4)
    plan.end(90, ("k", "v1", None))
    assert plan.kinds() == ["gone"]


def test_a_task_that_does_not_show_what_was_acknowledged(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "put", "k", "v2", until=4)
    plan.grant(10, 5, value="v1")
    assert plan.kinds() == ["gone"]


def test_a_value_that_was_seen_and_went_back(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "put", "k", "v2")
    cycle(plan, 10, 5, 1, None, value="v2")
    plan.kill(20, 25)
    cycle(plan, 30, 9, 5, "m5", value="v1")
    assert plan.kinds() == ["gone"]


def test_a_report_that_was_acknowledged_and_gone(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    cycle(plan, 10, 5, 1, None)
    plan.kill(15, 20)
    plan.grant(30, 9, state=1, memo=None)
    assert plan.kinds() == ["gone"]


def test_a_memo_that_went_back(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    cycle(plan, 10, 5, 1, None)
    cycle(plan, 20, 6, 5, "m5")
    plan.end(90, ("k", "v1", "m5"))
    assert plan.kinds() == ["gone"]


def test_a_state_that_went_back(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 9, state=7)
    plan.say(11, "back", who="peer-a", lease=9)
    plan.grant(20, 12, state=6)
    assert plan.kinds() == ["gone"]


def test_resurrected(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.ask(3, "remove", "k", until=4)
    plan.kill(5, 9)
    plan.end(90, ("k", "v1", None))
    assert plan.kinds() == ["resurrected"]


def test_resurrected_after_its_report_removed_it(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.report(11, 5, outcome=3, memo=None, until=13)
    plan.grant(20, 6)
    assert plan.kinds() == ["resurrected"]


def test_phantom(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5, value="v?")
    plan.end(90, ("k", "v1", "m?"), ("j", "v", None), created=2)
    assert sorted(plan.kinds()) == ["phantom"] * 3


def test_doubled_lease(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.report(11, 5, until=12)
    plan.grant(20, 5, who="peer-b", state=1, memo="m4")
    assert "doubled" in plan.kinds()


def test_doubled_record(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.end(90, ("k", "v1", None), ("k", "v1", None), created=2)
    assert plan.kinds() == ["doubled"]


def test_numbers_that_go_back(plan):
    for key in ["k", "j"]:
        plan.ask(1, "put", key, "v1", until=2)
    plan.grant(10, 9)
    plan.kill(11, 12)
    plan.grant(20, 7, key="j")
    assert plan.kinds() == ["numbers"]


def test_early(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5, due=11)
    assert plan.kinds() == ["early"]


def test_early_by_what_its_report_named(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.report(11, 5, after=50, until=12)
    plan.grant(30, 6, state=5, memo="m5", due=20)
    assert plan.kinds() == ["early"]


def test_not_early_when_it_was_asked_to_run_now(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.ask(10, "run_now", "k", until=12)
    plan.report(11, 5, after=50, until=12)
    plan.grant(30, 6, state=5, memo="m5", due=20)
    assert plan.kinds() == []


def test_overlapping(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.grant(20, 6, who="peer-b")
    assert plan.kinds() == ["overlapping"]


def test_overlapping_because_the_broker_restarted(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.kill(11, 20)
    plan.say(25, "resumed", who="peer-a", lease=5, status=OK)
    plan.grant(30, 6, who="peer-b")
    assert plan.kinds() == ["overlapping"]


def test_overlapping_because_the_broker_was_stopped_in_order(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.stop(11, 20)
    plan.say(25, "resumed", who="peer-a", lease=5, status=OK)
    plan.grant(30, 6, who="peer-b")
    assert plan.kinds() == ["overlapping"]


def test_overlapping_after_the_doubt_was_over(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.say(5, "doubt", who="peer-a")
    plan.say(9, "sure", who="peer-a")
    plan.grant(10, 5)
    plan.grant(20, 6, who="peer-b")
    assert plan.kinds() == ["overlapping"]


def test_a_stale_report_that_was_accepted(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.say(11, "doubt", who="peer-a")
    plan.grant(20, 6, who="peer-b")
    plan.report(30, 5, until=31)
    assert plan.kinds() == ["stale"]


def test_two_reports_of_one_state_that_counted(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.say(11, "doubt", who="peer-a")
    plan.grant(20, 6, who="peer-b")
    plan.kill(22, 25)
    plan.report(30, 5, until=31)
    plan.report(32, 6, who="peer-b", until=33)
    assert plan.kinds() == ["stale"]


def test_a_refused_report_that_shows(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.say(11, "doubt", who="peer-a")
    plan.grant(20, 6, who="peer-b")
    plan.report(30, 5, until=31, status=STALE)
    plan.report(32, 6, who="peer-b", until=33)
    plan.grant(40, 8, state=6, memo="m5")
    assert plan.kinds() == ["stale"]


def test_a_good_report_that_was_refused(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.grant(10, 5)
    plan.report(11, 5, until=12, status=STALE)
    assert plan.kinds() == ["refused"]


def test_stuck(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    cycle(plan, 10, 5, 1, None)
    plan.say(50, "quiet")
    plan.end(90, ("k", "v1", "m5"))
    assert plan.kinds() == ["stuck"]


def test_a_report_that_is_never_answered(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.say(5, "quiet")
    plan.grant(10, 5)
    plan.report(12, 5)
    plan.end(90, ("k", "v1", "m5"))
    assert plan.kinds() == ["stuck"]


def test_counts_that_do_not_add_up(plan):
    plan.ask(1, "put", "k", "v1", until=2)
    plan.end(90, ("k", "v1", None), created=2)
    assert plan.kinds() == ["counts"]
