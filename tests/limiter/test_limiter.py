"""One Limiter for threads and event loops: permits, timeouts, cancellation, pauses."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time

import pytest

from headway.errors import ForkedLimiter, LimiterClosed, NeverGranted, PermitTimeout, UsageError
from headway.events import DestinationPaused, RateLimitHit
from headway.limiter.limiter import Limiter
from headway.limits.limits import Concurrency, Quota, Window
from headway.testing.virtual import run_virtually


def test_threads_take_turns_and_nobody_exceeds_the_concurrency():
    limiter = Limiter(Concurrency(3))
    flying, worst, lock = 0, 0, threading.Lock()

    def work():
        nonlocal flying, worst
        for _ in range(30):
            with limiter.permit():
                with lock:
                    flying += 1
                    worst = max(worst, flying)
                with lock:
                    flying -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert worst <= 3
    assert limiter.snapshot()[0].in_flight == 0


def test_a_window_opens_again_by_the_loops_own_timer():
    async def main(clock):
        limiter = Limiter(Window(5, per=0.2), clock=clock)
        for _ in range(11):
            async with limiter.permit():
                pass
        limiter.close()
        return clock.seconds

    assert 0.4 <= run_virtually(main) < 0.41


def test_threads_and_two_event_loops_share_one_limiter():
    limiter = Limiter(Window(10, per=0.2))
    stamps: list[float] = []

    async def loop_work():
        for _ in range(10):
            async with limiter.permit(timeout=20):
                stamps.append(time.monotonic())

    def thread_work():
        for _ in range(10):
            with limiter.permit(timeout=20):
                stamps.append(time.monotonic())

    threads = [threading.Thread(target=lambda: asyncio.run(loop_work())) for _ in range(2)]
    threads += [threading.Thread(target=thread_work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stamps) == 40
    stamps.sort()
    assert all(later - earlier >= 0.2 for earlier, later in zip(stamps, stamps[10:], strict=False))


async def test_one_event_loop_after_another_may_use_it():
    limiter = Limiter(Window(1, per=0.05))
    done = []

    async def two():
        for _ in range(2):
            async with limiter.permit(timeout=5):
                done.append(1)

    await asyncio.to_thread(lambda: asyncio.run(two()))
    await asyncio.to_thread(lambda: asyncio.run(two()))
    await two()
    assert len(done) == 6


async def test_a_cancelled_waiter_takes_no_permit_with_it():
    limiter = Limiter(Concurrency(1))
    first = await limiter.acquire_async()
    waiters = [asyncio.create_task(limiter.acquire_async()) for _ in range(3)]
    await asyncio.sleep(0)
    first.settle()  # grants the first waiter, which is cancelled before it runs
    waiters[0].cancel()
    second = await asyncio.wait_for(waiters[1], 30)
    with pytest.raises(asyncio.CancelledError):
        await waiters[0]
    second.settle()
    (await asyncio.wait_for(waiters[2], 30)).settle()
    assert limiter.snapshot()[0].in_flight == 0


def test_a_wait_that_cannot_end_in_time_is_refused_at_once():
    async def main(clock):
        limiter = Limiter(Window(1, per=60), clock=clock)
        (await limiter.acquire_async()).settle()
        with pytest.raises(PermitTimeout) as caught:
            await limiter.acquire_async(timeout=5)
        assert clock.seconds == 0
        assert caught.value.limit == "window"
        assert caught.value.earliest == pytest.approx(60, abs=0.1)
        with pytest.raises(PermitTimeout):
            limiter.acquire(timeout=5)

    run_virtually(main)


def test_a_timeout_that_only_a_settle_could_have_beaten():
    limiter = Limiter(Concurrency(1))
    permit = limiter.acquire()
    with pytest.raises(PermitTimeout):
        limiter.acquire(timeout=0.05)
    permit.settle()
    limiter.acquire(timeout=0.05).settle()


def test_an_impossible_cost_fails_when_it_is_asked_for():
    limiter = Limiter(Window(5, per=1))
    with pytest.raises(NeverGranted, match="can never fit"):
        limiter.acquire(6)
    with pytest.raises(UsageError, match="whole number"):
        limiter.acquire(0)
    with pytest.raises(UsageError, match="no limit is named"):
        limiter.acquire(limits={"typo"})
    with pytest.raises(UsageError, match="unknown priority"):
        limiter.acquire(priority="urgent")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Window(0, 1),
        lambda: Window(1.5, 1),
        lambda: Window(1, float("nan")),
        lambda: Window(1, -1),
        lambda: Quota(5, "25:00 UTC"),
        lambda: Quota(5, "00:00 Europe/Atlantis"),
        lambda: Quota(5, "00:00 UTC", per=60),
        lambda: Concurrency(-1),
        lambda: Limiter(Window(1, 1), Window(2, 2)),
        lambda: Limiter(Window(1, 1), share=0),
        lambda: Limiter(Window(1, 1), pacing="fast"),
        lambda: Limiter(Window(1, 1), state="x.db"),
        lambda: Limiter(Window(1, 1), linger=-1),
    ],
)
def test_nonsense_is_refused_at_construction(make):
    with pytest.raises(UsageError):
        make()


def test_an_exception_of_the_callers_own_settles_and_one_of_the_network_lingers():
    limiter = Limiter(Concurrency(1), linger=60)
    with pytest.raises(ValueError), limiter.permit():
        raise ValueError("mine")
    limiter.acquire(timeout=1).settle()
    with pytest.raises(ConnectionResetError), limiter.permit():
        raise ConnectionResetError
    assert limiter.try_acquire() is None, "it may still be counted"


def test_a_dropped_permit_lingers_and_a_cancelled_one_is_free():
    limiter = Limiter(Window(2, per=60), linger=0.01)
    limiter.acquire().cancel()
    limiter.acquire()
    gc.collect()
    status = limiter.snapshot()[0]
    assert (status.in_flight, status.cooling, status.free) == (0, 1, 1)


def test_a_settled_cost_replaces_the_estimate():
    limiter = Limiter(Window(10, per=60))
    limiter.acquire(5).settle(2)
    assert limiter.snapshot()[0].free == 8
    limiter.acquire(5).settle(9)
    assert limiter.snapshot()[0].free == 0


def test_fifty_callers_that_meet_one_pause_wait_for_its_end_together():
    events = []
    stamps: list[float] = []

    async def main(clock):
        limiter = Limiter(Window(20, per=0.5), observer=events.append, clock=clock)
        permits = [await limiter.acquire_async() for _ in range(3)]
        for permit in permits:
            assert permit.rejected(retry_after=0.3) == pytest.approx(0.3)
            permit.settle()

        async def call():
            async with limiter.permit():
                stamps.append(clock.seconds)

        await asyncio.gather(*(call() for _ in range(50)))

    run_virtually(main)
    assert min(stamps) >= 0.3, "nobody earlier"
    stamps.sort()
    assert all(b - a >= 0.5 for a, b in zip(stamps, stamps[20:], strict=False)), "no burst above the window"
    assert len([event for event in events if isinstance(event, RateLimitHit)]) == 1, "one flight is one event"
    assert len([event for event in events if isinstance(event, DestinationPaused)]) == 1


def test_a_rejection_of_a_quota_pauses_until_its_reset():
    limiter = Limiter(Window(100, 10), Quota(1000, "00:00 UTC", name="daily"))
    permit = limiter.acquire()
    seconds = permit.rejected("daily")
    permit.settle()
    assert 0 < seconds <= 86_405
    with pytest.raises(PermitTimeout) as caught:
        limiter.acquire(timeout=1)
    assert caught.value.limit == "daily"
    limiter.acquire(limits={"window"}, timeout=1).settle()


def test_who_waits_when_the_limiter_closes_hears_of_it():
    limiter = Limiter(Concurrency(1))
    held = limiter.acquire()
    heard: list[BaseException] = []

    def wait():
        try:
            limiter.acquire(timeout=20)
        except LimiterClosed as error:
            heard.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while limiter._gate.waiting == 0:
        time.sleep(0.001)
    limiter.close()
    thread.join(30)
    assert heard
    held.settle()
    with pytest.raises(LimiterClosed):
        limiter.acquire()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_fork_a_limiter_in_memory_refuses_to_work():
    limiter = Limiter(Window(5, per=1))
    limiter.acquire().settle()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            limiter.acquire(timeout=1)
            os.write(write, b"granted")
        except ForkedLimiter:
            os.write(write, b"refused")
        except BaseException as error:  # noqa: BLE001  # the child must never run on into pytest
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"refused"
    os.close(read)
    limiter.acquire().settle()


async def test_a_thousand_waiters_are_served_in_order():
    limiter = Limiter(Window(200, per=0.2))
    order: list[int] = []

    async def one(number: int):
        async with limiter.permit():
            order.append(number)

    await asyncio.gather(*(one(number) for number in range(1000)))
    assert order == sorted(order)


def test_the_platforms_date_decides_whether_a_clock_that_jumped_is_believed():
    from email.utils import formatdate

    class Jumping:
        now, wall = 10**9, 1_790_000_000 * 10**9

        def monotonic_ns(self):
            return self.now

        def wall_ns(self):
            return self.wall

    clock = Jumping()
    limiter = Limiter(Quota(2, "00:00 UTC"), clock=clock)
    limiter.try_acquire().settle()
    held = limiter.try_acquire()
    day = 86_400 * 10**9
    clock.now, clock.wall = clock.now + 10**9, clock.wall + 10**9 + day
    assert limiter.try_acquire() is None, "a clock that jumped renews nothing"
    held.observe(200, {"Date": formatdate(clock.wall / 1e9, usegmt=True)})
    held.settle()
    assert limiter.try_acquire() is not None, "the platform says that it is tomorrow indeed"
