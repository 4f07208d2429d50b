"""HeapBook: what is held ahead and what is not acknowledged, as stories with a clock of their own."""

import math

import pytest

from everdue.ahead import AHEAD_S, IDLE_S, HeapBook
from everdue.records import Task
from everdue.wire import Answer, Kind, Status


class Story:
    """A book, a clock, and a broker that grants leases in order."""

    def __init__(self, most=64):
        self.book, self.now_s, self.lease, self.request = HeapBook(most), 1000.0, 0, 0

    def take(self, count=0):
        """A TAKE goes out, for so many or as many as the pace says; its number."""
        self.request += 1
        self.book.begin_take(self.request, count or self.book.to_fill(self.now_s))
        return self.request

    def answer(self, request, *ranks, status=Status.OK):
        """The answer to it: records of these ranks."""
        tasks = []
        for rank in ranks:
            self.lease += 1
            tasks.append([0, f"r{rank}", self.lease, 1, 5, 0, 0, 0, 60_000, b"x", None, None, 0,
                          rank])
        self.book.answered(request, Answer(status, tasks), self.now_s)
        for task in tasks:
            self.book.grant(Task(task, ["q"], self.now_s), self.now_s)

    def fill(self, *ranks, is_all=True):
        """A TAKE and its answer, which has all that there is, or as many as were asked for."""
        self.answer(self.take(len(ranks) + is_all), *ranks)

    def pop(self, work_s=0.0):
        """The rank of the next record that may be popped, None when the broker is to be asked."""
        task = self.book.first()
        if task is None or not self.book.may_pop(task):
            return None
        self.now_s += work_s
        self.popped = self.book.pop(self.now_s)
        return self.popped.rank

    def push(self, rank, outcome=0):
        self.book.push(self.popped, [0, self.popped.key, self.popped.lease, 1, outcome], rank)

    def acknowledge(self, *statuses):
        """Send the reports that wait; their answers."""
        items, held = self.book.reports(self.now_s)
        self.request += 1
        self.book.sent(self.request, Kind.REPORT, held)
        self.book.answered(self.request, Answer(Status.OK, list(statuses) or [0] * len(items)),
                           self.now_s)


@pytest.fixture
def story():
    return Story()


def test_what_is_held_ahead_comes_by_rank_whatever_take_brought_it(story):
    story.fill(3, 5, 9)
    story.fill(4, 6)
    assert [story.pop() for _ in range(6)] == [3, 4, 5, 6, 9, None]


def test_the_window_opens_by_doubling_and_closes_at_once(story):
    windows = []
    for _ in range(9):
        story.answer(story.take(), *range(story.book.window))
        while story.pop(work_s=0.0001) is not None:
            pass
        windows.append(story.book.window)
    assert windows == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    story.answer(story.take(), 1)
    story.pop(work_s=0.04)
    story.take()
    assert story.book.window == 1


@pytest.mark.parametrize("work_s", [0.001, 0.005, 0.02, 0.025, 0.03, 10])
def test_no_more_is_held_than_is_worked_on_in_a_twentieth_of_a_second(story, work_s):
    for _ in range(20):
        story.answer(story.take(), *range(story.book.window))
        while story.pop(work_s) is not None:
            pass
    story.take()
    assert story.book.window == max(1, int(AHEAD_S / work_s + 1e-6))


@pytest.mark.parametrize("most", [0, 1])
def test_nothing_is_taken_ahead_when_that_is_switched_off(most):
    story = Story(most)
    for _ in range(10):
        story.answer(story.take(), 1)
        story.pop(work_s=0.0001)
        assert story.book.window == 1 and not story.book.is_low()
        story.push(7)
        assert story.book.is_to_be_sent()  # at once


def test_a_lower_rank_that_was_pushed_here_is_looked_for_before_what_is_held(story):
    story.fill(3, 5)
    story.pop()
    story.push(4)
    assert story.pop() is None
    story.fill()  # it was asked for too early: the push is not acknowledged, the answer knows nothing
    assert story.pop() is None
    story.acknowledge()
    assert story.pop() is None  # and nobody has asked since
    story.fill(4)
    assert [story.pop(), story.pop()] == [4, 5]


