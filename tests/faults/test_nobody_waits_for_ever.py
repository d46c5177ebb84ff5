"""Faults after which somebody waits for ever, or a place is held by nobody (FAULTS L20, L21).

What ends a service thread, or may stop its process, runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from headway import Concurrency, Limiter, Quota, TokenBucket, Window

from .support import got, said, within


def waiting_in_a_loop(limiter: Limiter, count: int = 1) -> asyncio.AbstractEventLoop:
    """A loop in which so many tasks wait for a permit, and which runs no more."""
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        async with limiter.permit():
            pass

    async def main() -> list[asyncio.Task[None]]:
        tasks = [asyncio.ensure_future(wait()) for _ in range(count)]
        await asyncio.sleep(0.05)
        return tasks

    loop.waiters = loop.run_until_complete(main())  # type: ignore[attr-defined]  # so that they stay alive
    return loop


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("limit", [Concurrency(1), Window(1, per=0.2), TokenBucket(5, 1)], ids=lambda each: each.name)
def test_a_loop_that_was_closed_with_waiters_keeps_no_place(limit, count):
    """L20: the grant went to the dead waiter, and the next acquire hung."""
    limiter = Limiter(limit, linger=0.1)
    held = limiter.acquire()
    loop = waiting_in_a_loop(limiter, count)
    loop.close()
    held.settle()
    assert got(limiter, 6) is not None, "the place went to a loop that is closed"
    del loop
    gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [1, 3])
def test_a_loop_that_was_stopped_for_good_keeps_no_place(count):
    """L20: not closed, but it runs no more; its tasks are still there."""
    limiter = Limiter(Concurrency(1), linger=0.1)
    held = limiter.acquire()
    loop = waiting_in_a_loop(limiter, count)
    held.settle()
    permit = got(limiter, 6)
    loop.close()
    assert permit is not None, "the place waits for a loop that nobody runs"


@pytest.mark.filterwarnings("ignore")
def test_a_loop_that_was_stopped_for_good_stops_no_timer_of_others():
    """L20: the limiter's timer belonged to the loop that runs no more."""
    limiter = Limiter(Window(1, per=0.4), linger=0.1)
    limiter.acquire().settle()
    loop = waiting_in_a_loop(limiter)
    permit = got(limiter, 6)
    loop.close()
    assert permit is not None, "nobody polls for the thread that waits"


def test_a_wake_up_that_comes_late_cancels_no_newer_timer():
    """L21: a stale "no wake" of a preempted thread cancelled the loop's timer."""

    class Slow(asyncio.SelectorEventLoop):
        """What other threads hand over comes a little late, as in a loop that is busy."""

        def call_soon_threadsafe(self, callback, *args, context=None):
            def later() -> None:
                self.call_later(0.15, callback, *args)

            return super().call_soon_threadsafe(later, context=context)

    async def main(limiter: Limiter) -> bool:
        slot = await limiter.acquire_async(limits={"c"})
        (await limiter.acquire_async(limits={"w"})).settle()
        first = asyncio.ensure_future(limiter.acquire_async(limits={"c"}))
        await asyncio.sleep(0.01)
        thread = threading.Thread(target=slot.settle)
        thread.start()
        thread.join()
        second = asyncio.ensure_future(limiter.acquire_async(limits={"w"}))
        done, _ = await asyncio.wait([first, second], timeout=6)
        for task in (first, second):
            if task in done:
                task.result().settle()
            task.cancel()
        return second in done

    limiter = Limiter(Concurrency(1, name="c"), Window(1, per=0.6, name="w"))

    def run() -> bool:
        with asyncio.Runner(loop_factory=Slow) as runner:
            return runner.run(main(limiter))

    ended = within(12, run)
    assert ended.fine, f"{ended}"
    assert ended.value, "the window opened after 0.6 s, and nobody woke who waited for it"


TELL = """
    import json, os

    def tell(seconds, **limiters):
        # Which of these still give a permit; then the end, whatever threads hang.
        found = {}
        for name, limiter in limiters.items():
            try:
                limiter.acquire(timeout=seconds).settle()
                found[name] = True
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
        print(json.dumps(found), flush=True)
        os._exit(0)
"""


def all_served(found: dict[str, object], **who: str) -> None:
    """The program ended, and said of each of these that it got its permit."""
    assert found["ended"], f"{found}"
    for name, meant in who.items():
        assert found.get(name) is True, f"{meant}: {found}"


