"""Permits per second of CPU, taken and settled, uncontended: Headway against a bare skeleton and against its peers.

    pip install -r benchmarks/requirements-peers.txt
    python benchmarks/limiters.py

All in one process, in interleaved rounds; the best round of each counts. The skeleton (floor.py) is what any exact
limiter pays. Peers only take; none settles. Peers not installed are left out, and said to be.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable

from bars import at_least, ended
from floor import AMOUNT, PER, Skeleton
from headway import Concurrency, Limiter, Quota, Window

COUNT, ROUNDS = 20_000, 7


def plain(limiter) -> Callable[[], None]:
    def run() -> None:
        acquire = limiter.acquire
        for _ in range(COUNT):
            acquire().settle()

    return run


def plain_async(limiter) -> Callable[[], None]:
    async def main() -> None:
        acquire = limiter.acquire_async
        for _ in range(COUNT):
            (await acquire()).settle()

    return lambda: asyncio.run(main())


def block(limiter) -> Callable[[], None]:
    def run() -> None:
        permit = limiter.permit
        for _ in range(COUNT):
            with permit():
                pass

    return run


def skeleton_block(limiter) -> Callable[[], None]:
    def run() -> None:
        acquire = limiter.acquire
        for _ in range(COUNT):
            with acquire():
                pass

    return run


def repeated(call) -> Callable[[], None]:
    def run() -> None:
        for _ in range(COUNT):
            call()

    return run


def awaited(call) -> Callable[[], None]:
    async def main() -> None:
        for _ in range(COUNT):
            await call()

    return lambda: asyncio.run(main())


def one() -> Limiter:
    return Limiter(Window(AMOUNT, per=PER))


def heard() -> Limiter:
    """One window that a platform's headers speak of, and somebody who observes."""
    limiter = Limiter(Window(AMOUNT, per=PER), observer=lambda _: None)
    permit = limiter.acquire()
    headers = {
        "X-HubSpot-RateLimit-Max": str(AMOUNT), "X-HubSpot-RateLimit-Remaining": str(AMOUNT - 1),
        "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(PER * 1000)),
    }  # fmt: skip
    permit.observe(200, headers)
    permit.settle()
    return limiter


def readme(**options) -> Limiter:
    """The limiter of README: a window, the day's quota, a concurrency."""
    day = Quota(10**12, resets="00:00 Europe/Berlin")
    return Limiter(Window(AMOUNT, per=PER), day, Concurrency(10), **options)


def account(**options) -> Limiter:
    """What an account has: a window and the day's quota."""
    return Limiter(Window(AMOUNT, per=PER), Quota(10**12, resets="00:00 Europe/Berlin"), **options)


def steady(limiter: Limiter, seconds: float = 2.0) -> Limiter:
    """After its first exchanges with the shared state."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        limiter.acquire().settle()
    return limiter


def three() -> Limiter:
    return Limiter(Window(AMOUNT, per=PER, name="short"), Window(AMOUNT, per=2 * PER, name="long"), Concurrency(10))


def peers() -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {}
    try:
        from pyrate_limiter import Duration, InMemoryBucket, Rate
        from pyrate_limiter import Limiter as Pyrate

        def bucket():
            return Pyrate(InMemoryBucket([Rate(AMOUNT, Duration.SECOND)]))

        first, second = bucket(), bucket()
        found["pyrate-limiter"] = repeated(lambda: first.try_acquire("a"))
        found["pyrate-limiter async"] = awaited(lambda: second.try_acquire_async("a"))
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
    try:
        from limits import RateLimitItemPerSecond
        from limits.aio.storage import MemoryStorage as AsyncStorage
        from limits.aio.strategies import MovingWindowRateLimiter as AsyncWindow
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        item = RateLimitItemPerSecond(AMOUNT, 1)
        window, async_window = MovingWindowRateLimiter(MemoryStorage()), AsyncWindow(AsyncStorage())
        found["limits"] = repeated(lambda: window.hit(item, "a"))
        found["limits async"] = awaited(lambda: async_window.hit(item, "a"))
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
    try:
        from aiolimiter import AsyncLimiter

        counter = AsyncLimiter(AMOUNT, 1)
        found["aiolimiter async (a counter)"] = awaited(counter.acquire)
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
    try:
        from throttled import RateLimiterType, Throttled, rate_limiter

        throttled = Throttled(key="a", using=RateLimiterType.SLIDING_WINDOW.value, quota=rate_limiter.per_sec(AMOUNT))
        found["throttled-py (sliding counter)"] = repeated(throttled.limit)
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        state = f"{folder}/limits.db"
        window = steady(Limiter(Window(AMOUNT, per=PER), state=state, name="window", fresh=True))
        whole = steady(account(state=state, name="account", fresh=True))
        measure(window, whole)
        window.close()
        whole.close()
    return ended()


def measure(window: Limiter, whole: Limiter) -> None:
    cases = {
        "skeleton": plain(Skeleton()),
        "skeleton with": skeleton_block(Skeleton()),
        "skeleton async": plain_async(Skeleton()),
        "headway": plain(one()),
        "headway with": block(one()),
        "headway async": plain_async(one()),
        "headway, three limits": plain(three()),
        "headway with, headers and observer": block(heard()),
        "README's own with": block(readme()),
        "account with": block(account()),
        "one window on shared state with": block(window),
        "account on shared state with": block(whole),
        **peers(),
    }
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, run in cases.items():
            began = time.process_time()
            run()
            best[name] = max(best.get(name, 0.0), COUNT / (time.process_time() - began))
    for name, rate in best.items():
        print(f"{name:36} {rate:12,.0f} /s")

    def ratio(what: str, of: str, bar: float) -> None:
        if what in best and of in best:
            at_least(f"{what} / {of}", best[what] / best[of], bar)

    print()
    ratio("headway", "skeleton", 0.45)
    ratio("headway with", "skeleton with", 0.45)
    ratio("headway async", "skeleton async", 0.45)
    ratio("headway, three limits", "headway", 0.60)
    ratio("headway with, headers and observer", "skeleton with", 0.45)
    ratio("README's own with", "skeleton with", 0.35)
    ratio("one window on shared state with", "headway with", 0.85)
    ratio("account on shared state with", "account with", 0.85)
    for peer in ("pyrate-limiter", "limits"):
        ratio("headway", peer, 2.0)
        ratio("headway async", f"{peer} async", 2.0)


if __name__ == "__main__":
    sys.exit(main())
