"""The express way and the ordinary one mix freely: what is in the meters is the same whichever a call went."""

from __future__ import annotations

import pytest

from headway.limiter.limiter import Limiter
from headway.limits.limits import SECOND, Concurrency, Window


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def monotonic_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return self.now


def warm(*limits) -> tuple[Limiter, Hands]:
    """A limiter whose gate offers the express way, with nothing held."""
    clock = Hands()
    limiter = Limiter(*limits, clock=clock, linger=30)
    limiter.acquire().cancel()
    assert limiter._gate.express is not None
    return limiter, clock


def test_a_lost_call_holds_up_no_place_behind_it():
    limiter, clock = warm(Window(4, per=10, guard=0))
    lost, *others = [limiter.acquire() for _ in range(4)]
    lost.lose()
    clock.now += SECOND
    for permit in others:
        permit.settle()
    clock.now += 10 * SECOND
    assert len(list(iter(limiter.try_acquire, None))) == 3


def test_a_lost_call_keeps_its_place_when_those_behind_it_are_free():
    limiter, clock = warm(Window(5, per=10, guard=0))
    permits = [limiter.acquire() for _ in range(5)]
    permits[0].settle()
    clock.now += SECOND
    permits[1].lose()
    for permit in permits[2:]:
        permit.settle()
    clock.now += 20 * SECOND  # all but the lost one have cooled
    held = [limiter.acquire() for _ in range(4)]
    assert limiter.try_acquire() is None
    clock.now += 20 * SECOND
    assert limiter.try_acquire() is not None
    assert len(held) == 4


def test_a_call_that_was_under_way_when_the_guard_grew_settles_with_the_greater_one():
    limiter, clock = warm(Window(1, per=10, guard=1))
    permit = limiter.acquire()
    limiter._gate.express = None  # what learning does when it changes how a limit is counted
    limiter._gate.meters["window"].guard *= 2
    permit.settle()
    clock.now += 11 * SECOND
    assert limiter.try_acquire() is None
    clock.now += SECOND
    assert limiter.try_acquire() is not None


@pytest.mark.parametrize("end", ["settle", "lose", "cancel"])
def test_a_permit_ends_once_whichever_way_it_went(end):
    limiter, clock = warm(Window(3, per=10, guard=0), Concurrency(3))
    permit = limiter.acquire()
    getattr(permit, end)()
    permit.settle()
    permit.cancel()
    permit.lose()
    assert permit.over
    assert all(status.in_flight == 0 for status in limiter.snapshot())
    clock.now += 41 * SECOND
    assert [status.free for status in limiter.snapshot()] == [3, 3]


def test_a_permit_that_another_thread_ended_meanwhile_gives_a_ticket_that_is_over():
    limiter, _ = warm(Window(2, per=10, guard=0))
    permit = limiter.acquire()
    permit.settle()  # the other thread, between this one's look at `over` and its ticket
    limiter.lose(limiter.ticket_of(permit))
    status = limiter.snapshot()[0]
    assert (status.in_flight, status.cooling) == (0, 1)


def test_all_or_nothing_when_the_last_limit_is_full():
    limiter, _ = warm(Window(5, per=10, name="short"), Window(2, per=100, name="long"), Concurrency(5))
    permits = [limiter.acquire() for _ in range(2)]
    assert limiter.try_acquire() is None
    assert [status.in_flight for status in limiter.snapshot()] == [2, 2, 2]
    assert len(permits) == 2
