"""Faults that let more calls out than a limit allows, in one process (FAULTS L1, L4)."""

from __future__ import annotations

import asyncio

import pytest

from headway import Concurrency, Limiter, Quota, Window

from .support import ExactWindow, midnight_in, permitted, takes, virtually


def test_a_bound_that_is_withdrawn_leaves_no_place_counted_down_twice(headway_clock):
    """L1: the late settle of a slow call must not free a place that the call no longer holds."""
    limiter = Limiter(Window(5, per=1, arrival_bound=0.1), clock=headway_clock)
    slow = takes(limiter, 5)
    for permit in slow:
        permit.sent()
    headway_clock.advance(1.3)  # all five were counted by now: their places are free though no reply came
    other = limiter.acquire(timeout=0)
    other.rejected("window", 1)
    other.settle()
    for permit in slow:
        permit.settle()
    headway_clock.advance(30)
    free = limiter.snapshot()[0].free
    held = []
    for _ in range(20):
        held += takes(limiter, 20)
        headway_clock.advance(0.25)
    assert len(held) <= 5, f"{len(held)} calls are in flight under a window of 5, no reply came of any"
    assert free <= 5, f"{free} places of 5 are free"


@pytest.mark.parametrize("lost", [1, 40])
def test_a_lost_call_whose_linger_spans_the_reset_counts_in_the_new_day(lost):
    """L4: it may be counted on either side, whether or not anybody looked in between."""
    clock = midnight_in(60)
    limiter = Limiter(Quota(100, resets="00:00 UTC"), linger=120, clock=clock)
    for permit in takes(limiter, lost):
        permit.lose()
    clock.advance(300)  # past the reset and past the linger, and nobody looked
    granted = len(takes(limiter, 200))
    assert granted <= 100 - lost, f"{granted} + {lost} that may count today, of 100"


def test_a_call_in_flight_over_the_reset_counts_on_both_sides_whoever_looks(headway_clock):
    """L4: what settles after a reset that nobody watched counts in the new day as well."""
    del headway_clock
    clock = midnight_in(60)
    limiter = Limiter(Quota(50, resets="00:00 UTC"), Concurrency(50), linger=200, clock=clock)
    slow = takes(limiter, 20)
    for permit in slow[:10]:
        permit.lose()  # counted by 140 s after the reset at the latest
    clock.advance(400)
    for permit in slow[10:]:
        permit.settle()
    granted = []
    while (permit := limiter.try_acquire()) is not None and len(granted) < 100:
        permit.settle()
        granted.append(permit)
    assert len(granted) <= 30, f"{len(granted)} beside 20 that may count today, of 50"


def test_a_platform_that_counts_within_the_bound_never_holds_more_than_its_amount():
    """L1 as the platform sees it: a bound that turns out wrong, slow replies, and an exact window."""

    async def main(clock):
        exact = ExactWindow(7, 1.0)
        limiter = Limiter(Window(7, per=1, arrival_bound=0.2), clock=clock)

        async def worker(number):
            for turn in range(30):
                permit = await permitted(limiter, 60)
                if permit is None:
                    return
                permit.sent()
                await asyncio.sleep(0.01)
                left = exact.arrive(clock.seconds)
                await asyncio.sleep(3.0 if (turn + number) % 5 == 0 else 0.02)
                if left is None or (turn == 4 and number == 0):
                    permit.rejected("window", 1)
                permit.settle()

        await asyncio.gather(*[worker(number) for number in range(12)])
        return exact.refused, limiter.snapshot()[0]

    refused, status = virtually(main)
    assert refused == 0, f"{refused} calls above 7 a second"
    assert 0 <= status.free <= 7
