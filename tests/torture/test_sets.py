"""The history checker and full sets: what a COMMIT may change, and what it must not."""

import pytest

from plan import MS, OK, Plan


@pytest.fixture
def plan():
    return Plan()


def put_all(plan, *keys):
    for place, key in enumerate(keys):
        plan.ask(1 + place, "put", key, "v1", until=1.5 + place)


def commit(plan, ms, lines, how="prune", until=None, status=OK, counts=None, number=1):
    """A set that began 4 ms before its COMMIT; its BEGIN was answered 2 ms before."""
    plan.say(ms, "commit", who="s", set=number, queue="q", began=(ms - 4) * MS,
             opened=(ms - 2) * MS, lines=lines, plan=how)
    if until is not None:
        counts = counts or [0, 0, len(lines), 0, 0, 0, 0, 0]
        plan.say(until, "committed", who="s", set=number, status=status,
                 counts=counts if status == OK else None)


def test_a_set_puts_its_lines_and_prunes_the_rest(plan):
    put_all(plan, "a", "b")
    commit(plan, 20, {"a": "s1", "c": "s1"}, until=24)
    plan.end(90, ("a", "s1", None), ("c", "s1", None), created=3, removed=1)
    assert plan.kinds() == []


def test_a_set_that_did_not_prune_wiped_nothing(plan):
    put_all(plan, "a", "b")
    commit(plan, 20, {"a": "s1"}, how="plain", until=24)
    plan.end(90, ("a", "s1", None), created=2, removed=1)
    assert plan.kinds() == ["lost"]


@pytest.mark.parametrize("status", [-12, -13, -3])
def test_a_set_that_was_refused_changed_something(plan, status):
    put_all(plan, "a", "b")
    commit(plan, 20, {"a": "s1"}, until=24, status=status)
    plan.end(90, ("a", "s1", None), created=2, removed=1)
    assert plan.kinds() == ["phantom", "lost"]


@pytest.mark.parametrize("how", ["dry", "abort"])
def test_a_set_that_was_not_meant_changed_something(plan, how):
    put_all(plan, "a")
    if how == "dry":
        commit(plan, 20, {"a": "s1"}, how=how, until=24)
    plan.end(90, ("a", "s1", None))
    assert plan.kinds() == ["phantom"]


def test_a_set_that_was_acknowledged_is_lost_in_a_crash(plan):
    put_all(plan, "a", "b")
    commit(plan, 20, {"a": "s1"}, until=24)
    plan.kill(30, 40)
    plan.end(90, ("a", "v1", None), ("b", "v1", None), created=2)
    assert plan.kinds() == ["gone", "resurrected"]


def test_a_set_without_an_answer_may_come_at_any_time_or_not(plan):
    put_all(plan, "a", "b")
    commit(plan, 20, {"a": "s1"})
    plan.kill(30, 40)
    plan.grant(50, 5, key="b")
    plan.end(90, ("a", "s1", None), created=2, removed=1)
    assert plan.kinds() == []


def test_a_set_is_asked_again_after_a_crash_and_was_not_found(plan):
    put_all(plan, "a")
    commit(plan, 20, {"a": "s1"}, until=60, status=-3)
    plan.end(90, ("a", "v1", None))
    assert plan.kinds() == []


@pytest.mark.parametrize("seen, kinds", [(22, []), (50, ["gone"])])
def test_what_a_crash_took_back_may_be_seen_before_it_only(plan, seen, kinds):
    put_all(plan, "a")
    commit(plan, 20, {"a": "s1"}, until=60, status=-3)
    plan.say(seen, "listed", since=seen * MS, queue="q", values={"a": "s1"})
    plan.kill(30, 40)
    plan.end(90, ("a", "v1", None))
    assert plan.kinds() == kinds


def test_a_put_since_begin_is_overwritten_by_the_set(plan):
    put_all(plan, "a")
    plan.ask(18.5, "put", "a", "v2", until=19)
    commit(plan, 20, {"a": "s1"}, until=24)
    plan.end(90, ("a", "s1", None))
    assert plan.kinds() == ["phantom"]


def test_a_put_since_begin_is_pruned_by_the_set(plan):
    put_all(plan, "a")
    plan.ask(18.5, "put", "b", "v2", until=19)
    commit(plan, 20, {"a": "s1"}, until=24)
    plan.end(90, ("a", "s1", None), created=2, removed=1)
    assert plan.kinds() == ["lost"]


def test_a_removal_since_begin_is_undone_by_the_set(plan):
    put_all(plan, "a", "b")
    plan.ask(18.5, "remove", "b", until=19)
    commit(plan, 20, {"a": "s1", "b": "s1"}, until=24)
    plan.end(90, ("a", "s1", None), ("b", "s1", None), created=3, removed=1)
    assert plan.kinds() == ["phantom"]


def test_a_removal_that_found_nothing_is_no_change_since_begin(plan):
    plan.ask(18.5, "remove", "b", until=19, status=-3)
    commit(plan, 20, {"b": "s1"}, until=24)
    plan.end(90, ("b", "s1", None))
    assert plan.kinds() == []


@pytest.mark.parametrize("value", ["v2", "s1"])
def test_a_put_during_the_commit_may_come_first_or_last(plan, value):
    put_all(plan, "a")
    plan.ask(21, "put", "a", "v2", until=26)
    commit(plan, 20, {"a": "s1"}, until=24)
    plan.grant(30, 5, key="a", value=value)
    assert plan.kinds() == []


def test_what_was_pruned_while_it_was_out_comes_back(plan):
    put_all(plan, "a", "b")
    plan.grant(10, 5, key="b")
    commit(plan, 20, {"a": "s1"}, until=24)
    plan.report(30, 5, key="b", until=32)
    plan.grant(40, 6, key="b", state=5, memo="m5")
    plan.end(90, ("a", "s1", None), created=2, removed=1)
    assert "resurrected" in plan.kinds()


@pytest.mark.parametrize("how, counts", [
    ("wrong", [0, 0, 1, 0, 0, 0, 0, 0]), ("plain", [0, 0, 1, 0, 0, 1, 1, 0]),
    ("guarded", [0, 0, 1, 0, 0, 1, 1, 0]), ("plain", [0, 0, 0, 0, 0, 0, 0, 0])])
def test_answers_to_a_commit_that_cannot_be(plan, how, counts):
    commit(plan, 20, {"a": "s1"}, how=how, until=24, counts=counts)
    assert "wiped" in plan.kinds()
