"""What stands in the way of a call, and whether it is worth waiting for."""

import asyncio

import pytest

from headway import Concurrency, Limiter
from headway.accounts.waiting import Obstacle, Parked, PermitQueue, obstacle
from headway.clock import SystemClock
from headway.limits.status import LimitStatus


def status(name, next_free=0.0, *, kind="window", paused=None):
    return LimitStatus(name, kind, 100, 0, 0, 0, next_free, paused)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ([], None),
        ([status("a")], None),
        ([status("a", 3.0)], Obstacle("a", "window", 3.0)),
        ([status("a", 3.0), status("b", 9.0, kind="quota")], Obstacle("b", "quota", 9.0)),
        ([status("a", None)], Obstacle("a", "window", None)),
        ([status("a", None), status("b", 2.0)], Obstacle("b", "window", 2.0)),
        ([status("a", 3.0, paused=60.0)], Obstacle("a", "window", 60.0)),
        ([status("other", 3.0)], None),
    ],
)
def test_the_limit_that_stands_in_the_way_longest_is_named(statuses, found):
    assert obstacle(statuses, frozenset("ab")) == found


def test_who_waits_hears_at_once_of_what_is_not_worth_waiting_for():
    async def main():
        limiter = Limiter(Concurrency(1, name="slots"))
        held, told, said = limiter.acquire(), [], asyncio.Event()

        def tell(event):
            told.append(event)
            said.set()

        queue = PermitQueue(limiter, account="a", priority="bulk", wait_for_quota=0.0, clock=SystemClock(), tell=tell)
        waiting = asyncio.create_task(queue.take(asyncio.get_running_loop().create_future()))
        await said.wait()  # what it waits for; it would look again after ten seconds only
        held.rejected("slots", retry_after=2 * 3600)
        return await asyncio.wait_for(waiting, 5), told

    parked, told = asyncio.run(main())
    assert isinstance(parked, Parked)
    assert parked.seconds > 3600
    assert [(each.account, each.limit) for each in told] == [("a", "slots")]


def test_a_stop_ends_a_wait():
    async def main():
        limiter = Limiter(Concurrency(1))
        held = limiter.acquire()
        queue = PermitQueue(limiter, account="a", priority="bulk", wait_for_quota=0.0, clock=SystemClock(), tell=print)
        stop = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(queue.take(stop))
        await asyncio.sleep(0)
        stop.set_result(None)
        assert await asyncio.wait_for(waiting, 5) is None
        held.settle()
        return limiter.snapshot()[0].in_flight

    assert asyncio.run(main()) == 0


def test_a_stop_comes_before_a_wait_that_is_not_worth_it():
    async def main():
        limiter = Limiter(Concurrency(1, name="slots"))
        held, said = limiter.acquire(), asyncio.Event()
        queue = PermitQueue(
            limiter, account="a", priority="bulk", wait_for_quota=0.0, clock=SystemClock(), tell=lambda _: said.set()
        )
        stop = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(queue.take(stop))
        await said.wait()
        held.rejected("slots", retry_after=2 * 3600)  # both at once
        stop.set_result(None)
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(main()) is None