def test_a_push_while_a_take_is_under_way_is_not_in_its_answer(story):
    story.fill(3, 5)
    story.pop()
    request = story.take()
    story.push(4)
    story.acknowledge()
    story.answer(request, 6)
    assert story.pop() is None
    story.fill(4)
    assert [story.pop() for _ in range(3)] == [4, 5, 6]


def test_what_is_behind_the_last_of_a_full_answer_is_not_popped_before_another(story):
    story.fill(10, 20)
    assert story.pop() == 10
    story.fill(3, 5, is_all=False)  # somebody else pushed these; there may be more
    assert [story.pop() for _ in range(3)] == [3, 5, None]
    story.fill(7)
    assert [story.pop(), story.pop()] == [7, 20]


def test_looks_for_lower_ones_ask_for_more_each_time(story):
    story.book.window = 8
    assert [story.book.to_look() for _ in range(5)] == [1, 2, 4, 8, 8]


def test_what_lower_ones_have_pushed_far_back_is_given_back(story):
    story.book.window = 2
    story.fill(10, 20, 30, 40)
    story.book.first()
    story.book.trim_ahead()
    assert not story.book.returned
    story.fill(5)
    story.book.first()
    story.book.trim_ahead()
    assert [item[1] for item in story.book.returned] == ["r20", "r30", "r40"]
    assert [story.pop(), story.pop(), story.pop()] == [5, 10, None]


def test_a_push_of_a_higher_or_an_equal_rank_asks_nobody(story):
    story.fill(3, 5, 7)
    story.pop()
    story.push(7)
    assert [story.pop(), story.pop()] == [5, 7]


def test_what_was_consumed_has_no_place(story):
    story.fill(3, 5)
    story.pop()
    story.push(math.inf, outcome=3)
    assert story.pop() == 5 and not story.book.is_pushing()


def test_what_is_not_popped_is_given_back_unbegun(story):
    story.fill(3, 5, 7)
    story.pop()
    story.book.give_back_idle(story.now_s + IDLE_S / 2)
    assert not story.book.returned
    story.book.give_back_idle(story.now_s + IDLE_S)
    assert story.book.returned == [[0, "r5", 2, False], [0, "r7", 3, False]]
    assert story.pop() is None and list(story.book.held) == [1]


def test_what_was_cancelled_is_not_popped(story):
    story.fill(3, 5, 7)
    story.book.cancel([2])
    assert [story.pop(), story.pop(), story.pop()] == [3, 7, None]
    assert not story.book.returned and 2 not in story.book.held


def test_stale_and_gone_pushes_are_remembered_and_others_are_faults(story):
    story.fill(1, 2, 3, 4)
    for rank in (1, 2, 3, 4):
        assert story.pop() == rank
        story.push(rank + 100)
    story.acknowledge(Status.OK, Status.STALE, Status.GONE, Status.BAD_FIELD)
    assert story.book.lost == ["r2", "r3"] and story.book.faults == [("r4", Status.BAD_FIELD)]
    assert story.book.returned == [[0, "r4", 4, True]] and not story.book.reported


def test_a_push_that_meets_a_busy_broker_stays_until_it_is_taken(story):
    story.fill(1)
    story.pop()
    story.push(5)
    story.acknowledge(Status.NO_SPACE)
    assert story.book.is_pushing() and story.book.reports(story.now_s) is None
    story.now_s += 1.1
    story.acknowledge(Status.OK)
    assert not story.book.reported and not story.book.faults


def test_another_session_announces_all_and_sends_pushes_again(story):
    story.fill(1, 2)
    story.pop()
    story.push(5)
    story.take()
    assert story.book.reports(story.now_s)
    assert [item[2] for item in story.book.to_resume()] == [1, 2]
    assert story.book.take is None and len(story.book.fresh) == 1


def test_with_another_store_what_was_pushed_is_lost_and_told(story):
    story.fill(1, 2, 3)
    story.pop()
    story.push(5)
    story.pop()
    story.push(math.inf, outcome=3)
    story.book.forget()
    assert story.book.lost == ["r1"] and story.pop() is None and story.book.low == math.inf
    story.book.push(story.popped, [], 1)  # of the old store
    assert not story.book.reported


def test_a_take_that_was_refused_is_kept_for_the_next_pop(story):
    request = story.take()
    story.answer(request, status=Status.DRAINING)
    assert story.book.refused_take.status == Status.DRAINING and story.book.take is None
    story.book.window = 8
    assert not story.book.is_low()  # it asks no more before somebody was told
