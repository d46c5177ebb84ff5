"""Faults that make calls wait longer than any limit asks (FAULTS L18, L22, L23, L28)."""

from __future__ import annotations

import asyncio
import random

import pytest

from headway import Concurrency, Limiter, PermitTimeout, Quota, TokenBucket, Window

from .support import midnight_in, permitted, takes, virtually


class FixedWindow:
    """A platform that counts by the clock: the count begins anew every `per` seconds."""

    def __init__(self, amount: int, per: float) -> None:
        self.amount, self.per = amount, per
        self.window, self.count = -1, 0
        self.refused = 0

    def arrive(self, now: float) -> int | None:
        window = int(now // self.per)
        if window != self.window:
            self.window, self.count = window, 0
        if self.count >= self.amount:
            self.refused += 1
            return None
        self.count += 1
        return self.amount - self.count


@pytest.mark.parametrize("headers", ["hubspot", "ratelimit"])
@pytest.mark.parametrize("way", ["smooth", "burst with Concurrency(5)"])
def test_fixed_windows_that_tell_what_remains_are_used_to_the_end(way, headers):
    """L18: the guard doubled at every window that began anew: 597 calls a minute, 8 after 20 minutes."""
    minutes = 8

    async def main(clock):
        draw = random.Random(7)
        fixed = FixedWindow(100, 10.0)
        begin = clock.seconds
        pacing = "smooth" if way == "smooth" else "burst"
        more = () if way == "smooth" else (Concurrency(5),)
        limiter = Limiter(Window(100, per=10), *more, pacing=pacing, clock=clock)
        counted = [0] * (minutes + 1)

        async def worker():
            while clock.seconds < begin + minutes * 60:
                permit = await permitted(limiter, 120)
                if permit is None:
                    return
                await asyncio.sleep(draw.uniform(0, 0.05))
                left = fixed.arrive(clock.seconds)
                counted[min(minutes, int((clock.seconds - begin) // 60))] += 1
                await asyncio.sleep(draw.uniform(0, 0.05))
                said = {
                    "X-HubSpot-RateLimit-Max": "100",
                    "X-HubSpot-RateLimit-Remaining": str(left or 0),
                    "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
                }
                if headers == "ratelimit":
                    reset = int(fixed.per - clock.seconds % fixed.per) + 1
                    said = {
                        "RateLimit-Limit": "100",
                        "RateLimit-Remaining": str(left or 0),
                        "RateLimit-Reset": str(reset),
                    }
                if left is None:
                    permit.rejected("window", 1)
                else:
                    permit.observe(200, said)
                permit.settle()

        await asyncio.gather(*[worker() for _ in range(8)])
        return counted[:minutes], fixed.refused

    counted, refused = virtually(main)
    assert refused == 0
    assert min(counted) >= 570, f"calls in each minute, of 600: {counted}"


# -- L22


@pytest.mark.parametrize(
    "limit",
    [
        Concurrency(2),
        Window(2, per=1),
        Quota(2, per=0.9),
        TokenBucket(1, 2),
        Concurrency(2, longer_than=0.01, margin=0),
    ],
    ids=lambda each: f"{each.name}-{getattr(each, 'longer_than', None)}",
)
def test_a_wait_is_not_refused_while_a_call_in_flight_may_end_it_in_time(limit):
    """L22: one call lingers for 30 s, but another settles in 0.1 s."""

    async def main(clock):
        limiter = Limiter(limit, linger=30, clock=clock)
        lost, flying = [await permitted(limiter, 5) for _ in range(2)]
        await asyncio.sleep(0.02)
        lost.lose()
        asyncio.get_running_loop().call_later(0.1, flying.settle)
        begin = clock.seconds
        permit = await permitted(limiter, 5)
        return permit, clock.seconds - begin

    permit, waited = virtually(main)
    assert permit is not None, f"refused after {waited:.2f} s of 5, though a call in flight settled after 0.1 s"
    assert waited <= 2.5, f"{waited}"


# -- L23


def test_an_idle_limit_grants_while_calls_wait_for_another():
    """L23: `try_acquire` was None."""

    async def main(clock):
        limiter = Limiter(Concurrency(1, name="a"), Concurrency(1, name="b"), clock=clock)
        held = limiter.try_acquire(limits={"a"})
        waiting = asyncio.ensure_future(permitted(limiter, 60, limits={"a"}))
        await asyncio.sleep(0.01)
        found = limiter.try_acquire(limits={"b"})
        held.settle()
        await waiting
        return found

    assert virtually(main) is not None, "b is idle, and nobody waits for it"


@pytest.mark.parametrize("amount", [1, 2])
def test_a_head_that_waits_for_midnight_stops_nobody_who_does_not_need_it(amount):
    """L23: it earmarked the limits it shares with others."""

    async def main(clock):
        window, quota = Window(amount, per=1, name="w"), Quota(1, resets="00:00 UTC", name="q")
        limiter = Limiter(window, quota, clock=clock)
        (await permitted(limiter, 5)).settle()
        waiting = [asyncio.ensure_future(permitted(limiter, 90_000)) for _ in range(3)]
        await asyncio.sleep(2)
        begin, done = clock.seconds, 0
        while clock.seconds < begin + 10:
            permit = await permitted(limiter, 3, limits={"w"})
            if permit is None:
                break
            permit.settle()
            done += 1
        for each in waiting:
            each.cancel()
        return done

    done = virtually(main, midnight_in(40_000))
    assert done >= 9 * amount, (
        f"{done} calls in 10 s under {amount} a second: a call that waits for midnight is in front"
    )


def test_it_is_asked_for_and_granted_the_same_way_at_once_too():
    """L23: `try_acquire` beside a head that waits until midnight."""

    async def main(clock):
        window, quota = Window(3, per=1, name="w"), Quota(1, resets="00:00 UTC", name="q")
        limiter = Limiter(window, quota, clock=clock)
        (await permitted(limiter, 5)).settle()
        waiting = asyncio.ensure_future(permitted(limiter, 90_000))
        await asyncio.sleep(2)
        found = []
        for _ in range(20):  # lanes that share a window are paced
            found.append(len(takes(limiter, 9, limits={"w"})))
            await asyncio.sleep(0.049)
        waiting.cancel()
        return found

    found = virtually(main, midnight_in(40_000))
    assert found[0] >= 1, "the window is idle, and who is in front waits for midnight"
    assert sum(found) == 3, f"{found}"


def test_a_refusal_names_a_limit_that_stands_in_the_way():
    """L23: the error blamed 'pause', in 0.0 s, though nothing was paused."""

    async def main(clock):
        limiter = Limiter(Concurrency(1, name="a"), Window(1, per=1, name="b"), clock=clock)
        held = limiter.try_acquire(limits={"a"})
        head = asyncio.ensure_future(permitted(limiter, 60, limits={"a", "b"}))
        await asyncio.sleep(0.01)
        try:
            permit = await limiter.acquire_async(timeout=0.5, limits={"b"})
        except PermitTimeout as error:
            ended = error
        else:
            ended = None
            permit.settle()
        held.settle()
        await head
        return ended

    ended = virtually(main)
    if ended is not None:
        assert ended.limit in {"a", "b"}, f"{ended}"
        assert ended.earliest is None or ended.earliest > 0, f"{ended}"


# -- L28


def test_calls_that_the_platform_still_holds_are_waited_for_and_not_asked_after():
    """L28: ten calls that we gave up kept their connections; after the linger we asked again and again."""

    async def main(clock):
        limiter = Limiter(Concurrency(10), linger=30, clock=clock)
        lost = [await permitted(limiter, 5) for _ in range(10)]
        for permit in lost:
            permit.lose()
        begin, free = clock.seconds, 180.0  # until then the platform holds all ten connections
        refused, accepted = [], None
        while clock.seconds < begin + 400 and accepted is None:
            permit = await permitted(limiter, 300)
            if permit is None:
                break
            await asyncio.sleep(0.05)
            if clock.seconds < begin + free:
                refused.append(round(clock.seconds - begin))
                permit.rejected("concurrency")
            else:
                accepted = clock.seconds - begin
            permit.settle()
        return refused, accepted

    refused, accepted = virtually(main)
    assert len(refused) <= 5, f"{len(refused)} refusals, at {refused} s: every linger of 30 s one may ask"
    assert accepted is not None, "calls never go on"
    assert accepted <= 260, f"they go on after {accepted:.0f} s; the platform was free after 180"


def test_many_who_wait_meet_one_refusal_and_not_each_its_own():
    """L28: a flight of refusals is one event: with ten waiting, every linger of 30 s costs one flight at most."""

    async def main(clock):
        limiter = Limiter(Concurrency(10), linger=30, clock=clock)
        for permit in [await permitted(limiter, 5) for _ in range(10)]:
            permit.lose()
        begin, refused = clock.seconds, 0

        async def worker():
            nonlocal refused
            while clock.seconds < begin + 300:
                permit = await permitted(limiter, 300)
                if permit is None:
                    return
                await asyncio.sleep(0.05)
                if clock.seconds >= begin + 150:
                    permit.settle()
                    return
                refused += 1
                permit.rejected("concurrency")
                permit.settle()

        await asyncio.gather(*[worker() for _ in range(10)])
        return refused

    refused = virtually(main)
    assert refused <= 40, f"{refused} refusals in 150 s: four lingers of 30 s, ten calls each"
