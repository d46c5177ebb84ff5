"""The platform's clock: the machine's, which the admin API can advance, or one that tests move by hand.

Monotonic and wall time are integers in nanoseconds. `sleep` waits by the same clock and ends early, with Stopped, when
the server stops: no request may outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from typing import Protocol

__all__ = ["SECOND", "Clock", "ManualClock", "Stopped", "SystemClock"]

SECOND = 1_000_000_000


class Stopped(Exception):
    """The mock stops while a request waits."""


class Clock(Protocol):
    """What the mock needs to know about time."""

    def monotonic(self) -> int:
        """Nanoseconds, for windows."""

    def wall(self) -> int:
        """Nanoseconds since 1970 in UTC, for calendars."""

    def advance(self, seconds: float) -> None:
        """Let both clocks jump forward."""

    async def sleep(self, seconds: float) -> None:
        """Wait; raises Stopped when the mock stops."""

    def stop(self) -> None:
        """End every wait with Stopped, those to come as well."""


class _Sleepers:
    """The waits that `stop` must end."""

    def __init__(self) -> None:
        self.stopped = False
        self.waits: set[asyncio.Future[None]] = set()

    async def wait(self, future: asyncio.Future[None]) -> None:
        """Until the future is done, or Stopped."""
        if self.stopped:
            raise Stopped
        self.waits.add(future)
        try:
            await future
        finally:
            self.waits.discard(future)

    def stop(self) -> None:
        """End all of them."""
        self.stopped = True
        for wait in tuple(self.waits):
            if not wait.done():
                wait.set_exception(Stopped())


class SystemClock:
    """The machine's clocks, plus what they were advanced by."""

    def __init__(self) -> None:
        self.advanced = 0
        self._sleepers = _Sleepers()

    def monotonic(self) -> int:
        return time.monotonic_ns() + self.advanced

    def wall(self) -> int:
        return time.time_ns() + self.advanced

    def advance(self, seconds: float) -> None:
        self.advanced += int(seconds * SECOND)

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _finish, future)
        try:
            await self._sleepers.wait(future)
        finally:
            timer.cancel()

    def stop(self) -> None:
        self._sleepers.stop()


class ManualClock:
    """Moves only by `advance`; waits end when it passes them, in order of time."""

    def __init__(self, wall: int = 1_795_000_000 * SECOND, monotonic: int = 1_000 * SECOND) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._due: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._sleepers = _Sleepers()

    def monotonic(self) -> int:
        return self._monotonic

    def wall(self) -> int:
        return self._wall

    def advance(self, seconds: float) -> None:
        self._wall += int(seconds * SECOND)
        self._monotonic += int(seconds * SECOND)
        while self._due and self._due[0][0] <= self._monotonic:
            _finish(heapq.heappop(self._due)[2])

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._due, (self._monotonic + int(seconds * SECOND), next(self._order), future))
        await self._sleepers.wait(future)

    def stop(self) -> None:
        self._sleepers.stop()


def _finish(future: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_result(None)