CLOSED_BETWEEN = """
    import asyncio, threading, time
    from headway import *

    class Closing(asyncio.SelectorEventLoop):
        # Open when it is tested, closed when it is called.
        gone = False

        def call_soon_threadsafe(self, *args, **named):
            if self.gone:
                raise RuntimeError("Event loop is closed")
            return super().call_soon_threadsafe(*args, **named)

    limiter = Limiter(Window(1, per=0.5), linger=0.1)
    limiter.acquire().settle()
    loop = Closing()

    async def wait():
        return await limiter.acquire_async()

    async def main():
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.05)
        return task

    joined = threading.Thread(target=lambda: limiter.acquire(timeout=30).settle(), daemon=True)
    joined.start()
    time.sleep(0.1)
    task = loop.run_until_complete(main())
    loop.gone = True
    joined.join(1.5)
    time.sleep(0.5)
    other = Limiter(Window(1, per=0.3))
    other.acquire().settle()
    tell(4, other=other, same=limiter)
"""


def test_a_loop_that_closes_while_it_is_called_ends_no_service_thread(tmp_path):
    """L21: the process-wide timer thread died of it, and nobody in the process was woken any more."""
    found = said(TELL + CLOSED_BETWEEN, tmp_path, seconds=25)
    all_served(found, other="another limiter of the process", same="the limiter itself")


RAISING = """
    import time
    from headway import *
    from pathlib import Path

    def observer(event):
        raise RuntimeError("an observer of the user's")

    path = Path("limits.db")
    def shared(**how):
        return Limiter(Window(5, per=0.3), state=path, name="x", fresh=True, ttl=0.9, linger=0.3, **how)

    one, other = shared(observer=observer), shared()
    busy = [limiter.acquire(timeout=5) for limiter in (one, other)]
    for each in Path().glob("limits.db*"):
        each.unlink()
    path.mkdir()  # out of reach: a folder where the file was
    time.sleep(1.5)
    path.rmdir()
    for permit in busy:
        permit.settle()
    tell(8, one=one, other=other)
"""


def test_an_observer_that_raises_ends_no_service_thread(tmp_path):
    """L21: the lender's thread told it of a state out of reach, and died."""
    found = said(TELL + RAISING, tmp_path, seconds=30)
    all_served(found, other="a limiter without an observer", one="the limiter with the observer")


def test_an_observer_that_raises_costs_no_permit_and_no_reply():
    """L21: what it raises came out of `rejected`, and the permit was never settled."""

    def observer(event):
        raise RuntimeError("an observer of the user's")

    limiter = Limiter(Concurrency(1), linger=60, observer=observer)

    def call():
        with limiter.permit(timeout=1) as permit:
            permit.rejected(retry_after=0.1)
        return "the reply"

    ended = within(8, call)
    assert ended.value == "the reply", f"{ended}"
    assert got(limiter, 5) is not None


COLLECTED = """
    import gc, json, os, threading, time
    from headway import *

    limiter = Limiter(Concurrency(1), linger=0.3)

    class Cycle:
        pass

    cycle = Cycle()
    cycle.me, cycle.permit = cycle, limiter.acquire()
    gc.disable()
    out = {}

    def wait():
        try:
            limiter.acquire(timeout=9).settle()
            out["dropped"] = True
        except Exception as error:
            out["dropped"] = f"{type(error).__name__}: {error}"

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    time.sleep(0.3)

    start = threading.Thread.start

    def collecting(self):
        # The garbage collector may run anywhere, also while one of our threads is being made.
        global cycle
        if self.name.startswith("headway"):
            cycle = None
            gc.collect()
        start(self)

    threading.Thread.start = collecting
    other = Limiter(Window(1, per=0.3))

    def second():
        other.acquire().settle()
        other.acquire(timeout=10).settle()
        out["other"] = True

    user = threading.Thread(target=second, daemon=True)
    start(user)
    user.join(5)
    cycle = None
    gc.collect()
    waiter.join(4)
    print(json.dumps(out), flush=True)
    os._exit(0)
"""


def test_the_garbage_collector_may_run_while_a_service_thread_is_made(tmp_path):
    """L21: a dropped permit asked for the timer thread inside the timer thread's own creation."""
    found = said(COLLECTED, tmp_path, seconds=25)
    all_served(found, other="who wanted the thread hangs", dropped="who waited for the dropped permit")


@pytest.mark.filterwarnings("ignore")
def test_a_wait_is_as_good_in_one_kind_of_limit_as_in_all():
    """L20: after a closed loop, every limit of the limiter is whole again."""
    limiter = Limiter(Window(2, per=0.3), Quota(100, resets="00:00 UTC"), Concurrency(1), linger=0.1)
    held = limiter.acquire()
    loop = waiting_in_a_loop(limiter, 2)
    loop.close()
    held.settle()
    first, second = got(limiter, 6), None
    if first is not None:
        first.settle()
        second = got(limiter, 6)
    status = {each.name: each.in_flight for each in limiter.snapshot()}
    assert None not in (first, second), f"a place is held by nobody: {status}"
    assert status == {"window": 1, "quota": 1, "concurrency": 1}, f"{status}"
