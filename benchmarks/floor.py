"""The floor: a lock, a deque and a slotted permit with a context manager, what any exact limiter pays.

It also tells how fast a machine is just now: bars in seconds of CPU, or per second, are held against it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

AMOUNT, PER = 1_000_000, 0.05
REFERENCE = 1_235_000  # permits a second of the machine on which the absolute bars were set (2026-11-24, two cores)


class Skeleton:
    __slots__ = ("amount", "lock", "per", "places")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.places: deque[int] = deque()
        self.amount, self.per = AMOUNT, int(PER * 1e9)

    def acquire(self) -> SkeletonPermit:
        now = time.monotonic_ns()
        with self.lock:
            places = self.places
            while places and places[0] <= now:
                places.popleft()
            if len(places) >= self.amount:
                raise RuntimeError
        return SkeletonPermit(self)

    async def acquire_async(self) -> SkeletonPermit:
        return self.acquire()


class SkeletonPermit:
    __slots__ = ("owner",)

    def __init__(self, owner: Skeleton) -> None:
        self.owner = owner

    def settle(self) -> None:
        owner = self.owner
        with owner.lock:
            owner.places.append(time.monotonic_ns() + owner.per)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.settle()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.settle()


def slowness(clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times slower this machine is now than the one on which the absolute bars were set; 1.0 if it is not.

    With `time.process_time`: how slow its cores are, whoever else is using them.
    """
    floor, count = Skeleton(), 200_000
    began = clock()
    for _ in range(count):
        floor.acquire().settle()
    factor = max(1.0, REFERENCE / count * (clock() - began))
    print(f"this machine, now: {factor:.2f} times as slow as the one that the absolute bars were set on", flush=True)
    return factor
